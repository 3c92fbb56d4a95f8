use proptest::prelude::*;
use serde_json::json;

use super::*;

const TOML: &str = "# mine\nmodel = \"gpt-x\" # the best\n\n[profiles.fast]\nmodel = \"y\"\n\n# the end\n";
const JSON: &str = "// mine\n{\n  \"theme\": \"dark\", // yes\n  \"provider\": {\n    \"other\": {\"a\": [1, 2]},\n  },\n}\n";
const YAML: &str = "# mine\nmodel: gpt-x # the best\nmodels:\n  - name: a\n    roles: [chat]\n  # between\n\n# the end\nlast: true\n";

fn edits(format: Format) -> Vec<Edit> {
    match format {
        Format::Toml => vec![
            Edit::shared("model", "m"),
            Edit::shared("model_provider", "llmtor"),
            Edit::own("model_providers.llmtor", json!({"name": "llmtor", "port": 8787, "on": true})),
        ],
        Format::Json => vec![
            Edit::shared("model", "llmtor/m"),
            Edit::own("provider.llmtor", json!({"options": {"apiKey": "k"}, "models": {"a.b": {}}})),
            Edit::item("list", "name", json!({"name": "ours", "n": 1})),
        ],
        Format::Yaml => vec![
            Edit::shared("model", "openai/m"),
            Edit::item(
                "models",
                "name",
                json!({"name": "m (llmtor)", "roles": ["chat", "edit"], "deep": {"a": 1}}),
            ),
            Edit::item(
                "endpoints.custom",
                "name",
                json!({"name": "llmtor", "models": {"default": ["a", "b"]}}),
            ),
        ],
        Format::Text => vec![Edit::Block { comment: "#".into(), body: "one\ntwo\n".into() }],
    }
}

fn value(format: Format, text: &str) -> Value {
    match format {
        Format::Toml => toml::Toml::parse(text).unwrap().get(&[]),
        Format::Json => json::Json::parse(text).unwrap().get(&[]),
        Format::Yaml => yaml::Yaml::parse(text).unwrap().get(&[]),
        Format::Text => Some(text.into()),
    }
    .unwrap_or_default()
}

