//! Where a passphrase comes from: the terminal, unseen, or a descriptor. Never an argument or a variable.

use std::fs::File;
use std::io::{self, BufRead as _, Read};

use crate::secret::Secret;

use super::arguments::PassphraseOptions;
use super::exit::{Exit, Failure};

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
pub(super) fn read(options: &PassphraseOptions, purpose: Purpose) -> Result<Secret<String>, Failure> {
    match options.passphrase_fd {
        Some(0) => line(&mut io::stdin().lock()),
        Some(number) => line(&mut io::BufReader::new(descriptor(number)?)),
        None => ask(purpose),
    }
}

/// One line of standard input; what follows stays there.
pub(super) fn stdin_line() -> Result<String, Failure> {
    Ok(line(&mut io::stdin().lock())?.expose().clone())
}

fn ask(purpose: Purpose) -> Result<Secret<String>, Failure> {
    let first = prompt("Passphrase: ")?;
    if purpose == Purpose::Seal && !prompt("The same again: ")?.matches(first.expose().as_bytes()) {
        return Err(Failure::new(Exit::Usage, "the two passphrases differ; nothing was done")
            .advise("run the command again, and type the same twice"));
    }
    Ok(first)
}

fn prompt(text: &str) -> Result<Secret<String>, Failure> {
    rpassword::prompt_password(text).map(Secret::new).map_err(|_| {
        Failure::new(Exit::Usage, "there is no terminal to ask for the passphrase at")
            .advise("give it on a descriptor: --passphrase-fd 0 < FILE")
    })
}

/// Opens what the descriptor is open on; Unix systems have them as files. So a file is read from its beginning, and a
/// socket cannot be read.
fn descriptor(number: u32) -> Result<File, Failure> {
    File::open(format!("/dev/fd/{number}")).map_err(|error| {
        Failure::new(Exit::Usage, format!("descriptor {number} cannot be read: {error}"))
            .advise("it has to be open, on a file or a pipe and not a socket; with a shell: --passphrase-fd 3 3< FILE")
    })
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
