//! What stands behind a `<tool_call>` tag, however it is written: one call or several, fenced or not, closed or not.

use super::super::super::ask::{Input, Tool};
use super::super::super::json::{self, Lent, Miss, Shut};
use super::super::offer::Offer;
use super::envelope::{Envelope, Shape, envelope};
use super::settle::{Wrote, settle};
use super::tag::{self, Kind, Side, Tag};
use super::{Call, Ending, Fuel, markup};

/// Longer prose does not stand in a block.
const LONGEST_PROSE: usize = 200;

/// A block that was read.
pub(super) struct Block<'t> {
    /// In order; none when no tool on offer was called, and then the whole block is text.
    pub calls: Vec<Call>,
    /// What stands in it and is no call.
    pub beside: Vec<&'t str>,
    /// Where it ends.
    pub end: usize,
    /// Whether that is beyond doubt.
    pub is_sound: bool,
}

/// Reads the block that `open` begins. `None` when nothing that looks like a call follows, so that this is no block.
pub(super) fn block<'t>(
    text: &'t str,
    open: &Tag<'t>,
    offer: &Offer<'_>,
    ending: Ending,
    fuel: &mut Fuel,
) -> Option<Block<'t>> {
    let mut block = Block { calls: Vec::new(), beside: Vec::new(), end: open.end, is_sound: true };
    let mut at = skip_marks(text, open.end);
    let mut open = *open;
    // `<tool_calls>` around them, or `<function>` without its name.
    if let Some(inner) = tag::at(text, at).filter(|tag| tag.side == Side::Open)
        && (inner.kind == Kind::Call || (inner.kind == Kind::Function && inner.label.is_none()))
    {
        open = inner;
        at = skip_marks(text, open.end);
    }
    if let Some((tool, wrote)) = labelled(text, &open, &mut at, offer, ending, fuel) {
        block.calls.extend(settle(offer, tool, wrote));
        block.end = at;
    } else if !looks_like_call(&text[at..]) {
        let (prose, behind) = introduction(text, at, offer, fuel)?;
        block.beside.push(prose);
        at = behind;
    }
    loop {
        at = skip_marks(text, at);
        let rest = &text[at..];
        if rest.starts_with('{') {
            let Some(read) = object(text, at, offer, ending, fuel) else {
                // No tool on offer: that object stays what it is.
                let end = match json_at(text, at, fuel) {
                    Ok(lent) => at + lent.end,
                    // Whatever follows may be a part of what was cut.
                    Err(_) if ending == Ending::Cut => text.len(),
                    Err(_) => fuel.region(text, at),
                };
                block.beside.push(&text[at..end]);
                at = end;
                block.end = at;
                continue;
            };
            let whole = read.shut == Shut::Closed;
            block.is_sound &= whole;
            at += read.end;
            // One brace too many.
            at += text[at..].len() - text[at..].trim_start_matches(['}', ']']).len();
            let raws = if whole { markup::parameters(text, &mut at, ending, fuel) } else { Vec::new() };
            let mut calls = read.calls;
            if let Some((tool, wrote)) = calls.pop() {
                let wrote = match (&tool.input, &wrote) {
                    (Input::Text { .. }, Wrote::Nothing) if whole && raws.is_empty() => {
                        untagged(text, &mut at, fuel)
                    }
                    _ => markup::unless_cut(text, at, ending, markup::merge(tool, wrote, &raws)),
                };
                calls.push((tool, wrote));
                if markup::is_half_parameter(&text[at..]) {
                    at = text.len();
                }
            }
            block.calls.extend(calls.into_iter().filter_map(|(tool, wrote)| settle(offer, tool, wrote)));
        } else if let Some((tool, wrote)) = markup::function(text, &mut at, offer, ending, fuel) {
            block.calls.extend(settle(offer, tool, wrote));
        } else if let Some(close) = tag::at(text, at)
            .filter(|tag| tag.kind == Kind::Function && tag.side == Side::Close && !block.calls.is_empty())
        {
            at = close.end;
        } else {
            break;
        }
        block.end = at;
    }
    finish(text, at, &mut block);
    Some(block)
}

/// Whether a call may begin here.
fn looks_like_call(rest: &str) -> bool {
    rest.starts_with('{') || tag::at(rest, 0).is_some_and(|tag| tag.kind == Kind::Function)
}

