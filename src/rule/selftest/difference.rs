//! Where two JSON values differ, field by field: what people look for when a test fails.

use std::fmt;

use contract::compare_numbers;
use serde_json::{Map, Value};

/// One place where what came is not what was expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The place as the test writes it, such as `expect[0].device`.
    pub path: String,
    /// What was expected; `None` for something that should not be there.
    pub expected: Option<Value>,
    /// What came; `None` for something that is missing.
    pub got: Option<Value>,
    /// What else there is to say.
    pub note: Option<String>,
}

/// The most characters of a value that are shown.
const SHOWN: usize = 200;

impl Difference {
    /// A difference at a place.
    pub(super) fn new(path: &str, expected: Option<&Value>, got: Option<&Value>) -> Self {
        let (expected, got) = (expected.cloned(), got.cloned());
        Self { path: path.to_owned(), expected, got, note: None }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match (&self.expected, &self.got) {
            (Some(want), Some(got)) => {
                write!(f, "{path}: expected {}, got {}", shown(want), shown(got))?;
            }
            (Some(want), None) => write!(f, "{path}: missing, expected {}", shown(want))?,
            (None, Some(got)) => write!(f, "{path}: not expected, got {}", shown(got))?,
            (None, None) => write!(f, "{path}: differs")?,
        }
        match &self.note {
            Some(note) => write!(f, " ({note})"),
            None => Ok(()),
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(&text)),
        None => text,
    }
}

/// Notes where `got` differs from `want`, in the order of `want`.
pub(super) fn compare(path: &str, want: &Value, got: &Value, found: &mut Vec<Difference>) {
    match (want, got) {
        (Value::Array(want), Value::Array(got)) => {
            for index in 0..want.len().max(got.len()) {
                pair(&format!("{path}[{index}]"), want.get(index), got.get(index), found);
            }
        }
        (Value::Object(want), Value::Object(got)) => compare_maps(path, want, got, found),
        _ if same(want, got) => {}
        _ => found.push(Difference::new(path, Some(want), Some(got))),
    }
}

/// As [`compare`] for the members of two objects.
pub(super) fn compare_maps(
    path: &str,
    want: &Map<String, Value>,
    got: &Map<String, Value>,
    found: &mut Vec<Difference>,
) {
    for (key, want) in want {
        pair(&below(path, key), Some(want), got.get(key), found);
    }
    for (key, got) in got.iter().filter(|(key, _)| !want.contains_key(*key)) {
        pair(&below(path, key), None, Some(got), found);
    }
}

fn pair(path: &str, want: Option<&Value>, got: Option<&Value>, found: &mut Vec<Difference>) {
    match (want, got) {
        (Some(want), Some(got)) => compare(path, want, got, found),
        _ => found.push(Difference::new(path, want, got)),
    }
}

/// The path of a member: with a dot where the key is a plain word, otherwise in brackets.
pub(super) fn below(path: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    if plain && !key.is_empty() {
        yaml::join(path, key)
    } else {
        format!("{path}[{}]", Value::from(key))
    }
}

/// Equal scalars: numbers by value, with all their digits.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a.as_str(), b.as_str()).is_eq(),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(want: &Value, got: &Value) -> Vec<String> {
        let mut found = Vec::new();
        compare("expect", want, got, &mut found);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn numbers_count_by_value_and_keys_have_no_order() {
        let equal = [
            (json!({ "a": 1, "b": 2.0 }), json!({ "b": 2, "a": 1.0 })),
            (json!([u64::MAX, i64::MIN, null]), json!([u64::MAX, i64::MIN, null])),
        ];
        for (want, got) in equal {
            assert_eq!(differences(&want, &got), [""; 0]);
        }
        let big = 9_007_199_254_740_993_u64;
        assert_eq!(
            differences(&json!(big), &json!(big - 1)),
            ["expect: expected 9007199254740993, got 9007199254740992"]
        );
        let number = |text: &str| text.parse::<Value>().expect("a number");
        let (long, longer) = (number("12345678901234567890.1"), number("12345678901234567890.10"));
        assert_eq!(differences(&long, &longer), [""; 0]);
        assert_eq!(
            differences(&long, &number("12345678901234567890.11")),
            ["expect: expected 12345678901234567890.1, got 12345678901234567890.11"]
        );
        assert_eq!(differences(&json!("1"), &json!(1)), [r#"expect: expected "1", got 1"#]);
    }

    #[test]
    fn each_field_is_named() {
        let want = json!([{ "a": { "b": [1, 2] }, "c d": 1, "e": null }, 5]);
        let got = json!([{ "a": { "b": [1, 3, 4] }, "温": 1, "e": 0 }]);
        assert_eq!(
            differences(&want, &got),
            [
                "expect[0].a.b[1]: expected 2, got 3",
                "expect[0].a.b[2]: not expected, got 4",
                "expect[0][\"c d\"]: missing, expected 1",
                "expect[0].e: expected null, got 0",
                "expect[0].温: not expected, got 1",
                "expect[1]: missing, expected 5",
            ]
        );
        let long = differences(&json!("x".repeat(300)), &json!(1)).concat();
        assert!(long.contains("x…, got 1") && long.len() < 300, "{long}");
    }
}
