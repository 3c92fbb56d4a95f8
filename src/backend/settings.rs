//! What a host of the backend can set: one TOML file, every key with a default.
//!
//! Unknown keys are errors that name the nearest known one. Secrets never stand in the file: a
//! provider's key is read from the environment variable that `key_env` names.

mod sign_in;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use super::store::settings::{DodoSettings, Environment, PaddleSettings, StoreSettings};
use crate::wire::{ABUSE_PERMANENT, ABUSE_TRANSIENT, BODY_LIMIT, BODY_LIMIT_BEFORE, ModelName};

pub(super) use sign_in::is_here;
pub use sign_in::{OidcSettings, SignInSettings};

/// The name of the provider that needs no configuration.
pub const EMBEDDED: &str = "embedded";

/// The whole file. `Settings::default()` serves one model, `llmtor-demo`, out of the embedded provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Which protocol generation to speak; default `current`.
    pub generation: Generation,
    /// Which planes the listener serves; default `both`, and `identity` beside an onion service, which serves the
    /// anonymous plane whatever stands here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planes: Option<Planes>,
    /// Largest whole body of a redemption, bytes; default 250,000, and 30,000 for the older generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_limit: Option<usize>,
    /// How long an answer is kept for a repeat, days; default 5.
    pub answer_days: u32,
    /// Name of an account that `/users/signin` signs in without asking, for connections from this
    /// machine only; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub development_account: Option<String>,
    /// How people sign in, beside invite codes.
    #[serde(skip_serializing_if = "SignInSettings::is_empty")]
    pub sign_in: SignInSettings,
    /// Credits of a new account, by model; default none.
    pub free_credits: BTreeMap<ModelName, i64>,
    /// Requests per second.
    pub limits: RateLimits,
    /// The Tor client under an onion service.
    #[serde(skip_serializing_if = "TorSettings::is_empty")]
    pub tor: TorSettings,
    /// What is looked at before a prompt goes upstream; default `none`.
    pub moderation: Moderation,
    /// Model id → where its answers come from.
    pub models: BTreeMap<ModelName, ModelSettings>,
    /// Provider name → how to reach it. `embedded` is built in.
    pub providers: BTreeMap<String, ProviderSettings>,
    /// What `/model-pricing` offers; default nothing.
    pub packages: Vec<PackageSettings>,
    /// How they are sold; default by vouchers alone.
    #[serde(skip_serializing_if = "StoreSettings::is_default")]
    pub store: StoreSettings,
}

/// Which server is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// Abuse tokens, 250,000 bytes.
    #[default]
    Current,
    /// Three fields in `llmmask`, 30,000 bytes.
    Older,
}

/// Which endpoints a listener answers; the rest is `404`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Planes {
    /// All of them.
    #[default]
    Both,
    /// All but `/llm-proxy`.
    Identity,
    /// `/llm-proxy` alone: what an onion service should expose.
    Anonymous,
}

/// Requests per second; `0` means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimits {
    /// Per session cookie; default 100.
    pub per_session: u32,
    /// Per peer address; default 10,000. Clients of an onion service have none and are not counted.
    pub per_address: u32,
}

/// The Tor client under an onion service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TorSettings {
    /// A file of Arti's settings; a relative path is meant from the backend's home; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arti_config: Option<PathBuf>,
    /// Arti's settings, over the file's; default none.
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    pub arti: toml::Table,
}

/// What is looked at before a prompt goes upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Moderation {
    /// Nothing; message parts are still checked for form.
    #[default]
    None,
    /// A prompt with one of the words is blocked.
    Words {
        /// UTF-8, one word or phrase a line; `#` starts a comment line.
        file: PathBuf,
    },
    /// A service that speaks `POST {base_url}/moderations`.
    OpenAi {
        /// For example `https://api.openai.com/v1`.
        base_url: String,
        /// Name of the environment variable with its key.
        #[serde(default)]
        key_env: Option<String>,
    },
}

/// Where one model's answers come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// A name out of `[providers]`, or `embedded` (default).
    #[serde(default = "embedded")]
    pub provider: String,
    /// What the provider calls it; default: the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<String>,
    /// Default `any`.
    #[serde(default)]
    pub roles: Roles,
}

