//! From "hyper has it" to "the operating system has it": when an answer counts as delivered, and when nothing moves.
//!
//! A response body is consumed long before it is on its way: hyper buffers, and with HTTP/2 it also waits for the
//! client to grant a window. Settling the token then would lose the answer of a client that hangs up in between. So the
//! last piece of a body carries its [`Delivery`] (several, where several answers were wanted), and knows by itself how much of it was taken:
//!
//! | the last piece | its delivery |
//! | --- | --- |
//! | waits, in part or whole | with it; a stream or connection that dies drops both, and the answer stays with its token |
//! | is taken to its end, by the system or into the buffer before it | with the line |
//! | a flush has succeeded since | ended: delivered |
//!
//! This relies on two things, for either protocol: pieces of one body are taken in order, the end of the body together with
//! the last one; and the socket is flushed only with an empty buffer before it.
//!
//! Deliberately absent: any look at frames or windows. What is taken, is taken through [`Buf::advance`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use crate::anonymous::redeem::Delivery;

/// One connection: what waits for its next flush, and what moves on it.
pub(super) struct Line {
    buffered: Mutex<Vec<Delivery>>,
    /// Whether `buffered` has anything, so that most flushes cost one swap.
    any: AtomicBool,
    flows: Mutex<Flows>,
}

struct Flows {
    next: u64,
    open: BTreeMap<u64, Flow>,
    /// When the last of them ended.
    quiet_since: Instant,
}

/// How an exchange's response goes on.
struct Flow {
    /// Pieces that hyper has and nobody has taken.
    held: usize,
    moved: Instant,
}

/// Why a connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// Nothing was asked on it for too long.
    Idle,
    /// Its client takes no more of an answer.
    Stalled,
}

/// A request and its response, until the last piece is taken or dropped.
#[derive(Clone)]
pub(super) struct Exchange(Arc<Open>);

struct Open {
    line: Arc<Line>,
    id: u64,
}

/// A part of a response body.
pub(super) struct Piece {
    bytes: Bytes,
    /// In the last one of an answer: what paid for it.
    deliveries: Vec<Delivery>,
    exchange: Option<Exchange>,
}

impl Line {
    pub(super) fn new() -> Arc<Self> {
        let flows = Flows { next: 0, open: BTreeMap::new(), quiet_since: Instant::now() };
        Arc::new(Self { buffered: Mutex::default(), any: AtomicBool::new(false), flows: Mutex::new(flows) })
    }

