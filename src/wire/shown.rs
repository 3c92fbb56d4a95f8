//! Text of somebody else's that a person will read: names, mail addresses, prices, error messages.
//!
//! Whoever writes it is an adversary of this program, and a terminal obeys what it reads: an escape sequence clears the screen or
//! fills the clipboard, a line break forges a line of ours, a bidirectional override turns a name around. So such text is
//! one line, of bounded length, of characters that show themselves. It is for showing: what is sent back stays as it came.

/// What stands for a character that is not shown.
const HIDDEN: char = '\u{fffd}';

/// `text` on one line, without control and bidirectional formatting characters, `longest` characters at most.
pub fn shown(text: &str, longest: usize) -> String {
    let fit = |letter: char| match letter {
        '\n' | '\r' | '\t' => ' ',
        letter if steers(letter) => HIDDEN,
        letter => letter,
    };
    text.trim().chars().map(fit).take(longest).collect()
}

/// Whether it moves something instead of showing itself.
fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_cannot_steer_a_terminal() {
        assert_eq!(
            shown("ali\u{1b}[31mce\r\n\nllmtor: all is well\u{7}", 80),
            "ali�[31mce   llmtor: all is well�"
        );
        assert_eq!(shown("gpt\u{202e}4\u{2028}.1", 80), "gpt�4�.1");
        assert_eq!(shown(" Zoë Ålund, 東京 ", 80), "Zoë Ålund, 東京");
    }

    proptest! {
        #[test]
        fn whatever_came_is_one_short_line(text in "\\PC*|[\\x00-\\x9f\\u200e-\\u2069a-z]{0,300}", longest in 0_usize..100) {
            let shown = shown(&text, longest);
            prop_assert!(shown.chars().count() <= longest);
            prop_assert!(!shown.contains(steers));
        }
    }
}
