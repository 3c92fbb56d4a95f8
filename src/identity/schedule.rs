//! What the identity plane does by itself, on its own clock: top-ups, and the abuse token of a new month.
//!
//! Nothing here is ever triggered by a call. The only events are the clock, and what the user does on the identity plane
//! (a sign-in, a mint by hand, pinning keys). What is in stock and how much is used is read at an appointment, and shows in
//! whether tokens are minted and in how many, never in when. [`policy`] decides that, purely; [`plan`] lays the
//! configuration over it; [`agenda`] keeps the appointments; [`rotation`] those of the abuse tokens.
//!
//! # A model's appointment
//!
//! A *look* counts the tokens of a model. Only if they do not last does it ask the backend anything (`/me`), and
//! then mints one batch, each token with a random delay before it may be used.
//!
//! | what happens | what becomes of the appointment |
//! | --- | --- |
//! | a key is pinned while somebody is signed in, or the pinned key is another | the first one is drawn ([`policy::Policy::appoint`]; for less than a first stock it is the short delay of a first one, which is then minted whatever the habit says) |
//! | a token is spent, an answer comes, a call finds none | nothing |
//! | it is time | the next one is drawn, and in its place, until the look is concluded, one of a repetition is noted, durably; then the look |
//! | the look ends: enough, minted, no credit, refused | the next one holds; durably |
//! | the look fails: no network, the backend or Tor is away | the repetition holds: minutes, doubling up to hours, each time random |
//! | some requests of a mint, whoever ordered it, were not answered | the same; each step, a minute apart, asks for them again as long as the backend remembers them ([`pending`]) |
//! | the program ends or is killed during a look | the same; what was sent of a mint is finished by recovery, as any |
//! | the program is asked to end during a mint | no further request is begun, those in flight are waited for; the same |
//! | a mint was broken off | the same; the repetition makes the rest, whatever is in stock by then, and no second batch. Forgotten at a sign-in: it may be another account |
//! | a start | stays. If it was missed meanwhile: late |
//! | waking from sleep; a clock set ahead | stays. If it was missed: late |
//! | late | however many were missed there is one, drawn anew like any other, at least [`agenda::LEAST`] ahead, and kept: the moment of waking or starting is when its user begins to work, and must not be when the account mints |
//! | the clock is set back behind the drawing of the appointment | drawn anew from now |
//! | no credit, a refusal | said once; the next look is a day later than it would be. Credit for a part of the first stock is spent, and then lacks. At the first sight of credit (`llmtor account`, a sign-in, another model's look) there is a first one again |
//! | the account is seen (a sign-in, `llmtor account`, a look) without credit for a model | stays; it is told that nothing comes until credits are bought |
//! | the session is over | said once; no request until a sign-in, then what was missed is late |
//! | a forged signature | said; the model is not looked at until another key is pinned, or a mint by hand succeeds |
//! | a mint by hand | stays, and a first one is a first one still; the next look counts what is there |
//! | `topup.enabled = false` | none is kept; the abuse token of a new month is fetched all the same |
//!
//! Two looks at one model are at least [`agenda::LEAST`] of real time apart, whatever the clock does.
//!
//! Waiting is done in short steps against the wall clock: the monotonic clock stands still while a machine sleeps.
//!
//! # The abuse token of a new month
//!
//! See [`rotation`], which also argues the moment.
//!
//! Deliberately absent: any way for the anonymous plane to ask for something here; a look at start-up; and
//! the times of looks and mints that are past.

pub mod agenda;
mod keeper;
pub mod outlook;
mod pending;
pub mod plan;
pub mod policy;
pub mod rotation;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::{Jumps, SharedClock, Timestamp};
use crate::keys::Keyring;
use crate::vault::Deposits;

use super::{ErrorKind, IdentityError, Minted};
use agenda::{Agenda, Continuity};
use plan::Plans;
use rotation::Rotation;

/// The longest step in which is waited.
const STEP: Duration = Duration::from_secs(60);
/// A step that took so much longer was not waited through: not every system's monotonic clock stands still in sleep.
const OVERSLEPT: Duration = Duration::from_secs(60);

/// Whether tokens are minted without being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// They are.
    On,
    /// They are not; abuse tokens are rotated all the same.
    Off,
}

/// Why something asked of the [`Office`] could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What a caller may decide on.
    pub kind: ErrorKind,
    /// For the user; says what to do.
    pub message: String,
}

impl From<&IdentityError> for Obstacle {
    fn from(error: &IdentityError) -> Self {
        Self { kind: error.kind(), message: error.to_string() }
    }
}

