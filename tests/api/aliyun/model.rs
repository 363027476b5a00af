//! The vendor's models of requests and answers (`models.json`): what an operation must name, and what its
//! answers may look like. Derived from the typed clients and from which parameters the development guide
//! calls mandatory.
//!
//! In an answer's tree `s` is a string, `n` a number, `b` a boolean; `RequestId` and `Success` are in all.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Map, Value, json};
use tidegate::api::operations;

static MODELS: LazyLock<Map<String, Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("models.json")).expect("JSON"));

/// Parameters that rows may name beside their model's: those of other documents of the vendors.
const BEYOND: &[(&str, &str)] = &[];

fn model(operation: &str) -> Option<&'static Value> {
    MODELS.get(operation)
}

fn names(list: &Value) -> BTreeSet<&str> {
    list.as_array().expect("a list").iter().filter_map(Value::as_str).collect()
}

#[test]
fn rows_name_the_parameters_of_their_models() {
    for operation in operations() {
        let name = operation.name;
        let model = model(name).unwrap_or_else(|| panic!("{name} is not in models.json"));
        let (required, optional) = (names(&model["required"]), names(&model["optional"]));
        let row: BTreeSet<_> =
            operation.parameters.iter().map(|parameter| parameter.name).collect();
        assert_eq!(row.len(), operation.parameters.len(), "{name} names a parameter twice");
        let missing: Vec<_> = required.difference(&row).collect();
        assert!(missing.is_empty(), "{name} does not name {missing:?}");
        let beyond = |of: &&str| BEYOND.contains(&(name, of));
        let unknown = row.iter().filter(|of| !required.contains(*of) && !optional.contains(*of));
        let unknown: Vec<_> = unknown.filter(|of| !beyond(of)).collect();
        assert!(unknown.is_empty(), "{name} names {unknown:?}, which its model has not");
    }
}

/// Checks an answer's names, nesting and types: a success against the model of its operation, a refusal
/// against the two forms that there are.
pub fn check(operation: &str, status: u16, answer: &Value) {
    let keys: Vec<_> = answer.as_object().expect("an object").keys().map(String::as_str).collect();
    if status != 200 {
        assert_eq!(keys, ["RequestId", "HostId", "Code", "Message", "Recommend"], "{answer}");
        assert!(answer.as_object().expect("an object").values().all(Value::is_string), "{answer}");
    } else if answer["Success"] == Value::Bool(false) {
        assert_eq!(keys[..4], ["RequestId", "Success", "Code", "ErrorMessage"], "{answer}");
        let more = keys[4..].iter().map(|name| ((*name).to_owned(), answer[*name].clone()));
        let more: Map<_, _> = more.collect();
        let fit = more.is_empty()
            || fits(&model(operation).expect("a model")["answer"], &more.into(), operation).is_ok();
        assert!(fit, "{operation} refuses with what its model has not\n{answer}");
    } else {
        let model = model(operation).unwrap_or_else(|| panic!("{operation} has no model"));
        assert!(keys.contains(&"RequestId") && keys.contains(&"Success"), "{answer}");
        if let Err(wrong) = fits(&full(model), answer, operation) {
            panic!("{wrong}\n{answer}");
        }
    }
}

/// The tree of a whole answer.
fn full(model: &Value) -> Value {
    let mut tree = model["answer"].clone();
    for (name, kind) in [("RequestId", "s"), ("Success", "b"), ("Code", "s"), ("ErrorMessage", "s")]
    {
        tree[name] = json!(kind);
    }
    tree
}

/// What of a value does not fit its model, if anything.
fn fits(model: &Value, value: &Value, path: &str) -> Result<(), String> {
    let right = match (model, value) {
        (Value::Object(model), Value::Object(fields)) => {
            for (name, value) in fields {
                let below = format!("{path}.{name}");
                let of = model.get(name).ok_or_else(|| format!("{below} is not in the model"))?;
                fits(of, value, &below)?;
            }
            true
        }
        (Value::Array(model), Value::Array(items)) => {
            for item in items {
                fits(&model[0], item, &format!("{path}[]"))?;
            }
            true
        }
        (Value::String(kind), value) => match kind.as_str() {
            "s" => value.is_string(),
            "n" => value.is_number(),
            "b" => value.is_boolean(),
            kind => panic!("{path}: the model has a `{kind}`"),
        },
        _ => false,
    };
    if right { Ok(()) } else { Err(format!("{path}: {value} where the model has {model}")) }
}

