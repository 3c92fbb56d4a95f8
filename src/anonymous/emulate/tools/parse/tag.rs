//! Tags: what stands between angle brackets.

/// Longer ones are no tags.
const LONGEST: usize = 200;

/// A tag. No `Debug`: its label is a part of an answer.
#[derive(Clone, Copy)]
pub(super) struct Tag<'a> {
    /// What it is for.
    pub kind: Kind,
    /// Whether it opens or closes.
    pub side: Side,
    /// The name that it carries: `<x name="this">`, `<x=this>`.
    pub label: Option<&'a str>,
    /// Where it ends.
    pub end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Open,
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `tool_call` and its kin: in it stand calls.
    Call,
    /// `tool_response`: what only a tool says.
    Response,
    /// `think`, `thinking`.
    Thinking,
    /// Other names for it, which may be meant otherwise.
    Reflection,
    /// `<function=x>`, `<invoke name="x">`.
    Function,
    /// `<parameter=x>`, `<parameter name="x">`.
    Parameter,
}

/// The tag that begins at `at`.
pub(super) fn at(text: &str, at: usize) -> Option<Tag<'_>> {
    let bytes = text.as_bytes();
    bytes.get(at).filter(|byte| **byte == b'<')?;
    let mut start = at + 1;
    let mut side = Side::Open;
    if bytes.get(start) == Some(&b'\\') && bytes.get(start + 1) == Some(&b'/') {
        start += 1;
    }
    if bytes.get(start) == Some(&b'/') {
        side = Side::Close;
        start += 1;
    }
    let mut end = start;
    let mut name = [0_u8; 16];
    let mut length = 0;
    while let Some(&byte) = bytes.get(end) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {
                *name.get_mut(length)? = byte.to_ascii_lowercase();
                length += 1;
            }
            b'_' | b'-' | b'|' => {}
            _ => break,
        }
        end += 1;
    }
    let kind = match &name[..length] {
        b"toolcall" | b"toolcalls" | b"functioncall" | b"functioncalls" => Kind::Call,
        b"toolresponse" | b"toolresponses" => Kind::Response,
        b"think" | b"thinking" => Kind::Thinking,
        b"thought" | b"thoughts" | b"reasoning" | b"reflection" => Kind::Reflection,
        b"function" | b"invoke" => Kind::Function,
        b"parameter" => Kind::Parameter,
        _ => return None,
    };
    let mut most = (end + LONGEST).min(text.len());
    while !text.is_char_boundary(most) {
        most -= 1;
    }
    let attributes = &text[end..most];
    let closing = attributes.find(['>', '\n', '<']).filter(|at| attributes.as_bytes()[*at] == b'>')?;
    let attributes = &attributes[..closing];
    if !attributes.is_empty() && !attributes.starts_with([' ', '\t', '=', '/']) {
        return None;
    }
    Some(Tag { kind, side, label: label(attributes), end: end + closing + 1 })
}

fn label(attributes: &str) -> Option<&str> {
    let attributes = attributes.trim().trim_end_matches('/');
    let value = if let Some(value) = attributes.strip_prefix('=') {
        value.trim().trim_matches(['"', '\''])
    } else {
        let at =
            attributes.find("name=").filter(|at| *at == 0 || attributes[..*at].ends_with([' ', '\t']))?;
        let value = &attributes[at + "name=".len()..];
        match value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            Some(quote) => value[1..].split(quote).next()?,
            None => value.split_whitespace().next()?,
        }
    };
    (!value.is_empty()).then_some(value)
}

/// The first tag of `kinds` in `text` from `from` on, and where it begins.
pub(super) fn find(text: &str, from: usize, wanted: impl Fn(&Tag<'_>) -> bool) -> Option<(usize, Tag<'_>)> {
    let mut start = from;
    while let Some(found) = text.get(start..)?.find('<') {
        start += found;
        if let Some(tag) = at(text, start).filter(|tag| wanted(tag)) {
            return Some((start, tag));
        }
        start += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_known_in_their_spellings() {
        let cases = [
            ("<tool_call>", Some((Kind::Call, Side::Open, None))),
            ("</tool_call>", Some((Kind::Call, Side::Close, None))),
            ("<\\/tool_call>", Some((Kind::Call, Side::Close, None))),
            ("<Tool-Call id=\"1\" name=\"f\">", Some((Kind::Call, Side::Open, Some("f")))),
            ("<|tool_call|>", Some((Kind::Call, Side::Open, None))),
            ("<function=f>", Some((Kind::Function, Side::Open, Some("f")))),
            ("<invoke name='f'>", Some((Kind::Function, Side::Open, Some("f")))),
            ("<parameter name=path>", Some((Kind::Parameter, Side::Open, Some("path")))),
            ("<tool_call", None),
            ("<tool_call\n>", None),
            ("<tool_callx>", None),
            ("<tool_call.>", None),
            ("<b>", None),
            ("<", None),
        ];
        for (text, expected) in cases {
            let found = at(text, 0).map(|tag| (tag.kind, tag.side, tag.label));
            assert_eq!(found, expected, "{text}");
        }
    }
}
