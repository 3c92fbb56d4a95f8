//! Changes to a settings file that can be taken out again.
//!
//! A change is an [`Edit`] at a place in the file's structure, not a patch of its text: comments, order and everything of
//! the user's stay. Making it leaves [`Trace`]s, by which it is taken out later, also when the file was changed in between.
//!
//! | edit | taken out |
//! | --- | --- |
//! | [`Edit::Own`], an entry under our name | whole, whatever became of it; what stood there before comes back |
//! | [`Edit::Shared`], a setting that a user may have too | if it is still what we wrote: back to what it was, or gone |
//! | [`Edit::Absent`], a setting that has to be there, whatever it says | the same |
//! | [`Edit::Item`], an element of a list, known by one of its fields | that element; an earlier one of that name comes back |
//! | [`Edit::Block`], lines between two marker lines | from marker to marker |
//! | [`Edit::Whole`], a file of one line | if it is still what we wrote: back to what it was, or empty |
//! | a table that had to be made to hold one of these | if nothing is left in it |
//!
//! Invariants: an edit that already holds changes no byte; every result is parsed again and compared with the same
//! edits made on a plain value, and where the two differ nothing is written ([`Fault`]). A fault quotes nothing of the file,
//! which may hold keys.

mod json;
mod model;
mod text;
mod toml;
mod yaml;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use model::Model;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// TOML.
    Toml,
    /// JSON, with comments and trailing commas if the user has them.
    Json,
    /// YAML.
    Yaml,
    /// Anything else, by lines.
    Text,
}

/// A change to a file. Paths are keys from the root down.
#[derive(Clone, PartialEq)]
pub enum Edit {
    /// An entry that is ours alone.
    Own {
        /// Where.
        at: Vec<String>,
        /// What.
        value: Value,
    },
    /// A setting that the user may have had.
    Shared {
        /// Where.
        at: Vec<String>,
        /// What.
        value: Value,
    },
    /// A setting that a new file needs, and that stays as the user has it.
    Absent {
        /// Where.
        at: Vec<String>,
        /// What.
        value: Value,
    },
    /// An element of the list at a place.
    Item {
        /// Where the list is; empty for the root.
        at: Vec<String>,
        /// The field by which the element is known.
        field: String,
        /// The element.
        value: Value,
    },
    /// Lines between marker lines.
    Block {
        /// How a comment begins in this language.
        comment: String,
        /// The lines.
        body: String,
    },
    /// All of the file.
    Whole(String),
}

impl Edit {
    /// [`Edit::Own`] at a path written with dots.
    pub fn own(at: &str, value: impl Into<Value>) -> Self {
        Self::Own { at: path(at), value: value.into() }
    }

    /// [`Edit::Shared`] at a path written with dots.
    pub fn shared(at: &str, value: impl Into<Value>) -> Self {
        Self::Shared { at: path(at), value: value.into() }
    }

    /// [`Edit::Absent`] at a path written with dots.
    pub fn absent(at: &str, value: impl Into<Value>) -> Self {
        Self::Absent { at: path(at), value: value.into() }
    }

    /// [`Edit::Item`] of the list at a path written with dots.
    pub fn item(at: &str, field: &str, value: impl Into<Value>) -> Self {
        Self::Item { at: path(at), field: field.to_owned(), value: value.into() }
    }
}

/// What an edit left to be taken out. May hold what the user had there, a key for instance: kept where only they can read.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Trace {
    /// Of [`Edit::Own`].
    Own {
        /// Where.
        at: Vec<String>,
        /// What stood there.
        before: Option<Value>,
    },
    /// Of [`Edit::Shared`].
    Shared {
        /// Where.
        at: Vec<String>,
        /// Digest of what we wrote.
        ours: String,
        /// What stood there.
        before: Option<Value>,
    },
    /// Of [`Edit::Item`].
    Item {
        /// Where the list is.
        at: Vec<String>,
        /// The field by which the element is known.
        field: String,
        /// Its value.
        name: Value,
        /// What stood there under that name.
        before: Option<Value>,
    },
    /// A table or list that was not there.
    Made {
        /// Where.
        at: Vec<String>,
    },
    /// Of [`Edit::Block`].
    Block {
        /// How a comment begins.
        comment: String,
    },
    /// Of [`Edit::Whole`].
    Whole {
        /// Digest of what we wrote.
        ours: String,
        /// What stood there.
        before: String,
    },
}

/// Why a file cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// What is the matter; quotes nothing of the file.
    pub what: String,
}

impl Fault {
    fn new(what: impl Into<String>) -> Self {
        Self { line: None, what: what.into() }
    }

