//! Response bodies: whole, or a stream that may still be waiting for its answer.
//!
//! | state of a stream | yields | then |
//! | --- | --- | --- |
//! | waiting | a comment line at each heartbeat | speaking, or one error event and over |
//! | speaking | batches of events | over |
//! | over | nothing | |
//!
//! The last piece of an answer takes the delivery with it; in a body dropped before, the client is taken not to have
//! the answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::error::ApiError;
use super::handover::{Exchange, Piece};
use crate::anonymous::openai::chunks::Chunks;
use crate::anonymous::redeem::Delivery;

/// Large enough to keep writes few, small enough to keep memory flat.
const BATCH: usize = 16 * 1024;
/// What keeps a connection alive; every client skips it.
const COMMENT: &[u8] = b": keep-alive\n\n";

/// A stream's answer while it is waited for.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<(Chunks, Delivery), ApiError>> + Send>>;

/// The body of every response.
pub(super) struct Reply {
    content: Content,
    delivery: Option<Delivery>,
    /// What it is the response of.
    exchange: Option<Exchange>,
}

enum Content {
    Whole(Bytes),
    Waiting { call: Answering, beat: Interval },
    Speaking(Chunks),
    Over,
}

impl Reply {
    /// A body that no token was spent for.
    pub(super) fn plain(body: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(body.into()), delivery: None, exchange: None }
    }

    /// A whole answer.
    pub(super) fn whole(body: Vec<u8>, delivery: Delivery, exchange: Exchange) -> Self {
        Self { content: Content::Whole(body.into()), delivery: Some(delivery), exchange: Some(exchange) }
    }

    /// A stream whose answer is here.
    pub(super) fn speaking(chunks: Chunks, delivery: Delivery, exchange: Exchange) -> Self {
        Self { content: Content::Speaking(chunks), delivery: Some(delivery), exchange: Some(exchange) }
    }

    /// A stream whose answer is not here yet: begins with a comment, so that the headers go out.
    pub(super) fn waiting(call: Answering, heartbeat: Duration, exchange: Exchange) -> Self {
        let mut beat = interval(heartbeat.max(Duration::from_millis(1)));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { content: Content::Waiting { call, beat }, delivery: None, exchange: Some(exchange) }
    }

    /// Ties it to the exchange that it is the response of.
    pub(super) fn belong_to(&mut self, exchange: Exchange) {
        self.exchange = Some(exchange);
    }

    fn piece(&mut self, bytes: Bytes) -> Piece {
        let delivery = if let Content::Over = self.content { self.delivery.take() } else { None };
        Piece::new(bytes, delivery, self.exchange.clone())
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Option<Poll<Bytes>> {
        let Content::Waiting { call, beat } = &mut self.content else { return None };
        match call.as_mut().poll(cx) {
            Poll::Ready(Ok((chunks, delivery))) => {
                self.content = Content::Speaking(chunks);
                self.delivery = Some(delivery);
                None
            }
            Poll::Ready(Err(error)) => {
                self.content = Content::Over;
                Some(Poll::Ready(error.to_event().into()))
            }
            Poll::Pending => Some(beat.poll_tick(cx).map(|_| Bytes::from_static(COMMENT))),
        }
    }
}

impl Body for Reply {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        if let Some(waited) = self.poll_waiting(cx) {
            return waited.map(|bytes| Some(Ok(Frame::data(self.piece(bytes)))));
        }
        let bytes = match &mut self.content {
            Content::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.content = Content::Over;
                Some(bytes)
            }
            Content::Speaking(chunks) => {
                let batch = chunks.next_batch(BATCH);
                if chunks.is_over() {
                    self.content = Content::Over;
                }
                batch.map(Bytes::from)
            }
            Content::Waiting { .. } | Content::Over => None,
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(self.piece(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Over)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Over => SizeHint::with_exact(0),
            Content::Waiting { .. } | Content::Speaking(_) => SizeHint::default(),
        }
    }
}
