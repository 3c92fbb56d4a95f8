//! Other programs' settings: pointing a tool at the endpoint, and back.
//!
//! [`tools::TOOLS`] knows each tool: whether it is here, and what it needs. Most have a settings file; what is to be changed in
//! it is a list of [`Edit`](edit::Edit)s. [`prepare`] works out what would be written and writes nothing, so that it can be
//! shown first; [`Prepared::commit`] writes it; [`prepare_undo`] works out the way back.
//!
//! | the file, when it is undone | what becomes of it |
//! | --- | --- |
//! | as we left it, and was there before | the backup, to the byte |
//! | as we left it, and was not there | gone |
//! | changed since | what we added is taken out, the changes stay |
//! | changed since, and now empty that was not there | gone |
//! | gone | stays gone |
//!
//! Setting up what is set up already starts from the file as it would be undone, so that nothing of an earlier time (another
//! port, another model) is left over and the backup stays the user's own file. Where every edit holds, not a byte is written.
//!
//! Invariants: a backup and the ledger's entry are on disk before the first file is touched; a file that was changed between
//! showing and writing is left alone; a file that does not parse is never written. Knows neither plane and no network:
//! the address, the key and the models are given ([`Facts`]).
//!
//! Deliberately absent: the tools themselves. None is run, and none is asked.

pub mod edit;
mod error;
mod files;
mod ledger;
mod machine;
mod models;
mod redact;
mod shell;
mod steps;
pub mod tools;

use std::path::{Path, PathBuf};

use similar::TextDiff;

use crate::secret::Secret;
use crate::wire::ModelName;

use edit::{apply, digest, is_empty, take_out};
pub use error::SetupError;
use files::Access;
pub use ledger::Ledger;
use ledger::{FileRecord, Record};
pub use machine::{Machine, System};
pub use models::{Choice, Model, Size, choose};
pub use redact::masked;
pub use shell::Shell;
pub use steps::Step;
pub use tools::{Plan, Tool, Way};

/// What is known of the endpoint.
pub struct Facts {
    /// With `/v1`.
    pub base_url: String,
    /// The local endpoint's key.
    pub key: Secret<String>,
    /// The file that holds it.
    pub key_file: PathBuf,
    /// The home, where `llmtor` would not find it by itself.
    pub home: Option<PathBuf>,
    /// The models that can be asked for.
    pub models: Vec<ModelName>,
    /// Which of them.
    pub choice: Choice,
    /// How much fits into one call, in tokens, where known.
    pub context: Option<u32>,
}

impl Facts {
    /// The address without `/v1`.
    pub fn origin(&self) -> &str {
        self.base_url.trim_end_matches('/').trim_end_matches("/v1")
    }
}

/// What would become of one file.
pub struct Change {
    /// Where it is, links followed.
    pub path: PathBuf,
    /// As it is; `None` if it is not there.
    pub before: Option<String>,
    /// As it will be; `None` if it will be gone.
    pub after: Option<String>,
    /// Where it will be kept as it was, or was kept.
    pub backup: Option<PathBuf>,
    /// The text of the backup, if it is to be written.
    original: Option<String>,
    /// Other backups, and directories, that go when it is undone.
    old_backups: Vec<PathBuf>,
    made: Vec<PathBuf>,
    access: Access,
    /// Others of this machine could read it before.
    was_open: bool,
    /// Which way it goes.
    pub direction: Direction,
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A tool's settings are put into it.
    Setting,
    /// It becomes what it was, to the byte.
    Restoring,
    /// What was added goes; what was changed since stays.
    TakingOut,
}

impl Change {
    /// Whether anything changes.
    pub fn is_needed(&self) -> bool {
        self.before != self.after
    }

