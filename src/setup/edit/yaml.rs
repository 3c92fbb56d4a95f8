//! YAML, changed where it stands.

use std::fmt::Write as _;
use std::str::FromStr as _;

use serde_json::{Map, Value};
use yaml_edit::{Document, Mapping, Sequence, YamlError, YamlNode};

use super::{Fault, Tree};

/// What stands before the settings, if there are none, and the settings.
pub(super) struct Yaml {
    lead: String,
    document: Option<Document>,
}

impl Yaml {
    fn node(&self, at: &[String]) -> Option<YamlNode> {
        let document = self.document.as_ref()?;
        let (first, rest) = at.split_first()?;
        let first = document.as_mapping()?.get(first.as_str())?;
        rest.iter().try_fold(first, |node, key| node.as_mapping()?.get(key.as_str()))
    }

    fn mapping(&self, at: &[String]) -> Result<Mapping, Fault> {
        let mapping = match at {
            [] => self.document.as_ref().and_then(Document::as_mapping),
            at => self.node(at).and_then(|node| node.as_mapping().cloned()),
        };
        mapping.ok_or_else(|| Fault::new(format!("`{}` is no table of settings", at.join("."))))
    }

    fn sequence(&self, at: &[String]) -> Result<Sequence, Fault> {
        let sequence = match at {
            [] => self.document.as_ref().and_then(Document::as_sequence),
            at => self.node(at).and_then(|node| node.as_sequence().cloned()),
        };
        sequence.ok_or_else(|| Fault::new(format!("`{}` is no list", at.join("."))))
    }

    /// The last setting goes: an empty mapping would be written as `{}`, and the comments would go with it.
    fn keep_comments(&mut self) {
        let text = self.text();
        let is_kept = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with('#');
        self.lead = text.split_inclusive('\n').filter(is_kept).collect();
        self.document = None;
    }

    /// The first settings of a file that has none.
    fn begin(&mut self, value: &Value) -> Result<(), Fault> {
        self.document = Some(document(value)?);
        Ok(())
    }
}

impl Tree for Yaml {
    fn parse(text: &str) -> Result<Self, Fault> {
        let is_said = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        if !text.lines().any(|line| is_said(line) && line.trim_end() != "---") {
            return Ok(Self { lead: ended(text), document: None });
        }
        let document = Document::from_str(&ended(text)).map_err(|error| match error {
            YamlError::Parse { line, .. } => Fault { line, what: "this is no valid YAML".to_owned() },
            _ => Fault::new("this is no YAML of one document"),
        })?;
        Ok(Self { lead: String::new(), document: Some(document) })
    }

    fn get(&self, at: &[String]) -> Option<Value> {
        if !at.is_empty() {
            return self.node(at).map(|node| value_of(&node));
        }
        let document = self.document.as_ref()?;
        let mapping = document.as_mapping().map(|mapping| members(&mapping));
        mapping.or_else(|| document.as_sequence().map(|sequence| items(&sequence)))
    }

    fn put(&mut self, at: &[String], value: &Value) -> Result<(), Fault> {
        let Some((last, parents)) = at.split_last() else { return Err(Fault::new("it has no name")) };
        if self.document.is_none() && parents.is_empty() {
            return self.begin(&Value::Object([(last.clone(), value.clone())].into_iter().collect()));
        }
        let mapping = self.mapping(parents)?;
        let key = last.as_str();
        match value {
            Value::Object(_) => mapping.set(key, mapping_of(value)?),
            Value::Array(_) => mapping.set(key, sequence_of(value)?),
            Value::String(text) => mapping.set(key, text.as_str()),
            Value::Bool(value) => mapping.set(key, *value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => mapping.set(key, whole),
                (None, Some(fraction)) => mapping.set(key, fraction),
                (None, None) => return Err(Fault::new("a number is too large")),
            },
            Value::Null => return Err(Fault::new("an empty value cannot be written")),
        }
        Ok(())
    }

    fn cut(&mut self, at: &[String]) -> Result<(), Fault> {
        let Some((last, parents)) = at.split_last() else { return Err(Fault::new("it has no name")) };
        let mapping = self.mapping(parents)?;
        if mapping.len() == 1 && parents.is_empty() && mapping.contains_key(last.as_str()) {
            self.keep_comments();
        } else {
            mapping.remove(last.as_str());
        }
        Ok(())
    }

