//! The parameters of `POST /v1/completions`.

use super::{NO_LOGPROBS, NOBODY, SAMPLING};
use crate::anonymous::face::fields::Treatment::{Carried, Emulated, Ignored, Refused};
use crate::anonymous::face::fields::{Field, Table};

/// `POST /v1/completions`.
pub const COMPLETIONS: Table = Table {
    endpoint: "POST /v1/completions",
    required: &["model", "prompt"],
    fields: &[
        Field::new("model", Carried, "other names for one come from `[api.aliases]`")
            .shaped(r#"{"type":"string"}"#),
        Field::new(
            "prompt",
            Carried,
            "in a message, behind one that asks to continue it; several are several calls, several tokens; tokens are refused",
        )
            .shaped(r#"{"type":"string","minLength":1}"#),
        Field::new("suffix", Carried, "in the message, which asks to fill the gap between both")
            .shaped(r#"{"type":["string","null"]}"#),
        Field::new("echo", Emulated, "the prompt is put before the answer").shaped(r#"{"type":["boolean","null"]}"#),
        Field::new("stream", Emulated, "the whole answer, in pieces, once it is here")
            .shaped(r#"{"type":["boolean","null"]}"#),
        Field::new("stream_options", Emulated, "see its parts")
            .shaped(r#"{"type":["object","null"],"properties":{"include_usage":{"type":["boolean","null"]},"include_obfuscation":{"type":["boolean","null"]}}}"#),
        Field::new("stream_options.include_usage", Emulated, "the last chunk counts tokens"),
        Field::new(
            "stream_options.include_obfuscation",
            Emulated,
            "always off: the stream does not leave this machine",
        ),
        Field::new("n", Emulated, "n calls, n tokens; at most `api.most_choices`, all prompts together")
            .shaped(r#"{"type":["integer","null"],"minimum":1,"maximum":8}"#),
        Field::new("stop", Emulated, "the answer is cut before it")
            .shaped(r#"{"anyOf":[{"type":["string","null"]},{"type":"array","maxItems":4,"items":{"type":"string"}}]}"#),
        Field::new(
            "max_tokens",
            Emulated,
            "cut with `finish_reason: length`, counted with the model's tokenizer; without it nothing is cut, and not at 16; 0 is refused",
        )
            .shaped(r#"{"type":["integer","null"],"minimum":1}"#),
        Field::new("temperature", Ignored, SAMPLING),
        Field::new("top_p", Ignored, SAMPLING),
        Field::new("frequency_penalty", Ignored, SAMPLING),
        Field::new("presence_penalty", Ignored, SAMPLING),
        Field::new("seed", Ignored, SAMPLING),
        Field::new("logit_bias", Ignored, SAMPLING).unless(&["{}"]),
        Field::new("user", Ignored, NOBODY).unless(&["\"\""]),
        Field::new("best_of", Emulated, "up to `n` it changes nothing; beyond, there is nothing to choose by, and it is refused")
            .shaped(r#"{"type":["integer","null"],"minimum":1,"maximum":1}"#),
        Field::new("logprobs", Refused, NO_LOGPROBS).shaped(r#"{"type":"null"}"#),
    ],
};

#[cfg(test)]
mod tests {
    use async_openai::types::chat::ChatCompletionStreamOptions;
    use async_openai::types::completions::CreateCompletionRequest;

    use super::super::tests::assert_named;
    use super::*;

    #[test]
    fn every_parameter_of_a_completion_has_its_treatment() {
        assert_named::<CreateCompletionRequest>(&COMPLETIONS, "");
        assert_named::<ChatCompletionStreamOptions>(&COMPLETIONS, "stream_options.");
    }
}
