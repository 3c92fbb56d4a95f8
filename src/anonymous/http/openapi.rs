//! `GET /openapi.json`: what the endpoint answers, in OpenAPI 3.1, made from the tables that its readers use.
//!
//! Deliberately absent: the APIs of Ollama and Anthropic, which are described where they come from; and what the endpoint
//! takes beyond the description: the readers are more lenient than it says where clients differ.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::anonymous::face::fields::{Table, Treatment};
use crate::anonymous::face::{Rules, json};
use crate::anonymous::openai::fields::TABLES;
use crate::anonymous::openai::schemas::{COMPONENTS, Component};

/// An operation without a body.
struct Reading {
    path: &'static str,
    summary: &'static str,
    answer: &'static str,
    parameter: Option<&'static str>,
}

const READINGS: &[Reading] = &[
    Reading { path: "/v1/models", summary: "What can be asked for", answer: "ModelList", parameter: None },
    Reading { path: "/v1/models/{id}", summary: "One model", answer: "Model", parameter: Some("id") },
];

/// Statuses of failures, beside those that only some operations have.
const FAILURES: &[&str] =
    &["400", "401", "403", "404", "405", "408", "413", "415", "429", "500", "502", "503", "504"];

/// How a stream is wanted may be said of streams alone.
const ONLY_IN_STREAMS: &str = r#"{"if":{"required":["stream_options"],"properties":{"stream_options":{"type":"object"}}},"then":{"required":["stream"],"properties":{"stream":{"const":true}}}}"#;

/// A tool can be demanded where there are some.
const ONLY_WITH_TOOLS: &str = r#"{"if":{"required":["tool_choice"],"properties":{"tool_choice":{"not":{"enum":["none","auto",null]}}}},"then":{"required":["tools"],"properties":{"tools":{"type":"array","minItems":1}}}}"#;

/// The description under `rules`, as JSON.
pub(super) fn description(rules: &Rules) -> Vec<u8> {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for table in TABLES {
        if let Some((method, path)) = table.endpoint.split_once(' ') {
            paths.entry(path.to_owned()).or_default().insert(method.to_ascii_lowercase(), call(table, rules));
        }
    }
    for reading in READINGS {
        paths.entry(reading.path.to_owned()).or_default().insert("get".into(), read(reading));
    }
    let schemas: Map<String, Value> =
        components().map(|(name, schema)| ((*name).to_owned(), parsed(schema))).collect();
    json::to_vec(&json!({
        "openapi": "3.1.0",
        "info": {
            "title": "llmtor",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "OpenAI's API on this machine. Every call spends one token and goes through Tor. What has no \
                effect is named in the response header x-llmtor-ignored.",
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }))
}

fn components() -> impl Iterator<Item = &'static Component> {
    COMPONENTS.iter()
}

/// A call: its parameters are the table's.
fn call(table: &Table, rules: &Rules) -> Value {
    let mut properties = Map::new();
    for field in table.fields.iter().filter(|field| !field.name.contains('.')) {
        let mut schema = parsed(field.schema);
        if let Value::Object(schema) = &mut schema {
            if field.name == "n" {
                schema.insert("maximum".into(), rules.most_choices.into());
            }
            schema.insert("description".into(), format!("{}: {}", field.treatment.word(), field.note).into());
            if field.treatment == Treatment::Ignored {
                schema.insert("deprecated".into(), true.into());
            }
        }
        properties.insert(field.name.into(), schema);
    }
    let mut body = json!({"type": "object", "required": table.required, "properties": properties});
    let conditions = [("stream_options", ONLY_IN_STREAMS), ("tool_choice", ONLY_WITH_TOOLS)];
    let conditions = conditions.into_iter().filter(|(name, _)| properties_have(table, name));
    body["allOf"] = conditions.map(|(_, condition)| parsed(condition)).collect();
    let mut responses = failures();
    let mut content = Map::new();
    content.insert("application/json".into(), json!({"schema": answer(table.endpoint)}));
    if properties_have(table, "stream") {
        content.insert("text/event-stream".into(), json!({}));
    }
    responses.insert("200".into(), json!({"description": "The answer", "content": content}));
    json!({
        "summary": table.endpoint,
        "requestBody": {"required": true, "content": {"application/json": {"schema": body}}},
        "responses": responses,
    })
}

fn properties_have(table: &Table, name: &str) -> bool {
    table.fields.iter().any(|field| field.name == name)
}

fn answer(endpoint: &str) -> Value {
    let name = endpoint.rsplit("/v1/").next().unwrap_or_default();
    let component = match name {
        "chat/completions" => "ChatCompletion",
        "completions" => "Completion",
        "responses" => "Response",
        _ => return json!({"type": "object"}),
    };
    reference(component)
}

