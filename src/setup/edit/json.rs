//! JSON with comments, changed where it stands.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstObject, CstRootNode};
use serde_json::Value;

use super::{Fault, Tree};

pub(super) struct Json(CstRootNode);

/// What editors that have settings in JSON accept; no more, lest what we write back is refused.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

impl Json {
    fn node(&self, at: &[String]) -> Option<CstNode> {
        let mut node = self.0.value()?;
        for key in at {
            node = node.as_object()?.get(key)?.value()?;
        }
        Some(node)
    }

    fn object(&self, at: &[String]) -> Result<CstObject, Fault> {
        if at.is_empty() {
            return self.0.object_value_or_create().ok_or_else(|| Fault::new("it is no table of settings"));
        }
        let object = self.node(at).and_then(|node| node.as_object());
        object.ok_or_else(|| Fault::new(format!("`{}` is no table of settings", at.join("."))))
    }

    fn array(&self, at: &[String]) -> Result<CstArray, Fault> {
        if at.is_empty() {
            return self.0.array_value_or_create().ok_or_else(|| Fault::new("it is no list"));
        }
        let array = self.node(at).and_then(|node| node.as_array());
        array.ok_or_else(|| Fault::new(format!("`{}` is no list", at.join("."))))
    }
}

impl Tree for Json {
    fn parse(text: &str) -> Result<Self, Fault> {
        let text = if text.trim().is_empty() { "{\n}\n" } else { text };
        CstRootNode::parse(text, &OPTIONS)
            .map(Self)
            .map_err(|error| Fault::at(error.line_display(), "this is no valid JSON"))
    }

    fn get(&self, at: &[String]) -> Option<Value> {
        self.node(at)?.to_serde_value()
    }

    fn put(&mut self, at: &[String], value: &Value) -> Result<(), Fault> {
        let Some((last, parents)) = at.split_last() else { return Err(Fault::new("it has no name")) };
        let object = self.object(parents)?;
        match object.get(last) {
            Some(member) => member.set_value(input(value)),
            None => drop(object.append(last, input(value))),
        }
        Ok(())
    }

    fn cut(&mut self, at: &[String]) -> Result<(), Fault> {
        let Some((last, parents)) = at.split_last() else { return Err(Fault::new("it has no name")) };
        if let Some(member) = self.object(parents)?.get(last) {
            member.remove();
        }
        Ok(())
    }

    fn push(&mut self, at: &[String], value: &Value) -> Result<(), Fault> {
        self.array(at)?.append(input(value));
        Ok(())
    }

    fn cut_item(&mut self, at: &[String], index: usize) -> Result<(), Fault> {
        if let Some(element) = self.array(at)?.elements().into_iter().nth(index) {
            element.remove();
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => {
            CstInputValue::Object(members.iter().map(|(name, value)| (name.clone(), input(value))).collect())
        }
    }
}
