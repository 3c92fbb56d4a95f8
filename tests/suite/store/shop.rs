//! A backend that sells, an account, and what a payment provider would report.
#![expect(clippy::disallowed_methods, reason = "a test stands outside the house and dials it")]

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::program::{self, Program};

pub const MODEL: &str = "gpt-4.1-mini";
const PADDLE_SECRET: &str = "pdl_ntfset_canary";
/// Bytes 0 to 23.
const DODO_SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// `backend.toml`: Paddle and Dodo, one package at both and one at neither.
const SETTINGS: &str = r#"
generation = "older"
[limits]
per_session = 0
[models."gpt-4.1-mini"]
[store]
text = "Ask the host for vouchers."
redirects = ["https://app.example"]
[store.paddle]
environment = "sandbox"
client_token = "test_0123456789"
webhook_secret_envs = ["OLD_PADDLE_SECRET", "PADDLE_SECRET"]
[store.dodo]
environment = "sandbox"
webhook_secret_envs = ["DODO_SECRET"]
[[packages]]
id = "small"
model = "gpt-4.1-mini"
tokens = 100
price = "$5.00"
popular = true
amount = 500
currency = "USD"
paddle_price_id = "pri_small"
dodo_product_id = "pdt_small"
[[packages]]
id = "by-hand"
model = "gpt-4.1-mini"
tokens = 7
price = "$1.00"
"#;

pub struct Shop {
    pub room: tempfile::TempDir,
    pub program: Program,
    pub url: String,
    pub session: String,
    client: reqwest::Client,
}

/// How a command ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    #[track_caller]
    pub fn refused(&self, code: i32, words: &[&str]) {
        let all = format!("exit {:?}\n{}\n{}", self.code, self.stdout, self.stderr);
        assert_eq!(self.code, Some(code), "{all}");
        for word in words {
            assert!(self.stderr.contains(word), "no `{word}` in {all}");
        }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        serde_json::from_str(self.stdout.trim()).unwrap_or_else(|_| panic!("{}", self.stdout))
    }
}

pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