fn read(reading: &Reading) -> Value {
    let mut responses = failures();
    responses.insert(
        "200".into(),
        json!({"description": "What there is", "content": {"application/json": {"schema": reference(reading.answer)}}}),
    );
    let parameters: Vec<_> = reading
        .parameter
        .iter()
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1}}))
        .collect();
    json!({"summary": reading.summary, "parameters": parameters, "responses": responses})
}

fn failures() -> Map<String, Value> {
    let failure =
        json!({"description": "A failure", "content": {"application/json": {"schema": reference("Error")}}});
    FAILURES.iter().map(|status| ((*status).to_owned(), failure.clone())).collect()
}

fn reference(component: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{component}")})
}

/// A schema of the tables, its references spelled out.
fn parsed(schema: &str) -> Value {
    let mut schema = serde_json::from_str(schema).unwrap_or_default();
    spell_out(&mut schema);
    schema
}

fn spell_out(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                match value {
                    Value::String(name) if key == "$ref" => {
                        *value = format!("#/components/schemas/{name}").into();
                    }
                    value => spell_out(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(spell_out),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_is_json_and_every_reference_leads_somewhere() {
        for (name, schema) in components() {
            assert!(serde_json::from_str::<Value>(schema).is_ok_and(|schema| schema.is_object()), "{name}");
        }
        for field in TABLES.iter().flat_map(|table| table.fields) {
            assert!(
                serde_json::from_str::<Value>(field.schema).is_ok_and(|schema| schema.is_object()),
                "{}",
                field.name
            );
        }
        let description = String::from_utf8(description(&Rules::default())).unwrap();
        let description: Value = serde_json::from_str(&description).unwrap();
        let schemas = description["components"]["schemas"].as_object().unwrap();
        let text = description.to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        assert!(description["paths"]["/v1/chat/completions"]["post"].is_object());
    }

    #[test]
    fn what_every_tool_loop_sends_is_in_the_description_and_taken() {
        use crate::anonymous::openai::{request, responses};
        let description: Value = serde_json::from_slice(&description(&Rules::default())).unwrap();
        let judge = |path: &str| {
            let body =
                &description["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
            let schema = json!({"components": description["components"], "allOf": [body]});
            jsonschema::validator_for(&schema).unwrap()
        };
        let (chat, response) = (judge("/v1/chat/completions"), judge("/v1/responses"));
        let schema = json!({"type": "object", "properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/b"}}},
            "$defs": {"b": {"enum": [1, 2]}}, "required": ["a"], "additionalProperties": false});
        let picture = format!("data:image/png;base64,{}", "AAAA".repeat(1000));
        let tools = json!([{"type": "function", "function": {"name": "f", "parameters": schema, "strict": true}},
            {"type": "custom", "custom": {"name": "g", "format": {"type": "text"}}}]);
        let messages = json!([
            {"role": "user", "content": [{"type": "text", "text": "hi"},
                {"type": "image_url", "image_url": {"url": picture}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ]);
        for choice in [
            json!("required"),
            json!({"type": "function", "function": {"name": "f"}}),
            json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
                {"type": "function", "function": {"name": "f"}}]}}),
        ] {
            let body = json!({"model": "m", "messages": messages, "tools": tools, "tool_choice": choice, "n": 2,
                "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}});
            assert!(chat.is_valid(&body), "{body}");
            assert!(request::read(body.to_string().as_bytes(), &Rules::default()).is_ok(), "{body}");
        }
        let body = json!({"model": "m", "tool_choice": {"type": "custom", "name": "g"}, "include": ["reasoning.encrypted_content"],
            "tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "f", "parameters": schema}]},
                {"type": "custom", "name": "g"}, {"type": "local_shell"}],
            "input": [{"role": "user", "content": [{"type": "input_image", "image_url": picture}]},
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"type": "custom_tool_call", "call_id": "c", "name": "g", "input": "x"},
                {"type": "custom_tool_call_output", "call_id": "c", "output": "y"}]});
        assert!(response.is_valid(&body), "{body}");
        assert!(responses::read(body.to_string().as_bytes(), &Rules::default()).is_ok(), "{body}");
        for wrong in [json!({"model": "m"}), json!({"model": "m", "messages": [], "tool_choice": "required"})]
        {
            assert!(
                !chat.is_valid(&wrong)
                    && request::read(wrong.to_string().as_bytes(), &Rules::default()).is_err()
            );
        }
        let few = super::description(&Rules { most_choices: 3, ..Rules::default() });
        let few: Value = serde_json::from_slice(&few).unwrap();
        let n = few.pointer("/paths/~1v1~1chat~1completions/post/requestBody/content/application~1json/schema/properties/n/maximum");
        assert_eq!(n, Some(&json!(3)));
    }
}
