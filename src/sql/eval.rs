//! Evaluates expressions over one message. Recursion is as deep as the limit on nesting allows.
//!
//! An error makes a value MISSING and is noted; it never stops the rest, except where a function
//! says that the whole run is off.

use std::borrow::Cow;

use contract::tree;

use super::error::EvalError;
use super::expr::{Arithmetic, Call, Case, Comparison, Expr};
use super::functions::{Fault, Nulls, Site};
use super::json;
use super::lex::shorten_to;
use super::like::Pattern;
use super::number::Num;
use super::pick::Span;
use super::plan::Input;
use super::query::Query;
use super::value::{Relation, Value};
use super::work::{PIECES, SCAN, TOO_COSTLY, TREE, VALUE, Work};

/// The most bytes of text that an expression makes: without it, a payload of half a megabyte could
/// blow itself up to terabytes through `replace`.
pub(crate) const RESULT: usize = 4 * 1024 * 1024;

/// How many arguments of a call stay off the heap.
type Arguments<'a> = smallvec::SmallVec<[Value<'a>; 6]>;

/// What is known about one message and one query while it is evaluated.
pub(crate) struct Context<'a, 's> {
    pub(crate) query: &'a Query,
    pub(crate) input: &'a Input<'a>,
    pub(crate) payload: &'a [u8],
    /// Where the spans lie: the payload, or with UNNEST the payload and a computed array behind it.
    pub(crate) text: &'a [u8],
    /// For each path of the query its slot.
    pub(crate) map: &'a [u32],
    pub(crate) spans: &'s [Span],
    /// The numbers that slots hold, read when they are first asked for.
    pub(crate) numbers: &'s mut [Reading],
    /// The document as a tree, for JSONPath.
    pub(crate) document: &'s mut Option<serde_json::Value>,
    pub(crate) errors: &'s mut Vec<EvalError>,
    /// What the evaluation may still cost.
    pub(crate) work: &'s Work,
    /// The item that is evaluated; `None` is WHERE.
    pub(crate) item: Option<usize>,
    /// The index of the element that UNNEST gives; 0 without.
    pub(crate) element: u32,
    /// Set when the run is off for this message.
    pub(crate) aborted: bool,
}

/// What a slot reads as.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Reading {
    /// Nobody has asked yet.
    #[default]
    Unknown,
    /// A number.
    Number(Num),
    /// Something else.
    Other,
}

