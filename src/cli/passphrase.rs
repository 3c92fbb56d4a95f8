//! Where a passphrase comes from: the terminal, unseen, or a descriptor. Never an argument or a variable.

use std::fs::File;
use std::io::{self, BufRead as _, Read};

use crate::secret::Secret;

use super::arguments::PassphraseOptions;
use super::exit::{Exit, Failure};
use super::typed;

/// More than any passphrase is long, bytes.
const LIMIT: u64 = 4096;

/// What it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Typed twice, because a slip could not be undone.
    Seal,
    /// Typed once: a slip is found out.
    Open,
}

/// Reads it.
pub(super) async fn read(options: &PassphraseOptions, purpose: Purpose) -> Result<Secret<String>, Failure> {
    match options.passphrase_fd {
        Some(0) => line(&mut io::stdin().lock()),
        // No more than the line: what follows is for whoever reads there next.
        Some(number) => line(&mut io::BufReader::with_capacity(1, descriptor(number)?)),
        None => ask(purpose).await,
    }
}

/// One line of standard input; what follows stays there.
pub(super) fn stdin_line() -> Result<String, Failure> {
    Ok(line(&mut io::stdin().lock())?.expose().clone())
}

async fn ask(purpose: Purpose) -> Result<Secret<String>, Failure> {
    let first = prompt("Passphrase: ").await?;
    if purpose == Purpose::Seal && !prompt("The same again: ").await?.matches(first.expose().as_bytes()) {
        return Err(Failure::new(Exit::Usage, "the two passphrases differ; nothing was done")
            .advise("run the command again, and type the same twice"));
    }
    Ok(first)
}

async fn prompt(text: &'static str) -> Result<Secret<String>, Failure> {
    let unreadable = |_| {
        Failure::new(Exit::Usage, "there is no terminal to ask for the passphrase at")
            .advise("give it on a descriptor: --passphrase-fd 0 < FILE")
    };
    typed::unseen(text, unreadable).await
}

fn descriptor(number: u32) -> Result<File, Failure> {
    inherited(number).map_err(|error| {
        Failure::new(Exit::Usage, format!("descriptor {number} cannot be read: {error}"))
            .advise("it has to be open for reading; with a shell: --passphrase-fd 3 3< FILE")
    })
}

/// The descriptor itself, and not what it is open on: a file is read on from where it stands, a socket can be read, and nobody
/// needs the right to open what is open. By its number alone Rust gives it to nobody who is safe; the kernel does.
#[cfg(target_os = "linux")]
fn inherited(number: u32) -> io::Result<File> {
    use rustix::io::Errno;
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let of_this = i32::try_from(number).map_err(|_| io::Error::from(Errno::BADF))?;
    let found = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|process| pidfd_getfd(process, of_this, PidfdGetfdFlags::empty()));
    match found {
        Ok(found) => Ok(File::from(found)),
        // A kernel of before 5.6, or a sandbox that forbids it.
        Err(Errno::NOSYS | Errno::PERM) => reopened(number),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn inherited(number: u32) -> io::Result<File> {
    reopened(number)
}

/// What the descriptor is open on. On Linux that is a file from its beginning; elsewhere the descriptor itself.
fn reopened(number: u32) -> io::Result<File> {
    File::open(format!("/dev/fd/{number}"))
}

fn line(source: &mut impl io::BufRead) -> Result<Secret<String>, Failure> {
    let wrong = |what: &str| {
        Failure::new(Exit::Usage, format!("the passphrase {what}"))
            .advise("give one line of UTF-8 text, of some random words")
    };
    let limit = usize::try_from(LIMIT).unwrap_or_default();
    let mut bytes = Secret::new(Vec::with_capacity(limit));
    Read::take(source, LIMIT)
        .read_until(b'\n', bytes.expose_mut())
        .map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    // Cut, it would seal what no other program opens.
    if bytes.expose().len() >= limit && !bytes.expose().ends_with(b"\n") {
        return Err(wrong(&format!(
            "is longer than {LIMIT} bytes, which is more than is taken; nothing was done"
        )));
    }
    let text = std::str::from_utf8(bytes.expose()).map_err(|_| wrong("is not text"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_read_and_the_rest_stays() {
        let mut source = io::Cursor::new(b"correct horse \r\nthe sentence\n".to_vec());
        assert!(line(&mut source).ok().unwrap().matches(b"correct horse "));
        assert!(line(&mut source).ok().unwrap().matches(b"the sentence"));
        assert!(line(&mut source).ok().unwrap().matches(b""));
        assert!(line(&mut io::Cursor::new(b"\xff\n".to_vec())).is_err());
    }

    #[test]
    fn a_passphrase_is_read_whole_or_refused() {
        let of = |bytes: usize, end: &str| line(&mut io::Cursor::new("a".repeat(bytes) + end)).ok();
        let limit = usize::try_from(LIMIT).unwrap();
        assert_eq!(of(limit - 1, "\n").unwrap().expose().len(), limit - 1);
        assert_eq!(of(limit - 1, "").unwrap().expose().len(), limit - 1);
        for (bytes, end) in [(limit, ""), (limit, "\n"), (3 * limit, "\n")] {
            assert!(of(bytes, end).is_none(), "{bytes}");
        }
    }
}
