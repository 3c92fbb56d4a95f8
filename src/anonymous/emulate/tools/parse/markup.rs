//! Arguments that stand raw between tags: `<parameter name="x">`, alone or behind the JSON of a call, and the forms of
//! Qwen (`<function=f>`) and Claude (`<invoke name="f">`).

use serde_json::Value;

use super::super::super::ask::{Input, Tool};
use super::super::super::json::Care;
use super::super::offer::Offer;
use super::settle::{Wrote, unwrapped};
use super::tag::{self, Kind, Side, Tag};
use super::{Ending, Fuel, block};

/// A raw argument.
pub(super) struct Raw<'t> {
    name: &'t str,
    text: &'t str,
    /// With its tags, to the letter.
    source: &'t str,
    /// Whether its end was seen.
    whole: bool,
}

/// Reads the raw arguments at `at`, and leaves it behind them.
pub(super) fn parameters<'t>(text: &'t str, at: &mut usize, ending: Ending, fuel: &mut Fuel) -> Vec<Raw<'t>> {
    let mut raws = Vec::new();
    loop {
        let here = skip_space(text, *at);
        let Some(open) =
            tag::at(text, here).filter(|tag| tag.kind == Kind::Parameter && tag.side == Side::Open)
        else {
            return raws;
        };
        let Some(name) = open.label else { return raws };
        let (end, behind, whole) = closing(text, open.end, ending, fuel);
        let inner = &text[open.end..end];
        let inner = if whole { inner } else { without_half_a_tag(inner) };
        raws.push(Raw { name, text: unframed(inner), source: &text[here..behind], whole });
        *at = behind;
    }
}

/// Reads `<function=f>…</function>` at `at`, and leaves it behind that. `None` when that is no tool on offer.
pub(super) fn function<'a>(
    text: &str,
    at: &mut usize,
    offer: &Offer<'a>,
    ending: Ending,
    fuel: &mut Fuel,
) -> Option<(&'a Tool, Wrote)> {
    let open = tag::at(text, *at).filter(|tag| tag.kind == Kind::Function && tag.side == Side::Open)?;
    let tool = offer.resolve(open.label?)?;
    let mut end = skip_space(text, open.end);
    let wrote = if text[end..].starts_with('{') {
        block::arguments(text, &mut end, fuel)
    } else {
        let raws = parameters(text, &mut end, ending, fuel);
        unless_cut(text, end, ending, merge(tool, Wrote::Nothing, &raws))
    };
    let behind = skip_space(text, end);
    let close = tag::at(text, behind).filter(|tag| tag.kind == Kind::Function && tag.side == Side::Close);
    match close {
        Some(close) => *at = close.end,
        None if matches!(wrote, Wrote::Nothing) => return None,
        None => *at = end,
    }
    Some((tool, wrote))
}