impl<'a> Context<'a, '_> {
    /// The JSON text of a path; `None` when it is missing.
    #[inline]
    pub(crate) fn raw(&self, path: u32) -> Option<&'a [u8]> {
        self.span(path)?.of(self.text)
    }

    /// Where the value of a path lies in `text`.
    #[inline]
    pub(crate) fn span(&self, path: u32) -> Option<Span> {
        let slot = self.map.get(path as usize)?;
        self.spans.get(*slot as usize).copied()
    }

    /// The number at a path when it is a NUMBER (not text that reads as one).
    #[inline]
    pub(crate) fn number(&mut self, path: u32) -> Option<Num> {
        let slot = *self.map.get(path as usize)? as usize;
        match self.numbers.get(slot)? {
            Reading::Number(num) => Some(*num),
            Reading::Other => None,
            Reading::Unknown => {
                let raw = self.spans.get(slot)?.of(self.text).unwrap_or_default();
                let num = match raw.first() {
                    Some(b'-' | b'0'..=b'9') => Num::parse(raw),
                    _ => None,
                };
                *self.numbers.get_mut(slot)? = num.map_or(Reading::Other, Reading::Number);
                num
            }
        }
    }

    pub(crate) fn path(&mut self, path: u32) -> Value<'a> {
        let Some(raw) = self.raw(path) else { return Value::Missing };
        if !self.pays(raw.len() as u64 * VALUE) {
            return Value::Missing;
        }
        let value = Value::read(raw);
        // Of what is read, only a text with escapes is made anew.
        if let Value::String(Cow::Owned(text)) = &value
            && !self.affords(text.len() as u64 * PIECES)
        {
            return Value::Missing;
        }
        value
    }

    /// The text of a JSON string that has no escapes, `Some(None)` for any other value; `None` when it
    /// is missing, or too costly.
    #[inline]
    pub(crate) fn plain(&mut self, path: u32) -> Option<Option<&'a [u8]>> {
        let raw = self.raw(path)?;
        if !self.pays(raw.len() as u64 * SCAN) {
            return None;
        }
        let inner = raw.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\""));
        Some(inner.filter(|inner| memchr::memchr(b'\\', inner).is_none()))
    }

    /// Takes units of work; false, with the error noted, when not so many are left.
    #[inline]
    pub(crate) fn pays(&mut self, units: u64) -> bool {
        let paid = self.work.take(units);
        if !paid {
            self.unpaid(units);
        }
        paid
    }

    #[cold]
    #[inline(never)]
    fn unpaid(&mut self, units: u64) {
        let fault = self.work.refuse(units);
        self.fault(fault);
    }

    /// True when what was just made can be paid. When not, nothing is left: it was made all the same.
    #[inline]
    fn affords(&mut self, units: u64) -> bool {
        let paid = units == 0 || self.pays(units);
        if !paid {
            self.work.set(0);
        }
        paid
    }

    /// How two values compare; nothing is known of what would be too costly.
    pub(crate) fn relate(&mut self, left: &Value<'_>, right: &Value<'_>) -> Relation {
        if self.pays(left.comparing(right)) { left.relate(right) } else { Relation::Unknown }
    }

    /// Notes an error; the value is MISSING.
    pub(crate) fn fault(&mut self, fault: Fault) -> Value<'a> {
        let item = match self.item.and_then(|item| self.query.items().get(item)) {
            Some(item) => item.key.clone(),
            None => "WHERE".to_owned(),
        };
        let costly = fault.code == TOO_COSTLY && self.query.unnest().is_some();
        self.aborted |= fault.aborts || costly;
        self.errors.push(EvalError { code: fault.code, message: fault.message, item });
        Value::Missing
    }

    pub(crate) fn eval(&mut self, expr: &'a Expr) -> Value<'a> {
        match expr {
            Expr::Const(constant) => constant.value(),
            Expr::Path(path) => self.path(*path),
            Expr::JsonPath(index) => self.json_path(*index as usize),
            Expr::Wrap(inner) => {
                let value = self.eval(inner);
                let wrapped = wrap(&value);
                if self.affords(wrapped.made() * VALUE) { wrapped } else { Value::Missing }
            }
            Expr::Alias { path, item } => self.alias(*path, *item),
            Expr::Star => Value::Binary(Cow::Borrowed(self.payload)),
            Expr::Negate(inner) => self.negate(inner),
            Expr::Not(inner) => match self.eval(inner) {
                Value::Missing => Value::Missing,
                value => boolean(value.truth().map(|value| !value)),
            },
            Expr::And(_) | Expr::Or(_) => boolean(self.truth(expr)),
            Expr::Arithmetic(first, rest) => self.arithmetic(first, rest),
            Expr::Case(case) => self.case(case),
            Expr::Call(call) => self.call(call),
            Expr::Compare(..)
            | Expr::Between { .. }
            | Expr::InSet { .. }
            | Expr::In { .. }
            | Expr::Like { .. }
            | Expr::LikeAny { .. }
            | Expr::IsNull { .. }
            | Expr::IsMissing { .. } => self.comparison(expr),
        }
    }

    /// An expression as a condition; `None` is UNKNOWN.
    pub(crate) fn truth(&mut self, expr: &'a Expr) -> Option<bool> {
        match expr {
            Expr::Not(inner) => self.truth(inner).map(|value| !value),
            Expr::And(list) => self.junction(list, false),
            Expr::Or(list) => self.junction(list, true),
            _ => self.eval(expr).truth(),
        }
    }

    /// AND and OR: the first operand that `decides` decides; else any UNKNOWN makes it UNKNOWN.
    fn junction(&mut self, list: &'a [Expr], decides: bool) -> Option<bool> {
        let mut result = Some(!decides);
        for operand in list {
            match self.truth(operand) {
                Some(value) if value == decides => return Some(decides),
                Some(_) => {}
                None => result = None,
            }
        }
        result
    }

    fn alias(&mut self, path: Option<u32>, item: u32) -> Value<'a> {
        if let Some(path) = path
            && self.raw(path).is_some()
        {
            return self.path(path);
        }
        match self.query.value_of(item as usize) {
            Some(expr) => self.eval(expr),
            None => Value::Missing,
        }
    }

    fn negate(&mut self, inner: &'a Expr) -> Value<'a> {
        let value = self.eval(inner);
        if value.is_null() {
            return value;
        }
        match value.as_num() {
            Some(_) => operate(Arithmetic::Subtract, &Value::number(Num::Int(0)), &value)
                .unwrap_or_else(|fault| self.fault(fault)),
            None => self.fault(Fault::wrong_type("-", "a NUMBER", &value)),
        }
    }

    fn arithmetic(&mut self, first: &'a Expr, rest: &'a [(Arithmetic, Expr)]) -> Value<'a> {
        let mut left = self.eval(first);
        for (op, right) in rest {
            let right = self.eval(right);
            left = match (&left, &right) {
                (Value::Missing, _) | (_, Value::Missing) => Value::Missing,
                (Value::Null, _) | (_, Value::Null) => Value::Null,
                _ => match operate(*op, &left, &right) {
                    Ok(value) if self.affords(value.made() * PIECES) => value,
                    Ok(_) => Value::Missing,
                    Err(fault) => self.fault(fault),
                },
            };
        }
        left
    }

    fn case(&mut self, case: &'a Case) -> Value<'a> {
        let operand = case.operand.as_ref().map(|operand| self.eval(operand));
        for (condition, result) in &case.arms {
            let holds = match &operand {
                Some(operand) => {
                    let value = self.eval(condition);
                    self.relate(operand, &value).equal()
                }
                None => self.truth(condition),
            };
            if holds == Some(true) {
                return self.eval(result);
            }
        }
        case.otherwise.as_ref().map_or(Value::Null, |result| self.eval(result))
    }

    fn call(&mut self, call: &'a Call) -> Value<'a> {
        let function = call.function;
        if call.arguments.is_empty() {
            return self.invoke(call, &[]);
        }
        let mut arguments = Arguments::new();
        let mut nothing = None;
        for argument in &call.arguments {
            let value = self.eval(argument);
            match value {
                Value::Missing => nothing = Some(Value::Missing),
                Value::Null => nothing = nothing.or(Some(Value::Null)),
                _ => {}
            }
            arguments.push(value);
        }
        if let (Nulls::Propagate, Some(nothing)) = (function.nulls, nothing) {
            return nothing;
        }
        let own = function.reads.len();
        for (index, value) in arguments.iter_mut().skip(own).enumerate() {
            if let Err(fault) = function.kind(index).coerce(function.name, value) {
                return self.fault(fault);
            }
        }
        self.invoke(call, &arguments)
    }

    /// Calls a function with arguments that fit.
    fn invoke(&mut self, call: &'a Call, arguments: &[Value<'a>]) -> Value<'a> {
        let function = call.function;
        if !self.pays(function.price.with(arguments)) {
            return Value::Missing;
        }
        let site = Site {
            work: Work::new(self.work.left()),
            input: self.input,
            payload: self.payload,
            time_zone: self.query.time_zone(),
            call: call.site,
            element: self.element,
            prepared: &call.prepared,
        };
        let result = (function.eval)(arguments, &site);
        self.work.set(site.work.left());
        match result {
            Ok(value) if self.affords(value.made() * VALUE) => value,
            Ok(_) => Value::Missing,
            Err(fault) => self.fault(fault),
        }
    }

    fn comparison(&mut self, expr: &'a Expr) -> Value<'a> {
        let (negated, answer, absent) = match expr {
            Expr::Compare(op, sides) => {
                let left = self.eval(&sides.0);
                let right = self.eval(&sides.1);
                (false, compare(*op, self.relate(&left, &right)), absent([&left, &right]))
            }
            Expr::Between { negated, parts } => {
                let [value, low, high] = &**parts;
                let value = self.eval(value);
                let low = self.eval(low);
                let high = self.eval(high);
                let from = compare(Comparison::GreaterEqual, self.relate(&value, &low));
                let to = compare(Comparison::LessEqual, self.relate(&value, &high));
                (*negated, both(from, to), absent([&value, &low, &high]))
            }
            Expr::InSet { negated, value, set } => {
                let value = self.eval(value);
                (*negated, set.contains(&value), absent([&value]))
            }
            Expr::In { negated, value, list } => {
                let value = self.eval(value);
                (*negated, self.among(&value, list), absent([&value]))
            }
            Expr::Like { negated, value, pattern } => {
                let value = self.eval(value);
                (*negated, self.like(&value, pattern), not_text([&value]))
            }
            Expr::LikeAny { negated, parts } => {
                let value = self.eval(&parts.0);
                let pattern = self.eval(&parts.1);
                let answer = match pattern.as_text() {
                    Some(text) if self.pays(Pattern::reading(&text)) => {
                        self.like(&value, &Pattern::new(&text))
                    }
                    Some(_) => None,
                    None => self.not_text(&pattern),
                };
                (*negated, answer, not_text([&value, &pattern]))
            }
            Expr::IsNull { negated, value } => {
                (*negated, Some(self.eval(value).is_null()), Value::Null)
            }
            Expr::IsMissing { negated, value } => {
                (*negated, Some(self.eval(value) == Value::Missing), Value::Null)
            }
            _ => (false, None, Value::Null),
        };
        answer.map_or(absent, |answer| Value::Bool(answer != negated))
    }

    fn among(&mut self, value: &Value<'a>, list: &'a [Expr]) -> Option<bool> {
        let mut result = Some(false);
        for item in list {
            let item = self.eval(item);
            match self.relate(value, &item).equal() {
                Some(true) => return Some(true),
                Some(false) => {}
                None => result = None,
            }
        }
        result
    }

    pub(crate) fn like(&mut self, value: &Value<'a>, pattern: &Pattern) -> Option<bool> {
        match value.as_text() {
            Some(text) if self.pays(pattern.price(text.len())) => {
                Some(pattern.matches(text.as_bytes()))
            }
            Some(_) => None,
            None => self.not_text(value),
        }
    }

    fn not_text(&mut self, value: &Value<'a>) -> Option<bool> {
        if !value.is_null() {
            self.fault(Fault::wrong_type("LIKE", "a STRING", value));
        }
        None
    }

    fn json_path(&mut self, index: usize) -> Value<'a> {
        let Some(path) = self.query.json_paths().get(index) else { return Value::Missing };
        if self.document.is_none() {
            if !self.pays(self.payload.len() as u64 * TREE) {
                return Value::Missing;
            }
            match tree(self.payload) {
                Ok(document) => *self.document = Some(document),
                Err(error) => return self.fault(Fault::new("json_path", error.to_string())),
            }
        }
        let Some(document) = &*self.document else { return Value::Missing };
        let paid = path.pay(document, self.payload.len(), self.work);
        match paid.and_then(|()| path.find(document)) {
            Ok(found) if found.is_empty() => Value::Missing,
            Ok(found) => match matches(found.into_iter()) {
                Ok(value) if self.affords(value.made() * VALUE) => value,
                Ok(_) => Value::Missing,
                Err(fault) => self.fault(fault),
            },
            Err(fault) => self.fault(fault),
        }
    }
}