    fn push(&mut self, at: &[String], value: &Value) -> Result<(), Fault> {
        if self.document.is_none() && at.is_empty() {
            return self.begin(&Value::Array(vec![value.clone()]));
        }
        let sequence = self.sequence(at)?;
        match value {
            Value::Object(_) => sequence.push(mapping_of(value)?),
            Value::String(text) => sequence.push(text.as_str()),
            _ => return Err(Fault::new("only tables are added to lists")),
        }
        Ok(())
    }

    fn cut_item(&mut self, at: &[String], index: usize) -> Result<(), Fault> {
        let sequence = self.sequence(at)?;
        if sequence.len() == 1 && index == 0 && at.is_empty() {
            self.keep_comments();
        } else {
            sequence.remove(index);
        }
        Ok(())
    }

    fn text(&self) -> String {
        let document = self.document.as_ref().map(|document| ended(&document.to_string()));
        format!("{}{}", self.lead, document.unwrap_or_default())
    }
}

/// With an end to its last line: what is appended begins a new one.
fn ended(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

fn value_of(node: &YamlNode) -> Value {
    match node {
        YamlNode::Mapping(mapping) => members(mapping),
        YamlNode::Sequence(sequence) => items(sequence),
        YamlNode::Scalar(scalar) => {
            let written = scalar.to_string();
            let is_plain = !written.trim_start().starts_with(['"', '\'', '|', '>']);
            let text = scalar.as_string();
            match text.trim() {
                "" | "~" | "null" | "Null" | "NULL" if is_plain => Value::Null,
                "true" | "True" | "TRUE" if is_plain => Value::Bool(true),
                "false" | "False" | "FALSE" if is_plain => Value::Bool(false),
                plain if is_plain => match (plain.parse::<i64>(), plain.parse::<f64>()) {
                    (Ok(whole), _) => whole.into(),
                    (_, Ok(fraction)) if fraction.is_finite() && !plain.starts_with(['+', '.']) => {
                        fraction.into()
                    }
                    _ => text.into(),
                },
                _ => text.into(),
            }
        }
        YamlNode::Alias(alias) => alias.to_string().into(),
        YamlNode::TaggedNode(tagged) => tagged.to_string().into(),
    }
}

fn members(mapping: &Mapping) -> Value {
    let mut members = Map::new();
    for (key, value) in mapping.iter() {
        let name = match value_of(&key) {
            Value::String(name) => name,
            other => other.to_string(),
        };
        members.insert(name, value_of(&value));
    }
    Value::Object(members)
}

fn items(sequence: &Sequence) -> Value {
    sequence.values().map(|node| value_of(&node)).collect()
}

fn document(value: &Value) -> Result<Document, Fault> {
    let mut text = String::new();
    write(value, 0, &mut text);
    Document::from_str(&text).map_err(|_| Fault::new("a value cannot be written as YAML"))
}

fn mapping_of(value: &Value) -> Result<Mapping, Fault> {
    document(value)?.as_mapping().ok_or_else(|| Fault::new("a table cannot be written as YAML"))
}

fn sequence_of(value: &Value) -> Result<Sequence, Fault> {
    document(value)?.as_sequence().ok_or_else(|| Fault::new("a list cannot be written as YAML"))
}

/// In block style; lists of plain values in brackets. A JSON string is a YAML string, too.
pub(super) fn write(value: &Value, depth: usize, into: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                let name = scalar(&Value::String(name.clone()));
                // Writing to a String cannot fail.
                let _ = if is_nested(value) {
                    writeln!(into, "{indent}{name}:")
                } else {
                    writeln!(into, "{indent}{name}: {}", scalar(value))
                };
                if is_nested(value) {
                    write(value, depth + 1, into);
                }
            }
        }
        Value::Array(elements) if is_nested(value) => {
            for element in elements {
                let mut lines = String::new();
                write(element, depth + 1, &mut lines);
                // The first line of an element stands behind its dash.
                let _ = write!(into, "{indent}- {}", lines.trim_start());
            }
        }
        value => {
            let _ = writeln!(into, "{indent}{}", scalar(value));
        }
    }
}

fn is_nested(value: &Value) -> bool {
    match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(elements) => elements.iter().any(|element| element.is_object() || element.is_array()),
        _ => false,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(scalar).collect::<Vec<_>>().join(", "))
        }
        value => value.to_string(),
    }
}

/// Whether it needs no quotes in any context.
fn is_plain(text: &str) -> bool {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(is_safe)
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str())
}
