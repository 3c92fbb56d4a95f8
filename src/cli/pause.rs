//! `llmtor pause` and `llmtor resume`

use crate::control::{Operation, Report};
use crate::passage::Passage;

use super::Context;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};

pub(super) async fn run(wanted: Passage, context: &Context) -> Result<Exit, Failure> {
    let operation = match wanted {
        Passage::Paused => Operation::Pause,
        Passage::Open => Operation::Resume,
    };
    let Report::Passage(report) = operate(context, operation).await? else { return Err(mismatch()) };
    context.output.result(&report, || match (report.passage, report.before) {
        (Passage::Paused, Passage::Open) => format!(
            "paused: nothing leaves this machine, also after a restart; what was under way ends by itself\n\
             `{}` lets calls leave again",
            context.command("resume")
        ),
        (Passage::Paused, Passage::Paused) => {
            format!("was paused already; `{}` lets calls leave again", context.command("resume"))
        }
        (Passage::Open, Passage::Paused) => "resumed: calls leave again".into(),
        (Passage::Open, Passage::Open) => "was not paused: calls leave as before".into(),
    });
    Ok(Exit::Done)
}
