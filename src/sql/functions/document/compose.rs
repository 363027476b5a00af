//! What the functions of arrays, objects and JSON share: their arguments, ways into JSON text, and
//! results that hold the limits on size and depth.
//!
//! Not here: when two values are the same (`sameness`), and the functions themselves.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::eval;
use crate::expr::Const;
use crate::functions::{Fault, Prepared, Problem, Site};
use crate::json;
use crate::path::{self, Quoted, Step};
use crate::pick::JSON_DEPTH;
use crate::value::Value;

/// Up to how many keys a map is searched one by one.
const FEW: usize = 8;

/// The JSON text of an argument that is an array or object; nothing for another.
pub(in crate::functions) fn raw<'v>(arguments: &'v [Value<'_>], index: usize) -> &'v [u8] {
    match arguments.get(index) {
        Some(Value::Json(text)) => text.as_bytes(),
        _ => &[],
    }
}

/// The elements of an argument that is an array.
pub(in crate::functions) fn elements<'v>(
    arguments: &'v [Value<'_>],
    index: usize,
) -> impl Iterator<Item = &'v [u8]> {
    json::elements(raw(arguments, index))
}

/// The text of an argument that was coerced to one.
pub(in crate::functions) fn text<'v>(arguments: &'v [Value<'_>], index: usize) -> &'v str {
    match arguments.get(index) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

/// The integer of an argument that was coerced to one, held within i64; `None` when it is not there.
pub(in crate::functions) fn integer(arguments: &[Value<'_>], index: usize) -> Option<i64> {
    match arguments.get(index) {
        Some(Value::Number(number)) => Some(number.num.truncate()),
        _ => None,
    }
}

/// MISSING with a MISSING argument, else NULL with a NULL one: for functions that look for
/// themselves at some of their arguments.
pub(in crate::functions) fn absent<'a>(arguments: &[Value<'_>]) -> Option<Value<'a>> {
    if arguments.contains(&Value::Missing) {
        return Some(Value::Missing);
    }
    arguments.contains(&Value::Null).then_some(Value::Null)
}

/// The number of elements of an array.
pub(in crate::functions) fn count(array: &[u8]) -> usize {
    json::elements(array).count()
}

/// An index of an array of a length, when it counts from the end a plain one; `None` before the
/// start.
pub(in crate::functions) fn place(index: i64, length: impl FnOnce() -> usize) -> Option<usize> {
    let magnitude = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 { length().checked_sub(magnitude) } else { Some(magnitude) }
}

/// The element at an index; a negative one counts from the end.
pub(in crate::functions) fn nth(array: &[u8], index: i64) -> Option<&[u8]> {
    let index = place(index, || count(array))?;
    json::elements(array).nth(index)
}

/// The value of a key of an object; the last of equal keys.
pub(in crate::functions) fn member<'t>(object: &'t [u8], key: &str) -> Option<&'t [u8]> {
    let same = |raw: &[u8]| match raw.get(1..raw.len().saturating_sub(1)) {
        Some(plain) if memchr::memchr(b'\\', plain).is_none() => plain == key.as_bytes(),
        _ => json::decode(raw) == key,
    };
    json::members(object).filter(|(raw, _)| same(raw)).last().map(|(_, value)| value)
}

/// What a key or path finds in a value: a key that is spelled exactly so, else what the steps lead
/// to.
pub(in crate::functions) fn look<'t>(
    value: &'t [u8],
    key: &str,
    steps: &[Step],
) -> Option<&'t [u8]> {
    if let [Step::Key(only)] = steps {
        return member(value, only);
    }
    member(value, key).or_else(|| walk(value, steps))
}

/// What steps lead to.
pub(in crate::functions) fn walk<'t>(value: &'t [u8], steps: &[Step]) -> Option<&'t [u8]> {
    steps.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => member(value, key),
        Step::Index(index) => nth(value, *index),
    })
}

