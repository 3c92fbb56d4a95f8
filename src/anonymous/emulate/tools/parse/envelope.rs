//! A call as a JSON object: which of its keys is the name, and which the arguments.

use serde_json::Value;
use serde_json::value::RawValue;

use super::super::super::ask::Tool;
use super::super::super::json::{self, Care, Entries, Entry, Lent, Miss, Shut};
use super::super::offer::Offer;
use super::settle::Wrote;

/// How much an object must look like a call to be one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// It stands in a block for calls.
    Marked,
    /// It stands for itself, and might be data: it must have arguments, and no keys but those of calls.
    Bare,
}

/// What was read.
pub(super) struct Envelope<'a> {
    /// In order.
    pub calls: Vec<(&'a Tool, Wrote)>,
    /// What a whole message in JSON says beside its calls.
    pub said: String,
    /// Where it ends.
    pub end: usize,
    /// Whether it could be read to its end.
    pub shut: Shut,
}

const NAMES: [&str; 6] = ["name", "tool_name", "recipient_name", "tool", "function", "action"];
const ARGUMENTS: [&str; 9] = [
    "arguments",
    "parameters",
    "args",
    "input",
    "params",
    "tool_input",
    "action_input",
    "tool_args",
    "kwargs",
];
const LISTS: [&str; 2] = ["tool_calls", "tool_uses"];
/// `tool_calls`, in it an entry, in it a `function`: no call is nested deeper.
const DEEPEST: usize = 4;
const ACCOMPANYING: [&str; 5] = ["id", "call_id", "type", "index", "role"];

/// Reads the object that begins at the beginning of `text`, which ends where the block does.
/// `None` when it is no call of a tool on offer.
pub(super) fn envelope<'a>(text: &str, offer: &Offer<'a>, shape: Shape) -> Option<Envelope<'a>> {
    within(text, offer, shape, DEEPEST)
}

fn within<'a>(text: &str, offer: &Offer<'a>, shape: Shape, depth: usize) -> Option<Envelope<'a>> {
    let depth = depth.checked_sub(1)?;
    let entries = json::entries(text)?;
    let (end, shut) = (entries.end, entries.shut);
    let found = |calls, said| Some(Envelope { calls, said, end, shut });
    if let Some(list) = entries.list.iter().find(|entry| LISTS.contains(&entry.key.as_str())) {
        let said = match shape {
            Shape::Bare => accompanying_text(&entries)?,
            Shape::Marked => String::new(),
        };
        return found(listed(text, list, offer, depth)?, said);
    }
    if let Some(nested) = entries.list.iter().find(|entry| is_nested(entry, &entries)) {
        let inner = nested.value.as_ref().ok()?;
        let mut calls = within(&inner.json, offer, shape, depth)?.calls;
        lower(&mut calls, inner.care, &text[nested.start..inner.end])?;
        return found(calls, String::new());
    }
    found(vec![single(text, &entries, offer, shape)?], String::new())
}

/// `{"type": "function", "function": {…}}`, or the tool with which GPT models make parallel calls.
fn is_nested(entry: &Entry<'_>, entries: &Entries<'_>) -> bool {
    let is_parallel = || {
        entries.list.iter().any(|entry| string(entry).is_some_and(|name| name == "multi_tool_use.parallel"))
    };
    is_object(entry)
        && (entry.key == "function" || (ARGUMENTS.contains(&entry.key.as_str()) && is_parallel()))
}

/// Entries that make one call.
fn single<'a>(
    text: &str,
    entries: &Entries<'_>,
    offer: &Offer<'a>,
    shape: Shape,
) -> Option<(&'a Tool, Wrote)> {
    let name = entries.list.iter().find_map(|entry| {
        let name = NAMES.contains(&entry.key.as_str()).then(|| string(entry))??;
        Some((entry, name))
    });
    let Some((named, name)) = name else { return nameless(text, entries, offer, shape) };
    let tool = offer.resolve(&name)?;
    let given = entries.list.iter().find(|entry| ARGUMENTS.contains(&entry.key.as_str()));
    if shape == Shape::Bare {
        let fits = |entry: &Entry<'_>| {
            let key = entry.key.as_str();
            std::ptr::eq(entry, named) || ARGUMENTS.contains(&key) || ACCOMPANYING.contains(&key)
        };
        if given.is_none() || !entries.list.iter().all(fits) {
            return None;
        }
    }
    let wrote = match given {
        Some(entry) => wrote(text, entry, entries.shut),
        None if entries.shut == Shut::Closed => beside(text, entries, named),
        None => Wrote::Broken(String::new()),
    };
    Some((tool, wrote))
}

