//! Calls of functions made from bytes: any function of the table, with values that are almost right.
//!
//! Whether they work is looked at by `targets::call`.

use serde_json::Value;
use tidegate::sql::functions::{FUNCTIONS, Function, Kind};

/// A call and the values of `v0`, `v1`, … in the document that it reads, as JSON.
pub fn make(data: &[u8]) -> (String, Vec<String>) {
    let mut values = Vec::new();
    let call = written(&mut Choices(data), &mut values, 2);
    (call, values)
}

/// Reads choices from bytes; zeros when they are used up.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, bound: usize) -> usize {
        let wide = usize::from(self.byte()) << 8 | usize::from(self.byte());
        wide % bound.max(1)
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn rest(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "10",
    "-2",
    "64",
    "63",
    "100",
    "255",
    "65536",
    "1000000",
    "0.5",
    "-0.5",
    "1.5",
    "2.5e-3",
    "1e10",
    "1e300",
    "-1e300",
    "1e-320",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
    "-0",
    "0.1",
    "1543373798943",
    "253402300799999",
    "-62135596800001",
    "90",
    "180",
    "-180.5",
    "360",
    "1e19",
    "-1e19",
];

const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "abc",
    "温度传感器",
    "😀é\u{301}",
    "a,b,,c",
    "\u{0}",
    "\u{feff}x",
    "İ",
    "ß",
    "%",
    "%s %d %5.2f %x %%",
    "%-999999999d",
    "%.400f",
    "yyyy-MM-dd HH:mm:ss.SSSXXX",
    "yyyy'",
    "%Y-%m-%dT%H:%M:%S%z",
    "2024-02-29T23:59:59.999999999+08:00",
    "2024-02-30",
    "9999-12-31T23:59:60Z",
    "-009999-01-01T00:00:00Z",
    "Asia/Shanghai",
    "UTC",
    "+99:99",
    "day",
    "month",
    "ms",
    "(a+)+$",
    "(a{0,1000}){0,1000}",
    "[",
    "(?i)x|",
    "^$",
    "\\b",
    "$1${a}",
    "{\"a\":[1,null]}",
    "[[[]]]",
    "{",
    "SGVsbG8=",
    "SGVsbG8",
    "!!!!",
    "48656c6c6f",
    "0x",
    "zz",
    "MD5",
    "SHA-256",
    "base64",
    "hex",
    "gzip",
    "utf-8",
    "a.b[0]",
    "$.a[*]",
    "-1e5",
    "NaN",
    "1_000",
    "\\",
    "'",
    "\"",
    "POLYGON",
    "116.4,39.9",
    "wx4g0",
    "true",
    "null",
];

/// Texts in quotes in a function's examples: formats, names of algorithms, units.
fn own_texts(function: &Function) -> Vec<&'static str> {
    let sql = function.examples.iter().map(|example| example.sql);
    sql.flat_map(|sql| sql.split('\'').skip(1).step_by(2)).collect()
}

/// A value as JSON text that an argument of a kind may be.
fn value(from: &mut Choices<'_>, kind: Kind, own: &[&'static str], deep: usize) -> String {
    let quote = |text: &str| Value::String(text.to_owned()).to_string();
    let kind = if from.below(5) == 0 { Kind::Any } else { kind };
    match kind {
        Kind::Number | Kind::Integer => from.of(NUMBERS).to_owned(),
        Kind::Boolean => from.of(&["true", "false"]).to_owned(),
        Kind::Text | Kind::Bytes => match from.below(8) {
            0 => quote(&String::from_utf8_lossy(from.rest(24))),
            1 => quote(&from.of(TEXTS).repeat(from.below(400))),
            2..=4 if !own.is_empty() => quote(from.of(own)),
            _ => quote(from.of(TEXTS)),
        },
        Kind::Array | Kind::Object | Kind::Any if deep == 0 => {
            from.of(&["null", "[]", "{}", "1", "\"a\"", "true", "[1]"]).to_owned()
        }
        Kind::Array => {
            let kind = from.of(&[Kind::Any, Kind::Number, Kind::Text, Kind::Array, Kind::Object]);
            let list: Vec<String> =
                (0..from.below(6)).map(|_| value(from, kind, own, deep - 1)).collect();
            format!("[{}]", list.join(","))
        }
        Kind::Object => {
            let keys = ["a", "b", "key", "value", "温", "lat", "lon", "a"];
            let member = |from: &mut Choices<'_>| {
                let key = from.of(&keys);
                format!("\"{key}\":{}", value(from, Kind::Any, own, deep - 1))
            };
            let list: Vec<String> = (0..from.below(5)).map(|_| member(from)).collect();
            format!("{{{}}}", list.join(","))
        }
        Kind::Any => {
            let kind = from.of(&[
                Kind::Any,
                Kind::Number,
                Kind::Text,
                Kind::Array,
                Kind::Object,
                Kind::Boolean,
            ]);
            value(from, kind, own, deep - 1)
        }
    }
}

/// Writes a call of any function and the payload's values for its arguments, chosen by bytes.
fn written(from: &mut Choices<'_>, values: &mut Vec<String>, deep: usize) -> String {
    let function = &FUNCTIONS[from.below(FUNCTIONS.len())];
    let own = own_texts(function);
    let (least, most) = function.arity();
    let count = least + from.below(most.min(least + 4) - least + 1);
    let mut arguments = Vec::with_capacity(count);
    for at in 0..count {
        let kind = function.kind(at);
        arguments.push(match from.below(8) {
            0 if kind == Kind::Bytes => "*".to_owned(),
            1 if deep > 0 => written(from, values, deep - 1),
            2..=4 => match value(from, kind, &own, 0) {
                text if text.starts_with('"') => {
                    let text: String = serde_json::from_str(&text).expect("our own text");
                    format!("'{}'", text.replace('\'', "''"))
                }
                text if text.starts_with(['[', '{']) => "null".to_owned(),
                text => text,
            },
            _ => {
                values.push(value(from, kind, &own, 3));
                format!("v{}", values.len() - 1)
            }
        });
    }
    format!("{}({})", function.name, arguments.join(", "))
}
