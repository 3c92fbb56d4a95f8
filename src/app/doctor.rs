//! What stands in the way of a call: one look at everything that it needs, in the order in which one builds on another.
//!
//! | check | looks at | leaves the machine |
//! | --- | --- | --- |
//! | home | the directory, its modes, who works in it | nothing |
//! | settings | whether a backend is named that the ways out lead to | nothing |
//! | endpoint | whether its address is free, while no daemon has it | nothing |
//! | keys, vault, abuse, session | what is pinned, held and sealed | nothing |
//! | clock | a plausible range; what Tor says of it | nothing of its own |
//! | Tor | how far the client is; one is started if no daemon has one | what a start sends to relays |
//! | backend | a stream by the way that calls take, TLS included where the backend speaks it; closed again | what a stream that was kept warm and not needed sends, and no more |
//!
//! A daemon that runs is asked for all but home and endpoint: it alone holds vault and Tor.
//!
//! Deliberately absent: a question to the identity plane (its time and the stream's would be told side by side;
//! `llmtor account` asks), any other way than the configured one, and any secret.

mod asking;

use std::time::Duration;

use crate::anonymous::transport::{NotReady, TransportError, TransportErrorKind, Wish};
use crate::clock::Timestamp;
use crate::config::{Config, IdentityTransport};
use crate::control::message::{Check, CheckName, DoctorReport, SessionState, Verdict};
use crate::control::{Progress, ProgressSender, RefusalKind};
use crate::identity::{IdentityError, IdentityUrl};
use crate::keys::Keyring;
use crate::passage::Passage;
use crate::tor::{Blockage, Phase, Status};
use crate::vault::{Custody, VaultError};
use crate::wire::redemption::Epoch;

use super::operations::{month, unknown};
use super::redemption::{self, WayOut};
use super::{AppError, Operations};

pub use asking::{diagnose, unusable};

/// 2026-01-01. No clock that is right shows an earlier time.
const EARLIEST: i64 = 1_767_225_600;
/// 2100-01-01. Later than this program will be run.
const LATEST: i64 = 4_102_444_800;
/// Beside the time that Tor is given to start: for the daemon's own answer.
const STREAM_MARGIN: Duration = Duration::from_secs(5);

/// How many exits are asked before it is the backend that is not there.
const EXITS: usize = 3;

/// What to do about a pause.
const RESUME: &str = "`llmtor resume` lets calls leave again";

/// What was found, told as it grows.
struct Findings<'p> {
    report: DoctorReport,
    progress: &'p ProgressSender,
}

impl Findings<'_> {
    fn add(&mut self, check: Check) {
        self.report.checks.push(check);
        self.progress.send_replace(Some(Progress::Found(self.report.clone())));
    }
}