/// `{"get_weather": {…}}`, or an object whose broken arguments stand before its name.
fn nameless<'a>(
    text: &str,
    entries: &Entries<'_>,
    offer: &Offer<'a>,
    shape: Shape,
) -> Option<(&'a Tool, Wrote)> {
    match entries.list.as_slice() {
        [only] if shape == Shape::Marked && is_object(only) => {
            Some((offer.resolve(&only.key)?, wrote(text, only, entries.shut)))
        }
        [.., last] if last.value.is_err() && ARGUMENTS.contains(&last.key.as_str()) => {
            let at = text[last.start..].rfind("\"name\"")? + last.start;
            let behind = text[at + "\"name\"".len()..].trim_start().strip_prefix(':')?;
            let name: String = serde_json::from_str(&json::value(behind).ok()?.json).ok()?;
            let source = text[last.start..at].trim_end().trim_end_matches(',');
            Some((offer.resolve(&name)?, Wrote::Broken(source.to_owned())))
        }
        _ => None,
    }
}

fn wrote(text: &str, entry: &Entry<'_>, shut: Shut) -> Wrote {
    // A guess was wrong when what follows makes no sense.
    let holds = |lent: &&Lent<'_>| lent.care < Care::Guessed || shut == Shut::Closed;
    if let Some(lent) = entry.value.as_ref().ok().filter(holds) {
        Wrote::Json {
            json: lent.json.clone().into_owned(),
            source: text[entry.start..lent.end].to_owned(),
            care: lent.care,
        }
    } else {
        let source = text[entry.start..].trim_end();
        // The envelope's own brace is no part of them; where the text was cut, there is none.
        let is_all_there = entry.value.is_ok() || shut == Shut::Broken(Miss::Wrong);
        let source = if is_all_there {
            let unfenced = source.trim_end_matches(|c: char| c == '`' || c.is_whitespace());
            unfenced.strip_suffix('}').unwrap_or(unfenced)
        } else {
            source
        };
        Wrote::Broken(source.trim_end().to_owned())
    }
}

/// Arguments that stand beside the name instead of in an object of their own.
fn beside(text: &str, entries: &Entries<'_>, named: &Entry<'_>) -> Wrote {
    let mut json = String::from("{");
    let mut care = Care::Strict;
    for entry in entries.list.iter().filter(|entry| !std::ptr::eq(*entry, named)) {
        let Ok(lent) = &entry.value else { continue };
        if ACCOMPANYING.contains(&entry.key.as_str()) {
            continue;
        }
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&Value::from(entry.key.as_str()).to_string());
        json.push(':');
        json.push_str(&lent.json);
        care = care.max(lent.care);
    }
    if json.len() == 1 {
        return Wrote::Nothing;
    }
    json.push('}');
    let source = if care == Care::Unclear { text[..entries.end].to_owned() } else { json.clone() };
    Wrote::Json { source, json, care }
}

/// `[{…}, {…}]` under `tool_calls`: all of them are calls, or none is.
fn listed<'a>(
    text: &str,
    list: &Entry<'_>,
    offer: &Offer<'a>,
    depth: usize,
) -> Option<Vec<(&'a Tool, Wrote)>> {
    let lent = list.value.as_ref().ok()?;
    let items: Vec<&RawValue> = serde_json::from_str(&lent.json).ok()?;
    let mut calls = Vec::with_capacity(items.len());
    for item in items {
        calls.extend(within(item.get(), offer, Shape::Marked, depth)?.calls);
    }
    lower(&mut calls, lent.care, &text[list.start..lent.end])?;
    (!calls.is_empty()).then_some(calls)
}

/// The `content` of a whole message; `None` if there is more in it than a message has.
fn accompanying_text(entries: &Entries<'_>) -> Option<String> {
    let mut said = String::new();
    for entry in &entries.list {
        match entry.key.as_str() {
            "content" => said = string(entry).unwrap_or_default(),
            key if LISTS.contains(&key) || ACCOMPANYING.contains(&key) => {}
            _ => return None,
        }
    }
    Some(said)
}

/// What stood in something that was read with care was read no better itself. `None` where nobody could tell what of
/// `source` belongs to which call.
fn lower(calls: &mut [(&Tool, Wrote)], by: Care, source: &str) -> Option<()> {
    if by == Care::Unclear {
        let [(_, only)] = calls else { return None };
        *only = Wrote::Broken(source.to_owned());
    }
    for (_, wrote) in calls {
        if let Wrote::Json { care, .. } = wrote {
            *care = (*care).max(by);
        }
    }
    Some(())
}

fn is_object(entry: &Entry<'_>) -> bool {
    entry.value.as_ref().is_ok_and(|lent| lent.json.starts_with('{'))
}

fn string(entry: &Entry<'_>) -> Option<String> {
    serde_json::from_str(&entry.value.as_ref().ok()?.json).ok()
}
