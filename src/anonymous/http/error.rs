//! What each failure looks like from outside: the only place that knows statuses.
//!
//! Official SDKs repeat a call by themselves on 408, 409, 429 and 5xx, unless `x-should-retry` says otherwise;
//! so every failure says it. `true` means that the identical request is free to repeat: no token was
//! spent, or the repeat goes on with the same one. In the latter case, whose outcome is unknown, the status is 504 whatever
//! the reason; the code tells the reason.

use std::borrow::Cow;
use std::time::Duration;

use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};

use super::reply::Reply;
use super::route::Face;
use crate::anonymous::face::error::{BadParameter, Class, ErrorObject, Repeat, RequestError};
use crate::anonymous::face::time::rfc3339;
use crate::anonymous::redeem::{RedeemError, RedeemErrorKind, TokenFate, UpstreamReason};
use crate::anonymous::{anthropic, ollama};

const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Everything that can go wrong with a request.
#[derive(Debug)]
pub(super) enum Failure {
    ForeignHost,
    ForeignOrigin,
    MissingKey,
    WrongKey,
    UnknownPath,
    /// What, with its verb: `Embeddings are`.
    NotOffered(&'static str),
    WrongMethod {
        route: &'static str,
        allow: &'static str,
    },
    NotJson,
    BodyTooLarge {
        limit: usize,
    },
    BodyTooSlow,
    BodyBroken,
    UnknownEncoding,
    BodyUndecodable,
    Request(RequestError),
    Redeem(RedeemError),
    NotACompletion,
    Panicked,
}

/// An error object, and the HTTP around it. In which face's form it is written is for the route to say.
pub(super) struct ApiError {
    status: StatusCode,
    object: Box<ErrorObject>,
    retry: Retry,
    allow: Option<&'static str>,
    connection: Afterwards,
}

/// Whether the identical request is worth repeating.
#[derive(Clone, Copy)]
enum Retry {
    /// It would fail again, or cost a token.
    Never,
    /// It is free.
    After(Duration),
}

/// What becomes of the connection.
#[derive(Clone, Copy)]
enum Afterwards {
    Kept,
    /// The rest of the body is not worth reading.
    Closed,
}

/// What a kind of failed redemption looks like.
struct Look {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    /// After how long a repeat has a chance, where it has one.
    again: Option<Duration>,
}

/// After how long a repeat has a chance where nothing is known.
const LATER: Duration = Duration::from_secs(5);

const INVALID_REQUEST: &str = "invalid_request_error";
const PERMISSION: &str = "permission_error";
const CONTENT_POLICY: &str = "content_policy_violation";

impl From<Failure> for ApiError {
    #[expect(clippy::too_many_lines, reason = "one table, a row a failure")]
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::ForeignHost => Self::new(
                StatusCode::FORBIDDEN,
                INVALID_REQUEST,
                Some("host_not_allowed"),
                "The Host header does not name this machine. Use http://127.0.0.1 or http://localhost.",
            ),
            Failure::ForeignOrigin => Self::new(
                StatusCode::FORBIDDEN,
                INVALID_REQUEST,
                Some("origin_not_allowed"),
                "Requests from web pages are refused, unless their origin is in `server.allowed_origins`.",
            ),
            Failure::MissingKey => Self::new(
                StatusCode::UNAUTHORIZED,
                INVALID_REQUEST,
                Some("invalid_api_key"),
                "You didn't provide an API key. You need to provide your API key in an Authorization header using \
                 Bearer auth (i.e. Authorization: Bearer YOUR_KEY). `llmtor env` prints it.",
            ),
            Failure::WrongKey => Self::new(
                StatusCode::UNAUTHORIZED,
                INVALID_REQUEST,
                Some("invalid_api_key"),
                "Incorrect API key provided. `llmtor env` prints the right one.",
            ),
            Failure::UnknownPath => Self::new(
                StatusCode::NOT_FOUND,
                INVALID_REQUEST,
                Some("unknown_url"),
                "Unknown request URL. Served are POST /v1/chat/completions, /v1/responses and /v1/completions, GET \
                 /v1/models and /v1/models/{id}; a client's base URL ends in /v1. Clients of Ollama's and Anthropic's \
                 APIs have one without it.",
            ),
            Failure::NotOffered(what) => Self::not_offered(what),
            Failure::WrongMethod { route, allow } => Self {
                allow: Some(allow),
                ..Self::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    INVALID_REQUEST,
                    Some("method_not_supported"),
                    format!("{route} does not answer this method. Use {allow}."),
                )
            },
            Failure::NotJson => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                INVALID_REQUEST,
                Some("unsupported_content_type"),
                "Unsupported content type. This API method only accepts 'application/json' requests.",
            ),
            Failure::BodyTooLarge { limit } => Self {
                connection: Afterwards::Closed,
                ..Self::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    INVALID_REQUEST,
                    Some("request_too_large"),
                    format!(
                        "The request body is larger than {limit} bytes. Send less, or raise `server.body_limit`."
                    ),
                )
            },
            Failure::BodyTooSlow => Self {
                connection: Afterwards::Closed,
                ..Self::new(
                    StatusCode::REQUEST_TIMEOUT,
                    INVALID_REQUEST,
                    Some("request_timeout"),
                    "The request body did not arrive in time. Send it again.",
                )
            },
            Failure::BodyBroken => Self {
                connection: Afterwards::Closed,
                ..Self::new(
                    StatusCode::BAD_REQUEST,
                    INVALID_REQUEST,
                    None,
                    "The request body ended early. Send it again.",
                )
            },
            Failure::UnknownEncoding => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                INVALID_REQUEST,
                Some("unsupported_content_encoding"),
                "Unsupported content encoding. Supported are 'gzip', 'deflate' and 'zstd', one at a time, or none.",
            ),
            Failure::BodyUndecodable => Self::new(
                StatusCode::BAD_REQUEST,
                INVALID_REQUEST,
                Some("invalid_content_encoding"),
                "The request body is not what its content-encoding header says, or ended early. Send it again, or without \
                 that header.",
            ),
            Failure::Request(error) => Self::from_request(error),
            Failure::Redeem(error) => Self::from_redeem(&error),
            Failure::NotACompletion => Self::new(
                StatusCode::BAD_GATEWAY,
                "api_error",
                Some("invalid_upstream_answer"),
                "The provider answered something that is not a chat completion. The token is spent; ask again for \
                 another, or ask another model.",
            ),
            Failure::Panicked => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                Some("internal_error"),
                "llmtor failed on this request. `llmtor logs` says where; please report that (`llmtor report`).",
            ),
        }
    }
}

