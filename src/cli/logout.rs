//! `llmtor logout`

use crate::control::{Operation, Report};

use super::Context;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let Report::Logout(report) = operate(context, Operation::Logout).await? else { return Err(mismatch()) };
    context.output.result(&report, || {
        if report.at_backend {
            "logged out; tokens in stock stay usable".into()
        } else {
            "the session is removed from this machine, but the backend could not be told and may still know it"
                .into()
        }
    });
    Ok(Exit::Done)
}
