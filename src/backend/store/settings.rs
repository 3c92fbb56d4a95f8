//! `[store]` of backend.toml: who takes the money, and what the purchase page says.
//!
//! No secret stands here: the webhooks' secrets are read from environment variables, of which more than one may be
//! valid at a time, so that one can be changed for another.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::backend::settings::{PackageSettings, SettingsError};

/// Where Paddle's script comes from.
const PADDLE_SCRIPT: &str = "https://cdn.paddle.com/paddle/v2/paddle.js";

/// How credits are sold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// What the purchase page says besides, such as where vouchers are to be had; default nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Origins besides this machine that a buyer may be sent back to, such as `https://app.example`; default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<String>,
    /// How far a webhook's time may be from this machine's, seconds; default 300.
    pub tolerance_seconds: u32,
    /// Paddle Billing; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paddle: Option<PaddleSettings>,
    /// Dodo Payments; default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dodo: Option<DodoSettings>,
}

/// Which of a payment provider's systems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Money.
    #[default]
    Production,
    /// Play money.
    Sandbox,
}

/// Paddle Billing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaddleSettings {
    /// Default `production`.
    #[serde(default)]
    pub environment: Environment,
    /// The client-side token, which every visitor of the page sees.
    pub client_token: String,
    /// Names of environment variables with secrets of the webhook; any of them counts.
    pub webhook_secret_envs: Vec<String>,
    /// Another place of Paddle's script, on this machine, for tests; default Paddle's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script_url: Option<String>,
}

/// Dodo Payments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DodoSettings {
    /// Default `production`.
    #[serde(default)]
    pub environment: Environment,
    /// Names of environment variables with secrets (`whsec_…`) of the webhook; any of them counts.
    pub webhook_secret_envs: Vec<String>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { text: None, redirects: Vec::new(), tolerance_seconds: 300, paddle: None, dodo: None }
    }
}

impl PaddleSettings {
    /// Where the script comes from.
    pub(in crate::backend) fn script(&self) -> &str {
        self.script_url.as_deref().unwrap_or(PADDLE_SCRIPT)
    }

    /// The origin of the frame that the script opens.
    pub(in crate::backend) fn frame_origin(&self) -> &'static str {
        match self.environment {
            Environment::Production => "https://buy.paddle.com",
            Environment::Sandbox => "https://sandbox-buy.paddle.com",
        }
    }
}

impl DodoSettings {
    /// The hosted checkout.
    pub(in crate::backend) fn checkout(&self) -> &'static str {
        match self.environment {
            Environment::Production => "https://checkout.dodopayments.com/buy/",
            Environment::Sandbox => "https://test.checkout.dodopayments.com/buy/",
        }
    }
}

impl StoreSettings {
    pub(in crate::backend) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a buyer may be sent there afterwards: to this machine over http, or to an origin that the host allows.
    pub(in crate::backend) fn allows_redirect(&self, target: &Url) -> bool {
        let home = target.scheme() == "http" && is_this_machine(target);
        let named =
            |allowed: &String| Url::parse(allowed).is_ok_and(|allowed| allowed.origin() == target.origin());
        let has_no_user = target.username().is_empty() && target.password().is_none();
        has_no_user && (home || self.redirects.iter().any(named))
    }

    pub(in crate::backend) fn check(&self, packages: &[PackageSettings]) -> Result<(), SettingsError> {
        let fail = |text: String| Err(SettingsError::Meaning(text));
        for redirect in &self.redirects {
            let is_origin = Url::parse(redirect).is_ok_and(|url| {
                url.scheme() == "https"
                    && url.path() == "/"
                    && url.query().is_none()
                    && url.fragment().is_none()
            });
            if !is_origin {
                return fail(format!(
                    "store.redirects: `{redirect}` is not an origin such as https://app.example"
                ));
            }
        }
        let secrets = self.paddle.iter().map(|paddle| ("paddle", &paddle.webhook_secret_envs));
        let secrets = secrets.chain(self.dodo.iter().map(|dodo| ("dodo", &dodo.webhook_secret_envs)));
        if let Some((provider, _)) = secrets.into_iter().find(|(_, names)| names.is_empty()) {
            return fail(format!(
                "store.{provider}.webhook_secret_envs is empty: without a secret nobody could tell a payment from a forged one"
            ));
        }
        if let Some(url) = self.paddle.as_ref().and_then(|paddle| paddle.script_url.as_deref())
            && !Url::parse(url).is_ok_and(|url| url.scheme() == "http" && is_this_machine(&url))
        {
            return fail("store.paddle.script_url is for tests on this machine; leave it out".into());
        }
        let mut ids = std::collections::BTreeSet::new();
        for package in packages {
            check_package(package)?;
            let own = [("id", Some(&package.id)), ("paddle_price_id", package.paddle_price_id.as_ref())];
            let own = own.into_iter().chain([("dodo_product_id", package.dodo_product_id.as_ref())]);
            for (key, value) in own.filter_map(|(key, value)| Some((key, value?))) {
                if !ids.insert((key, value.as_str())) {
                    return fail(format!("two packages have the {key} `{value}`"));
                }
            }
        }
        Ok(())
    }
}

