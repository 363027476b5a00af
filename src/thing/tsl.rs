//! Thing models: what a product's devices report and do, read from the vendor's TSL, and values held
//! against it.
//!
//! It keeps no model: who has one is the registry's matter. Numbers are compared by value, with all
//! their digits.

use std::collections::HashMap;
use std::fmt;

use contract::{compare_numbers, tree};
use serde_json::{Map, Number, Value};

/// Bytes of a model's text.
pub const TSL_BYTES: usize = 512 << 10;

/// Properties, events and services of a model, each.
pub const FEATURES_MAX: usize = 1_000;

/// How deep structs and arrays may stand in each other; the vendor allows two.
const DEPTH_MAX: usize = 6;

/// Characters of an identifier.
const IDENTIFIER_MAX: usize = 50;

/// Bytes of a text whose model names no length.
const TEXT_MAX: usize = 10_240;

/// Elements of an array whose model names no size.
const ARRAY_MAX: usize = 512;

/// A product's model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    /// By identifier.
    pub properties: HashMap<String, Property>,
    /// By identifier; `post` is not among them.
    pub events: HashMap<String, Event>,
    /// By identifier; `set` and `get` are not among them.
    pub services: HashMap<String, Service>,
}

/// A value that a device has.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// For people.
    pub name: String,
    /// Whether the platform may set it (`accessMode` has a `w`).
    pub writable: bool,
    /// What values it takes.
    pub data: DataType,
    /// The unit, such as `°C`; may be empty.
    pub unit: String,
}

/// Something that happens to a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// For people.
    pub name: String,
    /// `info`, `alert` or `error`.
    pub kind: String,
    /// What it carries.
    pub outputs: Vec<Field>,
}

/// Something that a device does when asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// For people.
    pub name: String,
    /// Whether who asks waits for the answer.
    pub synchronous: bool,
    /// What it takes.
    pub inputs: Vec<Field>,
}

/// A named part of a struct, of an event or of what a service takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its key.
    pub identifier: String,
    /// Whether it may not be left out.
    pub required: bool,
    /// What values it takes.
    pub data: DataType,
}

/// The values that something takes.
#[derive(Debug, Clone, PartialEq)]
pub enum DataType {
    /// A whole number of 32 bits.
    Int(Range),
    /// A number.
    Float(Range),
    /// A number.
    Double(Range),
    /// 0 or 1.
    Bool,
    /// One of these numbers.
    Enum(Vec<i64>),
    /// A string of so many bytes at most.
    Text(usize),
    /// A string with milliseconds since 1970.
    Date,
    /// So many elements at most, all of one type.
    Array(usize, Box<DataType>),
    /// An object.
    Struct(Vec<Field>),
}

/// The least and the greatest that a number may be; `None` is no bound.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Range {
    /// The least.
    pub min: Option<Number>,
    /// The greatest.
    pub max: Option<Number>,
}

/// Why a text is no model: where, and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct ModelError {
    /// Such as `properties[2].dataType.specs.min`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// A value that does not fit: one of the vendor's codes and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Such as 6306.
    pub code: u16,
    /// Such as `tsl parse: int out of range 0 to 100 -> Level`.
    pub message: String,
}

impl Misfit {
    /// A parameter that the model does not have.
    #[must_use]
    pub fn unknown(identifier: &str) -> Self {
        misfit(6304, "params not exist", identifier)
    }
}

fn misfit(code: u16, what: impl fmt::Display, identifier: &str) -> Misfit {
    Misfit { code, message: format!("tsl parse: {what} -> {identifier}") }
}

fn wrong(path: &str, message: impl Into<String>) -> ModelError {
    ModelError { path: path.to_owned(), message: message.into() }
}

