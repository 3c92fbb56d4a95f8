//! Reading the bodies of `POST /v1/messages` and `/v1/messages/count_tokens`.
//!
//! What is understood is taken out of a body; what becomes of the rest says [`fields::MESSAGES`](super::fields::MESSAGES).

use serde_json::Value;

use super::content::Telling;
use super::fields::MESSAGES;
use super::{message, tools};
use crate::anonymous::emulate::ask::{Ask, Format, Schema, Strictness};
use crate::anonymous::emulate::conversation::Turn;
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::json::{
    self, Object, optional_array, optional_integer, optional_object, required_string, switch,
};
use crate::anonymous::face::toolset::take_schema;
use crate::anonymous::face::{Call, Framing, Ignored, Images, Manner, Rules, verbatim};

/// More would make reading an answer slow.
const MOST_STOPS: usize = 64;

/// Understands `body`, or says what is wrong with it. Whether the model exists is for the catalog to say.
pub fn read(body: &[u8], rules: &Rules) -> Result<Call, RequestError> {
    let call = understand(body, rules)?;
    if call.asks.iter().any(|ask| ask.most_tokens.is_none()) {
        // Anthropic wants it, and a client that forgets it there shall notice here.
        return Err(RequestError::missing("max_tokens"));
    }
    Ok(call)
}

/// The same where nothing is to be answered.
pub fn read_to_count(body: &[u8], rules: &Rules) -> Result<Call, RequestError> {
    understand(body, rules)
}

fn understand(bytes: &[u8], rules: &Rules) -> Result<Call, RequestError> {
    let mut body = json::body(bytes)?;
    let model = required_string(&mut body, "", "model")?;
    let mut ignored = Ignored::default();
    let system = message::take_system(&mut body)?;
    let mut turns: Vec<_> = system.into_iter().chain(take_messages(&mut body, rules.images)?).collect();
    verbatim::keep(&mut turns, || message::written_inputs(bytes));
    let tools = tools::take_toolset(&mut body, &mut ignored)?;
    let format = take_format(&mut body)?;
    let stop = take_stop(&mut body)?;
    let most_tokens = optional_integer(&mut body, "", "max_tokens", 1)?;
    let manner =
        if switch(&mut body, "", "stream")? { Manner::Stream(Framing::Events) } else { Manner::Whole };
    MESSAGES.judge(&body, &mut ignored)?;
    Ok(Call {
        asks: vec![Ask { turns, tools, format, stop, most_tokens }],
        copies: 1,
        ignored,
        manner,
        script: Box::new(Telling::new(model.clone())),
        model,
    })
}

fn take_messages(body: &mut Object, images: Images) -> Result<Vec<Turn>, RequestError> {
    let Some(messages) = optional_array(body, "", "messages")? else {
        return Err(RequestError::missing("messages"));
    };
    if messages.is_empty() {
        return Err(RequestError::invalid_value("messages", "at least one message is required"));
    }
    let mut turns = Vec::with_capacity(messages.len());
    for (index, value) in messages.into_iter().enumerate() {
        turns.append(&mut message::read(index, value, images)?);
    }
    Ok(turns)
}

/// `output_config.format`, or its older place. What else `output_config` has is left to be judged.
fn take_format(body: &mut Object) -> Result<Format, RequestError> {
    let older = optional_object(body, "", "output_format")?.map(|format| (format, "output_format"));
    let mut config = optional_object(body, "", "output_config")?.unwrap_or_default();
    let format = optional_object(&mut config, "output_config", "format")?;
    body.extend(config.into_iter().map(|(name, value)| (format!("output_config.{name}"), value)));
    let Some((mut format, place)) = format.map(|format| (format, "output_config.format")).or(older) else {
        return Ok(Format::Text);
    };
    if required_string(&mut format, place, "type")? != "json_schema" {
        return Err(RequestError::invalid_value(&format!("{place}.type"), "supported is 'json_schema'"));
    }
    let Some(schema) = take_schema(&mut format, place, "schema", "invalid_json_schema")? else {
        return Err(RequestError::missing(&format!("{place}.schema")));
    };
    Ok(Format::Schema(Schema {
        name: "answer".into(),
        description: None,
        schema,
        strictness: Strictness::Strict,
    }))
}

