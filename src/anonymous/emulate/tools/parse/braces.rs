//! Braces on a line of prose: what stands between them may be JSON, and a tag in it may be a part of a string.

/// What was opened on a line, and not closed.
#[derive(Default)]
pub(super) struct Braces {
    depth: usize,
    /// The quotation mark that ends the string which is open.
    quote: Option<char>,
    /// Behind a backslash in a string.
    escaped: bool,
    /// What was read last, white space aside.
    last: Option<char>,
}

impl Braces {
    /// Behind something of which nobody knows where it ends, with `line` before it.
    pub(super) fn in_doubt(line: &str) -> Self {
        if line.contains('{') {
            Self { depth: 1, quote: Some('\n'), ..Self::default() }
        } else {
            Self::default()
        }
    }

    /// Whether what comes next may stand in something like JSON.
    pub(super) fn are_open(&self) -> bool {
        self.depth > 0
    }

    /// Reads on.
    pub(super) fn read(&mut self, prose: &str) {
        for c in prose.chars() {
            match (self.quote, c) {
                (Some(_), _) if self.escaped => self.escaped = false,
                (Some(_), '\\') => self.escaped = true,
                (Some(quote), _) if c == quote => self.quote = None,
                (None, '{') => self.depth += 1,
                (None, '}') => self.depth = self.depth.saturating_sub(1),
                // Elsewhere it is more likely an apostrophe.
                (None, '"') if self.depth > 0 => self.quote = Some(c),
                (None, '\'') if self.depth > 0 && matches!(self.last, Some('{' | '[' | ',' | ':')) => {
                    self.quote = Some(c);
                }
                _ => {}
            }
            if !c.is_whitespace() {
                self.last = Some(c);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_is_not_open() {
        let cases = [
            ("", false),
            ("an {empty} one: {}", false),
            ("{\"a\": \"b\"} and so on", false),
            ("{\"a\": {\"b\": 1}", true),
            ("{\"a\": \"}", true),
            ("{\"a\": \"\\\"}", true),
            ("{'a': '}", true),
            ("{what it's for} it's", false),
            ("} {", true),
        ];
        for (prose, open) in cases {
            let mut whole = Braces::default();
            whole.read(prose);
            let mut pieces = Braces::default();
            prose.split_inclusive(' ').for_each(|piece| pieces.read(piece));
            assert_eq!((whole.are_open(), pieces.are_open()), (open, open), "{prose}");
        }
    }
}
