//! What can be asked of the endpoint: one row a route.

use hyper::Method;

/// A path of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    ChatCompletions,
    Responses,
    Models,
    /// With the id from the path, percent-decoded; ids may contain slashes.
    Model(String),
    Health,
    Unknown,
}

/// Whether a route wants the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Key,
    Anyone,
}

impl Route {
    /// The route of a request's path, without its query.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/v1/chat/completions" => Self::ChatCompletions,
            "/v1/responses" => Self::Responses,
            "/v1/models" => Self::Models,
            "/healthz" => Self::Health,
            _ => match path.strip_prefix("/v1/models/").and_then(percent_decode) {
                Some(id) if !id.is_empty() => Self::Model(id),
                _ => Self::Unknown,
            },
        }
    }

    /// For logs and messages: what the path is an instance of, never the path itself.
    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Models => "/v1/models",
            Self::Model(_) => "/v1/models/{id}",
            Self::Health => "/healthz",
            Self::Unknown => "unknown",
        }
    }

    pub(super) fn access(&self) -> Access {
        match self {
            Self::Health => Access::Anyone,
            _ => Access::Key,
        }
    }

    /// The methods it answers, as `Allow` lists them; `None` where there is nothing.
    pub(super) fn allow(&self) -> Option<&'static str> {
        match self {
            Self::ChatCompletions | Self::Responses => Some("POST"),
            Self::Models | Self::Model(_) | Self::Health => Some("GET, HEAD"),
            Self::Unknown => None,
        }
    }

    /// Whether it answers `method`.
    pub(super) fn answers(&self, method: &Method) -> bool {
        self.allow().is_some_and(|allow| allow.split(", ").any(|allowed| allowed == method.as_str()))
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let mut digit =
                || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            digit()? << 4 | digit()?
        } else {
            byte
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_routed_exactly() {
        let model = |id: &str| Route::Model(id.into());
        let cases = [
            ("/v1/chat/completions", Route::ChatCompletions),
            ("/v1/chat/completions/", Route::Unknown),
            ("/chat/completions", Route::Unknown),
            ("/v1/models", Route::Models),
            ("/v1/models/", Route::Unknown),
            ("/v1/models/gpt-4.1", model("gpt-4.1")),
            ("/v1/models/org/name%3Afree", model("org/name:free")),
            ("/v1/models/%zz", Route::Unknown),
            ("/v1/models/%f", Route::Unknown),
            ("/v1/models/%ff", Route::Unknown),
            ("/healthz", Route::Health),
            ("*", Route::Unknown),
            ("", Route::Unknown),
        ];
        for (path, route) in cases {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn methods_are_those_listed() {
        assert!(Route::Models.answers(&Method::GET) && Route::Models.answers(&Method::HEAD));
        assert!(!Route::ChatCompletions.answers(&Method::GET));
        assert!(!Route::Unknown.answers(&Method::GET));
    }
}