    /// The difference, with keys unreadable: the endpoint's, if there is one, and the user's own.
    pub fn diff(&self, key: Option<&Secret<String>>, name: &str) -> String {
        let hide = |text: &Option<String>| {
            let text = text.as_deref().unwrap_or_default();
            key.map_or_else(|| text.to_owned(), |key| masked(text, key))
        };
        let (before, after) = (hide(&self.before), hide(&self.after));
        let mut theirs = redact::keys_in(&before);
        if self.direction != Direction::Setting {
            // What was theirs comes back; what is written anew is ours, and nothing of it is a key of theirs.
            theirs.extend(redact::keys_in(&after));
        }
        let [before, after] = [&before, &after].map(|text| redact::without(text, &theirs));
        let old = if self.before.is_some() { name } else { "/dev/null" };
        let new = if self.after.is_some() { name } else { "/dev/null" };
        TextDiff::from_lines(&before, &after).unified_diff().context_radius(2).header(old, new).to_string()
    }

    /// Whether other accounts of this machine could read it before, and no longer can because of the key.
    pub fn is_closed(&self) -> bool {
        self.was_open && !self.is_open_to_others()
    }

    /// Whether other accounts of this machine can read it now.
    pub fn is_open_to_others(&self) -> bool {
        self.after.is_some() && files::is_open_to_others(&self.path)
    }
}

/// What would be done.
pub struct Prepared {
    /// The tool.
    pub tool: &'static Tool,
    /// Its files.
    pub changes: Vec<Change>,
    /// What is left to be done by hand, before or after.
    pub steps: Vec<Step>,
    /// What the ledger says afterwards; `None` for nothing.
    record: Option<Record>,
}

impl Prepared {
    /// Whether anything changes.
    pub fn is_needed(&self) -> bool {
        self.changes.iter().any(Change::is_needed)
    }

    /// Whether a change puts the key into its file.
    pub fn has_key(&self, change: &Change) -> bool {
        change.access == Access::Owner
    }

    /// Writes it.
    pub fn commit(&self, ledger: &Ledger) -> Result<(), SetupError> {
        for change in self.changes.iter().filter(|change| change.is_needed()) {
            if files::read(&change.path)? != change.before {
                return Err(SetupError::Changed { path: change.path.clone() });
            }
        }
        for change in &self.changes {
            if let (Some(backup), Some(original)) = (&change.backup, &change.original) {
                let like = (!backup.exists()).then_some(change.path.as_path());
                files::write(backup, original, like, Access::Usual)?;
            }
        }
        if let Some(record) = &self.record {
            ledger.write(self.tool.id, record)?;
        }
        for change in self.changes.iter().filter(|change| change.is_needed()) {
            match &change.after {
                Some(text) => files::write(&change.path, text, None, change.access)?,
                None => files::remove(&change.path)?,
            }
        }
        Ok(())
    }

    /// Writes it, for one that undoes: the backups and the ledger's entry go last.
    pub fn commit_undo(&self, ledger: &Ledger) -> Result<(), SetupError> {
        for change in &self.changes {
            if files::read(&change.path)? != change.before {
                return Err(SetupError::Changed { path: change.path.clone() });
            }
            match &change.after {
                Some(text) if change.is_needed() => {
                    let like =
                        change.backup.as_deref().filter(|backup| files::was_closed(&change.path, backup));
                    files::write(&change.path, text, like, change.access)?;
                }
                Some(_) => {}
                None => {
                    files::remove(&change.path)?;
                    // A tool's directory would be taken for the tool.
                    change.made.iter().for_each(|made| files::remove_empty_directory(made));
                }
            }
        }
        match &self.record {
            Some(record) => ledger.write(self.tool.id, record)?,
            None => ledger.remove(self.tool.id)?,
        }
        self.changes
            .iter()
            .flat_map(|change| change.backup.iter().chain(&change.old_backups))
            .try_for_each(|backup| files::remove(backup))
    }
}