/// The steps of a key or path. What is no path is a key.
fn read_steps(text: &str) -> Result<Vec<Step>, Problem> {
    let steps = match path::quoted(text) {
        Ok(Quoted::Path(steps)) => steps,
        Ok(Quoted::JsonPath(_)) => {
            return Err(Problem {
                message: format!("'{text}' can name many values"),
                expected: "a key or a path such as 'a.b[0]'; json_path_query() takes a JSONPath"
                    .into(),
            });
        }
        Ok(Quoted::Wrapped(_)) | Err(_) => vec![Step::Key(text.to_owned())],
    };
    if steps.len() > JSON_DEPTH as usize {
        return Err(Problem {
            message: format!("the path has {} steps", steps.len()),
            expected: format!("at most {JSON_DEPTH} steps, as deep as a document can be"),
        });
    }
    Ok(steps)
}

/// Keeps the steps of a path that is a constant.
///
/// # Errors
/// A path that can name many values or is too long.
pub(in crate::functions) fn prepare_path(
    argument: Option<&Option<&Const>>,
) -> Result<Prepared, Problem> {
    match argument {
        Some(Some(Const::String(text))) => Ok(Prepared::Path(read_steps(text)?.into())),
        _ => Ok(Prepared::Nothing),
    }
}

/// The steps of a path: those kept, or read now.
///
/// # Errors
/// As [`prepare_path`].
pub(in crate::functions) fn steps<'s>(
    site: &'s Site<'_>,
    text: &str,
) -> Result<Cow<'s, [Step]>, Fault> {
    match site.prepared() {
        Prepared::Path(steps) => Ok(Cow::Borrowed(steps)),
        _ => read_steps(text).map(Cow::Owned).map_err(|problem| fault("path", &problem)),
    }
}

/// What a constant would be refused for at compile time, for one message.
pub(in crate::functions) fn fault(code: &'static str, problem: &Problem) -> Fault {
    Fault::new(code, format!("{}, but expected {}", problem.message, problem.expected))
}

/// A part of an array or object. It borrows where the whole does; MISSING when it is not there.
///
/// # Errors
/// As [`owned`].
pub(in crate::functions) fn part<'a>(
    whole: &Value<'a>,
    find: impl for<'t> FnOnce(&'t [u8]) -> Option<&'t [u8]>,
) -> Result<Value<'a>, Fault> {
    match whole {
        Value::Json(Cow::Borrowed(text)) => {
            Ok(find(text.as_bytes()).map_or(Value::Missing, Value::read))
        }
        Value::Json(Cow::Owned(text)) => find(text.as_bytes()).map_or(Ok(Value::Missing), owned),
        _ => Ok(Value::Missing),
    }
}

/// A value read from text that does not live on. A number loses its text, and a decimal the digits
/// that f64 does not hold.
///
/// # Errors
/// `not_finite` for a number beyond f64, `overflow` for an integer beyond 64 bits.
pub(in crate::functions) fn owned<'a>(raw: &[u8]) -> Result<Value<'a>, Fault> {
    Ok(match Value::read(raw) {
        Value::Missing => Value::Missing,
        Value::Null => Value::Null,
        Value::Bool(value) => Value::Bool(value),
        Value::Number(number) if !number.num.as_f64().is_finite() => {
            let message = "a number in a computed value is too large";
            return Err(Fault::new("not_finite", message));
        }
        number @ Value::Number(_) if number.is_huge() => {
            return Err(eval::overflow(&number.as_text().unwrap_or_default()));
        }
        Value::Number(number) => Value::number(number.num),
        Value::String(text) => Value::text(text.into_owned()),
        Value::Json(text) => Value::Json(Cow::Owned(text.into_owned())),
        Value::Binary(bytes) => Value::Binary(Cow::Owned(bytes.into_owned())),
    })
}

