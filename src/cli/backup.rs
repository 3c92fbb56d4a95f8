//! `llmtor backup`

use std::fmt::Write as _;

use crate::backup::Overwrite;
use crate::control::message::SecretText;
use crate::control::message::backup::{BackupOrder, BackupReport, LockOrder, SourceOrder};
use crate::control::{Operation, Report};
use crate::vault::Custody;

use super::Context;
use super::abuse::absolute;
use super::arguments::BackupOptions;
use super::exit::{Exit, Failure};
use super::operate::{check_home, mismatch, operate};
use super::passphrase::{self, Purpose};

pub(super) async fn run(options: BackupOptions, context: &Context) -> Result<Exit, Failure> {
    check_home(context)?;
    let path = absolute(&options.file)?;
    let lock = if options.recipients.is_empty() {
        LockOrder::Passphrase(SecretText(passphrase::read(&options.passphrase, Purpose::Seal).await?))
    } else {
        LockOrder::Recipients(options.recipients)
    };
    let order = BackupOrder {
        path,
        lock,
        overwrite: if options.force { Overwrite::Replace } else { Overwrite::Refuse },
        source: if options.retire { SourceOrder::Retired } else { SourceOrder::Kept },
    };
    let Report::Backup(report) = operate(context, Operation::Backup(order)).await? else {
        return Err(mismatch());
    };
    context.output.result(&report, || text(&report));
    Ok(Exit::Done)
}

fn text(report: &BackupReport) -> String {
    let mut text = format!(
        "sealed in {}, with {} tokens; the session is not in it",
        report.path.display(),
        report.tokens
    );
    if !report.sha256.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\nSHA-256 of the file: {}\nkeep that apart from it, if somebody else keeps the file",
            report.sha256
        );
    }
    if report.left_behind > 0 {
        let fate = match report.custody {
            Custody::Retired => {
                "those that the backend still remembers are finished here, and no other is ordered anew"
            }
            Custody::Ours | Custody::Restored => "they are finished here, by the next `llmtor tokens mint`",
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\nnote: {} begun before and not finished are not in it either; {fate}",
            report.left_behind
        );
    }
    if report.custody == Custody::Retired {
        text += "\nthis vault is retired and spends nothing; \
                 if the copy is never used, `llmtor restore --take-over` brings it back";
    }
    text
}
