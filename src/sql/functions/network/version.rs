//! Functions of version numbers, such as those of firmware.
//!
//! The order is that of Semantic Versioning 2.0 §11, over any count of numbers (`1.2` is `1.2.0`),
//! with an optional `v` before them and any length of digits.

use std::cmp::Ordering;

use crate::expr::Const;
use crate::functions::{Depends, Fault, Function, Kind, NO_PREPARE, Nulls, Prepared, Problem};
use crate::functions::{example, missing, required};
use crate::lex::shorten;
use crate::number::Num;
use crate::value::Value;
use crate::work::Price;

/// What all functions here share.
const VERSION: Function = Function {
    name: "",
    aliases: &[],
    family: "network",
    signature: "",
    price: Price::new(2_000, 60),
    params: &[],
    rest: None,
    result: Kind::Boolean,
    nulls: Nulls::Propagate,
    reads: &[],
    spreads: false,
    depends: Depends::Arguments,
    summary: "",
    examples: &[],
    prepare: NO_PREPARE,
    eval: |_, _| Ok(Value::Missing),
};

/// A version taken apart.
#[derive(Debug, Clone, Copy)]
struct Version<'a> {
    /// Digits between dots.
    numbers: &'a str,
    /// Behind a hyphen: `rc.1`; empty for a release.
    before: &'a str,
}

