//! Reading what form the answer must have: `response_format`, and the Responses API's `text.format`.

use crate::anonymous::emulate::ask::{Format, Schema, Strictness};
use crate::anonymous::face::Ignored;
use crate::anonymous::face::error::RequestError;
use crate::anonymous::face::json::{Object, optional_object, optional_string, required_string, switch};
use crate::anonymous::face::toolset::take_schema;

/// Where a `json_schema` has its name and schema.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Nesting {
    /// In an object of their own: `response_format`.
    Nested,
    /// Beside the type: `text.format`.
    Flat,
}

/// Reads the format at `place`.
pub fn read(
    mut format: Object,
    place: &str,
    nesting: Nesting,
    ignored: &mut Ignored,
) -> Result<Format, RequestError> {
    let read = match required_string(&mut format, place, "type")?.as_str() {
        "text" => Ok(Format::Text),
        // With a schema beside it: other servers' form.
        "json_object" => match take_schema(&mut format, place, "schema", "invalid_json_schema")? {
            Some(schema) => Ok(Format::Schema(Schema {
                name: "answer".to_owned(),
                description: None,
                schema,
                strictness: Strictness::Lenient,
            })),
            None => Ok(Format::JsonObject),
        },
        "json_schema" if nesting == Nesting::Flat => read_schema(&mut format, place),
        "json_schema" => {
            let inner = format!("{place}.json_schema");
            match optional_object(&mut format, place, "json_schema")? {
                Some(mut schema) => {
                    let read = read_schema(&mut schema, &inner);
                    ignored.note_rest(&inner, &schema);
                    read
                }
                None => Err(RequestError::missing(&inner)),
            }
        }
        _ => Err(RequestError::invalid_value(
            &format!("{place}.type"),
            "supported values are 'text', 'json_object' and 'json_schema'",
        )),
    };
    ignored.note_rest(place, &format);
    read
}

fn read_schema(object: &mut Object, place: &str) -> Result<Format, RequestError> {
    let name = required_string(object, place, "name")?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        return Err(RequestError::invalid_value(
            &format!("{place}.name"),
            "a schema's name has 1 to 64 characters out of A-Z a-z 0-9 _ -",
        ));
    }
    let Some(schema) = take_schema(object, place, "schema", "invalid_json_schema")? else {
        return Err(RequestError::missing(&format!("{place}.schema")));
    };
    let strictness = if switch(object, place, "strict")? { Strictness::Strict } else { Strictness::Lenient };
    let description = optional_string(object, place, "description")?;
    Ok(Format::Schema(Schema { name, description, schema, strictness }))
}
