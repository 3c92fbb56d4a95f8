//! Configuration: sections with documented defaults, from four places.
//!
//! A later place wins over an earlier one:
//!
//! | place | form |
//! | --- | --- |
//! | defaults | [`table::KEYS`] |
//! | `config.toml` in the home | `[section]` and `key = value` |
//! | environment | `LLMTOR_SECTION__KEY`, a TOML value or a bare word |
//! | `--set section.key=value` and the flags that stand for a key | the same |
//!
//! One table of keys drives validation, the example file and the documentation, so that none of them
//! can know a key the others do not. An unknown key is an error wherever it stands, and names the
//! nearest known one: a misspelt setting that is silently ignored is how a wrong transport gets used.
//!
//! The parts of the program never see this type; the composition root hands each the plain values it needs.

pub mod layers;
mod login;
pub mod table;
mod topup;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::datadir::KeyStore;
use crate::origin::WebOrigin;
use crate::wire::ModelName;

pub use layers::Layers;
pub use login::Login;
pub use topup::{PrivacyChoice, Stock, TopUp};

/// Everything that can be configured, checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Whether parameters without effect are refused.
    pub strict: bool,
    /// How much is given for privacy.
    pub privacy: PrivacyChoice,
    /// `[api]`
    pub api: Api,
    /// `[images]`
    pub images: Images,
    /// `[server]`
    pub server: Server,
    /// `[page]`
    pub page: Page,
    /// `[ollama]`
    pub ollama: Face,
    /// `[anthropic]`
    pub anthropic: Face,
    /// `[backend]`
    pub backend: Backend,
    /// `[anonymous]`
    pub anonymous: Anonymous,
    /// `[tor]`
    pub tor: Tor,
    /// `[tls]`
    #[serde(default)]
    pub tls: Tls,
    /// `[identity]`
    pub identity: Identity,
    /// `[login]`
    pub login: Login,
    /// `[topup]`
    pub topup: TopUp,
    /// `[vault]`
    pub vault: Vault,
    /// `[log]`
    pub log: Log,
}

/// `[server]`: the local endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where it listens.
    pub listen: Listen,
    /// Of which web pages may speak to it.
    pub allowed_origins: Vec<WebOrigin>,
    /// Largest request body accepted, bytes.
    pub body_limit: usize,
    /// How long calls in flight may go on after a stop was asked for, seconds.
    grace_seconds: u64,
}

impl Server {
    /// How long calls in flight may go on after a stop was asked for.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds)
    }
}

/// `[api]`: what the local endpoint makes of requests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// How many answers one request may ask for.
    pub most_choices: usize,
    /// Whether an answer that has not the form it should have is asked for again.
    pub second_try: bool,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

impl Api {
    /// Other names for models.
    pub fn aliases(&self) -> BTreeMap<ModelName, ModelName> {
        let name = |text: &String| ModelName::new(text.as_str()).ok();
        // Checked against the table of keys: none is lost.
        self.aliases.iter().filter_map(|(alias, model)| Some((name(alias)?, name(model)?))).collect()
    }
}

/// `[images]`: pictures that a request only points to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Images {
    /// Whether they are fetched.
    pub fetch_over_tor: bool,
}

/// `[page]`: the local page.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Whether there is one.
    pub enabled: bool,
    /// Where it listens.
    pub listen: Listen,
}

/// `[ollama]`, `[anthropic]`: an API that the local endpoint speaks beside OpenAI's.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Face {
    /// Whether it is spoken.
    pub enabled: bool,
}

/// `[backend]`: where the two planes go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    #[serde(default)]
    identity_url: Option<Text<Url>>,
    #[serde(default)]
    anonymous_url: Option<Text<Url>>,
    /// Largest body the backend accepts on the anonymous plane, bytes.
    pub body_limit: usize,
}

impl Backend {
    /// The identity plane's base URL, if one is configured.
    pub fn identity_url(&self) -> Option<&Url> {
        self.identity_url.as_ref().map(|url| &url.0)
    }

    /// The anonymous plane's base URL; the identity plane's when it has none of its own.
    pub fn anonymous_url(&self) -> Option<&Url> {
        self.anonymous_url.as_ref().map(|url| &url.0).or(self.identity_url())
    }
}

