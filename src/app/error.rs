//! Everything that can stand in the way, and what sort of thing it is for the one who asked.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::anonymous::transport::loopback::LoopbackUrlError;
use crate::anonymous::transport::target::TargetError;
use crate::anonymous::transport::tls::{InvalidPin, TlsError};
use crate::backend::BackendError;
use crate::backup::BackupError;
use crate::control::{ControlError, Refusal, RefusalKind};
use crate::datadir::HomeError;
use crate::identity::{BrowserError, ErrorKind, IdentityError};
use crate::keys::import::ImportError;
use crate::keys::store::StoreError;
use crate::keys::{ChangedKeys, KeyName};
use crate::service::ServiceError;
use crate::service::inherited::InheritedError;
use crate::tor::{Phase, Status, TorError};
use crate::vault::VaultError;
use crate::wire::voucher::InvalidVoucher;

use super::holder::Holder;
use super::sign_in;

/// Why the program, or one of its operations, cannot do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The identity plane.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The pinned keys.
    #[error(transparent)]
    Keys(#[from] StoreError),
    /// A keys file.
    #[error("{file}: {error}")]
    Import {
        /// As named by the user.
        file: String,
        /// What is wrong with it.
        error: ImportError,
    },
    /// Two keys files say different things.
    #[error("the files disagree on the key of `{0}`; nothing was imported")]
    FilesDisagree(String),
    /// A pinned key would change.
    #[error(transparent)]
    ChangedKeys(#[from] ChangedKeys),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A voucher's code has a slip in it.
    #[error("{0}; nothing was sent")]
    Voucher(#[from] InvalidVoucher),
    /// The daemon refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The way out.
    #[error("the anonymous plane's backend cannot be used: {0}")]
    Transport(#[from] LoopbackUrlError),
    /// A backend that Tor cannot be used for.
    #[error("the anonymous plane's backend cannot be used: {0}")]
    Target(#[from] TargetError),
    /// The Tor client.
    #[error(transparent)]
    Tor(#[from] TorError),
    /// Nothing can leave through Tor yet.
    #[error("{}; nothing was sent", not_ready(.0))]
    TorNotReady(Status),
    /// The roots of trust.
    #[error("`tls.extra_roots`: {0}")]
    Tls(#[from] TlsError),
    /// The pin.
    #[error("`tls.pin`: {0}")]
    Pin(InvalidPin),
    /// A file that a setting names.
    #[error("{path} cannot be read: {kind}", path = .path.display())]
    SettingsFile {
        /// Which.
        path: PathBuf,
        /// Why.
        kind: std::io::ErrorKind,
    },
    /// No such token.
    #[error("`{0}` is not the beginning of a token's id: at least four digits of one that is there")]
    UnknownToken(String),
    /// More than one.
    #[error("the ids of several tokens begin with `{0}`")]
    AmbiguousToken(String),
    /// Only a daemon has circuits.
    #[error("no daemon runs here, so there is no circuit to leave")]
    NoDaemon,
    /// Only a daemon has a page.
    #[error("llmtor is not running, so there is nothing to show")]
    NoDaemonToShow,
    /// The page is switched off, or not built in.
    #[error(
        "this llmtor has no page: `page.enabled` is false, `page.listen` was taken when it started, or it was built without `desktop`"
    )]
    NoPage,
    /// The configuration file cannot be changed by the page.
    #[error("config.toml was not changed: {0}")]
    NotChanged(String),
    /// The user wants nothing to leave.
    #[error("{}", crate::passage::PAUSED)]
    Paused,
    /// A daemon was to be started, and ended or stayed silent.
    #[error("llmtor could not be started: {0}")]
    NotStarted(String),
    /// A service goes by the home's settings alone.
    #[error("the service would not know of --set {0}, so it was not started")]
    ServiceWithoutSets(String),
    /// The service manager.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// What the service manager handed over.
    #[error(transparent)]
    Inherited(#[from] InheritedError),
    /// No backend is configured.
    #[error("no backend is configured in this home")]
    NoBackend,
    /// There is no session out of a browser window.
    #[error(transparent)]
    Browser(#[from] BrowserError),
    /// A browser would go another way than is configured.
    #[error(
        "the identity plane goes through Tor (`identity.transport`), and a browser window would not; none was opened"
    )]
    BrowserOverTor,
    /// There can be one daemon in a home.
    #[error("a daemon of this home is running already (pid {pid}), at {base_url}")]
    AlreadyRunning {
        /// Its process.
        pid: u32,
        /// Where clients find it.
        base_url: String,
    },
    /// The address is taken.
    #[error("{address} is in use{holder}")]
    AddressInUse {
        /// Which.
        address: SocketAddr,
        /// By whom.
        holder: Holder,
    },
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on: {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// The system's reason.
        error: std::io::Error,
    },
    /// The local endpoint's key cannot be used.
    #[error("the file api-key in the home is damaged")]
    ApiKeyDamaged,
    /// It is not known where the endpoint will be.
    #[error("no daemon runs, and its port is left to the system (server.listen has port 0)")]
    UnknownPort,
    /// A demo in a home that is used in earnest.
    #[error("{0} is a home with a backend of its own; a demo there would mix its tokens with play money")]
    NotADemoHome(std::path::PathBuf),
    /// The demo's backend.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A backup was not made or not read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// There are no abuse tokens to back up.
    #[error("no permanent abuse token is held, so there is nothing to back up")]
    NothingToBackUp,
    /// A token in a backup cannot be judged.
    #[error("no key is pinned for `{0}`, so a token in a backup cannot be verified; nothing was changed")]
    NoAbuseKey(KeyName),
    /// A token in a backup is not the backend's.
    #[error("the backup's token is not signed by the pinned key of `{0}`; nothing was changed")]
    NotSigned(KeyName),
    /// Another permanent token is held.
    #[error("this home holds another permanent abuse token than the backup; nothing was changed")]
    OtherPermanentToken,
    /// There is nothing to take over.
    #[error("this vault is not paused: its tokens are in use here already")]
    NotPaused,
    /// Something else was typed.
    #[error("not confirmed; the vault stays paused. To take its tokens over, type: {0}")]
    NotConfirmed(&'static str),
    /// The vault that the backup was made of is open.
    #[error("the vault that this one was copied from is in use on this machine{}, in {}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), home.display())]
    SourceInUse {
        /// Where it is.
        home: PathBuf,
        /// By whom, if that is known.
        pid: Option<u32>,
    },
    /// A blocking task was lost.
    #[error("an internal task stopped; start llmtor again")]
    Internal,
}

impl AppError {
    /// For the one who asked.
    pub fn refusal(self) -> Refusal {
        let kind = self.kind();
        let advice = self.advice();
        match self {
            Self::Refused(refusal) => refusal,
            error => Refusal { kind, message: error.to_string(), advice: advice.map(str::to_owned) },
        }
    }

    fn kind(&self) -> RefusalKind {
        match self {
            Self::Home(HomeError::InUse { .. }) | Self::AlreadyRunning { .. } | Self::SourceInUse { .. } => {
                RefusalKind::Busy
            }
            Self::Backup(error) => backup_kind(error),
            Self::NotSigned(_) => RefusalKind::Forged,
            Self::Identity(error) => identity_kind(error),
            Self::TorNotReady(_) => RefusalKind::Unreachable,
            Self::Browser(error) => sign_in::kind(error),
            Self::ChangedKeys(_) => RefusalKind::KeyChanged,
            Self::Refused(refusal) => refusal.kind,
            Self::Transport(_)
            | Self::Target(_)
            | Self::Tor(TorError::Settings(_) | TorError::File { .. })
            | Self::Tls(_)
            | Self::Pin(_)
            | Self::SettingsFile { .. }
            | Self::NoBackend
            | Self::Voucher(_)
            | Self::BrowserOverTor
            | Self::ServiceWithoutSets(_)
            | Self::UnknownPort
            | Self::UnknownToken(_)
            | Self::AmbiguousToken(_)
            | Self::NotADemoHome(_)
            | Self::Import { .. }
            | Self::FilesDisagree(_)
            | Self::NoAbuseKey(_)
            | Self::NotPaused
            | Self::NoPage
            | Self::NotChanged(_)
            | Self::NotConfirmed(_) => RefusalKind::Usage,
            Self::NothingToBackUp
            | Self::OtherPermanentToken
            | Self::NoDaemon
            | Self::NoDaemonToShow
            | Self::Paused
            | Self::NotStarted(_)
            | Self::Service(_)
            | Self::Inherited(_)
            | Self::Home(_)
            | Self::Vault(_)
            | Self::Keys(_)
            | Self::Tor(TorError::Storage(_))
            | Self::Control(_)
            | Self::AddressInUse { .. }
            | Self::Listen { .. }
            | Self::ApiKeyDamaged
            | Self::Backend(_)
            | Self::Internal => RefusalKind::Failed,
        }
    }

    /// What to do, where the message itself does not say.
    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Tor(TorError::Settings(_) | TorError::File { .. }) => {
                Some("correct `tor.arti`, or the file that `tor.arti_config` names")
            }
            Self::Tor(TorError::Storage(_)) => {
                Some("see to the directory `tor` in the home: it must be yours alone")
            }
            Self::TorNotReady(_) => {
                Some("try again; `llmtor doctor` says more, and `tor.bootstrap_seconds` how long to wait")
            }
            Self::UnknownToken(_) => Some(
                "`llmtor tokens` lists those that there is something to say of; one that was spent is gone without a trace",
            ),
            Self::AmbiguousToken(_) => Some("give more digits; `llmtor tokens --json` has all of them"),
            Self::ServiceWithoutSets(_) => Some(
                "write it into config.toml of the home, which the service reads, or start `llmtor serve` with it yourself",
            ),
            Self::Service(error) => Some(error.advice()),
            Self::NotStarted(_) => {
                Some("`llmtor serve` in a terminal shows what is wrong, and `llmtor doctor` looks closer")
            }
            Self::Inherited(_) => Some("correct the socket unit: `llmtor service install` writes it anew"),
            Self::AddressInUse { holder, .. } if holder.is_service_manager() => Some(
                "systemd listens there for the installed service: `llmtor service start` runs it, and `llmtor service stop` frees the address",
            ),
            Self::NoDaemon => Some("nothing is needed: the next `llmtor serve` starts with new circuits"),
            Self::NoDaemonToShow => {
                Some("start it with `llmtor serve`, or try `llmtor demo`; then `llmtor open`")
            }
            Self::NoPage => {
                Some("correct config.toml and start llmtor again; `llmtor status` shows its state here")
            }
            Self::NotChanged(_) => Some("correct the file by hand, then try again"),
            Self::Voucher(_) => Some("compare it with what you were given; hyphens and case do not matter"),
            Self::NoBackend => Some(
                "run `llmtor init --backend URL --keys FILE`, or `llmtor login --backend URL --keys FILE`, which signs you in, too; or try `llmtor demo`",
            ),
            Self::Browser(error) => Some(sign_in::advice(error)),
            Self::BrowserOverTor => Some(
                "sign in by hand in Tor Browser (`llmtor login --paste` shows how), or go there directly this once: --set \
                 identity.transport=direct",
            ),
            Self::AlreadyRunning { .. } => Some(
                "use that one (`llmtor env` points a client at it), stop it first, or choose another home with --home",
            ),
            Self::AddressInUse { holder, .. } if holder.is_llmtor() => Some(
                "that daemon has another home: use it with its --home, stop it, or choose another port with --listen \
                 127.0.0.1:PORT",
            ),
            Self::AddressInUse { .. } => {
                Some("stop that program, or choose another port with --listen 127.0.0.1:PORT")
            }
            Self::Listen { .. } => Some("choose another address with --listen 127.0.0.1:PORT"),
            Self::ApiKeyDamaged => Some("remove it; a new key is made at the next start"),
            Self::UnknownPort => Some("start `llmtor serve` first, or set a port in server.listen"),
            Self::NotADemoHome(_) => Some("leave --home out for a temporary one, or name an empty directory"),
            Self::NothingToBackUp => Some("run `llmtor abuse setup` first"),
            Self::NoAbuseKey(_) => Some("run `llmtor keys import FILE` with the operator's published keys"),
            Self::NotSigned(_) => Some(
                "it is a backup for another backend, or the operator has changed keys: compare `llmtor keys list` with the \
                 published ones",
            ),
            Self::OtherPermanentToken => {
                Some("is it this account's backup? If the backup's token is the one to use, add --replace")
            }
            Self::NotConfirmed(_) => Some("run `llmtor restore --take-over` when it is true"),
            Self::SourceInUse { .. } => Some("stop it first, so that no token is spent twice"),
            Self::FilesDisagree(_) => Some("import the files one by one and compare the fingerprints shown"),
            Self::Import { .. } => {
                Some("`llmtor keys import --help` says in which forms keys may come; nothing was imported")
            }
            Self::Transport(_) | Self::Target(_) => Some(
                "correct `backend.anonymous_url` in config.toml, or run `llmtor init --force` with the right one",
            ),
            Self::Tls(_) => {
                Some("name a PEM file with the backend's authority there, or take the setting out")
            }
            Self::Pin(_) => Some("take the pin from the operator, or take the setting out"),
            Self::SettingsFile { .. } => {
                Some("correct its name in config.toml, or see that it is yours to read")
            }
            Self::NotPaused => Some("nothing has to be done"),
            Self::Backend(error) => Some(error.advice()),
            // They say it themselves, or have brought it along.
            Self::Home(_)
            | Self::Vault(_)
            | Self::Identity(_)
            | Self::Paused
            | Self::Keys(_)
            | Self::ChangedKeys(_)
            | Self::Control(_)
            | Self::Refused(_)
            | Self::Backup(_)
            | Self::Internal => None,
        }
    }
}

fn not_ready(status: &Status) -> String {
    match status.phase {
        Phase::Blocked(blockage) => format!("Tor is not ready: stuck at {} %, {blockage}", status.percent),
        Phase::Bootstrapping(stage) => {
            format!("Tor is not ready in time: {} % done, {stage}", status.percent)
        }
        Phase::Ready | Phase::Dormant => "Tor became ready only now".to_owned(),
        Phase::AtRest => "Tor is at rest while llmtor is paused (`llmtor resume`)".to_owned(),
    }
}

fn backup_kind(error: &BackupError) -> RefusalKind {
    match error {
        BackupError::ShortPassphrase
        | BackupError::NeedsPassphrase
        | BackupError::NeedsIdentity
        | BackupError::InvalidRecipient
        | BackupError::InsideHome { .. }
        | BackupError::InvalidIdentity => RefusalKind::Usage,
        BackupError::NotABackup(_)
        | BackupError::WrongPassphrase
        | BackupError::WrongIdentity
        | BackupError::Damaged
        | BackupError::Newer { .. }
        | BackupError::TooLarge
        | BackupError::TooMuchWork
        | BackupError::Exists(_)
        | BackupError::ExistsOnServer
        | BackupError::NotAFile(_)
        | BackupError::Unwritable { .. }
        | BackupError::Sealing => RefusalKind::Failed,
    }
}

fn identity_kind(error: &IdentityError) -> RefusalKind {
    match error {
        IdentityError::InvalidSession => return RefusalKind::Usage,
        IdentityError::Internal | IdentityError::Paused => return RefusalKind::Failed,
        IdentityError::OtherAccount => return RefusalKind::OtherAccount,
        _ => {}
    }
    match error.kind() {
        ErrorKind::Configuration => RefusalKind::Usage,
        ErrorKind::SignIn => RefusalKind::NotLoggedIn,
        ErrorKind::Transient => RefusalKind::Unreachable,
        ErrorKind::NoQuota => RefusalKind::NoCredit,
        ErrorKind::Alarm => RefusalKind::Forged,
        ErrorKind::Refused | ErrorKind::Storage => RefusalKind::Failed,
    }
}
