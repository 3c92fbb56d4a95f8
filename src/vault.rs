//! The vault: tokens at rest, and who may do what with them.
//!
//! One SQLite file, one thread that touches it ([`thread`]), and four handles that the compiler keeps apart:
//! [`Deposits`] (identity plane, puts in), [`Withdrawals`] (anonymous plane, takes out), [`Census`] (counts) and
//! [`Backups`] (composition root, copies).
//! Neither plane's handle offers a verb of the other, and no column can name an account.
//!
//! # States, and what a crash makes of them
//!
//! | state | on disk means | reached by, durable (fsync) before the answer? | after a crash |
//! | --- | --- | --- | --- |
//! | Blinded | blinding secret and RequestID are stored, the signature is not here yet | `begin`, yes | stays; [`Deposits::pending`] |
//! | Available | may be drawn from `not_before` on, while the key that signed it is the pinned one | `finalize`, yes; `release`, `return_unspent`, no | stays |
//! | Reserved | chosen for one call; nothing sent | `reserve`, no | Available |
//! | Presented | the first byte may have left; request digest and the exact `llmmask` (by reference) are stored | `present`, `resume`, yes | InDoubt |
//! | InDoubt, unknown | the server may hold an answer to this one request | `doubt`, no | stays; only [`Withdrawals::resume`] with the same digest may use it; after the term Available, marked maybe-spent |
//! | InDoubt, undelivered | the server does hold an answer | `doubt`, no | stays, the same; after the term wiped |
//! | Refused | the backend says that the signature is not its own, though it accepts others of that key | `set_aside`, no | stays; never drawn |
//! | (wiped) | no row; a counter per model | `settle`, no | a power cut may bring the row back as Presented, so InDoubt: the server replays or says `token expired` |
//!
//! A killed process loses nothing that was answered. A power cut may undo the transitions marked "no", and
//! each of them then falls back to a state in which the token can neither be lost nor be presented with
//! another prompt: a lost `reserve` is Available, a lost `release` Reserved and so Available, and whatever
//! follows `present` falls back to Presented and so to InDoubt. The next synced commit makes every earlier one
//! durable too.
//!
//! # Invariants
//!
//! - Every transition is one guarded statement naming row, state and owner, with the affected rows checked.
//! - Tokens are drawn uniformly at random; row ids are random. Neither shows the order of issuance.
//! - Token bytes, signatures and blinding secrets are on disk only sealed ([`sealing`]), also in the WAL. Rows go
//!   under `secure_delete`, and the WAL is cut to nothing when the vault is idle and when it closes.
//! - A token in doubt is never shown to another request: the server would answer the old one (protocol.md §5).
//!   The term counts from the last time that it was presented. A token that comes back from it is drawn only while the
//!   clock shows its end: a clock that ran ahead and was set back makes it wait again.
//!
//! - A copy, or a vault that was copied for good, is paused: it spends nothing ([`custody`]). A file of it that was put back
//!   or copied by hand is known for what it is ([`mark`]), and one that is taken away from under its feet stops it.
//!
//! Deliberately absent: an archive of spent tokens, times of spending, and any way to read a credit token without
//! presenting it ([`backups`] says what a backup may read). How much a model is used is kept smoothed, and sealed ([`habits`]).

pub mod backups;
mod books;
mod census;
pub mod custody;
mod deposits;
pub mod draw;
mod error;
pub mod habits;
mod listing;
mod losses;
mod mark;
mod notes;
mod recovery;
mod schema;
mod sealing;
mod thread;
mod transitions;
mod withdrawals;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::JoinHandle;

use crate::blind::{BlindedMessage, BlindingSecret, Fingerprint, TokenMessage};
use crate::clock::{SharedClock, Timestamp};
use crate::secret::Secret;
use crate::wire::ModelName;
use crate::wire::redemption::Epoch;

