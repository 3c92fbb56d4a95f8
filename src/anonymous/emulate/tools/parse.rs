//! Reads tool calls out of an answer, as models really write them.
//!
//! | in the answer | becomes |
//! | --- | --- |
//! | a `<tool_call>` block with calls of tools on offer | calls; the tolerance is in [`block`], [`envelope`] and [`markup`] |
//! | one with other tools, or with nothing like a call in it | text, to the letter |
//! | a tag in a fence, a code span, quotation marks, `<code>`, `<pre>` or a comment, or behind a backslash | text, to the letter |
//! | nothing but calls in another form ([`whole`]), or in a fence | calls |
//! | a thinking block; a `<reasoning>` block that leads to a call | nothing |
//! | what follows a `<tool_response>` that the model made up behind a call | nothing |
//! | anything else | text: to the letter, but trimmed where it touches a block |
//!
//! Where one call is all that is allowed, the first one counts: the model asks again for what it still wants.
//!
//! Invariants: arguments are never invented and never completed ([`settle`] says what they become); without tools on
//! offer, and without calls and thinking in it, the text is returned to the letter; reading is linear, whatever the
//! text: what could be read twice burns [`Fuel`].

use std::borrow::Cow;
use std::ops::Range;

use super::super::answer::CallKind;
use super::super::ask::{Parallel, Toolset};
use super::offer::Offer;

mod block;
mod braces;
mod code;
mod envelope;
mod markup;
mod settle;
mod tag;
mod whole;

use block::block;
use braces::Braces;
use code::Code;
use tag::{Kind, Side, Tag};

/// What stands behind more white space than this does not begin its line.
const DEEPEST_INDENT: usize = 64;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself.
    Whole,
    /// It was cut, so that its last call may be incomplete.
    Cut,
}

/// An answer, taken apart.
pub struct Parsed {
    /// What was said beside the calls; empty where nothing was.
    pub text: String,
    /// In the order in which the model made them.
    pub calls: Vec<Call>,
    /// The stop sequence at which it was left off.
    pub stopped_at: Option<String>,
}

/// A call of a tool that is on offer.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// Of the tool, as the client spells it.
    pub name: String,
    /// What kind of tool.
    pub kind: CallKind,
    /// A function's arguments: JSON, or what the model wrote where that is none. A custom tool's input.
    pub arguments: String,
    /// What is wrong with the arguments; names nothing but what the schema says.
    pub complaint: Option<String>,
}

/// Takes an answer apart.
pub fn parse(text: &str, toolset: &Toolset, ending: Ending) -> Parsed {
    parse_until(text, toolset, ending, &[])
}

/// Takes an answer apart that ends where one of `stops` begins beside its calls: those before it are made, those behind it
/// are not. Where there are no calls, all of it is text, and where that ends is not for this module.
pub fn parse_until(text: &str, toolset: &Toolset, ending: Ending, stops: &[String]) -> Parsed {
    let Some(offer) = Offer::of(toolset) else {
        return Parsed::text(text.to_owned());
    };
    let mut fuel = Fuel::of(text);
    let text = if ending == Ending::Cut { without_half("<tool_call>", text) } else { text };
    let mut scan = Scan::new(text, &offer, ending);
    scan.run(&mut fuel);
    let stopped_at = scan.stop(stops);
    let mut parsed = Parsed { stopped_at, ..scan.parsed() };
    if parsed.calls.is_empty() && parsed.stopped_at.is_none() {
        if let Some(mut whole) = fenced(&parsed.text, &offer, ending, &mut fuel) {
            // What such an answer says, it says before its calls.
            if let Some((end, stop)) = first_stop(stops, &whole.text) {
                whole.text.truncate(end);
                whole.calls.clear();
                whole.stopped_at = Some(stop.clone());
            }
            parsed = whole;
        } else if let Some((end, stop)) = first_stop(stops, &parsed.text) {
            // What is nothing but calls up to where the model would have stopped is nothing but calls.
            let whole = fenced(&parsed.text[..end], &offer, Ending::Whole, &mut fuel);
            if let Some(whole) = whole.filter(|whole| whole.calls.iter().all(|call| call.complaint.is_none()))
            {
                parsed = Parsed { stopped_at: Some(stop.clone()), ..whole };
            }
        }
    }
    if ending == Ending::Cut && !parsed.calls.is_empty() {
        parsed.text.truncate(without_half("</tool_call>", &parsed.text).len());
    }
    if offer.parallel == Parallel::One {
        parsed.calls.truncate(1);
    }
    parsed
}

