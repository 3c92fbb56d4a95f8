//! Response bodies: whole, or a stream that may still be waiting for its answer.
//!
//! | state of a stream | yields | then |
//! | --- | --- | --- |
//! | opening | what the face begins with | waiting |
//! | waiting | a sign of life at each heartbeat | speaking, or one error event and over |
//! | speaking | batches of events | over |
//! | over | nothing | |
//!
//! The last piece of an answer takes the deliveries with it; in a body dropped before, the client is taken not to have
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
use crate::anonymous::face::{Answer, Events, Script};
use crate::anonymous::redeem::Delivery;

/// Large enough to keep writes few, small enough to keep memory flat.
const BATCH: usize = 16 * 1024;

/// A stream's answer while it is waited for, and what paid for it.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<(Answer, Vec<Delivery>), ApiError>> + Send>>;

/// The body of every response.
pub(super) struct Reply {
    content: Content,
    /// More than one where several answers were wanted.
    deliveries: Vec<Delivery>,
    /// What it is the response of.
    exchange: Option<Exchange>,
}

enum Content {
    Whole(Bytes),
    Waiting(Box<Waiting>),
    Speaking(Box<dyn Events>),
    Over,
}

struct Waiting {
    call: Answering,
    beat: Interval,
    script: Box<dyn Script>,
    opened: Opened,
}

/// Whether a stream has begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    Not,
    Yes,
}

impl Reply {
    /// A body that no token was spent for.
    pub(super) fn plain(body: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(body.into()), deliveries: Vec::new(), exchange: None }
    }

    /// A whole answer.
    pub(super) fn whole(body: Vec<u8>, deliveries: Vec<Delivery>, exchange: Exchange) -> Self {
        Self { content: Content::Whole(body.into()), deliveries, exchange: Some(exchange) }
    }

    /// A stream whose answer is here.
    pub(super) fn speaking(events: Box<dyn Events>, deliveries: Vec<Delivery>, exchange: Exchange) -> Self {
        Self { content: Content::Speaking(events), deliveries, exchange: Some(exchange) }
    }

    /// A stream whose answer is not here yet: it begins at once, so that the headers go out.
    pub(super) fn waiting(
        call: Answering,
        script: Box<dyn Script>,
        heartbeat: Duration,
        exchange: Exchange,
    ) -> Self {
        let mut beat = interval(heartbeat.max(Duration::from_millis(1)));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, and that is what the opening is for.
        beat.reset();
        let waiting = Box::new(Waiting { call, beat, script, opened: Opened::Not });
        Self { content: Content::Waiting(waiting), deliveries: Vec::new(), exchange: Some(exchange) }
    }

    /// Ties it to the exchange that it is the response of.
    pub(super) fn belong_to(&mut self, exchange: Exchange) {
        self.exchange = Some(exchange);
    }

    fn piece(&mut self, bytes: Bytes) -> Piece {
        let deliveries =
            if let Content::Over = self.content { std::mem::take(&mut self.deliveries) } else { Vec::new() };
        Piece::new(bytes, deliveries, self.exchange.clone())
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Option<Poll<Bytes>> {
        let Content::Waiting(waiting) = &mut self.content else { return None };
        if waiting.opened == Opened::Not {
            waiting.opened = Opened::Yes;
            return Some(Poll::Ready(waiting.script.opening().into()));
        }
        match waiting.call.as_mut().poll(cx) {
            Poll::Pending => {
                let script = &mut waiting.script;
                Some(waiting.beat.poll_tick(cx).map(|_| script.beat().into()))
            }
            Poll::Ready(Ok((answer, deliveries))) => {
                if let Content::Waiting(waiting) = std::mem::replace(&mut self.content, Content::Over) {
                    self.content = Content::Speaking(waiting.script.speak(answer));
                }
                self.deliveries = deliveries;
                None
            }
            Poll::Ready(Err(error)) => {
                let end = waiting.script.failure(error.object());
                self.content = Content::Over;
                Some(Poll::Ready(end.into()))
            }
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
            Content::Waiting(_) | Content::Over => None,
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
            Content::Waiting(_) | Content::Speaking(_) => SizeHint::default(),
        }
    }
}