/// An array of the matches of a JSONPath.
pub(crate) fn matches<'v, 'a>(
    found: impl Iterator<Item = &'v serde_json::Value>,
) -> Result<Value<'a>, Fault> {
    let mut text = vec![b'['];
    for value in found {
        if text.len() > 1 {
            text.push(b',');
        }
        // Writing to a Vec cannot fail.
        serde_json::to_writer(&mut text, value).ok();
        fits(text.len())?;
    }
    text.push(b']');
    Ok(Value::Json(Cow::Owned(String::from_utf8(text).unwrap_or_default())))
}

/// Holds the length of a result against [`RESULT`].
pub(crate) fn fits(bytes: usize) -> Result<(), Fault> {
    if bytes <= RESULT {
        return Ok(());
    }
    Err(Fault::new("too_large", format!("the result has more than {RESULT} bytes")))
}

fn boolean<'a>(answer: Option<bool>) -> Value<'a> {
    // UNKNOWN as a value is NULL.
    answer.map_or(Value::Null, Value::Bool)
}

/// What an UNKNOWN is as a value: MISSING when an operand is, else NULL.
fn absent<'a, const N: usize>(operands: [&Value<'_>; N]) -> Value<'a> {
    if operands.contains(&&Value::Missing) { Value::Missing } else { Value::Null }
}

