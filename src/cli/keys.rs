//! `llmtor keys import`, `llmtor keys list`

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::control::message::{ChangedKey, ImportReport, KeyFile, KeyReport};
use crate::control::{Operation, Report};

use super::Context;
use super::arguments::KeysCommand;
use super::exit::{Exit, Failure};
use super::operate::{mismatch, operate};

/// More than any keys file is long.
const LIMIT: u64 = 4 << 20;

pub(super) async fn run(command: KeysCommand, context: &Context) -> Result<Exit, Failure> {
    match command {
        KeysCommand::Import { files, replace } => {
            let changed = if replace { ChangedKey::Replace } else { ChangedKey::Refuse };
            let operation = Operation::KeysImport { files: read(&files)?, changed };
            let Report::KeysImport(report) = operate(context, operation).await? else {
                return Err(mismatch());
            };
            context.output.result(&report, || imported(&report));
        }
        KeysCommand::List => {
            let Report::KeysList(report) = operate(context, Operation::KeysList).await? else {
                return Err(mismatch());
            };
            context.output.result(&report, || match report.keys.as_slice() {
                [] => "no keys are pinned; import them with `llmtor keys import FILE`".into(),
                keys => lines("", keys),
            });
        }
    }
    Ok(Exit::Done)
}

/// The texts of keys files.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<KeyFile>, Failure> {
    files.iter().map(|path| read_one(path)).collect()
}

fn read_one(path: &Path) -> Result<KeyFile, Failure> {
    let mut text = String::new();
    let source: Result<Box<dyn std::io::Read>, _> = if path == Path::new("-") {
        Ok(Box::new(std::io::stdin().lock()))
    } else {
        std::fs::File::open(path).map(|file| Box::new(file) as Box<dyn std::io::Read>)
    };
    source.and_then(|source| source.take(LIMIT).read_to_string(&mut text)).map_err(|error| {
        Failure::new(Exit::Usage, format!("the keys file {} cannot be read: {error}", path.display()))
            .advise("name the file with the operator's published keys; `-` reads standard input")
    })?;
    Ok(KeyFile { name: path.display().to_string(), text })
}

/// What an import did, for a person.
pub(super) fn imported(report: &ImportReport) -> String {
    let mut text = lines("added ", &report.added) + &lines("replaced ", &report.replaced);
    if !report.unchanged.is_empty() {
        let names: Vec<_> = report.unchanged.iter().map(|key| key.name.as_str()).collect();
        let _ = writeln!(text, "already pinned: {}", names.join(", "));
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn lines(verb: &str, keys: &[KeyReport]) -> String {
    let width = keys.iter().map(|key| key.name.len()).max().unwrap_or(0);
    keys.iter().fold(String::new(), |mut text, key| {
        let _ = writeln!(text, "{verb}{:width$}  {}", key.name, key.fingerprint);
        text
    })
}
