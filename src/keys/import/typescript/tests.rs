//! Sources of the shapes seen, and the ways in which they may not be read.

use proptest::prelude::*;

use super::super::tests::{ONE, TWO};
use super::*;
use crate::blind::PublicKey;

fn entries(source: &str) -> BTreeMap<String, bool> {
    let two = PublicKey::from_spki_pem(TWO).expect("key").fingerprint();
    let imported = read(source).unwrap_or_else(|error| panic!("{error}"));
    imported.keys.iter().map(|(name, key)| (name.to_string(), key.fingerprint() == two)).collect()
}

fn expect(source: &str, expected: &[(&str, bool)]) {
    let expected = expected.iter().map(|(name, two)| ((*name).to_owned(), *two)).collect();
    assert_eq!(entries(source), expected);
}

fn error(source: &str) -> ImportError {
    match read(source) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    }
}

/// The shape of the published file.
fn published() -> String {
    format!(
        "import {{ MODEL_IDS }} from './models'\n\
         /* const gone = `{ONE}` */\n\
         const gpt41PublicKey = `{ONE}`\n\
         const gemini25FlashLitePublicKey = `{TWO}`;\n\
         const spareKey = `{TWO}`\n\
         export const permanentAbuseTokenPublicKey = `{ONE}`\n\
         export const TRANSIENT_ABUSE_TOKEN_PUBLIC_KEY: string = `\n{TWO}\n`\n\
         export const RSAKeys: Record<string, string> = {{\n\
           [MODEL_IDS.GEMINI_2_5_FLASH_LITE]: gemini25FlashLitePublicKey,\n\
           [MODEL_IDS.CHAT_GPT_4_1]: gpt41PublicKey, /* shared */ [MODEL_IDS.CHAT_GPT_4_1_MINI]: gpt41PublicKey,\n\
           [MODEL_IDS.GEMINI_3_PRO]: gemini25FlashLitePublicKey,\n\
           'gpt-4o': gpt41PublicKey, o1: gpt41PublicKey,\n\
         }} as const\n\
         export function get(id: string) {{ return RSAKeys[id] ?? `${{id}} has none` }}\n"
    )
}

#[test]
fn the_published_shape_is_read_with_symbols_of_another_file() {
    expect(
        &published(),
        &[
            ("abuse-permanent", false),
            ("abuse-transient", true),
            ("gemini-2.5-flash-lite", true),
            ("gemini-3-pro-preview", true),
            ("gpt-4.1", false),
            ("gpt-4.1-mini", false),
            ("gpt-4o", false),
            ("o1", false),
        ],
    );
}

#[test]
fn a_constant_that_nothing_uses_is_listed() {
    assert_eq!(read(&published()).expect("read").unused, ["spareKey"]);
}

#[test]
fn symbols_defined_in_the_same_file_need_not_be_known() {
    let source = format!(
        "export const MODEL_IDS = {{ NEW_ONE: 'acme-9', 'CHAT_GPT_4_1': \"gpt-4.1\" }} as const satisfies Record<string, string>;\n\
         enum Ids {{ X = 'x-1', }}\n\
         const a: string = {a};\n\
         export const keys = Object.freeze({{ [MODEL_IDS.NEW_ONE]: a, [MODEL_IDS.CHAT_GPT_4_1]: `{TWO}`, [Ids.X]: a }})",
        a = ONE.lines().map(|line| format!("'{line}\\n'")).collect::<Vec<_>>().join(" +\n  "),
    );
    expect(&source, &[("acme-9", false), ("gpt-4.1", true), ("x-1", false)]);
}

#[test]
fn maps_in_maps_spreads_and_shorthands_are_followed() {
    let source = format!(
        "const o1 = `{ONE}`; const base = {{ o1 }};\n\
         export default {{}}\n\
         export const all = {{ ...base, 'gpt-4o': `{TWO}` }};\n\
         const config = {{ port: 1, abuse: {{ permanentAbuse: o1, 'transient-abuse-key': `{TWO}` }} }}"
    );
    expect(
        &source,
        &[("abuse-permanent", false), ("abuse-transient", true), ("gpt-4o", true), ("o1", false)],
    );
}

#[test]
fn a_symbol_that_stands_for_no_known_model_is_named() {
    for symbol in ["GPT_9", "GPT_4", "GEMINI", "O"] {
        let source = format!("const k = `{ONE}`\nconst m = {{ [MODEL_IDS.{symbol}]: k }}");
        let error = error(&source);
        assert_eq!(error, ImportError::Symbol(format!("MODEL_IDS.{symbol}")));
        assert!(error.to_string().contains("JSON"), "{error}");
    }
}

#[test]
fn a_key_that_is_not_in_the_file_refuses_it() {
    for value in ["missing", "load('x')", "`${BASE}`", "keys[0]"] {
        let source = format!("const k = `{ONE}`\nconst m = {{ 'gpt-4o': k, o1: {value} }}");
        // Where the map itself is not understood, no name leads to the constant.
        let error = error(&source);
        assert!(
            matches!(&error, ImportError::Value(name) if name == "o1") || error == ImportError::NoMap,
            "{error}"
        );
    }
}

#[test]
fn a_name_declared_twice_is_ambiguous() {
    let source = format!("const k = `{ONE}`\nconst m = {{ o1: k }}\n{{ const k = `{TWO}` }}");
    assert_eq!(error(&source), ImportError::Symbol("k".into()));
}

#[test]
fn references_in_a_circle_end() {
    let source = format!("const a = b; const b = a; const k = `{ONE}`; const m = {{ o1: k, 'gpt-4o': a }}");
    assert_eq!(error(&source), ImportError::Value("gpt-4o".into()));
}

proptest! {
    #[test]
    fn a_cut_source_is_never_half_imported(cut in 0usize..4000) {
        let whole = published();
        let cut = cut.min(whole.len());
        if let Ok(imported) = read(&whole[..cut]) {
            // A cut before the map leaves the two abuse keys, whose constants name themselves.
            let models = imported.keys.models().count();
            prop_assert!(models == 0 || models == 6, "{models}");
        }
    }
}
