//! The anonymous plane's middle, as configured: which way out, how patient, whose tokens are drawn, and whether abuse
//! tokens go along. The last two follow the pinned keys, which a user may import while the daemon runs.

use std::sync::Arc;

use crate::anonymous::redeem::{Deadlines, Limits, Redeemer, Settings};
use crate::anonymous::transport::Transport;
use crate::anonymous::transport::loopback::Loopback;
use crate::clock::SharedClock;
use crate::config::{Config, TransportChoice, table};
use crate::keys::Keyring;
use crate::vault::{AbuseRule, PinnedKeys, Withdrawals};
use crate::wire::ModelName;

use super::AppError;

/// Must be called inside a Tokio runtime.
pub(super) fn redeemer(
    withdrawals: Withdrawals,
    transport: Arc<dyn Transport>,
    config: &Config,
    keyring: &Keyring,
    clock: SharedClock,
) -> Arc<Redeemer> {
    let mut settings = Settings::new(abuse_rule(keyring), pinned(keyring), clock);
    settings.deadlines = Deadlines {
        connect: config.anonymous.connect(),
        first_byte: config.anonymous.first_byte(),
        call: config.anonymous.call(),
        ..settings.deadlines
    };
    settings.limits =
        Limits { request: config.backend.body_limit, attempts: config.anonymous.attempts, ..settings.limits };
    Redeemer::new(withdrawals, transport, settings)
}

/// Other keys are pinned.
pub(super) fn follow(redeemer: &Redeemer, keyring: &Keyring) {
    redeemer.pin(abuse_rule(keyring), pinned(keyring));
}

/// What the vault is asked for tokens by.
pub(super) fn pinned(keyring: &Keyring) -> PinnedKeys {
    let key = |model: &ModelName| keyring.model(model).map(|key| (model.clone(), key.fingerprint()));
    keyring.models().filter_map(key).collect()
}

/// With both keys pinned the backend asks for abuse tokens; with neither it is an older one.
fn abuse_rule(keyring: &Keyring) -> AbuseRule {
    match (keyring.abuse_permanent(), keyring.abuse_transient()) {
        (Some(_), Some(_)) => AbuseRule::Required,
        _ => AbuseRule::Omitted,
    }
}

/// The way out, and what `status` calls it. Fails closed: a backend elsewhere is an error, never dialled.
pub(super) fn transport(config: &Config) -> Result<(Arc<dyn Transport>, &'static str), AppError> {
    let url = config.backend.anonymous_url().ok_or(AppError::NoBackend)?;
    if config.anonymous.transport == TransportChoice::Auto && !table::is_loopback(url) {
        return Err(AppError::NoTor);
    }
    Ok((Arc::new(Loopback::new(url.as_str())?), "loopback, ready"))
}
