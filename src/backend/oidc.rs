//! Signing in with an OpenID Connect provider: the authorization code flow with PKCE, as a confidential or a public client.
//!
//! | step | what is held or checked |
//! | --- | --- |
//! | [`Oidc::begin`] | state, nonce, PKCE verifier, the provider, where to go afterwards; found again by a cookie of this browser |
//! | the browser comes back | cookie known and younger than ten minutes, used once; provider and state are those of the cookie |
//! | the code is exchanged | over TLS, at the endpoint that the issuer names, with the verifier |
//! | the id token | signature by a key of the issuer, issuer, audience, expiry, nonce, and the access token's hash where there is one |
//! | the person | the domain of a *verified* address, where domains are set |
//!
//! Invariants: what a browser brings back without having been sent from here opens nothing; no token of a provider is kept
//! or logged; a provider's answer is read up to a limit and a redirect of it is not followed. One request at a time asks a
//! provider what it is; whoever comes meanwhile gets the same answer, or the same silence.
//!
//! Deliberately absent: refresh tokens, and any request to a provider after the sign-in.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata, CoreUserInfoClaims};
use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    HttpRequest, HttpResponse, IssuerUrl, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, Scope, TokenResponse as _,
};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::ledger::Person;
use super::settings::OidcSettings;
use crate::clock::{SharedClock, Timestamp};
use crate::secret::Secret;

/// How long somebody may take at the provider, seconds.
pub(super) const PATIENCE: i64 = 600;
/// How long what a provider says of itself is believed, seconds.
const METADATA: i64 = 300;
/// How young it must be where a signature does not fit its keys, seconds: they may have been changed since.
const RENEWED: i64 = 10;
/// How long a provider that did not answer is left alone, seconds.
const SILENCE: i64 = 10;
/// Sign-ins under way; beyond it the oldest is forgotten.
const MOST: usize = 10_000;
const CONNECT: Duration = Duration::from_secs(10);
const CALL: Duration = Duration::from_secs(20);
/// Largest answer of a provider that is read, bytes.
const ANSWER_LIMIT: usize = 1 << 20;

/// All providers of the settings, and the sign-ins that are under way.
pub(super) struct Oidc {
    providers: BTreeMap<String, Provider>,
    client: reqwest::Client,
    under_way: Mutex<HashMap<[u8; 32], UnderWay>>,
    clock: SharedClock,
}

struct Provider {
    label: String,
    issuer: String,
    client_id: String,
    secret: ClientProof,
    scopes: Vec<String>,
    domains: Vec<String>,
    known: tokio::sync::Mutex<Known>,
}

/// What a provider said of itself last, and when.
enum Known {
    Nothing,
    Silence(Timestamp),
    Metadata(Timestamp, Box<CoreProviderMetadata>),
}

/// How this backend shows a provider that it is itself.
enum ClientProof {
    /// It does not.
    Public,
    Secret(ClientSecret),
    /// It should, but the variable of that name is not set. Commands beside the server do without.
    Missing(String),
}

/// Somebody who was sent to a provider.
struct UnderWay {
    provider: String,
    state: Secret<String>,
    nonce: Nonce,
    verifier: PkceCodeVerifier,
    callback: RedirectUrl,
    target: Url,
    since: Timestamp,
}

/// Where to send a browser, and what it must bring back.
pub(super) struct Begun {
    pub(super) location: Url,
    pub(super) cookie: Secret<String>,
}

/// Why somebody is not let in; the text is shown on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OidcError {
    #[error("This backend knows no such provider. Go back and choose another way.")]
    NoProvider,
    #[error(
        "The provider does not answer as it should. Try again in a minute; if it persists, tell this backend's host."
    )]
    Unreachable,
    #[error("This sign-in was not begun in this browser, or longer than ten minutes ago. Start again.")]
    Stale,
    #[error("The provider did not let you in, or you declined. Start again, or choose another way.")]
    Declined,
    #[error(
        "What the provider said does not check out, so nobody was signed in. Start again; if it persists, tell this backend's host."
    )]
    Forged,
    #[error(
        "This backend is open to verified mail addresses of certain domains only. Choose another account."
    )]
    NotAdmitted,
}