/// What stands in the block before its call, where it is one beyond doubt, and where that begins.
fn introduction<'t>(
    text: &'t str,
    at: usize,
    offer: &Offer<'_>,
    fuel: &mut Fuel,
) -> Option<(&'t str, usize)> {
    let end = fuel.region(text, at);
    let found = text.as_bytes()[at..end].iter().take(LONGEST_PROSE).position(|byte| *byte == b'{')?;
    let behind = at + found;
    let prose = &text[at..behind];
    // A tag that is only mentioned stands in a line.
    if !begins_line(text, 0, at) || prose.contains(['<', '`', '"']) {
        return None;
    }
    let lent = json::exact(&text[behind..end])?;
    let is_closed = tag::at(text, end).is_some_and(|tag| tag.kind == Kind::Call && tag.side == Side::Close);
    let is_last = skip_marks(&text[..end], behind + lent.end) == end;
    (is_closed && is_last && envelope(&lent.json, offer, Shape::Bare).is_some()).then_some((prose, behind))
}

/// `<tool_call name="f">` with the arguments alone; and `<tool_call>f` with them behind it.
fn labelled<'a>(
    text: &str,
    open: &Tag<'_>,
    at: &mut usize,
    offer: &Offer<'a>,
    ending: Ending,
    fuel: &mut Fuel,
) -> Option<(&'a Tool, Wrote)> {
    let rest = &text[*at..];
    let (name, from) = if let Some(name) = open.label {
        (name, *at)
    } else {
        let length = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')))?;
        (&rest[..length], markup::skip_space(text, *at + length))
    };
    let tool = offer.resolve(name)?;
    let mut end = from;
    let wrote = if text[from..].starts_with('{') {
        if open.label.is_some()
            && envelope(&text[from..fuel.region(text, from)], offer, Shape::Bare).is_some()
        {
            return None;
        }
        let wrote = arguments(text, &mut end, fuel);
        let raws = markup::parameters(text, &mut end, ending, fuel);
        let wrote = markup::unless_cut(text, end, ending, markup::merge(tool, wrote, &raws));
        if markup::is_half_parameter(&text[end..]) {
            end = text.len();
        }
        wrote
    } else {
        let raws = markup::parameters(text, &mut end, ending, fuel);
        match &tool.input {
            Input::Text { .. } if raws.is_empty() && open.label.is_some() => untagged(text, &mut end, fuel),
            _ if raws.is_empty() => return None,
            _ => markup::unless_cut(text, end, ending, markup::merge(tool, Wrote::Nothing, &raws)),
        }
    };
    *at = end;
    Some((tool, wrote))
}

/// A custom tool's text that stands in the block without tags of its own.
fn untagged(text: &str, at: &mut usize, fuel: &mut Fuel) -> Wrote {
    let from = *at;
    *at = fuel.region(text, from);
    let is_closed = *at < text.len();
    let input = text[from..*at].trim_matches(['\r', '\n']);
    match input.trim().is_empty() {
        true => Wrote::Nothing,
        false if is_closed => Wrote::Text(input.to_owned()),
        false => Wrote::Broken(input.to_owned()),
    }
}

/// The object at `at`, as calls of tools on offer.
fn object<'a>(
    text: &str,
    at: usize,
    offer: &Offer<'a>,
    ending: Ending,
    fuel: &mut Fuel,
) -> Option<Envelope<'a>> {
    // JSON knows best where it ends, whatever its strings say of tags.
    if let Some(lent) = json::exact(&text[at..]) {
        fuel.burn(lent.end);
        return envelope(&text[at..at + lent.end], offer, Shape::Marked);
    }
    let first = fuel.region(text, at);
    let read = envelope(text[at..first].trim_end(), offer, Shape::Marked);
    let broken = match &read {
        Some(read) => matches!(read.shut, Shut::Open | Shut::Broken(Miss::Cut)),
        None => true,
    };
    if broken {
        // The tag may have stood in a string.
        let last = last_close(text, first, fuel);
        if last > first && fuel.burn(last - at) {
            let again = envelope(text[at..last].trim_end(), offer, Shape::Marked);
            if again.as_ref().is_some_and(|again| again.shut == Shut::Closed) {
                return again;
            }
        }
        // So may all the others. In an answer that was cut nothing behind an open string is known to be anything else.
        if first < text.len() && fuel.burn(text.len() - at) {
            let rest = text[at..].trim_end();
            let all = envelope(rest, offer, Shape::Marked);
            if ending == Ending::Cut || all.as_ref().is_some_and(|all| all.shut == Shut::Closed) {
                return all.map(|all| Envelope {
                    end: if all.shut == Shut::Closed { all.end } else { rest.len() },
                    ..all
                });
            }
        }
    }
    let is_closed = tag::at(text, first).is_some_and(|tag| tag.kind == Kind::Call && tag.side == Side::Close);
    read.map(|mut read| {
        if let Shut::Broken(miss) = read.shut {
            read.end = first - at;
            if let Some((_, Wrote::Broken(source))) = read.calls.last_mut()
                && miss == Miss::Cut
                && is_closed
            {
                without_own_brace(source);
            }
        }
        read
    })
}

