//! Who asks: looks at what a daemon is not asked for (the home, and whether the endpoint's address is free), puts it where it
//! belongs among what whoever holds the home finds, and tells each finding when it is known.

use std::path::PathBuf;

use tokio::sync::watch;

use super::super::{AppError, access, listen};
use super::{failed, ok, problem, skipped, warning_with};
use crate::config::Config;
use crate::control::message::{Check, CheckName, DoctorReport, Room, Verdict};
use crate::control::{Operation, Progress, RefusalKind, Report};
use crate::datadir::{Home, HomeError};

/// Looks into everything. What cannot be looked at is a finding, not a failure. `tell` hears of each as soon as it is known,
/// in the report's order: some take long.
pub async fn diagnose(home: &Home, config: &Config, mut tell: impl FnMut(&Check)) -> DoctorReport {
    let (progress, mut watched) = watch::channel(None);
    // Whoever opens the files closes them to others, too.
    let was_exposed = exposed(home);
    // What is looked at from here, once.
    let mut own = None;
    let mut assemble = |mut report: DoctorReport| {
        let (directory, endpoint) = own.get_or_insert_with(|| {
            let endpoint = report.daemon.is_none().then(|| endpoint(config));
            (directory(home, was_exposed.clone(), report.daemon), endpoint)
        });
        report.checks.insert(0, directory.clone());
        if let Some(endpoint) = endpoint {
            report.checks.insert(report.checks.len().min(2), endpoint.clone());
        }
        report
    };
    let mut found = DoctorReport { daemon: None, checks: Vec::new() };
    let mut work = std::pin::pin!(access::perform(home, config, Operation::Doctor, progress));
    let result = loop {
        let latest = tokio::select! {
            biased;
            result = &mut work => break result,
            Ok(()) = watched.changed() => watched.borrow_and_update().clone(),
        };
        if let Some(Progress::Found(latest)) = latest {
            let latest = assemble(latest);
            latest.checks.iter().skip(found.checks.len()).for_each(&mut tell);
            found = latest;
        }
    };
    let report = match result {
        Ok(Report::Doctor(report)) => assemble(report),
        Ok(_) => broken_off(&found, unusable(CheckName::Home, AppError::Internal)),
        Err(error) => {
            let name = place(&error);
            let mut report = unusable(name, error);
            if name != CheckName::Home {
                report.checks.insert(0, directory(home, was_exposed, None));
            }
            broken_off(&found, report)
        }
    };
    report.checks.iter().skip(found.checks.len()).for_each(tell);
    report
}

/// What was found until the end came early, and then why it came.
fn broken_off(found: &DoctorReport, end: DoctorReport) -> DoctorReport {
    let is_new = |check: &Check| {
        check.verdict == Verdict::Problem || found.checks.iter().all(|other| other.name != check.name)
    };
    let rest: Vec<Check> = end.checks.into_iter().filter(is_new).collect();
    DoctorReport { daemon: found.daemon, checks: [found.checks.clone(), rest].concat() }
}

/// A report that ends before it began.
pub fn unusable(name: CheckName, error: AppError) -> DoctorReport {
    let mut checks = vec![failed(name, error)];
    let rest = [
        CheckName::Keys,
        CheckName::Vault,
        CheckName::Abuse,
        CheckName::Session,
        CheckName::Tor,
        CheckName::Backend,
    ];
    let others = rest.into_iter().filter(|other| *other != name);
    checks.extend(others.map(|other| skipped(other, "not looked into before the problem above is solved")));
    DoctorReport { daemon: None, checks }
}

fn directory(home: &Home, was_exposed: Option<PathBuf>, daemon: Option<u32>) -> Check {
    let at = home.root().display();
    if super::super::room::of(home) == Room::None {
        let detail = format!("there is no room on the disk of {at}, so no token can be used or made");
        return problem(CheckName::Home, RefusalKind::Failed, detail, "make room there");
    }
    if let Some(exposed) = exposed(home) {
        let detail = format!("{} can be read by others", exposed.display());
        let advice = format!("chmod go= {}", exposed.display());
        return problem(CheckName::Home, RefusalKind::Failed, detail, advice);
    }
    if let Some(path) = was_exposed {
        let detail = format!("{} could be read by others; now it cannot", path.display());
        let advice = "if others use this machine, take it that they have read it";
        return warning_with(CheckName::Home, &detail, advice);
    }
    match daemon {
        Some(pid) => ok(CheckName::Home, format!("{at}; a daemon works in it (pid {pid})")),
        None => ok(CheckName::Home, format!("{at}; no daemon runs, `llmtor serve` starts one")),
    }
}

/// A file of the home that is not its owner's alone. Elsewhere than on Unix the directory's access list decides.
#[cfg(unix)]
fn exposed(home: &Home) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let secrets =
        [home.vault_path(), home.session_path(), home.api_key_path(), home.root().join("master.key")];
    let others =
        |path: &PathBuf| std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    secrets.into_iter().find(others)
}

#[cfg(not(unix))]
fn exposed(_home: &Home) -> Option<PathBuf> {
    None
}

/// Whether the endpoint could listen, while no daemon does.
fn endpoint(config: &Config) -> Check {
    match listen::bind(config.server.listen) {
        Ok(_) => ok(CheckName::Endpoint, format!("{} is free", config.server.listen)),
        Err(error) => failed(CheckName::Endpoint, error),
    }
}

/// Where an error belongs that came before anything could be looked at.
fn place(error: &AppError) -> CheckName {
    match error {
        AppError::Keys(_) => CheckName::Keys,
        AppError::Vault(_)
        | AppError::Home(
            HomeError::KeyringUnavailable
            | HomeError::NoKeyring
            | HomeError::OtherStore { .. }
            | HomeError::KeyGone
            | HomeError::KeyDamaged,
        ) => CheckName::Vault,
        _ => CheckName::Home,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_before_the_daemon_broke_off_stays_and_the_end_is_told() {
        let found = DoctorReport {
            daemon: Some(7),
            checks: vec![ok(CheckName::Home, "here"), ok(CheckName::Keys, "pinned")],
        };
        let report = broken_off(&found, unusable(CheckName::Home, AppError::Internal));
        assert_eq!(report.checks[..2], found.checks[..]);
        assert_eq!((report.checks[2].name, report.checks[2].verdict), (CheckName::Home, Verdict::Problem));
        let keys = report.checks.iter().filter(|check| check.name == CheckName::Keys);
        assert_eq!(keys.count(), 1);
        assert!(report.checks[3..].iter().all(|check| check.verdict == Verdict::Skipped));
    }

    #[test]
    fn what_comes_before_everything_skips_the_rest() {
        let report = unusable(CheckName::Vault, HomeError::KeyGone.into());
        let (first, rest) = report.checks.split_first().unwrap();
        assert_eq!((first.name, first.verdict), (CheckName::Vault, Verdict::Problem));
        assert!(rest.iter().all(|check| check.verdict == Verdict::Skipped && check.name != CheckName::Vault));
    }
}
