//! Reading the body of `POST /v1/responses`.

use super::super::chat::UsageChunk;
use super::super::fields::RESPONSES;
use super::super::format::{self, Nesting};
use super::super::request::{take_manner, take_model, take_most_tokens};
use super::object::{Echo, ResponsesScript};
use super::{items, tools};
use crate::anonymous::emulate::ask::{Ask, Format};
use crate::anonymous::emulate::conversation::{Part, Said, Turn};
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::json::{self, Object, optional_array, optional_object, optional_string, take};
use crate::anonymous::face::{Call, Ignored, Rules};

/// Understands `body`, or says what is wrong with it. Whether the model exists is for the catalog to say.
pub fn read(body: &[u8], rules: &Rules) -> Result<Call, RequestError> {
    let mut body = json::body(body)?;
    let model = take_model(&mut body)?;
    let mut ignored = Ignored::default();
    // First of all: without `previous_response_id` or `prompt`, a missing input would look like the trouble.
    RESPONSES.judge(&body, &mut ignored)?;
    let echo = Echo::of(&body);
    let (manner, usage) = take_manner(&mut body, &mut ignored)?;
    if usage == UsageChunk::Included {
        ignored.note("stream_options.include_usage");
    }
    refuse_logprobs(&mut body)?;
    let format = take_format(&mut body, &mut ignored)?;
    let most_tokens = take_most_tokens(&mut body, &["max_output_tokens"], 1)?;
    let instructions = optional_string(&mut body, "", "instructions")?;
    let items::Input { turns: said, tools: more } = match take(&mut body, "input") {
        None => return Err(RequestError::missing("input")),
        Some(input) => items::read(input, rules.images, &mut ignored)?,
    };
    let (tools, names) = tools::take_toolset(&mut body, more, &mut ignored)?;
    let instructions =
        instructions.map(|text| Turn::System(Said { name: None, parts: vec![Part::Text(text)] }));
    let turns: Vec<Turn> = instructions.into_iter().chain(said).collect();
    if !turns.iter().any(Turn::says_something) {
        return Err(RequestError::invalid_value("input", "there is nothing in it for a model to read"));
    }
    Ok(Call {
        script: Box::new(ResponsesScript::new(model.clone(), echo, names)),
        model,
        asks: vec![Ask { turns, tools, format, stop: Vec::new(), most_tokens }],
        copies: 1,
        ignored,
        manner,
    })
}

/// `include` names what is to come with the answer. Of all that, only log probabilities would change what is done;
/// there is never anything of the rest.
fn refuse_logprobs(body: &mut Object) -> Result<(), RequestError> {
    let include = optional_array(body, "", "include")?.unwrap_or_default();
    if include.iter().any(|name| name.as_str() == Some("message.output_text.logprobs")) {
        return Err(RequestError::invalid_value("include", "the backend returns no log probabilities"));
    }
    Ok(())
}