    fn at(line: usize, what: impl Into<String>) -> Self {
        Self { line: Some(line), what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// `text` with `edits` made, and what they left.
pub fn apply(format: Format, text: &str, edits: &[Edit]) -> Result<(String, Vec<Trace>), Fault> {
    with_plain_lines(text, |text| match format {
        Format::Toml => change::<toml::Toml>(text, |tree| make(tree, edits), |model| make(model, edits)),
        Format::Json => change::<json::Json>(text, |tree| make(tree, edits), |model| make(model, edits)),
        Format::Yaml => change::<yaml::Yaml>(text, |tree| make(tree, edits), |model| make(model, edits)),
        Format::Text => text::apply(text, edits),
    })
}

/// `text` without what `traces` tell of.
pub fn take_out(format: Format, text: &str, traces: &[Trace]) -> Result<String, Fault> {
    let done = with_plain_lines(text, |text| match format {
        Format::Toml => {
            change::<toml::Toml>(text, |tree| unmake(tree, traces), |model| unmake(model, traces))
        }
        Format::Json => {
            change::<json::Json>(text, |tree| unmake(tree, traces), |model| unmake(model, traces))
        }
        Format::Yaml => {
            change::<yaml::Yaml>(text, |tree| unmake(tree, traces), |model| unmake(model, traces))
        }
        Format::Text => text::take_out(text, traces).map(|text| (text, Vec::new())),
    });
    done.map(|(text, _)| text)
}

/// Whether nothing is in a file: no setting, no line but blank ones.
pub fn is_empty(format: Format, text: &str) -> bool {
    text.trim().is_empty() || (format == Format::Json && text.split_whitespace().collect::<String>() == "{}")
}

/// Hex SHA-256.
pub fn digest(text: &str) -> String {
    use fmt::Write as _;
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A file's structure: a lossless tree of one of the formats, or a plain value.
trait Tree: Sized {
    /// Reads it.
    fn parse(text: &str) -> Result<Self, Fault>;
    /// What stands at a place; all of it at the root.
    fn get(&self, at: &[String]) -> Option<Value>;
    /// Writes a member of the table that is its parent, new or in another's place.
    fn put(&mut self, at: &[String], value: &Value) -> Result<(), Fault>;
    /// Takes a member out.
    fn cut(&mut self, at: &[String]) -> Result<(), Fault>;
    /// Adds to the list at a place.
    fn push(&mut self, at: &[String], value: &Value) -> Result<(), Fault>;
    /// Takes an element out of the list at a place.
    fn cut_item(&mut self, at: &[String], index: usize) -> Result<(), Fault>;
    /// The text.
    fn text(&self) -> String;
}

fn path(dotted: &str) -> Vec<String> {
    dotted.split('.').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Works on `text` with the ends of its lines as Unix has them, and puts them, and a mark before the first, back as they were.
fn with_plain_lines(
    text: &str,
    work: impl FnOnce(&str) -> Result<(String, Vec<Trace>), Fault>,
) -> Result<(String, Vec<Trace>), Fault> {
    const MARK: char = '\u{feff}';
    let bare = text.strip_prefix(MARK).unwrap_or(text);
    let is_windows = bare.contains("\r\n") && !bare.replace("\r\n", "").contains('\n');
    let plain = if is_windows { bare.replace("\r\n", "\n") } else { bare.to_owned() };
    let (mut after, traces) = work(&plain)?;
    if is_windows {
        after = after.replace('\n', "\r\n");
    }
    if bare.len() < text.len() {
        after.insert(0, MARK);
    }
    Ok((after, traces))
}

/// Changes a tree and a plain value alike, and gives the tree's text if both came to the same.
fn change<T: Tree>(
    text: &str,
    on_tree: impl FnOnce(&mut T) -> Result<Changed, Fault>,
    on_model: impl FnOnce(&mut Model) -> Result<Changed, Fault>,
) -> Result<(String, Vec<Trace>), Fault> {
    let mut tree = T::parse(text)?;
    let mut model = Model(tree.get(&[]).unwrap_or(Value::Null));
    let changed = on_tree(&mut tree)?;
    if !changed.any {
        return Ok((text.to_owned(), changed.traces));
    }
    on_model(&mut model)?;
    let after = tree.text();
    let read = T::parse(&after).ok().and_then(|tree| tree.get(&[])).unwrap_or(Value::Null);
    if same(&read, &model.0) {
        Ok((after, changed.traces))
    } else {
        Err(Fault::new("it is written in a way that cannot be changed without touching the rest of it"))
    }
}

/// Nothing is as good as an empty table.
fn same(a: &Value, b: &Value) -> bool {
    a == b || (is_hollow(a) && is_hollow(b))
}

fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

struct Changed {
    any: bool,
    traces: Vec<Trace>,
}

/// Makes `edits`.
fn make(tree: &mut impl Tree, edits: &[Edit]) -> Result<Changed, Fault> {
    let mut changed = Changed { any: false, traces: Vec::new() };
    for edit in edits {
        match edit {
            Edit::Own { at, value } => {
                let before = set(tree, at, value, &mut changed)?;
                changed.traces.push(Trace::Own { at: at.clone(), before });
            }
            Edit::Shared { at, value } => {
                let before = set(tree, at, value, &mut changed)?;
                let ours = digest(&value.to_string());
                changed.traces.push(Trace::Shared { at: at.clone(), ours, before });
            }
            Edit::Absent { at, .. } if tree.get(at).is_some() => {}
            Edit::Absent { at, value } => {
                set(tree, at, value, &mut changed)?;
                let ours = digest(&value.to_string());
                changed.traces.push(Trace::Shared { at: at.clone(), ours, before: None });
            }
            Edit::Item { at, field, value } => {
                let name = value.get(field).cloned().unwrap_or(Value::Null);
                let before = add(tree, at, field, value, &mut changed)?;
                changed.traces.push(Trace::Item { at: at.clone(), field: field.clone(), name, before });
            }
            Edit::Block { .. } | Edit::Whole(_) => {
                return Err(Fault::new("lines cannot be added to a file that has a structure"));
            }
        }
    }
    Ok(changed)
}

/// Writes one value; what stood there.
fn set(
    tree: &mut impl Tree,
    at: &[String],
    value: &Value,
    changed: &mut Changed,
) -> Result<Option<Value>, Fault> {
    let before = tree.get(at);
    if before.as_ref() == Some(value) {
        return Ok(before);
    }
    changed.any = true;
    for depth in 1..at.len() {
        match tree.get(&at[..depth]) {
            Some(Value::Object(_)) => {}
            None | Some(Value::Null) => {
                let nested = at[depth..].iter().rev().fold(value.clone(), |inner, key| {
                    Value::Object([(key.clone(), inner)].into_iter().collect())
                });
                tree.put(&at[..depth], &nested)?;
                let made = (depth..at.len()).map(|depth| Trace::Made { at: at[..depth].to_vec() });
                changed.traces.extend(made);
                return Ok(None);
            }
            Some(_) => {
                return Err(Fault::new(format!("`{}` is no table of settings", at[..depth].join("."))));
            }
        }
    }
    tree.put(at, value)?;
    Ok(before)
}

/// Adds an element to a list; the one of its name that was there.
fn add(
    tree: &mut impl Tree,
    at: &[String],
    field: &str,
    value: &Value,
    changed: &mut Changed,
) -> Result<Option<Value>, Fault> {
    let items = match tree.get(at) {
        Some(Value::Array(items)) => items,
        Some(Value::Null) | None if at.is_empty() => Vec::new(),
        Some(Value::Null) | None => {
            set(tree, at, &Value::Array(vec![value.clone()]), changed)?;
            changed.traces.push(Trace::Made { at: at.to_vec() });
            return Ok(None);
        }
        Some(_) => return Err(Fault::new(format!("`{}` is no list", at.join(".")))),
    };
    let same_name = items.iter().position(|item| item.get(field) == value.get(field));
    let before = same_name.map(|index| items[index].clone());
    if before.as_ref() == Some(value) {
        return Ok(before);
    }
    changed.any = true;
    if let Some(index) = same_name {
        tree.cut_item(at, index)?;
    }
    tree.push(at, value)?;
    Ok(before)
}

/// Takes out what `traces` tell of, the last first.
fn unmake(tree: &mut impl Tree, traces: &[Trace]) -> Result<Changed, Fault> {
    let mut any = false;
    for trace in traces.iter().rev() {
        match trace {
            Trace::Own { at, before } => {
                let Some(now) = tree.get(at) else { continue };
                any |= put_back(tree, at, &now, before.as_ref())?;
            }
            Trace::Shared { at, ours, before } => {
                let Some(now) = tree.get(at) else { continue };
                if digest(&now.to_string()) == *ours {
                    any |= put_back(tree, at, &now, before.as_ref())?;
                }
            }
            Trace::Item { at, field, name, before } => {
                let Some(Value::Array(items)) = tree.get(at) else { continue };
                let Some(index) = items.iter().position(|item| item.get(field) == Some(name)) else {
                    continue;
                };
                if before.as_ref() == Some(&items[index]) {
                    continue;
                }
                any = true;
                tree.cut_item(at, index)?;
                if let Some(before) = before {
                    tree.push(at, before)?;
                }
            }
            Trace::Made { at } => {
                if tree.get(at).is_some_and(|now| is_hollow(&now)) {
                    any = true;
                    tree.cut(at)?;
                }
            }
            Trace::Block { .. } | Trace::Whole { .. } => {
                return Err(Fault::new("it was lines when they were written, and is none now"));
            }
        }
    }
    Ok(Changed { any, traces: Vec::new() })
}

/// Whether that changed anything.
fn put_back(tree: &mut impl Tree, at: &[String], now: &Value, before: Option<&Value>) -> Result<bool, Fault> {
    match before {
        Some(before) if before == now => return Ok(false),
        Some(before) => tree.put(at, before)?,
        None => tree.cut(at)?,
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
