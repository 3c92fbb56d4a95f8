//! The identity plane: paying. Everything here is done in the account's name.
//!
//! It signs in with a session, reads the account, and turns credits into blind-signed tokens that it puts
//! into the vault. It is handed [`Deposits`] only: it can put tokens in and never read one back, so it cannot
//! learn which token a prompt will carry.
//!
//! Invariants: one saga at a time ([`Identity`] holds a turn); nothing is sent before what is needed to
//! finish it is durable; nothing is stored that does not verify under the pinned key; no message, log or
//! error carries the session, a token or a signature.
//!
//! Deliberately absent: knowledge of the anonymous plane, of when a token is drawn, and any retry at the HTTP
//! level that the sagas do not know of.

pub mod abuse;
pub mod account;
mod api;
mod backup;
pub mod browser;
pub mod dial;
pub mod error;
pub mod issuance;
pub mod purchase;
pub mod record;
mod recovery;
pub mod schedule;
pub mod session;
mod sign_in;
pub mod url;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::keys::Keyring;
use crate::passage::Gate;
use crate::vault::Deposits;
use crate::wire::identity::Me;

pub use abuse::{AbuseSetup, AbuseStatus, Obtained};
pub use account::Account;
pub use browser::{BrowserError, BrowserOrder, session_by_browser};
pub use dial::{Deadlines, Route, TorRoute};
pub use error::{ErrorKind, IdentityError};
pub use issuance::{MintOrder, MintProgress, Minted, Pace};
pub use purchase::{Checkout, CheckoutLink, Offer};
pub use recovery::Recovered;
pub use schedule::{Activity, Obstacle, Office, Schedule, ScheduleParts};
pub use session::{Predecessor, Session, SessionFile};
pub use sign_in::{Admit, SignedIn, SignedOut};
pub use url::IdentityUrl;

pub use crate::vault::{Abandoned, Readiness};

/// What the identity plane is made of.
pub struct Parts {
    /// Where the backend's identity plane is.
    pub url: IdentityUrl,
    /// How it is reached.
    pub route: Route,
    /// Whether anything may leave; each request asks.
    pub gate: Gate,
    /// How long to wait, and for how much.
    pub deadlines: Deadlines,
    /// How many at once, and how patiently.
    pub pace: Pace,
    /// The mean of the random delay of [`Readiness::Delayed`].
    pub delay: Duration,
    /// Whose account it is.
    pub session: Session,
    /// Where that session and the ledger marks are kept.
    pub file: SessionFile,
    /// The pinned keys.
    pub keyring: Keyring,
    /// The vault's intake.
    pub deposits: Deposits,
    /// Decides on the five minutes of a RequestID, on `not_before` and on the abuse tokens' month.
    pub clock: SharedClock,
    /// Told of every request that leaves.
    pub witness: Arc<dyn record::Witness>,
}

/// The identity plane of one account.
pub struct Identity {
    api: api::Api,
    pace: Pace,
    delay: Duration,
    session: Session,
    file: SessionFile,
    keyring: Keyring,
    deposits: Deposits,
    clock: SharedClock,
    /// Two sagas at once would resume each other's requests.
    turn: Mutex<()>,
}

impl Identity {
    /// Puts the plane together. Nothing is sent yet.
    pub fn new(parts: Parts) -> Result<Self, IdentityError> {
        let api = api::Api::new(
            parts.url,
            parts.route,
            &parts.deadlines,
            &parts.session,
            parts.gate,
            parts.witness,
        )?;
        Ok(Self {
            api,
            pace: parts.pace,
            delay: parts.delay,
            session: parts.session,
            file: parts.file,
            keyring: parts.keyring,
            deposits: parts.deposits,
            clock: parts.clock,
            turn: Mutex::new(()),
        })
    }

    /// Asks the backend whose session it is and what credits are left. A 401 is
    /// [`IdentityError::SessionExpired`].
    pub async fn account(&self) -> Result<Account, IdentityError> {
        Ok(self.api.get::<Me>(&["me"]).await?.into())
    }

    /// Asks the backend whose session it is and keeps it. Pending issuances stay if the session kept before was the
    /// same account's; otherwise they are wiped first; see [`sign_in`].
    pub async fn sign_in(&self, admit: Admit) -> Result<SignedIn, IdentityError> {
        let _turn = self.turn.lock().await;
        self.sign_in_in_turn(admit).await
    }

    /// Finishes what is pending as far as that goes in [`Pace::parting`], signs out at the backend (the session ends
    /// there), wipes the session file and then what is still pending; the latter two in any case.
    pub async fn sign_out(&self) -> Result<SignedOut, IdentityError> {
        let _turn = self.turn.lock().await;
        self.sign_out_in_turn().await
    }

    /// Finishes what an earlier run left unfinished; see [`recovery`] for the rules. Call it at start-up;
    /// [`Identity::mint`] does it by itself.
    pub async fn recover(&self) -> Result<Recovered, IdentityError> {
        let _turn = self.turn.lock().await;
        self.recover_in_turn().await
    }

    /// Turns `order.count` credits into tokens. `progress` is called from this task after each token.
    ///
    /// An error means that the order was not begun. Once it is begun, what ended it early is in
    /// [`Minted::stopped`], beside what was made until then.
    pub async fn mint(
        &self,
        order: MintOrder,
        progress: &(dyn Fn(MintProgress) + Send + Sync),
    ) -> Result<Minted, IdentityError> {
        self.mint_until(order, progress, &CancellationToken::new()).await
    }

    /// [`Identity::mint`], but once `stop` is cancelled no request is begun any more: what is in flight is waited for, and
    /// what was not sent costs nothing.
    pub async fn mint_until(
        &self,
        order: MintOrder,
        progress: &(dyn Fn(MintProgress) + Send + Sync),
        stop: &CancellationToken,
    ) -> Result<Minted, IdentityError> {
        let _turn = self.turn.lock().await;
        self.mint_in_turn(order, progress, stop).await
    }

    /// Obtains the abuse tokens that are missing: the permanent one, and the one of the current month.
    pub async fn abuse_setup(&self) -> Result<AbuseSetup, IdentityError> {
        let _turn = self.turn.lock().await;
        self.abuse_in_turn().await
    }

    /// Which abuse tokens the vault holds, and for how long. Sends nothing.
    pub async fn abuse_status(&self) -> Result<AbuseStatus, IdentityError> {
        self.abuse_holdings().await
    }
}