/// Why the settings of a provider cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OidcSettingsError {
    /// No secret where the settings say that it is.
    #[error(
        "sign_in.oidc.{name}: the environment variable {variable} is not set; put the client's secret there"
    )]
    NoSecret {
        /// Which provider.
        name: String,
        /// Which variable.
        variable: String,
    },
    /// TLS.
    #[error("TLS could not be set up; install the system's CA certificates (package `ca-certificates`)")]
    Tls,
}

impl Oidc {
    pub(super) fn new(
        settings: &BTreeMap<String, OidcSettings>,
        clock: SharedClock,
    ) -> Result<Self, OidcSettingsError> {
        let providers = settings.iter().map(|(name, settings)| (name.clone(), Provider::new(name, settings)));
        Ok(Self { providers: providers.collect(), client: client()?, under_way: Mutex::default(), clock })
    }

    /// Whether everything is there that a sign-in needs.
    pub(super) fn check(&self) -> Result<(), OidcSettingsError> {
        let missing = self.providers.iter().find_map(|(name, provider)| match &provider.secret {
            ClientProof::Missing(variable) => Some((name.clone(), variable.clone())),
            ClientProof::Public | ClientProof::Secret(_) => None,
        });
        missing.map_or(Ok(()), |(name, variable)| Err(OidcSettingsError::NoSecret { name, variable }))
    }

    /// Names and labels.
    pub(super) fn providers(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.providers.iter().map(|(name, provider)| (name.as_str(), provider.label.as_str()))
    }

    /// Sends a browser to the provider; it comes back to `callback` and goes on to `target`.
    pub(super) async fn begin(&self, name: &str, callback: Url, target: Url) -> Result<Begun, OidcError> {
        let provider = self.providers.get(name).ok_or(OidcError::NoProvider)?;
        let callback = RedirectUrl::from_url(callback);
        let client = CoreClient::from_provider_metadata(
            self.metadata(provider, METADATA).await?,
            ClientId::new(provider.client_id.clone()),
            provider.secret()?,
        )
        .set_redirect_uri(callback.clone());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let request = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                CsrfToken::new_random,
                Nonce::new_random,
            )
            .add_scopes(provider.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(challenge);
        let (location, state, nonce) = request.url();
        let cookie = Secret::new(CsrfToken::new_random_len(32).into_secret());
        let now = self.clock.now();
        let under_way = UnderWay {
            provider: name.to_owned(),
            state: Secret::new(state.into_secret()),
            nonce,
            verifier,
            callback,
            target,
            since: now,
        };
        self.note(Sha256::digest(cookie.expose()).into(), under_way, now);
        Ok(Begun { location, cookie })
    }

    /// Somebody came back with `cookie`, and with `state` and `code` in the URL. Whatever comes of it, the cookie is used up.
    pub(super) async fn finish(
        &self,
        name: &str,
        cookie: &str,
        state: &str,
        code: Option<String>,
    ) -> Result<(Person, Url), OidcError> {
        let under_way = self.take(&Sha256::digest(cookie).into()).ok_or(OidcError::Stale)?;
        let is_fresh = self.clock.now().seconds_since(under_way.since) <= PATIENCE;
        if !is_fresh || under_way.provider != name || !under_way.state.matches(state.as_bytes()) {
            return Err(OidcError::Stale);
        }
        let code = code.ok_or(OidcError::Declined)?;
        let provider = self.providers.get(name).ok_or(OidcError::NoProvider)?;
        let target = under_way.target.clone();
        Ok((self.identify(provider, under_way, code).await?, target))
    }

