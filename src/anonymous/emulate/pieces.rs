//! Cutting a whole answer into the pieces that a stream is made of.

/// A piece is cut at the first word edge after this many bytes …
const LEAST: usize = 64;
/// … and, in text without word edges, at the last character that fits into this many.
const MOST: usize = 256;

/// The length in bytes of the first piece of `text`: 0 only if `text` is empty, never inside a character.
///
/// Reads at most 256 bytes, so cutting a whole text is linear in its length.
pub fn first(text: &str) -> usize {
    if text.len() <= LEAST {
        return text.len();
    }
    let window = &text.as_bytes()[LEAST..text.len().min(MOST)];
    match window.iter().position(u8::is_ascii_whitespace) {
        Some(at) => LEAST + at + 1,
        // A character has at most four bytes.
        None if text.len() <= MOST => text.len(),
        None => (MOST - 3..=MOST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(text.len()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(mut text: &str) -> Vec<&str> {
        let mut pieces = Vec::new();
        while !text.is_empty() {
            let (piece, rest) = text.split_at(first(text));
            pieces.push(piece);
            text = rest;
        }
        pieces
    }

    #[test]
    fn prose_is_cut_behind_its_spaces() {
        let prose = "word ".repeat(100);
        let pieces = split(&prose);
        assert!(pieces.len() > 5);
        assert!(pieces.iter().all(|piece| piece.ends_with(' ')));
    }

    #[test]
    fn text_without_edges_is_cut_between_characters() {
        let text = "あ".repeat(1_000);
        assert_eq!(split(&text)[0].len(), 255);
        assert_eq!(split(&text).concat(), text);
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_text(text in "\\PC{0,2000}") {
            let pieces = split(&text);
            prop_assert!(pieces.iter().all(|piece| (1..=MOST).contains(&piece.len())));
            prop_assert_eq!(pieces.concat(), text);
        }
    }
}
