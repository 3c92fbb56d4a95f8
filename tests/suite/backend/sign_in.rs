//! Signing in over HTTP: what a browser may do, and what somebody who is up to something may not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use llmtor::backend::{InviteOrder, OidcSettings};
use openidconnect::core::{
    CoreGenderClaim, CoreIdToken, CoreIdTokenClaims, CoreJwsSigningAlgorithm, CoreRsaPrivateSigningKey,
};
use openidconnect::{
    AccessToken, Audience, EmptyAdditionalClaims, EndUserEmail, IssuerUrl, JsonWebKeyId, Nonce,
    PrivateSigningKey as _, StandardClaims, SubjectIdentifier,
};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use serde_json::{Value, json};

use super::house::{House, MODEL, NOW};

const TARGET: &str = "http://127.0.0.1:5139/callback";
const SIGN_IN: &str = "/api/v1/users/signin";

fn order(account: Option<&str>) -> InviteOrder {
    InviteOrder { account: account.map(Into::into), uses: 1, days: 1, credits: BTreeMap::new() }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A browser as far as it matters: cookies by name, and no redirect is followed.
struct Visitor<'a> {
    house: &'a House,
    cookies: BTreeMap<String, String>,
}

struct Page {
    status: u16,
    location: String,
    cookies: Vec<String>,
    policy: String,
    text: String,
}

impl<'a> Visitor<'a> {
    fn new(house: &'a House) -> Self {
        Self { house, cookies: BTreeMap::new() }
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = request.header("cookie", cookies.join("; ")).send().await.unwrap();
        let header = |name: &str| {
            let values = answer.headers().get_all(name).iter();
            values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let cookies = header("set-cookie");
        for cookie in &cookies {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        Page {
            status: answer.status().as_u16(),
            location: header("location").concat(),
            cookies,
            policy: header("content-security-policy").concat(),
            text: answer.text().await.unwrap(),
        }
    }

    async fn get(&mut self, path: &str) -> Page {
        let url =
            if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.house.base) };
        let request = self.house.client.get(url);
        self.send(request).await
    }

    async fn open(&mut self) -> Page {
        self.get(&format!("{SIGN_IN}?redirect={}", encoded(TARGET))).await
    }

    async fn submit(&mut self, code: &str, target: &str) -> Page {
        let tie = self.cookies.get("llmtor_form").cloned().unwrap_or_default();
        self.submit_tied(code, target, &tie).await
    }

    async fn submit_tied(&mut self, code: &str, target: &str, tie: &str) -> Page {
        let body = format!("code={}&redirect={}&form={}", encoded(code), encoded(target), encoded(tie));
        let request = self.house.client.post(format!("{}{SIGN_IN}", self.house.base)).body(body);
        self.send(request).await
    }

    /// What `/me` says to the session, if it is one.
    async fn me(&mut self) -> Option<Value> {
        let page = self.get("/api/v1/me").await;
        (page.status == 200).then(|| serde_json::from_str::<Value>(&page.text).unwrap()["data"].take())
    }
}

#[tokio::test]
async fn a_code_signs_in_once_with_the_cookie_that_the_protocol_says() {
    let house = House::with(|settings| {
        settings.free_credits = [(MODEL.parse().unwrap(), 4)].into();
    })
    .await;
    let (_, code) = house.backend.invite(order(Some("carol"))).unwrap();
    let mut visitor = Visitor::new(&house);
    let page = visitor.open().await;
    assert_eq!(page.status, 200);
    assert!(page.policy.starts_with("default-src 'none'; style-src 'sha256-"), "{}", page.policy);
    assert!(!page.text.contains("<script") && !page.text.contains("http-equiv"), "{}", page.text);
    let page = visitor.submit(&code.expose().to_lowercase(), TARGET).await;
    assert_eq!((page.status, page.location.as_str()), (303, TARGET), "{}", page.text);
    let cookie = page.cookies.iter().find(|cookie| cookie.starts_with("sessionID=")).unwrap();
    let mut attributes: Vec<_> = cookie.split("; ").skip(1).collect();
    attributes.sort_unstable();
    assert_eq!(attributes, ["HttpOnly", "Max-Age=31536000", "Path=/", "SameSite=None", "Secure"]);
    let me = visitor.me().await.unwrap();
    assert_eq!(me["Name"], "carol");
    assert_eq!(me["SubscriptionInfo"]["ActiveAuthTokens"][MODEL], 4);

    let mut late = Visitor::new(&house);
    let (_, other) = house.backend.invite(order(None)).unwrap();
    late.open().await;
    let page = late.submit(code.expose(), TARGET).await;
    assert!(page.status == 403 && page.text.contains("used already"), "{}", page.text);
    assert!(!page.text.contains(code.expose()), "a code is not shown again");
    assert!(late.me().await.is_none());
    house.clock.advance(86_400);
    assert_eq!(late.submit(other.expose(), TARGET).await.status, 403, "its time is over");
    assert_eq!(late.open().await.status, 404, "there is no way in any more");
}

