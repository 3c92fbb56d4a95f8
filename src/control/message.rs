//! What is said over the control socket.

mod account;
pub mod backup;
mod condition;
mod doctor;
mod keys;
mod page;
mod passage;
mod purchase;
mod status;
mod supply;
mod tokens;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::secret::Secret;
use crate::vault::{Custody, Stock};
use crate::wire::ModelName;

pub use account::{AccountReport, LoginReport, LogoutReport, OtherAccount};
use backup::{
    AbuseBackupOrder, AbuseBackupReport, AbuseRestoreOrder, AbuseRestoreReport, AbuseStatusReport,
    BackupOrder, BackupReport, RotateLaterReport, RotateReport, TakeOverReport,
};
pub use condition::{Condition, State};
pub use doctor::{Check, CheckName, DoctorReport, Verdict};
pub use keys::{ImportReport, KeyReport, KeysReport};
pub use page::PageReport;
pub use passage::PassageReport;
pub use purchase::{CheckoutReport, OfferReport, OffersReport, SecretLink, VoucherReport};
pub use status::{DaemonReport, NewIdentityReport, Room, SessionState, StatusReport, TorPhase, TorReport};
pub use supply::{NextTopUp, SupplyLevel, SupplyReport, Usable};
pub use tokens::{ExplainReport, LossReason, LossReport, LossesReport, TokenReport, TokenState};

/// Something to be done with the home.
#[derive(Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Operation {
    /// Counts per model and state, and what is not simply in stock.
    Tokens,
    /// What will become of one token.
    Explain {
        /// The first digits of its id.
        id: String,
    },
    /// Credits that no token came of.
    Losses,
    /// Forget them.
    ForgetLosses,
    /// The daemon and the stock.
    Status,
    /// The same, as soon as it is another than the `last` one.
    Watch {
        /// What was told before; nothing for an answer at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<Box<StatusReport>>,
    },
    /// Issue tokens.
    Mint {
        /// For which model.
        model: ModelName,
        /// How many, at least 1.
        count: u32,
        /// From when on they may be used.
        readiness: Readiness,
    },
    /// What the backend knows of the account.
    Account,
    /// What the backend sells.
    Offers,
    /// The way to the purchase page.
    Checkout {
        /// Of which package.
        package: String,
        /// Where the page sends the browser afterwards.
        redirect: Option<String>,
    },
    /// Turn a voucher into credits.
    Voucher {
        /// As typed.
        code: SecretText,
    },
    /// Get the abuse tokens that are missing.
    AbuseSetup,
    /// Tell which abuse tokens are held.
    AbuseStatus,
    /// Get a fresh transient abuse token.
    AbuseRotate,
    /// Have one fetched some time later.
    AbuseRotateLater,
    /// Seal the abuse tokens for the official client's format.
    AbuseBackup(AbuseBackupOrder),
    /// Take abuse tokens out of such a backup.
    AbuseRestore(AbuseRestoreOrder),
    /// Seal the whole vault into a file.
    Backup(BackupOrder),
    /// Let a paused vault spend again.
    TakeOver {
        /// What was typed: [`sentence`](backup::sentence) and no other.
        sentence: String,
    },
    /// Keep a session.
    Login {
        /// As pasted.
        session: SecretText,
        /// What to do if it is another account's than what is held here.
        #[serde(default)]
        other: OtherAccount,
    },
    /// End the session, at the backend and here.
    Logout,
    /// Pin keys.
    KeysImport {
        /// The files' texts.
        files: Vec<KeyFile>,
        /// What to do about a changed key.
        changed: ChangedKey,
    },
    /// Name the pinned keys.
    KeysList,
    /// Leave every circuit behind; only a daemon has some.
    NewIdentity,
    /// Let nothing leave this machine until [`Operation::Resume`].
    Pause,
    /// Let calls leave again.
    Resume,
    /// Look into everything that a call needs.
    Doctor,
    /// Make a link that opens the local page once; only a daemon has one.
    OpenPage,
}

/// From when on a fresh token may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// At once; issuing and spending can then be matched by their times.
    Now,
    /// After a random delay.
    Delayed,
}

/// What an import does about a key that differs from the pinned one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangedKey {
    /// Refuse the whole import.
    Refuse,
    /// Pin the new one.
    Replace,
}

/// A keys file, by its text.
#[derive(Serialize, Deserialize)]
pub struct KeyFile {
    /// For messages.
    pub name: String,
    /// JSON, PEM bundle or TypeScript.
    pub text: String,
}

/// A session as pasted, or a passphrase as typed. Wiped when dropped; serialised only onto the control socket.
pub struct SecretText(pub Secret<String>);

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

/// How far an operation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Progress {
    /// Of [`Operation::Mint`].
    Minted {
        /// Tokens finished.
        done: u32,
        /// Tokens asked for.
        total: u32,
    },
    /// Of one that cannot begin yet.
    Waiting {
        /// What it waits for.
        waiting_for: String,
    },
    /// Of [`Operation::Doctor`]: all that was found until now, in the report's order.
    Found(DoctorReport),
}

