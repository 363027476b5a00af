//! JSON texts as trees whose numbers keep their digits.
//!
//! serde_json hands such a number over as a map with one key of its own making. A device may send an
//! object with that very key: read plainly, it would turn into a number, or into an error. So what
//! comes from outside is read here, where only a key that does not stand in the text is serde_json's.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Map, Number, Value};
use serde_path_to_error::Segment;

/// Reads a JSON text of at most 128 levels. Of several equal keys the last one wins. Of a number only
/// an exponent may be written in another form: `1E5` as `1e+5`.
///
/// # Errors
/// Where the text stops being JSON.
pub fn tree(text: &[u8]) -> Result<Value, Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Tree { text }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// As [`tree`], for a text that must be an object.
///
/// # Errors
/// Where the text stops being JSON, or that it is no object.
pub fn object(text: &[u8]) -> Result<Map<String, Value>, Error> {
    match tree(text)? {
        Value::Object(members) => Ok(members),
        _ => Err(Error::custom("expected an object")),
    }
}

/// Why a tree is not what a type wants. serde_json does not name a number that does not fit, and calls
/// one with a fraction a map.
#[must_use]
pub fn misfit(tree: &Value, error: &serde_path_to_error::Error<Error>) -> String {
    let message = error.inner().to_string();
    let mut here = Some(tree);
    for step in error.path() {
        here = match step {
            Segment::Seq { index } => here.and_then(|list| list.get(index)),
            Segment::Map { key } => here.and_then(|map| map.get(key)),
            Segment::Enum { .. } | Segment::Unknown => here,
        };
    }
    let rest = ["invalid type: map, ", "invalid type: number, "];
    match (here, rest.into_iter().find_map(|start| message.strip_prefix(start))) {
        (Some(Value::Number(number)), Some(rest)) => {
            format!("invalid type: number `{number}`, {rest}")
        }
        (Some(Value::Number(number)), None) if message == "invalid number" => {
            format!("invalid value: number `{number}`, expected a whole number that fits here")
        }
        _ => message,
    }
}

/// What reads a value of a text.
#[derive(Clone, Copy)]
struct Tree<'t> {
    text: &'t [u8],
}

impl<'t> DeserializeSeed<'t> for Tree<'t> {
    type Value = Value;

    fn deserialize<D: Deserializer<'t>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Tree<'t> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'t>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = members.next_key_seed(Key { text: self.text })? {
            let Some(key) = key else {
                let digits = members.next_value::<String>()?;
                return digits.parse::<Number>().map(Value::Number).map_err(A::Error::custom);
            };
            all.insert(key, members.next_value_seed(self)?);
        }
        Ok(Value::Object(all))
    }
}

/// What reads a key; `None` is one that does not stand in the text.
struct Key<'t> {
    text: &'t [u8],
}

impl<'t> DeserializeSeed<'t> for Key<'t> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'t>>(self, reader: D) -> Result<Option<String>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'t> Visitor<'t> for Key<'t> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    /// One with escapes, hence of the text.
    fn visit_str<E>(self, key: &str) -> Result<Option<String>, E> {
        Ok(Some(key.to_owned()))
    }

    fn visit_borrowed_str<E>(self, key: &'t str) -> Result<Option<String>, E> {
        let is_own = self.text.as_ptr_range().contains(&key.as_ptr());
        Ok(is_own.then(|| key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_as_it_was() {
        for text in [
            "null",
            "18446744073709551616",
            "-0",
            "1.10",
            "-9223372036854775809",
            "1e+999",
            r#"{"n":12345678901234567890.123456789012345678,"list":[1.0,-2e-5,true,"温\n"],"o":{}}"#,
            r#"{"":1,"a":{"":2}}"#,
            r#"{"$serde_json::private::Number":"12"}"#,
            r#"{"$serde_json::private::Number":{"x":[1]},"y":2}"#,
            r#"[{"$serde_json::private::RawValue":"{\"a\":1}"}]"#,
            r#"{"a":1,"$serde_json::private::Number":2}"#,
        ] {
            let value = tree(text.as_bytes()).expect(text);
            assert_eq!(value.to_string(), text);
            assert_eq!(tree(value.to_string().as_bytes()).expect(text), value);
        }
        assert_eq!(tree(b"[1E5, 1e5]").expect("JSON").to_string(), "[1e+5,1e+5]");
        let escaped = r#"{"\u0024serde_json::private::Number":"12"}"#;
        let want = r#"{"$serde_json::private::Number":"12"}"#;
        assert_eq!(tree(escaped.as_bytes()).expect("JSON").to_string(), want);
    }

    #[test]
    fn numbers_that_do_not_fit_are_named() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only what goes wrong is looked at")]
        struct Form {
            ports: Vec<u16>,
            name: Option<String>,
            ratio: Option<f64>,
        }
        let read = |text: &str| {
            let tree = tree(text.as_bytes()).expect(text);
            let form = serde_path_to_error::deserialize::<_, Form>(&tree);
            form.map_err(|error| (error.path().to_string(), misfit(&tree, &error)))
        };
        read(r#"{"ports":[1],"ratio":1.50}"#).expect("a form");
        let whole = "expected a whole number that fits here";
        for (text, path, want) in [
            (
                r#"{"ports":[1,70000]}"#,
                "ports[1]",
                format!("invalid value: number `70000`, {whole}"),
            ),
            (r#"{"ports":[1.5]}"#, "ports[0]", format!("invalid value: number `1.5`, {whole}")),
            (
                r#"{"ports":[],"name":1.10}"#,
                "name",
                "invalid type: number `1.10`, expected a string".to_owned(),
            ),
        ] {
            assert_eq!(read(text).expect_err(text), (path.to_owned(), want));
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let deep = "[".repeat(129) + &"]".repeat(129);
        for text in ["", "1 2", "{", "01", "NaN", r#"{"a":1,}"#, r#""\ud800""#, &deep] {
            assert!(tree(text.as_bytes()).is_err(), "{text}");
        }
        assert!(tree(b"\xff").is_err() && tree(b"\"\xff\"").is_err());
        assert_eq!(object(b"[1]").expect_err("no object").to_string(), "expected an object");
    }
}
