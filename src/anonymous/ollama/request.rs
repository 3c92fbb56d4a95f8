//! Reading the bodies of `POST /api/chat`, `/api/generate` and `/api/show`.
//!
//! What is understood is taken out of a body; what becomes of the rest say the tables in [`fields`](super::fields).
//!
//! A chat without messages and a generation without a prompt ask for a model to be loaded, or let go. There
//! is nothing to load, so they are answered here, and no token is spent.

use serde_json::Value;

use super::fields::{CHAT, GENERATE, OPTIONS};
use super::message;
use super::telling::{Form, Moment, Telling, loaded};
use crate::anonymous::emulate::ask::{Ask, Format, Schema, Strictness};
use crate::anonymous::emulate::conversation::{Part, Said, Turn};
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::fields::Table;
use crate::anonymous::face::json::{
    self, Object, optional_array, optional_object, optional_string, optional_switch, required_string, take,
};
use crate::anonymous::face::toolset::usable;
use crate::anonymous::face::{Call, Framing, Ignored, Manner, verbatim};

/// More would make reading an answer slow.
const MOST_STOPS: usize = 64;

/// What a request comes to. No `Debug`: it holds the prompt.
pub enum Wanted {
    /// An answer.
    Call(Call),
    /// That a model is ready.
    Loaded(Loaded),
}

/// A model that is ready, or let go: always, and at once.
pub struct Loaded {
    /// As the client spells it.
    pub model: String,
    /// The answer, if there is such a model.
    pub answer: Vec<u8>,
}

/// Understands a chat's `body`.
pub fn chat(bytes: &[u8], now: Moment) -> Result<Wanted, RequestError> {
    let mut body = json::body(bytes)?;
    let model = required_string(&mut body, "", "model")?;
    let messages = optional_array(&mut body, "", "messages")?.unwrap_or_default();
    if messages.is_empty() {
        return Ok(Wanted::Loaded(take_loaded(&mut body, model, Form::Chat, now)));
    }
    let read = |(index, value)| message::read(index, value);
    let mut turns = messages.into_iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    verbatim::keep(&mut turns, || message::written_arguments(bytes));
    let tools = message::take_toolset(&mut body)?;
    let ask = Ask { turns, tools, ..Ask::default() };
    take_call(body, model, ask, Form::Chat, now, &CHAT)
}

/// Understands a generation's `body`.
pub fn generate(body: &[u8], now: Moment) -> Result<Wanted, RequestError> {
    let mut body = json::body(body)?;
    let model = required_string(&mut body, "", "model")?;
    let system = optional_string(&mut body, "", "system")?;
    let parts = message::take_parts(&mut body, "", "prompt")?;
    if parts.iter().all(|part| matches!(part, Part::Text(text) if text.is_empty())) {
        return Ok(Wanted::Loaded(take_loaded(&mut body, model, Form::Generation, now)));
    }
    let system = system.map(|text| Turn::System(Said { name: None, parts: vec![Part::Text(text)] }));
    let turns = system.into_iter().chain([Turn::User(Said { name: None, parts })]).collect();
    let ask = Ask { turns, ..Ask::default() };
    take_call(body, model, ask, Form::Generation, now, &GENERATE)
}

/// Which model is to be shown.
pub fn shown(body: &[u8]) -> Result<String, RequestError> {
    let mut body = json::body(body)?;
    match optional_string(&mut body, "", "model")? {
        Some(model) => Ok(model),
        // The older key.
        None => match optional_string(&mut body, "", "name")? {
            Some(name) => Ok(name),
            None => Err(RequestError::missing("model")),
        },
    }
}

/// What chats and generations have in common, put with `ask`.
fn take_call(
    mut body: Object,
    model: String,
    ask: Ask,
    form: Form,
    now: Moment,
    table: &Table,
) -> Result<Wanted, RequestError> {
    let manner = match optional_switch(&mut body, "", "stream")? {
        Some(false) => Manner::Whole,
        Some(true) | None => Manner::Stream(Framing::Lines),
    };
    let format = take_format(&mut body)?;
    let mut options = optional_object(&mut body, "", "options")?.unwrap_or_default();
    let stop = take_stop(&mut options)?;
    let most_tokens = take_most_tokens(&mut options)?;
    let mut ignored = Ignored::default();
    table.judge(&body, &mut ignored)?;
    let options = options.into_iter().map(|(name, value)| (format!("options.{name}"), value)).collect();
    OPTIONS.judge(&options, &mut ignored)?;
    Ok(Wanted::Call(Call {
        asks: vec![Ask { format, stop, most_tokens, ..ask }],
        copies: 1,
        ignored,
        manner,
        script: Box::new(Telling::new(form, model.clone(), now)),
        model,
    }))
}

