//! How people sign in: `[sign_in]`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::SettingsError;

/// How people sign in, beside invite codes, which are in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignInSettings {
    /// The backend's base URL as browsers see it, such as `https://api.example.com`: where identity providers send them
    /// back to. Default: what the browser asked for, on this machine; elsewhere it has to be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<Url>,
    /// Base URLs that a sign-in may lead back to, beside `http` to the visitor's own machine; default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<Url>,
    /// Name → an OpenID Connect provider.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub oidc: BTreeMap<String, OidcSettings>,
}

/// An OpenID Connect provider. Its endpoints and keys are asked of the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    /// What it is called on the sign-in page; default its name here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its URL, such as `https://accounts.google.com`, letter by letter as it writes it itself.
    pub issuer: String,
    /// What it knows this backend as.
    pub client_id: String,
    /// Name of the environment variable with the client's secret; default: a client without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_env: Option<String>,
    /// What is asked for beside `openid`; default `email` and `profile`.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// Domains of verified mail addresses that are let in; default: whoever the provider lets in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
}

fn scopes() -> Vec<String> {
    ["email", "profile"].map(str::to_owned).into()
}

impl SignInSettings {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that the parts can be used.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let fail = |text: String| Err(SettingsError::Meaning(text));
        if let Some(url) = self.public_url.as_ref().filter(|url| !is_base(url)) {
            return fail(format!(
                "sign_in.public_url: {url} is not a base URL, such as https://api.example.com"
            ));
        }
        if let Some(url) = self.redirects.iter().find(|url| !is_base(url)) {
            return fail(format!(
                "sign_in.redirects: {url} is not a base URL, such as https://app.example.com/"
            ));
        }
        for (name, provider) in &self.oidc {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(is_plain) {
                return fail(format!(
                    "sign_in.oidc: `{name}` becomes part of a URL; use lower-case letters, digits and hyphens"
                ));
            }
            let issuer = Url::parse(&provider.issuer).ok();
            if !issuer.is_some_and(|url| url.scheme() == "https" || (url.scheme() == "http" && is_here(&url)))
            {
                return fail(format!(
                    "sign_in.oidc.{name}: the issuer must be an https URL: whoever can change its answers can sign in as anybody"
                ));
            }
        }
        Ok(())
    }

    /// Whether a sign-in may lead to `target`: plain HTTP to the visitor's own machine, or below one of the base URLs.
    pub fn admits(&self, target: &Url) -> bool {
        if !target.username().is_empty() || target.password().is_some() {
            return false;
        }
        (target.scheme() == "http" && is_here(target))
            || self.redirects.iter().any(|base| {
                base.origin() == target.origin() && {
                    let path = base.path().trim_end_matches('/');
                    target
                        .path()
                        .strip_prefix(path)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                }
            })
    }
}

/// Whether it names the machine that it is opened on.
pub(in crate::backend) fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn is_base(url: &Url) -> bool {
    ["http", "https"].contains(&url.scheme())
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_sign_in_leads_to_this_machine_and_to_what_is_listed_only() {
        let settings = SignInSettings {
            redirects: vec![url("https://app.example.com/in"), url("https://other.example/")],
            ..SignInSettings::default()
        };
        for good in [
            "http://127.0.0.1:5139/callback",
            "http://localhost:1/",
            "http://[::1]:1/",
            "https://app.example.com/in",
            "https://app.example.com/in/side?x=1",
            "https://other.example/anything",
        ] {
            assert!(settings.admits(&url(good)), "{good}");
        }
        for bad in [
            "https://evil.example/",
            "http://127.0.0.1.evil.example/",
            "http://user@127.0.0.1/",
            "https://127.0.0.1/",
            "https://app.example.com/",
            "https://app.example.com/inside",
            "https://app.example.com:8443/in",
            "http://app.example.com/in",
            "https://app.example.com.evil.example/in",
            "javascript:alert(1)",
            "data:text/html,x",
        ] {
            assert!(!settings.admits(&url(bad)), "{bad}");
        }
    }

    #[test]
    fn settings_that_would_not_work_are_refused_by_name() {
        let parse = |text: &str| {
            let settings: SignInSettings = toml::from_str(text).unwrap();
            settings.check().map_err(|error| error.to_string())
        };
        let provider = |issuer: &str| format!("[oidc.x]\nissuer = \"{issuer}\"\nclient_id = \"c\"");
        assert_eq!(parse(&provider("https://issuer.example")), Ok(()));
        assert_eq!(parse(&provider("http://127.0.0.1:3000")), Ok(()));
        assert!(parse(&provider("http://issuer.example")).unwrap_err().contains("https"));
        assert!(
            parse("[oidc.\"A b\"]\nissuer = \"https://i\"\nclient_id = \"c\"").unwrap_err().contains("`A b`")
        );
        assert!(parse("public_url = \"https://a/?x\"").unwrap_err().contains("public_url"));
        assert!(parse("redirects = [\"ftp://a/\"]").unwrap_err().contains("redirects"));
    }

    proptest! {
        #[test]
        fn without_a_list_only_this_machine_is_led_to(text in "(http|https)://[a-z0-9.@:\\[\\]/-]{1,40}") {
            if let Ok(target) = Url::parse(&text) && SignInSettings::default().admits(&target) {
                prop_assert!(target.scheme() == "http" && is_here(&target));
            }
        }
    }
}