/// Whether a tool was set up from here, and still is.
pub fn is_set_up(tool: &Tool, ledger: &Ledger) -> bool {
    let Ok(Some(record)) = ledger.read(tool.id) else { return false };
    record.files.iter().all(|file| match files::read(&file.path) {
        Ok(Some(text)) => {
            digest(&text) == file.written
                || take_out(file.format, &text, &file.traces).is_ok_and(|without| without != text)
        }
        _ => false,
    })
}

/// What was chosen for a tool earlier.
pub fn earlier_choice(tool: &Tool, ledger: &Ledger) -> Option<Choice> {
    let record = ledger.read(tool.id).ok()??;
    Some(Choice { main: record.main, small: record.small })
}

/// What would be written for `tool`.
pub fn prepare(
    tool: &'static Tool,
    machine: &Machine,
    facts: &Facts,
    file: Option<&Path>,
    ledger: &Ledger,
) -> Result<Prepared, SetupError> {
    if let (None, Some(what)) = (file, tool.needs_file) {
        return Err(SetupError::NeedsFile { tool: tool.name, what });
    }
    let plan = plan(tool, machine, facts, file)?;
    let earlier = ledger.read(tool.id)?;
    let mut known = earlier.map(|record| record.files).unwrap_or_default();
    let mut changes = Vec::new();
    for planned in plan.files {
        let path = files::resolve(&planned.path);
        let before = files::read(&path)?;
        let at = known.iter().position(|file| file.path == path);
        let earlier = at.map(|at| known[at].clone());
        let unfit = |fault| SetupError::Unfit { path: path.clone(), fault };
        let access = if planned.has_key { Access::Owner } else { Access::Usual };
        let was_open = planned.has_key && files::is_open_to_others(&path);
        let direction = Direction::Setting;
        // A mistyped place, or a link to nowhere: the tool would never look there.
        let directory = path.parent().unwrap_or(&path);
        if (tool.needs_file.is_some() || planned.path.is_symlink()) && !directory.is_dir() {
            return Err(SetupError::NoDirectory { tool: tool.name, path: directory.to_owned() });
        }

        let text = before.clone().unwrap_or_default();
        let (again, _) = apply(planned.format, &text, &planned.edits).map_err(unfit)?;
        if before.as_deref() == Some(again.as_str()) {
            let backup = earlier.and_then(|file| file.backup);
            let after = before.clone();
            changes.push(Change {
                path,
                before,
                after,
                backup,
                original: None,
                old_backups: Vec::new(),
                made: Vec::new(),
                access,
                was_open,
                direction,
            });
            continue;
        }
        let base = match (&earlier, before.clone()) {
            (Some(file), Some(text)) => undone(file, &text)?.0,
            (_, text) => text,
        };
        let (after, traces) =
            apply(planned.format, base.as_deref().unwrap_or_default(), &planned.edits).map_err(unfit)?;
        let made = files::missing_directories(&path);
        let (kept, mut old_backups, made) = match earlier {
            Some(file) => (file.backup, file.old_backups, [made, file.made].concat()),
            None => (None, Vec::new(), made),
        };
        if base.is_none() {
            // It may be the last copy of what the user had, so it does not go now.
            old_backups.extend(kept.clone());
        }
        let backup = base.is_some().then(|| kept.unwrap_or_else(|| files::backup_name(&path)));
        let written = digest(&after);
        let record = FileRecord {
            path: path.clone(),
            format: planned.format,
            written,
            backup: backup.clone(),
            old_backups,
            made,
            traces,
        };
        match at {
            Some(at) => known[at] = record,
            None => known.push(record),
        }
        changes.push(Change {
            path,
            before,
            after: Some(after),
            backup,
            original: base,
            old_backups: Vec::new(),
            made: Vec::new(),
            access,
            was_open,
            direction,
        });
    }
    let Choice { main, small } = facts.choice.clone();
    let record = (!known.is_empty()).then_some(Record { main, small, files: known });
    Ok(Prepared { tool, changes, steps: plan.steps, record })
}