impl ApiError {
    fn new(
        status: StatusCode,
        kind: &'static str,
        code: Option<&'static str>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            object: Box::new(ErrorObject {
                message: message.into(),
                kind,
                param: None,
                code,
                class: class(status),
                repeat: Repeat::Never,
            }),
            retry: Retry::Never,
            allow: None,
            connection: Afterwards::Kept,
        }
    }

    fn not_offered(what: &str) -> Self {
        let message = format!(
            "{what} not offered: the backend knows chat messages only. Nothing of this request has left this machine. \
             Point your tool at another provider for this."
        );
        Self::new(StatusCode::NOT_FOUND, INVALID_REQUEST, Some("not_offered"), message)
    }

    fn from_request(error: RequestError) -> Self {
        match error {
            RequestError::Malformed => Self::new(
                StatusCode::BAD_REQUEST,
                INVALID_REQUEST,
                None,
                "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your \
                 HTTP library correctly. The API expects a JSON payload, but what was sent was not valid JSON.)",
            ),
            RequestError::Parameter(BadParameter { message, param, code }) => {
                let mut error = Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, code, message);
                error.object.param = param;
                error
            }
            RequestError::UnknownModel(name) => {
                let message = match name {
                    Some(name) => format!(
                        "The model `{name}` does not exist or you do not have access to it. GET /v1/models \
                             lists those that do."
                    )
                    .into(),
                    None => Cow::Borrowed(
                        "The model does not exist or you do not have access to it. GET /v1/models lists those that do.",
                    ),
                };
                Self::new(StatusCode::NOT_FOUND, INVALID_REQUEST, Some("model_not_found"), message)
            }
        }
    }

    fn from_redeem(error: &RedeemError) -> Self {
        let Look { status, kind, code, again } = Look::of(error.kind());
        // Whatever went wrong on the way: the answer may be there, and asking again brings it.
        let is_unknown = error.token() == TokenFate::InDoubt;
        let (status, again) =
            if is_unknown { (StatusCode::GATEWAY_TIMEOUT, again.or(Some(LATER))) } else { (status, again) };
        let mut look = Self::new(status, kind, Some(code), error.to_string());
        // Two conditions: waiting helps against failures of this kind, and this failure's token allows it.
        if let Some(pause) = again.filter(|_| error.identical_retry_is_free()) {
            look.retry = Retry::After(pause);
            look.object.repeat = Repeat::Free;
        }
        if is_unknown {
            look.append(resumption(error.kind()));
        }
        match error.kind() {
            RedeemErrorKind::OutOfTokens { maturing: Some(at), .. } => {
                let at = rfc3339(*at);
                look.append(&format!("; the next of those already issued may be used from {at}"));
            }
            RedeemErrorKind::TooLarge { .. } => {
                // Clients that shorten conversations by themselves look for these words.
                look.append(" (this model's maximum context length is exceeded)");
                look.object.param = Some("messages".into());
            }
            RedeemErrorKind::Blocked { categories } if !categories.is_empty() => {
                look.append(&format!(" ({})", categories.join(", ")));
            }
            RedeemErrorKind::Upstream { reason, .. } => look.append(match reason {
                UpstreamReason::ContextLength => " (shorten the conversation)",
                UpstreamReason::InvalidRequest => " (change the request: each try costs a token)",
                UpstreamReason::ContentPolicy => " (say it in other words: each try costs a token)",
                UpstreamReason::RateLimited | UpstreamReason::Unavailable | UpstreamReason::Other => {
                    " (try again later, or another model: each try costs a token)"
                }
            }),
            _ => {}
        }
        look
    }

    fn append(&mut self, text: &str) {
        self.object.message.to_mut().push_str(text);
    }

    /// As a response to the request `request_id`, in the form of `face`.
    pub(super) fn into_response(self, face: Face, request_id: &str) -> Response<Reply> {
        let body = match face {
            Face::OpenAi => self.object.to_json(),
            Face::Ollama => ollama::error::to_json(&self.object),
            Face::Anthropic => anthropic::error::to_json(&self.object, request_id),
        };
        let mut response = Response::new(Reply::plain(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            X_SHOULD_RETRY,
            HeaderValue::from_static(match self.retry {
                Retry::Never => "false",
                Retry::After(_) => "true",
            }),
        );
        if let Retry::After(pause) = self.retry {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(pause)));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"llmtor\""));
        }
        if let Afterwards::Closed = self.connection {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// For a stream that has begun.
    pub(super) fn object(&self) -> &ErrorObject {
        &self.object
    }
}