/// Everything but the home, by whoever holds it.
pub(super) async fn examine(operations: &Operations, progress: &ProgressSender) -> DoctorReport {
    let daemon = operations.way_out();
    let is_shut = operations.gate().passage() == Passage::Paused;
    let pid = daemon.is_some().then(std::process::id);
    let mut findings = Findings { report: DoctorReport { daemon: pid, checks: Vec::new() }, progress };
    findings.add(settings(operations.config()));
    findings.add(keys(operations.config(), &operations.keyring()));
    let session = session(operations).await;
    findings.add(vault(operations, session.verdict).await);
    findings.add(abuse(operations, session.verdict).await);
    findings.add(session);
    if is_shut {
        findings.add(clock(operations.clock().now(), None));
        findings.add(warning_with(CheckName::Tor, "at rest: llmtor is paused, so nothing leaves", RESUME));
        findings.add(skipped(CheckName::Backend, "not tried while llmtor is paused"));
        return findings.report;
    }
    let way = match daemon {
        Some(way) => Ok(way),
        None => own_way(operations),
    };
    let (way, hindered) = match way {
        Ok(way) => (Some(way), None),
        Err(error @ AppError::Tor(_)) => (None, Some(failed(CheckName::Tor, error))),
        Err(error) => (None, Some(failed(CheckName::Backend, error))),
    };
    let (tor, status) = match &hindered {
        Some(check) if check.name == CheckName::Tor => (check.clone(), None),
        _ => tor(operations, way.as_ref()).await,
    };
    findings.add(clock(operations.clock().now(), status.as_ref()));
    let tor_failed = tor.verdict == Verdict::Problem;
    let backend = match (&way, hindered) {
        (Some(WayOut { tor: Some(_), .. }), _) if tor_failed => {
            skipped(CheckName::Backend, "not tried before Tor is ready")
        }
        (Some(way), _) => backend(operations.config(), way).await,
        (None, Some(check)) if check.name == CheckName::Backend => check,
        (None, _) => skipped(CheckName::Backend, "not tried before Tor is ready"),
    };
    // With a directory in its cache it is ready without a network; a stream shows what that is worth.
    match way.and_then(|way| way.tor).map(|tor| tor.status()) {
        Some(status) if backend.verdict == Verdict::Problem && matches!(status.phase, Phase::Blocked(_)) => {
            findings.add(stuck(&status));
            findings.add(skipped(CheckName::Backend, "not to be reached before Tor is ready"));
        }
        _ => {
            findings.add(tor);
            findings.add(backend);
        }
    }
    findings.report
}

/// As the daemon's would be, with nothing kept warm.
fn own_way(operations: &Operations) -> Result<WayOut, AppError> {
    let mut config = operations.config().clone();
    config.anonymous.pool = 0;
    let way = redemption::way_out(operations.home(), &config, operations.clock(), operations.gate())?;
    if let Some(tor) = &way.tor {
        operations.adopt_tor(tor);
    }
    Ok(way)
}

fn settings(config: &Config) -> Check {
    let Some(url) = config.backend.identity_url() else {
        return failed(CheckName::Settings, AppError::NoBackend);
    };
    let reachable = IdentityUrl::parse(url.as_str()).and_then(|url| match config.identity.transport {
        IdentityTransport::Direct => url.check_direct(),
        IdentityTransport::Tor => url.check_tor(),
    });
    match reachable {
        Ok(()) => {
            let way = match config.identity.transport {
                IdentityTransport::Direct => "directly",
                IdentityTransport::Tor => "through Tor",
            };
            let prompts = config.backend.anonymous_url().unwrap_or(url);
            ok(CheckName::Settings, format!("the account is at {url} ({way}), prompts go to {prompts}"))
        }
        Err(error) => failed(CheckName::Settings, error.into()),
    }
}

fn keys(config: &Config, keyring: &Keyring) -> Check {
    let models: Vec<_> = keyring.models().map(ToString::to_string).collect();
    let import = "run `llmtor keys import FILE` with the operator's published keys";
    if models.is_empty() {
        let detail = "no model's key is pinned, so no token can be made or used";
        return problem(CheckName::Keys, RefusalKind::Usage, detail, import);
    }
    let abuse = match (keyring.abuse_permanent().is_some(), keyring.abuse_transient().is_some()) {
        (true, true) => "and both abuse tokens",
        (false, false) => "and no abuse token (an older backend)",
        _ => {
            let detail = "of the two keys of abuse tokens only one is pinned";
            return Check { advice: Some(import.into()), ..warning(CheckName::Keys, detail) };
        }
    };
    if let [first, ..] = unknown(config, keyring).as_slice() {
        let detail = format!("`topup.models` names {first}, which no key is pinned for: it does nothing");
        let advice = format!("correct it in config.toml; keys are pinned for {}", models.join(", "));
        return Check { advice: Some(advice), ..warning(CheckName::Keys, detail) };
    }
    ok(CheckName::Keys, format!("pinned for {} {abuse}", models.join(", ")))
}

