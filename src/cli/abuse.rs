//! `llmtor abuse setup`, `status`, `rotate`, `backup`, `restore`

use std::io::Read as _;
use std::path::Path;

use crate::backup::Overwrite;
use crate::control::message::backup::{
    AbuseBackupOrder, AbuseBackupReport, AbuseRestoreOrder, AbuseRestoreReport, AbuseStatusReport, Held,
    Restoration, RotateLaterReport, RotateReport,
};
use crate::control::message::{AbuseReport, SecretText};
use crate::control::{Operation, Report};
use crate::secret::Secret;

use super::Context;
use super::arguments::AbuseCommand;
use super::exit::{Exit, Failure};
use super::operate::{check_home, mismatch, operate};
use super::passphrase::{self, Purpose};
use super::tokens;

/// More than any backup of abuse tokens is long, bytes.
const LIMIT: u64 = 1 << 20;

pub(super) async fn run(command: AbuseCommand, context: &Context) -> Result<Exit, Failure> {
    let output = context.output;
    match command {
        AbuseCommand::Setup => {
            let Report::AbuseSetup(report) = operate(context, Operation::AbuseSetup).await? else {
                return Err(mismatch());
            };
            output.result(&report, || set_up(&report));
        }
        AbuseCommand::Status => {
            let Report::AbuseStatus(report) = operate(context, Operation::AbuseStatus).await? else {
                return Err(mismatch());
            };
            output.result(&report, || status(&report));
        }
        AbuseCommand::Rotate { later: true } => {
            let Report::AbuseRotateLater(report) = operate(context, Operation::AbuseRotateLater).await?
            else {
                return Err(mismatch());
            };
            output.result(&report, || later(&report));
        }
        AbuseCommand::Rotate { later: false } => {
            let Report::AbuseRotate(report) = operate(context, Operation::AbuseRotate).await? else {
                return Err(mismatch());
            };
            output.result(&report, || rotated(&report));
        }
        AbuseCommand::Backup { place, passphrase, force } => {
            check_home(context)?;
            let path = place.file.as_deref().map(absolute).transpose()?;
            let passphrase = SecretText(passphrase::read(&passphrase, Purpose::Seal).await?);
            let overwrite = if force { Overwrite::Replace } else { Overwrite::Refuse };
            let order = AbuseBackupOrder { path, passphrase, overwrite };
            let Report::AbuseBackup(report) = operate(context, Operation::AbuseBackup(order)).await? else {
                return Err(mismatch());
            };
            output.result(&report, || backed_up(&report));
        }
        AbuseCommand::Restore { place, passphrase, replace } => {
            // A file that is not there is told before a passphrase is asked for.
            let text = place.file.as_deref().map(read).transpose()?;
            let passphrase = SecretText(passphrase::read(&passphrase, Purpose::Open).await?);
            let held = if replace { Held::Replace } else { Held::Keep };
            let order = AbuseRestoreOrder { text, passphrase, held };
            let Report::AbuseRestore(report) = operate(context, Operation::AbuseRestore(order)).await? else {
                return Err(mismatch());
            };
            output.result(&report, || restored(&report));
        }
    }
    Ok(Exit::Done)
}

/// The daemon, which may write the file, works elsewhere.
pub(super) fn absolute(path: &Path) -> Result<std::path::PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(Exit::Usage, format!("{}: {error}", path.display()))
            .advise("name a file in a directory that is there")
    })
}

fn read(path: &Path) -> Result<SecretText, Failure> {
    let mut text = String::new();
    std::fs::File::open(path).and_then(|file| file.take(LIMIT).read_to_string(&mut text)).map_err(
        |error| {
            Failure::new(Exit::Usage, format!("{} cannot be read: {error}", path.display()))
                .advise("check its name and that it is yours to read")
        },
    )?;
    Ok(SecretText(Secret::new(text)))
}

fn set_up(report: &AbuseReport) -> String {
    let obtained = match report.obtained.as_slice() {
        [] => "nothing was missing".to_owned(),
        some => format!("obtained: {}", some.join(", ")),
    };
    // The first ones tell nobody anything: there was no pseudonym yet.
    let is_another = report.obtained.iter().any(|one| one == "transient")
        && !report.obtained.iter().any(|one| one == "permanent");
    let cost = if is_another { AT_ONCE } else { "" };
    format!("{obtained}\n{}{cost}", tokens::abuse(report))
}

