//! `llmtor tor …`

use crate::control::{Operation, Report};

use super::Context;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};

pub(super) async fn run(context: &Context) -> Result<Exit, Failure> {
    let Report::NewIdentity(report) = operate(context, Operation::NewIdentity).await? else {
        return Err(mismatch());
    };
    context.output.result(&report, || "calls from now on share no circuit with earlier ones".into());
    Ok(Exit::Done)
}
