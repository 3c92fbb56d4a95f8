//! Streams through Tor, told apart by circuit.
//!
//! A [`Dialer`] knows one Tor (the embedded one, or one over SOCKS) and its *lanes*: two streams on different lanes never
//! share a circuit. What is decided here is which lane a call gets:
//!
//! | isolation | lane | what it gives away |
//! | --- | --- | --- |
//! | per call | a new one, never used again | nothing |
//! | per conversation | one for the calls that begin alike, for a few minutes | an exit, and the backend, see that these calls belong together; their growing histories say so anyway |
//! | shared | one, until [`Transport::new_identity`]; Tor itself leaves a circuit after ten minutes | all calls come from one exit: whoever sends one prompt is known to have sent the others |
//!
//! Per call, a dial that takes long is not all that is hoped for: after a short while a second lane is dialled beside it, and a stream that is
//! made for the shelf meanwhile is taken. An exit that answers nobody costs seconds then, and the call is as far from others as before.
//!
//! In every case a stream serves one call: nothing is said on it twice. Per call, streams are kept warm ahead of need
//! ([`pool`](super::pool)); the other rules have their circuit already.
//!
//! An exit that failed a call is left out for the rest of it, as long as there seems to be another: streams that come out
//! there are dropped unused.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::pool::Pool;
use super::target::Target;
use super::{
    Company, Conversation, Departure, Exit, Opened, Opening, Readiness, Transport, TransportError,
    TransportErrorKind, Way, Wish,
};
use crate::clock::SharedClock;
use crate::passage::Passage;

/// How many lanes are tried for one that ends at an exit not to be avoided.
const LANES: usize = 8;
/// After so long a second lane is dialled beside the first.
const SLOW: Duration = Duration::from_secs(2);
/// How long a conversation keeps its lane; Tor itself leaves a circuit after ten minutes.
const CONVERSATION: Duration = Duration::from_secs(9 * 60);
/// How many conversations keep theirs.
const CONVERSATIONS: usize = 256;

/// A Tor that opens streams to one backend.
pub trait Dialer: Send + Sync + 'static {
    /// What keeps streams apart.
    type Lane: Clone + Send + Sync + 'static;

    /// A lane that shares no circuit with any other.
    fn lane(&self) -> Self::Lane;

    /// A stream on `lane`, TLS included, on which nothing has been said. Where it is known that the lane ends at an exit to
    /// `avoid`, that is an error at this exit, and soon. Cancel-safe; the caller sets the time limit.
    fn dial(
        &self,
        lane: &Self::Lane,
        avoid: &[Exit],
    ) -> impl Future<Output = Result<Opened, TransportError>> + Send;

    /// Waits until dialling is worthwhile, as long as the dialler thinks right.
    fn ready(&self) -> impl Future<Output = Result<(), TransportError>> + Send;

    /// Nothing will be dialled for a while.
    fn doze(&self) {}

    /// Where streams go.
    fn target(&self) -> &Target;

    /// By which way.
    fn way(&self) -> Way;
}

/// Which calls may share a circuit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationRule {
    /// None.
    #[default]
    PerCall,
    /// Those of one conversation.
    PerConversation,
    /// All.
    Shared,
}

/// How streams are opened and kept.
#[derive(Clone)]
pub struct Settings {
    /// Which calls may share a circuit.
    pub isolation: IsolationRule,
    /// How many streams are kept warm at most; 0 for none.
    pub pool: usize,
    /// One dial's time limit.
    pub dial: Duration,
    /// After so long without a call nothing is kept warm, and the dialler may doze.
    pub dormant_after: Duration,
    /// Whether anything may leave, to begin with; [`Transport::follow`] tells of changes.
    pub passage: Passage,
    /// The wall clock, by which a machine that slept is found out.
    pub clock: SharedClock,
}

/// A transport through Tor.
pub struct Isolated<D: Dialer> {
    dialer: Arc<D>,
    settings: Settings,
    lanes: Mutex<Lanes<D::Lane>>,
    pool: Pool,
}

struct Lanes<L> {
    shared: Option<L>,
    conversations: HashMap<Conversation, (L, Instant)>,
}

impl<L> Default for Lanes<L> {
    fn default() -> Self {
        Self { shared: None, conversations: HashMap::new() }
    }
}

impl<D: Dialer> Isolated<D> {
    /// Must be called inside a Tokio runtime, in which streams are kept warm until this is dropped.
    pub fn new(dialer: D, settings: Settings) -> Self {
        let dialer = Arc::new(dialer);
        let most = if settings.isolation == IsolationRule::PerCall { settings.pool } else { 0 };
        let pool = Pool::start(Arc::clone(&dialer), &settings, most);
        Self { dialer, settings, lanes: Mutex::default(), pool }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes<D::Lane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, wish: Wish) -> Result<Opened, TransportError> {
        let mut warm = self.pool.take().await;
        while let Some(opened) = warm {
            if !is_avoided(&wish, opened.exit) {
                return Ok(opened);
            }
            warm = self.pool.next().await;
        }
        if self.settings.isolation != IsolationRule::PerCall {
            return self.dialled(&wish).await;
        }
        tokio::select! {
            biased;
            dialled = self.dialled(&wish) => dialled,
            opened = self.shelved(&wish) => Ok(opened),
        }
    }

