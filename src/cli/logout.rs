//! `llmtor logout`

use crate::control::{Operation, Report};

use super::Context;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};
use super::output::noted;

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let Report::Logout(report) = operate(context, Operation::Logout).await? else { return Err(mismatch()) };
    context.output.result(&report, || {
        let text = if report.at_backend {
            "logged out; tokens in stock stay usable"
        } else {
            "the session is removed from this machine, but the backend could not be told and may still know it; to end it there, \
             too, run `llmtor login` and `llmtor logout` when the backend can be reached: a new sign-in replaces the old one"
        };
        noted(text, &report.notes)
    });
    Ok(Exit::Done)
}