impl<'a> Version<'a> {
    fn parse(text: &'a str) -> Result<Self, Fault> {
        let wrong = || {
            Fault::new("domain", format!("`{}` is no version", shorten(text)))
                .because("it takes one such as '1.12.0' or 'v2.0.0-rc.1'")
        };
        let rest = text.strip_prefix(['v', 'V']).unwrap_or(text);
        // What follows a plus sign has no part in the order.
        let rest = rest.split_once('+').map_or(rest, |(rest, _)| rest);
        let (numbers, before) = match rest.split_once('-') {
            Some((_, "")) => return Err(wrong()),
            Some(parts) => parts,
            None => (rest, ""),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let fine =
            numbers.split('.').all(digits) && (before.is_empty() || before.split('.').all(word));
        if fine { Ok(Self { numbers, before }) } else { Err(wrong()) }
    }

    fn compare(self, other: Self) -> Ordering {
        let (mut a, mut b) = (self.numbers.split('.'), other.numbers.split('.'));
        loop {
            match (a.next(), b.next()) {
                (None, None) => break,
                (a, b) => match digits(a.unwrap_or("0"), b.unwrap_or("0")) {
                    Ordering::Equal => {}
                    order => return order,
                },
            }
        }
        match (self.before.is_empty(), other.before.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => return Ordering::Greater,
            (false, true) => return Ordering::Less,
            (false, false) => {}
        }
        let (mut a, mut b) = (self.before.split('.'), other.before.split('.'));
        loop {
            let order = match (a.next(), b.next()) {
                (None, None) => return Ordering::Equal,
                (None, Some(_)) => Ordering::Less,
                (Some(_), None) => Ordering::Greater,
                (Some(a), Some(b)) => word(a, b),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
    }
}

/// Numbers of any length.
fn digits(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Parts behind the hyphen: numbers come before words.
fn word(a: &str, b: &str) -> Ordering {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    match (number(a), number(b)) {
        (true, true) => digits(a, b),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    }
}

/// Whether a version is in a range: conditions beside each other hold together, `||` separates
/// alternatives. `None` checks the range alone.
fn in_range(version: Option<Version<'_>>, range: &str) -> Result<bool, Fault> {
    let mut found = false;
    for alternative in range.split("||") {
        let mut all = true;
        let mut any = false;
        for condition in alternative.split_ascii_whitespace() {
            let bare = condition.trim_start_matches(['<', '>', '=']);
            let (sign, _) = condition.split_at(condition.len() - bare.len());
            if bare.is_empty() {
                let message = format!("`{}` has no version", shorten(condition));
                return Err(Fault::new("domain", message)
                    .because("no space stands between the sign and the version"));
            }
            let bound = Version::parse(bare)?;
            let order = version.map_or(Ordering::Equal, |version| version.compare(bound));
            all &= match sign {
                "" | "=" => order.is_eq(),
                ">" => order.is_gt(),
                ">=" => order.is_ge(),
                "<" => order.is_lt(),
                "<=" => order.is_le(),
                _ => {
                    let message = format!("`{}` is no condition", shorten(condition));
                    return Err(Fault::new("domain", message)
                        .because("a version stands alone or behind <, <=, =, >= or >"));
                }
            };
            any = true;
        }
        if !any {
            let message = format!("`{}` is no range of versions", shorten(range));
            return Err(Fault::new("domain", message).because("it takes one such as '>=1.2 <2'"));
        }
        found |= all;
    }
    Ok(found)
}

fn text<'v>(arguments: &'v [Value<'_>], index: usize) -> &'v str {
    match arguments.get(index) {
        Some(Value::String(text)) => text,
        _ => "",
    }
}

pub(in crate::functions) const VERSION_COMPARE: Function = Function {
    name: "version_compare",
    signature: "version_compare(a, b)",
    params: &[required("a", Kind::Text), required("b", Kind::Text)],
    result: Kind::Number,
    summary: "-1, 0 or 1: how two versions such as '1.12.0', 'v2.1' or '2.0.0-rc.1' compare, in the \
              order of Semantic Versioning; missing numbers count as 0.",
    examples: &[
        example("version_compare(fw, '1.10')", r#"{"fw":"1.9.3"}"#, "-1"),
        example("version_compare('v1.2', '1.2.0')", "{}", "0"),
        example("version_compare('2.0.0', '2.0.0-rc.1')", "{}", "1"),
        missing("version_compare(a, '1')", r#"{"a":"latest"}"#),
    ],
    prepare: |arguments| {
        for constant in arguments.iter().flatten() {
            if let Const::String(text) = constant {
                Version::parse(text).map_err(problem)?;
            }
        }
        Ok(Prepared::Nothing)
    },
    eval: |arguments, _| {
        let (a, b) = (Version::parse(text(arguments, 0))?, Version::parse(text(arguments, 1))?);
        Ok(Value::number(Num::Int(a.compare(b) as i64)))
    },
    ..VERSION
};

pub(in crate::functions) const VERSION_IN_RANGE: Function = Function {
    name: "version_in_range",
    signature: "version_in_range(version, range)",
    params: &[required("version", Kind::Text), required("range", Kind::Text)],
    summary: "Whether a version is in a range: conditions with <, <=, =, >=, > beside each other hold \
              together, `||` separates alternatives. The order is that of version_compare.",
    examples: &[
        example("version_in_range(fw, '>=1.2 <2')", r#"{"fw":"1.10.1"}"#, "true"),
        example("version_in_range('2.0.0', '>=1.2 <2 || 3.1')", "{}", "false"),
        example("version_in_range('2.0.0-rc.1', '<2')", "{}", "true"),
        missing("version_in_range('1', r)", r#"{"r":"~1.2"}"#),
    ],
    prepare: |arguments| {
        if let Some(Some(Const::String(version))) = arguments.first() {
            Version::parse(version).map_err(problem)?;
        }
        if let Some(Some(Const::String(range))) = arguments.get(1) {
            in_range(None, range).map_err(problem)?;
        }
        Ok(Prepared::Nothing)
    },
    eval: |arguments, _| {
        let version = Version::parse(text(arguments, 0))?;
        in_range(Some(version), text(arguments, 1)).map(Value::Bool)
    },
    ..VERSION
};

fn problem(fault: Fault) -> Problem {
    Problem { message: fault.message, expected: "versions such as '1.12.0' or '2.0.0-rc.1'".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_an_order() {
        // The last line is the example of Semantic Versioning 2.0 §11.4.4.
        let ordered = [
            "0",
            "0.0.1",
            "0.9",
            "0.10",
            "0.99999999999999999999999",
            "0.100000000000000000000000",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
        ];
        let parse = |text| Version::parse(text).expect("a version");
        for (at, a) in ordered.iter().enumerate() {
            for (other, b) in ordered.iter().enumerate() {
                assert_eq!(parse(a).compare(parse(b)), at.cmp(&other), "{a} and {b}");
            }
        }
        assert!(parse("V1.02+build.7").compare(parse("1.2.0.0")).is_eq());
        for text in ["", "v", "1.", ".1", "1..2", "1.a", "1-", "1-a..b", "1.2_3", "一", "vv1", "1 "]
        {
            assert!(Version::parse(text).is_err(), "{text}");
        }
    }
}