/// Where the first of `stops` begins in `text`, and which it is.
pub fn first_stop<'s>(stops: &'s [String], text: &str) -> Option<(usize, &'s String)> {
    stops.iter().filter_map(|stop| Some((text.find(stop.as_str())?, stop))).min()
}

impl Parsed {
    fn text(text: String) -> Self {
        Self { text, calls: Vec::new(), stopped_at: None }
    }
}

/// An answer that is nothing but calls, with a fence around them or without tags.
fn fenced(text: &str, offer: &Offer<'_>, ending: Ending, fuel: &mut Fuel) -> Option<Parsed> {
    // Without a fence, tags were looked for already.
    let inner = if text.trim_start().starts_with(['`', '~']) { code::fences(text) } else { Vec::new() };
    let tagged: Option<Vec<Parsed>> = inner
        .iter()
        .map(|fence| {
            let mut scan = Scan::new(fence.text, offer, ending);
            scan.run(fuel);
            Some(scan.parsed()).filter(|parsed| parsed.text.is_empty() && !parsed.calls.is_empty())
        })
        .collect();
    if let Some(parts) = tagged.filter(|parts| !parts.is_empty()) {
        let calls = parts.into_iter().flat_map(|part| part.calls).collect();
        return Some(Parsed { calls, ..Parsed::text(String::new()) });
    }
    let whole::Whole { calls, said } = whole::whole(text, offer, ending, fuel)?;
    Some(Parsed { calls, ..Parsed::text(said) })
}

/// What may still be read more than once. A text that needs more is one that was made to cost something.
struct Fuel {
    left: usize,
    /// The block that was last looked for: in which text, from where on, and to where.
    region: Option<(*const str, Range<usize>)>,
}

impl Fuel {
    fn of(text: &str) -> Self {
        Self { left: 8 * text.len() + 4096, region: None }
    }

    /// Whether there was that much left.
    fn burn(&mut self, bytes: usize) -> bool {
        let enough = self.left >= bytes;
        self.left = self.left.saturating_sub(bytes);
        enough
    }

    /// Where the block ends in which `at` stands. A block with many objects in it is not read to its end for each.
    fn region(&mut self, text: &str, at: usize) -> usize {
        match &self.region {
            Some((of, known)) if std::ptr::eq(*of, text) && known.contains(&at) => known.end,
            _ => {
                let end = block::region(text, at);
                self.region = Some((text, at..end));
                end
            }
        }
    }
}

/// One pass over a text.
struct Scan<'t, 'o, 'a> {
    text: &'t str,
    offer: &'o Offer<'a>,
    ending: Ending,
    at: usize,
    /// Where the line begins in which `at` stands.
    line: usize,
    /// Where the text begins that is not yet kept.
    from: usize,
    kept: Vec<&'t str>,
    /// Each with how many parts of the text are kept before it.
    calls: Vec<(usize, Call)>,
    /// Where thinking begins that nothing closes: it ends with the first call.
    unclosed: Option<usize>,
    /// Whether a tag may stand in a string of what may be JSON.
    braces: Braces,
}

impl<'t, 'o, 'a> Scan<'t, 'o, 'a> {
    fn new(text: &'t str, offer: &'o Offer<'a>, ending: Ending) -> Self {
        let from = orphaned_thinking(text);
        let (kept, calls) = (Vec::new(), Vec::new());
        let braces = Braces::default();
        Self { text, offer, ending, at: from, line: from, from, kept, calls, unclosed: None, braces }
    }

    /// Reads all of it.
    fn run(&mut self, fuel: &mut Fuel) {
        self.read(fuel);
        self.keep(self.text.len());
    }

