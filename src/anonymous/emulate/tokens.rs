//! Counting as the models count: where an answer is cut for its length, and what a call cost where the provider
//! does not say.
//!
//! | family | tokenizer |
//! | --- | --- |
//! | OpenAI's from `gpt-4o` on, and every model of no known family | o200k |
//! | OpenAI's before | cl100k |
//! | Google's | the vocabulary that all Gemini models share |
//!
//! A tokenizer is built at its first use and kept. In the program OpenAI's are ranks alone, as OpenAI publishes them; a map of
//! them is made in about the time of a page's load, where the automaton of `bpe` takes a second. So the words are told apart
//! by `bpe-openai`, whose patterns are linear in any text (OpenAI's own backtrack, and give up at much white space), and each
//! is told apart into tokens by `tiktoken-rs`. For a model of no known family a count is an estimate, and a cut may fall
//! some words off.

use std::io::Read as _;
use std::sync::{LazyLock, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bpe::byte_pair_encoding::BytePairEncoding;
use gemini_tokenizer::LocalTokenizer;
use tiktoken_rs::CoreBPE;

use crate::wire::ModelName;

/// Models that count alike, and that take messages alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// OpenAI's, from `gpt-4o` on.
    OpenAi,
    /// OpenAI's before.
    OpenAiBefore,
    /// Google's.
    Gemini,
    /// Somebody else's.
    Other,
}

impl Family {
    /// By the model's name.
    pub fn of(model: &ModelName) -> Self {
        let name = model.as_str().rsplit('/').next().unwrap_or_default();
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        if begins(&["gemini", "gemma"]) {
            Self::Gemini
        } else if begins(&["gpt-4o", "gpt-4.", "gpt-5", "chatgpt", "o1", "o3", "o4", "codex", "gpt-oss"]) {
            Self::OpenAi
        } else if begins(&["gpt-4", "gpt-3"]) {
            Self::OpenAiBefore
        } else {
            Self::Other
        }
    }

    /// Builds the tokenizer, if nobody has yet. Blocks.
    pub fn prepare(self) {
        let _ = self.tokenizer();
    }

    /// How many tokens `text` is.
    pub fn count(self, text: &str) -> u64 {
        let count = match self.tokenizer() {
            Tokenizer::Pairs(pairs) => pairs.words(text).map(|word| pairs.tokens(word).len()).sum(),
            Tokenizer::Pieces(pieces) => {
                pieces.processor().encode(text).map_or(text.len() / 4, |pieces| pieces.len())
            }
        };
        count as u64
    }

    /// Where `text` is to be cut, in bytes, to have at most `most` tokens; `None` if it has no more anyway. Never
    /// inside a character.
    pub fn cut(self, text: &str, most: u64) -> Option<usize> {
        // No token is shorter than a byte: most texts need not be counted.
        let most = usize::try_from(most).ok().filter(|most| *most < text.len())?;
        let end = match self.tokenizer() {
            Tokenizer::Pairs(pairs) => {
                let mut left = most;
                let mut end = 0;
                for word in pairs.words(text) {
                    let tokens = pairs.tokens(word);
                    let fitting = tokens.len().min(left);
                    end += tokens[..fitting].iter().map(|token| pairs.length(*token)).sum::<usize>();
                    left -= fitting;
                    if fitting < tokens.len() {
                        break;
                    }
                }
                end
            }
            Tokenizer::Pieces(pieces) => {
                let pieces = pieces.processor().encode(text).ok()?;
                if pieces.len() <= most {
                    return None;
                }
                pieces.get(most).map_or(text.len(), |first_left_out| first_left_out.span.0 as usize)
            }
        };
        let end = (0..=end.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        (end < text.len()).then_some(end)
    }

    fn tokenizer(self) -> Tokenizer {
        match self {
            Self::OpenAiBefore => Tokenizer::Pairs(&CL100K),
            Self::OpenAi | Self::Other => Tokenizer::Pairs(&O200K),
            Self::Gemini => match gemini() {
                Some(pieces) => Tokenizer::Pieces(pieces),
                None => Tokenizer::Pairs(&O200K),
            },
        }
    }
}

enum Tokenizer {
    Pairs(&'static Pairs),
    Pieces(&'static LocalTokenizer),
}

/// One of OpenAI's.
struct Pairs {
    /// Tells words apart, and nothing else: its own vocabulary is the 256 bytes.
    words: bpe_openai::Tokenizer,
    /// Tells a word apart.
    tokens: CoreBPE,
    /// How many bytes each token has.
    lengths: Vec<u8>,
}

impl Pairs {
    fn words<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        self.words.split(text)
    }

    fn tokens(&self, word: &str) -> Vec<u32> {
        self.tokens.encode_ordinary(word)
    }

    fn length(&self, token: u32) -> usize {
        self.lengths[token as usize].into()
    }
}

static CL100K: LazyLock<Pairs> = LazyLock::new(|| {
    let words = [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+$",
    ];
    built(include_bytes!("../../../assets/tokenizers/cl100k_base.tiktoken.gz"), &words)
});

static O200K: LazyLock<Pairs> = LazyLock::new(|| {
    let words = [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+$",
    ];
    built(include_bytes!("../../../assets/tokenizers/o200k_base.tiktoken.gz"), &words)
});

/// The tokenizer of `ranks` (gzip of OpenAI's own file) that splits a text into `words` first. White space ends before its
/// last character, which belongs to the next word: OpenAI's patterns look ahead for that, and here the second pattern does.
#[expect(clippy::expect_used, reason = "its arguments are constants, and a test builds both")]
fn built(ranks: &[u8], words: &[&str]) -> Pairs {
    let mut text = String::new();
    flate2::read::GzDecoder::new(ranks).read_to_string(&mut text).expect("whole gzip");
    let tokens = text.lines().map(|line| {
        let (token, rank) = line.split_once(' ').expect("a token and its rank");
        (STANDARD.decode(token).expect("base64"), rank.parse().expect("a rank"))
    });
    let tokens: Vec<(Vec<u8>, u32)> = tokens.collect();
    let mut lengths = vec![0; tokens.iter().map(|(_, rank)| *rank as usize + 1).max().unwrap_or_default()];
    for (token, rank) in &tokens {
        lengths[*rank as usize] = u8::try_from(token.len()).expect("no token is that long");
    }
    let patterns = [(&*words.join("|"), false), (r"\s+\s", true), (r"\s+", false)];
    let bytes = BytePairEncoding::from_dictionary((0..=u8::MAX).map(|byte| vec![byte]), None);
    Pairs {
        words: bpe_openai::Tokenizer::new_lookahead(bytes, &patterns, false).expect("patterns"),
        // A word comes alone, and is whole.
        tokens: CoreBPE::new(tokens.into_iter().collect(), [].into_iter().collect(), "(?s).+")
            .expect("a pattern"),
        lengths,
    }
}

/// All Gemini models share it; the library wants one of the names that it knows.
fn gemini() -> Option<&'static LocalTokenizer> {
    static GEMINI: OnceLock<Option<LocalTokenizer>> = OnceLock::new();
    GEMINI.get_or_init(|| LocalTokenizer::new("gemini-2.5-flash").ok()).as_ref()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn family(name: &str) -> Family {
        Family::of(&ModelName::new(name).unwrap())
    }

