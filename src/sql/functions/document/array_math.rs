//! Functions that compute one value from the elements of an array, and that sort arrays.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::eval;
use crate::expr::{Arithmetic, Const};
use crate::functions::document::array::ARRAYS;
use crate::functions::document::compose::{self, Writer, elements, part, raw, text};
use crate::functions::document::sameness::whole;
use crate::functions::math::number::exact;
use crate::functions::{
    Fault, Function, Kind, Prepare, Prepared, Problem, example, missing, optional, required,
};
use crate::json;
use crate::number::Num;
use crate::value::Value;
use crate::work::Price;

/// What all functions that give a number share.
const MATH: Function =
    Function { params: &[required("array", Kind::Array)], result: Kind::Number, ..ARRAYS };

/// The number of an element; `None` for `null`.
fn number(function: &str, element: &[u8]) -> Result<Option<Num>, Fault> {
    match Value::read(element) {
        Value::Null | Value::Missing => Ok(None),
        value if value.is_huge() => Err(eval::overflow(&value.as_text().unwrap_or_default())),
        value => value.as_num().map(Some).ok_or_else(|| {
            Fault::wrong_type(function, "an ARRAY of NUMBERs", &value)
                .because("pluck() and array_filter() take elements out")
        }),
    }
}

fn finite<'a>(value: f64) -> Result<Value<'a>, Fault> {
    let wrong = || Fault::new("not_finite", "the result is too large");
    Num::from_f64(value).map(Value::number).ok_or_else(wrong)
}

/// A running total: exact for integers, with Neumaier's compensation for others.
#[derive(Default)]
struct Total {
    count: u32,
    whole: i128,
    real: f64,
    lost: f64,
    exact: bool,
}

impl Total {
    fn of(function: &str, array: &[u8]) -> Result<Self, Fault> {
        let mut total = Self { exact: true, ..Self::default() };
        for element in json::elements(array) {
            let Some(num) = number(function, element)? else { continue };
            // A document has fewer elements than bytes, and those fit u32.
            total.count += 1;
            match whole(num) {
                // Each fits 66 bits: 2^32 of them fit i128.
                Some(value) => total.whole += value,
                None => total.add(num.as_f64()),
            }
        }
        Ok(total)
    }

    fn add(&mut self, value: f64) {
        let sum = self.real + value;
        self.lost += if self.real.abs() >= value.abs() {
            (self.real - sum) + value
        } else {
            (value - sum) + self.real
        };
        self.real = sum;
        self.exact = false;
    }

    fn real(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "beside fractions f64 is all there is")]
        let whole = self.whole as f64;
        whole + (self.real + self.lost)
    }

    fn sum<'a>(&self) -> Result<Value<'a>, Fault> {
        if self.exact { exact(self.whole, || "the sum".to_owned()) } else { finite(self.real()) }
    }

    fn mean(&self) -> f64 {
        self.real() / f64::from(self.count)
    }
}