/// Writes an array or object as a result: commas where they belong, never more bytes than a result
/// may have, never more levels than a document may have.
pub(in crate::functions) struct Writer {
    out: Vec<u8>,
    /// True when something may be nested.
    nested: bool,
}

impl Writer {
    /// Nothing yet; `capacity` is what the result will roughly need.
    pub(in crate::functions) fn new(capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity.min(eval::RESULT) + 2), nested: false }
    }

    /// An array that has just begun.
    pub(in crate::functions) fn array(capacity: usize) -> Self {
        let mut new = Self::new(capacity);
        new.out.push(b'[');
        new
    }

    /// An object that has just begun.
    pub(in crate::functions) fn object(capacity: usize) -> Self {
        let mut new = Self::new(capacity);
        new.out.push(b'{');
        new
    }

    /// A comma, when something stands before. A string ends in a quote, so that an opening bracket or
    /// a colon at the end is what it looks like.
    fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'[' | b'{' | b':')) {
            self.out.push(b',');
        }
    }

    /// Opens an array or object as the next value.
    pub(in crate::functions) fn open(&mut self, bracket: u8) {
        self.separate();
        self.nested |= !self.out.is_empty();
        self.out.push(bracket);
    }

    /// Closes what is open.
    pub(in crate::functions) fn close(&mut self, bracket: u8) {
        self.out.push(bracket);
    }

    /// Appends JSON text as the next value.
    pub(in crate::functions) fn raw(&mut self, raw: &[u8]) -> Result<(), Fault> {
        eval::fits(self.out.len() + raw.len())?;
        self.separate();
        self.nested |= matches!(raw.first(), Some(b'[' | b'{'));
        self.out.extend_from_slice(raw);
        Ok(())
    }

    /// Appends text as the next value.
    pub(in crate::functions) fn text(&mut self, text: &str) -> Result<(), Fault> {
        eval::fits(self.out.len() + text.len())?;
        self.separate();
        json::write_string(text, &mut self.out);
        Ok(())
    }

    /// Appends a value; MISSING is `null`.
    pub(in crate::functions) fn value(&mut self, value: &Value<'_>) -> Result<(), Fault> {
        match value {
            Value::Missing | Value::Null => self.raw(b"null"),
            Value::Json(text) => self.raw(text.as_bytes()),
            Value::String(text) => self.text(text),
            Value::Binary(_) => {
                let message = "bytes have no JSON form; to_base64() and to_hex() make text of them";
                Err(Fault::new("wrong_type", message))
            }
            Value::Bool(_) | Value::Number(_) => {
                self.separate();
                value.write(&mut self.out);
                eval::fits(self.out.len())
            }
        }
    }

    /// Appends the key of the next value.
    pub(in crate::functions) fn key(&mut self, key: &str) -> Result<(), Fault> {
        self.text(key)?;
        self.out.push(b':');
        Ok(())
    }

    /// Appends a member.
    pub(in crate::functions) fn member(&mut self, key: &str, raw: &[u8]) -> Result<(), Fault> {
        self.key(key)?;
        self.raw(raw)
    }

    /// The array that [`Writer::array`] began.
    pub(in crate::functions) fn end_array<'a>(mut self) -> Result<Value<'a>, Fault> {
        self.out.push(b']');
        self.finish()
    }

    /// The object that [`Writer::object`] began.
    pub(in crate::functions) fn end_object<'a>(mut self) -> Result<Value<'a>, Fault> {
        self.out.push(b'}');
        self.finish()
    }

    /// The array or object, all of it closed.
    pub(in crate::functions) fn finish<'a>(self) -> Result<Value<'a>, Fault> {
        eval::fits(self.out.len())?;
        if self.nested && depth(&self.out) > JSON_DEPTH {
            let message = format!("the result is nested deeper than {JSON_DEPTH} levels");
            return Err(Fault::new("too_deep", message));
        }
        Ok(Value::Json(Cow::Owned(String::from_utf8(self.out).unwrap_or_default())))
    }
}