fn take_stop(body: &mut Object) -> Result<Vec<String>, RequestError> {
    const PLACE: &str = "stop_sequences";
    let stops = optional_array(body, "", PLACE)?.unwrap_or_default();
    if stops.len() > MOST_STOPS {
        return Err(RequestError::invalid_value(PLACE, format_args!("at most {MOST_STOPS} sequences")));
    }
    let text = |(index, stop)| match stop {
        Value::String(stop) => Ok(stop),
        other => Err(RequestError::wrong_type(&format!("{PLACE}[{index}]"), "a string", &other)),
    };
    let stops = stops.into_iter().enumerate().map(text).collect::<Result<Vec<_>, _>>()?;
    // An empty one would end every answer before it began.
    Ok(stops.into_iter().filter(|stop| !stop.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(rest: &str) -> Vec<u8> {
        format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"hi"}}]{rest}}}"#)
            .into()
    }

    fn called(rest: &str) -> Call {
        match read(&body(rest), &Rules::default()) {
            Ok(call) => call,
            Err(error) => panic!("{error:?}"),
        }
    }

    fn param(body: &[u8]) -> String {
        match read(body, &Rules::default()) {
            Err(RequestError::Parameter(bad)) => bad.param.unwrap().into(),
            _ => panic!("not refused with a parameter"),
        }
    }

    #[test]
    fn what_is_understood_is_taken_and_the_rest_is_reported() {
        let call = called(
            r#","system":[{"type":"text","text":"a"}],"stop_sequences":["b",""],"stream":true,"temperature":1,
            "thinking":{"type":"adaptive"},"metadata":{"user_id":"u"},"cache_control":{"type":"ephemeral"},
            "output_config":{"effort":"high","zork":1},"context_management":{}"#,
        );
        let ask = &call.asks[0];
        assert!(matches!(ask.turns[..], [Turn::System(_), Turn::User(_)]));
        assert_eq!((&ask.stop, ask.most_tokens), (&vec!["b".to_owned()], Some(9)));
        assert_eq!(call.manner, Manner::Stream(Framing::Events));
        assert_eq!(
            call.ignored.names(),
            [
                "context_management",
                "metadata",
                "output_config.effort",
                "output_config.zork",
                "temperature",
                "thinking"
            ]
        );
        assert_eq!(called(r#","thinking":{"type":"disabled"}"#).ignored.first(), None);
    }

    #[test]
    fn the_numbers_of_earlier_calls_are_told_to_the_digit() {
        let body = br#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"},
            {"role":"assistant","content":[{"type":"text","text":"a"},
                {"type":"tool_use","id":"1","name":"f","input":{"id":123456789012345678901, "x":1.10}}]},
            {"role":"assistant","content":[{"type":"tool_use","id":"2","name":"f","input":{"y":"1.0"}}]}]}"#;
        let call = read(body, &Rules::default()).ok().unwrap();
        let told: Vec<_> = call.asks[0]
            .turns
            .iter()
            .filter_map(|turn| match turn {
                Turn::Assistant { calls, .. } => Some(calls[0].arguments.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(told, [r#"{"id":123456789012345678901,"x":1.10}"#, r#"{"y":"1.0"}"#]);
    }

    #[test]
    fn the_form_of_an_answer_is_a_schema() {
        let format = r#"{"type":"json_schema","schema":{"type":"object"}}"#;
        for rest in
            [format!(r#","output_config":{{"format":{format}}}"#), format!(r#","output_format":{format}"#)]
        {
            let call = called(&rest);
            assert!(matches!(call.asks[0].format, Format::Schema(_)) && call.ignored.first().is_none());
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (rest, expected) in [
            (r#","stop_sequences":"a""#, "stop_sequences"),
            (r#","stop_sequences":[1]"#, "stop_sequences[0]"),
            (r#","max_tokens":0"#, "max_tokens"),
            (r#","output_format":{"type":"text"}"#, "output_format.type"),
            (r#","output_config":{"format":{"type":"json_schema"}}"#, "output_config.format.schema"),
            (r#","mcp_servers":[{}]"#, "mcp_servers"),
            (r#","system":7"#, "system"),
        ] {
            assert_eq!(param(&body(rest)), expected, "{rest}");
        }
        assert_eq!(param(br#"{"max_tokens":1}"#), "model");
        assert_eq!(param(br#"{"model":"m","max_tokens":1}"#), "messages");
        assert_eq!(param(br#"{"model":"m","max_tokens":1,"messages":[]}"#), "messages");
    }

    #[test]
    fn a_limit_is_wanted_unless_tokens_are_only_counted() {
        let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
        assert_eq!(param(body), "max_tokens");
        assert!(read_to_count(body, &Rules::default()).is_ok());
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..100), value in "[\\[\\]{}\",:a-z0-9]{0,40}",
        ) {
            let fields = ["messages", "system", "tools", "tool_choice", "output_config", "stop_sequences", "stream"];
            let bodies = fields.map(|field| body(&format!(r#","{field}":{value}"#)));
            for body in bodies.into_iter().chain([bytes]) {
                let _ = read(&body, &Rules::default());
                let _ = read_to_count(&body, &Rules::default());
            }
        }
    }
}
