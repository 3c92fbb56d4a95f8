//! Reading the body of `POST /v1/chat/completions`.
//!
//! What is understood is taken out of the body; what becomes of the rest says [`fields::CHAT`].

use serde_json::Value;

use super::chat::{ChatScript, UsageChunk};
use super::fields::CHAT;
use super::format::{self, Nesting};
use super::{message, tools};
use crate::anonymous::emulate::ask::{Ask, Format};
use crate::anonymous::emulate::conversation::Turn;
use crate::anonymous::face::error::{BadParameter, RequestError};
use crate::anonymous::face::json::{
    self, Object, optional_integer, optional_object, optional_switch, switch, take,
};
use crate::anonymous::face::{Call, Framing, Ignored, Manner, Rules};

/// How many stop sequences OpenAI takes.
const MOST_STOPS: usize = 4;

/// Understands `body`, or says what is wrong with it. Whether the model exists is for the catalog to say.
pub fn read(body: &[u8], rules: &Rules) -> Result<Call, RequestError> {
    let mut body = json::body(body)?;
    let model = take_model(&mut body)?;
    let turns = take_messages(&mut body, rules)?;
    let mut ignored = Ignored::default();
    let (manner, usage) = take_manner(&mut body, &mut ignored)?;
    let copies = take_copies(&mut body, rules)?;
    let (tools, calls) = tools::take_toolset(&mut body, &mut ignored)?;
    let format = match optional_object(&mut body, "", "response_format")? {
        Some(format) => format::read(format, "response_format", Nesting::Nested, &mut ignored)?,
        None => Format::Text,
    };
    let stop = take_stop(&mut body)?;
    let most_tokens = take_most_tokens(&mut body, &["max_completion_tokens", "max_tokens"], 1)?;
    CHAT.judge(&body, &mut ignored)?;
    Ok(Call {
        model,
        asks: vec![Ask { turns, tools, format, stop, most_tokens }],
        copies,
        ignored,
        manner,
        script: Box::new(ChatScript::new(usage, calls)),
    })
}

/// `model`, in the words in which OpenAI misses it.
pub fn take_model(body: &mut Object) -> Result<String, RequestError> {
    match take(body, "model") {
        None => Err(RequestError::Parameter(BadParameter {
            message: "you must provide a model parameter".into(),
            param: Some("model".into()),
            code: Some("missing_required_parameter"),
        })),
        Some(Value::String(name)) => Ok(name),
        Some(other) => Err(RequestError::wrong_type("model", "a string", &other)),
    }
}

/// `n`: each answer costs a token.
pub fn take_copies(body: &mut Object, rules: &Rules) -> Result<usize, RequestError> {
    let copies = optional_integer(body, "", "n", 1)?.unwrap_or(1);
    usize::try_from(copies).ok().filter(|copies| *copies <= rules.most_choices).ok_or_else(|| {
        RequestError::parameter(
            format!(
                "Unsupported value: 'n' may be at most {} here (api.most_choices), because every answer costs a token.",
                rules.most_choices
            ),
            "n".into(),
            "unsupported_value",
        )
    })
}

/// `stop`: one sequence, or several.
pub fn take_stop(body: &mut Object) -> Result<Vec<String>, RequestError> {
    let stops = match take(body, "stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(stop)) => vec![stop],
        Some(Value::Array(stops)) => stops
            .into_iter()
            .enumerate()
            .map(|(index, stop)| match stop {
                Value::String(stop) => Ok(stop),
                other => Err(RequestError::wrong_type(&format!("stop[{index}]"), "a string", &other)),
            })
            .collect::<Result<_, _>>()?,
        Some(other) => {
            return Err(RequestError::wrong_type("stop", "a string or an array of strings", &other));
        }
    };
    if stops.len() > MOST_STOPS {
        return Err(RequestError::parameter(
            format!(
                "Invalid 'stop': array too long. Expected an array with maximum length {MOST_STOPS}, but got an array \
                 with length {} instead.",
                stops.len()
            ),
            "stop".into(),
            "array_above_max_length",
        ));
    }
    // An empty one would end every answer before it began.
    Ok(stops.into_iter().filter(|stop| !stop.is_empty()).collect())
}

