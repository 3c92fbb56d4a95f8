//! Reading the body of `POST /v1/chat/completions`.
//!
//! The parameters that matter are kept, everything else is skipped without being built. Nesting is bounded
//! everywhere, also in what is skipped: what no JSON reader downstream would take is refused before it costs
//! a token. A parameter given twice counts the second time, as in most JSON readers.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{RequestError, message};
use crate::anonymous::emulate::roles::{self, NothingSaid};
use crate::wire::ModelName;

/// A call as it is understood. No `Debug`: it holds the prompt.
pub struct ChatRequest {
    /// What the client asked for.
    pub model: ModelName,
    /// The conversation in the backend's safe form (`emulate::roles`), canonical.
    pub messages: Box<RawValue>,
    /// How the answer is wanted.
    pub shape: Shape,
    /// What was asked for beyond that, and has no effect.
    pub ignored: Ignored,
}

/// How the answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One JSON object.
    Whole,
    /// Server-sent events.
    Stream(UsageChunk),
}

/// Whether a stream ends with a chunk of token counts: `stream_options.include_usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageChunk {
    /// It does.
    Included,
    /// It does not.
    Omitted,
}

/// The parameters of OpenAI's API that have no effect here. Unknown names are not in it: what the client
/// invents is never repeated.
const IGNORABLE: [&str; 30] = [
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

/// Which parameters of OpenAI's API were given, though they have no effect here.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Ignored(u32);

impl Ignored {
    /// Their names, in alphabetical order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        IGNORABLE.iter().enumerate().filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name)
    }

    fn note(&mut self, bit: u8) {
        self.0 |= 1 << bit;
    }
}

/// How deep arrays and objects may be nested: what JSON readers commonly allow.
const MOST_NESTED: usize = 127;

