//! What becomes of every parameter of OpenAI's API.
//!
//! A test holds these tables against the types of `async-openai`: a parameter that appears there must appear here.

use crate::anonymous::face::fields::Treatment::{Carried, Emulated, Ignored, Refused};
use crate::anonymous::face::fields::{Field, Table};

const SAMPLING: &str = "the backend does not let sampling be chosen";
const NOBODY: &str = "nothing that could name you or your tool leaves this machine";
const TEXT_ONLY: &str = "the backend takes text and pictures and answers text";
const NO_LOGPROBS: &str = "the backend returns none";
const SEARCHES: &str = "the backend searches on its own";
const HOSTED: &str = "it runs on OpenAI's servers; the model answers without it";
const COMPUTER: &str = "the backend takes no screens and gives no clicks";
const NOT_STORED: &str = "nothing is stored on the way or here";

/// `POST /v1/chat/completions`.
pub const CHAT: Table = Table {
    endpoint: "POST /v1/chat/completions",
    fields: &[
        Field::new("model", Carried, "other names for one come from `[api.aliases]`"),
        Field::new("messages", Carried, "in the three roles that every model takes"),
        Field::new("stream", Emulated, "the whole answer, in pieces, once it is here"),
        Field::new("stream_options.include_usage", Emulated, "the last chunk counts tokens"),
        Field::new(
            "stream_options.include_obfuscation",
            Emulated,
            "always off: the stream does not leave this machine",
        ),
        Field::new("stream_options", Emulated, "see its parts"),
        Field::new("n", Emulated, "n calls, n tokens; at most `api.most_choices`"),
        Field::new("stop", Emulated, "the answer is cut before it"),
        Field::new(
            "max_tokens",
            Emulated,
            "cut with `finish_reason: length`, counted with the model's tokenizer",
        ),
        Field::new("max_completion_tokens", Emulated, "as `max_tokens`"),
        Field::new(
            "response_format",
            Emulated,
            "told to the model; its answer is extracted, checked and mended",
        ),
        Field::new("tools", Emulated, "told to the model; its calls are read out of its answer"),
        Field::new("tool_choice", Emulated, "told to the model"),
        Field::new(
            "parallel_tool_calls",
            Emulated,
            "told to the model; with false only the first call counts",
        ),
        Field::new("functions", Emulated, "as `tools`, in the older form"),
        Field::new("function_call", Emulated, "as `tool_choice`, in the older form"),
        Field::new("temperature", Ignored, SAMPLING),
        Field::new("top_p", Ignored, SAMPLING),
        Field::new("frequency_penalty", Ignored, SAMPLING),
        Field::new("presence_penalty", Ignored, SAMPLING),
        Field::new("seed", Ignored, SAMPLING),
        Field::new("logit_bias", Ignored, SAMPLING),
        Field::new("user", Ignored, NOBODY),
        Field::new("safety_identifier", Ignored, NOBODY),
        Field::new("metadata", Ignored, NOBODY),
        Field::new("prompt_cache_key", Ignored, NOBODY),
        Field::new("prompt_cache_retention", Ignored, NOBODY),
        Field::new("prompt_cache_options", Ignored, NOBODY),
        Field::new("store", Ignored, NOT_STORED).unless(&["false"]),
        Field::new("service_tier", Ignored, "the backend has one"),
        Field::new("reasoning_effort", Ignored, "the backend does not let it be chosen"),
        Field::new("verbosity", Ignored, "the backend does not let it be chosen"),
        Field::new("prediction", Ignored, "it would only make answers faster"),
        Field::new("web_search_options", Ignored, "the backend searches on its own"),
        Field::new("moderation", Ignored, "the backend moderates on its own"),
        Field::new("logprobs", Refused, NO_LOGPROBS).unless(&["false"]),
        Field::new("top_logprobs", Refused, NO_LOGPROBS).unless(&["0"]),
        Field::new("audio", Refused, TEXT_ONLY),
        Field::new("modalities", Refused, TEXT_ONLY).unless(&["[\"text\"]", "[]"]),
    ],
};

