//! What can be asked of the endpoint: one row a route.
//!
//! A path is normalised once, here, so that what people mistype works: empty segments (doubled and trailing slashes)
//! do not count, and neither does a leading `v1`, be it missing, there or doubled. Behind `models` the rest of a
//! path is an id, which may contain slashes and escapes.

use hyper::Method;

use super::error::Failure;

/// A path of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    ChatCompletions,
    Completions,
    Responses,
    Models,
    /// With the id from the path, percent-decoded; ids may contain slashes.
    Model(String),
    Health,
    Metrics,
    OpenApi,
    Ollama(Ollama),
    Anthropic(Anthropic),
    /// A part of some API that the backend has nothing for.
    NotOffered(Missing),
    /// To those whose clients would ask for it.
    Unknown(Face),
}

/// A path of Ollama's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ollama {
    /// `/`, which tells programs that it runs.
    Root,
    Version,
    Tags,
    Show,
    Chat,
    Generate,
    /// `/api/ps`
    Running,
}

/// A path of Anthropic's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anthropic {
    Messages,
    CountTokens,
}

/// What is not offered, and to whose clients that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// With its verb: `Embeddings are`.
    pub(super) what: &'static str,
    pub(super) face: Face,
}

/// Whose API a route belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    OpenAi,
    Ollama,
    Anthropic,
}

/// Which faces are shown beside OpenAI's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faces {
    /// Ollama's.
    pub ollama: Presence,
    /// Anthropic's.
    pub anthropic: Presence,
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    On,
    /// It is not; its paths are unknown.
    Off,
}

/// Whether a route wants the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Key,
    Anyone,
}

/// Responses that somebody wants back.
const NOT_STORED: &str = "Nothing is stored, so stored responses are";

/// First segments, and what stands behind them at OpenAI's.
const NOT_OFFERED: [(&str, &str); 17] = [
    ("assistants", "Assistants are"),
    ("audio", "Audio is"),
    ("batches", "Batches are"),
    ("containers", "Containers are"),
    ("conversations", "Stored conversations are"),
    ("embeddings", "Embeddings are"),
    ("evals", "Evals are"),
    ("files", "Files are"),
    ("fine_tuning", "Fine-tuning is"),
    ("images", "Images are"),
    ("moderations", "Moderations are"),
    ("organization", "Administration is"),
    ("realtime", "Realtime sessions are"),
    ("threads", "Threads are"),
    ("uploads", "Uploads are"),
    ("vector_stores", "Vector stores are"),
    ("videos", "Videos are"),
];

/// The same behind Ollama's `/api/`.
const NOT_OFFERED_TO_OLLAMA: [(&str, &str); 8] = [
    ("blobs", "Blobs are"),
    ("copy", "Copying models is"),
    ("create", "Creating models is"),
    ("delete", "Deleting models is"),
    ("embed", "Embeddings are"),
    ("embeddings", "Embeddings are"),
    ("pull", "Pulling models is"),
    ("push", "Pushing models is"),
];

impl Faces {
    /// All.
    pub const ALL: Self = Self { ollama: Presence::On, anthropic: Presence::On };

    fn show(self, face: Face) -> bool {
        match face {
            Face::OpenAi => true,
            Face::Ollama => self.ollama == Presence::On,
            Face::Anthropic => self.anthropic == Presence::On,
        }
    }
}

impl Route {
    /// The route of a request's path, without its query.
    pub(super) fn of(path: &str, faces: Faces) -> Self {
        let route = Self::among_all(path);
        if faces.show(route.face()) { route } else { Self::Unknown(Face::OpenAi) }
    }

    fn among_all(path: &str) -> Self {
        let Some(path) = path.strip_prefix('/') else { return Self::Unknown(Face::OpenAi) };
        let mut versions = 0;
        let segments: Vec<&str> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .skip_while(|segment| {
                *segment == "v1" && {
                    versions += 1;
                    true
                }
            })
            .collect();
        match segments[..] {
            [] if versions == 0 => Self::Ollama(Ollama::Root),
            ["chat", "completions"] => Self::ChatCompletions,
            ["chat", "completions", ..] => Self::not_offered("Stored completions are", Face::OpenAi),
            ["completions"] => Self::Completions,
            ["responses"] => Self::Responses,
            ["responses", "compact"] => Self::not_offered("Compacted conversations are", Face::OpenAi),
            ["responses", "input_tokens"] => Self::not_offered("Counts of tokens are", Face::OpenAi),
            ["responses", ..] => Self::not_offered(NOT_STORED, Face::OpenAi),
            ["models"] => Self::Models,
            ["models", ref id @ ..] => {
                percent_decode(&id.join("/")).map_or(Self::Unknown(Face::OpenAi), Self::Model)
            }
            ["messages"] => Self::Anthropic(Anthropic::Messages),
            ["messages", "count_tokens"] => Self::Anthropic(Anthropic::CountTokens),
            ["messages", "batches", ..] => Self::not_offered("Batches are", Face::Anthropic),
            ["messages", ..] => Self::Unknown(Face::Anthropic),
            ["healthz"] => Self::Health,
            ["metrics"] => Self::Metrics,
            ["openapi.json"] => Self::OpenApi,
            ["api", ref rest @ ..] => Self::of_ollama(rest),
            [first, ..] => Self::missing(&NOT_OFFERED, first, Face::OpenAi),
            [] => Self::Unknown(Face::OpenAi),
        }
    }