/// `session` is what was found of it: where it is what is missing, it comes first.
async fn vault(operations: &Operations, session: Verdict) -> Check {
    match operations.custody().await {
        Ok(Custody::Ours) => {}
        Ok(Custody::Restored) => return failed(CheckName::Vault, VaultError::NotTakenOver.into()),
        Ok(Custody::Retired) => return failed(CheckName::Vault, VaultError::Retired.into()),
        Err(error) => return failed(CheckName::Vault, error),
    }
    let stock = match operations.stock().await {
        Ok(stock) => stock,
        Err(error) => return failed(CheckName::Vault, error),
    };
    let sum = |of: fn(&crate::vault::Stock) -> u64| stock.values().map(of).sum::<u64>();
    let (available, maturing) = (sum(|stock| stock.available), sum(|stock| stock.maturing));
    let (doubt, aside) = (sum(|stock| stock.in_doubt), sum(|stock| stock.refused + stock.other_key));
    let counts =
        format!("{available} tokens usable, {maturing} maturing, {doubt} in doubt, {aside} set aside");
    let warn = |what: &str, advice: &str| Check {
        advice: Some(advice.into()),
        ..warning(CheckName::Vault, format!("{counts}; {what}"))
    };
    if available == 0 {
        let advice = match maturing {
            0 => "run `llmtor buy`, or `llmtor tokens mint --model M --count N` where there are credits",
            _ => "wait until those that mature are usable; `llmtor tokens` says when",
        };
        return hindered(warn("a call would find no token", advice), session);
    }
    if aside > 0 {
        let advice = "compare the keys (`llmtor keys list`) with the operator's published ones";
        return warn("those set aside are not under the pinned keys", advice);
    }
    ok(CheckName::Vault, counts)
}

/// A problem, unless there is no session to get over it with.
fn hindered(check: Check, session: Verdict) -> Check {
    if session == Verdict::Problem {
        return check;
    }
    Check { verdict: Verdict::Problem, kind: Some(RefusalKind::Failed), ..check }
}

async fn abuse(operations: &Operations, session: Verdict) -> Check {
    let held = match operations.abuse().await {
        Ok(held) => held,
        Err(error) => return failed(CheckName::Abuse, error),
    };
    if !held.required {
        return ok(CheckName::Abuse, "not asked for by this backend");
    }
    let this_month = month(Epoch::at(operations.clock().now().unix()));
    match (held.permanent, held.transient, held.comes_before) {
        (true, Some(of), _) if of == this_month => {
            ok(CheckName::Abuse, format!("the permanent token and that of {of} are here"))
        }
        (true, _, Some(instant)) => warning_with(
            CheckName::Abuse,
            &format!("that of {this_month} is fetched by itself before {instant}"),
            "`llmtor abuse setup` fetches it now",
        ),
        (permanent, ..) => {
            let which =
                if permanent { format!("that of {this_month}") } else { "the permanent token".into() };
            let detail = format!("{which} is missing, so every call is refused");
            hindered(warning_with(CheckName::Abuse, &detail, "run `llmtor abuse setup`"), session)
        }
    }
}

async fn session(operations: &Operations) -> Check {
    match operations.holds_session() {
        Ok(true) if operations.session_state().await.is_ok_and(|state| state == SessionState::Expired) => {
            let detail = "expired, or replaced by a newer sign-in; the tokens in stock can be used, and no others be made";
            Check { advice: Some("run `llmtor login`".to_owned()), ..warning(CheckName::Session, detail) }
        }
        Ok(true) => ok(CheckName::Session, "kept; `llmtor account` asks the backend whether it still counts"),
        Ok(false) => {
            let has_tokens = operations
                .stock()
                .await
                .is_ok_and(|stock| stock.values().any(|stock| stock.available + stock.maturing > 0));
            if has_tokens {
                let detail = "none; the tokens in stock can be used, and no others be made";
                let advice = Some("run `llmtor login`".to_owned());
                Check { advice, ..warning(CheckName::Session, detail) }
            } else {
                failed(CheckName::Session, IdentityError::NotSignedIn.into())
            }
        }
        Err(error) => failed(CheckName::Session, error),
    }
}

