//! Where the backend is, for a transport that goes through Tor.
//!
//! HTTPS to a name or an address; plain HTTP only to an onion service, which proves who it is by its name.

use url::{Host, Url};

/// Whether the stream carries TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// `https://`
    Tls,
    /// `http://` to an onion service.
    Onion,
}

/// Why a URL is not one for Tor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not a URL of a backend.
    #[error("not a URL; Tor wants one like https://api.example.org")]
    NotAUrl,
    /// An exit could read it all.
    #[error("plain http:// is only for onion services: an exit could read every prompt; use https://")]
    PlainHttp,
    /// Tor ends elsewhere.
    #[error("`localhost` cannot be reached through Tor; use --transport loopback")]
    Loopback,
    /// Credentials, a path, a query or a fragment.
    #[error("the backend's URL ends after the port; leave out what follows")]
    TooMuch,
}

/// Host, port, and what is spoken there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    layer: Layer,
    authority: String,
}

impl Target {
    /// Reads a base URL.
    pub fn new(url: &str) -> Result<Self, TargetError> {
        let url = Url::parse(url).map_err(|_| TargetError::NotAUrl)?;
        let host = match url.host().ok_or(TargetError::NotAUrl)? {
            Host::Domain(name) => name.trim_end_matches('.').to_owned(),
            // Whether an exit may be asked for a local address is for Tor's `address_filter` to say.
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        let lower = host.to_ascii_lowercase();
        if lower == "localhost" || lower.ends_with(".localhost") {
            return Err(TargetError::Loopback);
        }
        let onion = lower.rsplit('.').next() == Some("onion") && lower.contains('.');
        let layer = match url.scheme() {
            "https" => Layer::Tls,
            "http" if onion => Layer::Onion,
            "http" => return Err(TargetError::PlainHttp),
            _ => return Err(TargetError::NotAUrl),
        };
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(TargetError::TooMuch);
        }
        let port = url.port_or_known_default().ok_or(TargetError::NotAUrl)?;
        // As everybody else writes it: the dot that ends a name says nothing that another request would not.
        let authority = match url.host() {
            Some(Host::Domain(name)) if name.ends_with('.') => url.authority().replacen(name, &host, 1),
            _ => url.authority().to_owned(),
        };
        Ok(Self { host, port, layer, authority })
    }

    /// A name, an address without brackets, or an onion address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What is spoken.
    pub fn layer(&self) -> Layer {
        self.layer
    }

    /// For `Host:`.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_that_ends_the_name_is_in_no_head() {
        let authority = |url: &str| Target::new(url).unwrap().authority().to_owned();
        assert_eq!(authority("https://api.example.org./"), "api.example.org");
        assert_eq!(authority("https://api.example.org.:8443"), "api.example.org:8443");
        assert_eq!(authority("https://api.example.org"), "api.example.org");
        assert_eq!(authority("https://[2001:db8::1]:8443"), "[2001:db8::1]:8443");
    }
}
