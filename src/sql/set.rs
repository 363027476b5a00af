//! Lists of constants for IN, looked up instead of compared one by one.

use std::collections::HashSet;

use super::expr::Const;
use super::number::Num;
use super::value::Value;

/// A list of constants.
#[derive(Debug)]
pub(crate) struct Set {
    /// Sorted by value.
    numbers: Vec<Num>,
    /// The numbers that strings of the list read as, sorted by value.
    readings: Vec<Num>,
    strings: HashSet<Box<[u8]>, foldhash::fast::RandomState>,
    truths: [bool; 2],
    null: bool,
}

impl Set {
    pub(crate) fn new(list: impl Iterator<Item = Const>) -> Self {
        let mut set = Self {
            numbers: Vec::new(),
            readings: Vec::new(),
            strings: HashSet::default(),
            truths: [false; 2],
            null: false,
        };
        for value in list {
            match value {
                Const::Null => set.null = true,
                Const::Bool(value) => set.truths[usize::from(value)] = true,
                Const::Number(num, _) => set.numbers.push(num),
                Const::String(text) => {
                    set.readings.extend(Num::parse(text.as_bytes()));
                    set.strings.insert(text.into_bytes().into());
                }
            }
        }
        set.numbers.sort_by(|a, b| a.compare(*b));
        set.readings.sort_by(|a, b| a.compare(*b));
        set
    }

    /// The constants, each kind in its order; equal numbers keep one text.
    pub(crate) fn constants(&self) -> Vec<Const> {
        let mut strings: Vec<&[u8]> = self.strings.iter().map(AsRef::as_ref).collect();
        strings.sort_unstable();
        let text = |bytes: &[u8]| Const::String(String::from_utf8_lossy(bytes).into_owned());
        let truths = [false, true].into_iter().filter(|value| self.truths[usize::from(*value)]);
        let numbers = self.numbers.iter().map(|num| Const::Number(*num, literal(*num)));
        numbers
            .chain(strings.into_iter().map(text))
            .chain(truths.map(Const::Bool))
            .chain(self.null.then_some(Const::Null))
            .collect()
    }

    /// The answer to IN; `None` is UNKNOWN.
    pub(crate) fn contains(&self, value: &Value<'_>) -> Option<bool> {
        match value {
            Value::Missing | Value::Null => None,
            Value::Number(number) => self.number(number.num),
            Value::String(text) => self.string(text.as_bytes()),
            Value::Bool(value) => self.answer(self.truths[usize::from(*value)]),
            Value::Binary(bytes) => self.answer(self.strings.contains(&**bytes)),
            Value::Json(_) => self.answer(false),
        }
    }

    pub(crate) fn number(&self, num: Num) -> Option<bool> {
        let among = |list: &[Num]| list.binary_search_by(|have| have.compare(num)).is_ok();
        self.answer(among(&self.numbers) || among(&self.readings))
    }

    pub(crate) fn string(&self, text: &[u8]) -> Option<bool> {
        if self.strings.contains(text) {
            return Some(true);
        }
        let reading = if self.numbers.is_empty() { None } else { Num::parse(text) };
        self.answer(
            reading
                .is_some_and(|num| self.numbers.binary_search_by(|have| have.compare(num)).is_ok()),
        )
    }

    fn answer(&self, found: bool) -> Option<bool> {
        if found {
            Some(true)
        } else if self.null {
            None
        } else {
            Some(false)
        }
    }
}

/// A number as a constant of SQL.
pub(crate) fn literal(num: Num) -> String {
    match num {
        // Only a number that was read can be infinite.
        Num::Float(value) if value.is_infinite() => {
            if value > 0.0 {
                "1e999".into()
            } else {
                "-1e999".into()
            }
        }
        // `-0.0` is the number 0.
        Num::Float(0.0) => "0".into(),
        num => num.text(),
    }
}