/// `POST /v1/responses`.
pub const RESPONSES: Table = Table {
    endpoint: "POST /v1/responses",
    fields: &[
        Field::new("model", Carried, "other names for one come from `[api.aliases]`"),
        Field::new(
            "input",
            Carried,
            "a text, or messages, calls and their results, in the three roles that every model takes",
        ),
        Field::new("instructions", Carried, "the first system message"),
        Field::new(
            "stream",
            Emulated,
            "the whole answer, in pieces, once it is here; until then `response.in_progress`",
        ),
        Field::new("stream_options", Emulated, "see its parts"),
        Field::new(
            "stream_options.include_obfuscation",
            Emulated,
            "always off: the stream does not leave this machine",
        ),
        Field::new(
            "max_output_tokens",
            Emulated,
            "cut with `status: incomplete`, counted with the model's tokenizer",
        ),
        Field::new("text", Emulated, "see its parts"),
        Field::new("text.format", Emulated, "told to the model; its answer is extracted, checked and mended"),
        Field::new("text.verbosity", Ignored, "the backend does not let it be chosen"),
        Field::new("tools", Emulated, "told to the model; its calls are read out of its answer"),
        Field::new("tools.function", Emulated, "its calls come back as `function_call`"),
        Field::new(
            "tools.custom",
            Emulated,
            "its calls come back as `custom_tool_call`; a grammar is shown, not checked",
        ),
        Field::new(
            "tools.namespace",
            Emulated,
            "its tools are told as `namespace.tool`; calls come back with both",
        ),
        Field::new("tools.local_shell", Emulated, "a function; its calls come back as `local_shell_call`"),
        Field::new(
            "tools.shell",
            Emulated,
            "on your machine: a function; its calls come back as `shell_call`",
        ),
        Field::new("tools.apply_patch", Emulated, "a function; its calls come back as `apply_patch_call`"),
        Field::new("tools.web_search", Ignored, SEARCHES),
        Field::new("tools.web_search_2025_08_26", Ignored, SEARCHES),
        Field::new("tools.web_search_preview", Ignored, SEARCHES),
        Field::new("tools.web_search_preview_2025_03_11", Ignored, SEARCHES),
        Field::new("tools.code_interpreter", Ignored, HOSTED),
        Field::new("tools.image_generation", Ignored, HOSTED),
        Field::new("tools.tool_search", Ignored, "all tools are on offer from the start"),
        Field::new("tools.programmatic_tool_calling", Ignored, HOSTED),
        Field::new("tools.file_search", Refused, "there are no stored files to search"),
        Field::new(
            "tools.mcp",
            Refused,
            "no server can be asked from the backend; offer its tools as functions",
        ),
        Field::new("tools.computer", Refused, COMPUTER),
        Field::new("tools.computer_use", Refused, COMPUTER),
        Field::new("tools.computer_use_preview", Refused, COMPUTER),
        Field::new("tool_choice", Emulated, "told to the model; ignored where it names a tool that is"),
        Field::new(
            "parallel_tool_calls",
            Emulated,
            "told to the model; with false only the first call counts",
        ),
        Field::new("include", Emulated, "there is never anything to include; log probabilities are refused"),
        Field::new("temperature", Ignored, SAMPLING),
        Field::new("top_p", Ignored, SAMPLING),
        Field::new("reasoning", Ignored, "the backend does not let it be chosen").unless(&["{}"]),
        Field::new("reasoning.effort", Ignored, "the backend does not let it be chosen"),
        Field::new("reasoning.summary", Ignored, "the backend returns no thoughts"),
        Field::new("reasoning.mode", Ignored, "the backend does not let it be chosen"),
        Field::new("reasoning.context", Ignored, "the backend returns no thoughts to give back"),
        Field::new("max_tool_calls", Ignored, "it counts calls of tools that run on OpenAI's servers"),
        Field::new("truncation", Ignored, "nothing is left out; what is too long is refused")
            .unless(&["\"disabled\""]),
        Field::new("context_management", Ignored, "nothing is compacted").unless(&["[]"]),
        Field::new("store", Ignored, NOT_STORED).unless(&["false"]),
        Field::new("metadata", Ignored, NOBODY).unless(&["{}"]),
        Field::new("client_metadata", Ignored, NOBODY).unless(&["{}"]),
        Field::new("user", Ignored, NOBODY),
        Field::new("safety_identifier", Ignored, NOBODY),
        Field::new("prompt_cache_key", Ignored, NOBODY),
        Field::new("prompt_cache_retention", Ignored, NOBODY),
        Field::new("prompt_cache_options", Ignored, NOBODY),
        Field::new("service_tier", Ignored, "the backend has one"),
        Field::new("moderation", Ignored, "the backend moderates on its own"),
        Field::new("access_programs", Ignored, "the backend knows none"),
        Field::new(
            "previous_response_id",
            Refused,
            "nothing is stored; send the whole conversation as `input`, as clients do with `store: false`",
        ),
        Field::new(
            "conversation",
            Refused,
            "nothing is stored; send the whole conversation as `input`, as clients do with `store: false`",
        ),
        Field::new(
            "prompt",
            Refused,
            "there are no stored prompts; send its text as `instructions` and `input`",
        ),
        Field::new("background", Refused, "nothing is stored that could be fetched later").unless(&["false"]),
        Field::new("top_logprobs", Refused, NO_LOGPROBS).unless(&["0"]),
    ],
};

