//! `llmtor abuse setup`

use crate::control::{Operation, Report};

use super::Context;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};
use super::tokens;

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let Report::AbuseSetup(report) = operate(context, Operation::AbuseSetup).await? else {
        return Err(mismatch());
    };
    context.output.result(&report, || {
        let obtained = match report.obtained.as_slice() {
            [] => "nothing was missing".to_owned(),
            some => format!("obtained: {}", some.join(", ")),
        };
        format!("{obtained}\n{}", tokens::abuse(&report))
    });
    Ok(Exit::Done)
}
