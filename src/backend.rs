//! The reference backend. (Contract for now; bodies follow.)

pub mod settings;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::secret::Secret;
use crate::wire::ModelName;
pub use settings::{Generation, ModelSettings, Planes, ProviderSettings, Settings, SettingsError};

/// The name of the settings file in a backend's home.
pub const SETTINGS_FILE: &str = "backend.toml";

/// A session: whoever knows it is the account. Printed once, kept only as a hash.
pub struct SessionId(Secret<String>);

impl SessionId {
    /// The text after `sessionID=`.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Why the backend cannot do what it was asked to; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// A backend with its home open. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Backend {}

impl Backend {
    /// Creates the home (0700), the missing key pairs, and `backend.toml` if there is none. Slow; blocks.
    /// Running it again makes keys for models that were added since and changes nothing else.
    pub fn init(_home: &Path, _settings: &Settings) -> Result<(), BackendError> {
        todo!()
    }
    /// Opens an initialised home. Blocks for a moment. Inside or outside a runtime.
    pub fn open(_home: &Path, _settings: Settings, _clock: SharedClock) -> Result<Self, BackendError> {
        todo!()
    }
    /// The same backend, answering only these planes.
    #[must_use]
    pub fn with_planes(&self, _planes: Planes) -> Self {
        todo!()
    }
    /// Creates an account with the settings' free credits and `credits`. Blocks for a moment.
    pub fn add_account(
        &self,
        _name: &str,
        _credits: &BTreeMap<ModelName, i64>,
    ) -> Result<SessionId, BackendError> {
        todo!()
    }
    /// Adds credits to an account. Blocks for a moment.
    pub fn add_credits(&self, _name: &str, _credits: &BTreeMap<ModelName, i64>) -> Result<(), BackendError> {
        todo!()
    }
    /// Ends an account's sessions and opens a new one. Blocks for a moment.
    pub fn renew_session(&self, _name: &str) -> Result<SessionId, BackendError> {
        todo!()
    }
    /// Key name (model ids, `abuse-permanent`, `abuse-transient`) → SPKI PEM.
    pub fn export_keys(&self) -> BTreeMap<String, String> {
        todo!()
    }
    /// Refuses an abuse token, permanent or transient, by its SHA-256, from now on. Blocks for a moment.
    pub fn blacklist_abuse(&self, _sha256: [u8; 32]) -> Result<(), BackendError> {
        todo!()
    }
    /// Serves until `shutdown`, then lets calls in flight end for at most `grace`.
    pub async fn serve(
        self,
        _listener: tokio::net::TcpListener,
        _shutdown: CancellationToken,
        _grace: Duration,
    ) -> Result<(), BackendError> {
        todo!()
    }
}