    fn of_ollama(segments: &[&str]) -> Self {
        match segments {
            ["version"] => Self::Ollama(Ollama::Version),
            ["tags"] => Self::Ollama(Ollama::Tags),
            ["show"] => Self::Ollama(Ollama::Show),
            ["chat"] => Self::Ollama(Ollama::Chat),
            ["generate"] => Self::Ollama(Ollama::Generate),
            ["ps"] => Self::Ollama(Ollama::Running),
            [first, ..] => Self::missing(&NOT_OFFERED_TO_OLLAMA, first, Face::Ollama),
            [] => Self::Unknown(Face::Ollama),
        }
    }

    fn missing(table: &[(&str, &'static str)], first: &str, face: Face) -> Self {
        let row = table.iter().find(|(segment, _)| *segment == first);
        row.map_or(Self::Unknown(face), |(_, what)| Self::not_offered(what, face))
    }

    fn not_offered(what: &'static str, face: Face) -> Self {
        Self::NotOffered(Missing { what, face })
    }

    /// Whose form its answers, errors among them, have.
    pub(super) fn face(&self) -> Face {
        match self {
            Self::Ollama(_) => Face::Ollama,
            Self::Anthropic(_) => Face::Anthropic,
            Self::NotOffered(missing) => missing.face,
            Self::Unknown(face) => *face,
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Models
            | Self::Model(_)
            | Self::Health
            | Self::Metrics
            | Self::OpenApi => Face::OpenAi,
        }
    }

    /// For logs and messages: what the path is an instance of, never the path itself.
    pub(super) fn template(&self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Models => "/v1/models",
            Self::Model(_) => "/v1/models/{id}",
            Self::Health => "/healthz",
            Self::Metrics => "/metrics",
            Self::OpenApi => "/openapi.json",
            Self::Ollama(Ollama::Root) => "/",
            Self::Ollama(Ollama::Version) => "/api/version",
            Self::Ollama(Ollama::Tags) => "/api/tags",
            Self::Ollama(Ollama::Show) => "/api/show",
            Self::Ollama(Ollama::Chat) => "/api/chat",
            Self::Ollama(Ollama::Generate) => "/api/generate",
            Self::Ollama(Ollama::Running) => "/api/ps",
            Self::Anthropic(Anthropic::Messages) => "/v1/messages",
            Self::Anthropic(Anthropic::CountTokens) => "/v1/messages/count_tokens",
            Self::NotOffered(_) => "not offered",
            Self::Unknown(_) => "unknown",
        }
    }

    pub(super) fn access(&self) -> Access {
        match self {
            Self::Health | Self::OpenApi | Self::Ollama(Ollama::Root | Ollama::Version) => Access::Anyone,
            _ => Access::Key,
        }
    }

    /// The methods it answers, as `Allow` lists them; a failure where there is nothing.
    pub(super) fn allow(&self) -> Result<&'static str, Failure> {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Ollama(Ollama::Show | Ollama::Chat | Ollama::Generate)
            | Self::Anthropic(Anthropic::Messages | Anthropic::CountTokens) => Ok("POST, OPTIONS"),
            Self::Models
            | Self::Model(_)
            | Self::Health
            | Self::Metrics
            | Self::OpenApi
            | Self::Ollama(Ollama::Root | Ollama::Version | Ollama::Tags | Ollama::Running) => {
                Ok("GET, HEAD, OPTIONS")
            }
            Self::NotOffered(missing) => Err(Failure::NotOffered(missing.what)),
            Self::Unknown(_) => Err(Failure::UnknownPath),
        }
    }

    /// Whether it answers `method`.
    pub(super) fn answers(&self, method: &Method) -> bool {
        self.allow().is_ok_and(|allow| allow.split(", ").any(|allowed| allowed == method.as_str()))
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
    use proptest::prelude::*;

    use super::*;

    fn route(path: &str) -> Route {
        Route::of(path, Faces::ALL)
    }

    #[test]
    fn paths_are_routed() {
        let model = |id: &str| Route::Model(id.into());
        let missing = |what, face| Route::NotOffered(Missing { what, face });
        let cases = [
            ("/v1/chat/completions", Route::ChatCompletions),
            ("/v1/Chat/completions", Route::Unknown(Face::OpenAi)),
            ("/v1/chat", Route::Unknown(Face::OpenAi)),
            ("/v1/chat/completions/x", missing("Stored completions are", Face::OpenAi)),
            ("/v1/responses", Route::Responses),
            ("/v1/responses/resp_1", missing(NOT_STORED, Face::OpenAi)),
            ("/v1/models", Route::Models),
            ("/v1/models/gpt-4.1", model("gpt-4.1")),
            ("/v1/models/v1", model("v1")),
            ("/v1/models/org/name%3Afree", model("org/name:free")),
            ("/v1/models/%zz", Route::Unknown(Face::OpenAi)),
            ("/v1/models/%f", Route::Unknown(Face::OpenAi)),
            ("/v1/models/%ff", Route::Unknown(Face::OpenAi)),
            ("/v1/embeddings", missing("Embeddings are", Face::OpenAi)),
            ("/v1/files/file-1/content", missing("Files are", Face::OpenAi)),
            ("/v1/messages", Route::Anthropic(Anthropic::Messages)),
            ("/v1/messages/count_tokens", Route::Anthropic(Anthropic::CountTokens)),
            ("/api/chat", Route::Ollama(Ollama::Chat)),
            ("/api/embed", missing("Embeddings are", Face::Ollama)),
            ("/api/nothing", Route::Unknown(Face::Ollama)),
            ("/v1/messages/msg_1", Route::Unknown(Face::Anthropic)),
            ("/healthz", Route::Health),
            ("/", Route::Ollama(Ollama::Root)),
            ("/v1", Route::Unknown(Face::OpenAi)),
            ("*", Route::Unknown(Face::OpenAi)),
            ("v1/models", Route::Unknown(Face::OpenAi)),
            ("", Route::Unknown(Face::OpenAi)),
        ];
        for (path, expected) in cases {
            assert_eq!(route(path), expected, "{path}");
        }
    }

    #[test]
    fn a_face_that_is_off_is_unknown() {
        let without = |ollama, anthropic| Faces { ollama, anthropic };
        for path in ["/", "/api/chat", "/api/embed"] {
            assert_eq!(
                Route::of(path, without(Presence::Off, Presence::On)),
                Route::Unknown(Face::OpenAi),
                "{path}"
            );
            assert_ne!(
                Route::of(path, without(Presence::On, Presence::Off)),
                Route::Unknown(Face::OpenAi),
                "{path}"
            );
        }
        assert_eq!(
            Route::of("/v1/messages", without(Presence::On, Presence::Off)),
            Route::Unknown(Face::OpenAi)
        );
        assert_ne!(
            Route::of("/v1/models", without(Presence::Off, Presence::Off)),
            Route::Unknown(Face::OpenAi)
        );
    }

    #[test]
    fn methods_are_those_listed() {
        assert!(Route::Models.answers(&Method::GET) && Route::Models.answers(&Method::HEAD));
        assert!(!Route::ChatCompletions.answers(&Method::GET));
        assert!(!Route::Unknown(Face::OpenAi).answers(&Method::GET));
    }

    proptest! {
        #[test]
        fn slashes_and_the_version_change_nothing(
            known in prop::sample::select(vec![
                "chat/completions", "completions", "responses", "models", "models/org/name:free", "messages",
                "messages/count_tokens", "api/tags", "healthz", "embeddings", "files/x", "nothing",
            ]),
            versions in 0_usize..4,
            slashes in prop::collection::vec(1_usize..4, 10),
        ) {
            let segments = std::iter::repeat_n("v1", versions).chain(known.split('/'));
            let mut mistyped = String::new();
            for (segment, slashes) in segments.zip(&slashes) {
                mistyped.push_str(&"/".repeat(*slashes));
                mistyped.push_str(segment);
            }
            let expected = route(&format!("/v1/{known}"));
            prop_assert_eq!(&route(&mistyped), &expected);
            mistyped.push_str(&"/".repeat(slashes[9]));
            prop_assert_eq!(&route(&mistyped), &expected);
        }

        #[test]
        fn every_path_has_a_route(path in "\\PC*", known in "(/|v1|models|api|%[0-9a-f]{2}|[a-z]){0,12}") {
            for path in [path, known] {
                let route = route(&path);
                let nothing = matches!(route, Route::Unknown(_) | Route::NotOffered(_));
                prop_assert_eq!(route.allow().is_err(), nothing);
                prop_assert!(!matches!(&route, Route::Model(id) if id.is_empty()));
            }
        }
    }
}