#[tokio::test]
async fn a_sign_in_never_leads_elsewhere_and_a_form_of_another_page_signs_nobody_in() {
    let house = House::open().await;
    let (_, code) = house.backend.invite(order(None)).unwrap();
    let mut visitor = Visitor::new(&house);
    for target in [
        "https://evil.example/",
        "//evil.example",
        "javascript:alert(1)",
        "http://127.0.0.1.evil.example/",
        "",
    ] {
        let page = visitor.get(&format!("{SIGN_IN}?redirect={}", encoded(target))).await;
        assert_eq!((page.status, page.location.as_str()), (400, ""), "{target}");
        assert!(page.text.contains("Not signed in"));
        visitor.open().await;
        assert_eq!(visitor.submit(code.expose(), target).await.status, 400, "{target}");
    }
    // A page elsewhere can send the form, but knows no cookie of ours, and its visitor may have none.
    for (visitor, tie) in [(&mut Visitor::new(&house), ""), (&mut Visitor::new(&house), "guessed")] {
        let page = visitor.submit_tied(code.expose(), TARGET, tie).await;
        assert_eq!(page.status, 403);
        visitor.open().await;
        assert_eq!(visitor.submit_tied(code.expose(), TARGET, tie).await.status, 403);
        assert!(visitor.me().await.is_none());
    }
    let tie = visitor.cookies["llmtor_form"].clone();
    let body = format!("code={}&redirect={}&form={tie}", code.expose(), encoded(TARGET));
    let url = format!("{}{SIGN_IN}", house.base);
    let cross = house.client.post(url).body(body).header("sec-fetch-site", "cross-site");
    assert_eq!(visitor.send(cross).await.status, 403);
    assert_eq!(visitor.submit(code.expose(), TARGET).await.status, 303, "none of it used the code up");
}

#[tokio::test]
async fn codes_are_guessed_so_often_a_minute_and_then_not_even_a_right_one_counts() {
    let house = House::open().await;
    let (_, code) = house.backend.invite(order(None)).unwrap();
    let mut visitor = Visitor::new(&house);
    visitor.open().await;
    let mut statuses = Vec::new();
    for guess in 0..30 {
        statuses.push(visitor.submit(&format!("AAAAA-AAAAA-AAAAA-{guess:05}"), TARGET).await.status);
    }
    let wrong = statuses.iter().take_while(|status| **status == 403).count();
    assert!((1..=20).contains(&wrong), "{statuses:?}");
    assert!(statuses[wrong..].iter().all(|status| *status == 429), "{statuses:?}");
    assert_eq!(visitor.submit(code.expose(), TARGET).await.status, 429);
    house.clock.advance(60);
    assert_eq!(visitor.submit(code.expose(), TARGET).await.status, 303);
}

#[tokio::test]
async fn whoever_guesses_through_a_proxy_shuts_nobody_else_out_and_right_codes_are_not_counted() {
    let house = House::open().await;
    let relayed = async |visitor: &mut Visitor<'_>, code: &str| {
        let tie = visitor.cookies["llmtor_form"].clone();
        let body = format!("code={code}&redirect={}&form={tie}", encoded(TARGET));
        let request = house.client.post(format!("{}{SIGN_IN}", house.base)).body(body);
        visitor.send(request.header("x-forwarded-for", "198.51.100.7")).await.status
    };
    let (_, code) = house.backend.invite(InviteOrder { uses: 50, ..order(None) }).unwrap();
    let mut stranger = Visitor::new(&house);
    stranger.open().await;
    for _ in 0..30 {
        assert_eq!(relayed(&mut stranger, "AAAAA-AAAAA-AAAAA-AAAAA").await, 403);
    }
    for _ in 0..25 {
        let mut visitor = Visitor::new(&house);
        visitor.open().await;
        assert_eq!(relayed(&mut visitor, code.expose()).await, 303);
        let mut visitor = Visitor::new(&house);
        visitor.open().await;
        assert_eq!(visitor.submit(code.expose(), TARGET).await.status, 303, "a right one is no guess");
    }
}

