//! As much TypeScript as a file of constants needs: tokens with comments dropped and strings decoded.

use crate::keys::import::ImportError;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// An identifier or a keyword.
    Word(String),
    /// A string or a template without substitutions, decoded.
    Text(String),
    /// A template with substitutions: a value that is not known here.
    Opaque,
    /// A number, or anything else that is one character.
    Mark(char),
}

/// Cuts `source` into tokens. A regular expression literal is cut into marks, which harms nothing unless it holds a quote.
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, ImportError> {
    let mut out = Vec::new();
    let mut line = 1;
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        let start = line;
        let token = match c {
            '\n' => {
                line += 1;
                continue;
            }
            c if c.is_whitespace() => continue,
            '/' if rest.peek() == Some(&'/') => {
                while rest.next_if(|c| *c != '\n').is_some() {}
                continue;
            }
            '/' if rest.peek() == Some(&'*') => {
                rest.next();
                let mut before = ' ';
                loop {
                    let c = rest.next().ok_or(ImportError::Source(start))?;
                    line += usize::from(c == '\n');
                    if before == '*' && c == '/' {
                        break;
                    }
                    before = c;
                }
                continue;
            }
            '"' | '\'' | '`' => text(c, &mut rest, &mut line)?,
            c if is_word(c) => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| is_word(*c)) {
                    word.push(c);
                }
                Token::Word(word)
            }
            c => Token::Mark(c),
        };
        out.push(token);
    }
    Ok(out)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// The rest of a string that `quote` opened.
fn text(
    quote: char,
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    line: &mut usize,
) -> Result<Token, ImportError> {
    let start = *line;
    let unfinished = || ImportError::Source(start);
    let mut value = String::new();
    let mut opaque = false;
    loop {
        match rest.next().ok_or_else(unfinished)? {
            c if c == quote => return Ok(if opaque { Token::Opaque } else { Token::Text(value) }),
            '\n' if quote != '`' => return Err(unfinished()),
            '$' if quote == '`' && rest.peek() == Some(&'{') => {
                opaque = true;
                value.push('$');
            }
            '\\' => match rest.next().ok_or_else(unfinished)? {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                // A line continuation.
                '\n' => *line += 1,
                c => value.push(c),
            },
            c => {
                *line += usize::from(c == '\n');
                value.push(c);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(source: &str) -> Vec<Token> {
        tokens(source).expect("tokens")
    }

    #[test]
    fn comments_are_dropped_and_strings_are_decoded() {
        let source = "a /* 'x' \n * */ = 'b\\n' // `c\n+ `d\ne` \"/*f\"";
        assert_eq!(
            plain(source),
            [
                Token::Word("a".into()),
                Token::Mark('='),
                Token::Text("b\n".into()),
                Token::Mark('+'),
                Token::Text("d\ne".into()),
                Token::Text("/*f".into()),
            ]
        );
    }

    #[test]
    fn an_unfinished_string_or_comment_names_its_line() {
        for source in ["a\n'b", "a\n`b\n\n", "\n/* a\n", "\n'b\n'"] {
            assert_eq!(tokens(source).err(), Some(ImportError::Source(2)), "{source}");
        }
    }
}
