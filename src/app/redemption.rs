//! The anonymous plane's middle, as configured: which way out, how patient, whose tokens are drawn, and whether abuse
//! tokens go along. The last two follow the pinned keys, which a user may import while the daemon runs.

use std::sync::Arc;

use crate::anonymous::redeem::record::CallLog;
use crate::anonymous::redeem::{Deadlines, Limits, Redeemer, Settings};
use crate::anonymous::transport::Transport;
use crate::anonymous::transport::arti::{ArtiDialer, Patience};
use crate::anonymous::transport::fetch::{Fetch, Fetcher};
use crate::anonymous::transport::isolated::{self, Dialer, Isolated, IsolationRule};
use crate::anonymous::transport::loopback::Loopback;
use crate::anonymous::transport::socks::{SocksDialer, Verification};
use crate::anonymous::transport::target::Target;
use crate::anonymous::transport::tls::Tls;
use crate::clock::SharedClock;
use crate::config::{Config, IsolationChoice, TransportChoice, table};
use crate::datadir::Home;
use crate::keys::Keyring;
use crate::passage::{Gate, Passage};
use crate::tor::{Start, Tor};
use crate::vault::{AbuseRule, PinnedKeys, Withdrawals};
use crate::wire::ModelName;

use super::{AppError, tor};

/// Must be called inside a Tokio runtime.
pub(super) fn redeemer(
    withdrawals: Withdrawals,
    transport: Arc<dyn Transport>,
    config: &Config,
    keyring: &Keyring,
    clock: SharedClock,
    gate: Gate,
    log: Arc<CallLog>,
) -> Arc<Redeemer> {
    let mut settings = Settings::new(abuse_rule(keyring), pinned(keyring), clock);
    settings.observer = log;
    settings.deadlines = Deadlines {
        connect: config.anonymous.connect(),
        first_byte: config.anonymous.first_byte(),
        call: config.anonymous.call(),
        ..settings.deadlines
    };
    settings.gate = gate;
    settings.limits = Limits {
        request: config.backend.body_limit,
        attempts: config.anonymous.attempts,
        padding: config.anonymous.padding.as_slice().into(),
        ..settings.limits
    };
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

/// The anonymous plane's way out, and the Tor client under it if there is one.
pub(super) struct WayOut {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) tor: Option<Tor>,
    /// What `status` calls it.
    pub(super) name: &'static str,
    /// How pictures are fetched, where the user wants that and there is a Tor.
    pub(super) pictures: Option<Box<dyn Fetch>>,
}

/// The configured way out. There is none behind it: what cannot go that way does not go.
pub(super) fn way_out(
    home: &Home,
    config: &Config,
    clock: SharedClock,
    gate: &Gate,
) -> Result<WayOut, AppError> {
    let url = config.backend.anonymous_url().ok_or(AppError::NoBackend)?;
    let choice = match config.anonymous.transport() {
        TransportChoice::Auto if table::is_loopback(url) => TransportChoice::Loopback,
        TransportChoice::Auto => TransportChoice::Tor,
        chosen => chosen,
    };
    match choice {
        TransportChoice::Loopback => {
            let transport = Arc::new(Loopback::new(url.as_str())?);
            if config.images.fetch_over_tor {
                tracing::warn!(
                    "`images.fetch_over_tor` has no effect: the backend is on this machine, so there is no Tor here"
                );
            }
            Ok(WayOut { transport, tor: None, name: "loopback", pictures: None })
        }
        TransportChoice::Socks(address) => {
            let rule = if config.anonymous.socks_without_tor {
                Verification::Waived
            } else {
                Verification::Required
            };
            let web = web(home, config)?;
            let dialer = SocksDialer::new(address, Target::new(url.as_str())?, tls(home, config)?, rule);
            let transport = Arc::new(Isolated::new(dialer, isolated(config, clock, home.passage())));
            let pictures = pictures(config, gate.clone(), move |target| {
                SocksDialer::new(address, target, web.clone(), rule)
            });
            Ok(WayOut { transport, tor: None, name: "socks", pictures })
        }
        TransportChoice::Tor | TransportChoice::Auto => {
            let target = Target::new(url.as_str())?;
            let tls = tls(home, config)?;
            let patience =
                Patience { bootstrap: config.tor.bootstrap(), connect: config.anonymous.connect() };
            let start = match home.passage() {
                Passage::Open => Start::Now,
                Passage::Paused => Start::AtRest,
            };
            let tor = Tor::start(&tor::settings(home, config)?, clock.clone(), start)?;
            let dialer = ArtiDialer::new(tor.clone(), target, tls, patience);
            let transport = Arc::new(Isolated::new(dialer, isolated(config, clock, home.passage())));
            let (web, client) = (web(home, config)?, tor.clone());
            let pictures = pictures(config, gate.clone(), move |target| {
                ArtiDialer::new(client.clone(), target, web.clone(), patience)
            });
            Ok(WayOut { transport, tor: Some(tor), name: "tor", pictures })
        }
    }
}

fn pictures<D: Dialer>(
    config: &Config,
    gate: Gate,
    dialer: impl Fn(Target) -> D + Send + Sync + 'static,
) -> Option<Box<dyn Fetch>> {
    let wanted = config.images.fetch_over_tor;
    wanted.then(|| Box::new(Fetcher::new(dialer, config.anonymous.connect(), gate)) as Box<dyn Fetch>)
}

fn isolated(config: &Config, clock: SharedClock, passage: Passage) -> isolated::Settings {
    isolated::Settings {
        isolation: match config.anonymous.isolation {
            IsolationChoice::PerCall => IsolationRule::PerCall,
            IsolationChoice::PerConversation => IsolationRule::PerConversation,
            IsolationChoice::Shared => IsolationRule::Shared,
        },
        pool: config.anonymous.pool,
        dial: config.anonymous.connect(),
        dormant_after: config.tor.dormant_after(),
        passage,
        clock,
    }
}

/// How the backend's certificate is judged.
fn tls(home: &Home, config: &Config) -> Result<Tls, AppError> {
    let pin = config.tls.pin.as_deref().map(str::parse).transpose().map_err(AppError::Pin)?;
    Ok(Tls::new(extra_roots(home, config)?.as_deref(), pin)?)
}

/// How other sites' certificates are judged: the pin is the backend's alone.
fn web(home: &Home, config: &Config) -> Result<Tls, AppError> {
    Ok(Tls::new(extra_roots(home, config)?.as_deref(), None)?)
}

fn extra_roots(home: &Home, config: &Config) -> Result<Option<Vec<u8>>, AppError> {
    let Some(file) = &config.tls.extra_roots else { return Ok(None) };
    let path = home.root().join(file);
    let roots = std::fs::read(&path).map_err(|error| AppError::SettingsFile { path, kind: error.kind() })?;
    Ok(Some(roots))
}
