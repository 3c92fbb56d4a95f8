//! `llmtor man`

use std::io::Write as _;
use std::path::Path;

use clap::CommandFactory as _;

use super::Context;
use super::arguments::{Arguments, ManOptions};
use super::exit::{Exit, Failure};

pub(super) fn run(options: &ManOptions, context: &Context) -> Result<Exit, Failure> {
    let mut command = Arguments::command();
    command.build();
    match &options.dir {
        None => {
            let page = render(&command)?;
            // A closed pipe is the reader's choice.
            let _ = std::io::stdout().lock().write_all(&page);
        }
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|error| failed(&error))?;
            let written = write_all(&command, dir)?;
            context.output.result(&written, || written.join("\n"));
        }
    }
    Ok(Exit::Done)
}

/// One page for `command` and each command below it.
fn write_all(command: &clap::Command, dir: &Path) -> Result<Vec<String>, Failure> {
    let name = format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name()));
    std::fs::write(dir.join(&name), render(command)?).map_err(|error| failed(&error))?;
    let mut written = vec![name];
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        written.extend(write_all(below, dir)?);
    }
    Ok(written)
}

fn render(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(|error| failed(&error))?;
    Ok(page)
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("the manual page cannot be written: {error}"))
        .advise("name a directory that is yours: --dir DIR")
}