#[tokio::test]
async fn with_a_public_address_the_pages_cookies_are_taken_from_this_host_alone() {
    let house = House::with(|settings| {
        settings.sign_in.public_url = Some("https://backend.example".parse().unwrap());
    })
    .await;
    let (_, code) = house.backend.invite(order(None)).unwrap();
    let mut visitor = Visitor::new(&house);
    let page = visitor.open().await;
    let cookie = page.cookies.concat();
    assert!(cookie.starts_with("__Host-llmtor_form=") && cookie.ends_with("; Secure"), "{cookie}");
    assert!(cookie.contains("; Path=/;") && !cookie.contains("Domain"), "{cookie}");
    // One that a sibling host planted is not looked at.
    visitor.cookies.insert("llmtor_form".into(), "planted".into());
    assert_eq!(visitor.submit_tied(code.expose(), TARGET, "planted").await.status, 403);
    let tie = visitor.cookies["__Host-llmtor_form"].clone();
    assert_eq!(visitor.submit_tied(code.expose(), TARGET, &tie).await.status, 303);
}

/// A provider that says what the test wants it to.
struct Provider {
    issuer: String,
    script: Arc<Mutex<Script>>,
}

#[derive(Clone)]
struct Script {
    issuer: String,
    nonce: String,
    subject: &'static str,
    email: &'static str,
    verified: bool,
    audience: &'static str,
    signed_by: Signer,
    /// Whose key it shows.
    shows: Signer,
    is_down: bool,
    /// How often it was asked what it is.
    looked_at: usize,
    expires: i64,
    /// What came to the token endpoint.
    asked: Vec<BTreeMap<String, String>>,
}

type Lie = fn(&mut Script);

#[derive(Clone, Copy)]
enum Signer {
    Itself,
    Somebody,
}

fn key(signer: Signer) -> &'static CoreRsaPrivateSigningKey {
    static KEYS: OnceLock<[CoreRsaPrivateSigningKey; 2]> = OnceLock::new();
    let make = || {
        let key = rsa::RsaPrivateKey::new(&mut rand::rng(), 2048).unwrap();
        let pem = key.to_pkcs1_pem(rsa::pkcs1::LineEnding::LF).unwrap();
        CoreRsaPrivateSigningKey::from_pem(&pem, Some(JsonWebKeyId::new("the key".into()))).unwrap()
    };
    let keys = KEYS.get_or_init(|| [make(), make()]);
    match signer {
        Signer::Itself => &keys[0],
        Signer::Somebody => &keys[1],
    }
}

impl Provider {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(Script {
            issuer: issuer.clone(),
            nonce: String::new(),
            subject: "1",
            email: "alice@example.com",
            verified: true,
            audience: "client",
            signed_by: Signer::Itself,
            shows: Signer::Itself,
            is_down: false,
            looked_at: 0,
            expires: NOW + 60,
            asked: Vec::new(),
        }));
        let metadata = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        let describe = async move |State(script): State<Arc<Mutex<Script>>>| {
            let mut script = script.lock().unwrap();
            script.looked_at += 1;
            if script.is_down { Err(axum::http::StatusCode::BAD_GATEWAY) } else { Ok(as_json(&metadata)) }
        };
        let keys = async |State(script): State<Arc<Mutex<Script>>>| {
            as_json(&json!({ "keys": [key(script.lock().unwrap().shows).as_verification_key()] }))
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(describe))
            .route("/jwks", get(keys))
            .route("/token", post(token))
            .with_state(Arc::clone(&script));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { issuer, script }
    }

    fn settings(&self) -> OidcSettings {
        OidcSettings {
            label: Some("The House".into()),
            issuer: self.issuer.clone(),
            client_id: "client".into(),
            client_secret_env: None,
            scopes: vec!["email".into()],
            domains: vec!["example.com".into()],
        }
    }

    async fn house(&self) -> House {
        House::with(|settings| {
            settings.sign_in.oidc = [("house".to_owned(), self.settings())].into();
        })
        .await
    }

    fn set(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }
}

fn as_json(value: &Value) -> impl IntoResponse + use<> {
    ([(CONTENT_TYPE, "application/json")], value.to_string())
}