/// What the schedule has done for it, in the session that is kept.
pub trait Office: Sync {
    /// Whether a session and a backend are there to ask anything.
    fn is_open(&self) -> bool;
    /// The keys that are pinned now.
    fn keyring(&self) -> Keyring;
    /// Credits left by model.
    fn credits(&self) -> impl Future<Output = Result<BTreeMap<String, i64>, Obstacle>> + Send;
    /// Mints `count` tokens with a random delay before each may be used. Ends early, and well, when `stop` is cancelled.
    fn mint(
        &self,
        model: &crate::wire::ModelName,
        count: u32,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<Minted, Obstacle>> + Send;
    /// Finishes issuances that are pending, as far as that goes now.
    fn recover(&self) -> impl Future<Output = Result<(), Obstacle>> + Send;
    /// Fetches the abuse token of this month.
    fn renew_abuse(&self) -> impl Future<Output = Result<(), Obstacle>> + Send;
    /// Fetches another abuse token of this month.
    fn rotate_abuse(&self) -> impl Future<Output = Result<(), Obstacle>> + Send;
}

/// What the schedule is made of.
pub struct ScheduleParts {
    /// Whether tokens are minted.
    pub activity: Activity,
    /// When and how many.
    pub plans: Plans,
    /// A stock that lasts for fewer days than this is low.
    pub warn_days: u32,
    /// Where stock, habits and notes are.
    pub deposits: Deposits,
    /// The wall clock.
    pub clock: SharedClock,
}

/// The schedule of one home.
pub struct Schedule {
    activity: Activity,
    plans: Plans,
    warn_days: u32,
    deposits: Deposits,
    clock: SharedClock,
    /// `None` until it is read. Locked while it is written, never while anything is asked of the network.
    agenda: Mutex<Option<Agenda>>,
    rotation: Mutex<Option<Rotation>>,
    /// What was told and need not be told again.
    told: std::sync::Mutex<outlook::Told>,
}

impl Schedule {
    /// Nothing is read or done yet.
    pub fn new(parts: ScheduleParts) -> Self {
        let ScheduleParts { activity, plans, warn_days, deposits, clock } = parts;
        Self {
            activity,
            plans,
            warn_days,
            deposits,
            clock,
            agenda: Mutex::default(),
            rotation: Mutex::default(),
            told: std::sync::Mutex::default(),
        }
    }

    /// Keeps every appointment until `stop` is cancelled; a mint under way then ends as soon as what it has in flight is here.
    pub async fn run(&self, office: &impl Office, stop: &CancellationToken) {
        let mut watch = Watch::begin(Instant::now(), self.clock.now());
        while !stop.is_cancelled() {
            // An agenda that cannot be read is told by the tick.
            let is_admitted = self.is_admitted(office).await.unwrap_or(false);
            let continuity = watch.look(Instant::now(), self.clock.now(), is_admitted);
            if let Err(error) = self.tick(office, continuity, stop).await {
                tracing::info!(%error, "the agenda of top-ups could not be kept; it is tried again");
            }
            let pause = self.pause().await;
            watch.wait(Instant::now(), pause);
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// How long to wait for the next step.
    async fn pause(&self) -> Duration {
        let now = self.clock.now();
        let looks = self.agenda.lock().await.as_ref().and_then(|agenda| agenda.next(now));
        let fetch = self.rotation.lock().await.as_ref().and_then(|rotation| rotation.next(now));
        let next = looks.into_iter().chain(fetch).min();
        let left = next.map_or(i64::MAX, |next| next.seconds_since(now)).max(1).unsigned_abs();
        STEP.min(Duration::from_secs(left))
    }
}

/// Tells whether time was waited through.
struct Watch {
    jumps: Jumps,
    /// Since when is waited, and for how long.
    waiting: Option<(Instant, Duration)>,
    /// Whether anything could be asked at the last look.
    was_admitted: bool,
}

impl Watch {
    fn begin(now: Instant, wall: Timestamp) -> Self {
        Self { jumps: Jumps::new(now, wall), waiting: None, was_admitted: false }
    }

    /// The first look, one after a jump of either clock, and one with a session that was not there before: all broken.
    fn look(&mut self, now: Instant, wall: Timestamp, is_admitted: bool) -> Continuity {
        let jumped = self.jumps.notice(now, wall);
        let overslept = self
            .waiting
            .take()
            .is_none_or(|(since, pause)| now.saturating_duration_since(since) > pause + OVERSLEPT);
        let was_admitted = std::mem::replace(&mut self.was_admitted, is_admitted);
        let is_new = is_admitted && !was_admitted;
        if jumped || overslept || is_new { Continuity::Broken } else { Continuity::Unbroken }
    }

    fn wait(&mut self, now: Instant, pause: Duration) {
        self.waiting = Some((now, pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_a_jump_a_long_sleep_and_a_sign_in_each_break_the_wait_once() {
        let (mut now, mut wall) = (Instant::now(), Timestamp::from_unix(1_800_000_000));
        let mut watch = Watch::begin(now, wall);
        let mut step = |real: u64, shown: i64, is_admitted| {
            now += Duration::from_secs(real);
            wall = wall.plus_seconds(shown);
            let seen = watch.look(now, wall, is_admitted);
            watch.wait(now, STEP);
            seen
        };
        assert_eq!(step(0, 0, true), Continuity::Broken);
        assert_eq!(step(60, 60, true), Continuity::Unbroken);
        // The machine slept, and the monotonic clock with it.
        assert_eq!(step(60, 9_000, true), Continuity::Broken);
        assert_eq!(step(60, 60, true), Continuity::Unbroken);
        // The machine slept, and the monotonic clock did not.
        assert_eq!(step(9_000, 9_000, true), Continuity::Broken);
        assert_eq!(step(60, -9_000, true), Continuity::Broken);
        assert_eq!(step(60, 60, false), Continuity::Unbroken);
        assert_eq!(step(60, 60, true), Continuity::Broken);
        assert_eq!(step(60, 60, true), Continuity::Unbroken);
    }
}