/// What to know of a token in doubt, where the message of the failure does not say it.
fn resumption(kind: &RedeemErrorKind) -> &'static str {
    use RedeemErrorKind as Kind;
    match kind {
        Kind::TimedOut { .. } | Kind::ConnectionLost | Kind::BackendGarbled | Kind::BackendFailing { .. } => {
            ""
        }
        Kind::Paused => {
            ". This request had left before that, and its answer may be there: after `llmtor resume` the very same request \
             fetches it, for the same token"
        }
        Kind::ShuttingDown
        | Kind::TransportNotReady { .. }
        | Kind::Unreachable
        | Kind::RateLimited { .. }
        | Kind::Interrupted => {
            ". This request had left before that, and its answer may be there: the very same request fetches it, for the \
             same token; in other words it would cost another"
        }
        Kind::TooLarge { .. }
        | Kind::OutOfTokens { .. }
        | Kind::OnlyUncertain { .. }
        | Kind::AbuseTokensMissing
        | Kind::AbuseTokensWanted
        | Kind::AbuseTokenInvalid
        | Kind::AbuseTokenExpired
        | Kind::AbuseTokenBlacklisted
        | Kind::Vault { .. }
        | Kind::VaultPaused { .. }
        | Kind::CertificateRefused
        | Kind::ProxyNotTor
        | Kind::UnknownModel { .. }
        | Kind::RequestRefused { .. }
        | Kind::TokenRefused { .. }
        | Kind::AnalysisFailed
        | Kind::Blocked { .. }
        | Kind::Upstream { .. }
        | Kind::AnswerUnreadable
        | Kind::AnswerLost
        | Kind::AnswerOlder
        | Kind::AnswerUnproven { .. }
        | Kind::TokenReused => {
            ". This request had left before that, and its answer may be there: when that is put right, the very same request \
             fetches it, for the same token"
        }
    }
}

/// What sort of failure a status stands for.
fn class(status: StatusCode) -> Class {
    match status {
        StatusCode::UNAUTHORIZED => Class::Unauthenticated,
        StatusCode::FORBIDDEN => Class::Forbidden,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Class::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => Class::TooLarge,
        StatusCode::TOO_MANY_REQUESTS => Class::Limited,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Class::Overloaded,
        status if status.is_server_error() => Class::Internal,
        _ => Class::Invalid,
    }
}

