//! What can go wrong on the identity plane, told so that the user knows what to do next.
//!
//! No variant holds a session, a token, a signature or text from an answer's body: a refusal that the
//! client does not know is reported by its HTTP status alone.

use crate::blind::{BlindError, Fingerprint};
use crate::datadir::HomeError;
use crate::keys::KeyName;
use crate::vault::VaultError;
use crate::wire::ModelName;
use crate::wire::voucher::VoucherRefusal;

/// An error of the identity plane.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The configured base URL cannot be used.
    #[error("the backend's identity URL cannot be used: {0}. Correct `backend.identity_url`")]
    Url(&'static str),
    /// The client could not be built.
    #[error("TLS could not be set up; install the system's CA certificates (package `ca-certificates`)")]
    Tls,
    /// The text is not a session id.
    #[error(
        "not a session: expected the value of the cookie `sessionID`, like 01234567-89ab-cdef-0123-456789abcdef"
    )]
    InvalidSession,
    /// There is no stored session.
    #[error("not signed in; run `llmtor login`")]
    NotSignedIn,
    /// The stored session does not open.
    #[error("the stored session cannot be read with this home's key; run `llmtor login` again")]
    SealedSession,
    /// The backend does not know the session any more: a new sign-in deletes every earlier one.
    #[error("the session has expired or was replaced by a newer sign-in; run `llmtor login` again")]
    SessionExpired,
    /// What is held was obtained as somebody else.
    #[error(
        "this is another account than the one that the tokens in this home were obtained as; nothing was changed. These \
         tokens would stay in use, and calls paid by either account would carry the same abuse tokens, by which the backend \
         can tell that they are one user's. Give this account a home of its own (--home DIR), or sign in again with \
         --another-account if the two may be connected"
    )]
    OtherAccount,
    /// No connection, a broken connection, or no answer in time.
    #[error(
        "the backend cannot be reached ({0}); check `backend.identity_url` and the network, then try again"
    )]
    Unreachable(Failing),
    /// The user wants nothing to leave.
    #[error("{}", crate::passage::PAUSED)]
    Paused,
    /// TLS found somebody there who cannot show that it is the backend.
    #[error(
        "the backend's certificate was refused: {0}. Nothing was sent. Check `backend.identity_url` and the network; \
         if it persists, tell the operator"
    )]
    Certificate(Distrust),
    /// Something answered that does not speak the protocol.
    #[error(
        "{0} at `backend.identity_url` (HTTP {1}); is it the backend's address, or is a portal or CDN in between?"
    )]
    NotTheBackend(Foreign, u16),
    /// 429.
    #[error("the backend asks for a pause (too many requests); try again in a minute")]
    RateLimited,
    /// A refusal that the protocol does not list.
    #[error("the backend refused (HTTP {0}); try again later, and update llmtor if it persists")]
    Refused(u16),
    /// The account has no credit left for the model.
    #[error(
        "the account has no credit left for {0}; `llmtor buy {0}` gets some, or mint for another model (`llmtor account`)"
    )]
    NoQuota(ModelName),
    /// The backend does not sign for the model.
    #[error("the backend does not offer {0}; see `llmtor account` for the models of your credits")]
    NotOffered(ModelName),
    /// No package has that id.
    #[error("no package has the id `{0}`; `llmtor buy` lists what is sold")]
    NoSuchPackage(String),
    /// The backend did not say whose account it is, or gave no token for the purchase page.
    #[error("the backend sells nothing to this account at the moment; try again later, or ask its operator")]
    NoCheckout,
    /// A voucher's code is not taken.
    #[error("{}", voucher(*.0))]
    Voucher(VoucherRefusal),
    /// No key is pinned under that name, so nothing can be blinded.
    #[error("no key is pinned for `{0}`; run `llmtor keys import FILE` with the operator's published keys")]
    NoKey(KeyName),
    /// An alarm: the backend signed with another key than the published one.
    #[error(
        "ALARM: the backend's signature does not verify under the pinned key of `{name}` ({fingerprint}). \
         Nothing was stored. Either the keys file was not this backend's, or the operator rotated the key (compare \
         `llmtor keys list` with what the operator publishes and others see, then `llmtor keys import FILE --replace`), or \
         someone tries to mark you with a key of your own"
    )]
    ForgedSignature {
        /// The key's name.
        name: KeyName,
        /// The pinned key.
        fingerprint: Fingerprint,
    },
    /// The backend could not or would not sign.
    #[error(
        "the backend did not sign for the pinned key of `{name}` ({fingerprint}; HTTP {status}). Either the keys file was not \
         this backend's: compare `llmtor keys list` with what its operator publishes, and `llmtor keys import FILE --replace` \
         pins the right ones. Or the backend is in trouble: then try again later"
    )]
    Unsigned {
        /// The key's name.
        name: KeyName,
        /// The pinned key.
        fingerprint: Fingerprint,
        /// What it answered.
        status: u16,
    },
    /// The permanent abuse token was issued before, and its ten minutes of grace are over.
    #[error(
        "this account's permanent abuse token was issued before and can be issued only once; use the home that holds \
         it, or restore a backup: `llmtor abuse restore FILE`, or --server for the server's copy"
    )]
    AbuseAlreadyIssued,
    /// More than 30 transient abuse tokens this month.
    #[error("this account has had all its transient abuse tokens for this month; wait for the next month")]
    AbuseExhausted,
    /// The server keeps no backup of the abuse tokens.
    #[error(
        "the server keeps no backup for this account; `llmtor abuse backup --server`, where the tokens are, makes one"
    )]
    NoServerBackup,
    /// The key cannot blind.
    #[error("blinding failed under the pinned key of `{0}`; import the keys again")]
    Blinding(KeyName),
    /// The vault refused.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The home refused.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A worker of this process died; nothing the user did.
    #[error("an internal task stopped; restart llmtor, pending tokens are resumed")]
    Internal,
}