pub use backups::Backups;
pub use census::Census;
pub use custody::Custody;
pub use deposits::Deposits;
pub use error::{Shortage, VaultError, VaultErrorKind};
pub use listing::{Entry, EntryId, Lookup, Standing};
pub use losses::{Loss, LossReason};
pub use mark::Provenance;
pub use notes::Note;
pub use withdrawals::{Presented, Reserved, Withdrawals};

/// The two keys a vault works under, derived from the home's master key.
pub struct VaultKeys {
    /// XChaCha20-Poly1305, for records at rest.
    pub sealing: Secret<[u8; 32]>,
    /// HMAC-SHA256, for request digests.
    pub digest: Secret<[u8; 32]>,
}

/// The open vault. Owns the vault thread; [`Vault::close`], or dropping it, finishes what is queued and folds
/// the WAL in. Handles that outlive it answer [`VaultError::Closed`].
pub struct Vault {
    mailbox: thread::Mailbox,
    digester: sealing::Digester,
    thread: Option<JoinHandle<()>>,
}

/// What a start-up found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Reserved → Available.
    pub released: u64,
    /// Presented → InDoubt.
    pub doubted: u64,
    /// Blinded, to be resumed by the identity plane.
    pub blinded: u64,
    /// InDoubt (unknown) past its term → Available, marked maybe-spent.
    pub lapsed: u64,
    /// InDoubt (undelivered) past its term → wiped, counted as spent.
    pub wiped: u64,
    /// Whether it is the vault that was here.
    pub provenance: Provenance,
}

/// Counts of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stock {
    /// May be drawn now.
    pub available: u64,
    /// Available, but before its `not_before`.
    pub maturing: u64,
    /// Drawn for a call, nothing sent.
    pub reserved: u64,
    /// In a call's hands; may have been sent.
    pub presented: u64,
    /// May be spent; waits for the same request, or for its term.
    pub in_doubt: u64,
    /// Issuances whose signature is not here yet.
    pub blinded: u64,
    /// Available or maturing, but signed by another key than the pinned one: kept, not drawn, and usable again if
    /// that key is pinned again. Zero where the pinned keys were not asked about.
    pub other_key: u64,
    /// The backend said that the signature is not its own, and accepted another of the same key: kept, not drawn.
    pub refused: u64,
    /// Counter: spent since the vault was made.
    pub spent: u64,
}

impl Stock {
    /// Tokens that are there, whatever may be done with them. Counts of which none is spent for certain.
    pub fn held(&self) -> u64 {
        self.available
            + self.maturing
            + self.reserved
            + self.presented
            + self.in_doubt
            + self.other_key
            + self.refused
    }
}

impl Vault {
    /// Opens the vault at `path`, or makes it (0600, WAL); migrates, recovers, starts the vault thread. Blocks for
    /// a few milliseconds. A file that is foreign, newer, damaged or under another key is left as it is, and where there
    /// was a vault and is none, none is made.
    pub fn open(
        path: &Path,
        keys: VaultKeys,
        clock: SharedClock,
    ) -> Result<(Self, RecoveryReport), VaultError> {
        let sealer = sealing::Sealer::new(&keys);
        let digester = sealing::Digester::new(&keys);
        drop(keys);
        let found = mark::Found::beside(path)?;
        if found.is_of_a_vault() && !path.try_exists()? && !schema::log_of(path).try_exists()? {
            return Err(VaultError::Missing);
        }
        let conn = schema::open(path, &sealer, &digester)?;
        let mut books = books::Books::new(conn, sealer, clock);
        let report = books.arrive(path, found)?;
        let (mailbox, thread) = thread::spawn(books)?;
        Ok((Self { mailbox, digester, thread: Some(thread) }, report))
    }

    /// For the identity plane: insert only.
    pub fn deposits(&self) -> Deposits {
        Deposits::new(self.mailbox.clone())
    }

    /// For the anonymous plane: draw, present, settle.
    pub fn withdrawals(&self) -> Withdrawals {
        Withdrawals::new(self.mailbox.clone(), self.digester.clone())
    }