/// What a payment must come to has to be known, else any amount would do.
fn check_package(package: &PackageSettings) -> Result<(), SettingsError> {
    let fail = |what: &str| Err(SettingsError::Meaning(format!("package `{}`: {what}", package.id)));
    if package.tokens < 1 {
        return fail("tokens must be 1 or more");
    }
    let is_sold = package.paddle_price_id.is_some() || package.dodo_product_id.is_some();
    match (package.amount, package.currency.as_deref()) {
        (None, _) | (_, None) if is_sold => fail(
            "give amount (in the currency's smallest unit, such as 500 for $5.00) and currency (such as \"USD\")",
        ),
        (Some(..1), _) => fail("amount must be 1 or more"),
        (_, Some(currency)) if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) => {
            fail("currency has three capital letters, such as \"USD\"")
        }
        _ => Ok(()),
    }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::settings::Settings;

    fn allows(settings: &StoreSettings, target: &str) -> bool {
        settings.allows_redirect(&Url::parse(target).unwrap())
    }

    #[test]
    fn a_buyer_is_sent_back_to_this_machine_or_where_the_host_allows() {
        let settings =
            StoreSettings { redirects: vec!["https://app.example".into()], ..StoreSettings::default() };
        for good in [
            "http://127.0.0.1:5139/callback",
            "http://localhost:1/",
            "http://[::1]:1/",
            "https://app.example/paid?x=1",
        ] {
            assert!(allows(&settings, good), "{good}");
        }
        for bad in [
            "https://evil.example/",
            "https://app.example.evil.example/",
            "http://app.example/",
            "https://app.example:444/",
            "http://127.0.0.1.evil.example/",
            "http://user@127.0.0.1/",
            "javascript:alert(1)",
            "data:text/html,x",
        ] {
            assert!(!allows(&settings, bad), "{bad}");
        }
        assert!(!allows(&StoreSettings::default(), "https://app.example/"));
    }

    #[test]
    fn what_would_take_any_money_for_a_package_or_anybody_s_word_for_it_is_refused() {
        let wrong = |text: &str, part: &str| {
            let error = Settings::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        };
        let package = "[[packages]]\nid = \"p\"\nmodel = \"llmtor-demo\"\ntokens = 5\nprice = \"$1\"\n";
        wrong(&format!("{package}paddle_price_id = \"pri_1\""), "give amount");
        wrong(&format!("{package}dodo_product_id = \"pdt_1\"\namount = 100"), "give amount");
        wrong(&format!("{package}amount = 0\ncurrency = \"USD\""), "1 or more");
        wrong(&format!("{package}amount = 5\ncurrency = \"usd\""), "capital");
        wrong(&format!("{package}{package}"), "two packages");
        wrong("[store.paddle]\nclient_token = \"t\"\nwebhook_secret_envs = []", "is empty");
        wrong("[store.dodo]\nwebhook_secret_envs = []", "is empty");
        wrong("[store]\nredirects = [\"https://app.example/path\"]", "not an origin");
        wrong("[store]\nredirects = [\"http://app.example\"]", "not an origin");
        let script = "[store.paddle]\nclient_token = \"t\"\nwebhook_secret_envs = [\"S\"]\nscript_url = ";
        wrong(&format!("{script}\"https://evil.example/paddle.js\""), "for tests");
        assert!(Settings::parse(&format!("{script}\"http://127.0.0.1:1/p.js\"")).is_ok());
        assert!(Settings::parse(package).is_ok());
    }
}
