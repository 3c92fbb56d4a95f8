//! `GET /openapi.json`: what the endpoint answers, in OpenAPI 3.1, made from the tables that its readers use.
//!
//! Deliberately absent: the APIs of Ollama and Anthropic, which are described where they come from; and what the endpoint
//! takes beyond the description: the readers are more lenient than it says where clients differ.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::anonymous::face::fields::{Table, Treatment};
use crate::anonymous::face::json;
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

/// The description, as JSON.
pub(super) fn description() -> Vec<u8> {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for table in TABLES {
        if let Some((method, path)) = table.endpoint.split_once(' ') {
            paths.entry(path.to_owned()).or_default().insert(method.to_ascii_lowercase(), call(table));
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
fn call(table: &Table) -> Value {
    let mut properties = Map::new();
    for field in table.fields.iter().filter(|field| !field.name.contains('.')) {
        let mut schema = parsed(field.schema);
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".into(), format!("{}: {}", field.treatment.word(), field.note).into());
            if field.treatment == Treatment::Ignored {
                schema.insert("deprecated".into(), true.into());
            }
        }
        properties.insert(field.name.into(), schema);
    }
    let mut body = json!({"type": "object", "required": table.required, "properties": properties});
    if let (Value::Object(body), true) = (&mut body, properties_have(table, "stream_options")) {
        body.extend(parsed(ONLY_IN_STREAMS).as_object().cloned().unwrap_or_default());
    }
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
        let description = String::from_utf8(description()).unwrap();
        let description: Value = serde_json::from_str(&description).unwrap();
        let schemas = description["components"]["schemas"].as_object().unwrap();
        let text = description.to_string();
        for reference in text.split("#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schemas.contains_key(name), "{name}");
        }
        assert!(description["paths"]["/v1/chat/completions"]["post"].is_object());
    }
}
