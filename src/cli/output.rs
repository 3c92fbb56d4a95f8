//! Printing. Nobody listening is no failure: a pipe that was closed ends no command, and least of all by a panic.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::exit::Failure;

/// Who reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Somebody at a terminal or with a pager.
    Person,
    /// A program: one JSON object a line.
    Program,
}

/// Where results go.
#[derive(Clone, Copy)]
pub(super) struct Output(Reader);

/// For the panic hook: where, and not what. A panic's text may quote the data that it fell over.
pub(super) fn panicked(location: Option<&std::panic::Location<'_>>) {
    match location {
        Some(at) => aside(&format!("llmtor failed at {}:{}; please report this", at.file(), at.line())),
        None => aside("llmtor failed; please report this"),
    }
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self(if json { Reader::Program } else { Reader::Person })
    }

    pub(super) fn is_json(self) -> bool {
        self.0 == Reader::Program
    }

    /// The result of a command: `value` for a program, `text` for a person.
    pub(super) fn result<T: Serialize>(self, value: &T, text: impl FnOnce() -> String) {
        match self.0 {
            Reader::Program => line(&serde_json::to_string(value).unwrap_or_default()),
            Reader::Person => line(text().trim_end_matches('\n')),
        }
    }

    /// A part of the result that is known before the rest: for a person, who would wait; a program gets one object.
    pub(super) fn in_between(self, text: impl FnOnce() -> String) {
        if self.0 == Reader::Person {
            line(&text());
        }
    }

    /// Something said on the way, to a person only, and not into a pipe.
    pub(super) fn remark(self, text: &str) {
        if self.0 == Reader::Person {
            aside(text);
        }
    }

    /// The end of a command that failed.
    pub(super) fn failure(self, failure: &Failure) -> ExitCode {
        match self.0 {
            Reader::Program => line(
                &json!({
                    "event": "error",
                    "kind": failure.kind,
                    "message": failure.message,
                    "advice": failure.advice.as_deref().or_else(|| said_with(&failure.message)),
                })
                .to_string(),
            ),
            Reader::Person => {
                aside(&format!("llmtor: {}", failure.message));
                if let Some(advice) = &failure.advice {
                    aside(&format!("        {advice}"));
                }
            }
        }
        failure.exit.into()
    }

    /// A bar on a terminal; nothing otherwise.
    pub(super) fn bar(self) -> ProgressBar {
        self.styled(0, "{msg} [{bar:40}] {pos}/{len} {elapsed}")
    }

    /// The same in percent, with `name` before it and the message behind.
    pub(super) fn percent_bar(self, name: &'static str) -> ProgressBar {
        self.styled(100, "{prefix} [{bar:40}] {pos} %, {msg}").with_prefix(name)
    }

    /// Something that turns while one waits, on a terminal; nothing otherwise.
    pub(super) fn spinner(self, message: String) -> ProgressBar {
        let spinner = self.styled(0, "{spinner} {msg} {elapsed}");
        spinner.set_message(message);
        spinner.enable_steady_tick(std::time::Duration::from_millis(200));
        spinner
    }

    fn styled(self, length: u64, template: &str) -> ProgressBar {
        if self.is_json() || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> ").tick_chars("|/-\\ "));
        }
        bar
    }
}

/// What to do, where a message says it itself, behind what happened.
fn said_with(message: &str) -> Option<&str> {
    let ends = ["; ", ". "].into_iter().filter_map(|end| Some(message.find(end)? + end.len()));
    ends.min().and_then(|at| message.get(at..))
}

/// `text`, and a line for each note.
pub(super) fn noted(text: &str, notes: &[String]) -> String {
    std::iter::once(text.to_owned())
        .chain(notes.iter().map(|note| format!("note: {note}")))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A line on standard error.
fn aside(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints one line and flushes it. A reader that has gone away is no failure of the command.
fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_of_a_message_is_what_stands_behind_what_happened() {
        for (message, advice) in [
            (crate::passage::PAUSED, Some("`llmtor resume` lets calls leave again")),
            ("not signed in; run `llmtor login`", Some("run `llmtor login`")),
            (
                "it was refused. Nothing was sent. Check it; then again",
                Some("Nothing was sent. Check it; then again"),
            ),
            ("nothing but this", None),
        ] {
            assert_eq!(said_with(message), advice);
        }
    }
}