/// All of them.
pub const TABLES: &[&Table] = &[&CHAT, &RESPONSES];

#[cfg(test)]
mod tests {
    use async_openai::types::chat::{ChatCompletionStreamOptions, CreateChatCompletionRequest};
    use async_openai::types::responses;
    use serde::Deserialize;
    use serde::de::value::Error;
    use serde::de::{Deserializer, Error as _, Visitor};

    use super::*;

    /// Reads nothing, and keeps the names that a type asks for.
    struct Names<'a>(&'a mut Vec<&'static str>);

    impl<'de> Deserializer<'de> for Names<'_> {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(Error::custom("not a struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            self.0.extend(fields);
            Err(Error::custom("its names are known now"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    fn names_of<T: for<'de> Deserialize<'de>>() -> Vec<&'static str> {
        let mut names = Vec::new();
        assert!(T::deserialize(Names(&mut names)).is_err());
        assert!(!names.is_empty(), "the type is not a plain struct any more");
        names
    }

    fn assert_named<T: for<'de> Deserialize<'de>>(table: &Table, prefix: &str) {
        for name in names_of::<T>() {
            let name = format!("{prefix}{name}");
            assert!(
                table.fields.iter().any(|field| field.name == name),
                "{} does not say what becomes of {name}",
                table.endpoint
            );
        }
    }

    #[test]
    fn every_parameter_that_a_well_kept_client_knows_has_its_treatment() {
        assert_named::<CreateChatCompletionRequest>(&CHAT, "");
        assert_named::<ChatCompletionStreamOptions>(&CHAT, "stream_options.");
    }

    #[test]
    fn every_parameter_of_a_response_has_its_treatment() {
        assert_named::<responses::CreateResponse>(&RESPONSES, "");
        assert_named::<responses::ResponseTextParam>(&RESPONSES, "text.");
        assert_named::<responses::Reasoning>(&RESPONSES, "reasoning.");
        assert_named::<responses::ResponseStreamOptions>(&RESPONSES, "stream_options.");
    }

    #[test]
    fn every_kind_of_tool_that_a_well_kept_client_knows_has_its_treatment() {
        let canary = serde_json::json!({"type": "canary"});
        let complaint = serde_json::from_value::<responses::Tool>(canary).unwrap_err().to_string();
        let (_, kinds) = complaint.split_once("expected one of ").expect("the type is not tagged any more");
        let kinds: Vec<_> = kinds.split('`').skip(1).step_by(2).collect();
        assert!(kinds.contains(&"function") && kinds.len() > 10, "{kinds:?}");
        for kind in kinds {
            let name = format!("tools.{kind}");
            assert!(RESPONSES.fields.iter().any(|field| field.name == name), "{name}");
        }
    }

    #[test]
    fn no_parameter_is_named_twice() {
        for table in TABLES {
            let mut names: Vec<_> = table.fields.iter().map(|field| field.name).collect();
            names.sort_unstable();
            let all = names.len();
            names.dedup();
            assert_eq!(names.len(), all, "{}", table.endpoint);
        }
    }
}