    fn read(&mut self, fuel: &mut Fuel) {
        let mut code = Code::new();
        while let Some(found) = self.text[self.at..].find(['<', '`', '~', '"']) {
            self.go(self.at + found);
            let begins_line = self.begins_line();
            let rest = &self.text[self.at..];
            if rest.starts_with(['`', '~']) || (begins_line && rest.starts_with("\"\"\"")) {
                let end = code.skip(self.text, self.at, begins_line);
                self.skip(end);
                continue;
            }
            let Some(tag) = tag::at(self.text, self.at) else {
                match code.skip_markup(self.text, self.at, begins_line) {
                    Some(end) => self.skip(end),
                    None => self.go(self.at + 1),
                }
                continue;
            };
            match (tag.kind, tag.side) {
                (Kind::Call, Side::Open) if !self.braces.are_open() && !self.is_quoted() => {
                    self.block(&tag, fuel);
                }
                (Kind::Thinking | Kind::Reflection, Side::Open) if self.begins_line() => self.thinking(&tag),
                (Kind::Response, Side::Open) if self.begins_line() && !self.calls.is_empty() => {
                    self.keep(self.at);
                    self.from = self.text.len();
                    return;
                }
                _ => self.go(tag.end),
            }
        }
    }

    fn block(&mut self, open: &Tag<'t>, fuel: &mut Fuel) {
        if self.ending == Ending::Cut && self.begins_line() && is_barely_begun(open, &self.text[open.end..]) {
            self.keep(self.at);
            self.from = self.text.len();
            self.go(self.from);
            return;
        }
        let Some(block) = block(self.text, open, self.offer, self.ending, fuel) else {
            self.go(open.end);
            return;
        };
        let mut end = block.end;
        if !block.calls.is_empty() {
            let thinking = self.unclosed.take().filter(|begun| *begun >= self.from);
            self.keep(thinking.unwrap_or(self.at));
            let before = self.kept.len();
            self.calls.extend(block.calls.into_iter().map(|call| (before, call)));
            self.kept.extend(block.beside);
            // One tag too many, or the wrong one, closes the call all the same.
            while let Some(stray) = tag::at(self.text, markup::skip_space(self.text, end))
                && stray.side == Side::Close
                && matches!(stray.kind, Kind::Call | Kind::Response)
            {
                end = stray.end;
            }
            self.from = end;
        }
        let begun = self.at;
        self.skip(end);
        self.braces = if block.is_sound {
            Braces::default()
        } else {
            Braces::in_doubt(&self.text[self.line.max(begun)..end])
        };
    }

    fn thinking(&mut self, open: &Tag<'t>) {
        let closes = |tag: &Tag<'_>| tag.kind == open.kind && tag.side == Side::Close;
        let close = if self.unclosed.is_some() { None } else { tag::find(self.text, open.end, closes) };
        let Some((_, close)) = close else {
            self.unclosed.get_or_insert(self.at);
            self.go(open.end);
            return;
        };
        // Under these names it may be an answer that somebody asked for, unless it leads to a call.
        let behind = markup::skip_space(self.text, close.end);
        let leads_to_call = || tag::at(self.text, behind).is_some_and(|tag| tag.kind == Kind::Call);
        if open.kind == Kind::Thinking || leads_to_call() {
            self.keep(self.at);
            self.from = close.end;
        }
        self.go(close.end);
    }

    /// Keeps the text up to `end`.
    fn keep(&mut self, end: usize) {
        self.kept.push(&self.text[self.from..end]);
    }

    fn go(&mut self, to: usize) {
        let from = self.at;
        self.skip(to);
        self.braces.read(&self.text[self.line.max(from)..to]);
    }

    /// Past what is no prose.
    fn skip(&mut self, to: usize) {
        if let Some(newline) = self.text[self.at..to].rfind('\n') {
            self.line = self.at + newline + 1;
            self.braces = Braces::default();
        }
        self.at = to;
    }

    fn begins_line(&self) -> bool {
        let before = self.line.max(self.from);
        self.at - before < DEEPEST_INDENT && self.text[before..self.at].trim().is_empty()
    }

