//! `llmtor open`

use crate::control::{Operation, Report};

use super::Context;
use super::arguments::OpenOptions;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};

pub(super) async fn run(options: &OpenOptions, context: &Context) -> Result<Exit, Failure> {
    let Report::Page(report) = operate(context, Operation::OpenPage).await? else { return Err(mismatch()) };
    if options.print {
        context.output.result(&report, || report.link.clone());
        return Ok(Exit::Done);
    }
    open_browser(&report.link)?;
    context.output.result(&serde_json::json!({ "opened": true }), || {
        "opened in your browser; if nothing appears, `llmtor open --print` shows the link".into()
    });
    Ok(Exit::Done)
}

#[cfg(feature = "desktop")]
fn open_browser(link: &str) -> Result<(), Failure> {
    open::that_detached(link).map_err(|error| no_browser(error.kind()))
}

#[cfg(not(feature = "desktop"))]
fn open_browser(_link: &str) -> Result<(), Failure> {
    Err(no_browser(std::io::ErrorKind::Unsupported))
}

/// The error itself may have the link in it.
fn no_browser(kind: std::io::ErrorKind) -> Failure {
    Failure::new(Exit::Failed, format!("no browser could be started: {kind}"))
        .advise("run `llmtor open --print` and follow the link in a browser of this machine, within a minute")
}