async fn token(State(script): State<Arc<Mutex<Script>>>, form: String) -> impl IntoResponse {
    let form = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let script = {
        let mut script = script.lock().unwrap();
        script.asked.push(form);
        script.clone()
    };
    let at = |seconds: i64| {
        (std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.unsigned_abs())).into()
    };
    let access = AccessToken::new("access".into());
    let claims = CoreIdTokenClaims::new(
        IssuerUrl::new(script.issuer).unwrap(),
        vec![Audience::new(script.audience.into())],
        at(script.expires),
        at(NOW),
        StandardClaims::<CoreGenderClaim>::new(SubjectIdentifier::new(script.subject.into()))
            .set_email(Some(EndUserEmail::new(script.email.into())))
            .set_email_verified(Some(script.verified)),
        EmptyAdditionalClaims {},
    )
    .set_nonce(Some(Nonce::new(script.nonce)));
    let algorithm = CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256;
    let id_token = CoreIdToken::new(claims, key(script.signed_by), algorithm, Some(&access), None).unwrap();
    as_json(&json!({ "access_token": "access", "token_type": "bearer", "id_token": id_token }))
}

/// What was sent to the provider along with a browser.
fn sent(location: &str) -> BTreeMap<String, String> {
    url::Url::parse(location).unwrap().query_pairs().into_owned().collect()
}

impl Visitor<'_> {
    /// Goes to the provider and comes back.
    async fn through(&mut self, provider: &Provider) -> Page {
        let away = self.open().await;
        assert_eq!(away.status, 307, "{}", away.text);
        let sent = sent(&away.location);
        provider.set(|script| script.nonce.clone_from(&sent["nonce"]));
        self.get(&format!("{}?code=a-code&state={}", sent["redirect_uri"], encoded(&sent["state"]))).await
    }
}

#[tokio::test]
async fn a_provider_is_asked_with_state_nonce_and_proof_and_its_word_signs_in() {
    let provider = Provider::start().await;
    let house = provider.house().await;
    let mut visitor = Visitor::new(&house);
    let away = visitor.open().await;
    assert_eq!(away.status, 307);
    let query = sent(&away.location);
    assert!(away.location.starts_with(&format!("{}/authorize?", provider.issuer)));
    assert_eq!(query["code_challenge_method"], "S256");
    assert_eq!(query["scope"], "openid email");
    assert!(!away.location.contains("5139"), "where the sign-in leads is not the provider's business");
    assert!(away.cookies[0].contains("HttpOnly; SameSite=Lax"), "{:?}", away.cookies);
    let page = visitor.through(&provider).await;
    assert_eq!((page.status, page.location.as_str()), (308, TARGET), "{}", page.text);
    let asked = provider.script.lock().unwrap().asked[0].clone();
    assert_eq!((asked["code"].as_str(), asked.contains_key("code_verifier")), ("a-code", true));
    let first = visitor.me().await.unwrap();
    assert_eq!((&first["Email"], first["id"].as_str().unwrap().len()), (&json!("alice@example.com"), 36));

    // The same person again: the same account, and the earlier session is over. Another subject is another account,
    // whatever its address.
    let mut again = Visitor::new(&house);
    again.through(&provider).await;
    assert_eq!(again.me().await.unwrap()["id"], first["id"]);
    assert!(visitor.me().await.is_none());
    provider.set(|script| script.subject = "2");
    let mut other = Visitor::new(&house);
    other.through(&provider).await;
    assert_ne!(other.me().await.unwrap()["id"], first["id"]);
}

#[tokio::test]
async fn what_was_not_begun_in_this_browser_just_now_is_refused() {
    let provider = Provider::start().await;
    let house = provider.house().await;
    let mut visitor = Visitor::new(&house);
    let query = sent(&visitor.open().await.location);
    let back = |state: &str| format!("{}?code=a-code&state={}", query["redirect_uri"], encoded(state));
    // Somebody else's browser, which was led here with a good state.
    let page = Visitor::new(&house).get(&back(&query["state"])).await;
    assert!(page.status == 400 && page.text.contains("not begun in this browser"), "{}", page.text);
    // The right browser with another state; that uses the sign-in up.
    assert_eq!(visitor.get(&back("another")).await.status, 400);
    assert_eq!(visitor.get(&back(&query["state"])).await.status, 400);
    // Too late.
    let query = sent(&visitor.open().await.location);
    house.clock.advance(601);
    let late = format!("{}?code=a-code&state={}", query["redirect_uri"], encoded(&query["state"]));
    assert_eq!(visitor.get(&late).await.status, 400);
    assert!(provider.script.lock().unwrap().asked.is_empty(), "no code was even exchanged");
    assert!(visitor.me().await.is_none());
    // Declined.
    let query = sent(&visitor.open().await.location);
    let declined =
        format!("{}?error=access_denied&state={}", query["redirect_uri"], encoded(&query["state"]));
    assert_eq!(visitor.get(&declined).await.status, 403);
}

