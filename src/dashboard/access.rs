//! One-time links and sessions.
//!
//! | thing | made by | ends |
//! | --- | --- | --- |
//! | ticket, 256 bits | `llmtor open`, over the control socket | when it is used, or after a minute |
//! | session, 256 bits, in a cookie | a ticket | after hours without a request, or with the daemon |
//! | form token, 256 bits, in every form | a session | with it |
//! | place, 128 bits, in every path | the daemon's start | with it |
//!
//! All are compared in constant time. The place is no secret of its own: it is the cookie's path, so that a browser does not
//! send the cookie to other ports of the same address, whoever listens there.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::CryptoRng;

use crate::secret::Secret;

/// How long a link may wait to be opened.
pub const TICKET_TIME: Duration = Duration::from_secs(60);
/// How long a session may rest.
pub const IDLE_TIME: Duration = Duration::from_secs(8 * 3600);
/// How many links may wait, and how many sessions there may be; the oldest goes.
const MOST: usize = 16;

/// Decides who may see the page.
pub struct Gate {
    place: String,
    address: SocketAddr,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    tickets: Vec<(Secret<String>, Instant)>,
    sessions: Vec<Session>,
}

struct Session {
    cookie: Secret<String>,
    form: Secret<String>,
    seen: Instant,
}

/// A visitor with a session.
#[derive(Clone)]
pub struct Admitted {
    /// What its forms must carry.
    pub form: Secret<String>,
}

impl Gate {
    /// A gate for the page at `address`.
    pub fn new(address: SocketAddr, rng: &mut impl CryptoRng) -> Self {
        Self { place: random(rng, 16), address, kept: Mutex::default() }
    }

    /// The page's port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The first segment of every path of the page.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The name of the cookie; cookies of one address are told apart by their names only.
    pub fn cookie_name(&self) -> String {
        format!("llmtor-page-{}", self.port())
    }

    /// A link that opens a session, once, if it is used soon.
    pub fn link(&self, now: Instant, rng: &mut impl CryptoRng) -> Secret<String> {
        let ticket = Secret::new(random(rng, 32));
        let link = format!("http://{}/enter?ticket={}", self.address, ticket.expose());
        let mut kept = self.kept();
        kept.tickets.retain(|(_, made)| now.duration_since(*made) < TICKET_TIME);
        if kept.tickets.len() >= MOST {
            kept.tickets.remove(0);
        }
        kept.tickets.push((ticket, now));
        Secret::new(link)
    }

    /// The cookie of a new session, for a ticket that is good; it is used up.
    pub fn enter(&self, ticket: &str, now: Instant, rng: &mut impl CryptoRng) -> Option<Secret<String>> {
        let mut kept = self.kept();
        kept.tickets.retain(|(_, made)| now.duration_since(*made) < TICKET_TIME);
        // Every one is looked at, also after the right one.
        let found = kept.tickets.iter().enumerate().fold(None, |found, (at, (known, _))| {
            if known.matches(ticket.as_bytes()) { Some(at) } else { found }
        })?;
        kept.tickets.remove(found);
        let cookie = Secret::new(random(rng, 32));
        let session = Session { cookie: cookie.clone(), form: Secret::new(random(rng, 32)), seen: now };
        kept.sessions.retain(|session| now.duration_since(session.seen) < IDLE_TIME);
        if kept.sessions.len() >= MOST {
            kept.sessions.remove(0);
        }
        kept.sessions.push(session);
        Some(cookie)
    }

    /// The visitor whose cookie that is; its session goes on.
    pub fn admit(&self, cookie: &str, now: Instant) -> Option<Admitted> {
        let mut kept = self.kept();
        kept.sessions.retain(|session| now.duration_since(session.seen) < IDLE_TIME);
        let found = kept.sessions.iter_mut().fold(None, |found, session| {
            if session.cookie.matches(cookie.as_bytes()) { Some(session) } else { found }
        })?;
        found.seen = now;
        Some(Admitted { form: found.form.clone() })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many random bytes in hex.
fn random(rng: &mut impl CryptoRng, bytes: usize) -> String {
    let mut random = zeroize::Zeroizing::new(vec![0; bytes]);
    rng.fill_bytes(&mut random);
    super::words::hex(&random)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> (Gate, Instant) {
        (Gate::new("127.0.0.1:7".parse().unwrap(), &mut rand::rng()), Instant::now())
    }

    fn ticket(gate: &Gate, now: Instant) -> String {
        let link = gate.link(now, &mut rand::rng());
        link.expose().strip_prefix("http://127.0.0.1:7/enter?ticket=").unwrap().to_owned()
    }

    #[test]
    fn a_link_opens_one_session_and_no_second() {
        let (gate, now) = gate();
        let ticket = ticket(&gate, now);
        assert!(ticket.len() >= 32);
        let cookie = gate.enter(&ticket, now, &mut rand::rng()).unwrap();
        assert!(gate.admit(cookie.expose(), now).is_some());
        assert!(gate.enter(&ticket, now, &mut rand::rng()).is_none());
        assert!(gate.admit(&ticket, now).is_none());
    }

    #[test]
    fn a_link_is_good_for_a_minute() {
        let (gate, now) = gate();
        let ticket = ticket(&gate, now);
        assert!(gate.enter(&ticket, now + TICKET_TIME, &mut rand::rng()).is_none());
        // Not even if the clock could be turned back.
        assert!(gate.enter(&ticket, now, &mut rand::rng()).is_none());
    }

    #[test]
    fn a_session_rests_for_hours_and_then_ends() {
        let (gate, now) = gate();
        let cookie = gate.enter(&ticket(&gate, now), now, &mut rand::rng()).unwrap();
        let almost = now + IDLE_TIME.saturating_sub(Duration::from_secs(1));
        assert!(gate.admit(cookie.expose(), almost).is_some());
        // Counted from the last request.
        assert!(
            gate.admit(cookie.expose(), almost + IDLE_TIME.saturating_sub(Duration::from_secs(1))).is_some()
        );
        assert!(gate.admit(cookie.expose(), almost + 3 * IDLE_TIME).is_none());
    }

    #[test]
    fn guesses_and_parts_open_nothing_and_the_oldest_of_many_links_goes() {
        let (gate, now) = gate();
        let first = ticket(&gate, now);
        for guess in ["", "0", &first[..63], &format!("{first}0"), &first.to_uppercase()] {
            assert!(guess == first || gate.enter(guess, now, &mut rand::rng()).is_none(), "{guess}");
        }
        let others: Vec<String> = (0..MOST).map(|_| ticket(&gate, now)).collect();
        assert!(gate.enter(&first, now, &mut rand::rng()).is_none());
        assert!(others.iter().all(|ticket| gate.enter(ticket, now, &mut rand::rng()).is_some()));
    }
}