impl Model {
    /// Reads a model from the vendor's TSL as JSON.
    ///
    /// # Errors
    /// Where it is no model.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        if text.len() > TSL_BYTES {
            let message = format!("{} bytes, at most {TSL_BYTES} are read", text.len());
            return Err(wrong("the model", message));
        }
        let value = tree(text.as_bytes())
            .map_err(|problem| wrong("the model", format!("no JSON: {problem}")))?;
        Self::read(&value)
    }

    /// Reads a model from a value, such as that of a YAML file.
    ///
    /// # Errors
    /// Where it is no model.
    pub fn read(value: &Value) -> Result<Self, ModelError> {
        let Value::Object(root) = value else {
            return Err(wrong("the model", "expected an object with `properties`"));
        };
        let mut model = Self::default();
        for (path, item) in list(root, "properties")? {
            let (identifier, item) = identified(&path, item)?;
            let data = data_type(&path, item, 0)?;
            let writable = item.get("accessMode").and_then(Value::as_str).unwrap_or("rw");
            let unit = item.get("dataType").and_then(|data| data.get("specs")?.get("unit"));
            let property = Property {
                name: name_of(item, identifier),
                writable: writable.contains('w'),
                data,
                unit: unit.and_then(Value::as_str).unwrap_or_default().to_owned(),
            };
            once(&path, model.properties.insert(identifier.to_owned(), property))?;
        }
        for (path, item) in list(root, "events")? {
            let (identifier, item) = identified(&path, item)?;
            // The post of properties is among the events that the vendor exports.
            if identifier == "post" {
                continue;
            }
            let kind = item.get("type").and_then(Value::as_str).unwrap_or("info");
            if !matches!(kind, "info" | "alert" | "error") {
                let message = format!("`{kind}`; expected info, alert or error");
                return Err(wrong(&format!("{path}.type"), message));
            }
            let outputs = fields(&format!("{path}.outputData"), item.get("outputData"), 0)?;
            let (name, kind) = (name_of(item, identifier), kind.to_owned());
            once(&path, model.events.insert(identifier.to_owned(), Event { name, kind, outputs }))?;
        }
        for (path, item) in list(root, "services")? {
            let (identifier, item) = identified(&path, item)?;
            if matches!(identifier, "set" | "get") {
                continue;
            }
            let synchronous = match item.get("callType").and_then(Value::as_str) {
                Some("sync") => true,
                Some("async") | None => false,
                Some(other) => {
                    let message = format!("`{other}`; expected sync or async");
                    return Err(wrong(&format!("{path}.callType"), message));
                }
            };
            let inputs = fields(&format!("{path}.inputData"), item.get("inputData"), 0)?;
            let service = Service { name: name_of(item, identifier), synchronous, inputs };
            once(&path, model.services.insert(identifier.to_owned(), service))?;
        }
        Ok(model)
    }
}

/// The items of a list of the model with their paths; none when there is no list.
fn list<'v>(
    root: &'v Map<String, Value>,
    key: &str,
) -> Result<Vec<(String, &'v Value)>, ModelError> {
    let items = match root.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong(key, "expected a list")),
    };
    if items.len() > FEATURES_MAX {
        return Err(wrong(key, format!("{} of them, at most {FEATURES_MAX}", items.len())));
    }
    Ok(items.iter().enumerate().map(|(at, item)| (format!("{key}[{at}]"), item)).collect())
}

fn identified<'v>(
    path: &str,
    item: &'v Value,
) -> Result<(&'v str, &'v Map<String, Value>), ModelError> {
    let Value::Object(item) = item else {
        return Err(wrong(path, "expected an object with `identifier`"));
    };
    let identifier = item.get("identifier").and_then(Value::as_str).unwrap_or_default();
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if identifier.is_empty() || identifier.len() > IDENTIFIER_MAX || !identifier.chars().all(usable)
    {
        let message =
            format!("`{identifier}`; expected 1 to {IDENTIFIER_MAX} letters, digits, `_` and `-`");
        return Err(wrong(&format!("{path}.identifier"), message));
    }
    Ok((identifier, item))
}

fn name_of(item: &Map<String, Value>, identifier: &str) -> String {
    item.get("name").and_then(Value::as_str).unwrap_or(identifier).to_owned()
}

fn once<T>(path: &str, before: Option<T>) -> Result<(), ModelError> {
    match before {
        None => Ok(()),
        Some(_) => Err(wrong(&format!("{path}.identifier"), "it is there twice")),
    }
}

