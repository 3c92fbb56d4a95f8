//! Exit codes, and failures with what to do about them.

use std::process::ExitCode;

use crate::app::AppError;
use crate::backend::BackendError;
use crate::config::ConfigError;
use crate::control::{Refusal, RefusalKind};
use crate::datadir::HomeError;
use crate::supervisor::Signal;
use crate::tor::TorError;

/// Every exit code. Programs may rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done; for a server, stopped as it was asked to.
    Done = 0,
    /// Failed for a reason without a code of its own.
    Failed = 1,
    /// A wrong argument or setting.
    Usage = 2,
    /// Another process holds the home.
    Busy = 3,
    /// No session, or an ended one.
    NotLoggedIn = 4,
    /// The backend cannot be reached, or does not answer sensibly.
    Unreachable = 5,
    /// No credit to issue a token for.
    NoCredit = 6,
    /// Stopped by Ctrl-C before the end.
    Interrupted = 130,
    /// Stopped by SIGTERM before the end.
    Terminated = 143,
}

/// The table for `--help`.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
    0  done; for a server, stopped as it was asked to
    1  failed for a reason without a code of its own
    2  a wrong argument or setting
    3  another process holds the home
    4  not logged in
    5  the backend cannot be reached, or does not answer sensibly
    6  no credit left
  130  stopped by Ctrl-C before the end, or twice
  143  stopped by SIGTERM before the end, or twice";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Signal> for Exit {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Interrupt => Self::Interrupted,
            Signal::Terminate => Self::Terminated,
        }
    }
}

impl From<RefusalKind> for Exit {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::Failed
            | RefusalKind::KeyChanged
            | RefusalKind::Forged
            | RefusalKind::OtherAccount => Self::Failed,
            RefusalKind::Usage => Self::Usage,
            RefusalKind::Busy => Self::Busy,
            RefusalKind::NotLoggedIn => Self::NotLoggedIn,
            RefusalKind::Unreachable => Self::Unreachable,
            RefusalKind::NoCredit => Self::NoCredit,
        }
    }
}

/// Why a command did not do what it was asked to: one line what, one line what to do.
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) kind: &'static str,
    pub(super) message: String,
    pub(super) advice: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        let kind = match exit {
            Exit::Done | Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::Busy => "busy",
            Exit::NotLoggedIn => "not_logged_in",
            Exit::Unreachable => "unreachable",
            Exit::NoCredit => "no_credit",
            Exit::Interrupted => "interrupted",
            Exit::Terminated => "terminated",
        };
        Self { exit, kind, message: message.into(), advice: None }
    }

    /// The same where a home was named: commands to be typed name it, too, lest they act on another.
    pub(super) fn of_home(mut self, home: &str) -> Self {
        self.message = in_home(&self.message, home);
        self.advice = self.advice.map(|advice| in_home(&advice, home));
        self
    }

    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// Commands of ours in `text`, with `--home` where they name none.
fn in_home(text: &str, home: &str) -> String {
    let mut told = String::with_capacity(text.len());
    for (at, piece) in text.split('`').enumerate() {
        if at > 0 {
            told.push('`');
        }
        told.push_str(piece);
        // Those between two backticks.
        if at % 2 == 1 && piece.starts_with("llmtor ") && !piece.contains("--home") {
            told.push_str(" --home ");
            told.push_str(home);
        }
    }
    told
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let mut failure = Self::new(refusal.kind.into(), refusal.message);
        match refusal.kind {
            RefusalKind::KeyChanged => failure.kind = "key_changed",
            RefusalKind::Forged => failure.kind = "forged",
            RefusalKind::OtherAccount => failure.kind = "other_account",
            _ => {}
        }
        failure.advice = refusal.advice;
        failure
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let advice = match &error {
            ConfigError::Unknown { .. } => {
                "correct it, or take it out; config/llmtor.example.toml has every setting"
            }
            ConfigError::Value { .. } | ConfigError::Syntax { .. } => {
                "correct it there; config/llmtor.example.toml shows every setting as it is written"
            }
        };
        Self::new(Exit::Usage, error.to_string()).advise(advice)
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        error.refusal().into()
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        AppError::from(error).into()
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        let exit = match &error {
            BackendError::Settings(_) | BackendError::Tor(TorError::Settings(_) | TorError::File { .. }) => {
                Exit::Usage
            }
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string()).advise(error.advice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_to_be_typed_names_the_home_that_was_named() {
        let told = in_home("run `llmtor restore --take-over` when it is true, or see `config.toml`", "r1");
        assert_eq!(told, "run `llmtor restore --take-over --home r1` when it is true, or see `config.toml`");
        assert_eq!(in_home("`llmtor resume --home r1` does", "r1"), "`llmtor resume --home r1` does");
    }

    #[test]
    fn the_help_lists_every_code() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Busy,
            Exit::NotLoggedIn,
            Exit::Unreachable,
            Exit::NoCredit,
            Exit::Interrupted,
            Exit::Terminated,
        ];
        let listed: Vec<_> =
            EXIT_CODES.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(listed, all.map(|exit| (exit as u8).to_string()));
    }
}
