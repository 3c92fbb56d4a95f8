//! Where answers come from.
//!
//! A provider gets `model` and `messages` and nothing else, and its whole answer, error bodies included,
//! is what the client gets and what is stored (protocol.md §4).

pub(super) mod embedded;
pub(super) mod openai;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::settings::{EMBEDDED, Roles, Settings};
use crate::clock::SharedClock;
use crate::wire::ModelName;

/// Largest answer taken from a provider, bytes.
const ANSWER_LIMIT: usize = 32 << 20;

/// There is no answer to hand on. The text names no host, key or prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// No connection, or it broke, or it took too long.
    #[error("the upstream provider cannot be reached")]
    Unreachable,
    /// More than can be stored.
    #[error("the upstream provider's answer is too large")]
    TooLarge,
    /// Its settings are wrong; noticed at start.
    #[error("a provider's base_url is not an http or https URL")]
    BadUrl,
    /// The variable that `key_env` names is unset or has characters no header may have.
    #[error("the environment variable that key_env names is not set, or is no header value")]
    BadKey,
    /// The HTTP client cannot be built.
    #[error("the HTTP client cannot be built")]
    Client,
}

/// Answers one request.
pub(super) trait Provider: Send + Sync {
    /// The body of the provider's answer, whatever its status.
    fn complete<'a>(
        &'a self,
        model: &'a str,
        messages: &'a [Value],
    ) -> BoxFuture<'a, Result<Vec<u8>, ProviderError>>;
}

/// One model and where its answers come from.
pub(super) struct Route {
    provider: Arc<dyn Provider>,
    upstream_model: String,
    roles: Roles,
}

/// Every model that is served.
pub(super) type Catalog = BTreeMap<ModelName, Route>;

/// Connects models with providers.
pub(super) fn catalog(settings: &Settings, clock: &SharedClock) -> Result<Catalog, ProviderError> {
    let mut providers: BTreeMap<&str, Arc<dyn Provider>> = BTreeMap::new();
    providers.insert(EMBEDDED, Arc::new(embedded::Embedded::new(clock.clone())));
    for (name, provider) in &settings.providers {
        providers.insert(name, Arc::new(openai::OpenAi::new(provider)?));
    }
    let mut catalog = Catalog::new();
    for (name, model) in &settings.models {
        let Some(provider) = providers.get(model.provider.as_str()) else { continue };
        let upstream_model = model.upstream_model.clone().unwrap_or_else(|| name.to_string());
        catalog.insert(
            name.clone(),
            Route { provider: Arc::clone(provider), upstream_model, roles: model.roles },
        );
    }
    Ok(catalog)
}

impl Route {
    /// The provider's answer, or the error body of one that refuses the messages' roles.
    pub(super) async fn complete(&self, messages: &[Value]) -> Result<Vec<u8>, ProviderError> {
        if self.roles == Roles::Strict && !messages.iter().all(is_safe) {
            return Ok(refused_role().to_string().into_bytes());
        }
        self.provider.complete(&self.upstream_model, messages).await
    }
}

/// Roles and contents that every model takes (protocol.md §4).
fn is_safe(message: &Value) -> bool {
    let role = message.get("role").and_then(Value::as_str).unwrap_or_default();
    let content = match message.get("content") {
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(parts)) => !parts.is_empty(),
        _ => false,
    };
    matches!(role, "system" | "user" | "assistant") && content
}

/// As Gemini says it.
fn refused_role() -> Value {
    json!({"error": {
        "code": 400,
        "message": "Please use a valid role: user, model.",
        "status": "INVALID_ARGUMENT",
    }})
}
