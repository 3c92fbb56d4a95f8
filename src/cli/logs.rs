//! `llmtor logs`

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::app::logging::reading::{self, Line, Tail};
use crate::datadir::Home;
use crate::supervisor::Signals as _;

use super::arguments::LogsOptions;
use super::exit::{Exit, Failure};
use super::{Context, serve};

/// How often somebody who follows is shown what is new.
const PACE: Duration = Duration::from_millis(300);

pub(super) async fn run(options: &LogsOptions, context: &Context) -> Result<Exit, Failure> {
    // The home is not opened: whoever looks for a log that is not there shall not make one.
    let directory = Home::logs_in(&context.home_path()?);
    if options.path {
        context.output.result(&json!({ "path": directory }), || directory.display().to_string());
        return Ok(Exit::Done);
    }
    let unreadable = |error| unreadable(&directory, &error);
    let least = options.level.into();
    let mut tail = Tail::begin(&directory, least).map_err(unreadable)?;
    let lines = reading::last(&directory, options.lines, least).map_err(unreadable)?;
    if lines.is_empty() && !options.follow {
        context.output.remark(&format!(
            "nothing is logged in {}; the daemon logs there (`llmtor serve`), unless `log.files` is 0",
            directory.display()
        ));
    }
    for line in &lines {
        show(context, line);
    }
    if options.follow {
        let mut signals = serve::signals()?;
        loop {
            tokio::select! {
                _ = signals.next() => break,
                () = tokio::time::sleep(PACE) => {}
            }
            tail.more().map_err(unreadable)?.iter().for_each(|line| show(context, line));
        }
    }
    Ok(Exit::Done)
}

fn show(context: &Context, line: &Line) {
    context.output.result(line, || line.raw());
}

fn unreadable(directory: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the log in {} cannot be read: {error}", directory.display()))
        .advise("check whose it is (`llmtor doctor`), or name another home with --home DIR")
}