/// `[anonymous]`: one call through the anonymous plane.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anonymous {
    transport: Text<TransportChoice>,
    /// Whether a SOCKS proxy may be something else than Tor.
    pub socks_without_tor: bool,
    /// Which calls share a circuit.
    pub isolation: IsolationChoice,
    /// How many circuits are kept ready at most.
    pub pool: usize,
    /// The lengths that redemptions are padded to, bytes.
    pub padding: Vec<usize>,
    connect_seconds: u64,
    first_byte_seconds: u64,
    call_seconds: u64,
    /// How often one call tries, the first time included.
    pub attempts: u32,
    heartbeat_seconds: u64,
}

impl Anonymous {
    /// Which way out.
    pub fn transport(&self) -> TransportChoice {
        self.transport.0
    }

    /// How long opening a stream may take.
    pub fn connect(&self) -> Duration {
        Duration::from_secs(self.connect_seconds)
    }

    /// How long the first byte of an answer may take.
    pub fn first_byte(&self) -> Duration {
        Duration::from_secs(self.first_byte_seconds)
    }

    /// How long a whole call may take, every attempt included.
    pub fn call(&self) -> Duration {
        Duration::from_secs(self.call_seconds)
    }

    /// How often a waiting stream shows a sign of life.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat_seconds)
    }
}

/// `[tor]`: the Tor client built in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tor {
    bootstrap_seconds: u64,
    dormant_minutes: u64,
    /// A file of Arti's settings; a relative path is meant from the home.
    pub arti_config: Option<PathBuf>,
    /// Arti's settings, over the file's.
    #[serde(default)]
    pub arti: toml::Table,
}

impl Tor {
    /// How long a call waits for Tor to start.
    pub fn bootstrap(&self) -> Duration {
        Duration::from_secs(self.bootstrap_seconds)
    }

    /// After how long without a call Tor rests.
    pub fn dormant_after(&self) -> Duration {
        Duration::from_secs(self.dormant_minutes.saturating_mul(60))
    }
}

/// `[tls]`: how the backend's certificate on the anonymous plane is judged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM certificates beside the web's; a relative path is meant from the home.
    pub extra_roots: Option<PathBuf>,
    /// `sha256/` and Base64.
    pub pin: Option<String>,
}

/// `[identity]`: the account, and issuance.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Which way out.
    pub transport: IdentityTransport,
    /// Issuance requests in flight.
    pub concurrency: usize,
    delay_minutes: u64,
}

impl Identity {
    /// Mean of the random delay before a fresh token may be used.
    pub fn delay(&self) -> Duration {
        Duration::from_secs(self.delay_minutes.saturating_mul(60))
    }
}

/// `[vault]`: where the master key is.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vault {
    /// Keyring or file.
    pub key_store: KeyStore,
}

/// `[log]`: what goes to standard error and into files.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The least important level shown.
    pub level: Level,
    /// For how many days the daemon's log is kept in the home; 0 keeps none.
    pub files: usize,
}

/// A log level, the quietest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What needs attention.
    Warn,
    /// What was done.
    Info,
    /// How it was done.
    Debug,
    /// Everything that we say of ourselves; still no content.
    Trace,
}

/// Which way the anonymous plane takes out of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportChoice {
    /// Loopback for a backend on this machine, Tor for any other.
    Auto,
    /// The Tor client built in.
    Tor,
    /// A Tor on this machine, over SOCKS.
    Socks(SocketAddr),
    /// A backend on this machine, and nothing else.
    Loopback,
}

/// Not a way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "auto, tor, loopback, or socks5h://127.0.0.1:PORT; a proxy on another machine would make the way to it readable"
)]
pub struct InvalidTransport;

impl FromStr for TransportChoice {
    type Err = InvalidTransport;

    fn from_str(text: &str) -> Result<Self, InvalidTransport> {
        match text {
            "auto" => return Ok(Self::Auto),
            "tor" => return Ok(Self::Tor),
            "loopback" => return Ok(Self::Loopback),
            _ => {}
        }
        let place = text.strip_prefix("socks5h://").ok_or(InvalidTransport)?;
        let place = place.strip_suffix('/').unwrap_or(place);
        let address = match place.strip_prefix("localhost:") {
            // Not resolved: it means this machine.
            Some(port) => {
                SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().map_err(|_| InvalidTransport)?))
            }
            None => place.parse::<SocketAddr>().map_err(|_| InvalidTransport)?,
        };
        if address.ip().is_loopback() { Ok(Self::Socks(address)) } else { Err(InvalidTransport) }
    }
}

