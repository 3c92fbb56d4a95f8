//! The anonymous plane's middle, as configured: which way out, how patient, whose tokens are drawn, and whether abuse
//! tokens go along.
//!
//! The last two depend on the pinned keys, which a user may import while the daemon runs; a
//! [`Switch`] then puts a fresh redeemer in the old one's place. Calls under way stay with the one that began them.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::anonymous::redeem::{Deadlines, Limits, Prompt, Redeem, Redeemer, Redemption, Settings};
use crate::anonymous::transport::Transport;
use crate::anonymous::transport::loopback::Loopback;
use crate::clock::SharedClock;
use crate::config::{Config, TransportChoice, table};
use crate::keys::Keyring;
use crate::vault::{AbuseRule, PinnedKeys, Withdrawals};
use crate::wire::ModelName;

use super::AppError;

/// A redeemer, and what of the pinned keys it was made with.
struct InCharge {
    rule: AbuseRule,
    keys: PinnedKeys,
    redeemer: Arc<Redeemer>,
}

/// The redeemer in charge.
pub(super) struct Switch {
    withdrawals: Withdrawals,
    transport: Arc<dyn Transport>,
    template: Settings,
    current: RwLock<InCharge>,
    /// Those before it; they may have calls under way.
    retired: RwLock<Vec<Arc<Redeemer>>>,
}

impl Switch {
    /// Must be called inside a Tokio runtime.
    pub(super) fn new(
        withdrawals: Withdrawals,
        transport: Arc<dyn Transport>,
        config: &Config,
        keyring: &Keyring,
        clock: SharedClock,
    ) -> Arc<Self> {
        let (rule, keys) = (abuse_rule(keyring), pinned(keyring));
        let mut template = Settings::new(rule, keys.clone(), clock);
        template.deadlines = Deadlines {
            connect: config.anonymous.connect(),
            first_byte: config.anonymous.first_byte(),
            call: config.anonymous.call(),
            ..template.deadlines
        };
        template.limits = Limits {
            request: config.backend.body_limit,
            attempts: config.anonymous.attempts,
            ..template.limits
        };
        let redeemer = Redeemer::new(withdrawals.clone(), transport.clone(), template.clone());
        let current = RwLock::new(InCharge { rule, keys, redeemer });
        Arc::new(Self { withdrawals, transport, template, current, retired: RwLock::default() })
    }

    /// Other keys are pinned.
    pub(super) fn keys_changed(&self, keyring: &Keyring) {
        let (rule, keys) = (abuse_rule(keyring), pinned(keyring));
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.rule == rule && current.keys == keys {
            return;
        }
        let settings = Settings { abuse: rule, keys: Arc::new(keys.clone()), ..self.template.clone() };
        let redeemer = Redeemer::new(self.withdrawals.clone(), self.transport.clone(), settings);
        let old = std::mem::replace(&mut *current, InCharge { rule, keys, redeemer });
        self.retired.write().unwrap_or_else(PoisonError::into_inner).push(old.redeemer);
    }

    /// Takes no new calls, and waits for those under way up to `grace`.
    pub(super) async fn drain(&self, grace: Duration) {
        let current = self.current().clone();
        let retired = std::mem::take(&mut *self.retired.write().unwrap_or_else(PoisonError::into_inner));
        let all = retired.iter().chain([&current]).map(|redeemer| redeemer.drain(grace));
        futures_util::future::join_all(all).await;
    }

    fn current(&self) -> Arc<Redeemer> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).redeemer.clone()
    }
}

/// The endpoint's share in a [`Switch`].
pub(super) struct Current(pub(super) Arc<Switch>);

impl Redeem for Current {
    fn redeem(&self, prompt: Prompt) -> Redemption<'_> {
        let redeemer = self.0.current();
        Box::pin(async move { redeemer.redeem(prompt).await })
    }
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