/// As [`absent`]; an operand that is no text is an error, hence MISSING.
fn not_text<'a, const N: usize>(operands: [&Value<'_>; N]) -> Value<'a> {
    if operands.iter().all(|value| **value == Value::Null || value.as_text().is_some()) {
        Value::Null
    } else {
        Value::Missing
    }
}

fn both(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn wrap<'a>(value: &Value<'_>) -> Value<'a> {
    if *value == Value::Missing {
        return Value::Missing;
    }
    let mut text = vec![b'['];
    value.write(&mut text);
    text.push(b']');
    Value::Json(Cow::Owned(String::from_utf8(text).unwrap_or_default()))
}

/// The answer of a comparison; `None` is UNKNOWN.
pub(crate) fn compare(op: Comparison, relation: Relation) -> Option<bool> {
    match op {
        Comparison::Equal => relation.equal(),
        Comparison::NotEqual => relation.equal().map(|equal| !equal),
        Comparison::Less => relation.order().map(std::cmp::Ordering::is_lt),
        Comparison::LessEqual => relation.order().map(std::cmp::Ordering::is_le),
        Comparison::Greater => relation.order().map(std::cmp::Ordering::is_gt),
        Comparison::GreaterEqual => relation.order().map(std::cmp::Ordering::is_ge),
    }
}

