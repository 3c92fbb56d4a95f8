//! What becomes of every parameter of OpenAI's API.
//!
//! A test holds these tables against the types of `async-openai`: a parameter that appears there must appear here.

use crate::anonymous::face::fields::Treatment::{Carried, Emulated, Ignored, Refused};
use crate::anonymous::face::fields::reasons::{FORM, NO_LOGPROBS, NOBODY, NOT_CHOSEN, SAMPLING};
use crate::anonymous::face::fields::{Field, Table};

mod completions;
mod responses;

pub use completions::COMPLETIONS;
pub use responses::RESPONSES;

const CHOICE: &str =
    "told to the model; an answer that does not follow it comes with `x-llmtor-tools: violated`";
const STRICT: &str =
    "either way: arguments that miss the schema are handed over, with `x-llmtor-tools: violated`";
const TEXT_ONLY: &str = "the backend takes text and pictures and answers text";
const NOT_STORED: &str = "nothing is stored on the way or here";

/// `POST /v1/chat/completions`.
pub const CHAT: Table = Table {
    endpoint: "POST /v1/chat/completions",
    required: &["model", "messages"],
    fields: &[
        Field::new("model", Carried, "other names for one come from `[api.aliases]`")
            .shaped(r#"{"type":"string"}"#),
        Field::new("messages", Carried, "in the three roles that every model takes")
            .shaped(r#"{"type":"array","minItems":1,"items":{"$ref":"ChatMessage"}}"#),
        Field::new("messages.role", Carried, "`developer` as `system`; `tool` and `function` as `user`"),
        Field::new("messages.content", Carried, "texts and pictures; audio and files are refused"),
        Field::new("messages.content.image_url.url", Carried, "as a data URL; on the web with `images.fetch_over_tor`"),
        Field::new("messages.content.image_url.detail", Carried, "`low` and `high`"),
        Field::new("messages.name", Carried, "the text begins with it"),
        Field::new("messages.refusal", Carried, "as text"),
        Field::new("messages.tool_calls", Carried, "as text, in the form in which the model calls"),
        Field::new("messages.function_call", Carried, "as `tool_calls`"),
        Field::new("messages.tool_call_id", Carried, "with the result, as text"),
        Field::new("messages.audio", Refused, "what was said in audio cannot be carried; send its transcript"),
        Field::new("stream", Emulated, "the whole answer, in pieces, once it is here")
            .shaped(r#"{"type":["boolean","null"]}"#),
        Field::new("stream_options.include_usage", Emulated, "the last chunk counts tokens"),
        Field::new(
            "stream_options.include_obfuscation",
            Emulated,
            "always off: the stream does not leave this machine",
        ),
        Field::new("stream_options", Emulated, "see its parts")
            .shaped(r#"{"type":["object","null"],"properties":{"include_usage":{"type":["boolean","null"]},"include_obfuscation":{"type":["boolean","null"]}}}"#),
        Field::new("n", Emulated, "n calls, n tokens; at most `api.most_choices`")
            .shaped(r#"{"type":["integer","null"],"minimum":1,"maximum":8}"#),
        Field::new("stop", Emulated, "the answer is cut before it")
            .shaped(r#"{"anyOf":[{"type":["string","null"]},{"type":"array","maxItems":4,"items":{"type":"string"}}]}"#),
        Field::new(
            "max_tokens",
            Emulated,
            "cut with `finish_reason: length`, counted with the model's tokenizer",
        )
            .shaped(r#"{"type":["integer","null"],"minimum":1}"#),
        Field::new("max_completion_tokens", Emulated, "as `max_tokens`")
            .shaped(r#"{"type":["integer","null"],"minimum":1}"#),
        Field::new(
            "response_format",
            Emulated,
            FORM,
        )
            .shaped(r#"{"anyOf":[{"type":"null"},{"$ref":"ResponseFormat"}]}"#),
        Field::new("response_format.type", Emulated, "`text`, `json_object`, `json_schema`"),
        Field::new("response_format.schema", Emulated, "beside `json_object`, as other servers have it: as `json_schema`"),
        Field::new("response_format.json_schema.name", Emulated, "told to the model"),
        Field::new("response_format.json_schema.description", Emulated, "told to the model"),
        Field::new("response_format.json_schema.schema", Emulated, "told to the model, and the answer held against it"),
        Field::new(
            "response_format.json_schema.strict",
            Emulated,
            "either way: an answer that misses the schema comes with `x-llmtor-schema: violated`",
        ),
        Field::new("tools", Emulated, "told to the model; its calls are read out of its answer")
            .shaped(r#"{"type":["array","null"],"items":{"$ref":"ChatTool"}}"#),
        Field::new("tools.function.name", Emulated, "told to the model"),
        Field::new("tools.function.description", Emulated, "told to the model"),
        Field::new("tools.function.parameters", Emulated, "told to the model, and its calls held against it"),
        Field::new("tools.function.strict", Emulated, STRICT),
        Field::new("tools.custom.name", Emulated, "told to the model"),
        Field::new("tools.custom.description", Emulated, "told to the model"),
        Field::new("tools.custom.format", Emulated, "told to the model; a grammar is shown, not checked"),
        Field::new("tool_choice", Emulated, CHOICE)
            .shaped(r#"{"anyOf":[{"enum":["none","auto","required",null]},{"$ref":"ChatToolChoice"}]}"#),
        Field::new(
            "parallel_tool_calls",
            Emulated,
            "told to the model; with false only the first call counts",
        )
            .shaped(r#"{"type":["boolean","null"]}"#),
        Field::new("functions", Emulated, "as `tools`, in the older form; ignored beside `tools`")
            .shaped(r#"{"type":["array","null"],"items":{"$ref":"Function"}}"#),
        Field::new("function_call", Emulated, "as `tool_choice`, in the older form; ignored beside `tools`")
            .shaped(r#"{"anyOf":[{"enum":["none","auto",null]},{"type":"object","required":["name"],"properties":{"name":{"type":"string"}}}]}"#),
        Field::new("temperature", Ignored, SAMPLING),
        Field::new("top_p", Ignored, SAMPLING),
        Field::new("frequency_penalty", Ignored, SAMPLING),
        Field::new("presence_penalty", Ignored, SAMPLING),
        Field::new("seed", Ignored, SAMPLING),
        Field::new("logit_bias", Ignored, SAMPLING).unless(&["{}"]),
        Field::new("user", Ignored, NOBODY).unless(&["\"\""]),
        Field::new("safety_identifier", Ignored, NOBODY).unless(&["\"\""]),
        Field::new("metadata", Ignored, NOBODY).unless(&["{}"]),
        Field::new("prompt_cache_key", Ignored, NOBODY),
        Field::new("prompt_cache_retention", Ignored, NOBODY),
        Field::new("prompt_cache_options", Ignored, NOBODY),
        Field::new("store", Ignored, NOT_STORED).unless(&["false"]),
        Field::new("service_tier", Ignored, "the backend has one"),
        Field::new("reasoning_effort", Ignored, NOT_CHOSEN),
        Field::new("verbosity", Ignored, NOT_CHOSEN),
        Field::new("prediction", Ignored, "it would only make answers faster"),
        Field::new("web_search_options", Ignored, "the backend searches on its own"),
        Field::new("moderation", Ignored, "the backend moderates on its own"),
        Field::new("logprobs", Refused, NO_LOGPROBS)
            .shaped(r#"{"type":["boolean","null"],"enum":[false,null]}"#).unless(&["false"]),
        Field::new("top_logprobs", Refused, NO_LOGPROBS)
            .shaped(r#"{"type":["integer","null"],"enum":[0,null]}"#).unless(&["0"]),
        Field::new("audio", Refused, TEXT_ONLY)
            .shaped(r#"{"type":"null"}"#),
        Field::new("modalities", Refused, TEXT_ONLY)
            .shaped(r#"{"type":["array","null"],"enum":[["text"],[],null]}"#).unless(&["[\"text\"]", "[]"]),
    ],
};

/// All of them.
pub const TABLES: &[&Table] = &[&CHAT, &RESPONSES, &COMPLETIONS];

#[cfg(test)]
pub(super) mod tests {
    use async_openai::types::chat::{self, ChatCompletionStreamOptions, CreateChatCompletionRequest};
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

    pub(super) fn assert_named<T: for<'de> Deserialize<'de>>(table: &Table, prefix: &str) {
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
        assert_named::<chat::ChatCompletionRequestUserMessage>(&CHAT, "messages.");
        assert_named::<chat::ChatCompletionRequestAssistantMessage>(&CHAT, "messages.");
        assert_named::<chat::ChatCompletionRequestToolMessage>(&CHAT, "messages.");
        assert_named::<chat::ImageUrl>(&CHAT, "messages.content.image_url.");
        assert_named::<chat::FunctionObject>(&CHAT, "tools.function.");
        assert_named::<chat::CustomToolProperties>(&CHAT, "tools.custom.");
        assert_named::<chat::ResponseFormatJsonSchema>(&CHAT, "response_format.json_schema.");
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
