//! The vault: tokens at rest, and who may do what with them. (Contract; see the module docs to come.)

mod error;

use std::collections::BTreeMap;
use std::path::Path;

use crate::blind::{BlindedMessage, BlindingSecret, Fingerprint, Signature, TokenMessage};
use crate::clock::{SharedClock, Timestamp};
use crate::secret::Secret;
use crate::wire::ModelName;
use crate::wire::redemption::{Epoch, LlmMask};

pub use error::{Shortage, VaultError, VaultErrorKind};

/// The two keys a vault works under, derived from the home's master key.
pub struct VaultKeys {
    pub sealing: Secret<[u8; 32]>,
    pub digest: Secret<[u8; 32]>,
}

/// The open vault. Owns the vault thread; dropping it (or `close`) drains and checkpoints.
pub struct Vault {}

/// What a start-up found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Reserved → Available.
    pub released: u64,
    /// Presented → InDoubt.
    pub doubted: u64,
    /// Blinded, to be resumed by the identity plane.
    pub blinded: u64,
    /// InDoubt past its term → Available, marked maybe-spent.
    pub lapsed: u64,
}

/// Counts of one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stock {
    pub available: u64,
    /// Available, but before its `not_before`.
    pub maturing: u64,
    pub reserved: u64,
    pub presented: u64,
    pub in_doubt: u64,
    pub blinded: u64,
    /// The backend said that the signature is not its own: kept, not drawn.
    pub refused: u64,
    /// Counter: spent since the vault was made.
    pub spent: u64,
}

impl Vault {
    /// Opens or creates `path` (0600, WAL), migrates, recovers, starts the vault thread.
    pub fn open(
        _path: &Path,
        _keys: VaultKeys,
        _clock: SharedClock,
    ) -> Result<(Self, RecoveryReport), VaultError> {
        todo!()
    }
    /// For the identity plane: insert only.
    pub fn deposits(&self) -> Deposits {
        todo!()
    }
    /// For the anonymous plane.
    pub fn withdrawals(&self) -> Withdrawals {
        todo!()
    }
    /// For the composition root: counts, nothing else.
    pub fn census(&self) -> Census {
        todo!()
    }
    /// Finishes what is queued, checkpoints (TRUNCATE), closes the file.
    pub async fn close(self) -> Result<(), VaultError> {
        todo!()
    }
}

