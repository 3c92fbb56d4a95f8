//! Answers that are nothing but calls, in one of the other forms that models fall back to. Without a mark around them
//! only the whole says that they are calls, so one word beside them makes the answer a text.
//!
//! | form | of |
//! | --- | --- |
//! | `{"name": …, "arguments": {…}}`, several, an array | many |
//! | `{"tool_calls": […]}`, `{"type": "function", "function": {…}}` | GPT |
//! | `<function=f>…</function>` | Llama, Qwen |
//! | `<invoke name="f">…</invoke>` | Claude |
//! | `[TOOL_CALLS][{…}]`, `[TOOL_CALLS]f[ARGS]{…}` | Mistral |
//! | `[f(a=1), g(b="x")]` | Llama |
//! | `f(a=1)`, one a line; `print(default_api.f(a=1))` in a fence marked `tool_code` | Gemini |
//!
//! Each of them may stand in a fence.

use super::super::super::json::{self, Care, Shut};
use super::super::offer::Offer;
use super::envelope::{Shape, envelope};
use super::settle::{Wrote, settle};
use super::tag::{self, Kind};
use super::{Call, Ending, Fuel, code, markup};

/// What an answer comes to that is nothing but calls.
pub(super) struct Whole {
    /// At least one.
    pub calls: Vec<Call>,
    /// The content of a message in JSON.
    pub said: String,
}

/// Reads `text` as calls and nothing else.
pub(super) fn whole(text: &str, offer: &Offer<'_>, ending: Ending, fuel: &mut Fuel) -> Option<Whole> {
    let mut found = Whole { calls: Vec::new(), said: String::new() };
    for fence in code::fences(text) {
        let inner = Inner { text: unmarked(fence.text), offer, ending };
        inner.read(fence.info, &mut found, fuel)?;
    }
    (!found.calls.is_empty()).then_some(found)
}

struct Inner<'t, 'o, 'a> {
    text: &'t str,
    offer: &'o Offer<'a>,
    ending: Ending,
}

impl Inner<'_, '_, '_> {
    fn read(&self, info: &str, found: &mut Whole, fuel: &mut Fuel) -> Option<()> {
        let text = self.text;
        if text.starts_with('<') {
            return self.markup(found, fuel);
        }
        if info == "tool_code" {
            return self.lines(found);
        }
        if let Some(behind) = text.strip_prefix('[')
            && behind.trim_start().starts_with(|c: char| c.is_alphabetic() || c == '_')
        {
            return self.list(behind, found);
        }
        if text.starts_with(['{', '[']) {
            self.objects(found)
        } else if text.contains("[ARGS]") || !info.is_empty() {
            self.mistral(found)
        } else {
            self.lines(found)
        }
    }

    fn objects(&self, found: &mut Whole) -> Option<()> {
        let mut rest = self.text;
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '[' | ']'));
            if rest.is_empty() {
                return Some(());
            }
            let read = envelope(rest, self.offer, Shape::Bare)?;
            rest = match read.shut {
                Shut::Closed => &rest[read.end..],
                Shut::Open | Shut::Broken(_) => "",
            };
            for (tool, wrote) in read.calls {
                found.calls.push(settle(self.offer, tool, wrote)?);
            }
            found.said.push_str(&read.said);
        }
    }

    fn markup(&self, found: &mut Whole, fuel: &mut Fuel) -> Option<()> {
        let mut at = 0;
        loop {
            at = markup::skip_space(self.text, at);
            if at == self.text.len() {
                return Some(());
            }
            match tag::at(self.text, at) {
                // `<function_calls>` around them.
                Some(tag) if tag.kind == Kind::Call => at = tag.end,
                _ => {
                    let (tool, wrote) = markup::function(self.text, &mut at, self.offer, self.ending, fuel)?;
                    found.calls.push(settle(self.offer, tool, wrote)?);
                }
            }
        }
    }

    fn list(&self, behind: &str, found: &mut Whole) -> Option<()> {
        let mut rest = behind;
        loop {
            rest = self.python(rest.trim_start(), found)?.trim_start();
            if let Some(end) = rest.strip_prefix(']') {
                return end.trim().is_empty().then_some(());
            }
            rest = rest.strip_prefix(',')?;
        }
    }

    fn lines(&self, found: &mut Whole) -> Option<()> {
        let mut rest = self.text.trim_start();
        while !rest.is_empty() {
            let inner = rest.strip_prefix("print(");
            let behind = self.python(inner.unwrap_or(rest), found)?;
            let behind = if inner.is_some() { behind.trim_start().strip_prefix(')')? } else { behind };
            rest = behind.trim_start_matches(|c: char| c.is_whitespace() || c == ';');
        }
        Some(())
    }

    /// `f(a=1)` at the beginning of `text`; what follows it.
    fn python<'s>(&self, text: &'s str, found: &mut Whole) -> Option<&'s str> {
        let open = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-')))?;
        let behind = text[open..].strip_prefix('(')?;
        let tool = self.offer.resolve(&text[..open])?;
        let lent = json::keywords(behind).ok()?;
        let source = match lent.care {
            Care::Unclear => text[open..=open + lent.end].to_owned(),
            Care::Strict | Care::Mended | Care::Guessed => lent.json.clone().into_owned(),
        };
        let wrote = Wrote::Json { json: lent.json.into_owned(), source, care: lent.care };
        found.calls.push(settle(self.offer, tool, wrote)?);
        Some(&behind[lent.end..])
    }

    fn mistral(&self, found: &mut Whole) -> Option<()> {
        let mut rest = self.text;
        while !rest.is_empty() {
            let (name, behind) = rest.split_once("[ARGS]")?;
            let tool = self.offer.resolve(name.trim().trim_start_matches("[TOOL_CALLS]"))?;
            let lent = json::value(behind).ok()?;
            let source = behind[..lent.end].trim_start().to_owned();
            let wrote = Wrote::Json { json: lent.json.into_owned(), source, care: lent.care };
            found.calls.push(settle(self.offer, tool, wrote)?);
            rest = behind[lent.end..].trim_start();
        }
        Some(())
    }
}

/// Without the marks of templates around it.
fn unmarked(text: &str) -> &str {
    let mut text = text.trim();
    while let Some(rest) = ["<|python_tag|>", "[TOOL_CALLS]"].iter().find_map(|mark| text.strip_prefix(mark))
    {
        text = rest.trim_start();
    }
    let ends = ["<|eom_id|>", "<|eot_id|>", "<|im_end|>", "</s>"];
    while let Some(rest) = ends.iter().find_map(|mark| text.strip_suffix(mark)) {
        text = rest.trim_end();
    }
    text
}
