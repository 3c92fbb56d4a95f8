//! A small honest reader of Rust source: tokens without comments, and the paths that they name.
//!
//! It knows nested comments, raw strings, lifetimes against character literals, `use` trees, inline
//! modules, and `self`/`super`/`crate`. It does not expand macros; what a macro *call* is given, it reads.

/// What the reader tells apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// An identifier or keyword, without `r#`.
    Word(String),
    /// The content of a string literal, escapes as written.
    Text(String),
    /// `::`, or one character of punctuation.
    Mark(&'static str),
    /// Anything else: numbers, characters, lifetimes, other punctuation.
    Other,
}

/// A path as the source names it, made absolute where that is possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `["crate", "anonymous", "redeem", "Prompt"]`; `"*"` stands for a glob. A path that starts with neither
    /// `crate`, `self` nor `super` is kept as written.
    pub path: Vec<String>,
    /// It stands inside an inline `mod tests`.
    pub in_tests: bool,
    /// The name it gets by `as`.
    pub renamed: Option<String>,
}

const MARKS: [&str; 14] = ["{", "}", "(", ")", "[", "]", "<", ">", ",", ";", "*", "#", "=", ":"];

/// Source → tokens.
pub fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let word_start = |c: char| c == '_' || c.is_alphabetic();
    let word_part = |c: char| c == '_' || c.is_alphanumeric();
    let mut found = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let c = at(i);
        if c.is_whitespace() {
            i += 1;
        } else if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            i = after_block_comment(&chars, i);
        } else if let Some((text, next)) = string_literal(&chars, i) {
            found.push(Token::Text(text));
            i = next;
        } else if c == '\'' {
            i = after_quote(&chars, i);
            found.push(Token::Other);
        } else if word_start(c) {
            if c == 'r' && at(i + 1) == '#' && word_start(at(i + 2)) {
                i += 2;
            }
            let start = i;
            while word_part(at(i)) {
                i += 1;
            }
            found.push(Token::Word(chars[start..i].iter().collect()));
        } else if c.is_ascii_digit() {
            while word_part(at(i)) {
                i += 1;
            }
            found.push(Token::Other);
        } else if c == ':' && at(i + 1) == ':' {
            found.push(Token::Mark("::"));
            i += 2;
        } else {
            let mark = MARKS.into_iter().find(|mark| mark.starts_with(c));
            found.push(mark.map_or(Token::Other, Token::Mark));
            i += 1;
        }
    }
    found
}

fn after_block_comment(chars: &[char], start: usize) -> usize {
    let (mut i, mut depth) = (start + 2, 1);
    while i < chars.len() && depth > 0 {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (i, depth) = (i + 2, depth + 1),
            ('*', Some('/')) => (i, depth) = (i + 2, depth - 1),
            _ => i += 1,
        }
    }
    i
}

/// `"…"`, `b"…"`, `c"…"`, `r#"…"#`, `br"…"`: content and the index behind it.
fn string_literal(chars: &[char], start: usize) -> Option<(String, usize)> {
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let mut i = start;
    if matches!(at(i), 'b' | 'c') {
        i += 1;
    }
    let raw = at(i) == 'r';
    if raw {
        i += 1;
    }
    let fence = if raw { chars[i..].iter().take_while(|c| **c == '#').count() } else { 0 };
    i += fence;
    if at(i) != '"' {
        return None;
    }
    i += 1;
    let begin = i;
    while i < chars.len() {
        if !raw && at(i) == '\\' {
            i += 2;
        } else if at(i) == '"' && (1..=fence).all(|ahead| at(i + ahead) == '#') {
            return Some((chars[begin..i].iter().collect(), i + 1 + fence));
        } else {
            i += 1;
        }
    }
    Some((chars[begin.min(chars.len())..].iter().collect(), chars.len()))
}

/// Behind a character literal, or behind the quote of a lifetime.
fn after_quote(chars: &[char], start: usize) -> usize {
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    if at(start + 1) == '\\' {
        let mut i = start + 3;
        while i < chars.len() && at(i) != '\'' {
            i += 1;
        }
        i + 1
    } else if at(start + 2) == '\'' {
        start + 3
    } else {
        start + 1
    }
}

/// The module that a file of `src/` is: `src/anonymous/http.rs` → `[crate, anonymous, http]`.
pub fn module_of(file: &str) -> Vec<String> {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut path = vec!["crate".to_owned()];
    if !matches!(inner, "lib" | "main") {
        path.extend(inner.split('/').map(str::to_owned));
    }
    path
}

/// Every path of two or more segments, and everything a `use` brings in.
pub fn references(file: &str, source: &str) -> Vec<Reference> {
    let tokens = tokens(source);
    let mut walk =
        Walk { tokens: &tokens, file: module_of(file), scopes: Vec::new(), found: Vec::new(), at: 0 };
    walk.run();
    walk.found
}

struct Walk<'a> {
    tokens: &'a [Token],
    file: Vec<String>,
    /// One entry for each open brace: the inline module that it opens, if it does.
    scopes: Vec<Option<String>>,
    found: Vec<Reference>,
    at: usize,
}