/// What it costs to fetch one when a call has failed for it.
const AT_ONCE: &str = "\nnote: the operator can match the time of this request, which names your account, with the first call that \
    carries the new token; if they refused the old one to see who comes for another, they know now whose calls these are. \
    `llmtor abuse rotate --later` avoids that, `llmtor pause` for some hours makes the match weaker";

fn later(RotateLaterReport { held, running }: &RotateLaterReport) -> String {
    let mut text = if *held {
        "a fresh monthly token is fetched at a random moment within a day; until then calls carry the one in use".to_owned()
    } else {
        "no monthly token of this month is held; it comes by itself".to_owned()
    };
    if !running {
        text += "\n`llmtor serve` fetches it, and does not run";
    }
    text
}

fn status(report: &AbuseStatusReport) -> String {
    let AbuseStatusReport { required, permanent, transient, current } = report;
    if !required && !permanent && transient.is_none() {
        return "abuse tokens: not asked for by this backend".into();
    }
    let permanent = if *permanent {
        "held; a backup keeps it from being lost: `llmtor abuse backup FILE`"
    } else {
        "missing; run `llmtor abuse setup`, or `llmtor abuse restore` if this account had one before"
    };
    let transient = match transient {
        Some(month) if month == current => format!("held for {month}"),
        Some(month) => format!("of {month}, and it is {current}; run `llmtor abuse setup`"),
        None => "missing; run `llmtor abuse setup`".into(),
    };
    format!("permanent token: {permanent}\nmonthly token: {transient}")
}

fn rotated(RotateReport { month, replaced, permanent }: &RotateReport) -> String {
    let mut text = format!("calls from now on carry a fresh token for {month}");
    if *replaced {
        text += AT_ONCE;
        text += "\nthe old one counts until the month is over, whoever has it";
    }
    text += if *permanent {
        "\nthe permanent token is the same as before"
    } else {
        "\nthe permanent token is missing; run `llmtor abuse setup`, or `llmtor abuse restore` if this account had one \
         before"
    };
    text
}

fn backed_up(report: &AbuseBackupReport) -> String {
    let place =
        report.path.as_ref().map_or_else(|| "on the server".into(), |path| format!("in {}", path.display()));
    let month = match &report.transient {
        Some(month) => format!("the permanent token and the one for {month}"),
        None => "the permanent token".into(),
    };
    format!("{month}: sealed {place}\nwithout the passphrase they cannot be had from it again")
}

fn restored(report: &AbuseRestoreReport) -> String {
    let month = report.month.as_deref().unwrap_or_default();
    let permanent = match report.permanent {
        Restoration::Restored => "restored",
        _ => "was held already",
    };
    let transient = match report.transient {
        Restoration::Restored => format!("restored for {month}"),
        Restoration::Held => "was held already".into(),
        Restoration::OtherKept => {
            format!("another one for {month} is held and stays; --replace takes the backup's")
        }
        Restoration::OtherMonth => {
            format!("skipped, because it is for {month}; run `llmtor abuse setup` for this month's")
        }
        Restoration::NotSigned => {
            "skipped, because it is not signed by the pinned key; run `llmtor abuse setup` for a fresh one"
                .into()
        }
        Restoration::Absent => "not in the backup; run `llmtor abuse setup`".into(),
    };
    format!("permanent token: {permanent}\nmonthly token: {transient}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_speaks_of_no_token_that_is_not_held() {
        let report =
            |replaced, permanent| rotated(&RotateReport { month: "2026-11".into(), replaced, permanent });
        let (both, none) = (report(true, true), report(false, false));
        assert!(both.contains("the old one counts") && both.contains("the same as before"), "{both}");
        assert!(!none.contains("the old one") && !none.contains("the same as before"), "{none}");
        assert!(none.contains("the permanent token is missing; run `llmtor abuse setup`"), "{none}");
    }
}
