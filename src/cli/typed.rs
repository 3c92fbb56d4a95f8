//! What somebody types at a terminal, seen or not. Ctrl-C ends it, as it ends everything, and leaves the terminal as it was.
//!
//! Signals are caught from the first operation of a command on, so whoever waits for a line has to listen to them, too; and a
//! program that ended while it hides what is typed would leave a shell that hides it.

use std::io::{self, IsTerminal as _, Write as _};

use crate::app::AppError;
use crate::secret::Secret;
use crate::supervisor::{Signal, Signals as _};

use super::exit::Failure;
use super::output::Output;

/// Whether there is somebody to ask.
pub(super) fn is_somebody_there(output: Output) -> bool {
    !output.is_json() && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A line that is not shown; `unreadable` says what it means that none can be read.
pub(super) async fn unseen(
    prompt: &'static str,
    unreadable: impl FnOnce(io::Error) -> Failure,
) -> Result<Secret<String>, Failure> {
    let mut signals = super::serve::signals()?;
    let terminal = Terminal::remembered();
    let typing = tokio::task::spawn_blocking(move || rpassword::prompt_password(prompt).map(Secret::new));
    tokio::select! {
        typed = typing => match typed.map_err(|_| AppError::Internal)? {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(stopped(Signal::Interrupt)),
            Err(error) => Err(unreadable(error)),
        },
        signal = signals.next() => {
            terminal.restore();
            Err(stopped(signal))
        }
    }
}

/// Asks, and brings a line of standard input, with its end; nothing at the input's end.
pub(super) async fn line(question: &str) -> Result<io::Result<String>, Failure> {
    // Before the question, which may be answered by Ctrl-C at once.
    let mut signals = super::serve::signals()?;
    // Standard error may be closed; then nobody listens, and the end of the input ends this.
    let _ = write!(io::stderr(), "{question}");
    let typing = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    tokio::select! {
        typed = typing => Ok(typed.map_err(|_| AppError::Internal)?),
        signal = signals.next() => Err(stopped(signal)),
    }
}

/// Whether the answer is yes.
pub(super) async fn yes(question: &str) -> Result<bool, Failure> {
    let answer = line(question).await?;
    Ok(answer.is_ok_and(|answer| matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")))
}

fn stopped(signal: Signal) -> Failure {
    Failure::new(signal.into(), "stopped before the answer was there")
        .advise("nothing is lost: run the command again when you like")
}

/// The terminal of this process, as it was.
#[cfg(unix)]
struct Terminal(Option<(std::fs::File, rustix::termios::Termios)>);

#[cfg(unix)]
impl Terminal {
    fn remembered() -> Self {
        let open = std::fs::File::open("/dev/tty").ok();
        Self(open.and_then(|tty| rustix::termios::tcgetattr(&tty).ok().map(|was| (tty, was))))
    }

    /// What was typed by then is thrown away: it must not become the shell's next line.
    fn restore(&self) {
        if let Some((tty, was)) = &self.0 {
            let _ = rustix::termios::tcsetattr(tty, rustix::termios::OptionalActions::Flush, was);
        }
    }
}

#[cfg(not(unix))]
struct Terminal;

#[cfg(not(unix))]
impl Terminal {
    fn remembered() -> Self {
        Self
    }

    /// A console goes back by itself.
    fn restore(&self) {}
}
