//! Answers as XML: an object's keys are elements, an array repeats the element that it stands in.
//!
//! It reads no XML and knows no operation.

use std::fmt::Write as _;

use connectors::contract::object;
use quick_xml::escape::escape;
use serde_json::{Map, Value};

/// Strings with a JSON object in them that XML shows as elements (development guide §2.8.25, §2.11.6).
const NESTED: &[&str] = &["Configuration", "Props"];

/// Writes an answer with that root element.
#[must_use]
pub fn write(root: &str, answer: &Map<String, Value>) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let answer = Value::Object(answer.clone());
    element(root, &answer, &mut out);
    out
}

/// The depth is that of our own answers and of configurations, which the JSON parser limits to 128.
fn element(name: &str, value: &Value, out: &mut String) {
    if let Value::Array(items) = value {
        for item in items {
            element(name, item, out);
        }
        return;
    }
    // Writing to a String can't fail.
    write!(out, "<{name}>").ok();
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                element(key, value, out);
            }
        }
        Value::String(text) => match nested(name, text) {
            Some(fields) => fields.iter().for_each(|(key, value)| element(key, value, out)),
            None => out.push_str(&escape(clean(text).as_str())),
        },
        Value::Null => {}
        other => out.push_str(&other.to_string()),
    }
    write!(out, "</{name}>").ok();
}

fn nested(name: &str, text: &str) -> Option<Map<String, Value>> {
    if !NESTED.contains(&name) {
        return None;
    }
    let fields = object(text.as_bytes()).ok()?;
    fields.iter().all(|(key, value)| is_name(key) && names_fit(value)).then_some(fields)
}

/// True when all keys below can be names of elements; a client may put any key into a configuration.
fn names_fit(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().all(|(k, v)| is_name(k) && names_fit(v)),
        Value::Array(items) => items.iter().all(names_fit),
        _ => true,
    }
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// XML 1.0 §2.2 has no way to write most control characters and two that are none.
fn clean(text: &str) -> String {
    let control = |c: char| c < ' ' && !matches!(c, '\t' | '\n' | '\r') || c == '\u{7f}';
    let fits = |c: char| !control(c) && !matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if fits(c) { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_elements() {
        let answer = serde_json::json!({
            "Data": {"Info": [{"Id": 1, "Name": "a<b>&\u{1}"}, {"Id": 2}]},
            "Success": true,
            "Configuration": "{\"topic\":\"/a\",\"keys\":[{\"n\":1.5},{\"n\":null}]}",
            "None": []
        });
        let Value::Object(answer) = answer else { unreachable!() };
        assert_eq!(
            write("R", &answer),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R><Data><Info><Id>1</Id><Name>a&lt;b&gt;&amp;\u{fffd}</Name></Info><Info><Id>2</Id></Info></Data><Success>true</Success><Configuration><topic>/a</topic><keys><n>1.5</n></keys><keys><n></n></keys></Configuration></R>"
        );
        let long = serde_json::json!({"Props": "{\"n\":12345678901234567890.10}"});
        let Value::Object(long) = long else { unreachable!() };
        assert!(write("R", &long).contains("<n>12345678901234567890.10</n>"));
        let odd = serde_json::json!({"Configuration": "{\"a b\":1}"});
        let Value::Object(odd) = odd else { unreachable!() };
        assert!(write("R", &odd).contains("<Configuration>{&quot;a b&quot;:1}</Configuration>"));
    }

    proptest::proptest! {
        /// Whatever stands in an answer or a configuration: it is XML, and texts come back.
        #[test]
        fn any_text_makes_xml(text in ".{0,40}", key in ".{0,8}") {
            let configuration = serde_json::json!({ &key: &text }).to_string();
            let answer = serde_json::json!({ "Text": text, "Configuration": configuration });
            let Value::Object(answer) = answer else { unreachable!() };
            let xml = write("R", &answer);
            let (mut read, mut depth, mut found) = (quick_xml::Reader::from_str(&xml), 0, String::new());
            loop {
                use quick_xml::events::Event;
                match read.read_event().expect("XML") {
                    Event::Start(_) => {
                        depth += 1;
                        found.clear();
                    }
                    Event::End(end) => {
                        depth -= 1;
                        if end.name().as_ref() == "Text" {
                            proptest::prop_assert_eq!(&found, &clean(&text));
                        }
                    }
                    Event::Text(part) => found.push_str(&part),
                    Event::GeneralRef(name) => {
                        let name = format!("&{};", &*name);
                        found.push_str(&quick_xml::escape::unescape(&name).expect("known"));
                    }
                    Event::Eof => break,
                    _ => {}
                }
            }
            proptest::prop_assert_eq!(depth, 0);
        }
    }
}