/// Which roles a model takes (protocol.md §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Roles {
    /// Whatever the provider takes.
    #[default]
    Any,
    /// `system`, `user` and `assistant` with content; anything else gets a provider's error body inside
    /// a 200, as with the deployed server's Gemini models. The token is spent.
    Strict,
}

/// How to reach an OpenAI-compatible provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// `POST {base_url}/chat/completions`.
    pub base_url: String,
    /// Name of the environment variable with its key; default: no key is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// Whole call, seconds; default 580.
    #[serde(default = "provider_seconds")]
    pub timeout_seconds: u64,
}

/// One offer of `/model-pricing`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSettings {
    /// Offer id.
    pub id: String,
    /// The model it is for.
    pub model: ModelName,
    /// Credits.
    pub tokens: i64,
    /// As shown: `$…`.
    pub price: String,
    /// Marked as popular; default false.
    #[serde(default)]
    pub popular: bool,
    /// What a payment for one must come to, in the smallest unit of `currency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
    /// Three capital letters, as ISO 4217 has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// What Paddle calls it (`pri_…`); default: not sold there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paddle_price_id: Option<String>,
    /// What Dodo calls it (`pdt_…`); default: not sold there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dodo_product_id: Option<String>,
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}", path = .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or a value has the wrong type, or a key is unknown.
    #[error("{0}")]
    Syntax(String),
    /// The parts do not fit together.
    #[error("{0}")]
    Meaning(String),
}

impl Default for Settings {
    fn default() -> Self {
        let demo = ModelName::new("llmtor-demo").into_iter();
        Self {
            generation: Generation::default(),
            planes: None,
            body_limit: None,
            answer_days: 5,
            development_account: None,
            sign_in: SignInSettings::default(),
            free_credits: BTreeMap::new(),
            limits: RateLimits::default(),
            tor: TorSettings::default(),
            moderation: Moderation::default(),
            models: demo.map(|name| (name, ModelSettings::default())).collect(),
            providers: BTreeMap::new(),
            packages: Vec::new(),
            store: StoreSettings::default(),
        }
    }
}

impl TorSettings {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { per_session: 100, per_address: 10_000 }
    }
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self { provider: embedded(), upstream_model: None, roles: Roles::Any }
    }
}

fn embedded() -> String {
    EMBEDDED.to_owned()
}

fn provider_seconds() -> u64 {
    580
}

impl Settings {
    /// Reads `path`.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Reads TOML text and checks that its parts fit together.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = toml::from_str(text).map_err(|error| SettingsError::Syntax(explain(&error)))?;
        settings.check()?;
        Ok(settings)
    }

    /// The file's text, with every value written out.
    pub fn to_toml(&self) -> Result<String, SettingsError> {
        toml::to_string_pretty(self).map_err(|error| SettingsError::Syntax(error.to_string()))
    }

    /// What the listener serves beside an onion service: what it was told to, else what the onion service does not.
    pub fn planes_beside_onion(&self) -> Planes {
        self.planes.unwrap_or(Planes::Identity)
    }

    /// The body limit in force, bytes.
    pub fn effective_body_limit(&self) -> usize {
        self.body_limit.unwrap_or(match self.generation {
            Generation::Current => BODY_LIMIT,
            Generation::Older => BODY_LIMIT_BEFORE,
        })
    }

    /// Checks that the parts fit together; `parse` has done it already.
    pub fn check(&self) -> Result<(), SettingsError> {
        let fail = |text: String| Err(SettingsError::Meaning(text));
        if self.models.is_empty() {
            return fail("no model is configured: add a [models.\"NAME\"] section".into());
        }
        // Clients take a token that was in doubt for longer than this for a fresh one (protocol.md §5): an
        // answer that is still there then would be given to another prompt.
        if !(1..=5).contains(&self.answer_days) {
            return fail(
                "answer_days must be between 1 and 5: clients rely on answers being gone after 5".into(),
            );
        }
        self.sign_in.check()?;
        for (name, model) in &self.models {
            if [ABUSE_PERMANENT, ABUSE_TRANSIENT].contains(&name.as_str()) {
                return fail(format!(
                    "`{name}` is the name of an abuse token's key; call the model otherwise"
                ));
            }
            if model.provider != EMBEDDED && !self.providers.contains_key(&model.provider) {
                let known = self.providers.keys().map(String::as_str).chain([EMBEDDED]);
                let hint = nearest(&model.provider, known);
                return fail(format!("model {name}: no provider is called `{}`{hint}", model.provider));
            }
        }
        for name in self.free_credits.keys().chain(self.packages.iter().map(|package| &package.model)) {
            if !self.models.contains_key(name) {
                let hint = nearest(name.as_str(), self.models.keys().map(ModelName::as_str));
                return fail(format!("no model is called `{name}`{hint}"));
            }
        }
        self.store.check(&self.packages)
    }
}