impl Walk<'_> {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    fn is_mark(&self, ahead: usize, mark: &str) -> bool {
        matches!(self.peek(ahead), Some(Token::Mark(found)) if *found == mark)
    }

    fn word(&self, ahead: usize) -> Option<&str> {
        match self.peek(ahead) {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn run(&mut self) {
        let mut pending_module = None;
        while self.at < self.tokens.len() {
            if self.is_mark(0, "{") {
                self.scopes.push(pending_module.take());
                self.at += 1;
            } else if self.is_mark(0, "}") {
                self.scopes.pop();
                self.at += 1;
            } else if self.word(0) == Some("mod") && self.word(1).is_some() && self.is_mark(2, "{") {
                pending_module = self.word(1).map(str::to_owned);
                self.at += 2;
            } else if self.word(0) == Some("use") && !self.is_mark(1, "<") {
                self.at += 1;
                if self.is_mark(0, "::") {
                    self.at += 1;
                }
                self.use_tree(&[]);
            } else if self.word(0) == Some("in") && matches!(self.word(1), Some("crate" | "super")) {
                // `pub(in crate::a)` says who may look, not what is used.
                self.at += 1;
                self.chain();
            } else if self.word(0).is_some() && self.is_mark(1, "::") {
                let path = self.chain();
                self.record(path, None);
            } else if self.is_mark(0, "::") && self.word(1).is_some() {
                self.at += 1;
                self.chain();
            } else {
                self.at += 1;
            }
        }
    }

    /// `a::b::c`, leaving the cursor behind it.
    fn chain(&mut self) -> Vec<String> {
        let mut path = Vec::new();
        while let Some(word) = self.word(0).map(str::to_owned) {
            path.push(word);
            self.at += 1;
            if self.is_mark(0, "::") && self.word(1).is_some() {
                self.at += 1;
            } else {
                break;
            }
        }
        path
    }

    /// One tree of a `use`, to its `,`, `}` or `;`.
    fn use_tree(&mut self, prefix: &[String]) {
        let mut path = prefix.to_vec();
        path.extend(self.chain());
        if self.is_mark(0, "::") {
            self.at += 1;
        }
        if self.is_mark(0, "{") {
            self.at += 1;
            while self.at < self.tokens.len() && !self.is_mark(0, "}") {
                let before = self.at;
                self.use_tree(&path);
                if self.is_mark(0, ",") || self.at == before {
                    self.at += 1;
                }
            }
            self.at += 1;
        } else if self.is_mark(0, "*") {
            self.at += 1;
            path.push("*".to_owned());
            self.record(path, None);
        } else if self.word(0) == Some("as") {
            let name = self.word(1).map(str::to_owned);
            self.at += 2;
            self.record(path, name);
        } else {
            self.record(path, None);
        }
    }

    fn record(&mut self, path: Vec<String>, renamed: Option<String>) {
        let inline: Vec<&String> = self.scopes.iter().flatten().collect();
        let in_tests = inline.iter().any(|name| *name == "tests");
        let here: Vec<String> = self.file.iter().chain(inline.iter().copied()).cloned().collect();
        let path = absolute(&here, path);
        self.found.push(Reference { path, in_tests, renamed });
    }
}

fn absolute(here: &[String], mut path: Vec<String>) -> Vec<String> {
    // `use a::{self}` names `a`.
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    match path.first().map(String::as_str) {
        Some("llmtor") => {
            "crate".clone_into(&mut path[0]);
            path
        }
        Some("self" | "super") => {
            let mut base = here.to_vec();
            let mut rest = path.into_iter().peekable();
            while let Some(step) = rest.next_if(|step| step == "self" || step == "super") {
                if step == "super" && base.len() > 1 {
                    base.pop();
                }
            }
            base.extend(rest);
            base
        }
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(file: &str, source: &str) -> Vec<String> {
        references(file, source).into_iter().map(|reference| reference.path.join("::")).collect()
    }

    #[test]
    fn nested_use_trees_are_spelt_out() {
        let source = "use crate::{anonymous::{http::{self, Guard as G}, redeem::*}, vault};";
        let expected = [
            "crate::anonymous::http",
            "crate::anonymous::http::Guard",
            "crate::anonymous::redeem::*",
            "crate::vault",
        ];
        assert_eq!(paths("src/x.rs", source), expected);
    }

    #[test]
    fn super_and_self_are_resolved_from_the_file_and_from_inline_modules() {
        let source =
            "use super::redeem::Prompt; mod tests { use super::*; fn f() { super::super::http::x(); } }";
        assert_eq!(
            paths("src/anonymous/openai.rs", source),
            ["crate::anonymous::redeem::Prompt", "crate::anonymous::openai::*", "crate::anonymous::http::x"]
        );
    }

    #[test]
    fn comments_strings_and_lifetimes_hide_nothing_and_invent_nothing() {
        let source = r##"
            // use crate::identity::a;
            /* use crate::identity::b; /* nested */ use crate::identity::c; */
            const S: &str = "use crate::identity::d; \" crate::identity::e";
            const R: &str = r#"crate::identity::f " crate::identity::g"#;
            fn f<'a>(x: &'a str) -> char { let _ = crate::identity::real(x); '"' }
            fn g() -> char { '\'' } fn h() { crate::identity::second() }
        "##;
        assert_eq!(paths("src/x.rs", source), ["crate::identity::real", "crate::identity::second"]);
    }

    #[test]
    fn paths_in_expressions_types_and_macro_calls_are_seen() {
        let source =
            "fn f(a: crate::a::T) { x!(crate::b::C); crate::d::e::<u8>(); } pub(in crate::g) fn h() {}";
        assert_eq!(paths("src/x.rs", source), ["crate::a::T", "crate::b::C", "crate::d::e"]);
    }
}
