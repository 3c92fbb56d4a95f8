//! The table of keys: path, kind, default and meaning of everything that can be configured.

use std::fmt::Write as _;
use std::net::IpAddr;

use url::{Host, Url};

use super::Listen;
use crate::origin::{InvalidOrigin, WebOrigin};
use crate::wire::ModelName;

/// One setting.
pub struct Key {
    /// `section.key`.
    pub path: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// Its value when nobody says anything.
    pub default: Preset,
    /// What it means, in one or two sentences.
    pub doc: &'static str,
}

/// What a value may be.
pub enum Kind {
    /// A [`Listen`].
    Listen,
    /// Where the identity plane may go: HTTPS, or HTTP to this machine or an onion service.
    IdentityUrl,
    /// Where the anonymous plane may go.
    AnonymousUrl,
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// Yes or no.
    Switch,
    /// Ascending whole numbers within bounds; may be empty.
    Ladder(i64, i64),
    /// Origins of web pages, exact.
    Origins,
    /// Arguments for another program.
    Arguments,
    /// `auto`, `tor`, `loopback`, or a SOCKS proxy on this machine.
    Transport,
    /// A file; a relative one is looked for in the home.
    File,
    /// The digest of a certificate's key.
    Pin,
    /// Settings of somebody else's, passed through.
    Table,
    /// Names of models for names of models.
    Names,
    /// What single models are stocked with: tables of counts, by the models' names.
    Stocks,
}

