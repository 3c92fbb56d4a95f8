//! Code in Markdown, where a tag is only mentioned: fenced blocks and code spans, and what HTML and Python have for them.

/// Longer runs of backticks are no fences, and nobody writes longer code spans.
const LONGEST_RUN: usize = 64;
const LONGEST_SPAN: usize = 2_000;

/// A part of an answer that may be nothing but fenced blocks.
pub(super) struct Fence<'t> {
    /// What stands behind the opening fence: a language, mostly.
    pub info: &'t str,
    /// What is in it.
    pub text: &'t str,
}

/// The fenced blocks of a text that is nothing else; or else the text, as if it were one.
pub(super) fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut fences = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let Some((fence, behind)) = fenced(rest) else { return vec![Fence { info: "", text: text.trim() }] };
        fences.push(fence);
        rest = behind.trim_start();
    }
    fences
}

/// A fence at the beginning of `text`, closed or open to the end, and what follows it.
fn fenced(text: &str) -> Option<(Fence<'_>, &str)> {
    let run = run(text.as_bytes(), 0).filter(|_| !text.starts_with('"'))?;
    let (line, _) = text[run..].split_once('\n')?;
    let info = line.trim();
    if run < 3 || info.contains('`') {
        return None;
    }
    let from = run + line.len() + 1;
    let (end, behind) = closing(text, from, text.as_bytes()[0], run).unwrap_or((text.len(), text.len()));
    Some((Fence { info, text: &text[from..end] }, &text[behind..]))
}

/// What was learned about a text, so that nothing is looked for twice in vain.
pub(super) struct Code {
    /// Fences of at least so many backticks, tildes and quotation marks are never closed from here on.
    unclosed: [usize; 3],
    /// The same of each of [`MARKUP`].
    open_ended: [bool; MARKUP.len()],
}

/// What begins and ends code in HTML. Somebody who only speaks of `<code>` does not close it on the same line.
const MARKUP: [(&str, &str); 3] = [("<pre", "</pre>"), ("<code", "</code>"), ("<!--", "-->")];

impl Code {
    pub(super) fn new() -> Self {
        Self { unclosed: [usize::MAX; 3], open_ended: [false; MARKUP.len()] }
    }

    /// At a `<`: where the code ends that begins here, if it does. In the middle of a line it ends there.
    pub(super) fn skip_markup(&mut self, text: &str, at: usize, begins_line: bool) -> Option<usize> {
        let rest = &text[at..];
        let (index, (open, close)) =
            MARKUP.into_iter().enumerate().find(|(_, (open, _))| rest.starts_with(open))?;
        if rest[open.len()..].starts_with(|c: char| c.is_alphanumeric()) || self.open_ended[index] {
            return None;
        }
        if !begins_line {
            let line = rest.find('\n').map_or(rest, |end| &rest[..end]);
            return line.find(close).map(|end| at + end + close.len());
        }
        let end = rest.find(close);
        self.open_ended[index] = end.is_none();
        end.map(|end| at + end + close.len())
    }

    /// At a backtick, a tilde or a quotation mark: where the code ends that begins here, or else where the run of them does.
    pub(super) fn skip(&mut self, text: &str, at: usize, begins_line: bool) -> usize {
        let bytes = text.as_bytes();
        let Some(length) = run(bytes, at) else { return at + 1 };
        let behind = at + length;
        if length >= 3 && begins_line {
            let unclosed = &mut self.unclosed[match bytes[at] {
                b'`' => 0,
                b'~' => 1,
                _ => 2,
            }];
            let line = text[behind..].find('\n').map_or(text.len(), |end| behind + end + 1);
            let is_fence = match bytes[at] {
                b'`' => !text[behind..line].contains('`'),
                b'~' => true,
                _ => text[behind..line].trim().is_empty(),
            };
            if is_fence && length <= LONGEST_RUN {
                if length >= *unclosed {
                    return behind;
                }
                if let Some((_, end)) = closing(text, line, bytes[at], length) {
                    return end;
                }
                *unclosed = length;
                return behind;
            }
        }
        if bytes[at] == b'`' { span(text, behind, length).unwrap_or(behind) } else { behind }
    }
}

/// The length of the run of backticks, tildes or quotation marks at `at`.
fn run(bytes: &[u8], at: usize) -> Option<usize> {
    let mark = *bytes.get(at).filter(|byte| matches!(byte, b'`' | b'~' | b'"'))?;
    Some(bytes[at..].iter().take_while(|byte| **byte == mark).count())
}

/// The fence that closes what begins at `from`, a beginning of a line: where its line begins and ends.
fn closing(text: &str, from: usize, mark: u8, length: usize) -> Option<(usize, usize)> {
    let mut start = from;
    for line in text[from..].split_inclusive('\n') {
        let inner = line.trim();
        if inner.len() >= length && inner.bytes().all(|byte| byte == mark) {
            return Some((start, start + line.trim_end().len()));
        }
        start += line.len();
    }
    None
}

/// Where the code span ends whose text begins at `from`: behind a run of the same length, on the same line or, where
/// the run would do for a fence, in the same paragraph. A stray backtick is common, and must not reach a call below it.
fn span(text: &str, from: usize, length: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let most = (from + LONGEST_SPAN).min(bytes.len());
    let mut at = from;
    while at < most {
        match bytes[at] {
            b'`' => {
                let found = run(bytes, at)?;
                at += found;
                if found == length {
                    return Some(at);
                }
            }
            b'\n' if length < 3 || bytes.get(at + 1) == Some(&b'\n') => return None,
            _ => at += 1,
        }
    }
    None
}