/// An element of an answer.
#[derive(Debug, Default)]
struct Element {
    name: String,
    text: String,
    below: Vec<Element>,
}

fn parse(xml: &str) -> Element {
    let mut reader = Reader::from_str(xml);
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event().expect("XML") {
            Event::Start(start) => {
                let name = start.name().as_ref().to_owned();
                open.push(Element { name, ..Element::default() });
            }
            Event::End(_) => {
                let done = open.pop().expect("an element");
                open.last_mut().expect("its parent").below.push(done);
            }
            Event::Text(text) => {
                open.last_mut().expect("an element").text.push_str(&text);
            }
            Event::GeneralRef(name) => {
                let text = quick_xml::escape::unescape(&format!("&{};", &*name))
                    .expect("known")
                    .into_owned();
                open.last_mut().expect("an element").text.push_str(&text);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    open.pop().and_then(|mut root| root.below.pop()).expect("a root")
}

/// An answer in XML as the JSON that it stands for. A string that is shown as elements is null.
pub fn read_xml(operation: &str, status: u16, xml: &str) -> Value {
    let root = parse(xml);
    if status != 200 {
        assert_eq!(root.name, "Error");
        let texts = root.below.into_iter().map(|below| (below.name, Value::from(below.text)));
        return Value::Object(texts.collect());
    }
    assert_eq!(root.name, format!("{operation}Response"));
    typed(&full(model(operation).expect("a model")), &root)
}

fn typed(model: &Value, element: &Element) -> Value {
    match model {
        Value::Object(model) => {
            for below in &element.below {
                assert!(model.contains_key(&below.name), "{} has a {}", element.name, below.name);
            }
            let mut fields = Map::new();
            // In the order of the answer, and lists that are empty at the end.
            let order = element.below.iter().map(|below| &below.name);
            let empty = model.iter().filter(|(_, of)| of.is_array()).map(|(name, _)| name);
            for name in order.chain(empty) {
                let mut of_name = element.below.iter().filter(|below| below.name == *name);
                let value = match &model[name] {
                    Value::Array(of) => of_name.map(|below| typed(&of[0], below)).collect(),
                    of => typed(of, of_name.next().expect("it is there")),
                };
                fields.entry(name.clone()).or_insert(value);
            }
            Value::Object(fields)
        }
        _ if !element.below.is_empty() => Value::Null,
        Value::String(kind) if kind == "n" || kind == "b" => {
            serde_json::from_str(&element.text).expect("a number or a boolean")
        }
        _ => Value::from(element.text.clone()),
    }
}

#[test]
fn wrong_answers_are_noticed() {
    let wrong = |answer: Value| fits(&full(&MODELS["ListRule"]), &answer, "").is_err();
    assert!(!wrong(json!({"Total": 1, "Data": {"RuleInfo": [{"Id": 1, "Name": "a"}]}})));
    assert!(wrong(json!({"Total": "1"})));
    assert!(wrong(json!({"Data": [{"Id": 1}]})));
    assert!(wrong(json!({"Data": {"RuleInfo": {"Id": 1}}})));
    assert!(wrong(json!({"Data": {"RuleInfo": [{"Id": 1, "Nothing": 1}]}})));
    assert!(wrong(json!({"Data": {"RuleInfo": [{"Name": null}]}})));
    let xml = "<ListRuleResponse><Data><RuleInfo><Id>1</Id><Name>a&lt;b</Name></RuleInfo></Data><Success>true</Success></ListRuleResponse>";
    let json = json!({"Data": {"RuleInfo": [{"Id": 1, "Name": "a<b"}]}, "Success": true});
    assert_eq!(read_xml("ListRule", 200, xml), json);
}
