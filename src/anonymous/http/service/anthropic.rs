//! What Anthropic's clients ask for.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::super::call::Planned;
use super::super::error::{ApiError, Failure};
use super::super::guard;
use super::super::handover::Exchange;
use super::super::reply::Reply;
use super::super::route::{Anthropic, Route};
use super::{Service, json, report_ignored, resolve};
use crate::anonymous::anthropic::{models, request};
use crate::anonymous::face::Call;
use crate::anonymous::face::error::RequestError;
use crate::anonymous::redeem::record::Api;
use crate::wire::ModelName;

impl Service {
    pub(super) async fn anthropic(
        self: Arc<Self>,
        wanted: Anthropic,
        request: Request<Incoming>,
        exchange: Exchange,
    ) -> Result<Response<Reply>, ApiError> {
        match wanted {
            Anthropic::Messages => self.call(request::read, Api::Messages, request, exchange).await,
            Anthropic::CountTokens => self.count(request).await,
        }
    }

    /// `GET /v1/models` and `GET /v1/models/{id}`, in Anthropic's form.
    pub(super) fn anthropic_models(&self, route: &Route) -> Result<Response<Reply>, ApiError> {
        let catalog = &self.0.catalog;
        let Route::Model(id) = route else { return Ok(json(Reply::plain(models::list(catalog)))) };
        let name = ModelName::new(id.as_str()).ok();
        match name.as_ref().and_then(|name| models::one(catalog, name)) {
            Some(body) => Ok(json(Reply::plain(body))),
            None => Err(Failure::Request(RequestError::UnknownModel(name)).into()),
        }
    }

    /// Counts what would be sent. Nothing is: no token is spent, and no picture fetched.
    async fn count(&self, request: Request<Incoming>) -> Result<Response<Reply>, ApiError> {
        guard::require_json(request.headers())?;
        let body = self.body(request).await?;
        let Call { model, asks, copies, ignored, .. } =
            request::read_to_count(&body, &self.0.conduct.rules).map_err(Failure::Request)?;
        drop(body);
        self.tolerate(&ignored)?;
        let known = self.model(resolve, &model)?;
        let planned = Planned::new(model, known, asks, copies).map_err(Failure::Request)?;
        let mut response = json(Reply::plain(models::counted(planned.prompt_tokens().await)));
        report_ignored(&mut response, &ignored);
        Ok(response)
    }
}