    /// In quotation marks, or on a line that is a quotation.
    fn is_quoted(&self) -> bool {
        self.text[..self.at].ends_with(['"', '\'', '“', '‘', '«', '„', '`', '\\'])
            || self.text[self.line..].chars().take(DEEPEST_INDENT).find(|c| !c.is_whitespace()) == Some('>')
    }

    /// Takes back what stands behind the first of `stops`, where there are calls.
    fn stop(&mut self, stops: &[String]) -> Option<String> {
        if self.calls.is_empty() {
            return None;
        }
        let found =
            self.kept.iter().enumerate().find_map(|(part, text)| Some((part, first_stop(stops, text)?)));
        let (part, (end, stop)) = found?;
        self.kept[part] = &self.kept[part][..end];
        self.kept.truncate(part + 1);
        self.calls.retain(|(before, _)| *before <= part);
        Some(stop.clone())
    }

    fn parsed(self) -> Parsed {
        let calls: Vec<Call> = self.calls.into_iter().map(|(_, call)| call).collect();
        if let [only] = self.kept[..]
            && only.len() == self.text.len()
        {
            return Parsed { calls, ..Parsed::text(only.to_owned()) };
        }
        let mut text = Cow::Borrowed("");
        let last = self.kept.len() - 1;
        for (index, part) in self.kept.iter().enumerate().filter(|(_, part)| !part.trim().is_empty()) {
            // The edges of the answer itself stay as they are.
            let part = if index == 0 && self.kept.len() > 1 { part.trim_end() } else { part };
            let part = if index == last {
                part.trim_start()
            } else if index > 0 {
                part.trim()
            } else {
                part
            };
            if text.is_empty() {
                text = Cow::Borrowed(part);
            } else {
                let text = text.to_mut();
                text.push_str("\n\n");
                text.push_str(part);
            }
        }
        // A byte order mark beside calls is not said to anybody.
        let says_nothing = text.chars().all(|c| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'));
        let text = if says_nothing && !calls.is_empty() { String::new() } else { text.into_owned() };
        Parsed { calls, ..Parsed::text(text) }
    }
}

/// Whether a call was cut before it said of which tool it is.
fn is_barely_begun(open: &Tag<'_>, rest: &str) -> bool {
    let rest = rest.trim();
    // The key has two quotation marks, and the name two more.
    let has_name = || rest.bytes().filter(|byte| *byte == b'"').take(4).count() == 4;
    rest.is_empty() || (rest.starts_with('{') && open.label.is_none() && !has_name())
}

/// The text without the beginning of `tag`, with which it was cut.
fn without_half<'t>(tag: &str, text: &'t str) -> &'t str {
    let line = text.rfind('\n').map_or(0, |newline| newline + 1);
    let last = &text[line..];
    if !last.is_empty() && last.len() < tag.len() && tag.starts_with(last) {
        text[..line].trim_end()
    } else {
        text
    }
}

/// Where the answer begins when thinking stands before it whose opening tag the template has eaten.
fn orphaned_thinking(text: &str) -> usize {
    let thinks = |tag: &Tag<'_>| matches!(tag.kind, Kind::Thinking | Kind::Call);
    let Some((start, tag)) = tag::find(text, 0, thinks) else { return 0 };
    let alone = text[tag.end..].trim_start_matches([' ', '\t', '\r']);
    let leads_to_call = tag::at(alone, 0).is_some_and(|tag| tag.kind == Kind::Call && tag.side == Side::Open);
    let ends_line = alone.is_empty() || alone.starts_with('\n') || leads_to_call;
    let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let begins_line = line > 0 && text[line..start].trim_matches([' ', '\t']).is_empty();
    let mut braces = Braces::default();
    braces.read(&text[line..start]);
    if braces.are_open() {
        return 0;
    }
    if tag.kind == Kind::Thinking && tag.side == Side::Close && (ends_line || begins_line) {
        tag.end
    } else {
        0
    }
}

#[cfg(test)]
mod tests;