fn operate<'a>(op: Arithmetic, left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, Fault> {
    if op == Arithmetic::Concat {
        return concat(left, right);
    }
    let sign = op.sign();
    let num = |value: &Value<'a>| {
        value.as_num().ok_or_else(|| {
            let fault = Fault::wrong_type(sign, "a NUMBER", value);
            let text = op == Arithmetic::Add && matches!(value, Value::String(_));
            if text { fault.because("use `||` or concat() to join text") } else { fault }
        })
    };
    let numbers = (num(left)?, num(right)?);
    let whole = |value: &Value<'a>, num: Num| num.as_i128().is_some() || value.is_huge();
    if (left.is_huge() || right.is_huge()) && whole(left, numbers.0) && whole(right, numbers.1) {
        let text = |value: &Value<'a>| value.as_text().unwrap_or_default().into_owned();
        return Err(overflow(&format!("{} {sign} {}", text(left), text(right))));
    }
    calculate(op, numbers.0, numbers.1).map(Value::number)
}

/// The error for a computation with integers that leaves 64 bits.
pub(crate) fn overflow(computation: &str) -> Fault {
    Fault::new("overflow", format!("{} leaves 64 bits", shorten_to(computation, 100)))
        .because("where 15 digits are enough, multiply by 1.0 first")
}

/// Arithmetic on numbers. That of integers is exact: a result is an integer of 64 bits, signed or
/// unsigned, or an error; only `/` gives a fraction where it has to.
pub(crate) fn calculate(op: Arithmetic, a: Num, b: Num) -> Result<Num, Fault> {
    let divides = matches!(op, Arithmetic::Divide | Arithmetic::Modulo | Arithmetic::IntegerDivide);
    if divides && b.as_f64() == 0.0 {
        return Err(Fault::new("division_by_zero", "division by zero"));
    }
    if let (Some(a), Some(b)) = (a.as_i128(), b.as_i128()) {
        // Both fit 65 bits, so that nothing here leaves i128, except a product of the extremes.
        let exact = match op {
            Arithmetic::Add => Some(a + b),
            Arithmetic::Subtract => Some(a - b),
            Arithmetic::Multiply => a.checked_mul(b),
            Arithmetic::Divide => (a % b == 0).then(|| a / b),
            Arithmetic::Modulo => Some(a % b),
            Arithmetic::IntegerDivide => Some(a / b),
            Arithmetic::Concat => None,
        };
        if exact.is_some() || op == Arithmetic::Multiply {
            let num = exact.and_then(Num::from_i128);
            return num.ok_or_else(|| overflow(&format!("{a} {} {b}", op.sign())));
        }
    }
    let (a, b) = (a.as_f64(), b.as_f64());
    // Of two infinite numbers, as of one, nothing is known but that they are large.
    if !a.is_finite() || !b.is_finite() {
        return Err(Fault::new("not_finite", "an operand is beyond 1.8e308"));
    }
    let value = match op {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::Modulo => a % b,
        Arithmetic::IntegerDivide => (a / b).trunc(),
        Arithmetic::Concat => f64::NAN,
    };
    Num::from_f64(value).ok_or_else(|| Fault::new("not_finite", "the result is too large"))
}

/// `||` and `concat`: text of scalars, or the elements of two arrays.
pub(crate) fn concat<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, Fault> {
    if let (Value::Json(a), Value::Json(b)) = (left, right)
        && let (Some(_), Some(_)) = (a.strip_prefix('['), b.strip_prefix('['))
    {
        let mut text = vec![b'['];
        for raw in json::elements(a.as_bytes()).chain(json::elements(b.as_bytes())) {
            if text.len() > 1 {
                text.push(b',');
            }
            text.extend_from_slice(raw);
            fits(text.len())?;
        }
        text.push(b']');
        return Ok(Value::Json(Cow::Owned(String::from_utf8(text).unwrap_or_default())));
    }
    let wrong = |value| Fault::wrong_type("concat", "text (or two arrays)", value);
    let a = left.as_text().ok_or_else(|| wrong(left))?;
    let b = right.as_text().ok_or_else(|| wrong(right))?;
    fits(a.len() + b.len())?;
    let mut text = String::with_capacity(a.len() + b.len());
    text.extend([a, b]);
    Ok(Value::text(text))
}