/// Counts per model.
#[derive(Clone)]
pub struct Census {}
impl Census {
    pub async fn stock(&self) -> Result<BTreeMap<ModelName, Stock>, VaultError> {
        todo!()
    }
    /// Which abuse tokens are held ready: permanent?, transient epochs.
    pub async fn abuse(&self) -> Result<AbuseHoldings, VaultError> {
        todo!()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbuseHoldings {
    pub permanent: bool,
    pub transient: Option<Epoch>,
}

/// A UUIDv4 text, the idempotency key of one issuance.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(pub String);

/// One issuance, before its request is sent.
pub struct NewIssuance {
    pub request_id: RequestId,
    pub model: ModelName,
    pub key: Fingerprint,
    pub message: TokenMessage,
    pub blinded: BlindedMessage,
    pub secret: BlindingSecret,
}

/// One issuance found pending.
pub struct PendingIssuance {
    pub issuance: NewIssuance,
    /// When it was first sent, if it was (idempotent for 5 minutes from then).
    pub first_sent: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbuseKind {
    Permanent,
    Transient(Epoch),
}

pub struct NewAbuseIssuance {
    pub kind: AbuseKind,
    pub key: Fingerprint,
    pub message: TokenMessage,
    pub blinded: BlindedMessage,
    pub secret: BlindingSecret,
}

/// The identity plane's capability: it can put tokens in, and never read one back.
#[derive(Clone)]
pub struct Deposits {}
impl Deposits {
    /// Blinded: durable (fsync) on return. `first_sent` is set to now: the request follows at once.
    pub async fn begin(&self, _batch: Vec<NewIssuance>) -> Result<(), VaultError> {
        todo!()
    }
    pub async fn pending(&self) -> Result<Vec<PendingIssuance>, VaultError> {
        todo!()
    }
    /// Replaces the RequestID and first_sent of a pending one: the old idempotency window has passed and the
    /// ledger said that no credit was debited (or the user accepts the risk).
    pub async fn renew(&self, _old: &RequestId, _new: RequestId) -> Result<(), VaultError> {
        todo!()
    }
    /// Blinded → Available from `not_before` on; durable. Message and signature move into a row of their own
    /// with a fresh random id; the issuance row is gone (nothing ties RequestID to token).
    pub async fn finalize(
        &self,
        _id: &RequestId,
        _signature: Signature,
        _not_before: Timestamp,
    ) -> Result<(), VaultError> {
        todo!()
    }
    /// Tokens of `model` finalized since the vault was made, spent or not: what the ledger is compared with.
    pub async fn finalized(&self, _model: &ModelName) -> Result<u64, VaultError> {
        todo!()
    }
    /// The server refused before debiting: the row is wiped.
    pub async fn abandon(&self, _id: &RequestId) -> Result<(), VaultError> {
        todo!()
    }
    /// Blinding state of an abuse token, durable; replaces none that is finalized.
    pub async fn begin_abuse(&self, _new: NewAbuseIssuance) -> Result<(), VaultError> {
        todo!()
    }
    /// A pending abuse issuance of that kind (re-sign is allowed for 10 minutes).
    pub async fn pending_abuse(&self, _kind: AbuseKind) -> Result<Option<NewAbuseIssuance>, VaultError> {
        todo!()
    }
    pub async fn finalize_abuse(&self, _kind: AbuseKind, _signature: Signature) -> Result<(), VaultError> {
        todo!()
    }
    pub async fn abandon_abuse(&self, _kind: AbuseKind) -> Result<(), VaultError> {
        todo!()
    }
    pub async fn abuse(&self) -> Result<AbuseHoldings, VaultError> {
        todo!()
    }
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    Fresh,
    MaybeSpent,
}

/// Drawn for one call; nothing sent. Dropping it without a word leaves it to `release` on drop (best effort) or restart.
pub struct Reserved {}
/// The first byte may leave. Holds the exact llmmask.
pub struct Presented {}
impl Presented {
    pub fn llmmask(&self) -> &LlmMask {
        todo!()
    }
    pub fn history(&self) -> History {
        todo!()
    }
    pub fn resumed(&self) -> bool {
        todo!()
    }
}

/// What is known of an in-doubt token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// No answer: spent or not.
    Unknown,
    /// The server answered, but the client never got it: spent; the same request fetches the stored answer.
    Undelivered,
}

/// The anonymous plane's capability.
#[derive(Clone)]
pub struct Withdrawals {}
impl Withdrawals {
    pub fn digest(&self, _model: &ModelName, _messages: &[u8]) -> RequestDigest {
        todo!()
    }
    /// Draws one matured Available token of `model` uniformly at random. Need not be fsynced (a lost Reserved is Available).
    pub async fn reserve(
        &self,
        _call: CallId,
        _model: &ModelName,
        _abuse: AbuseRule,
    ) -> Result<Reserved, VaultError> {
        todo!()
    }
    /// InDoubt with this digest → Presented under `call`, durable, same bytes. None if there is none.
    pub async fn resume(
        &self,
        _call: CallId,
        _digest: RequestDigest,
    ) -> Result<Option<Presented>, VaultError> {
        todo!()
    }
    /// Reserved → Presented, durable (fsync) on return.
    pub async fn present(
        &self,
        _reserved: Reserved,
        _digest: RequestDigest,
    ) -> Result<Presented, VaultError> {
        todo!()
    }
    /// Reserved → Available.
    pub async fn release(&self, _reserved: Reserved) -> Result<(), VaultError> {
        todo!()
    }
    /// Presented → Available: the server said that it is not spent, or no byte left.
    pub async fn return_unspent(&self, _presented: Presented) -> Result<(), VaultError> {
        todo!()
    }
    /// Presented → refused: not this server's signature. Kept aside.
    pub async fn set_aside(&self, _presented: Presented) -> Result<(), VaultError> {
        todo!()
    }
    /// Presented → InDoubt.
    pub async fn doubt(&self, _presented: Presented, _doubt: Doubt) -> Result<(), VaultError> {
        todo!()
    }
    /// Presented → wiped; counters only.
    pub async fn settle(&self, _presented: Presented) -> Result<(), VaultError> {
        todo!()
    }
}