/// What would be written to undo it; only for `file`, if one is named.
pub fn prepare_undo(
    tool: &'static Tool,
    machine: &Machine,
    file: Option<&Path>,
    ledger: &Ledger,
) -> Result<Prepared, SetupError> {
    let Some(mut record) = ledger.read(tool.id)? else {
        return Err(SetupError::NotSetUp { tool: tool.name });
    };
    let named = file.map(|file| files::resolve(&(tool.place)(machine, Some(file))));
    let is_meant = |file: &FileRecord| named.as_ref().is_none_or(|named| *named == file.path);
    let (meant, rest) = record.files.into_iter().partition::<Vec<_>, _>(is_meant);
    if meant.is_empty() {
        return Err(SetupError::NotSetUp { tool: tool.name });
    }
    let mut changes = Vec::new();
    for file in meant {
        let before = files::read(&file.path)?;
        let (after, direction) = match &before {
            Some(text) => undone(&file, text).map_err(|error| match error {
                SetupError::Unfit { path, fault } => {
                    SetupError::UnfitToUndo { path, fault, backup: file.backup.clone() }
                }
                other => other,
            })?,
            None => (None, Direction::Restoring),
        };
        let FileRecord { path, backup, old_backups, made, .. } = file;
        changes.push(Change {
            path,
            before,
            after,
            backup,
            original: None,
            old_backups,
            made,
            access: Access::Usual,
            was_open: false,
            direction,
        });
    }
    record.files = rest;
    let record = (!record.files.is_empty()).then_some(record);
    Ok(Prepared { tool, changes, steps: Vec::new(), record })
}

/// What belongs into a file.
pub struct ToPaste {
    /// Which.
    pub path: PathBuf,
    /// The lines, with the key.
    pub text: String,
}

/// What belongs into the files of `tool`, each as it would be if nothing else were in it; and the steps.
pub fn to_paste(
    tool: &'static Tool,
    machine: &Machine,
    facts: &Facts,
    file: Option<&Path>,
) -> Result<(Vec<ToPaste>, Vec<Step>), SetupError> {
    let plan = plan(tool, machine, facts, file)?;
    let mut texts = Vec::new();
    for planned in plan.files {
        let (text, _) = apply(planned.format, "", &planned.edits)
            .map_err(|fault| SetupError::Unfit { path: planned.path.clone(), fault })?;
        texts.push(ToPaste { path: planned.path, text });
    }
    Ok((texts, plan.steps))
}

fn plan(tool: &Tool, machine: &Machine, facts: &Facts, file: Option<&Path>) -> Result<Plan, SetupError> {
    if file.is_some() && tool.needs_file.is_none() {
        return Err(SetupError::NoFile { tool: tool.name });
    }
    // The file of the key is in the home, so that its path is an unfit one, too.
    if facts.key_file.to_str().is_none_or(|path| path.contains(char::is_control)) {
        return Err(SetupError::UnfitHome {
            path: facts.key_file.parent().unwrap_or(Path::new("")).to_owned(),
        });
    }
    Ok((tool.plan)(machine, facts, &(tool.place)(machine, file)))
}

/// `text` as it was before us; `None` if the file was not there.
fn undone(file: &FileRecord, text: &str) -> Result<(Option<String>, Direction), SetupError> {
    if digest(text) == file.written {
        match &file.backup {
            None => return Ok((None, Direction::Restoring)),
            Some(backup) => {
                if let Some(original) = files::read(backup)? {
                    return Ok((Some(original), Direction::Restoring));
                }
            }
        }
    }
    let without = take_out(file.format, text, &file.traces)
        .map_err(|fault| SetupError::Unfit { path: file.path.clone(), fault })?;
    let is_gone = file.backup.is_none() && is_empty(file.format, &without);
    Ok(((!is_gone).then_some(without), Direction::TakingOut))
}

#[cfg(test)]
mod tests;