/// `status` is of the Tor client, where one is used: it knows the network's time from its directory.
fn clock(now: Timestamp, status: Option<&Status>) -> Check {
    let set = "set it, or switch its synchronisation on (systemd: `timedatectl set-ntp true`)";
    let shown = time::OffsetDateTime::from_unix_timestamp(now.unix())
        .ok()
        .and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| "a time beyond all calendars".into());
    if !(EARLIEST..LATEST).contains(&now.unix()) {
        let detail = format!("it shows {shown}, which cannot be");
        return problem(CheckName::Clock, RefusalKind::Failed, detail, set);
    }
    match status.map(|status| &status.phase) {
        Some(Phase::Blocked(Blockage::Clock)) => {
            let detail = format!("it shows {shown}, and the Tor network says otherwise");
            problem(CheckName::Clock, RefusalKind::Failed, detail, set)
        }
        Some(Phase::Ready | Phase::Dormant) => {
            ok(CheckName::Clock, format!("{shown}; Tor's directory is valid at that time"))
        }
        _ => ok(CheckName::Clock, format!("{shown}; plausible, and nobody was there to compare with")),
    }
}

/// Waits for the client that calls take, or else the identity plane; its status, if one is used.
async fn tor(operations: &Operations, way: Option<&WayOut>) -> (Check, Option<Status>) {
    let patience = operations.config().tor.bootstrap();
    let waited = match way {
        Some(WayOut { tor: Some(tor), .. }) => {
            let waited = tor.ready(patience).await;
            Some(waited.map(|()| tor.status()))
        }
        Some(_) | None => match operations.identity_way().tor_status().await {
            Ok(waited) => waited.map(|ready| ready.map(|()| Status { percent: 100, phase: Phase::Ready })),
            Err(error) => return (failed(CheckName::Tor, error), None),
        },
    };
    match waited {
        None => {
            let name = way.map_or("not usable", |way| way.name);
            (
                skipped(
                    CheckName::Tor,
                    format!("the way out is {name}; the Tor client built in is not used"),
                ),
                None,
            )
        }
        Some(Ok(status)) => {
            let dormant =
                if status.phase == Phase::Dormant { "at rest; the next call wakes it" } else { "ready" };
            (ok(CheckName::Tor, dormant), Some(status))
        }
        Some(Err(status)) => (stuck(&status), Some(status)),
    }
}

/// What a client that is not ready says of itself.
fn stuck(status: &Status) -> Check {
    let advice = match status.phase {
        Phase::Blocked(Blockage::Offline) => "connect this machine to a network",
        Phase::Blocked(Blockage::Filtered) => {
            "name a bridge in `tor.arti` (config/llmtor.example.toml shows how)"
        }
        Phase::Blocked(Blockage::Clock) => "set the clock",
        Phase::Blocked(Blockage::Unreachable | Blockage::Directory) => {
            "see whether other programs reach the network; if they do, a bridge in `tor.arti` may help"
        }
        Phase::AtRest => RESUME,
        Phase::Bootstrapping(_) | Phase::Ready | Phase::Dormant => {
            "try again in a minute; a longer `tor.bootstrap_seconds` waits longer"
        }
    };
    let detail = AppError::TorNotReady(status.clone()).to_string();
    let detail = detail.trim_end_matches("; nothing was sent").to_owned();
    problem(CheckName::Tor, RefusalKind::Unreachable, detail, advice)
}