    /// A request came.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        let mut flows = self.flows();
        let id = flows.next;
        flows.next += 1;
        flows.open.insert(id, Flow { held: 0, moved: Instant::now() });
        Exchange(Arc::new(Open { line: Arc::clone(self), id }))
    }

    /// The socket has taken everything that was in the buffer.
    pub(super) fn flushed(&self) {
        if self.any.swap(false, Ordering::AcqRel) {
            let delivered =
                std::mem::take(&mut *self.buffered.lock().unwrap_or_else(PoisonError::into_inner));
            delivered.into_iter().for_each(Delivery::delivered);
        }
    }

    /// Idle time begins now, if it has begun.
    pub(super) fn restart(&self) {
        self.flows().quiet_since = Instant::now();
    }

    /// Waits until nothing was asked for `idle`, or a response has not moved for `stall`.
    pub(super) async fn given_up(&self, idle: Duration, stall: Duration) -> GivenUp {
        loop {
            match self.patience(idle, stall) {
                // Meanwhile another response may begin to stall.
                Ok(until) => tokio::time::sleep_until(until.min(Instant::now() + stall)).await,
                Err(given_up) => return given_up,
            }
        }
    }

    /// When to look again.
    fn patience(&self, idle: Duration, stall: Duration) -> Result<Instant, GivenUp> {
        let (now, flows) = (Instant::now(), self.flows());
        let held = flows.open.values().filter(|flow| flow.held > 0);
        let (end, why) = match held.map(|flow| flow.moved + stall).min() {
            Some(end) => (end, GivenUp::Stalled),
            None if flows.open.is_empty() => (flows.quiet_since + idle, GivenUp::Idle),
            // Calls that are waited for.
            None => return Ok(now + stall),
        };
        if end <= now { Err(why) } else { Ok(end) }
    }

    fn buffered(&self, deliveries: &mut Vec<Delivery>) {
        self.buffered.lock().unwrap_or_else(PoisonError::into_inner).append(deliveries);
        self.any.store(true, Ordering::Release);
    }

    fn flows(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange {
    /// `held` changes by what happened to a piece, and that is a movement.
    fn moved(&self, change: impl FnOnce(&mut usize)) {
        if let Some(flow) = self.0.line.flows().open.get_mut(&self.0.id) {
            change(&mut flow.held);
            flow.moved = Instant::now();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut flows = self.line.flows();
        flows.open.remove(&self.id);
        flows.quiet_since = Instant::now();
    }
}

impl Piece {
    /// A part of `exchange`'s response; `deliveries` are in the last one of an answer.
    pub(super) fn new(bytes: Bytes, deliveries: Vec<Delivery>, exchange: Option<Exchange>) -> Self {
        if let (Some(exchange), false) = (&exchange, bytes.is_empty()) {
            exchange.moved(|held| *held += 1);
        }
        Self { bytes, deliveries, exchange }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        let waited = !self.bytes.is_empty();
        self.bytes.advance(count);
        let over = waited && self.bytes.is_empty();
        let Some(exchange) = &self.exchange else { return };
        exchange.moved(|held| *held -= usize::from(over));
        if over && !self.deliveries.is_empty() {
            exchange.0.line.buffered(&mut self.deliveries);
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let (Some(exchange), false) = (&self.exchange, self.bytes.is_empty()) {
            exchange.moved(|held| *held -= 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anonymous::redeem::{Answer, Ending};

    const IDLE: Duration = Duration::from_secs(60);
    const STALL: Duration = Duration::from_secs(10);

    fn delivery() -> (Delivery, Arc<Mutex<Option<Ending>>>) {
        let ended = Arc::new(Mutex::new(None));
        let told = Arc::clone(&ended);
        let delivery =
            Delivery::new(Answer { body: Vec::new() }, move |_, ending| *told.lock().unwrap() = Some(ending));
        (delivery, ended)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_delivered_by_the_flush_after_its_last_byte() {
        let line = Line::new();
        let (delivery, ended) = delivery();
        let mut piece = Piece::new(Bytes::from_static(b"abc"), vec![delivery], Some(line.begin()));
        line.flushed();
        piece.advance(2);
        line.flushed();
        assert_eq!(*ended.lock().unwrap(), None);
        piece.advance(1);
        assert_eq!(*ended.lock().unwrap(), None);
        line.flushed();
        assert_eq!(*ended.lock().unwrap(), Some(Ending::Delivered));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_dropped_before_that_is_not_delivered() {
        for taken in [0, 2, 3] {
            let line = Line::new();
            let (delivery, ended) = delivery();
            let mut piece = Piece::new(Bytes::from_static(b"abc"), vec![delivery], Some(line.begin()));
            piece.advance(taken);
            drop(piece);
            drop(line);
            assert_eq!(*ended.lock().unwrap(), Some(Ending::Abandoned), "{taken}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_that_begins_while_idleness_is_waited_for_is_noticed_in_its_time() {
        let line = Line::new();
        let begun = Instant::now();
        let stalling = async {
            tokio::time::sleep(STALL / 2).await;
            let piece = Piece::new(Bytes::from_static(b"abc"), Vec::new(), Some(line.begin()));
            tokio::time::sleep(STALL * 5).await;
            drop(piece);
        };
        tokio::select! {
            () = stalling => panic!("not noticed"),
            given_up = line.given_up(IDLE, STALL) => assert_eq!(given_up, GivenUp::Stalled),
        }
        assert_eq!(begun.elapsed(), STALL + STALL / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_idle_without_exchanges_and_stalled_when_no_piece_moves() {
        let line = Line::new();
        let begun = Instant::now();
        assert_eq!(line.patience(IDLE, STALL), Ok(begun + IDLE));
        tokio::time::advance(IDLE).await;
        assert_eq!(line.patience(IDLE, STALL), Err(GivenUp::Idle));

        // A call that is waited for is neither.
        let exchange = line.begin();
        tokio::time::advance(IDLE * 5).await;
        assert!(line.patience(IDLE, STALL).is_ok());

        let mut piece = Piece::new(Bytes::from_static(b"abc"), Vec::new(), Some(exchange.clone()));
        tokio::time::advance(STALL / 2).await;
        piece.advance(1);
        tokio::time::advance(STALL / 2).await;
        assert_eq!(line.patience(IDLE, STALL), Ok(Instant::now() + STALL / 2));
        tokio::time::advance(STALL / 2).await;
        assert_eq!(line.patience(IDLE, STALL), Err(GivenUp::Stalled));
        piece.advance(2);
        assert!(line.patience(IDLE, STALL).is_ok());
        drop((piece, exchange));
        assert_eq!(line.patience(IDLE, STALL), Ok(Instant::now() + IDLE));
    }
}
