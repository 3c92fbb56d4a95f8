//! The reader behind [`json`](super): one pass, which writes JSON as it reads.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::{Care, Lent, Miss};

/// Deeper nesting is no answer, and `serde_json` reads no more either.
const DEEPEST: usize = 128;

/// How far ahead a key is looked for when a quote may or may not end a string.
const KEY_IN_SIGHT: usize = 200;

/// Where a value stands, and so what may follow it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// By itself.
    Top,
    /// In an array.
    Array,
    /// In an object, behind its colon.
    Object,
    /// In an object, before the colon.
    Key,
    /// Behind the `=` of a keyword argument.
    Argument,
}

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    out: String,
    care: Care,
    backslashes: Backslashes,
}

/// What backslashes were seen, and so whether this text escapes its own.
#[derive(Default)]
struct Backslashes {
    /// One that does not begin an escape.
    bare: bool,
    /// An escape that is none if they are not escaped.
    doubtful: bool,
    /// The same of the word which is being read.
    in_word: (bool, bool),
}

impl Backslashes {
    /// Another word: what was seen in the last one says less of it.
    fn end_word(&mut self) {
        self.doubtful |= self.in_word == (true, true);
        self.in_word = (false, false);
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, out: String::new(), care: Care::Strict, backslashes: Backslashes::default() }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn go(&mut self, to: usize) {
        self.at = to;
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// One value, as JSON.
    pub(super) fn value(mut self, place: Place) -> Result<Lent<'a>, Miss> {
        self.out.reserve((self.text.len() - self.at).min(1 << 16));
        self.nest(place)?;
        Ok(self.done())
    }