fn take_loaded(body: &mut Object, model: String, form: Form, now: Moment) -> Loaded {
    let reason = match take(body, "keep_alive") {
        Some(Value::Number(number)) if number.as_f64() == Some(0.0) => "unload",
        Some(Value::String(text))
            if text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic()) == "0" =>
        {
            "unload"
        }
        _ => "load",
    };
    Loaded { answer: loaded(&model, form, now, reason), model }
}

/// `format`: `json`, or a schema.
fn take_format(body: &mut Object) -> Result<Format, RequestError> {
    match take(body, "format") {
        None => Ok(Format::Text),
        Some(Value::String(word)) => match word.as_str() {
            "" => Ok(Format::Text),
            "json" => Ok(Format::JsonObject),
            _ => Err(RequestError::invalid_value("format", "supported are 'json' and a JSON Schema")),
        },
        Some(schema @ Value::Object(_)) => {
            let schema = usable(schema, "format", "invalid_json_schema")?;
            Ok(Format::Schema(Schema {
                name: "answer".into(),
                description: None,
                schema,
                strictness: Strictness::Strict,
            }))
        }
        Some(other) => Err(RequestError::wrong_type("format", "a string or an object", &other)),
    }
}

/// `options.stop`: one sequence, or several.
fn take_stop(options: &mut Object) -> Result<Vec<String>, RequestError> {
    const PLACE: &str = "options.stop";
    let stops = match take(options, "stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(stop)) => vec![stop],
        Some(Value::Array(stops)) => {
            let text = |stop| match stop {
                Value::String(stop) => Ok(stop),
                other => Err(RequestError::wrong_type(PLACE, "an array of strings", &other)),
            };
            stops.into_iter().map(text).collect::<Result<_, _>>()?
        }
        Some(other) => return Err(RequestError::wrong_type(PLACE, "an array of strings", &other)),
    };
    if stops.len() > MOST_STOPS {
        return Err(RequestError::invalid_value(PLACE, format_args!("at most {MOST_STOPS} sequences")));
    }
    // An empty one would end every answer before it began.
    Ok(stops.into_iter().filter(|stop| !stop.is_empty()).collect())
}