/// A default.
pub enum Preset {
    /// A text.
    Text(&'static str),
    /// A number.
    Number(i64),
    /// Yes or no.
    Switch(bool),
    /// A list of numbers.
    Numbers(&'static [i64]),
    /// A list of texts.
    Texts(&'static [&'static str]),
    /// None; the text is an example.
    Unset(&'static str),
    /// None; a table, of which the text is an example.
    Tables(&'static str),
}

/// The largest count of tokens that can be asked for.
const MOST_STOCKED: i64 = 100_000;

/// Every key, in the order in which the example file shows them.
pub const KEYS: &[Key] = &[
    Key {
        path: "strict",
        kind: Kind::Switch,
        default: Preset::Switch(false),
        doc: "Refuses requests with parameters that have no effect (`llmtor compat` lists them), instead of naming them in\n\
              the response header x-llmtor-ignored.",
    },
    Key {
        path: "privacy",
        kind: Kind::Choice(&["frugal", "balanced", "strong"]),
        default: Preset::Text("balanced"),
        doc: "How many tokens are minted ahead of need. The more lie in stock, the less their issuing tells of their\n\
              spending. A model begins with 300 (`frugal`), 800 (`balanced`) or 3000 tokens (`strong`); after a month of chat\n\
              with one model the backend can name the account of one pseudonym in 7, 10 or 25, and of more with several\n\
              models, over months, and of those who use it most. What each costs: docs/linking-game.md.",
    },
    Key {
        path: "server.listen",
        kind: Kind::Listen,
        default: Preset::Text("localhost:8787"),
        doc: "Where the local endpoint listens; always an address of this machine. `localhost:PORT` means\n\
              127.0.0.1 and, where there is one, ::1, on one port. Port 0 lets the system choose.",
    },
    Key {
        path: "server.allowed_origins",
        kind: Kind::Origins,
        default: Preset::Texts(&[]),
        doc: "Web pages that may speak to the local endpoint, by their exact origins: \"https://app.example\",\n\
              \"http://localhost:3000\", \"app://obsidian.md\", \"chrome-extension://ID\". Whoever can put a page there can\n\
              try keys; all other pages are refused. \"*\" and \"null\" are no origins.",
    },
    Key {
        path: "server.body_limit",
        kind: Kind::Integer(1024, 1 << 30),
        default: Preset::Number(8_388_608),
        doc: "Largest request body accepted from a local client, bytes; also when it is decoded (gzip, deflate, zstd).",
    },
    Key {
        path: "server.grace_seconds",
        kind: Kind::Integer(0, 3600),
        default: Preset::Number(10),
        doc: "How long calls in flight may go on after Ctrl-C or SIGTERM.",
    },
    Key {
        path: "api.most_choices",
        kind: Kind::Integer(1, 128),
        default: Preset::Number(8),
        doc: "How many answers (`n`) one request may ask for. Each is a call of its own and costs a token.",
    },
    Key {
        path: "api.second_try",
        kind: Kind::Switch,
        default: Preset::Switch(false),
        doc: "Asks the model once more, for a second token, when its answer does not fit the schema that the request\n\
              gave for it, or calls a tool with arguments that the tool does not take.",
    },
    Key {
        path: "api.aliases",
        kind: Kind::Names,
        default: Preset::Tables("[api.aliases]\ngpt-4o-mini = \"gpt-4.1-mini\""),
        doc: "Other names for models, for tools that insist on one that the backend has not. Names with dots are quoted.",
    },
    Key {
        path: "images.fetch_over_tor",
        kind: Kind::Switch,
        default: Preset::Switch(false),
        doc: "Fetches pictures that a request only points to, each on a Tor circuit of its own. The site that has a picture\n\
              then learns that somebody looks at it, and the exit sees which site that is. Off, such requests are refused.",
    },
    Key {
        path: "page.enabled",
        kind: Kind::Switch,
        default: Preset::Switch(true),
        doc: "Whether there is a local page that shows what llmtor is doing and what left this machine (`llmtor open`).",
    },
    Key {
        path: "page.listen",
        kind: Kind::Listen,
        default: Preset::Text("127.0.0.1:0"),
        doc: "Where the page listens; always an address of this machine. Port 0 lets the system choose, which is best: `llmtor\n\
              open` knows where it is.",
    },
    Key {
        path: "ollama.enabled",
        kind: Kind::Switch,
        default: Preset::Switch(true),
        doc: "Whether the local endpoint speaks Ollama's API, too, for programs that know no other.",
    },
    Key {
        path: "anthropic.enabled",
        kind: Kind::Switch,
        default: Preset::Switch(true),
        doc: "Whether the local endpoint speaks Anthropic's API, too.",
    },
    Key {
        path: "backend.identity_url",
        kind: Kind::IdentityUrl,
        default: Preset::Unset("https://api.example.org"),
        doc: "Base URL for everything that knows your account: session, credits, issuance. HTTPS, or plain HTTP\n\
              to this machine or (through Tor) an onion service. Written by `llmtor init`.",
    },
    Key {
        path: "backend.anonymous_url",
        kind: Kind::AnonymousUrl,
        default: Preset::Unset("http://127.0.0.1:9797"),
        doc: "Base URL for the prompts, which know nobody. The identity URL when absent.",
    },
    Key {
        path: "backend.body_limit",
        kind: Kind::Integer(1024, 1 << 30),
        default: Preset::Number(250_000),
        doc: "Largest body the backend takes on the anonymous plane, bytes (older ones: 30000). A larger call is\n\
              refused here, before it can cost a token.",
    },
    Key {
        path: "anonymous.transport",
        kind: Kind::Transport,
        default: Preset::Text("auto"),
        doc: "The anonymous plane's way out; there is never another behind it. `auto` is `loopback` for a backend on\n\
              this machine and `tor` for any other. `tor` is the Tor client built in. `socks5h://127.0.0.1:9050` is a\n\
              Tor that runs beside (9150: Tor Browser's). `loopback` reaches this machine and nothing else.",
    },
    Key {
        path: "anonymous.socks_without_tor",
        kind: Kind::Switch,
        default: Preset::Switch(false),
        doc: "Uses a SOCKS proxy that does not behave as Tor does. The backend then sees wherever it comes out, calls\n\
              are not kept apart, and nobody checked that it hides you at all.",
    },
    Key {
        path: "anonymous.isolation",
        kind: Kind::Choice(&["per-call", "per-conversation", "shared"]),
        default: Preset::Text("per-call"),
        doc: "Which calls share a circuit. `per-call`: none, so that nothing but their content ties two calls. Beyond it,\n\
              `per-conversation` shows the exit and the backend that calls belong to one conversation; `shared` shows\n\
              that all calls come from one user.",
    },
    Key {
        path: "anonymous.pool",
        kind: Kind::Integer(0, 32),
        default: Preset::Number(4),
        doc: "How many circuits are kept ready ahead of need, at most; how many there are follows from recent use.\n\
              0 builds each when its call comes, which then waits for it. Only `per-call` isolation has them.",
    },
    Key {
        path: "anonymous.padding",
        kind: Kind::Ladder(1, 1 << 30),
        default: Preset::Numbers(&[4096, 8192, 16_384, 32_768, 65_536, 131_072]),
        doc: "Lengths that redemptions are padded to, bytes, so that whoever watches sees few sizes; above the last one\n\
              it is `backend.body_limit`. [] for none. Other steps than everybody's set you apart.",
    },
    Key {
        path: "anonymous.connect_seconds",
        kind: Kind::Integer(1, 3600),
        default: Preset::Number(30),
        doc: "How long opening a stream to the backend may take.",
    },
    Key {
        path: "anonymous.first_byte_seconds",
        kind: Kind::Integer(1, 3600),
        default: Preset::Number(300),
        doc: "How long the first byte of an answer may take.",
    },
    Key {
        path: "anonymous.call_seconds",
        kind: Kind::Integer(1, 7200),
        default: Preset::Number(590),
        doc: "How long one call may take, repetitions included. Below the 600 seconds after which the usual\n\
              clients give up.",
    },
    Key {
        path: "anonymous.attempts",
        kind: Kind::Integer(1, 16),
        default: Preset::Number(8),
        doc: "How often one call tries, the first time included. Every try repeats the same bytes. The pauses\n\
              double from half a second on, so that eight tries span about a minute.",
    },
    Key {
        path: "anonymous.heartbeat_seconds",
        kind: Kind::Integer(1, 600),
        default: Preset::Number(5),
        doc: "How often a stream that waits for its answer shows a sign of life.",
    },
    Key {
        path: "tor.bootstrap_seconds",
        kind: Kind::Integer(1, 600),
        default: Preset::Number(30),
        doc: "How long a call, or a command that goes through Tor, waits for Tor to start before it is told that it\n\
              is not ready.",
    },
    Key {
        path: "tor.dormant_minutes",
        kind: Kind::Integer(1, 60 * 24 * 7),
        default: Preset::Number(60),
        doc: "After so long without a call no circuit is kept ready and Tor rests; the next call wakes it.",
    },
    Key {
        path: "tor.arti_config",
        kind: Kind::File,
        default: Preset::Unset("arti.toml"),
        doc: "A file with settings of Arti, the Tor client built in: bridges, another network, path rules, …",
    },
    Key {
        path: "tor.arti",
        kind: Kind::Table,
        default: Preset::Tables(
            "[tor.arti.bridges]\nbridges = [\"obfs4 192.0.2.1:443 0123456789ABCDEF0123456789ABCDEF01234567 cert=… iat-mode=0\"]\n\
             [[tor.arti.bridges.transports]]\nprotocols = [\"obfs4\"]\npath = \"/usr/bin/obfs4proxy\"",
        ),
        doc: "The same here; a setting here wins over the file's. Names are Arti's own. With bridges:",
    },
    Key {
        path: "tls.extra_roots",
        kind: Kind::File,
        default: Preset::Unset("ca.pem"),
        doc: "Certificates (PEM) that the anonymous plane trusts beside the web's, for a backend with its own.",
    },
    Key {
        path: "tls.pin",
        kind: Kind::Pin,
        default: Preset::Unset("sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        doc: "The only key that the backend's certificate on the anonymous plane may have: the SHA-256 of its\n\
              SubjectPublicKeyInfo, Base64.",
    },
    Key {
        path: "identity.transport",
        kind: Kind::Choice(&["direct", "tor"]),
        default: Preset::Text("direct"),
        doc: "The identity plane's way out; there is never another behind it. `tor` is the Tor client built in, on circuits\n\
              apart from the prompts': the backend knows your account all the same, but not where you are.",
    },
    Key {
        path: "identity.concurrency",
        kind: Kind::Integer(1, 64),
        default: Preset::Number(8),
        doc: "Issuance requests in flight at once.",
    },
    Key {
        path: "identity.delay_minutes",
        kind: Kind::Integer(0, 60 * 24 * 30),
        default: Preset::Number(360),
        doc: "Mean of the random delay before a freshly issued token may be used, so that issuing and spending\n\
              cannot be matched by their times.",
    },
    Key {
        path: "login.browser",
        kind: Kind::File,
        default: Preset::Unset("/usr/bin/chromium"),
        doc: "The browser whose window `llmtor login` opens: Chromium, Chrome, Edge or Brave. Unset, the first that is found.",
    },
    Key {
        path: "login.browser_args",
        kind: Kind::Arguments,
        default: Preset::Texts(&[]),
        doc: "More arguments for it, such as \"--no-sandbox\", without which it does not run as root.",
    },
    Key {
        path: "login.minutes",
        kind: Kind::Integer(1, 24 * 60),
        default: Preset::Number(10),
        doc: "How long the window waits for you to sign in.",
    },
    Key {
        path: "topup.enabled",
        kind: Kind::Switch,
        default: Preset::Switch(true),
        doc: "Whether `llmtor serve` mints tokens by itself: at random times that have nothing to do with your calls, in the same\n\
              few sizes as everybody. Off, tokens come from `llmtor tokens mint` alone.",
    },
    Key {
        path: "topup.warn_days",
        kind: Kind::Integer(0, 365),
        default: Preset::Number(3),
        doc: "Warns when a model's tokens last for fewer days than this, as it was used lately.",
    },
    Key {
        path: "topup.models",
        kind: Kind::Stocks,
        default: Preset::Tables("[topup.models.\"gpt-4.1\"]\ntarget = 1000\nbatch = 500"),
        doc: "Other counts for single models than the preset and your use suggest: minted is when fewer than `target` are\n\
              held, then `batch` of them (as many as the target when absent). Counts of your own set you apart.",
    },
    Key {
        path: "vault.key_store",
        kind: Kind::Choice(&["auto", "keyring", "file"]),
        default: Preset::Text("auto"),
        doc: "Where the key that seals the vault is kept: the system's keyring, or a file only you can read. `auto`\n\
              takes the keyring where there is one. Decided once, when the home is first used.",
    },
    Key {
        path: "log.level",
        kind: Kind::Choice(&["off", "error", "warn", "info", "debug", "trace"]),
        default: Preset::Text("warn"),
        doc: "What is told on standard error. No level shows prompts, answers, tokens or your session.",
    },
    Key {
        path: "log.files",
        kind: Kind::Integer(0, 365),
        default: Preset::Number(7),
        doc: "For how many days the daemon keeps its log in `logs` of the home, a file a day (`llmtor logs` shows it). In it\n\
              is what `log.level` says, and infos at least; the same is left out. 0 keeps none.",
    },
];

/// The key at `path`.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The key of a table that `path` lies in, and where in it.
pub fn inside(path: &str) -> Option<(&'static Key, &str)> {
    let mut tables = KEYS.iter().filter(|key| matches!(key.kind, Kind::Table | Kind::Names | Kind::Stocks));
    tables.find_map(|key| Some((key, path.strip_prefix(key.path)?.strip_prefix('.')?)))
}

/// The known key that `path` most resembles.
pub fn nearest(path: &str) -> &'static str {
    let last = |path: &'static str| path.rsplit('.').next().unwrap_or(path);
    let written = path.rsplit('.').next().unwrap_or(path);
    let score = |key: &Key| {
        let whole = strsim::normalized_damerau_levenshtein(path, key.path);
        // The right name in the wrong section, or with no section at all.
        let name = strsim::normalized_damerau_levenshtein(written, last(key.path)) * 0.9;
        whole.max(name)
    };
    // Of two that are as near, the first.
    KEYS.iter().rev().max_by(|a, b| score(a).total_cmp(&score(b))).map_or("server.listen", |key| key.path)
}

impl Kind {
    /// What a value of this kind is, for a message.
    pub fn expected(&self) -> String {
        match self {
            Self::Listen => super::InvalidListen.to_string(),
            Self::IdentityUrl => "an https:// URL, or http:// to this machine or an onion service".into(),
            Self::AnonymousUrl => "an http:// or https:// URL without user, query or fragment".into(),
            Self::Integer(low, high) => format!("a whole number from {low} to {high}"),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Switch => "true or false".into(),
            Self::Ladder(low, high) => format!("a list of ascending whole numbers from {low} to {high}"),
            Self::Arguments => "a list of arguments, such as [\"--no-sandbox\"]".into(),
            Self::Origins => format!("a list of {InvalidOrigin}"),
            Self::Transport => super::InvalidTransport.to_string(),
            Self::File => "the path of a file".into(),
            Self::Pin => "`sha256/` and the Base64 of 32 bytes".into(),
            Self::Table => "a table".into(),
            Self::Names => "a table of model names, each with the name of the model it stands for".into(),
            Self::Stocks => format!(
                "a table of model names, each with `target` and `batch`, whole numbers from 1 to {MOST_STOCKED}"
            ),
        }
    }

    /// Whether `value` is of this kind.
    pub fn accepts(&self, value: &toml::Value) -> bool {
        match (self, value) {
            (Self::Listen, toml::Value::String(text)) => text.parse::<Listen>().is_ok(),
            (Self::IdentityUrl, toml::Value::String(text)) => base_url(text).is_some_and(|url| {
                url.scheme() == "https" || url.scheme() == "http" && (is_loopback(&url) || is_onion(&url))
            }),
            (Self::AnonymousUrl, toml::Value::String(text)) => {
                base_url(text).is_some_and(|url| matches!(url.scheme(), "http" | "https"))
            }
            (Self::Integer(low, high), toml::Value::Integer(number)) => (low..=high).contains(&number),
            (Self::Choice(words), toml::Value::String(text)) => words.contains(&text.as_str()),
            (Self::Switch, toml::Value::Boolean(_)) | (Self::Table, toml::Value::Table(_)) => true,
            (Self::Ladder(low, high), toml::Value::Array(steps)) => {
                let numbers: Option<Vec<i64>> = steps.iter().map(toml::Value::as_integer).collect();
                numbers.is_some_and(|numbers| {
                    numbers.iter().all(|number| (low..=high).contains(&number))
                        && numbers.is_sorted_by(|a, b| a < b)
                })
            }
            (Self::Arguments, toml::Value::Array(texts)) => {
                texts.iter().all(|text| text.as_str().is_some_and(|text| text.starts_with("--")))
            }
            (Self::Origins, toml::Value::Array(origins)) => origins
                .iter()
                .all(|origin| origin.as_str().is_some_and(|text| text.parse::<WebOrigin>().is_ok())),
            (Self::Transport, toml::Value::String(text)) => text.parse::<super::TransportChoice>().is_ok(),
            (Self::Names, toml::Value::Table(names)) => names.iter().all(|(name, model)| {
                let is_name = |text: &str| ModelName::new(text).is_ok();
                is_name(name) && model.as_str().is_some_and(is_name)
            }),
            (Self::Stocks, toml::Value::Table(models)) => {
                models.iter().all(|(name, counts)| ModelName::new(name).is_ok() && is_stocking(counts))
            }
            (Self::File, toml::Value::String(text)) => !text.is_empty(),
            (Self::Pin, toml::Value::String(text)) => is_pin(text),
            _ => false,
        }
    }
}

impl Preset {
    /// As a value, if there is one.
    pub fn value(&self) -> Option<toml::Value> {
        match self {
            Self::Text(text) => Some(toml::Value::String((*text).to_owned())),
            Self::Number(number) => Some(toml::Value::Integer(*number)),
            Self::Switch(value) => Some(toml::Value::Boolean(*value)),
            Self::Numbers(values) => {
                Some(toml::Value::Array(values.iter().copied().map(toml::Value::Integer).collect()))
            }
            Self::Texts(texts) => {
                Some(toml::Value::Array(texts.iter().copied().map(toml::Value::from).collect()))
            }
            Self::Unset(_) | Self::Tables(_) => None,
        }
    }
}

/// Whether `url` names this machine without asking any resolver.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

fn is_onion(url: &Url) -> bool {
    // A URL's host is in lower case already.
    let Some(Host::Domain(name)) = url.host() else { return false };
    name.trim_end_matches('.').rsplit_once('.').is_some_and(|(_, last)| last == "onion")
}

fn is_stocking(counts: &toml::Value) -> bool {
    let is_count = |value: &toml::Value| value.as_integer().is_some_and(|n| (1..=MOST_STOCKED).contains(&n));
    let is_known = |name: &str| matches!(name, "target" | "batch");
    counts
        .as_table()
        .is_some_and(|counts| counts.iter().all(|(name, value)| is_known(name) && is_count(value)))
}

fn is_pin(text: &str) -> bool {
    use base64::Engine as _;
    let encoded = text.strip_prefix("sha256/");
    let decoded = encoded.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
    decoded.is_some_and(|bytes| bytes.len() == 32)
}

fn base_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let bare = url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    bare.then_some(url)
}

/// The example configuration: every key with its default and its meaning.
pub fn example() -> String {
    let mut text = String::from(
        "# llmtor's configuration: every key with its default. Put it as config.toml into the home\n\
         # (`llmtor status` shows where that is); keys left out keep their defaults.\n\
         # Over this file stand the environment (LLMTOR_SECTION__KEY) and `--set section.key=value`.\n",
    );
    let mut section = "";
    for key in KEYS {
        let (here, name) = key.path.split_once('.').unwrap_or(("", key.path));
        text.push('\n');
        // Writing to a String cannot fail.
        if here != section {
            section = here;
            let _ = writeln!(text, "[{section}]");
        }
        for line in key.doc.lines() {
            let _ = writeln!(text, "# {}", line.trim_start());
        }
        let _ = match &key.default {
            Preset::Text(value) => writeln!(text, "{name} = \"{value}\""),
            Preset::Number(value) => writeln!(text, "{name} = {value}"),
            Preset::Switch(value) => writeln!(text, "{name} = {value}"),
            Preset::Numbers(values) => writeln!(text, "{name} = {values:?}"),
            Preset::Texts(texts) => writeln!(text, "{name} = {texts:?}"),
            Preset::Unset(value) => writeln!(text, "# {name} = \"{value}\""),
            Preset::Tables(value) => value.lines().try_for_each(|line| writeln!(text, "# {line}")),
        };
    }
    text
}

#[cfg(test)]
mod tests;
