//! A plain value: what an edit of any format must come to.

use serde_json::{Map, Value};

use super::{Fault, Tree};

/// Compared with what was written.
pub(super) struct Model(pub(super) Value);

impl Model {
    fn at_mut(&mut self, at: &[String]) -> Result<&mut Value, Fault> {
        at.iter().try_fold(&mut self.0, |value, key| value.get_mut(key)).ok_or_else(missing)
    }

    fn table(&mut self, at: &[String]) -> Result<&mut Map<String, Value>, Fault> {
        let value = self.at_mut(at)?;
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        value.as_object_mut().ok_or_else(missing)
    }

    fn list(&mut self, at: &[String]) -> Result<&mut Vec<Value>, Fault> {
        let value = self.at_mut(at)?;
        if value.is_null() {
            *value = Value::Array(Vec::new());
        }
        value.as_array_mut().ok_or_else(missing)
    }
}

impl Tree for Model {
    fn parse(text: &str) -> Result<Self, Fault> {
        serde_json::from_str(text).map(Self).map_err(|error| Fault::at(error.line(), "this is no JSON"))
    }

    fn get(&self, at: &[String]) -> Option<Value> {
        at.iter().try_fold(&self.0, |value, key| value.get(key)).cloned()
    }

    fn put(&mut self, at: &[String], value: &Value) -> Result<(), Fault> {
        let (last, parents) = at.split_last().ok_or_else(missing)?;
        self.table(parents)?.insert(last.clone(), value.clone());
        Ok(())
    }

    fn cut(&mut self, at: &[String]) -> Result<(), Fault> {
        let (last, parents) = at.split_last().ok_or_else(missing)?;
        self.table(parents)?.shift_remove(last);
        Ok(())
    }

    fn push(&mut self, at: &[String], value: &Value) -> Result<(), Fault> {
        self.list(at)?.push(value.clone());
        Ok(())
    }

    fn cut_item(&mut self, at: &[String], index: usize) -> Result<(), Fault> {
        let list = self.list(at)?;
        if index < list.len() {
            list.remove(index);
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

fn missing() -> Fault {
    Fault::new("the place for the settings is not there")
}