    /// One that is made for the shelf from now on.
    async fn shelved(&self, wish: &Wish) -> Opened {
        loop {
            let opened = self.pool.made().await;
            if !is_avoided(wish, opened.exit) {
                return opened;
            }
        }
    }

    async fn dialled(&self, wish: &Wish) -> Result<Opened, TransportError> {
        for _ in 1..LANES {
            match self.attempt(wish, &wish.avoid).await {
                Ok(opened) if !is_avoided(wish, opened.exit) => return Ok(opened),
                Err(error) if !is_avoided(wish, error.exit()) => {
                    self.forget(wish);
                    return Err(error);
                }
                // It ends where the call failed before.
                Ok(_) | Err(_) => self.forget(wish),
            }
        }
        // There seems to be no other exit: better that one again than none.
        let opened = self.attempt(wish, &[]).await;
        if opened.is_err() {
            self.forget(wish);
        }
        opened
    }

    /// One lane, and where lanes are for one call, another beside it once the first is slow. If neither leads there, the first, which
    /// had the whole time, says why. One that fails because the whole way out is not ready speaks for both, at once: by the
    /// other's time limit whoever waits has run out of time, and would not hear the reason.
    async fn attempt(&self, wish: &Wish, avoid: &[Exit]) -> Result<Opened, TransportError> {
        let limit = self.settings.dial;
        let lane = self.lane(wish);
        let mut first = std::pin::pin!(dial(&*self.dialer, &lane, avoid, limit));
        if self.settings.isolation != IsolationRule::PerCall {
            return first.await;
        }
        if let Ok(dialled) = timeout(SLOW, &mut first).await {
            return dialled;
        }
        let lane = self.lane(wish);
        let mut second = std::pin::pin!(dial(&*self.dialer, &lane, avoid, limit.saturating_sub(SLOW)));
        tokio::select! {
            dialled = &mut first => match dialled {
                Err(error) if !speaks_for_all(&error) => second.await.map_err(|_| error),
                decided => decided,
            },
            dialled = &mut second => match dialled {
                Err(error) if !speaks_for_all(&error) => first.await,
                decided => decided,
            },
        }
    }

    fn lane(&self, wish: &Wish) -> D::Lane {
        let fresh = || self.dialer.lane();
        match (self.settings.isolation, wish.conversation) {
            (IsolationRule::Shared, _) => self.lanes().shared.get_or_insert_with(fresh).clone(),
            (IsolationRule::PerConversation, Some(conversation)) => {
                let mut lanes = self.lanes();
                let now = Instant::now();
                lanes.conversations.retain(|_, (_, since)| now.duration_since(*since) < CONVERSATION);
                if lanes.conversations.len() >= CONVERSATIONS {
                    lanes.conversations.clear();
                }
                lanes.conversations.entry(conversation).or_insert_with(|| (fresh(), now)).0.clone()
            }
            (IsolationRule::PerConversation, None) | (IsolationRule::PerCall, _) => fresh(),
        }
    }

    /// The lane that this call would get again has failed it.
    fn forget(&self, wish: &Wish) {
        let mut lanes = self.lanes();
        match (self.settings.isolation, wish.conversation) {
            (IsolationRule::Shared, _) => lanes.shared = None,
            (IsolationRule::PerConversation, Some(conversation)) => {
                lanes.conversations.remove(&conversation);
            }
            (IsolationRule::PerConversation, None) | (IsolationRule::PerCall, _) => {}
        }
    }
}

/// One dial within its time limit.
pub(super) async fn dial<D: Dialer>(
    dialer: &D,
    lane: &D::Lane,
    avoid: &[Exit],
    limit: Duration,
) -> Result<Opened, TransportError> {
    match timeout(limit, dialer.dial(lane, avoid)).await {
        Ok(result) => result,
        Err(_) => Err(TransportError::new(TransportErrorKind::Timeout)),
    }
}

/// Whether no other lane would do better now.
fn speaks_for_all(error: &TransportError) -> bool {
    matches!(error.kind(), TransportErrorKind::NotReady(_))
}

fn is_avoided(wish: &Wish, exit: Option<Exit>) -> bool {
    exit.is_some_and(|exit| wish.avoid.contains(&exit))
}

impl<D: Dialer> Transport for Isolated<D> {
    fn ready(&self) -> Readiness<'_> {
        Box::pin(self.dialer.ready())
    }

    fn open(&self, wish: Wish) -> Opening<'_> {
        Box::pin(self.connect(wish))
    }

    fn departure(&self, wish: &Wish) -> Departure {
        let company = match (self.settings.isolation, wish.conversation) {
            (IsolationRule::Shared, _) => Company::Anybody,
            (IsolationRule::PerConversation, Some(_)) => Company::Conversation,
            (IsolationRule::PerConversation, None) | (IsolationRule::PerCall, _) => Company::Nobody,
        };
        Departure { way: self.dialer.way(), company }
    }

    fn authority(&self) -> &str {
        self.dialer.target().authority()
    }

    fn new_identity(&self) {
        *self.lanes() = Lanes::default();
        self.pool.clear();
    }

    fn follow(&self, passage: Passage) {
        self.pool.follow(passage);
    }

    fn warm(&self) -> usize {
        self.pool.warm()
    }
}

#[cfg(test)]
mod tests;