    /// `a=1, b='x')`, as a JSON object.
    pub(super) fn keywords(mut self) -> Result<Lent<'a>, Miss> {
        self.care = Care::Mended;
        self.out.push('{');
        loop {
            self.space();
            if self.take(b')') {
                break;
            }
            if self.out.len() > 1 {
                self.out.push(',');
            }
            let name = self.word();
            if name.is_empty() {
                return Err(self.missing());
            }
            self.space();
            if !self.take(b'=') {
                return Err(self.missing());
            }
            let _ = write!(self.out, "\"{name}\":");
            self.nest(Place::Argument)?;
            self.space();
            if !self.take(b',') && self.peek() != Some(b')') {
                return Err(self.missing());
            }
        }
        self.out.push('}');
        Ok(self.done())
    }

    /// A key and its colon; the position is then that of the value.
    pub(super) fn key(&mut self) -> Result<String, Miss> {
        let from = self.out.len();
        self.json_key()?;
        let json = self.out.split_off(from);
        self.space();
        serde_json::from_str(json.trim_end_matches(':')).map_err(|_| Miss::Wrong)
    }

    fn done(self) -> Lent<'a> {
        let Backslashes { bare, doubtful, .. } = self.backslashes;
        let care = if bare && doubtful { Care::Unclear } else { self.care.max(Care::Mended) };
        Lent { json: Cow::Owned(self.out), end: self.at, care }
    }

    fn nest(&mut self, outer: Place) -> Result<(), Miss> {
        let mut open: Vec<Place> = Vec::new();
        loop {
            let place = open.last().copied().unwrap_or(outer);
            self.space();
            let opened = match self.peek().ok_or(Miss::Cut)? {
                b'{' => Some(Place::Object),
                b'[' => Some(Place::Array),
                _ => None,
            };
            if let Some(inner) = opened {
                if open.len() == DEEPEST {
                    return Err(Miss::Wrong);
                }
                open.push(inner);
                self.out.push(if inner == Place::Object { '{' } else { '[' });
                self.at += 1;
                self.space();
                if !self.closes(inner) {
                    if inner == Place::Object {
                        self.json_key()?;
                    }
                    continue;
                }
                open.pop();
            } else {
                self.scalar(place)?;
            }
            // Behind a value: what it was in goes on or ends.
            loop {
                let Some(&place) = open.last() else { return Ok(()) };
                self.space();
                if self.closes(place) {
                    open.pop();
                    continue;
                }
                let comma = self.take(b',');
                self.space();
                if comma && self.closes(place) {
                    self.care = self.care.max(Care::Mended);
                    open.pop();
                    continue;
                }
                if !comma && place == Place::Array {
                    return Err(self.missing());
                }
                self.out.push(',');
                if place == Place::Object {
                    self.json_key()?;
                }
                break;
            }
        }
    }

    fn closes(&mut self, place: Place) -> bool {
        let bracket = if place == Place::Object { b'}' } else { b']' };
        let found = self.take(bracket);
        if found {
            self.out.push(char::from(bracket));
        }
        found
    }

    fn json_key(&mut self) -> Result<(), Miss> {
        if self.quote().is_some() {
            self.string(Place::Key)?;
        } else {
            let name = self.word();
            if name.is_empty() {
                return Err(self.missing());
            }
            let _ = write!(self.out, "\"{name}\"");
        }
        self.space();
        if !self.take(b':') {
            return Err(self.missing());
        }
        self.out.push(':');
        Ok(())
    }

    fn scalar(&mut self, place: Place) -> Result<(), Miss> {
        if self.quote().is_some() {
            return self.string(place);
        }
        let rest = &self.text[self.at..];
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-')))
            .unwrap_or(rest.len());
        let word = &rest[..length];
        if length == rest.len() && place != Place::Top {
            // `tru`, `12`: more might have come.
            return Err(Miss::Cut);
        }
        let json = match word {
            "true" | "True" => Cow::Borrowed("true"),
            "false" | "False" => Cow::Borrowed("false"),
            "null" | "None" => Cow::Borrowed("null"),
            _ => number(word).ok_or(Miss::Wrong)?,
        };
        self.out.push_str(&json);
        self.at += length;
        Ok(())
    }

    /// The kind of quote that begins here: its closing form.
    fn quote(&self) -> Option<&'static str> {
        let rest = &self.text[self.at..];
        ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quote| rest.starts_with(quote))
            .or_else(|| rest.starts_with('“').then_some("”"))
    }

    fn string(&mut self, place: Place) -> Result<(), Miss> {
        let Some(mut quote) = self.quote() else { return Err(Miss::Wrong) };
        if quote == "\"\"\"" && self.behind_quote_ends(self.at + 2, place) {
            quote = "\"";
        }
        self.at += if quote == "”" { '“'.len_utf8() } else { quote.len() };
        self.out.push('"');
        let bytes = self.text.as_bytes();
        let mut copied = self.at;
        loop {
            let byte = *bytes.get(self.at).ok_or(Miss::Cut)?;
            match byte {
                b'\\' => {
                    self.out.push_str(&self.text[copied..self.at]);
                    self.escape(quote)?;
                    copied = self.at;
                }
                0..0x20 => {
                    self.backslashes.end_word();
                    self.out.push_str(&self.text[copied..self.at]);
                    match byte {
                        b'\n' => self.out.push_str("\\n"),
                        b'\r' => self.out.push_str("\\r"),
                        b'\t' => self.out.push_str("\\t"),
                        other => {
                            let _ = write!(self.out, "\\u{other:04x}");
                        }
                    }
                    self.at += 1;
                    copied = self.at;
                }
                _ if bytes[self.at..].starts_with(quote.as_bytes()) => {
                    let behind = self.at + quote.len();
                    if quote.len() == 1 && !self.behind_quote_ends(behind, place) {
                        self.care = Care::Guessed;
                        self.out.push_str(&self.text[copied..self.at]);
                        self.out.push_str(if byte == b'"' { "\\\"" } else { "'" });
                        self.at = behind;
                        copied = behind;
                    } else {
                        self.out.push_str(&self.text[copied..self.at]);
                        self.out.push('"');
                        self.at = behind;
                        self.backslashes.end_word();
                        return Ok(());
                    }
                }
                b'"' => {
                    self.out.push_str(&self.text[copied..self.at]);
                    self.out.push_str("\\\"");
                    self.at += 1;
                    copied = self.at;
                }
                other => {
                    if other.is_ascii_whitespace() || b"'()<>|,;".contains(&other) {
                        self.backslashes.end_word();
                    }
                    self.at += 1;
                }
            }
        }
    }

    /// At a backslash.
    fn escape(&mut self, quote: &str) -> Result<(), Miss> {
        let rest = &self.text.as_bytes()[self.at + 1..];
        let hex = |digits: usize| {
            rest.get(1..=digits)
                .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
                .map(|_| &self.text[self.at + 2..self.at + 2 + digits])
        };
        let (json, length): (Cow<'_, str>, usize) = match *rest.first().ok_or(Miss::Cut)? {
            letter @ (b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.backslashes.in_word.1 |= letter.is_ascii_alphabetic();
                self.backslashes.doubtful |= match letter {
                    // Nobody writes those.
                    b'b' | b'f' => true,
                    b'r' if !rest[1..].starts_with(b"\\n") => true,
                    // Behind a drive stands a name.
                    b'n' | b'r' | b't' => is_behind_drive(&self.text.as_bytes()[..self.at]),
                    _ => false,
                };
                (Cow::Borrowed(&self.text[self.at..self.at + 2]), 2)
            }
            b'u' if hex(4).is_some() => {
                self.backslashes.in_word.1 = true;
                (Cow::Borrowed(&self.text[self.at..self.at + 6]), 6)
            }
            b'u' if rest.len() < 5 => return Err(Miss::Cut),
            b'\'' => (Cow::Borrowed("'"), 2),
            // Python's, in Python's strings.
            b'x' if quote != "\"" => match hex(2) {
                Some(digits) => (Cow::Owned(format!("\\u00{digits}")), 4),
                None => self.backslash(),
            },
            _ => self.backslash(),
        };
        self.out.push_str(&json);
        self.at += length;
        Ok(())
    }

    /// A backslash that stands for itself.
    fn backslash(&mut self) -> (Cow<'static, str>, usize) {
        self.backslashes.bare = true;
        self.backslashes.in_word.0 = true;
        (Cow::Borrowed("\\\\"), 1)
    }

    /// Whether what stands at `behind` may follow a string at `place`, so that the quote before it is its end.
    fn behind_quote_ends(&self, behind: usize, place: Place) -> bool {
        let rest = self.text[behind..].trim_start();
        let Some(first) = rest.chars().next() else { return true };
        if rest.starts_with("//") || rest.starts_with("/*") {
            return true;
        }
        let next = rest[first.len_utf8()..].trim_start();
        match (place, first) {
            (Place::Top, _)
            | (Place::Key, ':')
            | (Place::Array, ']')
            | (Place::Object, '}')
            | (Place::Argument, ')' | ',') => true,
            (Place::Array, ',') => {
                next.is_empty() || next.starts_with(|c: char| "\"'{[]-/#“".contains(c) || c.is_alphanumeric())
            }
            (Place::Object, ',') => next.is_empty() || next.starts_with(['}', '/', '#']) || is_key(next),
            // A comma is missing, if a key stands on a line of its own.
            (Place::Object, '"' | '\'') => {
                self.text[behind..].trim_start_matches([' ', '\t', '\r']).starts_with('\n') && is_key(rest)
            }
            _ => false,
        }
    }

    /// Skips white space and comments.
    pub(super) fn space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            self.at = self.text.len() - trimmed.len();
            let comment = if trimmed.starts_with("//") || trimmed.starts_with('#') {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else if trimmed.starts_with("/*") {
                trimmed.find("*/").map_or(trimmed.len(), |end| end + 2)
            } else {
                return;
            };
            self.at += comment;
        }
    }

    fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let begins = rest.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '$');
        let length = if begins {
            rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$' || c == '-'))
                .unwrap_or(rest.len())
        } else {
            0
        };
        self.at += length;
        &rest[..length]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn missing(&self) -> Miss {
        if self.is_at_end() { Miss::Cut } else { Miss::Wrong }
    }
}