fn fields(path: &str, value: Option<&Value>, depth: usize) -> Result<Vec<Field>, ModelError> {
    let items = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) => items,
        Some(_) => return Err(wrong(path, "expected a list")),
    };
    if items.len() > FEATURES_MAX {
        return Err(wrong(path, format!("{} of them, at most {FEATURES_MAX}", items.len())));
    }
    let field = |(at, item)| {
        let path = format!("{path}[{at}]");
        let (identifier, item) = identified(&path, item)?;
        let data = data_type(&path, item, depth)?;
        let required = item.get("required").and_then(Value::as_bool).unwrap_or(false);
        Ok(Field { identifier: identifier.to_owned(), required, data })
    };
    items.iter().enumerate().map(field).collect()
}

/// The type in an item's `dataType`.
fn data_type(path: &str, item: &Map<String, Value>, depth: usize) -> Result<DataType, ModelError> {
    let path = format!("{path}.dataType");
    match item.get("dataType") {
        Some(Value::Object(data)) => read_type(&path, data, depth),
        _ => Err(wrong(&path, "expected an object with `type`")),
    }
}

fn read_type(path: &str, data: &Map<String, Value>, depth: usize) -> Result<DataType, ModelError> {
    if depth > DEPTH_MAX {
        return Err(wrong(path, format!("nested more than {DEPTH_MAX} deep")));
    }
    let at = format!("{path}.specs");
    let specs = data.get("specs");
    let spec = |key: &str| specs.and_then(|specs| specs.get(key));
    let count = |key: &str, default: usize| match number(spec(key)).and_then(|n| n.as_f64()) {
        None if spec(key).is_none_or(|value| value == "") => Ok(default),
        // Both bounds are checked, so that the cast is exact.
        Some(n) if (0.0..=1e6).contains(&n) => Ok(n as usize),
        _ => Err(wrong(&format!("{at}.{key}"), "expected a number from 0 to 1000000")),
    };
    let range = || -> Result<Range, ModelError> {
        let bound = |key: &str| match spec(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            value => match number(value) {
                None => Err(wrong(&format!("{at}.{key}"), "expected a number")),
                number => Ok(number),
            },
        };
        let range = Range { min: bound("min")?, max: bound("max")? };
        match (&range.min, &range.max) {
            (Some(min), Some(max)) if compare_numbers(min.as_str(), max.as_str()).is_gt() => {
                Err(wrong(&at, "`min` is greater than `max`"))
            }
            _ => Ok(range),
        }
    };
    let kind = data.get("type").and_then(Value::as_str).unwrap_or_default();
    Ok(match kind {
        "int" => DataType::Int(range()?),
        "float" => DataType::Float(range()?),
        "double" => DataType::Double(range()?),
        "bool" => DataType::Bool,
        "enum" => {
            let Some(Value::Object(values)) = specs else {
                return Err(wrong(&at, "expected an object of numbers and names"));
            };
            let values = values.keys().map(|key| key.parse().ok()).collect::<Option<_>>();
            DataType::Enum(values.ok_or_else(|| wrong(&at, "expected whole numbers as keys"))?)
        }
        "text" => DataType::Text(count("length", TEXT_MAX)?),
        "date" => DataType::Date,
        "array" => {
            let Some(Value::Object(item)) = spec("item") else {
                return Err(wrong(&format!("{at}.item"), "expected an object with `type`"));
            };
            let item = read_type(&format!("{at}.item"), item, depth + 1)?;
            DataType::Array(count("size", ARRAY_MAX)?, Box::new(item))
        }
        "struct" => DataType::Struct(fields(&at, specs, depth + 1)?),
        other => {
            let message = format!(
                "`{other}`; expected int, float, double, bool, enum, text, date, array or struct"
            );
            return Err(wrong(&format!("{path}.type"), message));
        }
    })
}

/// A number or a string with one: the vendor writes bounds as text.
fn number(value: Option<&Value>) -> Option<Number> {
    match value? {
        Value::Number(number) => Some(number.clone()),
        Value::String(text) => {
            let text = text.trim();
            let written = text.parse().ok();
            // `1.` and `+5` are no numbers of JSON.
            written.or_else(|| text.parse().ok().and_then(Number::from_f64))
        }
        _ => None,
    }
}