pub(in crate::functions) const ARRAY_SUM: Function = Function {
    name: "array_sum",
    signature: "array_sum(array)",
    summary: "The sum of the elements; `null` counts for nothing, text that reads as a number as \
              that number. 0 for none. Other elements are an error.",
    examples: &[
        example("array_sum(a)", r#"{"a":[1,2.5,null,"3"]}"#, "6.5"),
        example("array_sum(a)", r#"{"a":[9007199254740993,1]}"#, "9007199254740994"),
        example("array_sum(a)", r#"{"a":[0.1,0.2,0.3]}"#, "0.6"),
        example("array_sum(a)", r#"{"a":[]}"#, "0"),
        missing("array_sum(a)", r#"{"a":[1,"x"]}"#),
    ],
    eval: |arguments, _| Total::of("array_sum", raw(arguments, 0))?.sum(),
    ..MATH
};

pub(in crate::functions) const ARRAY_AVG: Function = Function {
    name: "array_avg",
    aliases: &["array_mean"],
    signature: "array_avg(array)",
    summary: "The mean of the elements, those that are `null` left out; NULL for none.",
    examples: &[
        example("array_avg(a)", r#"{"a":[1,2,null,6]}"#, "3"),
        example("array_avg(a)", r#"{"a":[1,2]}"#, "1.5"),
        example("array_avg(a)", r#"{"a":[]}"#, "null"),
        missing("array_avg(a)", r#"{"a":[true]}"#),
    ],
    eval: |arguments, _| {
        let total = Total::of("array_avg", raw(arguments, 0))?;
        let count = i128::from(total.count);
        if count == 0 {
            return Ok(Value::Null);
        }
        if total.exact && total.whole % count == 0 {
            return exact(total.whole / count, || "the mean".to_owned());
        }
        finite(total.mean())
    },
    ..MATH
};

pub(in crate::functions) const ARRAY_MEDIAN: Function = Function {
    name: "array_median",
    signature: "array_median(array)",
    summary: "The middle one of the elements by value, or the mean of the two in the middle; those \
              that are `null` are left out; NULL for none.",
    examples: &[
        example("array_median(a)", r#"{"a":[9,1,5]}"#, "5"),
        example("array_median(a)", r#"{"a":[4,1,null,2,100]}"#, "3"),
        example("array_median(a)", r#"{"a":[null]}"#, "null"),
    ],
    eval: |arguments, _| {
        // The few that most arrays have stay off the heap.
        let mut list = smallvec::SmallVec::<[Num; 64]>::new();
        for element in elements(arguments, 0) {
            list.extend(number("array_median", element)?);
        }
        list.sort_unstable_by(|a, b| a.compare(*b));
        let middle = list.len() / 2;
        let Some(high) = list.get(middle) else { return Ok(Value::Null) };
        if list.len() % 2 == 1 {
            let finite = high.as_f64().is_finite();
            let wrong = || Fault::new("not_finite", "the result is too large");
            return if finite { Ok(Value::number(*high)) } else { Err(wrong()) };
        }
        let low = list.get(middle - 1).unwrap_or(high);
        let sum = eval::calculate(Arithmetic::Add, *low, *high)?;
        eval::calculate(Arithmetic::Divide, sum, Num::Int(2)).map(Value::number)
    },
    ..MATH
};

pub(in crate::functions) const ARRAY_STDDEV: Function = Function {
    name: "array_stddev",
    signature: "array_stddev(array[, kind])",
    params: &[required("array", Kind::Array), optional("kind", Kind::Text)],
    summary: "The standard deviation of the elements, those that are `null` left out: of all there \
              are (`'population'`, the default) or estimated from a `'sample'`. NULL for none, and \
              for a sample of one.",
    examples: &[
        example("array_stddev(a)", r#"{"a":[2,4,4,4,5,5,7,9]}"#, "2"),
        example("array_stddev(a, 'sample')", r#"{"a":[1,null,3]}"#, "1.4142135623730951"),
        example("array_stddev(a, 'sample')", r#"{"a":[1]}"#, "null"),
    ],
    prepare: |arguments| word(arguments.get(1), "kind", KINDS).map(|_| Prepared::Nothing),
    eval: |arguments, _| {
        let sample = chosen(arguments.get(1), "kind", KINDS)? == 1;
        // Welford: one pass, no large squares.
        let (mut count, mut mean, mut squares) = (0_u32, 0.0, 0.0);
        for element in elements(arguments, 0) {
            let Some(num) = number("array_stddev", element)? else { continue };
            count += 1;
            let value = num.as_f64();
            let off = value - mean;
            mean += off / f64::from(count);
            squares += off * (value - mean);
        }
        let over = if sample { count.saturating_sub(1) } else { count };
        if over == 0 { Ok(Value::Null) } else { finite((squares / f64::from(over)).sqrt()) }
    },
    ..MATH
};

/// The kinds of deviations.
const KINDS: [&str; 2] = ["population", "sample"];

/// The directions of sorting.
const ORDERS: [&str; 2] = ["asc", "desc"];

/// Which of two words a text is, without regard to case.
fn which(text: &str, what: &str, words: [&str; 2]) -> Result<usize, Problem> {
    words.iter().position(|word| word.eq_ignore_ascii_case(text)).ok_or_else(|| Problem {
        message: format!("there is no {what} '{text}'"),
        expected: format!("'{}' or '{}'", words[0], words[1]),
    })
}

/// Refuses a constant that is none of two words.
fn word(
    argument: Option<&Option<&Const>>,
    what: &str,
    words: [&str; 2],
) -> Result<Prepared, Problem> {
    match argument {
        Some(Some(Const::String(text))) => which(text, what, words).map(|_| Prepared::Nothing),
        _ => Ok(Prepared::Nothing),
    }
}

/// Which of two words an argument is; the first when it is left out.
fn chosen(argument: Option<&Value<'_>>, what: &str, words: [&str; 2]) -> Result<usize, Fault> {
    match argument {
        Some(Value::String(text)) => {
            which(text, what, words).map_err(|problem| compose::fault("domain", &problem))
        }
        _ => Ok(0),
    }
}

/// The element that comes first by `<` (or last), without `null`; NULL for none.
fn extreme<'a>(arguments: &[Value<'a>], wanted: Ordering) -> Result<Value<'a>, Fault> {
    let mut mixed = None;
    let Some(whole) = arguments.first() else { return Ok(Value::Missing) };
    let best = part(whole, |raw| {
        let mut best: Option<(&[u8], Value<'_>)> = None;
        for element in json::elements(raw).filter(|element| *element != b"null") {
            let value = Value::read(element);
            let have = best.as_ref().map_or(&value, |(_, have)| have);
            let alike = have.type_name() == value.type_name();
            match value.relate(have).order().filter(|_| alike) {
                Some(order) if order == wanted || best.is_none() => best = Some((element, value)),
                Some(_) => {}
                None => mixed = Some(value.type_name()),
            }
        }
        best.map(|(element, _)| element)
    })?;
    if let Some(kind) = mixed {
        let message = format!("an element of type {kind} has no order with the others");
        let hint = "the elements have to be all NUMBERs or all STRINGs";
        return Err(Fault::new("wrong_type", message).because(hint));
    }
    Ok(if best == Value::Missing { Value::Null } else { best })
}

pub(in crate::functions) const ARRAY_MAX: Function = Function {
    name: "array_max",
    signature: "array_max(array)",
    result: Kind::Any,
    summary: "The greatest of the elements, all NUMBERs or all STRINGs; `null` is left out; NULL for \
              none.",
    examples: &[
        example("array_max(a)", r#"{"a":[3,null,7.50,1]}"#, "7.50"),
        example("array_max(a)", r#"{"a":["a","温","b"]}"#, r#""温""#),
        example("array_max(a)", r#"{"a":[]}"#, "null"),
        missing("array_max(a)", r#"{"a":[1,true]}"#),
    ],
    eval: |arguments, _| extreme(arguments, Ordering::Greater),
    ..MATH
};

pub(in crate::functions) const ARRAY_MIN: Function = Function {
    name: "array_min",
    signature: "array_min(array)",
    result: Kind::Any,
    summary: "The least of the elements, all NUMBERs or all STRINGs; `null` is left out; NULL for \
              none.",
    examples: &[
        example("array_min(a)", r#"{"a":[3,null,1.0,7]}"#, "1.0"),
        example(
            "array_min(a)",
            r#"{"a":[18446744073709551615,18446744073709551614]}"#,
            "18446744073709551614",
        ),
        example("array_min(a)", r#"{"a":[null]}"#, "null"),
    ],
    eval: |arguments, _| extreme(arguments, Ordering::Less),
    ..MATH
};

/// What an element sorts by. Derived in this order: numbers, texts, booleans, the rest.
enum Rank<'t> {
    Number(Num),
    Text(Cow<'t, str>),
    Bool(bool),
    /// Arrays, then objects: no order among themselves.
    Deep(u8),
    Null,
}

impl<'t> Rank<'t> {
    fn of(raw: Option<&'t [u8]>) -> Self {
        match raw.map_or(Value::Missing, Value::read) {
            Value::Number(number) => Self::Number(number.num),
            Value::String(text) => Self::Text(text),
            Value::Bool(value) => Self::Bool(value),
            Value::Json(text) => Self::Deep(u8::from(text.starts_with('{'))),
            Value::Null | Value::Missing | Value::Binary(_) => Self::Null,
        }
    }

    fn class(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Text(_) => 1,
            Self::Bool(_) => 2,
            Self::Deep(_) => 3,
            Self::Null => 4,
        }
    }

    fn compare(&self, other: &Self, descending: bool) -> Ordering {
        let order = match (self, other) {
            // `null` is last in both directions.
            (Self::Null, _) | (_, Self::Null) => return self.class().cmp(&other.class()),
            (Self::Number(a), Self::Number(b)) => a.compare(*b),
            (Self::Text(a), Self::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Deep(a), Self::Deep(b)) => a.cmp(b),
            _ => self.class().cmp(&other.class()),
        };
        if descending { order.reverse() } else { order }
    }
}

/// The elements of an array, sorted by what `by` finds in each. Equal ones keep their order.
fn sorted<'a>(
    array: &[u8],
    descending: bool,
    by: impl for<'t> Fn(&'t [u8]) -> Option<&'t [u8]>,
) -> Result<Value<'a>, Fault> {
    let mut list: Vec<(Rank<'_>, &[u8])> =
        json::elements(array).map(|element| (Rank::of(by(element)), element)).collect();
    list.sort_by(|(a, _), (b, _)| a.compare(b, descending));
    let mut out = Writer::array(array.len());
    list.iter().try_for_each(|(_, element)| out.raw(element))?;
    out.end_array()
}

/// Each element is compared with some twenty others.
const SORTED: Price = Price::new(1_000, 450);

pub(in crate::functions) const ARRAY_SORT: Function = Function {
    name: "array_sort",
    aliases: &["sort"],
    signature: "array_sort(array[, order])",
    params: &[required("array", Kind::Array), optional("order", Kind::Text)],
    price: SORTED,
    result: Kind::Array,
    summary: "The elements sorted, `'asc'` (the default) or `'desc'`: numbers by value, then texts \
              by code point, FALSE and TRUE, arrays, objects; `null` is last in both orders. Equal \
              ones keep their order.",
    examples: &[
        example("array_sort(a)", r#"{"a":[3,2,"b","a"]}"#, r#"[2,3,"a","b"]"#),
        example("array_sort(a, 'desc')", r#"{"a":[1,null,3,2.0]}"#, "[3,2.0,1,null]"),
        example(
            "array_sort(a)",
            r#"{"a":[{},null,"10",[],true,9007199254740993,9007199254740992.0,false]}"#,
            r#"[9007199254740992.0,9007199254740993,"10",false,true,[],{},null]"#,
        ),
    ],
    prepare: |arguments| word(arguments.get(1), "order", ORDERS),
    eval: |arguments, _| {
        let descending = chosen(arguments.get(1), "order", ORDERS)? == 1;
        sorted(raw(arguments, 0), descending, |element| Some(element))
    },
    ..MATH
};

/// Refuses a wrong order and keeps the path.
const PATH_AND_ORDER: Prepare = |arguments| {
    word(arguments.get(2), "order", ORDERS)?;
    compose::prepare_path(arguments.get(1))
};

pub(in crate::functions) const ARRAY_SORT_BY: Function = Function {
    name: "array_sort_by",
    signature: "array_sort_by(array, path[, order])",
    params: &[
        required("array", Kind::Array),
        required("path", Kind::Text),
        optional("order", Kind::Text),
    ],
    result: Kind::Array,
    summary: "The elements sorted by what each holds at a key or path, in the order of array_sort; \
              those that hold nothing there are last.",
    examples: &[
        example(
            "array_sort_by(a, 't', 'desc')",
            r#"{"a":[{"t":1},{"t":3},{"x":0},{"t":2}]}"#,
            r#"[{"t":3},{"t":2},{"t":1},{"x":0}]"#,
        ),
        example("array_sort_by(a, '[1]')", r#"{"a":[[1,"b"],[2,"a"]]}"#, r#"[[2,"a"],[1,"b"]]"#),
    ],
    prepare: PATH_AND_ORDER,
    eval: |arguments, site| {
        let descending = chosen(arguments.get(2), "order", ORDERS)? == 1;
        let key = text(arguments, 1);
        let steps = compose::steps(site, key)?;
        sorted(raw(arguments, 0), descending, |element| compose::look(element, key, &steps))
    },
    ..MATH
};