fn voucher(refusal: VoucherRefusal) -> &'static str {
    match refusal {
        VoucherRefusal::Unknown => {
            "this backend gave out no voucher with that code; compare it letter by letter, and check that it is for this \
             backend (`llmtor status` names it)"
        }
        VoucherRefusal::Used => {
            "the voucher was used already; if that was you, its credits are in the account: `llmtor account` shows them"
        }
        VoucherRefusal::Expired => "the voucher's time is over; ask whoever gave it to you for another",
        VoucherRefusal::Revoked => "the voucher was taken back by whoever runs the backend; ask them why",
        VoucherRefusal::TooMany => {
            "too many wrong codes were tried; try again in an hour, with the code before your eyes"
        }
        VoucherRefusal::NotTaken => "this backend has no vouchers; `llmtor buy` shows what it sells",
    }
}

/// How the network failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failing {
    /// Nobody answered the dial.
    Connecting,
    /// No answer within the deadline.
    TimedOut,
    /// The connection broke, or the answer was cut short.
    Interrupted,
    /// 5xx from something in between.
    Gateway,
}

impl std::fmt::Display for Failing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connecting => "no connection",
            Self::TimedOut => "no answer in time",
            Self::Interrupted => "the connection broke",
            Self::Gateway => "a gateway in between failed",
        })
    }
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Its issuer is not one of the system's authorities.
    Issuer,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for another host.
    Name,
    /// Revoked, malformed, for another purpose.
    Other,
}

impl std::fmt::Display for Distrust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Issuer => "no certificate authority that this machine trusts has issued it",
            Self::Expired => "it has expired (or this machine's clock is wrong)",
            Self::NotYetValid => "it is not valid yet (or this machine's clock is wrong)",
            Self::Name => "it is for another host name",
            Self::Other => "it is not valid",
        })
    }
}

/// What answered instead of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Not JSON, or JSON of another shape.
    NotJson,
    /// A redirect; none is followed, for the cookie's sake.
    Redirect,
    /// A body over the limit.
    TooLarge,
    /// An answer that lacks what was asked for.
    Incomplete,
}

impl std::fmt::Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotJson => "something that does not speak the backend's protocol answers",
            Self::Redirect => "something redirects elsewhere",
            Self::TooLarge => "an answer larger than any of the protocol's came",
            Self::Incomplete => "an incomplete answer came",
        })
    }
}

/// What a caller may decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// A setting or an argument is wrong.
    Configuration,
    /// The user must sign in (again).
    SignIn,
    /// Trying again later may help.
    Transient,
    /// Trying again will not help.
    Refused,
    /// No credit.
    NoQuota,
    /// A signature that does not verify.
    Alarm,
    /// The vault or the home.
    Storage,
}

impl IdentityError {
    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Url(_) | Self::Tls | Self::NoKey(_) | Self::Blinding(_) | Self::NoSuchPackage(_) => {
                ErrorKind::Configuration
            }
            Self::InvalidSession | Self::NotSignedIn | Self::SealedSession | Self::SessionExpired => {
                ErrorKind::SignIn
            }
            Self::Unreachable(_)
            | Self::Paused
            | Self::Certificate(_)
            | Self::RateLimited
            | Self::NotTheBackend(..)
            | Self::Internal => ErrorKind::Transient,
            Self::Refused(_)
            | Self::Unsigned { .. }
            | Self::NoCheckout
            | Self::Voucher(_)
            | Self::NotOffered(_)
            | Self::AbuseAlreadyIssued
            | Self::AbuseExhausted
            | Self::OtherAccount
            | Self::NoServerBackup => ErrorKind::Refused,
            Self::NoQuota(_) => ErrorKind::NoQuota,
            Self::ForgedSignature { .. } => ErrorKind::Alarm,
            Self::Vault(_) | Self::Home(_) => ErrorKind::Storage,
        }
    }

    /// Whether it is a signature that does not verify.
    pub(crate) fn is_alarm(&self) -> bool {
        matches!(self, Self::ForgedSignature { .. })
    }

    /// A failure to finalize or to blind under the key of `name`.
    pub(crate) fn crypto(error: BlindError, name: &KeyName, fingerprint: Fingerprint) -> Self {
        match error {
            BlindError::Blinding => Self::Blinding(name.clone()),
            BlindError::DoesNotVerify => Self::ForgedSignature { name: name.clone(), fingerprint },
        }
    }
}
