//! The usual way to build a rules engine, as the yardstick: a boxed JSON tree per message, a
//! tree-walking evaluator over it, a map as the result, serialized at the end.
//!
//! It does what the benchmarked statements need and nothing more, in Tidegate's semantics for
//! numbers and text.

use serde_json::{Map, Number, Value};

/// An expression as a tree of boxes.
pub enum Expr {
    /// A value of the document.
    Path(Vec<String>),
    /// A constant.
    Const(Value),
    /// The device's name.
    DeviceName,
    /// Left is greater than right.
    Greater(Box<Expr>, Box<Expr>),
}

/// A rule.
pub struct Rule {
    /// The keys and values of the result.
    pub items: Vec<(String, Expr)>,
    /// When it fires.
    pub condition: Expr,
}

/// `a.b.c`
pub fn path(text: &str) -> Expr {
    Expr::Path(text.split('.').map(str::to_owned).collect())
}

/// `path > limit`
pub fn greater(text: &str, limit: f64) -> Expr {
    let limit = Number::from_f64(limit).expect("finite");
    Expr::Greater(Box::new(path(text)), Box::new(Expr::Const(Value::Number(limit))))
}

/// Decodes a payload.
pub fn decode(payload: &[u8]) -> Value {
    serde_json::from_slice(payload).expect("JSON")
}

impl Rule {
    /// Evaluates the rule over a decoded message.
    pub fn run(&self, topic: &str, document: &Value) -> Option<Vec<u8>> {
        if eval(&self.condition, topic, document) != Value::Bool(true) {
            return None;
        }
        let mut record = Map::new();
        for (key, expr) in &self.items {
            record.insert(key.clone(), eval(expr, topic, document));
        }
        Some(serde_json::to_vec(&Value::Object(record)).expect("a record"))
    }
}

fn eval(expr: &Expr, topic: &str, document: &Value) -> Value {
    match expr {
        Expr::Const(value) => value.clone(),
        Expr::DeviceName => {
            topic.split('/').nth(2).map_or(Value::Null, |name| Value::String(name.to_owned()))
        }
        Expr::Path(keys) => {
            let mut value = document;
            for key in keys {
                match value.get(key) {
                    Some(inner) => value = inner,
                    None => return Value::Null,
                }
            }
            value.clone()
        }
        Expr::Greater(left, right) => {
            let left = eval(left, topic, document);
            let right = eval(right, topic, document);
            match (left.as_f64(), right.as_f64()) {
                (Some(left), Some(right)) => Value::Bool(left > right),
                _ => Value::Null,
            }
        }
    }
}