/// `options.num_predict`: a limit if it is above 0.
fn take_most_tokens(options: &mut Object) -> Result<Option<u64>, RequestError> {
    const PLACE: &str = "options.num_predict";
    let Some(value) = take(options, "num_predict") else { return Ok(None) };
    // Some clients write every option as a decimal.
    let whole = value.as_i64().or_else(|| {
        let text = value.as_f64().filter(|number| number.fract() == 0.0)?.to_string();
        text.parse().ok()
    });
    match whole {
        Some(number) => Ok(u64::try_from(number).ok().filter(|most| *most > 0)),
        None => Err(RequestError::wrong_type(PLACE, "an integer", &value)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;

    fn now() -> Moment {
        Moment { at: Timestamp::from_unix(0), started: Instant::now() }
    }

    fn call(wanted: Result<Wanted, RequestError>) -> Call {
        match wanted {
            Ok(Wanted::Call(call)) => call,
            Ok(Wanted::Loaded(_)) => panic!("nothing to answer"),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn chatted(rest: &str) -> Result<Wanted, RequestError> {
        chat(
            format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}]{rest}}}"#).as_bytes(),
            now(),
        )
    }

    fn param(wanted: Result<Wanted, RequestError>) -> String {
        match wanted {
            Err(RequestError::Parameter(bad)) => bad.param.unwrap().into(),
            _ => panic!("not refused with a parameter"),
        }
    }

    #[test]
    fn a_stream_is_what_is_wanted_unless_it_is_not() {
        assert_eq!(call(chatted("")).manner, Manner::Stream(Framing::Lines));
        assert_eq!(call(chatted(r#","stream":null"#)).manner, Manner::Stream(Framing::Lines));
        assert_eq!(call(chatted(r#","stream":false"#)).manner, Manner::Whole);
        assert_eq!(param(chatted(r#","stream":"no""#)), "stream");
    }

    #[test]
    fn options_are_emulated_or_reported() {
        let call = call(chatted(
            r#","keep_alive":"5m","think":"high","options":{"stop":["a",""],"num_predict":7.0,"seed":1,"temperature":0,"f16_kv":true}"#,
        ));
        assert_eq!((&call.asks[0].stop, call.asks[0].most_tokens), (&vec!["a".to_owned()], Some(7)));
        assert_eq!(call.ignored.names(), ["options.f16_kv", "options.seed", "options.temperature", "think"]);
        for unlimited in ["-1", "-2", "0", "null"] {
            let call = super::tests::call(chatted(&format!(r#","options":{{"num_predict":{unlimited}}}"#)));
            assert_eq!(call.asks[0].most_tokens, None, "{unlimited}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (rest, expected) in [
            (r#","options":{"num_predict":1.5}"#, "options.num_predict"),
            (r#","options":{"stop":[1]}"#, "options.stop"),
            (r#","options":7"#, "options"),
            (r#","format":"yaml""#, "format"),
            (r#","format":{"type":7}"#, "format"),
            (r#","logprobs":true"#, "logprobs"),
        ] {
            assert_eq!(param(chatted(rest)), expected, "{rest}");
        }
        for rest in [r#""suffix":"}""#, r#""context":[1,2]"#] {
            let body = format!(r#"{{"model":"m","prompt":"hi",{rest}}}"#);
            assert!(generate(body.as_bytes(), now()).is_err(), "{rest}");
        }
        assert_eq!(param(chat(br#"{"messages":[]}"#, now())), "model");
    }

    #[test]
    fn the_form_of_an_answer_is_a_word_or_a_schema() {
        let format = |rest: &str| call(chatted(rest)).asks.remove(0).format;
        assert!(matches!(format(""), Format::Text) && matches!(format(r#","format":"""#), Format::Text));
        assert!(matches!(format(r#","format":"json""#), Format::JsonObject));
        assert!(matches!(format(r#","format":{"type":"object"}"#), Format::Schema(_)));
    }

    #[test]
    fn the_numbers_of_earlier_calls_are_told_to_the_digit() {
        let body =
            br#"{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[
            {"function":{"name":"f","arguments":{"x": 1.10}}},{"function":{"name":"f"}}]}]}"#;
        let call = call(chat(body, now()));
        let [_, Turn::Assistant { calls, .. }] = &call.asks[0].turns[..] else { panic!("no calls") };
        assert_eq!((calls[0].arguments.as_str(), calls[1].arguments.as_str()), (r#"{"x":1.10}"#, "{}"));
    }

    #[test]
    fn what_says_nothing_loads_a_model() {
        let answer = |wanted: Result<Wanted, RequestError>| match wanted {
            Ok(Wanted::Loaded(loaded)) => String::from_utf8(loaded.answer).unwrap(),
            _ => panic!("not a load"),
        };
        assert_eq!(
            answer(chat(br#"{"model":"m","messages":[]}"#, now())),
            r#"{"model":"m","created_at":"1970-01-01T00:00:00Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"load"}"#
        );
        assert_eq!(
            answer(generate(br#"{"model":"m","prompt":"","keep_alive":0}"#, now())),
            r#"{"model":"m","created_at":"1970-01-01T00:00:00Z","response":"","done":true,"done_reason":"unload"}"#
        );
        assert!(answer(generate(br#"{"model":"m","keep_alive":"0s"}"#, now())).contains("unload"));
        assert!(answer(generate(br#"{"model":"m","keep_alive":"10m"}"#, now())).contains(r#""load""#));
    }

    #[test]
    fn a_generation_is_instructions_and_a_prompt() {
        let body = br#"{"model":"m","prompt":"hi","system":"be brief","raw":true,"template":"x"}"#;
        let call = call(generate(body, now()));
        assert!(matches!(call.asks[0].turns[..], [Turn::System(_), Turn::User(_)]));
        assert_eq!(call.ignored.names(), ["raw", "template"]);
    }

    #[test]
    fn a_model_is_shown_by_either_key() {
        assert_eq!(shown(br#"{"model":"a","verbose":true}"#), Ok("a".into()));
        assert_eq!(shown(br#"{"name":"a"}"#), Ok("a".into()));
        assert!(shown(b"{}").is_err());
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(
            body in prop::collection::vec(any::<u8>(), 0..100), value in "[\\[\\]{}\",:a-z0-9]{0,40}",
        ) {
            let fields = ["messages", "tools", "format", "options", "stream", "images", "keep_alive"];
            let bodies = fields.map(|field| format!(r#"{{"model":"m","prompt":"p","{field}":{value}}}"#).into_bytes());
            for body in bodies.into_iter().chain([body]) {
                let _ = chat(&body, now());
                let _ = generate(&body, now());
                let _ = shown(&body);
            }
        }

        #[test]
        fn a_limit_is_a_limit_if_it_is_above_zero(most in any::<i64>()) {
            let read = call(chatted(&json!({"num_predict": most}).to_string().replace('{', r#","options":{"#)));
            prop_assert_eq!(read.asks[0].most_tokens, u64::try_from(most).ok().filter(|most| *most > 0));
        }
    }
}