pub fn end(room: &Path, arguments: &[&str], input: &str) -> Ended {
    let output = program::finish(program::command(room).args(arguments), input);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Shop {
    pub fn open() -> Self {
        Self::with(SETTINGS)
    }

    pub fn with(settings: &str) -> Self {
        let room = tempfile::tempdir().unwrap();
        std::fs::write(room.path().join("shop.toml"), settings).unwrap();
        let dodo = format!("whsec_{DODO_SECRET}");
        let secrets =
            [("PADDLE_SECRET", PADDLE_SECRET), ("OLD_PADDLE_SECRET", "older"), ("DODO_SECRET", &dodo)];
        // Only the server needs the secrets.
        let host =
            |arguments: &[&str]| String::from_utf8(program::run(room.path(), arguments, "").stdout).unwrap();
        host(&["backend", "init", "--home", "backend", "--config", "shop.toml"]);
        let mut program = Program::start_in(
            room.path(),
            &secrets,
            &["backend", "serve", "--home", "backend", "--listen", "127.0.0.1:0", "--json", "--log", "trace"],
        );
        let url = program.ready()["base_url"].as_str().unwrap().to_owned();
        let added = host(&["backend", "account", "add", "alice", "--home", "backend", "--json"]);
        let added: Value = serde_json::from_str(&added).unwrap();
        std::fs::write(
            room.path().join("keys.json"),
            host(&["backend", "keys", "export", "--home", "backend"]),
        )
        .unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let session = added["session"].as_str().unwrap().to_owned();
        Self { room, program, url, session, client }
    }

    /// A command of the host's, with `--json`.
    pub fn host(&self, arguments: &[&str]) -> Ended {
        end(self.room.path(), &[&["--home", "backend", "--json", "backend"], arguments].concat(), "")
    }

    /// A command of the client's.
    pub fn client(&self, arguments: &[&str], input: &str) -> Ended {
        end(self.room.path(), &[&["--home", "client"], arguments].concat(), input)
    }

    /// Makes the client's home, signed in.
    pub fn furnish(&self) {
        for (arguments, input) in [
            (&["init", "--backend", &self.url, "--keys", "keys.json"][..], ""),
            (&["login", "--session-stdin"], &self.session),
        ] {
            let ended = self.client(arguments, input);
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        }
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        let request = self.client.get(format!("{}/api/v1{path}", self.url));
        request.header("cookie", format!("sessionID={}", self.session)).send().await.unwrap()
    }

    pub async fn me(&self) -> Value {
        let me: Value = serde_json::from_str(&self.get("/me").await.text().await.unwrap()).unwrap();
        me["data"].clone()
    }

    /// Credits left.
    pub async fn credits(&self) -> i64 {
        self.me().await["SubscriptionInfo"]["ActiveAuthTokens"][MODEL].as_i64().unwrap_or(0)
    }

    /// The purchase page of a package for the account, without a session.
    pub async fn page_url(&self, more: &str) -> String {
        let me = self.me().await;
        let text = |name: &str| me[name].as_str().unwrap().to_owned();
        format!(
            "{}/api/v1/purchase?transientToken={}&userID={}{more}",
            self.url,
            text("TransientToken"),
            text("id")
        )
    }

    /// A page as a browser without a session gets it: status, policy, body. A redirect leads away from the token.
    pub async fn page(&self, url: &str) -> (u16, String, String) {
        let mut response = self.client.get(url).send().await.unwrap();
        if response.status() == 303 {
            let headers = response.headers();
            assert_eq!(headers["referrer-policy"], "no-referrer");
            assert_eq!(headers["cache-control"], "no-store");
            let to = response.url().join(headers["location"].to_str().unwrap()).unwrap();
            for (name, value) in response.url().query_pairs() {
                let is_secret = ["transientToken", "userID"].contains(&&*name);
                assert!(!is_secret || !to.as_str().contains(&*value), "{to}");
            }
            response = self.client.get(to).send().await.unwrap();
        }
        let status = response.status().as_u16();
        assert_eq!(response.headers()["referrer-policy"], "strict-origin");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        (status, policy, response.text().await.unwrap())
    }

    /// Opens a checkout; its reference.
    pub async fn reference(&self) -> String {
        let url = self.page_url("&paddlePriceID=pri_small").await;
        let (status, _, body) = self.page(&url).await;
        assert_eq!(status, 200, "{body}");
        attribute(&body, "data-reference")
    }

    pub async fn paddle(&self, body: &str) -> u16 {
        self.paddle_as(body, &paddle_signature(body, now())).await
    }

    pub async fn paddle_as(&self, body: &str, signature: &str) -> u16 {
        let request = self.client.post(format!("{}/api/v1/webhooks/paddle", self.url));
        let request = request.header("paddle-signature", signature).body(body.to_owned());
        request.send().await.unwrap().status().as_u16()
    }

    pub async fn dodo(&self, id: &str, body: &str) -> u16 {
        let time = now();
        let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(DODO_SECRET).unwrap()).unwrap();
        mac.update(format!("{id}.{time}.{body}").as_bytes());
        let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        let request = self.client.post(format!("{}/api/v1/webhooks/dodo", self.url));
        let request = request.header("webhook-id", id).header("webhook-timestamp", time);
        let request = request.header("webhook-signature", signature).body(body.to_owned());
        request.send().await.unwrap().status().as_u16()
    }

    pub async fn voucher(&self, code: &str) -> (u16, Value) {
        let request = self.client.post(format!("{}/api/v1/voucher", self.url));
        let request = request.header("cookie", format!("sessionID={}", self.session));
        let response = request.body(json!({ "Code": code }).to_string()).send().await.unwrap();
        (response.status().as_u16(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
    }

    /// The voucher form of the purchase page, as a browser sends it.
    pub async fn voucher_form(&self, fields: &str) -> (u16, String) {
        let request = self.client.post(format!("{}/api/v1/purchase/voucher", self.url));
        let response = request.body(fields.to_owned()).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }
}

pub fn paddle_signature(body: &str, time: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(PADDLE_SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}:{body}").as_bytes());
    let hex: Vec<String> = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("ts={time};h1={}", hex.concat())
}

/// A payment of the small package.
pub fn paid(event: &str, transaction: &str, reference: &str) -> String {
    json!({
        "event_id": event, "event_type": "transaction.completed", "notification_id": "ntf_1",
        "data": {
            "id": transaction, "status": "completed", "currency_code": "USD",
            "custom_data": { "reference": reference, "package": "small" },
            "items": [{ "price": { "id": "pri_small" }, "quantity": 1 }],
            "details": { "totals": { "subtotal": "500", "discount": "0", "tax": "95", "total": "595" } },
        },
    })
    .to_string()
}

/// A refund of all of it.
pub fn refunded(event: &str, transaction: &str) -> String {
    json!({
        "event_id": event, "event_type": "adjustment.updated",
        "data": { "id": format!("adj_{transaction}"), "action": "refund", "status": "approved",
                  "transaction_id": transaction, "totals": { "total": "595" } },
    })
    .to_string()
}

/// The value of an attribute.
pub fn attribute(html: &str, name: &str) -> String {
    let begin = format!("{name}=\"");
    let (_, rest) = html.split_once(&begin).unwrap_or_else(|| panic!("no {name} in {html}"));
    rest.split_once('"').unwrap().0.to_owned()
}