    /// For the composition root: what is there, nothing that could be spent.
    pub fn census(&self) -> Census {
        Census::new(self.mailbox.clone())
    }

    /// For the composition root: backups.
    pub fn backups(&self) -> Backups {
        Backups::new(self.mailbox.clone())
    }

    /// Finishes what is queued, folds the WAL in and cuts it to nothing, closes the file.
    pub async fn close(mut self) -> Result<(), VaultError> {
        let closed = self.mailbox.close().await.unwrap_or(Err(VaultError::Closed));
        self.join();
        closed
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the vault thread ended abnormally");
        }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        if self.thread.is_some() {
            drop(self.mailbox.close());
            self.join();
        }
    }
}

/// Which abuse tokens are held ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbuseHoldings {
    /// The key that signed the permanent one, if there is one.
    pub permanent: Option<Fingerprint>,
    /// The transient one, if there is one.
    pub transient: Option<HeldTransient>,
}

/// A transient abuse token that is held ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldTransient {
    /// The month that it is for.
    pub epoch: Epoch,
    /// The key that signed it.
    pub key: Fingerprint,
}

/// Pending issuances that were wiped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abandoned {
    /// Of credit tokens.
    pub credits: usize,
    /// Of abuse tokens.
    pub abuse: usize,
}

/// A UUIDv4 text, the idempotency key of one issuance.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(pub String);

/// The pinned key of each model. Only tokens that it signed are drawn.
pub type PinnedKeys = BTreeMap<ModelName, Fingerprint>;

/// One issuance, before its request is sent.
pub struct NewIssuance {
    /// The idempotency key.
    pub request_id: RequestId,
    /// The model whose credit pays.
    pub model: ModelName,
    /// The key it is blinded under.
    pub key: Fingerprint,
    /// The token.
    pub message: TokenMessage,
    /// What the issuer sees.
    pub blinded: BlindedMessage,
    /// What unblinds its answer.
    pub secret: BlindingSecret,
    /// From when on the token may be drawn: decided when it was ordered, and kept for whoever finishes it.
    pub readiness: Readiness,
}

/// From when on a fresh token may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// At once: the user gives up the distance in time between issuing and spending.
    Now,
    /// After a random delay.
    Delayed,
}

/// One issuance found pending.
pub struct PendingIssuance {
    /// As it was begun.
    pub issuance: NewIssuance,
    /// When it was first sent, if it was (idempotent for 5 minutes from then).
    pub first_sent: Option<Timestamp>,
}

/// Which of the two abuse tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbuseKind {
    /// One per account.
    Permanent,
    /// One per month.
    Transient(Epoch),
}

/// One issuance of an abuse token, before its request is sent.
pub struct NewAbuseIssuance {
    /// Which one.
    pub kind: AbuseKind,
    /// The key it is blinded under.
    pub key: Fingerprint,
    /// The token.
    pub message: TokenMessage,
    /// What the issuer sees.
    pub blinded: BlindedMessage,
    /// What unblinds its answer.
    pub secret: BlindingSecret,
}

/// One local call; owner of the token it draws. Random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallId(pub u128);

/// HMAC-SHA256 under the vault's digest key over model and messages: "the same request", nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestDigest(pub [u8; 32]);

/// Which abuse tokens a redemption carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbuseRule {
    /// Both, or the call is refused before a token is drawn.
    Required,
    /// An older server: `llmmask` has three fields.
    Omitted,
}

/// Which tokens may be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Also such as may be spent: what they bring can be judged by its time.
    Any,
    /// Only such as are certain.
    Certain,
}

/// What a token has behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Never in doubt past the term.
    Fresh,
    /// Was in doubt until the term passed: perhaps spent.
    MaybeSpent,
}

/// What is known of an in-doubt token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// No answer: spent or not.
    Unknown,
    /// The server answered, but the client never got it: spent; the same request fetches the stored answer.
    Undelivered,
}