/// Whether `C:` was read last.
fn is_behind_drive(before: &[u8]) -> bool {
    matches!(before, [.., other, drive, b':'] if drive.is_ascii_alphabetic() && !other.is_ascii_alphanumeric())
}

/// Whether a key and its colon begin here, or may.
fn is_key(text: &str) -> bool {
    let mut window = KEY_IN_SIGHT.min(text.len());
    while !text.is_char_boundary(window) {
        window -= 1;
    }
    let window = &text[..window];
    if let Some(quote) = window.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = &window[1..];
        let mut escaped = false;
        let end = inner.find(|c| {
            let ends = c == quote && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        // Too long to be seen whole: then it is taken for what it looks like.
        let is_short = window.len() == text.len();
        let name = &inner[..end.unwrap_or(inner.len())];
        return !name.contains('\n')
            && end.map_or(!is_short, |end| {
                let behind = inner[end + 1..].trim_start();
                behind.starts_with(':') || (behind.is_empty() && !is_short)
            });
    }
    let word = window.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '-'));
    word.len() < window.len() && word.trim_start().starts_with(':')
}

/// A number as JSON writes it; `None` if it is none, or not surely one.
fn number(word: &str) -> Option<Cow<'_, str>> {
    if super::is_strict(word) {
        return word.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then_some(Cow::Borrowed(word));
    }
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    if !digits.starts_with(|c: char| c == '.' || c.is_ascii_digit()) || digits.starts_with("00") {
        return None;
    }
    let mut json = format!("{sign}{}", digits.replace('_', ""));
    let whole =
        json.len() - json.trim_start_matches('-').trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if json[whole..].starts_with('.') {
        if !json[whole + 1..].starts_with(|c: char| c.is_ascii_digit()) {
            json.insert(whole + 1, '0');
        }
        if whole == sign.len() {
            json.insert(whole, '0');
        }
    }
    super::is_strict(&json).then_some(Cow::Owned(json))
}