    /// Exchanges the code, and believes what checks out.
    async fn identify(
        &self,
        provider: &Provider,
        UnderWay { nonce, verifier, callback, .. }: UnderWay,
        code: String,
    ) -> Result<Person, OidcError> {
        let (id, secret) = (ClientId::new(provider.client_id.clone()), provider.secret()?);
        let client_by = |metadata| {
            CoreClient::from_provider_metadata(metadata, id.clone(), secret.clone())
                .set_redirect_uri(callback.clone())
        };
        let mut client = client_by(self.metadata(provider, METADATA).await?);
        let http = |request| fetch(self.client.clone(), request);
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|_| OidcError::Unreachable)?
            .set_pkce_verifier(verifier)
            .request_async(&http)
            .await
            .map_err(|_| OidcError::Unreachable)?;
        let clock = self.clock.clone();
        let now = move || (UNIX_EPOCH + Duration::from_secs(clock.now().unix().max(0).unsigned_abs())).into();
        let token = answer.id_token().ok_or(OidcError::Forged)?;
        let judged = token.claims(&client.id_token_verifier().set_time_fn(now.clone()), &nonce).map(drop);
        if let Err(ClaimsVerificationError::SignatureVerification(_)) = judged {
            client = client_by(self.metadata(provider, RENEWED).await?);
        }
        let judge = client.id_token_verifier().set_time_fn(now);
        let claims = token.claims(&judge, &nonce).map_err(|_| OidcError::Forged)?;
        if let Some(expected) = claims.access_token_hash() {
            let algorithm = token.signing_alg().map_err(|_| OidcError::Forged)?;
            let key = token.signing_key(&judge).map_err(|_| OidcError::Forged)?;
            let actual = AccessTokenHash::from_token(answer.access_token(), algorithm, key)
                .map_err(|_| OidcError::Forged)?;
            if actual != *expected {
                return Err(OidcError::Forged);
            }
        }
        let text = |value: Option<&String>| value.cloned().unwrap_or_default();
        let mut person = Person {
            issuer: claims.issuer().to_string(),
            subject: claims.subject().to_string(),
            name: claims.name().and_then(|name| name.get(None)).map(|name| name.to_string()),
            email: text(claims.email().map(|email| &**email)),
            picture: text(claims.picture().and_then(|picture| picture.get(None)).map(|url| &**url)),
        };
        let mut is_verified = claims.email_verified().unwrap_or(false);
        // Many a provider says these only when it is asked for them.
        if person.email.is_empty() || person.name.is_none() {
            let subject = Some(claims.subject().clone());
            if let Ok(request) = client.user_info(answer.access_token().clone(), subject) {
                let told: Result<CoreUserInfoClaims, _> = request.request_async(&http).await;
                let told = told.map_err(|_| OidcError::Unreachable)?;
                let name = told.name().and_then(|name| name.get(None)).map(|name| name.to_string());
                person.name = person.name.or(name);
                if person.email.is_empty() {
                    person.email = text(told.email().map(|email| &**email));
                    is_verified = told.email_verified().unwrap_or(false);
                }
                if person.picture.is_empty() {
                    person.picture =
                        text(told.picture().and_then(|picture| picture.get(None)).map(|url| &**url));
                }
            }
        }
        if provider.admits(&person.email, is_verified) { Ok(person) } else { Err(OidcError::NotAdmitted) }
    }

    /// What the provider says of itself; asked anew if what is known is `seconds` old.
    async fn metadata(&self, provider: &Provider, seconds: i64) -> Result<CoreProviderMetadata, OidcError> {
        let waited = tokio::time::timeout(CALL, provider.known.lock()).await;
        let mut known = waited.map_err(|_| OidcError::Unreachable)?;
        let now = self.clock.now();
        let is_younger = |since: Timestamp, seconds| (0..seconds).contains(&now.seconds_since(since));
        match &*known {
            Known::Metadata(since, metadata) if is_younger(*since, seconds) => {
                return Ok(CoreProviderMetadata::clone(metadata));
            }
            Known::Silence(since) if is_younger(*since, SILENCE) => return Err(OidcError::Unreachable),
            Known::Nothing | Known::Silence(_) | Known::Metadata(..) => {}
        }
        let answer = tokio::time::timeout(CALL, self.discover(provider)).await;
        let answer = answer.unwrap_or(Err(OidcError::Unreachable)).inspect_err(
            |_| tracing::warn!(issuer = %provider.issuer, "the provider does not say what it is"),
        );
        let now = self.clock.now();
        *known = answer
            .as_ref()
            .map_or(Known::Silence(now), |metadata| Known::Metadata(now, Box::new(metadata.clone())));
        answer
    }

    async fn discover(&self, provider: &Provider) -> Result<CoreProviderMetadata, OidcError> {
        let issuer = IssuerUrl::new(provider.issuer.clone()).map_err(|_| OidcError::Unreachable)?;
        let http = |request| fetch(self.client.clone(), request);
        CoreProviderMetadata::discover_async(issuer, &http).await.map_err(|_| OidcError::Unreachable)
    }

    fn note(&self, key: [u8; 32], under_way: UnderWay, now: Timestamp) {
        let mut all = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, other| now.seconds_since(other.since) <= PATIENCE);
        if all.len() >= MOST
            && let Some(oldest) = all.iter().min_by_key(|(_, other)| other.since).map(|(key, _)| *key)
        {
            all.remove(&oldest);
        }
        all.insert(key, under_way);
    }

    fn take(&self, key: &[u8; 32]) -> Option<UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }
}