/// Which way the identity plane takes out of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityTransport {
    /// From this machine's own address.
    Direct,
    /// The Tor client built in, on circuits of its own.
    Tor,
}

/// Which calls share a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IsolationChoice {
    /// None.
    PerCall,
    /// Those of one conversation.
    PerConversation,
    /// All.
    Shared,
}

/// Where the local endpoint listens: on this machine, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Listen {
    /// One loopback address.
    Loopback(SocketAddr),
    /// `localhost`: 127.0.0.1, and ::1 on the same port where the machine has it.
    Localhost(u16),
}

/// Why a text is no [`Listen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a loopback address and port such as 127.0.0.1:8787, [::1]:8787 or localhost:8787")]
pub struct InvalidListen;

impl Listen {
    /// The addresses to bind, the one that must succeed first.
    pub fn addresses(self) -> (SocketAddr, Option<IpAddr>) {
        match self {
            Self::Loopback(address) => (address, None),
            Self::Localhost(port) => {
                (SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Some(IpAddr::V6(Ipv6Addr::LOCALHOST)))
            }
        }
    }
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(port) = text.strip_prefix("localhost:") {
            return port.parse().map(Self::Localhost).map_err(|_| InvalidListen);
        }
        let address: SocketAddr = text.parse().map_err(|_| InvalidListen)?;
        if address.ip().is_loopback() { Ok(Self::Loopback(address)) } else { Err(InvalidListen) }
    }
}

impl TryFrom<String> for Listen {
    type Error = InvalidListen;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => address.fmt(f),
            Self::Localhost(port) => write!(f, "localhost:{port}"),
        }
    }
}

/// A value written as text.
#[derive(Clone, Debug)]
struct Text<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// Where a value came from; part of every complaint about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table.
    Default,
    /// The home's `config.toml`.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// `--set`.
    Set,
    /// A flag that stands for a key.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults"),
            Self::File(path) => path.display().fmt(f),
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Set => f.write_str("--set"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Why a configuration is refused. Every message names the key and the place to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such key.
    #[error("unknown setting `{key}` in {origin}; did you mean `{nearest}`?")]
    Unknown {
        /// As written.
        key: String,
        /// Where.
        origin: Origin,
        /// What was probably meant.
        nearest: &'static str,
    },
    /// A value of the wrong type or out of bounds.
    #[error("`{key}` in {origin} is {found}; expected {expected}")]
    Value {
        /// The key's path.
        key: &'static str,
        /// Where.
        origin: Origin,
        /// The value as written.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// Not readable as TOML, or not `section.key=value`.
    #[error("{origin} cannot be read: {message}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// The parser's complaint.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_out_is_a_word_or_a_proxy_on_this_machine() {
        assert_eq!("tor".parse(), Ok(TransportChoice::Tor));
        assert!("socks5h://127.0.0.1:9050".parse::<TransportChoice>().is_ok());
        assert!("socks5h://[::1]:9150/".parse::<TransportChoice>().is_ok());
        assert!("socks5h://localhost:9150".parse::<TransportChoice>().is_ok());
        for refused in [
            "direct",
            "",
            "socks5://127.0.0.1:9050",
            "socks5h://192.0.2.1:9050",
            "socks5h://example.org:9050",
            "socks5h://user:pass@127.0.0.1:9050",
            "socks5h://127.0.0.1",
            "socks5h://127.0.0.1:9050/x",
        ] {
            assert_eq!(refused.parse::<TransportChoice>(), Err(InvalidTransport), "{refused}");
        }
    }

    #[test]
    fn only_addresses_of_this_machine_are_listened_on() {
        assert!("127.0.0.1:0".parse::<Listen>().is_ok());
        assert!("[::1]:8787".parse::<Listen>().is_ok());
        assert_eq!("localhost:80".parse(), Ok(Listen::Localhost(80)));
        for refused in [
            "0.0.0.0:8787",
            "[::]:8787",
            "192.168.1.2:8787",
            "8787",
            "localhost",
            "example.com:80",
            "",
            "localhost:70000",
        ] {
            assert_eq!(refused.parse::<Listen>(), Err(InvalidListen), "{refused}");
        }
    }
}