/// Takes away the brace that closes the call, where it was taken for a part of a string in its arguments.
fn without_own_brace(source: &mut String) {
    let count = |brace: char| source.matches(brace).count();
    if source.starts_with('{') && source.ends_with('}') && count('}') == count('{') + 1 {
        source.pop();
    }
}

/// The JSON at `at` as arguments, and `at` behind it.
pub(super) fn arguments(text: &str, at: &mut usize, fuel: &mut Fuel) -> Wrote {
    let from = *at;
    if let Ok(lent) = json_at(text, from, fuel) {
        *at = from + lent.end;
        Wrote::Json { source: text[from..*at].to_owned(), json: lent.json.into_owned(), care: lent.care }
    } else {
        *at = fuel.region(text, from);
        Wrote::Broken(text[from..*at].trim_end().to_owned())
    }
}

/// The value at `at`: JSON to its own end, anything else at most to that of the block.
fn json_at<'t>(text: &'t str, at: usize, fuel: &mut Fuel) -> Result<Lent<'t>, Miss> {
    if let Some(lent) = json::exact(&text[at..]) {
        fuel.burn(lent.end);
        return Ok(lent);
    }
    json::value(&text[at..fuel.region(text, at)])
}

/// Where the block ends in which `at` stands: at the next tag that closes it, or opens one on a line of its own.
pub(super) fn region(text: &str, at: usize) -> usize {
    let mut from = at;
    while let Some((start, tag)) = tag::find(text, from, |_| true) {
        let ends = match tag.kind {
            Kind::Call => tag.side == Side::Close || begins_line(text, at, start),
            Kind::Function => tag.side == Side::Close,
            Kind::Response => true,
            _ => false,
        };
        if ends {
            return start;
        }
        from = tag.end;
    }
    text.len()
}

/// Whether nothing but white space stands before `start` on its line, as far as that is behind `from`.
fn begins_line(text: &str, from: usize, start: usize) -> bool {
    text[from..start].trim_end_matches([' ', '\t']).ends_with('\n')
}

/// The last closing tag before the next that opens a block.
fn last_close(text: &str, from: usize, fuel: &mut Fuel) -> usize {
    let (mut last, mut at) = (from, from);
    while let Some((start, tag)) = tag::find(text, at, |tag| matches!(tag.kind, Kind::Call | Kind::Response))
    {
        match (tag.kind, tag.side) {
            (Kind::Call, Side::Close) => last = start,
            (Kind::Call, Side::Open) if !begins_line(text, from, start) => {}
            _ if start == from => {}
            _ => break,
        }
        if !fuel.burn(tag.end - at) {
            break;
        }
        at = tag.end;
    }
    last
}

/// Takes the closing tag, and what stands before it.
fn finish<'t>(text: &'t str, at: usize, block: &mut Block<'t>) {
    let Some((start, tag)) = tag::find(text, at, |tag| matches!(tag.kind, Kind::Call | Kind::Response))
    else {
        return;
    };
    let between = &text[at..start];
    match (tag.kind, tag.side) {
        (Kind::Call, Side::Close) => {
            if !between.trim().is_empty() {
                block.beside.push(between);
            }
            block.end = tag.end;
            // Closed twice.
            while let Some((_, again)) = tag::find(text, block.end, |_| true).filter(|(start, again)| {
                matches!(again.kind, Kind::Call | Kind::Function)
                    && again.side == Side::Close
                    && text[block.end..*start].trim().is_empty()
            }) {
                block.end = again.end;
            }
        }
        // Closed with the wrong tag.
        (Kind::Call, Side::Open) if between.trim().is_empty() && text[tag.end..].trim().is_empty() => {
            block.end = tag.end;
        }
        _ => {}
    }
}

/// Skips what stands between calls and says nothing: white space, fences, brackets of arrays and one too many, commas.
fn skip_marks(text: &str, at: usize) -> usize {
    let mut rest = &text[at..];
    loop {
        rest = rest.trim_start();
        if let Some(fence) = rest.strip_prefix("```") {
            let info = fence.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(fence.len());
            rest = &fence[info..];
        } else if let Some(behind) = rest.strip_prefix([',', ';', '[', ']', '}', '`']) {
            rest = behind;
        } else {
            return text.len() - rest.len();
        }
    }
}