impl Provider {
    fn new(name: &str, settings: &OidcSettings) -> Self {
        let secret = settings.client_secret_env.as_ref().map_or(ClientProof::Public, |variable| {
            let value = std::env::var(variable).map(ClientSecret::new);
            value.map_or_else(|_| ClientProof::Missing(variable.clone()), ClientProof::Secret)
        });
        Self {
            label: settings.label.clone().unwrap_or_else(|| name.to_owned()),
            issuer: settings.issuer.clone(),
            client_id: settings.client_id.clone(),
            secret,
            scopes: settings.scopes.clone(),
            domains: settings.domains.iter().map(|domain| domain.to_lowercase()).collect(),
            known: tokio::sync::Mutex::new(Known::Nothing),
        }
    }

    fn secret(&self) -> Result<Option<ClientSecret>, OidcError> {
        match &self.secret {
            ClientProof::Public => Ok(None),
            ClientProof::Secret(secret) => Ok(Some(secret.clone())),
            // No server starts so.
            ClientProof::Missing(_) => Err(OidcError::Unreachable),
        }
    }

    /// Whether somebody with this address may come in. An address that the provider did not verify is anybody's to claim.
    fn admits(&self, email: &str, is_verified: bool) -> bool {
        let domain = email.rsplit_once('@').map(|(_, domain)| domain.to_lowercase());
        self.domains.is_empty()
            || (is_verified && domain.is_some_and(|domain| self.domains.contains(&domain)))
    }
}

/// Why a provider brought no answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct NoAnswer;

async fn fetch(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, NoAnswer> {
    let request = reqwest::Request::try_from(request).map_err(|_| NoAnswer)?;
    let mut answer = client.execute(request).await.map_err(|_| NoAnswer)?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|_| NoAnswer)? {
        if body.len() + piece.len() > ANSWER_LIMIT {
            return Err(NoAnswer);
        }
        body.extend_from_slice(&piece);
    }
    let mut whole = HttpResponse::new(body);
    *whole.status_mut() = answer.status();
    *whole.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(whole)
}

#[expect(clippy::disallowed_methods, reason = "the backend's providers are one of the places that may dial")]
fn client() -> Result<reqwest::Client, OidcSettingsError> {
    // An error means that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .timeout(CALL)
        // A redirect would let whoever answers have this machine ask others.
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .build()
        .map_err(|_| OidcSettingsError::Tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(domains: &[&str]) -> Provider {
        let settings = OidcSettings {
            label: None,
            issuer: "https://issuer.example".into(),
            client_id: "client".into(),
            client_secret_env: None,
            scopes: Vec::new(),
            domains: domains.iter().map(ToString::to_string).collect(),
        };
        Provider::new("test", &settings)
    }

    #[test]
    fn a_domain_admits_verified_addresses_of_itself_only() {
        let closed = provider(&["Example.com"]);
        assert!(closed.admits("alice@example.COM", true));
        assert!(!closed.admits("alice@example.com", false));
        assert!(!closed.admits("alice@evil-example.com", true));
        assert!(!closed.admits("example.com", true));
        assert!(!closed.admits("", true));
        assert!(provider(&[]).admits("", false));
    }

    #[test]
    fn a_secret_that_is_not_there_is_named_before_anybody_signs_in() {
        let settings = OidcSettings {
            label: None,
            issuer: "https://issuer.example".into(),
            client_id: "client".into(),
            client_secret_env: Some("LLMTOR_TEST_NO_SUCH_SECRET".into()),
            scopes: Vec::new(),
            domains: Vec::new(),
        };
        let clock = crate::clock::ManualClock::shared(Timestamp::from_unix(0));
        let oidc = Oidc::new(&[("test".to_owned(), settings)].into(), clock).unwrap();
        assert!(oidc.check().unwrap_err().to_string().contains("LLMTOR_TEST_NO_SUCH_SECRET"));
    }
}