#[tokio::test]
async fn an_id_token_that_does_not_check_out_signs_nobody_in() {
    let provider = Provider::start().await;
    let house = provider.house().await;
    let honest = provider.script.lock().unwrap().clone();
    let lies: [(&str, Lie); 6] = [
        ("signed by somebody else", |script| script.signed_by = Signer::Somebody),
        ("for somebody else", |script| script.audience = "another client"),
        ("of another issuer", |script| script.issuer = "https://evil.example".into()),
        ("over", |script| script.expires = NOW - 1),
        ("with an address that nobody verified", |script| script.verified = false),
        ("with an address of another domain", |script| script.email = "alice@evil.example"),
    ];
    for (what, lie) in lies {
        provider.set(|script| *script = honest.clone());
        provider.set(lie);
        let mut visitor = Visitor::new(&house);
        let page = visitor.through(&provider).await;
        assert_eq!((page.status, page.location.as_str()), (403, ""), "{what}: {}", page.text);
        assert!(visitor.me().await.is_none(), "{what}");
    }
    // Of another sign-in.
    provider.set(|script| *script = honest.clone());
    let mut visitor = Visitor::new(&house);
    let query = sent(&visitor.open().await.location);
    provider.set(|script| script.nonce = "of another sign-in".into());
    let back = format!("{}?code=a-code&state={}", query["redirect_uri"], encoded(&query["state"]));
    assert_eq!(visitor.get(&back).await.status, 403);
}

#[tokio::test]
async fn a_provider_that_changed_its_key_is_asked_for_the_new_one() {
    let provider = Provider::start().await;
    let house = provider.house().await;
    assert_eq!(Visitor::new(&house).through(&provider).await.status, 308);
    provider.set(|script| (script.signed_by, script.shows) = (Signer::Somebody, Signer::Somebody));
    assert_eq!(Visitor::new(&house).through(&provider).await.status, 403, "it was asked just now");
    house.clock.advance(10);
    assert_eq!(Visitor::new(&house).through(&provider).await.status, 308);
    assert_eq!(provider.script.lock().unwrap().looked_at, 2);
    // Asking anew makes no forged one good.
    provider.set(|script| script.signed_by = Signer::Itself);
    house.clock.advance(10);
    assert_eq!(Visitor::new(&house).through(&provider).await.status, 403);
}

#[tokio::test]
async fn a_provider_that_is_down_is_asked_once_for_everybody_and_left_alone_for_a_while() {
    let provider = Provider::start().await;
    let house = provider.house().await;
    provider.set(|script| script.is_down = true);
    let mut visitors: Vec<_> = (0..5).map(|_| Visitor::new(&house)).collect();
    let pages = futures_util::future::join_all(visitors.iter_mut().map(Visitor::open)).await;
    assert!(pages.iter().all(|page| page.status == 502 && page.text.contains("Try again in a minute")));
    assert_eq!(provider.script.lock().unwrap().looked_at, 1);
    provider.set(|script| script.is_down = false);
    house.clock.advance(9);
    assert_eq!(Visitor::new(&house).open().await.status, 502);
    house.clock.advance(1);
    assert_eq!(Visitor::new(&house).through(&provider).await.status, 308);
    assert_eq!(provider.script.lock().unwrap().looked_at, 2);
}

#[tokio::test]
async fn with_several_ways_there_is_a_page_to_choose_on() {
    let provider = Provider::start().await;
    let house = provider.house().await;
    house.backend.invite(order(None)).unwrap();
    let mut visitor = Visitor::new(&house);
    let page = visitor.open().await;
    assert_eq!(page.status, 200);
    for words in [
        "Invite code",
        "Continue with The House",
        "/oidc/house?redirect=http%3A%2F%2F127.0.0.1%3A5139%2Fcallback",
    ] {
        assert!(page.text.contains(words), "{words} is not in {}", page.text);
    }
    let away = visitor.get(&format!("{SIGN_IN}/oidc/house?redirect={}", encoded(TARGET))).await;
    assert_eq!(away.status, 307);
    assert_eq!(visitor.get(&format!("{SIGN_IN}/oidc/nobody?redirect={}", encoded(TARGET))).await.status, 404);
    // Behind a proxy the backend does not guess its own name.
    let url = format!("{}{SIGN_IN}/oidc/house?redirect={}", house.base, encoded(TARGET));
    let relayed = house.client.get(url).header("host", "evil.example");
    let page = visitor.send(relayed).await;
    assert!(page.status == 500 && page.text.contains("sign_in.public_url"), "{}", page.text);
}
