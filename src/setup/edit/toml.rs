//! TOML, changed where it stands.

use serde_json::Value;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike};

use super::{Fault, Tree};

pub(super) struct Toml(DocumentMut);

impl Toml {
    fn item(&self, at: &[String]) -> Option<&Item> {
        at.iter().try_fold(self.0.as_item(), |item, key| item.get(key))
    }

    fn table(&mut self, at: &[String]) -> Result<&mut dyn TableLike, Fault> {
        let item = at.iter().try_fold(self.0.as_item_mut(), |item, key| item.get_mut(key));
        item.and_then(Item::as_table_like_mut)
            .ok_or_else(|| Fault::new(format!("`{}` is no table of settings", at.join("."))))
    }

    fn array(&mut self, at: &[String]) -> Result<&mut Array, Fault> {
        let item = at.iter().try_fold(self.0.as_item_mut(), |item, key| item.get_mut(key));
        item.and_then(Item::as_array_mut)
            .ok_or_else(|| Fault::new(format!("`{}` is no list in brackets", at.join("."))))
    }
}

impl Tree for Toml {
    fn parse(text: &str) -> Result<Self, Fault> {
        text.parse::<DocumentMut>().map(Self).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Fault { line, what: "this is no valid TOML".to_owned() }
        })
    }

    fn get(&self, at: &[String]) -> Option<Value> {
        self.item(at).and_then(value_of)
    }

    fn put(&mut self, at: &[String], value: &Value) -> Result<(), Fault> {
        let Some((last, parents)) = at.split_last() else { return Err(Fault::new("it has no name")) };
        let is_inline = self.item(parents).is_some_and(Item::is_value);
        let table = self.table(parents)?;
        // `a.b = 1` and `{ }` hold values, not tables with a heading.
        let as_value = is_inline || table.is_dotted();
        match (table.get_mut(last), value) {
            (Some(Item::Value(old)), _) => {
                let decor = old.decor().clone();
                *old = inline(value)?;
                *old.decor_mut() = decor;
            }
            (_, Value::Object(_)) if !as_value => drop(table.insert(last, headed(value)?)),
            _ => drop(table.insert(last, Item::Value(inline(value)?))),
        }
        Ok(())
    }

    fn cut(&mut self, at: &[String]) -> Result<(), Fault> {
        let Some((last, parents)) = at.split_last() else { return Err(Fault::new("it has no name")) };
        self.table(parents)?.remove(last);
        Ok(())
    }

    fn push(&mut self, at: &[String], value: &Value) -> Result<(), Fault> {
        let value = inline(value)?;
        self.array(at)?.push(value);
        Ok(())
    }

    fn cut_item(&mut self, at: &[String], index: usize) -> Result<(), Fault> {
        let array = self.array(at)?;
        if index < array.len() {
            array.remove(index);
        }
        Ok(())
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// As a value behind an equals sign.
fn inline(value: &Value) -> Result<toml_edit::Value, Fault> {
    Ok(match value {
        Value::Null => return Err(Fault::new("TOML has no empty value")),
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(fraction)) => fraction.into(),
            (None, None) => return Err(Fault::new("a number is too large for TOML")),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(inline).collect::<Result<Array, Fault>>()?.into(),
        Value::Object(members) => {
            let mut table = InlineTable::new();
            for (name, value) in members {
                table.insert(name, inline(value)?);
            }
            table.into()
        }
    })
}

/// As a table under a heading of its own.
fn headed(value: &Value) -> Result<Item, Fault> {
    let Value::Object(members) = value else { return inline(value).map(Item::Value) };
    let mut table = Table::new();
    // No heading for one that holds nothing but tables.
    table.set_implicit(!members.is_empty() && members.values().all(Value::is_object));
    for (name, value) in members {
        table.insert(name, headed(value)?);
    }
    Ok(Item::Table(table))
}

fn value_of(item: &Item) -> Option<Value> {
    match item {
        Item::None => None,
        Item::Value(value) => Some(plain(value)),
        Item::Table(table) => Some(members(table)),
        Item::ArrayOfTables(tables) => {
            Some(Value::Array(tables.iter().map(|table| members(table)).collect()))
        }
    }
}

fn members(table: &dyn TableLike) -> Value {
    let members = table.iter().filter_map(|(name, item)| Some((name.to_owned(), value_of(item)?)));
    Value::Object(members.collect())
}

fn plain(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => text.value().as_str().into(),
        toml_edit::Value::Integer(number) => (*number.value()).into(),
        toml_edit::Value::Float(number) => (*number.value()).into(),
        toml_edit::Value::Boolean(value) => (*value.value()).into(),
        toml_edit::Value::Datetime(time) => time.value().to_string().into(),
        toml_edit::Value::Array(items) => items.iter().map(plain).collect(),
        toml_edit::Value::InlineTable(table) => members(table),
    }
}
