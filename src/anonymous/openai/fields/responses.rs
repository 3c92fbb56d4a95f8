//! The parameters of `POST /v1/responses`, and the kinds of its tools.

use super::{CHOICE, NO_LOGPROBS, NOBODY, NOT_STORED, SAMPLING, STRICT};
use crate::anonymous::face::fields::Treatment::{Carried, Emulated, Ignored, Refused};
use crate::anonymous::face::fields::{Field, Table};

const SEARCHES: &str = "the backend searches on its own";
const HOSTED: &str = "it runs on OpenAI's servers; the model answers without it";
const AS_CALL: &str = "as text, in the form in which the model calls";
const AS_RESULT: &str = "as text";
const COMPACTION: &str = "only OpenAI's servers can make and read it";
const COMPUTER: &str = "the backend takes no screens and gives no clicks";

/// `POST /v1/responses`.
pub const RESPONSES: Table = Table {
    endpoint: "POST /v1/responses",
    required: &["model", "input"],
    fields: &[
        Field::new("model", Carried, "other names for one come from `[api.aliases]`")
            .shaped(r#"{"type":"string"}"#),
        Field::new(
            "input",
            Carried,
            "a text, or messages, calls and their results, in the three roles that every model takes",
        )
            .shaped(r#"{"anyOf":[{"type":"string","minLength":1},{"type":"array","minItems":1,"items":{"$ref":"ResponseItem"}}]}"#),
        Field::new("input.message", Carried, "texts, pictures and refusals; files and audio are refused"),
        Field::new("input.function_call", Carried, AS_CALL),
        Field::new("input.function_call_output", Carried, AS_RESULT),
        Field::new("input.custom_tool_call", Carried, AS_CALL),
        Field::new("input.custom_tool_call_output", Carried, AS_RESULT),
        Field::new("input.local_shell_call", Carried, AS_CALL),
        Field::new("input.local_shell_call_output", Carried, AS_RESULT),
        Field::new("input.shell_call", Carried, AS_CALL),
        Field::new("input.shell_call_output", Carried, AS_RESULT),
        Field::new("input.apply_patch_call", Carried, AS_CALL),
        Field::new("input.apply_patch_call_output", Carried, AS_RESULT),
        Field::new("input.mcp_call", Carried, "as a call and its result"),
        Field::new("input.code_interpreter_call", Carried, "as a call and its result"),
        Field::new("input.file_search_call", Carried, "as a call and its result"),
        Field::new("input.program", Carried, AS_CALL),
        Field::new("input.program_output", Carried, AS_RESULT),
        Field::new("input.additional_tools", Emulated, "on offer with the others"),
        Field::new("input.tool_search_output", Emulated, "its tools are on offer with the others"),
        Field::new("input.reasoning", Emulated, "passed over: only OpenAI's servers can read it"),
        Field::new("input.tool_search_call", Ignored, "all tools are on offer from the start"),
        Field::new("input.web_search_call", Ignored, "it says only that something was looked for"),
        Field::new("input.image_generation_call", Ignored, "a picture that a tool made is not shown to the model"),
        Field::new("input.mcp_list_tools", Ignored, "no server can be asked from the backend"),
        Field::new("input.configuration_update", Ignored, "what it sets can be set for the whole request"),
        Field::new("input.mcp_approval_request", Refused, "no server can be asked from the backend"),
        Field::new("input.mcp_approval_response", Refused, "no server can be asked from the backend"),
        Field::new("input.computer_call", Refused, COMPUTER),
        Field::new("input.computer_call_output", Refused, COMPUTER),
        Field::new("input.item_reference", Refused, "nothing is stored; send the item itself"),
        Field::new("input.compaction", Refused, COMPACTION),
        Field::new("input.compaction_trigger", Refused, COMPACTION),
        Field::new("instructions", Carried, "the first system message")
            .shaped(r#"{"type":["string","null"]}"#),
        Field::new(
            "stream",
            Emulated,
            "the whole answer, in pieces, once it is here; until then `response.in_progress`",
        )
            .shaped(r#"{"type":["boolean","null"]}"#),
        Field::new("stream_options", Emulated, "see its parts")
            .shaped(r#"{"type":["object","null"],"properties":{"include_obfuscation":{"type":["boolean","null"]}}}"#),
        Field::new(
            "stream_options.include_obfuscation",
            Emulated,
            "always off: the stream does not leave this machine",
        ),
        Field::new("stream_options.include_usage", Ignored, "the last event counts tokens anyway"),
        Field::new(
            "max_output_tokens",
            Emulated,
            "cut with `status: incomplete`, counted with the model's tokenizer",
        )
            .shaped(r#"{"type":["integer","null"],"minimum":1}"#),
        Field::new("text", Emulated, "see its parts")
            .shaped(r#"{"type":["object","null"],"properties":{"format":{"anyOf":[{"type":"null"},{"$ref":"TextFormat"}]}}}"#),
        Field::new("text.format", Emulated, "told to the model; its answer is extracted, checked and mended"),
        Field::new("text.verbosity", Ignored, "the backend does not let it be chosen"),
        Field::new("tools", Emulated, "told to the model; its calls are read out of its answer")
            .shaped(r#"{"type":["array","null"],"items":{"$ref":"ResponseTool"}}"#),
        Field::new("tools.function", Emulated, "its calls come back as `function_call`"),
        Field::new("tools.function.strict", Emulated, STRICT),
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
        Field::new("tool_choice", Emulated, CHOICE)
            .shaped(r#"{"anyOf":[{"enum":["none","auto","required",null]},{"$ref":"ResponseToolChoice"}]}"#),
        Field::new("tool_choice.type", Emulated, "ignored where it names a tool that is"),
        Field::new(
            "parallel_tool_calls",
            Emulated,
            "told to the model; with false only the first call counts",
        )
            .shaped(r#"{"type":["boolean","null"]}"#),
        Field::new("include", Emulated, "there is never anything to include; log probabilities are refused")
            .shaped(r#"{"type":["array","null"],"items":{"enum":["reasoning.encrypted_content","file_search_call.results","web_search_call.results","web_search_call.action.sources","message.input_image.image_url","computer_call_output.output.image_url","code_interpreter_call.outputs"]}}"#),
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
        Field::new("user", Ignored, NOBODY).unless(&["\"\""]),
        Field::new("safety_identifier", Ignored, NOBODY).unless(&["\"\""]),
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
        )
            .shaped(r#"{"type":"null"}"#),
        Field::new(
            "conversation",
            Refused,
            "nothing is stored; send the whole conversation as `input`, as clients do with `store: false`",
        )
            .shaped(r#"{"type":"null"}"#),
        Field::new(
            "prompt",
            Refused,
            "there are no stored prompts; send its text as `instructions` and `input`",
        )
            .shaped(r#"{"type":"null"}"#),
        Field::new("background_options", Ignored, "nothing runs in the background"),
        Field::new("image", Ignored, "the backend makes no pictures"),
        Field::new("background", Refused, "nothing is stored that could be fetched later")
            .shaped(r#"{"type":["boolean","null"],"enum":[false,null]}"#).unless(&["false"]),
        Field::new("top_logprobs", Refused, NO_LOGPROBS)
            .shaped(r#"{"type":["integer","null"],"enum":[0,null]}"#).unless(&["0"]),
    ],
};

#[cfg(test)]
mod tests {
    use async_openai::types::responses;

    use super::super::tests::assert_named;
    use super::*;

    #[test]
    fn every_parameter_of_a_response_has_its_treatment() {
        assert_named::<responses::CreateResponse>(&RESPONSES, "");
        assert_named::<responses::ResponseTextParam>(&RESPONSES, "text.");
        assert_named::<responses::Reasoning>(&RESPONSES, "reasoning.");
        assert_named::<responses::ResponseStreamOptions>(&RESPONSES, "stream_options.");
    }

    #[test]
    fn every_kind_of_item_that_a_well_kept_client_knows_has_its_treatment() {
        let canary = serde_json::json!({"type": "canary"});
        let complaint = serde_json::from_value::<responses::Item>(canary).unwrap_err().to_string();
        let (_, kinds) = complaint.split_once("expected one of ").expect("the type is not tagged any more");
        let kinds: Vec<_> = kinds.split('`').skip(1).step_by(2).collect();
        assert!(kinds.contains(&"message") && kinds.len() > 20, "{kinds:?}");
        for kind in
            kinds.into_iter().chain(["item_reference", "program", "program_output", "compaction_trigger"])
        {
            let name = format!("input.{kind}");
            assert!(RESPONSES.fields.iter().any(|field| field.name == name), "{name}");
        }
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
}
