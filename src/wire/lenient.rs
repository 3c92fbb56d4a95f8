//! Reading JSON as Go does: field names in any case (protocol.md, head).
//!
//! As in Go's encoding/json, at every depth: a key is a struct's field if it equals the field's name, or else if it
//! does so without regard to ASCII case; unknown keys are passed over; of two keys for one field the later
//! wins; `null` leaves a field at its zero value.
//!
//! Values are kept as slices of the input until their type is known, so a long string is copied once, by whoever
//! wants to own it. Each level of nesting scans its part of the input again; the protocol has four levels.
//!
//! Not as in Go: keys inside what serde buffers (`flatten`, untagged and internally tagged enums) are matched
//! exactly, and invalid UTF-8 is an error rather than U+FFFD.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::Error;
use serde_json::value::RawValue;

/// As serde_json's own limit.
const DEEPEST: u8 = 128;

/// Parses `bytes` as one JSON value into `T`, matching field names without regard to ASCII case.
///
/// The error says what kind of thing is wrong and quotes nothing of the input.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::custom("not UTF-8"))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|_| Error::custom("not one whole JSON value"))?;
    T::deserialize(Lenient { raw: raw.get(), depth: DEEPEST })
        .map_err(|_| Error::custom("JSON of another shape than the protocol's"))
}

/// One JSON value, checked to be one, not read yet.
#[derive(Clone, Copy)]
struct Lenient<'de> {
    raw: &'de str,
    depth: u8,
}

impl<'de> Lenient<'de> {
    fn is_null(self) -> bool {
        self.raw == "null"
    }

    fn within(self, raw: &'de RawValue) -> Result<Self, Error> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| Error::custom("nested too deeply"))?;
        Ok(Self { raw: raw.get(), depth })
    }

    fn strict(self) -> StrictReader<'de> {
        serde_json::Deserializer::from_str(self.raw)
    }

    /// The entries of an object, in order.
    fn entries(self) -> Result<Vec<(Cow<'de, str>, &'de RawValue)>, Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = map.next_entry::<KeyText<'de>, &'de RawValue>()? {
                    entries.push((key.0, value));
                }
                Ok(entries)
            }
        }
        self.strict().deserialize_map(Entries)
    }
}

type StrictReader<'de> = serde_json::Deserializer<serde_json::de::StrRead<'de>>;

/// An object's key, borrowed unless it has escapes.
#[derive(Deserialize)]
struct KeyText<'a>(#[serde(borrow)] Cow<'a, str>);

/// Entries whose keys are what the visitor expects.
struct Fields<'de, I> {
    entries: I,
    value: Option<&'de RawValue>,
    parent: Lenient<'de>,
}

impl<'de, K: AsRef<str>, I: Iterator<Item = (K, &'de RawValue)>> MapAccess<'de> for Fields<'de, I> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        let key: StrDeserializer<'_, Error> = key.as_ref().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let value = self.value.take().ok_or_else(|| Error::custom("a value without a key"))?;
        seed.deserialize(self.parent.within(value)?)
    }
}

/// Elements of an array.
struct Elements<'de> {
    entries: std::vec::IntoIter<&'de RawValue>,
    parent: Lenient<'de>,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(value) = self.entries.next() else { return Ok(None) };
        seed.deserialize(self.parent.within(value)?).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// The field that `key` means.
fn field_of(key: &str, fields: &'static [&'static str]) -> Option<usize> {
    let exact = fields.iter().position(|field| *field == key);
    exact.or_else(|| fields.iter().position(|field| field.eq_ignore_ascii_case(key)))
}

/// Scalars: read as serde_json does, `null` as the zero value.
macro_rules! scalars {
    ($($method:ident => $visit:ident($zero:expr),)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            if self.is_null() { visitor.$visit($zero) } else { self.strict().$method(visitor) }
        }
    )*};
}

