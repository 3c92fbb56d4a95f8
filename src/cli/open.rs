//! `llmtor open`

use crate::browse::Slip;
use crate::control::{Operation, Report};

use super::Context;
use super::arguments::OpenOptions;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate_in};

pub(super) async fn run(options: &OpenOptions, context: &Context) -> Result<Exit, Failure> {
    let (home, config) = context.open(&[])?;
    let Report::Page(report) = operate_in(context.output, &home, &config, Operation::OpenPage).await? else {
        return Err(mismatch());
    };
    if options.print {
        context.output.result(&report, || report.link.clone());
        return Ok(Exit::Done);
    }
    // The browser may take its time to start; the daemon deletes it.
    Slip::open(&home, &report.link).map_err(|error| no_browser(error.kind()))?.leave();
    context.output.result(&serde_json::json!({ "opened": true }), || {
        "opened in your browser; if nothing appears, `llmtor open --print` shows the link".into()
    });
    Ok(Exit::Done)
}

/// The error itself may have the link in it.
fn no_browser(kind: std::io::ErrorKind) -> Failure {
    Failure::new(Exit::Failed, format!("no browser could be started: {kind}"))
        .advise("run `llmtor open --print` and follow the link in a browser of this machine, within a minute")
}
