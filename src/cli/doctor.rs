//! `llmtor doctor`

use std::fmt::Write as _;

use crate::app;
use crate::control::RefusalKind;
use crate::control::message::{Check, CheckName, DoctorReport, Verdict};
use crate::datadir::Home;

use super::Context;
use super::exit::{Exit, Failure};

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let output = context.output;
    // Where Tor has to be tried, that takes a while: what is known is said.
    let report = examine(context, |check| output.in_between(|| line(check))).await?;
    output.result(&report, || summary(&report).to_owned());
    Ok(verdict(&report))
}

/// Looks into everything; `tell` hears of each finding when it is known.
pub(super) async fn examine(
    context: &Context,
    mut tell: impl FnMut(&Check),
) -> Result<DoctorReport, Failure> {
    // Without a place for data there is nothing to look into.
    let path = context.home_path()?;
    let early = match Home::open(&path) {
        Ok(home) => match context.config(Some(&home), &[]) {
            Ok(config) => {
                let waiting =
                    "looking into all that a call needs; where Tor has to be tried, that takes a while";
                let spinner = context.output.spinner(waiting.to_owned());
                let report = app::diagnose(&home, &config, |check| spinner.suspend(|| tell(check))).await;
                spinner.finish_and_clear();
                return Ok(report);
            }
            Err(failure) => {
                let check = Check {
                    name: CheckName::Settings,
                    verdict: Verdict::Problem,
                    detail: failure.message,
                    advice: failure.advice.or_else(|| Some("correct it there".into())),
                    kind: Some(RefusalKind::Usage),
                };
                DoctorReport { daemon: None, checks: vec![check] }
            }
        },
        Err(error) => app::unusable(CheckName::Home, error.into()),
    };
    early.checks.iter().for_each(tell);
    Ok(early)
}

/// That of the first problem.
fn verdict(report: &DoctorReport) -> Exit {
    let problem = report.checks.iter().find(|check| check.verdict == Verdict::Problem);
    problem.map_or(Exit::Done, |check| check.kind.map_or(Exit::Failed, Exit::from))
}

fn line(check: &Check) -> String {
    let Check { name, verdict, detail, advice, kind: _ } = check;
    let name = match name {
        CheckName::Home => "home",
        CheckName::Settings => "settings",
        CheckName::Endpoint => "endpoint",
        CheckName::Keys => "keys",
        CheckName::Vault => "vault",
        CheckName::Abuse => "abuse",
        CheckName::Session => "session",
        CheckName::Clock => "clock",
        CheckName::Tor => "tor",
        CheckName::Backend => "backend",
    };
    let verdict = match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Problem => "PROBLEM",
        Verdict::Skipped => "skipped",
    };
    let mut text = format!("{verdict:8} {name:9} {detail}");
    if let Some(advice) = advice {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{:18} → {advice}", "");
    }
    text
}

fn summary(report: &DoctorReport) -> &'static str {
    match report.checks.iter().filter(|check| check.verdict == Verdict::Problem).count() {
        0 => "nothing stands in the way of a call",
        1 => "one problem",
        _ => "several problems; begin with the first",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: CheckName, verdict: Verdict, kind: Option<RefusalKind>) -> Check {
        Check { name, verdict, detail: "as it is".into(), advice: Some("do it".into()), kind }
    }

    #[test]
    fn the_exit_code_is_that_of_the_first_problem_and_warnings_do_not_count() {
        let report = |checks: &[(CheckName, Verdict, Option<RefusalKind>)]| DoctorReport {
            daemon: None,
            checks: checks.iter().map(|(name, verdict, kind)| check(*name, *verdict, *kind)).collect(),
        };
        let warning = (CheckName::Vault, Verdict::Warning, Some(RefusalKind::NoCredit));
        let session = (CheckName::Session, Verdict::Problem, Some(RefusalKind::NotLoggedIn));
        let backend = (CheckName::Backend, Verdict::Problem, Some(RefusalKind::Unreachable));
        assert_eq!(verdict(&report(&[warning])), Exit::Done);
        assert_eq!(verdict(&report(&[warning, session, backend])), Exit::NotLoggedIn);
        assert_eq!(verdict(&report(&[warning, backend])), Exit::Unreachable);
        assert_eq!(verdict(&report(&[(CheckName::Home, Verdict::Problem, None)])), Exit::Failed);
        let report = report(&[warning, session]);
        let text = report.checks.iter().map(line).collect::<Vec<_>>().join("\n");
        assert!(text.contains("warning  vault") && text.contains("PROBLEM  session"), "{text}");
        assert!(text.contains("→ do it") && summary(&report) == "one problem", "{text}");
    }
}