/// `text`: `format` and `verbosity`.
fn take_format(body: &mut Object, ignored: &mut Ignored) -> Result<Format, RequestError> {
    let Some(mut text) = optional_object(body, "", "text")? else { return Ok(Format::Text) };
    if take(&mut text, "verbosity").is_some() {
        ignored.note("text.verbosity");
    }
    let format = optional_object(&mut text, "text", "format")?;
    ignored.note_rest("text", &text);
    match format {
        Some(format) => format::read(format, "text.format", Nesting::Flat, ignored),
        None => Ok(Format::Text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::anonymous::emulate::plan;
    use crate::anonymous::emulate::tokens::Family;
    use crate::anonymous::face::{Framing, Manner};

    fn read_value(body: &Value) -> Result<Call, RequestError> {
        read(body.to_string().as_bytes(), &Rules::default())
    }

    fn with(more: Value) -> Value {
        let mut body = json!({"model": "m", "input": "hi"});
        let (Value::Object(body_map), Value::Object(more)) = (&mut body, more) else { panic!("no object") };
        body_map.extend(more);
        body
    }

    fn call(more: Value) -> Call {
        read_value(&with(more)).unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn refused(more: Value) -> (String, Option<&'static str>) {
        match read_value(&with(more)) {
            Err(RequestError::Parameter(bad)) => (bad.param.unwrap_or_default().into_owned(), bad.code),
            _ => panic!("not refused with a parameter"),
        }
    }

    fn messages(call: Call) -> Value {
        let plan = plan::plan(call.asks.into_iter().next().unwrap(), Family::OpenAi).ok().unwrap();
        serde_json::from_str(plan.messages.get()).unwrap()
    }

    #[test]
    fn instructions_come_first_and_an_input_of_one_text_is_the_users() {
        assert_eq!(
            messages(call(json!({"instructions": "be brief"}))),
            json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}])
        );
    }

    #[test]
    fn what_codex_sends_is_understood_and_what_has_no_effect_reported() {
        let call = call(json!({
            "stream": true, "store": false, "tool_choice": "auto", "parallel_tool_calls": true,
            "reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "k", "client_metadata": {"x-codex-installation-id": "i"},
            "text": {"verbosity": "low"},
            "input": [{"type": "message", "id": "msg_1", "role": "developer", "content": [
                {"type": "input_text", "text": "a"}]}, {"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "b"}]}],
            "tools": [{"type": "web_search", "external_web_access": false}],
        }));
        assert_eq!(call.manner, Manner::Stream(Framing::Events));
        assert_eq!(
            call.ignored.names(),
            ["client_metadata", "prompt_cache_key", "reasoning", "text.verbosity", "tools.web_search"]
        );
        assert_eq!(
            messages(call),
            json!([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])
        );
    }

    #[test]
    fn what_asks_for_nothing_is_not_reported() {
        let call = call(
            json!({"store": false, "background": false, "truncation": "disabled", "metadata": {},
            "reasoning": {"effort": null}, "top_logprobs": 0, "previous_response_id": null, "tools": [], "text": {}}),
        );
        assert!(call.ignored.names().is_empty(), "{:?}", call.ignored.names());
        assert_eq!(call.manner, Manner::Whole);
    }

    #[test]
    fn parts_that_have_no_effect_are_reported_too() {
        let call = call(json!({
            "stream": true, "stream_options": {"include_usage": true, "zork": 1},
            "text": {"zork": 1, "format": {"type": "text", "zork": 1}},
            "input": [{"role": "user", "content": "hi"}, {"type": "reasoning", "summary": []},
                {"type": "web_search_call", "id": "ws_1"}, {"type": "image_generation_call", "result": "AA=="}],
        }));
        assert_eq!(
            call.ignored.names(),
            [
                "input.image_generation_call",
                "input.web_search_call",
                "stream_options.include_usage",
                "stream_options.zork",
                "text.format.zork",
                "text.zork"
            ]
        );
    }

    #[test]
    fn what_needs_something_stored_is_refused_by_name() {
        let unsupported = Some("unsupported_parameter");
        let cases = [
            (json!({"previous_response_id": "resp_1", "input": null}), "previous_response_id"),
            (json!({"conversation": "conv_1"}), "conversation"),
            (json!({"prompt": {"id": "pmpt_1"}, "input": null}), "prompt"),
            (json!({"background": true}), "background"),
            (json!({"top_logprobs": 3}), "top_logprobs"),
        ];
        for (more, param) in cases {
            assert_eq!(refused(more), (param.to_owned(), unsupported));
        }
        let Err(RequestError::Parameter(bad)) = read_value(&with(json!({"previous_response_id": "resp_1"})))
        else {
            panic!("accepted")
        };
        assert!(bad.message.contains("`store: false`") && !bad.message.contains("resp_1"), "{}", bad.message);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let cases = [
            (json!({"input": null}), "input"),
            (json!({"input": ""}), "input"),
            (json!({"input": []}), "input"),
            (json!({"input": 7}), "input"),
            (json!({"instructions": ["a"]}), "instructions"),
            (json!({"text": {"format": {"type": "yaml"}}}), "text.format.type"),
            (json!({"text": {"format": {"type": "json_schema", "name": "a"}}}), "text.format.schema"),
            (json!({"include": ["message.output_text.logprobs"]}), "include"),
            (json!({"max_output_tokens": 0}), "max_output_tokens"),
            (json!({"stream_options": {}}), "stream_options"),
        ];
        for (more, param) in cases {
            assert_eq!(refused(more.clone()).0, param, "{more}");
        }
    }

    #[test]
    fn a_form_and_a_length_are_asked_for() {
        let call =
            call(json!({"max_output_tokens": 9, "text": {"format": {"type": "json_schema", "name": "a",
            "schema": {"type": "object"}, "strict": true}}}));
        assert_eq!(call.asks[0].most_tokens, Some(9));
        assert!(matches!(&call.asks[0].format, Format::Schema(schema) if schema.name == "a"));
    }

    /// JSON out of the words of the API, so that readers get far.
    fn arbitrary() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(vec![
            "message",
            "user",
            "assistant",
            "function_call",
            "function_call_output",
            "custom_tool_call",
            "input_text",
            "output_text",
            "refusal",
            "function",
            "custom",
            "namespace",
            "local_shell",
            "shell",
            "apply_patch",
            "allowed_tools",
            "required",
            "a",
            "",
            "mcp_call",
            "local_shell_call",
            "additional_tools",
            "item_reference",
        ]);
        let key = prop::sample::select(vec![
            "type",
            "role",
            "content",
            "text",
            "name",
            "call_id",
            "id",
            "arguments",
            "input",
            "output",
            "tools",
            "parameters",
            "action",
            "command",
            "mode",
            "namespace",
            "description",
            "image_url",
            "operation",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            word.prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_read_or_refused(input in arbitrary(), tools in arbitrary(), choice in arbitrary(), text in arbitrary()) {
            for more in [json!({"input": input}), json!({"tools": tools}),
                json!({"tools": [tools], "tool_choice": choice, "text": text}), json!({"input": [input]})] {
                if let Err(RequestError::Parameter(bad)) = read_value(&with(more)) {
                    prop_assert!(bad.param.is_some());
                }
            }
        }
    }
}