/// Opens what a call would, says nothing on it, and closes it.
async fn backend(config: &Config, way: &WayOut) -> Check {
    let limit = config.anonymous.connect() + STREAM_MARGIN;
    let open = async |wish: Wish| {
        way.transport.ready().await?;
        tokio::time::timeout(limit, way.transport.open(wish))
            .await
            .unwrap_or_else(|_| Err(TransportError::new(TransportErrorKind::Timeout)))
    };
    let mut wish = Wish::default();
    let mut opened = open(wish.clone()).await;
    // One exit says nothing of the backend; a call takes another, too.
    for _ in 1..EXITS {
        let Err(error) = &opened else { break };
        if !matches!(error.kind(), TransportErrorKind::Timeout | TransportErrorKind::Connect) {
            break;
        }
        wish.avoid.extend(error.exit());
        opened = open(wish.clone()).await;
    }
    match opened {
        Ok(opened) => {
            drop(opened);
            ok(CheckName::Backend, format!("{} answers (by {})", way.transport.authority(), way.name))
        }
        Err(error) => {
            let advice = match error.kind() {
                TransportErrorKind::NotReady(NotReady::NoProxy) => {
                    "start that Tor, or correct `anonymous.transport`"
                }
                TransportErrorKind::NotReady(_) => "wait until the way out is ready, then try again",
                TransportErrorKind::NotLoopback => "correct `backend.anonymous_url` or `anonymous.transport`",
                TransportErrorKind::Refused => {
                    "see whether the backend runs, and compare `backend.anonymous_url` with its address"
                }
                TransportErrorKind::Timeout | TransportErrorKind::Connect => {
                    "compare `backend.anonymous_url` with the operator's; if it is right, try again later"
                }
                TransportErrorKind::NotTor => "name a Tor's SOCKS port in `anonymous.transport`",
                TransportErrorKind::Certificate => {
                    "somebody may stand in between: compare with the operator (`tls.extra_roots`, `tls.pin`)"
                }
            };
            problem(CheckName::Backend, RefusalKind::Unreachable, error.to_string(), advice)
        }
    }
}

fn ok(name: CheckName, detail: impl Into<String>) -> Check {
    Check { name, verdict: Verdict::Ok, detail: detail.into(), advice: None, kind: None }
}

fn warning(name: CheckName, detail: impl Into<String>) -> Check {
    Check { verdict: Verdict::Warning, ..ok(name, detail) }
}

fn warning_with(name: CheckName, detail: &str, advice: &str) -> Check {
    Check { advice: Some(advice.into()), ..warning(name, detail) }
}

fn skipped(name: CheckName, detail: impl Into<String>) -> Check {
    Check { verdict: Verdict::Skipped, ..ok(name, detail) }
}

fn problem(
    name: CheckName,
    kind: RefusalKind,
    detail: impl Into<String>,
    advice: impl Into<String>,
) -> Check {
    Check { verdict: Verdict::Problem, advice: Some(advice.into()), kind: Some(kind), ..ok(name, detail) }
}

/// What the error itself says.
fn failed(name: CheckName, error: AppError) -> Check {
    let refusal = error.refusal();
    Check {
        verdict: Verdict::Problem,
        advice: refusal.advice,
        kind: Some(refusal.kind),
        ..ok(name, refusal.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tor::Stage;

    fn at(unix: i64, phase: Option<Phase>) -> Check {
        let status = phase.map(|phase| Status { percent: 50, phase });
        clock(Timestamp::from_unix(unix), status.as_ref())
    }

    #[test]
    fn a_clock_is_wrong_when_it_cannot_be_right_or_when_tor_says_so() {
        let now = 1_795_348_800;
        assert_eq!(at(now, None).verdict, Verdict::Ok);
        let ready = at(now, Some(Phase::Ready));
        assert!(ready.verdict == Verdict::Ok && ready.detail.starts_with("2026-11-22T"), "{ready:?}");
        assert!(at(now, Some(Phase::Bootstrapping(Stage::Directory))).detail.contains("nobody was there"));
        for wrong in [
            at(0, None),
            at(EARLIEST - 1, Some(Phase::Ready)),
            at(LATEST, None),
            at(i64::MAX, None),
            at(now, Some(Phase::Blocked(Blockage::Clock))),
        ] {
            assert_eq!(
                (wrong.verdict, wrong.kind),
                (Verdict::Problem, Some(RefusalKind::Failed)),
                "{wrong:?}"
            );
            assert!(wrong.advice.is_some_and(|advice| advice.contains("set it")));
        }
    }
}
