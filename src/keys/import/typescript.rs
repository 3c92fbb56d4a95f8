//! Keys out of TypeScript source, as the official client publishes them.
//!
//! What is understood: `const` declarations (also `let`, `var`, exported, annotated, `as const`, `satisfies`,
//! `Object.freeze(…)`) and string `enum`s whose values are strings, templates, `+` joins, other constants, members
//! of constants, or objects of these; comments anywhere. What is not understood is passed over, unless a key
//! hangs on it: then the import is refused.
//!
//! A name map is an object with at least one PEM in it. A computed key such as `[MODEL_IDS.GPT_4_1]` whose object
//! is imported from elsewhere is matched against the known model ids.

use std::collections::{BTreeMap, BTreeSet};

use crate::keys::import::syntax::{Token, tokens};
use crate::keys::import::{BEGIN, ImportError, Imported, add, shown};
use crate::keys::{KeyName, Keyring};
use crate::wire::{ABUSE_PERMANENT, ABUSE_TRANSIENT};

/// Model ids of protocol.md §6. Used only to read symbols whose definition is in another file.
const KNOWN_MODELS: [&str; 11] = [
    "gemini-2.5-flash",
    "gemini-2.5-pro",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-5.3-chat",
    "gpt-5-mini",
    "gemini-2.5-flash-lite",
    "gemini-3-flash-preview",
    "gemini-3-pro-preview",
    "gpt-4o",
    "o1",
];

/// Objects nested deeper than this are no list of keys.
const DEEPEST: usize = 16;

/// The value of an expression.
#[derive(Clone, Debug)]
enum Value {
    Text(String),
    /// A name, or a path of names: `a`, `a.b`.
    Path(Vec<String>),
    Object(Vec<(Key, Value)>),
    /// Several joined by `+`.
    Join(Vec<Value>),
    Unknown,
}

/// A key of an object.
#[derive(Clone, Debug)]
enum Key {
    Plain(String),
    Computed(Value),
    Spread,
}

/// Reads every key of `source`.
pub(super) fn read(source: &str) -> Result<Imported, ImportError> {
    if !source.contains(BEGIN) {
        return Err(ImportError::NoKeys);
    }
    let scope = Scope(declarations(&tokens(source)?)?);
    let mut collected = Collected { keys: Keyring::default(), used: BTreeSet::new() };
    for (name, value) in &scope.0 {
        if let Value::Object(entries) = value {
            if entries.iter().any(|(_, value)| scope.pem(value).is_some()) {
                collected.map(&scope, entries, 0)?;
            } else {
                // A map of maps, such as `{ models: {…}, abuse: {…} }`.
                collected.inner_maps(&scope, entries, 0)?;
            }
        } else if let (Some(abuse), Some(pem)) = (abuse_key(name), scope.pem(value)) {
            add(&mut collected.keys, abuse, &pem)?;
            collected.used.insert(name.clone());
        }
    }
    let is_unused = |(name, value): &(&String, &Value)| {
        !matches!(value, Value::Object(_)) && scope.pem(value).is_some() && !collected.used.contains(*name)
    };
    let unused = scope.0.iter().filter(is_unused).map(|(name, _)| shown(name)).collect();
    if collected.keys.is_empty() {
        return Err(ImportError::NoMap);
    }
    Ok(Imported { keys: collected.keys, unused })
}

struct Collected {
    keys: Keyring,
    /// Constants that some name led to.
    used: BTreeSet<String>,
}

impl Collected {
    fn map(&mut self, scope: &Scope, entries: &[(Key, Value)], depth: usize) -> Result<(), ImportError> {
        if depth > DEEPEST {
            return Ok(());
        }
        for (key, value) in entries {
            if let (Key::Spread, Some(Value::Object(inner))) = (key, scope.resolve(value, 0)) {
                self.map(scope, &inner, depth + 1)?;
                continue;
            }
            let name = scope.key_name(key, value)?;
            let pem = scope.pem(value).ok_or_else(|| ImportError::Value(shown(&name)))?;
            scope.note_used(value, &mut self.used, 0);
            add(&mut self.keys, &name, &pem)?;
        }
        Ok(())
    }