/// The least of the limits named `keys`, each at least `least`.
pub fn take_most_tokens(body: &mut Object, keys: &[&str], least: u64) -> Result<Option<u64>, RequestError> {
    let mut lowest = None;
    for key in keys {
        if let Some(most) = optional_integer(body, "", key, least)? {
            lowest = Some(lowest.map_or(most, |lowest: u64| lowest.min(most)));
        }
    }
    Ok(lowest)
}

/// `stream` and `stream_options`.
pub fn take_manner(body: &mut Object, ignored: &mut Ignored) -> Result<(Manner, UsageChunk), RequestError> {
    let stream = switch(body, "", "stream")?;
    let Some(mut options) = optional_object(body, "", "stream_options")? else {
        let manner = if stream { Manner::Stream(Framing::Events) } else { Manner::Whole };
        return Ok((manner, UsageChunk::Omitted));
    };
    let usage = match optional_switch(&mut options, "stream_options", "include_usage")? {
        Some(true) => UsageChunk::Included,
        Some(false) | None => UsageChunk::Omitted,
    };
    optional_switch(&mut options, "stream_options", "include_obfuscation")?;
    ignored.note_rest("stream_options", &options);
    if !stream {
        return Err(RequestError::Parameter(BadParameter {
            message: "The 'stream_options' parameter is only allowed when 'stream' is enabled.".into(),
            param: Some("stream_options".into()),
            code: None,
        }));
    }
    Ok((Manner::Stream(Framing::Events), usage))
}

fn take_messages(body: &mut Object, rules: &Rules) -> Result<Vec<Turn>, RequestError> {
    let messages = match take(body, "messages") {
        None => return Err(RequestError::missing("messages")),
        Some(Value::Array(messages)) => messages,
        Some(other) => return Err(RequestError::wrong_type("messages", "an array of objects", &other)),
    };
    if messages.is_empty() {
        return Err(RequestError::parameter(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array \
             instead."
                .into(),
            "messages".into(),
            "empty_array",
        ));
    }
    messages.into_iter().enumerate().map(|(index, value)| message::read(index, value, rules.images)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(more: &Value) -> Call {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more.clone()) {
            body.extend(more);
        }
        read(body.to_string().as_bytes(), &Rules::default()).unwrap_or_else(|error| panic!("{error:?}"))
    }

    #[test]
    fn nothing_that_has_no_effect_is_swallowed() {
        let tool = json!({"type": "function", "function": {"name": "f", "strict": true, "zork": 1}});
        let cases = [
            (
                json!({"tools": [tool], "functions": [{"name": "g"}]}),
                &["functions", "tools.function.zork"][..],
            ),
            (json!({"tools": [tool], "function_call": "none"}), &["function_call", "tools.function.zork"]),
            (json!({"stream": true, "stream_options": {"zork": 1}}), &["stream_options.zork"]),
            (json!({"response_format": {"type": "text", "zork": 1}}), &["response_format.zork"]),
            (json!({"top-k": 1, "metadata": {"a": "b"}}), &["metadata", "top-k"]),
            (json!({"metadata": {}, "logit_bias": {}, "user": "", "function_call": "auto"}), &[]),
        ];
        for (more, expected) in cases {
            assert_eq!(call(&more).ignored.names(), expected, "{more}");
        }
    }

    #[test]
    fn a_schema_beside_json_object_counts() {
        let format = json!({"response_format": {"type": "json_object", "schema": {"type": "object"}}});
        let call = call(&format);
        assert!(
            matches!(&call.asks[0].format, Format::Schema(schema) if schema.schema == json!({"type": "object"}))
        );
        assert!(call.ignored.names().is_empty());
    }
}