/// Adds raw arguments to what stood in JSON before them.
pub(super) fn merge(tool: &Tool, wrote: Wrote, raws: &[Raw<'_>]) -> Wrote {
    let Some(last) = raws.last() else { return wrote };
    if let Input::Text { .. } = tool.input {
        let text = last.text.to_owned();
        return if last.whole { Wrote::Text(text) } else { Wrote::Broken(text) };
    }
    let wrote = unwrapped(wrote);
    let (base, care) = match &wrote {
        Wrote::Json { json, care, .. } if json.starts_with('{') && *care < Care::Unclear => {
            (json.as_str(), *care)
        }
        Wrote::Nothing => ("{}", Care::Strict),
        // Nobody knows where they belong: all of it is handed over.
        Wrote::Json { source, .. } | Wrote::Broken(source) | Wrote::Text(source) => {
            let all: Vec<&str> =
                std::iter::once(source.as_str()).chain(raws.iter().map(|raw| raw.source)).collect();
            return Wrote::Broken(all.join("\n"));
        }
    };
    let mut json = base[..base.len() - 1].trim_end().to_owned();
    // In the style of what stands before.
    let (comma, colon) = if json.contains("\": ") { (", ", ": ") } else { (",", ":") };
    for raw in raws {
        if json.len() > 1 {
            json.push_str(comma);
        }
        json.push_str(&Value::from(raw.name).to_string());
        json.push_str(colon);
        json.push_str(&Value::from(raw.text).to_string());
    }
    if last.whole {
        json.push('}');
        return Wrote::Json { source: json.clone(), json, care };
    }
    // What was cut stays open.
    json.pop();
    Wrote::Broken(json)
}

/// Whether a raw argument begins here whose own tag was cut.
pub(super) fn is_half_parameter(rest: &str) -> bool {
    const OPENING: &str = "<parameter";
    let rest = rest.trim_start();
    !rest.is_empty()
        && (OPENING.starts_with(rest) || (rest.starts_with(OPENING) && tag::at(rest, 0).is_none()))
}

/// Takes back the closing brace when the answer was cut where another raw argument might have followed; and a guess,
/// when what it rests on was cut. A call without arguments that nothing closes is one that was cut before them.
pub(super) fn unless_cut(text: &str, at: usize, ending: Ending, wrote: Wrote) -> Wrote {
    let rest = text[at..].trim_start();
    let is_half = is_half_parameter(rest);
    let may_go_on = is_half || (ending == Ending::Cut && rest.is_empty());
    match wrote {
        Wrote::Json { source, .. } if may_go_on && source.ends_with('}') => {
            Wrote::Broken(source[..source.len() - 1].trim_end().to_owned())
        }
        Wrote::Json { source, care: Care::Guessed | Care::Unclear, .. }
            if ending == Ending::Cut && !rest.starts_with("</") =>
        {
            Wrote::Broken(source)
        }
        Wrote::Nothing if may_go_on || rest.is_empty() => Wrote::Broken(String::new()),
        wrote => wrote,
    }
}

/// Where the raw text that begins at `from` ends, where its closing tag does, and whether there is one.
///
/// A closing tag in the middle of the text is text: the one that counts is followed by what may follow it.
fn closing(text: &str, from: usize, ending: Ending, fuel: &mut Fuel) -> (usize, usize, bool) {
    let closes = |tag: &Tag<'_>| tag.side == Side::Close;
    let mut at = from;
    while let Some((start, close)) =
        tag::find(text, at, |tag| tag.kind == Kind::Parameter && tag.side == Side::Close)
    {
        if !fuel.burn(close.end - at) {
            break;
        }
        let next = skip_space(text, close.end);
        let follows = tag::at(text, next).is_some_and(|tag| match tag.kind {
            Kind::Parameter => tag.side == Side::Open && tag.label.is_some(),
            Kind::Function | Kind::Call => closes(&tag),
            _ => false,
        });
        let rest = &text[next..];
        let is_half =
            ["<parameter name", "</tool_call>", "</function>"].iter().any(|tag| tag.starts_with(rest));
        if (follows && !goes_on(text, next, fuel)) || is_half {
            return (start, close.end, true);
        }
        at = close.end;
    }
    fuel.burn(text.len() - at);
    // In an answer that was cut, its own is what was cut, and every other tag may be a part of it.
    if ending == Ending::Cut {
        return (text.len(), text.len(), false);
    }
    // No closing tag of its own: that of the call, if there is one.
    match tag::find(text, from, |tag| matches!(tag.kind, Kind::Function | Kind::Call) && closes(tag)) {
        Some((start, _)) => (start, start, true),
        None => (text.len(), text.len(), false),
    }
}

/// Whether the closing tags at `from` are themselves a part of a raw text: the next tag behind them closes one again, and
/// then a call, with none opened between.
fn goes_on(text: &str, from: usize, fuel: &mut Fuel) -> bool {
    let Some(call) = tag::at(text, from).filter(|tag| tag.side == Side::Close) else { return false };
    let mut at = call.end;
    // Closed twice is no text.
    let says_something = |tag: usize, at: usize| !text[at..tag].trim().is_empty();
    let is_meant =
        |tag: &Tag<'_>| matches!(tag.kind, Kind::Parameter | Kind::Function | Kind::Call | Kind::Response);
    while let Some((start, tag)) = tag::find(text, at, is_meant) {
        if !fuel.burn(tag.end - at) || tag.side == Side::Open || tag.kind == Kind::Response {
            return false;
        }
        if tag.kind == Kind::Parameter {
            let next = tag::at(text, skip_space(text, tag.end));
            let closes =
                |tag: &Tag<'_>| matches!(tag.kind, Kind::Function | Kind::Call) && tag.side == Side::Close;
            return says_something(start, at) && next.as_ref().is_some_and(closes);
        }
        at = tag.end;
    }
    fuel.burn(text.len() - at);
    false
}

/// Without the beginning of the closing tag with which a text was cut.
fn without_half_a_tag(text: &str) -> &str {
    match text.rfind('\n') {
        Some(line) if "</parameter>".starts_with(&text[line + 1..]) => &text[..=line],
        _ => text,
    }
}

/// Without the newlines that the tags stand on.
fn unframed(text: &str) -> &str {
    let Some(text) = text.strip_prefix('\n').or_else(|| text.strip_prefix("\r\n")) else { return text };
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

pub(super) fn skip_space(text: &str, at: usize) -> usize {
    text.len() - text[at..].trim_start().len()
}