fn samples() -> [(Format, &'static str); 4] {
    [(Format::Toml, TOML), (Format::Json, JSON), (Format::Yaml, YAML), (Format::Text, "export A=1\n")]
}

#[test]
fn what_was_added_is_taken_out_to_the_byte() {
    for (format, text) in samples() {
        let (after, traces) = apply(format, text, &edits(format)).unwrap();
        assert_ne!(after, text);
        let back = take_out(format, &after, &traces).unwrap();
        // A comment behind a value of a list or table may move; nothing else may.
        assert_eq!(value(format, &back), value(format, text), "{after}\n{back}");
        for line in text.lines().filter_map(|line| line.split(['#']).nth(1)) {
            assert!(after.contains(line) && back.contains(line), "{format:?} lost {line}:\n{after}\n{back}");
        }
        if format != Format::Json {
            assert_eq!(back, text, "{format:?}\n{after}");
        }
    }
}

#[test]
fn the_same_edits_again_change_no_byte() {
    for (format, text) in samples().into_iter().chain(samples().map(|(format, _)| (format, ""))) {
        let (once, _) = apply(format, text, &edits(format)).unwrap();
        let (twice, _) = apply(format, &once, &edits(format)).unwrap();
        assert_eq!(once, twice, "{format:?}");
        assert_eq!(value(format, &once), value(format, &twice));
    }
}

#[test]
fn a_file_that_was_empty_is_empty_again() {
    for (format, _) in samples() {
        let (after, traces) = apply(format, "", &edits(format)).unwrap();
        let back = take_out(format, &after, &traces).unwrap();
        assert!(is_empty(format, &back), "{format:?}: {back:?} of {after}");
    }
}

#[test]
fn a_setting_that_the_user_changed_since_stays_and_ours_goes() {
    let (after, traces) = apply(Format::Toml, TOML, &edits(Format::Toml)).unwrap();
    let changed = after.replace("model = \"m\"", "model = \"own\"").replace("8787", "9999");
    let back = take_out(Format::Toml, &changed, &traces).unwrap();
    assert_eq!(back, TOML.replace("\"gpt-x\"", "\"own\""));
}

#[test]
fn what_does_not_parse_is_refused_with_its_line_and_without_its_text() {
    let bad = [
        (Format::Toml, "a = 1\nb = \"sk-secret\n", Some(2)),
        (Format::Json, "{\n  \"a\": sk-secret\n}\n", Some(2)),
        (Format::Yaml, "a: 1\nb: 'sk-secret\n", Some(2)),
        (Format::Text, "a\n# >>> llmtor >>>\nb\n", Some(2)),
    ];
    for (format, text, line) in bad {
        let fault = apply(format, text, &edits(format)).err().unwrap();
        assert_eq!(fault.line, line, "{format:?}: {fault}");
        assert!(!fault.to_string().contains("secret"), "{fault}");
    }
}

#[test]
fn a_place_that_holds_something_else_is_refused() {
    let clashes = [
        (Format::Toml, "model_providers = 5\n"),
        (Format::Json, "{\"provider\": []}"),
        (Format::Yaml, "models: five\n"),
        (Format::Json, "[1]"),
    ];
    for (format, text) in clashes {
        assert!(apply(format, text, &edits(format)).is_err(), "{format:?} {text}");
    }
}

#[test]
fn tables_are_found_however_they_are_written() {
    for text in [
        "[model_providers.other]\nname = \"x\"\n",
        "model_providers = { other = { name = \"x\" } }\n",
        "model_providers.other.name = \"x\"\n",
        "[model_providers]\nother = { name = \"x\" }\n[z]\na = 1\n",
    ] {
        let (after, traces) = apply(Format::Toml, text, &edits(Format::Toml)).unwrap();
        let read = value(Format::Toml, &after);
        assert_eq!(read["model_providers"]["llmtor"]["port"], 8787, "{after}");
        assert_eq!(read["model_providers"]["other"]["name"], "x", "{after}");
        assert_eq!(take_out(Format::Toml, &after, &traces).unwrap(), text, "{after}");
    }
}

#[test]
fn the_ends_of_lines_stay_as_they_are() {
    for (format, text) in samples() {
        let text = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        let (after, traces) = apply(format, &text, &edits(format)).unwrap();
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{format:?}");
        let back = take_out(format, &after, &traces).unwrap();
        assert!(back.starts_with('\u{feff}') && back.matches('\n').count() == back.matches("\r\n").count());
        assert!(format == Format::Json || back == text, "{format:?}");
    }
}

#[test]
fn yaml_with_a_beginning_anchors_and_merges_keeps_them() {
    let text = "---\n# mine\nname: x\nbase: &base\n  a: 1\nmodels:\n- <<: *base\n  name: a\n  text: |\n    # no comment\n    b\n";
    let (after, traces) = apply(Format::Yaml, text, &edits(Format::Yaml)).unwrap();
    for part in ["---\n", "# mine", "&base", "<<: *base", "    # no comment\n    b\n", "llmtor"] {
        assert!(after.contains(part), "no {part} in\n{after}");
    }
    assert_eq!(take_out(Format::Yaml, &after, &traces).unwrap(), text);
}

/// A name that is none of ours.
fn name() -> impl Strategy<Value = String> {
    "[a-z]{1,8}".prop_map(|name| format!("x_{name}"))
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-1000_i64..1000).prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    let inner = leaf().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(leaf(), 0..3).prop_map(Value::from),
            prop::collection::vec((name(), inner), 1..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::vec((name(), inner), 0..5)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// A file as a user may have it: with comments, and with some of the settings that are set here.
fn file() -> impl Strategy<Value = (Format, String)> {
    let formats = prop_oneof![Just(Format::Toml), Just(Format::Json), Just(Format::Yaml)];
    (formats, tree(), prop::option::of("[a-z]{1,6}"), any::<bool>()).prop_map(
        |(format, mut tree, model, end)| {
            if let (Some(model), Some(members)) = (model, tree.as_object_mut()) {
                members.insert("model".into(), model.into());
            }
            let text = write(format, &tree);
            (format, if end { text } else { text.trim_end().to_owned() })
        },
    )
}

fn write(format: Format, tree: &Value) -> String {
    let empty = tree.as_object().is_none_or(serde_json::Map::is_empty);
    let body = match format {
        Format::Json => {
            return format!("// a comment\n{}\n", serde_json::to_string_pretty(tree).unwrap());
        }
        _ if empty => String::new(),
        Format::Toml => ::toml::to_string(tree).unwrap(),
        _ => {
            let mut text = String::new();
            yaml::write(tree, 0, &mut text);
            text
        }
    };
    format!("# a comment\n{body}# another\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_the_file_edits_are_found_the_rest_stays_and_all_comes_out_again((format, text) in file()) {
        let edits = edits(format);
        let (after, traces) = apply(format, &text, &edits).unwrap();
        prop_assert!(after.contains("a comment"));
        let read = value(format, &after);
        for (name, member) in value(format, &text).as_object().into_iter().flatten() {
            prop_assert!(!name.starts_with("x_") || read.get(name) == Some(member), "{name} in\n{after}");
        }
        let (again, _) = apply(format, &after, &edits).unwrap();
        prop_assert_eq!(&again, &after);
        let back = take_out(format, &after, &traces).unwrap();
        prop_assert!(back.contains("a comment"));
        let (was, is) = (value(format, &text), value(format, &back));
        prop_assert!(same(&was, &is), "{was}\n{is}\n{back}");
    }
}
