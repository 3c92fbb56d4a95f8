//! What Ollama's clients ask for.
//!
//! They send any content type, or none, and so does the example in Ollama's own documentation. No web page gets this far
//! without the key, and the key that a browser remembers does not count.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response};

use super::super::error::{ApiError, Failure};
use super::super::handover::Exchange;
use super::super::reply::Reply;
use super::super::route::Ollama;
use super::{Service, asking, json};
use crate::anonymous::face::error::RequestError;
use crate::anonymous::ollama::models;
use crate::anonymous::ollama::request::{self, Loaded, Wanted};
use crate::anonymous::ollama::telling::Moment;
use crate::anonymous::redeem::record::Api;
use crate::wire::ModelName;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// How the body of a call is read.
type Reader = fn(&[u8], Moment) -> Result<Wanted, RequestError>;

impl Service {
    pub(super) async fn ollama(
        self: Arc<Self>,
        wanted: Ollama,
        request: Request<Incoming>,
        exchange: Exchange,
    ) -> Result<Response<Reply>, ApiError> {
        let catalog = &self.0.catalog;
        let body = match wanted {
            Ollama::Root => return Ok(running()),
            Ollama::Version => models::version(),
            Ollama::Tags => models::tags(catalog),
            Ollama::Running => models::running(),
            Ollama::Show => {
                let body = self.body(request).await?;
                let spelled = request::shown(&body).map_err(Failure::Request)?;
                let unknown = || RequestError::UnknownModel(ModelName::new(spelled.as_str()).ok());
                models::show(catalog, &spelled).ok_or_else(|| Failure::Request(unknown()))?
            }
            Ollama::Chat => return self.ollama_call(request::chat, request, exchange).await,
            Ollama::Generate => return self.ollama_call(request::generate, request, exchange).await,
        };
        Ok(json(Reply::plain(body)))
    }

    async fn ollama_call(
        self: Arc<Self>,
        read: Reader,
        request: Request<Incoming>,
        exchange: Exchange,
    ) -> Result<Response<Reply>, ApiError> {
        let now = Moment { at: self.0.clock.now(), started: Instant::now() };
        let asking = asking(request.headers()).by(Api::Ollama);
        let body = self.body(request).await?;
        let wanted = read(&body, now).map_err(Failure::Request)?;
        drop(body);
        match wanted {
            Wanted::Call(call) => self.run(call, models::resolve, asking, exchange).await,
            Wanted::Loaded(Loaded { model, answer }) => {
                self.model(models::resolve, &model)?;
                Ok(json(Reply::plain(answer)))
            }
        }
    }
}

fn running() -> Response<Reply> {
    let mut response = Response::new(Reply::plain(models::RUNNING.as_bytes()));
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}
