//! Reading values out of a record's JSON text without changing how they were written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A value as it is written in a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a>(&'a str);

impl<'a> Field<'a> {
    /// A value of its JSON text, which nothing stands around.
    #[must_use]
    pub fn of(json: &'a str) -> Self {
        Self(json.trim_matches([' ', '\t', '\n', '\r']))
    }

    /// The JSON text of the value, unchanged: numbers keep their digits.
    #[must_use]
    pub fn json(self) -> &'a str {
        self.0
    }

    /// True for JSON's `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// The value as text: a string without its quotes and escapes, anything else as written.
    #[must_use]
    pub fn text(self) -> Cow<'a, str> {
        if self.0.starts_with('"') {
            serde_json::from_str::<Str<'a>>(self.0).map_or(Cow::Borrowed(self.0), |s| s.0)
        } else {
            Cow::Borrowed(self.0)
        }
    }

    /// The items of a list; `None` when the value is none.
    #[must_use]
    pub fn items(self) -> Option<Vec<Field<'a>>> {
        let items: Vec<&RawValue> = serde_json::from_str(self.0).ok()?;
        Some(items.into_iter().map(|item| Field(item.get())).collect())
    }
}

/// A string that borrows where it has no escapes.
#[derive(serde::Deserialize)]
struct Str<'a>(#[serde(borrow)] Cow<'a, str>);

/// Finds `path` in an object: first as a flat key with its dots, then level by level. The last of
/// several equal keys wins.
#[must_use]
pub fn lookup<'a>(text: &'a [u8], path: &str) -> Option<Field<'a>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut here = Field(text);
    if let Some(found) = member(here, path) {
        return Some(found);
    }
    for key in path.split('.') {
        here = member(here, key)?;
    }
    Some(here)
}

fn member<'a>(object: Field<'a>, key: &str) -> Option<Field<'a>> {
    let mut reader = serde_json::Deserializer::from_str(object.0);
    reader.deserialize_map(Member { key }).ok().flatten().map(Field)
}

/// The keys and values of an object in their order; nothing for any other value. The last of several
/// equal keys wins, at the place of the first.
#[must_use]
pub fn fields(text: &[u8]) -> Vec<(Cow<'_, str>, Field<'_>)> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.deserialize_map(Members).unwrap_or_default()
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(Cow<'de, str>, Field<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = Self::Value::new();
        let mut places: HashMap<Cow<'de, str>, usize> = HashMap::new();
        while let Some(key) = map.next_key::<Str<'de>>()? {
            let value = Field(map.next_value::<&'de RawValue>()?.get());
            match places.entry(key.0) {
                Entry::Occupied(place) => found[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    found.push((place.key().clone(), value));
                    place.insert(found.len() - 1);
                }
            }
        }
        Ok(found)
    }
}

struct Member<'k> {
    key: &'k str,
}

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<Str<'de>>()? {
            if key.0 == self.key {
                found = Some(map.next_value::<&'de RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_how_they_were_written() {
        let text = br#"{"a":{"b":1.10},"a.c":"x\ny","n":null,"d":1,"d":2,"\u4e2d":"y"}"#;
        let json = |path| lookup(text, path).map(Field::json);
        assert_eq!(json("a.b"), Some("1.10"));
        assert_eq!(lookup(text, "a.c").map(|f| f.text().into_owned()), Some("x\ny".to_owned()));
        assert_eq!(json("n"), Some("null"));
        assert_eq!(json("d"), Some("2"));
        assert_eq!(json("中"), Some("\"y\""));
        assert_eq!(json("a.x"), None);
        assert_eq!(lookup(b"[1]", "a"), None);
    }

    #[test]
    fn fields_keep_their_order_and_digits() {
        let all = |text: &'static str| -> Vec<String> {
            let fields = fields(text.as_bytes()).into_iter();
            fields.map(|(key, field)| format!("{key}={}", field.json())).collect()
        };
        let text = r#" {"b": 12345678901234567890.10 ,"\u4e2d":"x","b":[1.0],"a":{"b":null}} "#;
        assert_eq!(all(text), ["b=[1.0]", "中=\"x\"", "a={\"b\":null}"]);
        assert!(all("[1]").is_empty() && all("{").is_empty() && all("").is_empty());
    }
}