/// What the daemon says.
#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Not finished yet.
    Progress(Progress),
    /// Finished.
    Done(Box<Report>),
    /// Refused or failed.
    Failed(Refusal),
}

/// What an operation found or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub enum Report {
    /// Of [`Operation::Tokens`].
    Tokens(TokensReport),
    /// Of [`Operation::Explain`].
    Explain(ExplainReport),
    /// Of [`Operation::Losses`] and [`Operation::ForgetLosses`].
    Losses(LossesReport),
    /// Of [`Operation::Status`] and [`Operation::Watch`].
    Status(StatusReport),
    /// Of [`Operation::Mint`].
    Mint(MintReport),
    /// Of [`Operation::Account`].
    Account(AccountReport),
    /// Of [`Operation::Offers`].
    Offers(OffersReport),
    /// Of [`Operation::Checkout`].
    Checkout(CheckoutReport),
    /// Of [`Operation::Voucher`].
    Voucher(VoucherReport),
    /// Of [`Operation::AbuseSetup`].
    AbuseSetup(AbuseReport),
    /// Of [`Operation::AbuseStatus`].
    AbuseStatus(AbuseStatusReport),
    /// Of [`Operation::AbuseRotate`].
    AbuseRotate(RotateReport),
    /// Of [`Operation::AbuseRotateLater`].
    AbuseRotateLater(RotateLaterReport),
    /// Of [`Operation::AbuseBackup`].
    AbuseBackup(AbuseBackupReport),
    /// Of [`Operation::AbuseRestore`].
    AbuseRestore(AbuseRestoreReport),
    /// Of [`Operation::Backup`].
    Backup(BackupReport),
    /// Of [`Operation::TakeOver`].
    TakeOver(TakeOverReport),
    /// Of [`Operation::Login`].
    Login(LoginReport),
    /// Of [`Operation::Logout`].
    Logout(LogoutReport),
    /// Of [`Operation::KeysImport`].
    KeysImport(ImportReport),
    /// Of [`Operation::KeysList`].
    KeysList(KeysReport),
    /// Of [`Operation::NewIdentity`].
    NewIdentity(NewIdentityReport),
    /// Of [`Operation::Pause`] and [`Operation::Resume`].
    Passage(PassageReport),
    /// Of [`Operation::Doctor`].
    Doctor(DoctorReport),
    /// Of [`Operation::OpenPage`].
    Page(PageReport),
}

/// Counts per model and state, and the abuse tokens held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokensReport {
    /// As in [`StatusReport::session`].
    #[serde(default)]
    pub session: SessionState,
    /// Whether the vault's tokens may be spent here.
    #[serde(default)]
    pub custody: Custody,
    /// As in [`StatusReport::resting_until`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resting_until: Option<String>,
    /// By model; a model with a pinned key is here even with nothing in stock.
    pub models: BTreeMap<ModelName, Stock>,
    /// How long each stock lasts, and what happens next by itself.
    #[serde(default)]
    pub supply: BTreeMap<ModelName, SupplyReport>,
    /// Abuse tokens.
    pub abuse: AbuseReport,
    /// Tokens that are not simply there to be drawn.
    #[serde(default)]
    pub special: Vec<TokenReport>,
    /// Credits that no token came of.
    #[serde(default)]
    pub losses: Vec<LossReport>,
}

/// Which abuse tokens are held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbuseReport {
    /// Whether the backend asks for them (its keys are pinned).
    pub required: bool,
    /// Whether the permanent one is held.
    pub permanent: bool,
    /// `YYYY-MM` of the transient one held.
    pub transient: Option<String>,
    /// If this month's is not here yet: when it comes by itself, at the latest (RFC 3339, to the minute).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comes_before: Option<String>,
    /// What was fetched just now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obtained: Vec<String>,
}

/// What minting came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintReport {
    /// The model.
    pub model: ModelName,
    /// Tokens made by this operation.
    pub minted: u32,
    /// Tokens of an earlier, interrupted issuance that were finished on the way.
    pub resumed: u32,
    /// Usable tokens of the model afterwards.
    pub available: u64,
    /// Tokens of the model that must mature first.
    pub maturing: u64,
    /// From when on the new ones may be used.
    #[serde(default)]
    pub usable: Usable,
    /// What the user should know of earlier issuances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Why an operation was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What sort of thing went wrong; decides the exit code.
    pub kind: RefusalKind,
    /// What went wrong, in one sentence.
    pub message: String,
    /// What to do, if there is something.
    pub advice: Option<String>,
}

impl Refusal {
    /// A refusal without advice.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), advice: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Sorts of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// Anything without a kind of its own.
    Failed,
    /// A wrong argument or setting.
    Usage,
    /// Another process holds the home.
    Busy,
    /// No session, or one that the backend no longer knows.
    NotLoggedIn,
    /// The backend cannot be reached or does not answer sensibly.
    Unreachable,
    /// No credit left to issue a token for.
    NoCredit,
    /// A pinned key would change.
    KeyChanged,
    /// A signature does not verify under the pinned key.
    Forged,
    /// A sign-in as another account than the one that what is held was obtained as.
    OtherAccount,
}
