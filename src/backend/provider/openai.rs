//! Services that speak OpenAI's HTTP API: completions upstream, and moderation.
//!
//! The only place of the backend that dials. No header of a client's gets here; the key's header is
//! marked sensitive.

use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use url::Url;

use super::{ANSWER_LIMIT, Provider, ProviderError};
use crate::backend::moderation::{AnalysisError, Moderator, Verdict};
use crate::backend::settings::ProviderSettings;

const CONNECT: Duration = Duration::from_secs(20);
const MODERATION: Duration = Duration::from_secs(30);

/// `POST {base_url}/chat/completions`.
pub(in crate::backend) struct OpenAi {
    client: reqwest::Client,
    endpoint: Url,
}

/// `POST {base_url}/moderations`.
pub(in crate::backend) struct OpenAiModerator {
    client: reqwest::Client,
    endpoint: Url,
}

impl OpenAi {
    pub(in crate::backend) fn new(settings: &ProviderSettings) -> Result<Self, ProviderError> {
        let timeout = Duration::from_secs(settings.timeout_seconds);
        let client = client(settings.key_env.as_deref(), timeout)?;
        Ok(Self { client, endpoint: endpoint(&settings.base_url, "chat/completions")? })
    }
}

impl OpenAiModerator {
    pub(in crate::backend) fn new(base_url: &str, key_env: Option<&str>) -> Result<Self, ProviderError> {
        Ok(Self { client: client(key_env, MODERATION)?, endpoint: endpoint(base_url, "moderations")? })
    }
}

impl Provider for OpenAi {
    fn complete<'a>(
        &'a self,
        model: &'a str,
        messages: &'a [Value],
    ) -> BoxFuture<'a, Result<Vec<u8>, ProviderError>> {
        Box::pin(async move {
            let body = json!({"model": model, "messages": messages}).to_string();
            post(&self.client, &self.endpoint, body).await.map(|(_, answer)| answer)
        })
    }
}

impl Moderator for OpenAiModerator {
    fn check(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Verdict, AnalysisError>> {
        Box::pin(async move {
            if texts.is_empty() {
                return Ok(Verdict::Passed);
            }
            let failed = || AnalysisError("the moderation service failed".into());
            let body = json!({"input": texts}).to_string();
            let (status, answer) = post(&self.client, &self.endpoint, body).await.map_err(|_| failed())?;
            if !status.is_success() {
                return Err(failed());
            }
            let answer: Value = serde_json::from_slice(&answer).map_err(|_| failed())?;
            judge(&answer).ok_or_else(failed)
        })
    }
}

/// `None` if this is not a moderation answer.
fn judge(answer: &Value) -> Option<Verdict> {
    let results = answer.get("results")?.as_array().filter(|results| !results.is_empty())?;
    let mut categories = serde_json::Map::new();
    let mut blocked = false;
    for result in results {
        if result.get("flagged")?.as_bool()? {
            blocked = true;
            let named = result.get("categories").and_then(Value::as_object).into_iter().flatten();
            let hit = named.filter(|(_, flag)| **flag == Value::Bool(true));
            categories.extend(hit.map(|(name, flag)| (name.clone(), flag.clone())));
        }
    }
    Some(if blocked { Verdict::Blocked(Value::Object(categories).to_string()) } else { Verdict::Passed })
}

async fn post(
    client: &reqwest::Client,
    endpoint: &Url,
    body: String,
) -> Result<(reqwest::StatusCode, Vec<u8>), ProviderError> {
    let request = client.post(endpoint.clone()).header("content-type", "application/json").body(body);
    let mut response = request.send().await.map_err(|_| ProviderError::Unreachable)?;
    let mut answer = Vec::new();
    // A body that breaks off is no answer: stored, it would be replayed for days.
    while let Some(piece) = response.chunk().await.map_err(|_| ProviderError::Unreachable)? {
        if answer.len() + piece.len() > ANSWER_LIMIT {
            return Err(ProviderError::TooLarge);
        }
        answer.extend_from_slice(&piece);
    }
    Ok((response.status(), answer))
}

fn endpoint(base_url: &str, path: &str) -> Result<Url, ProviderError> {
    let url = Url::parse(&format!("{}/{path}", base_url.trim_end_matches('/')));
    url.ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or(ProviderError::BadUrl)
}

#[expect(clippy::disallowed_methods, reason = "the backend's providers are one of the places that may dial")]
fn client(key_env: Option<&str>, timeout: Duration) -> Result<reqwest::Client, ProviderError> {
    // An error means that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = HeaderMap::new();
    if let Some(variable) = key_env {
        let key = std::env::var(variable).map(zeroize::Zeroizing::new).map_err(|_| ProviderError::BadKey)?;
        let bearer = zeroize::Zeroizing::new(format!("Bearer {}", key.as_str()));
        let mut value = HeaderValue::from_str(&bearer).map_err(|_| ProviderError::BadKey)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    reqwest::Client::builder()
        .default_headers(headers)
        .connect_timeout(CONNECT)
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        // What the environment says would send prompts and the key elsewhere than the settings do.
        .no_proxy()
        .build()
        .map_err(|_| ProviderError::Client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_in_any_result_blocks_and_only_moderation_answers_are_believed() {
        let passed = json!({"results": [{"flagged": false, "categories": {"hate": false}}]});
        assert_eq!(judge(&passed), Some(Verdict::Passed));
        let blocked = json!({"results": [
            {"flagged": false, "categories": {"hate": true}},
            {"flagged": true, "categories": {"violence": true, "hate": false}},
        ]});
        assert_eq!(judge(&blocked), Some(Verdict::Blocked(r#"{"violence":true}"#.into())));
        for strange in [json!({}), json!({"results": []}), json!({"results": [{}]}), json!([])] {
            assert_eq!(judge(&strange), None, "{strange}");
        }
    }

    #[test]
    fn only_http_urls_are_endpoints() {
        assert_eq!(endpoint("http://h/v1/", "x").unwrap().as_str(), "http://h/v1/x");
        assert!(endpoint("file:///etc", "x").is_err());
        assert!(endpoint("h:80/v1", "x").is_err());
    }
}