    fn inner_maps(
        &mut self,
        scope: &Scope,
        entries: &[(Key, Value)],
        depth: usize,
    ) -> Result<(), ImportError> {
        for (_, value) in entries {
            if let (Value::Object(inner), true) = (value, depth < DEEPEST) {
                if inner.iter().any(|(_, value)| scope.pem(value).is_some()) {
                    self.map(scope, inner, depth)?;
                } else {
                    self.inner_maps(scope, inner, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

/// Every constant of the file.
struct Scope(BTreeMap<String, Value>);

impl Scope {
    /// Follows names to a text or an object.
    fn resolve(&self, value: &Value, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        match value {
            Value::Text(_) | Value::Object(_) => Some(value.clone()),
            Value::Unknown => None,
            Value::Join(parts) => {
                let mut joined = String::new();
                for part in parts {
                    let Value::Text(text) = self.resolve(part, depth + 1)? else { return None };
                    joined.push_str(&text);
                }
                Some(Value::Text(joined))
            }
            Value::Path(path) => {
                let (first, members) = path.split_first()?;
                let mut value = self.resolve(self.0.get(first)?, depth + 1)?;
                for member in members {
                    let Value::Object(entries) = &value else { return None };
                    let found = entries.iter().rev().find_map(|(key, value)| match key {
                        Key::Plain(name) if name == member => Some(value),
                        _ => None,
                    });
                    value = self.resolve(found?, depth + 1)?;
                }
                Some(value)
            }
        }
    }

    fn pem(&self, value: &Value) -> Option<String> {
        match self.resolve(value, 0) {
            // Indented templates carry their indentation into each line.
            Some(Value::Text(text)) if text.trim_start().starts_with(BEGIN) => {
                Some(text.trim().lines().map(str::trim).collect::<Vec<_>>().join("\n"))
            }
            _ => None,
        }
    }

    fn note_used(&self, value: &Value, used: &mut BTreeSet<String>, depth: usize) {
        match value {
            Value::Path(path) if depth <= DEEPEST => {
                if let Some((name, value)) = path.first().and_then(|first| self.0.get_key_value(first)) {
                    used.insert(name.clone());
                    self.note_used(value, used, depth + 1);
                }
            }
            Value::Join(parts) => parts.iter().for_each(|part| self.note_used(part, used, depth + 1)),
            _ => {}
        }
    }

    /// The key name that a map's key stands for.
    fn key_name(&self, key: &Key, value: &Value) -> Result<String, ImportError> {
        match key {
            Key::Plain(name) if name.parse::<KeyName>().is_err() => Err(ImportError::Name(shown(name))),
            // A bare `permanentAbuse…` is what the two abuse keys are called; a model's id is what it is.
            Key::Plain(name) => Ok(abuse_key(name).map_or_else(|| name.clone(), str::to_owned)),
            Key::Computed(computed) => match (self.resolve(computed, 0), computed) {
                (Some(Value::Text(name)), _) => Ok(abuse_key(&name).map_or(name, str::to_owned)),
                (_, Value::Path(path)) => {
                    let symbol = path.last().map(String::as_str).unwrap_or_default();
                    known(symbol)
                        .map(str::to_owned)
                        .ok_or_else(|| ImportError::Symbol(shown(&path.join("."))))
                }
                _ => Err(ImportError::Symbol("[…]".into())),
            },
            Key::Spread => match value {
                Value::Path(path) => Err(ImportError::Value(shown(&format!("...{}", path.join("."))))),
                _ => Err(ImportError::Value("...".into())),
            },
        }
    }
}

fn normalised(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The abuse key that a symbol or a map's key names.
fn abuse_key(name: &str) -> Option<&'static str> {
    let name = normalised(name);
    match (name.contains("abuse"), name.contains("permanent"), name.contains("transient")) {
        (true, true, false) => Some(ABUSE_PERMANENT),
        (true, false, true) => Some(ABUSE_TRANSIENT),
        _ => None,
    }
}

/// The model id that a symbol such as `CHAT_GPT_4_1_MINI` stands for: the same letters and digits, an optional
/// `CHAT` in front set aside; else the only known id that starts with them (`…-preview`).
fn known(symbol: &str) -> Option<&'static str> {
    if let Some(abuse) = abuse_key(symbol) {
        return Some(abuse);
    }
    let symbol = normalised(symbol);
    let forms = [symbol.as_str(), symbol.strip_prefix("chat").unwrap_or(&symbol)];
    let exact = |form: &&str| KNOWN_MODELS.into_iter().find(|model| normalised(model) == **form);
    if let Some(model) = forms.iter().find_map(exact) {
        return Some(model);
    }
    let mut longer = KNOWN_MODELS
        .into_iter()
        .filter(|model| forms.iter().any(|form| form.len() >= 4 && normalised(model).starts_with(form)));
    match (longer.next(), longer.next()) {
        (Some(model), None) => Some(model),
        _ => None,
    }
}

/// Every `const NAME = …` and `enum NAME {…}`, at whatever depth it stands.
fn declarations(tokens: &[Token]) -> Result<BTreeMap<String, Value>, ImportError> {
    let mut found = BTreeMap::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut reader = Reader { tokens, at };
        let declared = match &tokens[at] {
            Token::Word(word) if matches!(word.as_str(), "const" | "let" | "var") => reader.constant(),
            Token::Word(word) if word == "enum" => reader.enumeration(),
            _ => None,
        };
        match declared {
            Some((name, value)) => {
                // A PEM under a name that is declared twice could be either.
                if found.insert(name.clone(), value).is_some() {
                    return Err(ImportError::Symbol(shown(&name)));
                }
                at = reader.at;
            }
            None => at += 1,
        }
    }
    Ok(found)
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    fn eat(&mut self, mark: char) -> bool {
        let is_next = self.peek() == Some(&Token::Mark(mark));
        self.at += usize::from(is_next);
        is_next
    }

    fn word(&mut self) -> Option<String> {
        match self.take()? {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    /// `const NAME: Type = value`.
    fn constant(&mut self) -> Option<(String, Value)> {
        self.at += 1;
        let name = self.word()?;
        if self.eat(':') {
            // The type ends at an `=` that is no part of `=>`.
            while !(self.peek()? == &Token::Mark('=')
                && self.tokens.get(self.at + 1).is_none_or(|next| *next != Token::Mark('>')))
            {
                if self.peek()? == &Token::Mark(';') {
                    return None;
                }
                self.at += 1;
            }
        }
        self.eat('=').then(|| (name, self.value(0)))
    }

    /// `enum NAME { KEY = 'value', … }`.
    fn enumeration(&mut self) -> Option<(String, Value)> {
        self.at += 1;
        let name = self.word()?;
        if !self.eat('{') {
            return None;
        }
        let mut entries = Vec::new();
        while !self.eat('}') {
            let (Token::Word(key) | Token::Text(key)) = self.take()? else { return None };
            let value = if self.eat('=') { self.value(0) } else { Value::Unknown };
            entries.push((Key::Plain(key), value));
            self.eat(',');
        }
        Some((name, Value::Object(entries)))
    }

    /// A value, with what may follow it.
    fn value(&mut self, depth: usize) -> Value {
        let mut parts = vec![self.term(depth)];
        while self.eat('+') {
            parts.push(self.term(depth));
        }
        while let Some(Token::Word(word)) = self.peek() {
            match word.as_str() {
                "as" | "satisfies" => self.skip_type(),
                _ => break,
            }
        }
        if parts.len() == 1 { parts.remove(0) } else { Value::Join(parts) }
    }

    /// `as const`, `as Record<A, B>`, `satisfies Record<A, B>`.
    fn skip_type(&mut self) {
        self.at += 2;
        let mut open = 0usize;
        while let Some(token) = self.peek() {
            match token {
                Token::Mark('<' | '[') => open += 1,
                Token::Mark('>' | ']') if open > 0 => open -= 1,
                _ if open == 0 => return,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn term(&mut self, depth: usize) -> Value {
        if depth > DEEPEST {
            return Value::Unknown;
        }
        match self.take() {
            Some(Token::Text(text)) => Value::Text(text),
            Some(Token::Mark('{')) => self.object(depth),
            Some(Token::Mark('(')) => {
                let value = self.value(depth + 1);
                if self.eat(')') { value } else { Value::Unknown }
            }
            Some(Token::Word(first)) => self.path(first, depth),
            _ => Value::Unknown,
        }
    }

    fn path(&mut self, first: String, depth: usize) -> Value {
        let mut path = vec![first];
        while self.eat('.') {
            match self.word() {
                Some(member) => path.push(member),
                None => return Value::Unknown,
            }
        }
        match self.peek() {
            Some(Token::Mark('(')) if path == ["Object", "freeze"] => {
                self.at += 1;
                let value = self.value(depth + 1);
                if self.eat(')') { value } else { Value::Unknown }
            }
            Some(Token::Mark('(' | '[')) => Value::Unknown,
            _ => Value::Path(path),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        let mut entries = Vec::new();
        while !self.eat('}') {
            let Some(entry) = self.entry(depth) else { return Value::Unknown };
            entries.push(entry);
            if !self.eat(',') && self.peek() != Some(&Token::Mark('}')) {
                return Value::Unknown;
            }
        }
        Value::Object(entries)
    }

    fn entry(&mut self, depth: usize) -> Option<(Key, Value)> {
        let key = match self.take()? {
            Token::Mark('[') => {
                let key = Key::Computed(self.value(depth + 1));
                self.eat(']').then_some(key)?
            }
            Token::Mark('.') if self.eat('.') && self.eat('.') => {
                return Some((Key::Spread, self.value(depth + 1)));
            }
            Token::Text(text) => Key::Plain(text),
            Token::Word(word) => {
                if matches!(self.peek(), Some(Token::Mark(',' | '}'))) {
                    // `{ name }` is `{ name: name }`.
                    return Some((Key::Plain(word.clone()), Value::Path(vec![word])));
                }
                Key::Plain(word)
            }
            _ => return None,
        };
        self.eat(':').then(|| (key, self.value(depth + 1)))
    }
}

#[cfg(test)]
mod tests;
