//! Laying the four places over one another.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use serde::Deserialize as _;

use super::table::{self, KEYS, Key, Kind};
use super::{Config, ConfigError, Origin};

/// What begins the name of an environment variable that sets a key.
const PREFIX: &str = "LLMTOR_";
/// What stands between section and key in such a name. Of the names without it only keys of no section are settings
/// (`LLMTOR_HOME` is not).
const SEPARATOR: &str = "__";

/// Values collected so far; add the places in the order of their precedence, lowest first.
pub struct Layers {
    values: BTreeMap<&'static str, toml::Value>,
}

impl Layers {
    /// The defaults.
    pub fn defaults() -> Self {
        let values = KEYS.iter().filter_map(|key| Some((key.path, key.default.value()?))).collect();
        Self { values }
    }

    /// Adds the text of a `config.toml`.
    pub fn file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let origin = Origin::File(path.to_owned());
        let root: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            origin: origin.clone(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        for (section, content) in root {
            if table::find(&section).is_some() {
                self.put(&section, content, origin.clone())?;
                continue;
            }
            let toml::Value::Table(keys) = content else {
                return Err(unknown(section, origin));
            };
            if !KEYS.iter().any(|key| key.path.split('.').next() == Some(&section)) {
                let first = keys.keys().next().map(|name| format!("{section}.{name}"));
                return Err(unknown(first.unwrap_or(section), origin));
            }
            for (name, value) in keys {
                self.put(&format!("{section}.{name}"), value, origin.clone())?;
            }
        }
        Ok(())
    }

    /// Adds the settings among environment variables.
    pub fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), ConfigError> {
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let path = rest.replace(SEPARATOR, ".").to_ascii_lowercase();
            if !path.contains('.') && table::find(&path).is_none() {
                continue;
            }
            let origin = Origin::Environment(name.to_owned());
            let Some(value) = value.to_str() else {
                return Err(ConfigError::Syntax { origin, message: "its value is not UTF-8".into() });
            };
            let value = parse_value(value, &origin)?;
            self.put(&path, value, origin)?;
        }
        Ok(())
    }

    /// Adds one `section.key=value`.
    pub fn set(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let Some((path, value)) = assignment.split_once('=') else {
            let message = format!("`{assignment}` is not section.key=value");
            return Err(ConfigError::Syntax { origin: Origin::Set, message });
        };
        let value = parse_value(value.trim(), &Origin::Set)?;
        self.put(path.trim(), value, Origin::Set)
    }

    /// Adds what a flag of its own says for the key at `path`.
    pub fn flag(&mut self, flag: &'static str, path: &'static str, value: &str) -> Result<(), ConfigError> {
        let value = match value {
            "true" => toml::Value::Boolean(true),
            "false" => toml::Value::Boolean(false),
            text => toml::Value::String(text.to_owned()),
        };
        self.put(path, value, Origin::Flag(flag))
    }

    /// Every key with its value so far, if it has one, in the table's order.
    pub fn values(&self) -> impl Iterator<Item = (&'static Key, Option<&toml::Value>)> {
        KEYS.iter().map(|key| (key, self.values.get(key.path)))
    }

    /// The configuration that results.
    pub fn finish(self) -> Result<Config, ConfigError> {
        let mut root = toml::Table::new();
        for (path, value) in self.values {
            let Some((section, name)) = path.split_once('.') else {
                root.insert(path.to_owned(), value);
                continue;
            };
            let section = root.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(section) = section {
                section.insert(name.to_owned(), value);
            }
        }
        // Each value was checked against the table; this is the table disagreeing with the sections, if ever.
        Config::deserialize(root)
            .map_err(|error| ConfigError::Syntax { origin: Origin::Default, message: error.to_string() })
    }

    fn put(&mut self, path: &str, value: toml::Value, origin: Origin) -> Result<(), ConfigError> {
        let Some(Key { path, kind, .. }) = table::find(path) else {
            return self.put_inside(path, value, origin);
        };
        if !kind.accepts(&value) {
            let (found, expected) = (describe(&value), kind.expected());
            return Err(ConfigError::Value { key: path, origin, found, expected });
        }
        match (self.values.get_mut(path), value) {
            // Settings that are passed through are laid over one another, too.
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay_over(below, above),
            (_, value) => drop(self.values.insert(path, value)),
        }
        Ok(())
    }

    /// One setting of a table that is passed through.
    fn put_inside(&mut self, path: &str, value: toml::Value, origin: Origin) -> Result<(), ConfigError> {
        let Some((key, rest)) = table::inside(path) else {
            return Err(unknown(path.to_owned(), origin));
        };
        let wrap = |value, name: &str| toml::Value::Table(toml::Table::from_iter([(name.to_owned(), value)]));
        let nested = match key.kind {
            // A model's name has dots of its own.
            Kind::Names => wrap(value, unquoted(rest)),
            Kind::Stocks => match rest.rsplit_once('.') {
                Some((model, count)) => wrap(wrap(value, count), unquoted(model)),
                None => wrap(value, unquoted(rest)),
            },
            _ => rest.rsplit('.').fold(value, wrap),
        };
        self.put(key.path, nested, origin)
    }
}