    #[test]
    fn models_are_known_by_their_names() {
        for name in ["gpt-4o", "gpt-4.1-mini", "gpt-5.3-chat", "gpt-5-mini", "o1", "openai/gpt-4.1"] {
            assert_eq!(family(name), Family::OpenAi, "{name}");
        }
        assert_eq!(family("gpt-4-turbo"), Family::OpenAiBefore);
        assert_eq!(family("gemini-3-pro-preview"), Family::Gemini);
        assert_eq!(family("llama-3"), Family::Other);
    }

    #[test]
    fn texts_are_counted_as_their_vendors_count_them() {
        // OpenAI's tokenizer page, and the example of Google's tokenizer.
        assert_eq!(Family::OpenAi.count("hello world"), 2);
        assert_eq!(Family::OpenAiBefore.count("tiktoken is great!"), 6);
        assert_eq!(Family::Gemini.count("What is your name?"), 5);
    }

    fn encoded(pairs: &Pairs, text: &str) -> Vec<u32> {
        pairs.words(text).flat_map(|word| pairs.tokens(word)).collect()
    }

    #[test]
    fn ranks_and_patterns_make_the_librarys_own_tokenizers() {
        let texts = [
            "",
            "  Hello,   world!\n\n\tfn main() { println!(\"{}\", 12345); }  ",
            "Größe — ЗДРАВСТВУЙТЕ  日本語のテキスト 🦀🦀 i'LL can't\u{a0}\r\n",
            "https://example.org/a/b?c=d&e=f   \n",
        ];
        for text in texts {
            assert_eq!(encoded(&O200K, text), bpe_openai::o200k_base().encode(text), "{text}");
            assert_eq!(encoded(&CL100K, text), bpe_openai::cl100k_base().encode(text), "{text}");
        }
    }

    #[test]
    fn a_long_text_without_a_word_is_counted_and_not_given_up() {
        for unit in [" ", "\n", "a", "!", "\n ", "1"] {
            let text = unit.repeat(100_000) + "x";
            for (family, library) in [
                (Family::OpenAi, bpe_openai::o200k_base()),
                (Family::OpenAiBefore, bpe_openai::cl100k_base()),
            ] {
                assert_eq!(family.count(&text), library.count(&*text) as u64, "{unit:?}");
            }
        }
    }

    #[test]
    fn a_text_is_cut_behind_its_last_token_that_fits() {
        assert_eq!(Family::OpenAi.cut("hello world again", 2), Some("hello world".len()));
        assert_eq!(Family::OpenAi.cut("hello world", 2), None);
        assert_eq!(Family::Gemini.cut("What is your name?", 3), Some("What is your".len()));
        assert_eq!(Family::Gemini.cut("What is your name?", 5), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_is_told_apart_as_the_library_does(text in "(?s:.){0,120}") {
            prop_assert_eq!(encoded(&O200K, &text), bpe_openai::o200k_base().encode(&*text));
            prop_assert_eq!(encoded(&CL100K, &text), bpe_openai::cl100k_base().encode(&*text));
        }

        #[test]
        fn a_cut_is_a_character_boundary_and_what_is_kept_is_no_longer_than_asked(
            text in "(?s:.){0,200}", most in 1_u64..40,
        ) {
            for family in [Family::OpenAi, Family::OpenAiBefore, Family::Gemini] {
                match family.cut(&text, most) {
                    Some(end) => prop_assert!(text.is_char_boundary(end) && end < text.len()),
                    None => prop_assert!(family.count(&text) <= most),
                }
            }
        }
    }
}