/// The parser's message, with the nearest known key when a key is unknown.
fn explain(error: &toml::de::Error) -> String {
    let message = error.to_string();
    let plain = error.message();
    if !plain.starts_with("unknown field") && !plain.starts_with("unknown variant") {
        return message;
    }
    // serde writes: unknown field `x`, expected one of `a`, `b`.
    let mut quoted = plain.split('`').skip(1).step_by(2);
    let unknown = quoted.next().unwrap_or_default();
    format!("{}{}", message.trim_end(), nearest(unknown, quoted))
}

fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_survive_their_own_text() {
        let text = Settings::default().to_toml().unwrap();
        assert_eq!(Settings::parse(&text).unwrap(), Settings::default());
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
    }

    #[test]
    fn an_unknown_key_names_the_nearest_known_one() {
        let error = Settings::parse("bodylimit = 3").unwrap_err().to_string();
        assert!(error.contains("did you mean `body_limit`?"), "{error}");
        let error = Settings::parse("[limits]\nper_sesion = 3").unwrap_err().to_string();
        assert!(error.contains("did you mean `per_session`?"), "{error}");
        let error = Settings::parse("generation = \"oldr\"").unwrap_err().to_string();
        assert!(error.contains("did you mean `older`?"), "{error}");
    }

    #[test]
    fn a_model_of_an_unknown_provider_is_refused() {
        let text = "[models.\"m\"]\nprovider = \"locl\"\n[providers.local]\nbase_url = \"http://x/v1\"";
        let error = Settings::parse(text).unwrap_err().to_string();
        assert!(error.contains("did you mean `local`?"), "{error}");
    }

    #[test]
    fn the_older_generation_takes_smaller_bodies() {
        assert_eq!(Settings::parse("").unwrap().effective_body_limit(), 250_000);
        assert_eq!(Settings::parse("generation = \"older\"").unwrap().effective_body_limit(), 30_000);
        let both = "generation = \"older\"\nbody_limit = 7";
        assert_eq!(Settings::parse(both).unwrap().effective_body_limit(), 7);
    }

    #[test]
    fn beside_an_onion_service_the_listener_leaves_the_anonymous_plane_to_it_unless_told() {
        let beside = |text: &str| Settings::parse(text).unwrap().planes_beside_onion();
        assert_eq!(beside(""), Planes::Identity);
        assert_eq!(beside("planes = \"both\""), Planes::Both);
        assert_eq!(beside("planes = \"anonymous\""), Planes::Anonymous);
        // What `backend init` writes says nothing of it.
        assert_eq!(beside(&Settings::default().to_toml().unwrap()), Planes::Identity);
    }

    #[test]
    fn every_section_is_read() {
        let text = r#"
            planes = "anonymous"
            free_credits = { m = 3 }
            [models.m]
            provider = "local"
            upstream_model = "gemma"
            roles = "strict"
            [providers.local]
            base_url = "http://127.0.0.1:1/v1"
            key_env = "KEY"
            [moderation]
            kind = "openai"
            base_url = "http://127.0.0.1:1/v1"
            [tor]
            arti_config = "arti.toml"
            [tor.arti.path_rules]
            ipv4_subnet_family_prefix = 33
            [[packages]]
            id = "p"
            model = "m"
            tokens = 5
            price = "$1"
        "#;
        let settings = Settings::parse(text).unwrap();
        assert_eq!(settings.planes, Some(Planes::Anonymous));
        assert_eq!(settings.tor.arti_config, Some("arti.toml".into()));
        assert_eq!(settings.tor.arti["path_rules"]["ipv4_subnet_family_prefix"].as_integer(), Some(33));
        assert_eq!(settings.providers["local"].timeout_seconds, 580);
        assert_eq!(Settings::parse(&settings.to_toml().unwrap()).unwrap(), settings);
    }
}