impl<'de> Deserializer<'de> for Lenient<'de> {
    type Error = Error;

    scalars! {
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_i8(0),
        deserialize_i16 => visit_i16(0),
        deserialize_i32 => visit_i32(0),
        deserialize_i64 => visit_i64(0),
        deserialize_i128 => visit_i128(0),
        deserialize_u8 => visit_u8(0),
        deserialize_u16 => visit_u16(0),
        deserialize_u32 => visit_u32(0),
        deserialize_u64 => visit_u64(0),
        deserialize_u128 => visit_u128(0),
        deserialize_f32 => visit_f32(0.0),
        deserialize_f64 => visit_f64(0.0),
        deserialize_str => visit_borrowed_str(""),
        deserialize_string => visit_borrowed_str(""),
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let mut values: Vec<Option<&'de RawValue>> = vec![None; fields.len()];
        if !self.is_null() {
            for (key, value) in self.entries()? {
                if let Some(at) = field_of(&key, fields) {
                    // As in Go, a null changes nothing that an earlier key has set.
                    if value.get() != "null" || values[at].is_none() {
                        values[at] = Some(value);
                    }
                }
            }
        }
        let entries = fields.iter().zip(values).filter_map(|(field, value)| Some((*field, value?)));
        visitor.visit_map(Fields { entries, value: None, parent: self })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let entries = if self.is_null() { Vec::new() } else { self.entries()? };
        visitor.visit_map(Fields { entries: entries.into_iter(), value: None, parent: self })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let entries: Vec<&'de RawValue> =
            if self.is_null() { Vec::new() } else { serde_json::from_str(self.raw)? };
        visitor.visit_seq(Elements { entries: entries.into_iter(), parent: self })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        // serde_json's own types (`RawValue`) are recognised by a private name, and by serde_json alone.
        if name.starts_with("$serde_json::private") {
            self.strict().deserialize_newtype_struct(name, visitor)
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.strict().deserialize_enum(name, variants, visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.strict().deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.strict().deserialize_char(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.strict().deserialize_bytes(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.strict().deserialize_byte_buf(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.strict().deserialize_unit(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.strict().deserialize_unit_struct(name, visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.strict().deserialize_identifier(visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Serialize;
    use serde::de::IgnoredAny;

    use super::*;
    use crate::wire::identity::{IssueAnswer, Me};
    use crate::wire::redemption::ProxyAnswer;
    use crate::wire::{Base64Bytes, Envelope};

    #[derive(Deserialize, Serialize, Debug, PartialEq, Clone)]
    struct Outer {
        #[serde(rename = "Name")]
        name: String,
        #[serde(rename = "nested", default)]
        nested: Vec<Inner>,
        #[serde(rename = "ByKey", default)]
        by_key: BTreeMap<String, Inner>,
        #[serde(default)]
        flag: Option<bool>,
    }

    #[derive(Deserialize, Serialize, Debug, PartialEq, Clone, Default)]
    #[serde(default)]
    struct Inner {
        #[serde(rename = "Count")]
        count: i64,
        text: String,
    }

    fn read(text: &str) -> Outer {
        from_slice(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn names_match_without_case_at_every_depth() {
        let outer = read(
            r#"{"NAME":"a","Nested":[{"COUNT":1},{"count":2,"TeXt":"b"}],"bykey":{"Kept":{"cOUNT":3}},"FLAG":true}"#,
        );
        assert_eq!(outer.name, "a");
        assert_eq!(outer.nested[1], Inner { count: 2, text: "b".into() });
        assert_eq!(outer.by_key["Kept"].count, 3, "a map's own keys stay as they are");
        assert_eq!(outer.flag, Some(true));
    }

    #[test]
    fn the_later_of_two_wins_and_null_changes_nothing() {
        assert_eq!(read(r#"{"Name":"exact","name":"later"}"#).name, "later");
        assert_eq!(read(r#"{"name":"first","Name":"exact"}"#).name, "exact");
        assert_eq!(read(r#"{"Name":"kept","NAME":null}"#).name, "kept");
        assert_eq!(read(r#"{"Name":null,"nested":null,"bykey":null,"flag":null}"#).name, "");
    }

    #[test]
    fn two_fields_that_differ_in_case_take_their_exact_keys() {
        #[derive(Deserialize)]
        struct Twins {
            id: i64,
            #[serde(rename = "ID")]
            upper: i64,
        }
        let twins: Twins = from_slice(br#"{"ID":1,"id":2}"#).expect("read");
        assert_eq!((twins.id, twins.upper), (2, 1));
    }

    #[test]
    fn the_protocols_answers_are_read_in_any_case() {
        let me: Envelope<Me> = from_slice(
            br#"{"Status":"Ok.","DATA":{"ID":"x","EMAIL":"m","subscriptioninfo":{"activeAuthTokens":{"gpt-4.1":3},"UsedAuthTokens":null}}}"#,
        )
        .expect("read");
        assert_eq!(me.data.id, "x");
        assert_eq!(me.data.subscription_info.active_auth_tokens.expect("counts")["gpt-4.1"], 3);
        let issued: Envelope<IssueAnswer> =
            from_slice(br#"{"status":"Ok.","data":{"signedblindedtoken":"AQI="}}"#).expect("read");
        assert_eq!(issued.data.signed_blinded_token.0, [1, 2]);
        let proxied: Envelope<ProxyAnswer> = from_slice(
            br#"{"status":"","data":{"Is_Blocked":null,"PROXY_RESPONSE":"AQI=","metadata":null}}"#,
        )
        .expect("read");
        assert!(!proxied.data.is_blocked);
        assert_eq!(proxied.data.proxy_response.unwrap().0, [1, 2]);
    }

    #[test]
    fn what_is_not_one_json_value_of_the_shape_is_refused_without_quoting_it() {
        let deep = "[".repeat(100_000);
        for text in
            ["", "{", "{}x", "[]", "canary", r#"{"name":["canary"]}"#, r#"{"name":{}}"#, "\"canary\"", &deep]
        {
            let Err(error) = from_slice::<Outer>(text.as_bytes()) else { panic!("accepted {text}") };
            assert!(!error.to_string().contains("canary"), "{error}");
        }
        assert!(from_slice::<Outer>(b"{\"name\":\"\xff\"}").is_err());
    }

    #[test]
    fn deep_nesting_ends_in_an_error_not_in_a_dead_stack() {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its shape matters")]
        struct Chain(Vec<Chain>);
        let text = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        assert!(from_slice::<Chain>(text.as_bytes()).is_err());
        assert!(from_slice::<serde_json::Value>(text.as_bytes()).is_err());
    }

    #[test]
    fn sixty_four_megabytes_are_read() {
        let bytes = Base64Bytes(vec![7; 48 << 20]);
        let text = format!(r#"{{"status":"Ok.","data":{{"proxy_response":"{}"}}}}"#, bytes.encode());
        let answer: Envelope<ProxyAnswer> = from_slice(text.as_bytes()).expect("read");
        assert!(answer.data.proxy_response == Some(bytes));
    }

    fn outer() -> impl Strategy<Value = Outer> {
        let inner = || (any::<i64>(), any::<String>()).prop_map(|(count, text)| Inner { count, text });
        (
            any::<String>(),
            proptest::collection::vec(inner(), 0..4),
            proptest::collection::btree_map(any::<String>(), inner(), 0..4),
            any::<Option<bool>>(),
        )
            .prop_map(|(name, nested, by_key, flag)| Outer { name, nested, by_key, flag })
    }

    proptest! {
        #[test]
        fn what_is_written_exactly_reads_back(outer in outer()) {
            let text = serde_json::to_vec(&outer).unwrap();
            prop_assert_eq!(from_slice::<Outer>(&text).unwrap(), outer);
        }

        #[test]
        fn any_case_of_a_field_reads_as_the_field(outer in outer(), mask in any::<u32>()) {
            let mut value = serde_json::to_value(&outer).unwrap();
            let object = value.as_object_mut().unwrap();
            for (at, field) in ["Name", "nested", "ByKey", "flag"].iter().enumerate() {
                let twisted: String = field.chars().enumerate().map(|(bit, c)| {
                    if mask >> ((at * 8 + bit) % 32) & 1 == 1 { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
                }).collect();
                let content = object.remove(*field).unwrap();
                object.insert(twisted, content);
            }
            prop_assert_eq!(from_slice::<Outer>(&serde_json::to_vec(&value).unwrap()).unwrap(), outer);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = from_slice::<Outer>(&bytes);
            let _ = from_slice::<Envelope<Me>>(&bytes);
        }

        #[test]
        fn no_mangled_document_makes_the_reader_panic(outer in outer(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut text = serde_json::to_vec(&outer).unwrap();
            let at = at.index(text.len());
            text[at] = byte;
            let _ = from_slice::<Outer>(&text);
            let _ = from_slice::<IgnoredAny>(&text);
        }
    }
}
