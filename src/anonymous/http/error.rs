//! What each failure looks like from outside: the only place that knows statuses.
//!
//! Official SDKs repeat a call by themselves on 408, 409, 429 and 5xx, unless `x-should-retry` says otherwise;
//! so every failure says it. `true` means that the identical request is free to repeat: no token was
//! spent, or the repeat goes on with the same one.

use std::borrow::Cow;
use std::time::Duration;

use hyper::header::{
    ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::reply::Reply;
use crate::anonymous::openai::{BadParameter, RequestError};
use crate::anonymous::redeem::RedeemErrorKind;

const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Everything that can go wrong with a request.
#[derive(Debug)]
pub(super) enum Failure {
    ForeignHost,
    ForeignOrigin,
    MissingKey,
    WrongKey,
    UnknownPath,
    WrongMethod { route: &'static str, allow: &'static str },
    NotJson,
    BodyTooLarge { limit: usize },
    BodyTooSlow,
    BodyBroken,
    Request(RequestError),
    Redeem(RedeemErrorKind),
    NotACompletion,
    Panicked,
}

/// OpenAI's error object, and the HTTP around it.
pub(super) struct ApiError {
    status: StatusCode,
    object: ErrorObject,
    retry: Retry,
    allow: Option<&'static str>,
    connection: Afterwards,
}

/// `{"message","type","param","code"}`, all four always there.
#[derive(Serialize)]
struct ErrorObject {
    message: Cow<'static, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<Cow<'static, str>>,
    code: Option<&'static str>,
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

const INVALID_REQUEST: &str = "invalid_request_error";

impl From<Failure> for ApiError {
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
                "Requests from web pages are refused.",
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
                "Unknown request URL. Served are POST /v1/chat/completions, GET /v1/models and GET \
                 /v1/models/{id}; a client's base URL ends in /v1.",
            ),
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
                    format!("The request body is larger than {limit} bytes (server.body_limit)."),
                )
            },
            Failure::BodyTooSlow => Self {
                connection: Afterwards::Closed,
                ..Self::new(
                    StatusCode::REQUEST_TIMEOUT,
                    INVALID_REQUEST,
                    Some("request_timeout"),
                    "The request body did not arrive in time.",
                )
            },
            Failure::BodyBroken => Self {
                connection: Afterwards::Closed,
                ..Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, None, "The request body ended early.")
            },
            Failure::Request(error) => Self::from_request(error),
            Failure::Redeem(kind) => Self::from_redeem(kind),
            Failure::NotACompletion => Self::new(
                StatusCode::BAD_GATEWAY,
                "api_error",
                Some("invalid_upstream_answer"),
                "The provider answered something that is not a chat completion. The token is spent.",
            ),
            Failure::Panicked => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                Some("internal_error"),
                "llmtor failed on this request.",
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
            object: ErrorObject { message: message.into(), kind, param: None, code },
            retry: Retry::Never,
            allow: None,
            connection: Afterwards::Kept,
        }
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
                    Some(name) => {
                        format!("The model `{name}` does not exist or you do not have access to it.").into()
                    }
                    None => Cow::Borrowed("The model does not exist or you do not have access to it."),
                };
                Self::new(StatusCode::NOT_FOUND, INVALID_REQUEST, Some("model_not_found"), message)
            }
        }
    }

    fn from_redeem(kind: RedeemErrorKind) -> Self {
        match kind {}
    }

    /// As a response.
    pub(super) fn into_response(self) -> Response<Reply> {
        let mut response = Response::new(Reply::plain(self.to_json()));
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
            headers.insert(RETRY_AFTER, HeaderValue::from(pause.as_secs()));
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

    /// As an event of a stream that has begun.
    pub(super) fn to_event(&self) -> Vec<u8> {
        let mut event = b"data: ".to_vec();
        event.extend(self.to_json());
        event.extend_from_slice(b"\n\n");
        event
    }

    fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a ErrorObject,
        }
        #[expect(clippy::expect_used, reason = "a struct of strings always has a JSON form")]
        serde_json::to_vec(&Body { error: &self.object }).expect("an error has a JSON form")
    }
}