/// A name as it may be written in a path of TOML: with quotes around it, or without.
fn unquoted(name: &str) -> &str {
    let within = |quote| name.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    within('"').or_else(|| within('\'')).unwrap_or(name)
}

/// Puts `above` over `below`, table by table.
pub fn lay_over(below: &mut toml::Table, above: toml::Table) {
    for (name, value) in above {
        match (below.get_mut(&name), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay_over(below, above),
            (_, value) => drop(below.insert(name, value)),
        }
    }
}

fn unknown(key: String, origin: Origin) -> ConfigError {
    let nearest = table::nearest(&key);
    ConfigError::Unknown { key, origin, nearest }
}

/// A TOML value; a bare word is a string.
fn parse_value(text: &str, origin: &Origin) -> Result<toml::Value, ConfigError> {
    let parsed = format!("value = {text}").parse::<toml::Table>().ok();
    let single = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    match single {
        Some(value) => Ok(value),
        // What begins like TOML was meant as TOML.
        None if text.starts_with(['"', '\'', '[', '{']) => Err(ConfigError::Syntax {
            origin: origin.clone(),
            message: format!("`{text}` begins like a TOML value but is not one"),
        }),
        None => Ok(toml::Value::String(text.to_owned())),
    }
}

fn describe(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => format!("\"{text}\""),
        toml::Value::Table(_) => "a table".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Stock;
    use crate::wire::ModelName;

    fn load(file: &str, env: &[(&str, &str)], sets: &[&str]) -> Result<Config, ConfigError> {
        let mut layers = Layers::defaults();
        layers.file(Path::new("config.toml"), file)?;
        layers.environment(env.iter().map(|(name, value)| (name.into(), value.into())))?;
        sets.iter().try_for_each(|set| layers.set(set))?;
        layers.finish()
    }

    #[test]
    fn a_later_place_wins_over_an_earlier_one() {
        let file = "[server]\nlisten = \"127.0.0.1:1\"\n";
        let env = [("LLMTOR_SERVER__LISTEN", "127.0.0.1:2")];
        let listen = |config: Config| config.server.listen.to_string();
        assert_eq!(load("", &[], &[]).map(listen), Ok("localhost:8787".into()));
        assert_eq!(load(file, &[], &[]).map(listen), Ok("127.0.0.1:1".into()));
        assert_eq!(load(file, &env, &[]).map(listen), Ok("127.0.0.1:2".into()));
        assert_eq!(load(file, &env, &["server.listen=127.0.0.1:3"]).map(listen), Ok("127.0.0.1:3".into()));
    }

    #[test]
    fn an_unknown_key_names_the_nearest_wherever_it_stands() {
        let errors = [
            load("[server]\nlisten_on = \"x\"\n", &[], &[]),
            load("", &[("LLMTOR_SERVER__LISTN", "x")], &[]),
            load("", &[], &["server.lsten=x"]),
            load("[sever]\nlisten = \"x\"\n", &[], &[]),
            load("listen = \"x\"\n", &[], &[]),
        ];
        for error in errors {
            let message = error.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains("did you mean `server.listen`?"), "{message}");
        }
    }

    #[test]
    fn a_wrong_type_names_key_place_and_what_is_expected() {
        let message = |result: Result<Config, ConfigError>| result.err().map(|error| error.to_string());
        assert_eq!(
            message(load("[server]\ngrace_seconds = \"ten\"\n", &[], &[])).as_deref(),
            Some("`server.grace_seconds` in config.toml is \"ten\"; expected a whole number from 0 to 3600")
        );
        assert_eq!(
            message(load("", &[("LLMTOR_LOG__LEVEL", "5")], &[])).as_deref(),
            Some(
                "`log.level` in the environment variable LLMTOR_LOG__LEVEL is 5; expected one of off, error, \
                 warn, info, debug, trace"
            )
        );
        assert!(
            message(load("", &[], &["server.listen=0.0.0.0:1"]))
                .is_some_and(|text| text.contains("--set") && text.contains("loopback"))
        );
        assert!(
            message(load("", &[], &["log.level=\"warn"]))
                .is_some_and(|text| text.contains("begins like a TOML"))
        );
        assert!(
            message(load("", &[], &["log.level"])).is_some_and(|text| text.contains("section.key=value"))
        );
    }

    #[test]
    fn an_origin_that_is_any_page_is_refused_with_the_reason() {
        for list in ["[\"*\"]", "[\"https://app.example\", \"null\"]", "[1]", "*", "\"https://app.example\""]
        {
            let error = load("", &[], &[&format!("server.allowed_origins={list}")]).err();
            let message = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains("which are any page"), "{list}: {message}");
        }
        let origins =
            load("", &[], &["server.allowed_origins=[\"https://app.example\", \"app://obsidian.md\"]"]);
        let origins =
            origins.map(|config| config.server.allowed_origins.iter().map(ToString::to_string).collect());
        assert_eq!(origins, Ok(vec!["https://app.example".to_owned(), "app://obsidian.md".to_owned()]));
    }

    #[test]
    fn the_example_file_says_the_defaults() {
        let shown = load(&table::example(), &[], &[]).map(|config| format!("{config:?}"));
        assert_eq!(shown, load("", &[], &[]).map(|config| format!("{config:?}")));
    }

    #[test]
    fn a_model_s_stock_is_set_in_the_file_and_over_it() {
        let file = "[topup.models.\"gpt-4.1\"]\ntarget = 1000\nbatch = 500\n";
        let stocks = |config: Config| config.topup.models;
        for path in
            ["topup.models.gpt-4.1.batch", "topup.models.\"gpt-4.1\".batch", "topup.models.'gpt-4.1'.batch"]
        {
            let config = load(file, &[], &[&format!("{path}=7")]).map(stocks);
            let model = ModelName::new("gpt-4.1").ok();
            let stock = config.ok().zip(model).and_then(|(stocks, model)| stocks.get(&model).copied());
            assert_eq!(stock, Some(Stock { target: Some(1000), batch: Some(7) }), "{path}");
        }
        for wrong in ["topup.models.gpt-4.1.batch=0", "topup.models.gpt-4.1.size=7", "topup.models.gpt-4.1=7"]
        {
            let message = load(file, &[], &[wrong]).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains("`target` and `batch`"), "{wrong}: {message}");
        }
    }

    #[test]
    fn the_anonymous_url_is_the_identity_url_unless_said_otherwise() {
        let url = "http://127.0.0.1:1";
        let one = load("", &[], &[&format!("backend.identity_url={url}")]).ok();
        assert_eq!(
            one.and_then(|c| c.backend.anonymous_url().map(ToString::to_string)),
            Some(format!("{url}/"))
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(file in ".{0,200}", set in ".{0,80}", value in ".{0,80}") {
            let _ = load(&file, &[("LLMTOR_LOG__LEVEL", &value)], &[&set]);
        }

        #[test]
        fn a_bare_word_is_a_string(word in "[a-z][a-z0-9:/.-]{0,20}") {
            prop_assume!(!["true", "false", "inf", "nan"].contains(&word.as_str()));
            let value = parse_value(&word, &Origin::Set).ok();
            prop_assert_eq!(value, Some(toml::Value::String(word)));
        }
    }
}