impl DataType {
    /// The name that the vendor has for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Double(_) => "double",
            Self::Bool => "bool",
            Self::Enum(_) => "enum",
            Self::Text(_) => "text",
            Self::Date => "date",
            Self::Array(..) => "array",
            Self::Struct(_) => "struct",
        }
    }

    /// Whether a value is one of this type; `identifier` is for the message. Recursion ends with
    /// the type, whose depth is bounded where it is read.
    ///
    /// # Errors
    /// A [`Misfit`] with the vendor's code.
    pub fn check(&self, identifier: &str, value: &Value) -> Result<(), Misfit> {
        match self {
            Self::Int(range) => {
                let fits = value.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
                range.check(6306, "int", value.as_number().filter(|_| fits), identifier)
            }
            Self::Float(range) => range.check(6307, "float", finite(value), identifier),
            Self::Double(range) => range.check(6322, "double", finite(value), identifier),
            Self::Bool => match value.as_i64() {
                Some(0 | 1) => Ok(()),
                _ => Err(misfit(6308, "bool expected, 0 or 1", identifier)),
            },
            Self::Enum(values) => match value.as_i64() {
                Some(one) if values.contains(&one) => Ok(()),
                _ => Err(misfit(6309, format!("enum expected, one of {values:?}"), identifier)),
            },
            Self::Text(most) => match value.as_str() {
                Some(text) if text.len() <= *most => Ok(()),
                _ => {
                    Err(misfit(6310, format!("text of at most {most} bytes expected"), identifier))
                }
            },
            Self::Date => match value.as_str().map(str::parse::<u64>) {
                Some(Ok(_)) => Ok(()),
                _ => Err(misfit(6311, "date expected, text with milliseconds", identifier)),
            },
            Self::Array(most, item) => {
                let Value::Array(items) = value else {
                    return Err(misfit(6328, "array expected", identifier));
                };
                if items.len() > *most {
                    let what = format!("array of at most {most} elements expected");
                    return Err(misfit(6324, what, identifier));
                }
                for item_value in items {
                    if let Err(inner) = item.check(identifier, item_value) {
                        return Err(Misfit { code: 6325, ..inner });
                    }
                }
                Ok(())
            }
            Self::Struct(fields) => match value {
                Value::Object(given) => {
                    check_fields(fields, given).map_err(|inner| Misfit { code: 6312, ..inner })
                }
                _ => Err(misfit(6312, "struct expected", identifier)),
            },
        }
    }
}

impl Range {
    fn check(
        &self,
        code: u16,
        what: &str,
        value: Option<&Number>,
        identifier: &str,
    ) -> Result<(), Misfit> {
        let Some(value) = value else {
            return Err(misfit(code, format!("{what} expected"), identifier));
        };
        let against = |bound: &Number| compare_numbers(value.as_str(), bound.as_str());
        let below = self.min.as_ref().is_some_and(|min| against(min).is_lt());
        let above = self.max.as_ref().is_some_and(|max| against(max).is_gt());
        if !below && !above {
            return Ok(());
        }
        let shown = |bound: &Option<Number>| bound.as_ref().map_or("any".into(), Number::to_string);
        let text = format!("{what} out of range {} to {}", shown(&self.min), shown(&self.max));
        Err(misfit(code, text, identifier))
    }
}

/// A number that the vendor's types can hold: up to 1.8e308.
fn finite(value: &Value) -> Option<&Number> {
    value.as_number().filter(|number| number.as_f64().is_some())
}

/// Holds named values against what they should be.
///
/// # Errors
/// The first [`Misfit`]: a value that is not known, does not fit, or is missing (6302).
pub fn check_fields(fields: &[Field], given: &Map<String, Value>) -> Result<(), Misfit> {
    for (identifier, value) in given {
        match fields.iter().find(|field| field.identifier == *identifier) {
            None => return Err(Misfit::unknown(identifier)),
            Some(field) => field.data.check(identifier, value)?,
        }
    }
    match fields.iter().find(|field| field.required && !given.contains_key(&field.identifier)) {
        Some(missing) => Err(misfit(6302, "params is missing", &missing.identifier)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