impl Look {
    /// The one table from kinds of failure to statuses. A repeat helps against what passes by itself:
    /// networks, restarts, a provider of moderation that is down.
    fn of(kind: &RedeemErrorKind) -> Self {
        use RedeemErrorKind as Kind;
        const SOON: Duration = Duration::from_secs(1);
        let never = |status, kind, code| Self { status, kind, code, again: None };
        let again = |status, code, pause| Self { status, kind: "server_error", code, again: Some(pause) };
        match kind {
            Kind::ShuttingDown => again(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", LATER),
            Kind::TooLarge { .. } => {
                never(StatusCode::BAD_REQUEST, INVALID_REQUEST, "context_length_exceeded")
            }
            Kind::OutOfTokens { .. } => {
                never(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", "insufficient_quota")
            }
            Kind::AbuseTokensMissing | Kind::AbuseTokensWanted => {
                never(StatusCode::FORBIDDEN, PERMISSION, "abuse_token_missing")
            }
            Kind::Paused => never(StatusCode::SERVICE_UNAVAILABLE, "server_error", "paused"),
            Kind::AbuseTokenInvalid => never(StatusCode::FORBIDDEN, PERMISSION, "abuse_token_invalid"),
            Kind::AbuseTokenExpired => never(StatusCode::FORBIDDEN, PERMISSION, "abuse_token_expired"),
            Kind::AbuseTokenBlacklisted => {
                never(StatusCode::FORBIDDEN, PERMISSION, "abuse_token_blacklisted")
            }
            Kind::VaultPaused { .. } => never(StatusCode::FORBIDDEN, PERMISSION, "vault_paused"),
            Kind::Vault { .. } => never(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "vault_error"),
            Kind::TransportNotReady { retry_after, .. } => {
                again(StatusCode::SERVICE_UNAVAILABLE, "tor_not_ready", retry_after.unwrap_or(LATER))
            }
            Kind::Unreachable => again(StatusCode::SERVICE_UNAVAILABLE, "backend_unreachable", SOON),
            Kind::CertificateRefused => {
                never(StatusCode::BAD_GATEWAY, "api_error", "backend_certificate_refused")
            }
            Kind::ProxyNotTor => never(StatusCode::SERVICE_UNAVAILABLE, "server_error", "proxy_is_not_tor"),
            Kind::UnknownModel { .. } => never(StatusCode::NOT_FOUND, INVALID_REQUEST, "model_not_found"),
            Kind::RequestRefused { .. } => never(StatusCode::BAD_GATEWAY, "api_error", "backend_refused"),
            Kind::RateLimited { retry_after } => Self {
                status: StatusCode::TOO_MANY_REQUESTS,
                kind: "requests",
                code: "rate_limit_exceeded",
                again: Some(retry_after.unwrap_or(LATER)),
            },
            Kind::TokenRefused { .. } => never(StatusCode::BAD_GATEWAY, "api_error", "token_refused"),
            Kind::AnalysisFailed => again(StatusCode::SERVICE_UNAVAILABLE, "moderation_failed", LATER),
            Kind::Blocked { .. } => never(StatusCode::BAD_REQUEST, INVALID_REQUEST, CONTENT_POLICY),
            Kind::Upstream { reason, .. } => match reason {
                UpstreamReason::RateLimited => {
                    never(StatusCode::TOO_MANY_REQUESTS, "requests", "rate_limit_exceeded")
                }
                UpstreamReason::ContextLength => {
                    never(StatusCode::BAD_REQUEST, INVALID_REQUEST, "context_length_exceeded")
                }
                UpstreamReason::InvalidRequest => {
                    never(StatusCode::BAD_REQUEST, INVALID_REQUEST, "upstream_invalid_request")
                }
                UpstreamReason::ContentPolicy => {
                    never(StatusCode::BAD_REQUEST, INVALID_REQUEST, CONTENT_POLICY)
                }
                UpstreamReason::Unavailable | UpstreamReason::Other => {
                    never(StatusCode::BAD_GATEWAY, "api_error", "upstream_error")
                }
            },
            Kind::AnswerUnreadable => never(StatusCode::BAD_GATEWAY, "api_error", "invalid_upstream_answer"),
            Kind::AnswerLost => never(StatusCode::BAD_GATEWAY, "api_error", "answer_lost"),
            Kind::AnswerOlder => never(StatusCode::BAD_GATEWAY, "api_error", "answer_older"),
            Kind::AnswerUnproven { .. } => never(StatusCode::BAD_GATEWAY, "api_error", "answer_unproven"),
            Kind::OnlyUncertain { .. } => {
                never(StatusCode::SERVICE_UNAVAILABLE, "server_error", "tokens_uncertain")
            }
            Kind::TokenReused => never(StatusCode::BAD_GATEWAY, "api_error", "token_reused"),
            Kind::TimedOut { .. } => again(StatusCode::GATEWAY_TIMEOUT, "backend_timeout", SOON),
            Kind::ConnectionLost => again(StatusCode::BAD_GATEWAY, "connection_lost", SOON),
            Kind::BackendGarbled => again(StatusCode::BAD_GATEWAY, "backend_garbled", SOON),
            Kind::BackendFailing { retry_after, .. } => {
                again(StatusCode::BAD_GATEWAY, "backend_failing", retry_after.unwrap_or(SOON))
            }
            Kind::Interrupted => again(StatusCode::INTERNAL_SERVER_ERROR, "interrupted", SOON),
        }
    }
}

/// Whole seconds, rounded up: a pause of zero would be no pause.
fn whole_seconds(pause: Duration) -> u64 {
    (pause.as_secs() + u64::from(pause.subsec_nanos() > 0)).max(1)
}