/// The levels of arrays and objects in JSON text.
fn depth(text: &[u8]) -> u32 {
    let (mut at, mut depth, mut most) = (0, 0_u32, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                most = most.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => at = string(text, at) - 1,
            _ => {}
        }
        at += 1;
    }
    most
}

/// The end of the valid string whose opening quote is at `at`.
pub(in crate::functions) fn string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(rest) = text.get(at..) {
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(found) if rest.get(found) == Some(&b'"') => return at + found + 1,
            Some(found) => at += found + 2,
            None => break,
        }
    }
    text.len()
}

/// The members of an object in the order in which their keys came first. The last of equal keys
/// wins. Small ones stay off the heap.
pub(in crate::functions) struct Map<'t, V> {
    list: smallvec::SmallVec<[(Cow<'t, str>, V); FEW]>,
    /// Empty while there are few.
    index: HashMap<Cow<'t, str>, usize, foldhash::fast::RandomState>,
}

impl<'t, V> Map<'t, V> {
    pub(in crate::functions) fn new() -> Self {
        Self { list: smallvec::SmallVec::new(), index: HashMap::default() }
    }

    fn find(&self, key: &str) -> Option<usize> {
        if self.index.is_empty() {
            self.list.iter().position(|(have, _)| have == key)
        } else {
            self.index.get(key).copied()
        }
    }

    pub(in crate::functions) fn put(&mut self, key: Cow<'t, str>, value: V) {
        if let Some((_, place)) = self.find(&key).and_then(|at| self.list.get_mut(at)) {
            *place = value;
            return;
        }
        if self.list.len() == FEW {
            let all = self.list.iter().enumerate().map(|(at, (key, _))| (key.clone(), at));
            self.index.extend(all);
        }
        if self.list.len() >= FEW {
            self.index.insert(key.clone(), self.list.len());
        }
        self.list.push((key, value));
    }

    pub(in crate::functions) fn get(&self, key: &str) -> Option<&V> {
        self.find(key).and_then(|at| self.list.get(at)).map(|(_, value)| value)
    }

    pub(in crate::functions) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        let at = self.find(key)?;
        self.list.get_mut(at).map(|(_, value)| value)
    }

    pub(in crate::functions) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.list.iter().map(|(key, value)| (&**key, value))
    }
}

impl<'t> Map<'t, &'t [u8]> {
    /// The members of an object.
    pub(in crate::functions) fn read(object: &'t [u8]) -> Self {
        let mut map = Self::new();
        map.extend(object);
        map
    }

    /// Puts the members of another object.
    pub(in crate::functions) fn extend(&mut self, object: &'t [u8]) {
        for (key, value) in json::members(object) {
            self.put(json::decode(key), value);
        }
    }

    /// The object.
    pub(in crate::functions) fn write<'a>(&self, capacity: usize) -> Result<Value<'a>, Fault> {
        let mut out = Writer::object(capacity);
        for (key, value) in self.iter() {
            out.member(key, value)?;
        }
        out.end_object()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_of_text() {
        for (text, want) in [("1", 0), ("[]", 1), (r#"["[[\"[[\\"]"#, 1), (r#"[{"a":[1]},[2]]"#, 3)]
        {
            assert_eq!(depth(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn maps_keep_the_last_value_in_the_first_place() {
        for keys in [4, 8, 9, 1000] {
            let mut map = Map::new();
            for round in 0..2 {
                for key in 0..keys {
                    map.put(Cow::Owned(key.to_string()), (round, key));
                }
            }
            let want: Vec<_> = (0..keys).map(|key| (key.to_string(), (1, key))).collect();
            let have: Vec<_> = map.iter().map(|(key, value)| (key.to_owned(), *value)).collect();
            assert_eq!(have, want);
            assert_eq!(map.get("2"), Some(&(1, 2)));
            assert_eq!(map.get("x"), None);
        }
    }
}