/// Understands `body`, or says what is wrong with it. Whether the model exists is for the catalog to say.
pub fn read(body: &[u8]) -> Result<ChatRequest, RequestError> {
    // Checked as a whole first: strings that are skipped would not be.
    let text = std::str::from_utf8(body).map_err(|_| RequestError::Malformed)?;
    if nests_deeper_than(MOST_NESTED, text) {
        return Err(RequestError::Malformed);
    }
    let Fields { model, messages, stream, stream_options, n, ignored } =
        serde_json::from_str(text).map_err(|error| match error.classify() {
            // Only the outermost value has a type that `Fields` insists on.
            serde_json::error::Category::Data => RequestError::Parameter(super::BadParameter {
                message: "Invalid type for the request body: expected an object.".into(),
                param: None,
                code: Some("invalid_type"),
            }),
            _ => RequestError::Malformed,
        })?;
    let model = read_model(model)?;
    let messages = match messages {
        None | Some(Value::Null) => return Err(RequestError::missing("messages")),
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
    let shape = read_shape(stream, stream_options)?;
    read_n(n)?;
    let turns = messages
        .into_iter()
        .enumerate()
        .map(|(index, value)| message::read(index, value))
        .collect::<Result<Vec<_>, _>>()?;
    let messages = roles::canonical(turns)
        .map_err(|NothingSaid| RequestError::invalid_value("messages", "every message is empty"))?;
    Ok(ChatRequest { model, messages, shape, ignored })
}

/// Linear, without recursion. On text that is not JSON the answer means nothing.
fn nests_deeper_than(most: usize, text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

fn read_model(model: Option<Value>) -> Result<ModelName, RequestError> {
    match model {
        None | Some(Value::Null) => Err(RequestError::Parameter(super::BadParameter {
            message: "you must provide a model parameter".into(),
            param: Some("model".into()),
            code: Some("missing_required_parameter"),
        })),
        Some(Value::String(name)) => ModelName::new(name).map_err(|_| RequestError::UnknownModel(None)),
        Some(other) => Err(RequestError::wrong_type("model", "a string", &other)),
    }
}

fn read_shape(stream: Option<Value>, options: Option<Value>) -> Result<Shape, RequestError> {
    let given = options.as_ref().is_some_and(|options| !options.is_null());
    let usage = match options {
        None | Some(Value::Null) => UsageChunk::Omitted,
        Some(Value::Object(options)) => match options.get("include_usage") {
            Some(Value::Bool(true)) => UsageChunk::Included,
            None | Some(Value::Null | Value::Bool(false)) => UsageChunk::Omitted,
            Some(other) => {
                return Err(RequestError::wrong_type("stream_options.include_usage", "a boolean", other));
            }
        },
        Some(other) => return Err(RequestError::wrong_type("stream_options", "an object", &other)),
    };
    match stream {
        None | Some(Value::Null | Value::Bool(false)) if given => {
            Err(RequestError::Parameter(super::BadParameter {
                message: "The 'stream_options' parameter is only allowed when 'stream' is enabled.".into(),
                param: Some("stream_options".into()),
                code: None,
            }))
        }
        None | Some(Value::Null | Value::Bool(false)) => Ok(Shape::Whole),
        Some(Value::Bool(true)) => Ok(Shape::Stream(usage)),
        Some(other) => Err(RequestError::wrong_type("stream", "a boolean", &other)),
    }
}

/// One call spends one token and brings one answer.
fn read_n(n: Option<Value>) -> Result<(), RequestError> {
    match n {
        None | Some(Value::Null) => Ok(()),
        Some(Value::Number(n)) if n.as_u64() == Some(1) => Ok(()),
        Some(Value::Number(n)) if !n.is_f64() => Err(RequestError::parameter(
            "Unsupported value: only n = 1 is supported, because every answer costs a token.".into(),
            "n".into(),
            "unsupported_value",
        )),
        Some(other) => Err(RequestError::wrong_type("n", "an integer", &other)),
    }
}

/// The parameters that matter, as JSON values: their types are judged one by one, so that each complaint can
/// name its parameter.
#[derive(Default)]
struct Fields {
    model: Option<Value>,
    messages: Option<Value>,
    stream: Option<Value>,
    stream_options: Option<Value>,
    n: Option<Value>,
    ignored: Ignored,
}

enum Name {
    Model,
    Messages,
    Stream,
    StreamOptions,
    N,
    Ignorable(u8),
    Unknown,
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a parameter name")
            }

            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(match name {
                    "model" => Name::Model,
                    "messages" => Name::Messages,
                    "stream" => Name::Stream,
                    "stream_options" => Name::StreamOptions,
                    "n" => Name::N,
                    _ => match IGNORABLE.binary_search(&name) {
                        Ok(bit) => u8::try_from(bit).map_or(Name::Unknown, Name::Ignorable),
                        Err(_) => Name::Unknown,
                    },
                })
            }
        }
        deserializer.deserialize_identifier(NameVisitor)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                while let Some(name) = map.next_key()? {
                    match name {
                        Name::Model => fields.model = Some(map.next_value()?),
                        Name::Messages => fields.messages = Some(map.next_value()?),
                        Name::Stream => fields.stream = Some(map.next_value()?),
                        Name::StreamOptions => fields.stream_options = Some(map.next_value()?),
                        Name::N => fields.n = Some(map.next_value()?),
                        Name::Ignorable(bit) => {
                            if map.next_value::<Option<IgnoredAny>>()?.is_some() {
                                fields.ignored.note(bit);
                            }
                        }
                        Name::Unknown => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MESSAGES: &str = r#""messages":[{"role":"user","content":"hi"}]"#;

    fn read_with(rest: &str) -> Result<ChatRequest, RequestError> {
        read(format!(r#"{{"model":"gpt-4.1",{MESSAGES}{rest}}}"#).as_bytes())
    }

    /// `(param, code)` of the complaint.
    fn complaint(result: Result<ChatRequest, RequestError>) -> (Option<String>, Option<&'static str>) {
        match result {
            Err(RequestError::Parameter(bad)) => (bad.param.map(Into::into), bad.code),
            Err(other) => panic!("another error: {other:?}"),
            Ok(_) => panic!("accepted"),
        }
    }

    #[test]
    fn the_ignorable_names_are_sorted_for_the_search() {
        assert!(IGNORABLE.is_sorted());
    }

    #[test]
    fn known_parameters_without_effect_are_reported_and_unknown_ones_are_not() {
        let request = read_with(r#","user":"u","tools":[{"a":[1]}],"temperature":0,"seed":null,"canary":1"#);
        let names: Vec<_> = request.ok().unwrap().ignored.names().collect();
        assert_eq!(names, ["temperature", "tools", "user"]);
    }

    #[test]
    fn shapes_are_read() {
        let shape = |rest: &str| read_with(rest).ok().unwrap().shape;
        assert_eq!(shape(""), Shape::Whole);
        assert_eq!(shape(r#","stream":null,"stream_options":null"#), Shape::Whole);
        assert_eq!(shape(r#","stream":true"#), Shape::Stream(UsageChunk::Omitted));
        assert_eq!(
            shape(r#","stream":true,"stream_options":{"include_usage":true,"x":1}"#),
            Shape::Stream(UsageChunk::Included)
        );
    }

    #[test]
    fn wrong_types_are_complained_about_by_name() {
        let cases = [
            (r#","stream":"yes""#, "stream", "invalid_type"),
            (r#","stream":true,"stream_options":[]"#, "stream_options", "invalid_type"),
            (r#","stream_options":{"include_usage":1}"#, "stream_options.include_usage", "invalid_type"),
            (r#","n":2"#, "n", "unsupported_value"),
            (r#","n":0"#, "n", "unsupported_value"),
            (r#","n":1.5"#, "n", "invalid_type"),
            (r#","n":"1""#, "n", "invalid_type"),
            (r#","model":7"#, "model", "invalid_type"),
            (r#","model":null"#, "model", "missing_required_parameter"),
            (r#","messages":null"#, "messages", "missing_required_parameter"),
            (r#","messages":[]"#, "messages", "empty_array"),
            (r#","messages":"hi""#, "messages", "invalid_type"),
            (r#","messages":[{"role":"user","content":""}]"#, "messages", "invalid_value"),
        ];
        for (rest, param, code) in cases {
            assert_eq!(complaint(read_with(rest)), (Some(param.into()), Some(code)), "{rest}");
        }
        assert_eq!(complaint(read(b"[]")), (None, Some("invalid_type")));
    }

    #[test]
    fn what_is_not_json_is_malformed_however_deep() {
        let deep_messages = format!(r#"{{"model":"m","messages":{}"#, "[".repeat(1_000_000));
        let cases: [&[u8]; 7] = [
            b"",
            b"{",
            b"{}x",
            b"\xff",
            b"{\"user\":\"\xff\"}",
            b"{\"model\":\"\\ud800\"}",
            deep_messages.as_bytes(),
        ];
        for body in cases {
            assert_eq!(read(body).err(), Some(RequestError::Malformed));
        }
    }

    #[test]
    fn nesting_is_bounded_in_skipped_parameters_too() {
        let nested = |depth: usize| format!(r#","x":{}{}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(read_with(&nested(MOST_NESTED - 1)).is_ok());
        assert_eq!(read_with(&nested(MOST_NESTED)).err(), Some(RequestError::Malformed));
        assert_eq!(read_with(&nested(1_000_000)).err(), Some(RequestError::Malformed));
        // Brackets in a string are text.
        let quoted = format!(r#","x":"{}\\\"{}""#, "[".repeat(500), "{".repeat(500));
        assert!(read_with(&quoted).is_ok());
    }

    #[test]
    fn stream_options_without_a_stream_are_refused() {
        for rest in [r#","stream_options":{}"#, r#","stream":false,"stream_options":{"include_usage":true}"#]
        {
            assert_eq!(complaint(read_with(rest)), (Some("stream_options".into()), None), "{rest}");
        }
    }

    #[test]
    fn an_ill_formed_model_is_unknown_and_not_repeated() {
        let result = read(format!(r#"{{"model":"a b\n",{MESSAGES}}}"#).as_bytes());
        assert_eq!(result.err(), Some(RequestError::UnknownModel(None)));
    }

    fn json() -> impl Strategy<Value = Value> {
        let key = prop_oneof![
            prop::sample::select(vec![
                "model",
                "messages",
                "role",
                "content",
                "type",
                "text",
                "stream",
                "stream_options",
                "n",
                "name",
                "include_usage",
                "tool_calls",
                "function",
                "arguments",
                "image_url",
                "url",
            ])
            .prop_map(String::from),
            "\\PC{0,8}",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop::sample::select(vec!["user", "tool", "assistant", "text", "image_url", "m"])
                .prop_map(Value::from),
            "\\PC{0,16}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 64, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..512)) {
            let _ = read(&body);
        }

        #[test]
        fn any_json_is_read_or_refused(body in json(), messages in json()) {
            let _ = read(body.to_string().as_bytes());
            let body = serde_json::json!({ "model": "m", "messages": messages });
            let _ = read(body.to_string().as_bytes());
            let body = serde_json::json!({ "model": "m", "messages": [messages] });
            let _ = read(body.to_string().as_bytes());
        }

        #[test]
        fn the_canonical_messages_do_not_depend_on_anything_else(
            text in "\\PC{1,64}", user in "\\PC{0,16}", extra in json(), temperature in any::<f32>(),
        ) {
            let plain = serde_json::json!({
                "model": "m", "messages": [{ "role": "user", "content": text }],
            });
            let noisy = serde_json::json!({
                "metadata": extra, "temperature": temperature, "user": user, "model": "m",
                "messages": [{
                    "content": [{ "type": "text", "cache_control": extra, "text": text }],
                    "role": "user", "x": user,
                }],
            });
            let [plain, noisy] = [plain.to_string(), serde_json::to_string_pretty(&noisy).unwrap()]
                .map(|body| read(body.as_bytes()).ok().unwrap().messages.get().to_owned());
            prop_assert_eq!(&plain, &noisy);
            let again: Value = serde_json::from_str(&plain).unwrap();
            prop_assert_eq!(again, serde_json::json!([{ "role": "user", "content": text }]));
        }
    }
}
