//! The composition root: the only place that names both planes.
//!
//! | file | what it puts together |
//! | --- | --- |
//! | `operations` | what can be done with a home, once, for the command line and for the daemon |
//! | `access` | who does it: whoever holds the home's lock |
//! | `restore` | a home out of a backup |
//! | `daemon` | vault, both planes, local endpoint and control socket in one process |
//! | `launch` | a daemon for whoever needs one |
//! | `redemption` | which way out, how patient, whose tokens |
//! | `doctor` | what stands in the way of a call |
//! | `logging`, `report` | what is said, to whom and where it is kept; what a user may pass on of it |
//! | `identity` | the way out of the identity plane |
//! | `meter` | numbers for whoever collects them |
//! | `sign_in` | the browser window in which somebody signs in |
//! | `tor` | the settings of the Tor client built in |
//! | `page` | what the local page may read and do |
//! | `memory` | what is in memory stays out of files |
//! | `demo` | a reference backend and a daemon in one process |
//!
//! Invariants: the identity plane is handed `Deposits` and the anonymous plane `Withdrawals`, and neither
//! sees the other's; keys under which things are sealed are derived from the home's master key by label,
//! one label a purpose; nothing here reads a token, but for the abuse tokens of a backup ([`crate::vault::backups`]).

mod access;
mod api_key;
pub mod daemon;
pub mod demo;
mod doctor;
mod error;
mod holder;
mod identity;
pub mod launch;
mod listen;
pub mod logging;
pub mod memory;
mod meter;
mod operations;
#[cfg(feature = "desktop")]
mod page;
mod redemption;
pub mod report;
pub mod restore;
mod room;
pub mod sign_in;
mod tor;

pub use access::{base_url, lock_for_daemon, perform, read_api_key};
pub use doctor::{diagnose, unusable};
pub use error::AppError;
pub use holder::Holder;
pub use operations::Operations;
pub use tor::settings_in as tor_settings;

/// Derives the key that seals vault records.
const VAULT_SEALING: &str = "vault sealing";
/// Derives the key of the request digests.
const VAULT_DIGEST: &str = "vault digest";
/// Derives the key that seals the session.
const SESSION: &str = "session";
