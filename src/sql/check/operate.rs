//! Operators, CASE and calls whose operands never fit.

use std::collections::HashSet;

use super::compare::apart;
use super::{Finding, condition, kind};
use crate::error::{Error, Position};
use crate::expr::{Arithmetic, Call, Case, Const, Expr};
use crate::functions::{Function, Kind};
use crate::lex;
use crate::number::Num;
use crate::print::{Printer, constant};

pub(super) fn arithmetic(
    expr: &Expr,
    first: &Expr,
    rest: &[(Arithmetic, Expr)],
    printer: &Printer<'_>,
) -> Option<Finding> {
    let text = || lex::shorten(&printer.expr(expr));
    let null = |expr: &Expr| matches!(expr, Expr::Const(Const::Null));
    if null(first) || rest.iter().any(|(_, right)| null(right)) {
        return Some(Finding::new(
            format!("`{}` is never anything but NULL or MISSING", text()),
            "nanvl(x, 0) puts a number in the place of NULL",
        ));
    }
    for (at, (op, right)) in rest.iter().enumerate() {
        let zero = |expr: &Expr| match expr {
            Expr::Const(value) => value.value().as_num().is_some_and(|num| num.as_f64() == 0.0),
            _ => false,
        };
        let divides =
            matches!(op, Arithmetic::Divide | Arithmetic::Modulo | Arithmetic::IntegerDivide);
        if divides && zero(right) {
            let message = format!("`{}` is always MISSING: division by zero", text());
            return Some(Finding::new(message, "divide by something else"));
        }
        if *op == Arithmetic::Concat {
            continue;
        }
        let left = if at == 0 { Some(first) } else { None };
        for operand in left.into_iter().chain([right]) {
            if let Some(kind @ (Kind::Boolean | Kind::Array | Kind::Object | Kind::Bytes)) =
                kind(operand)
            {
                let message = format!(
                    "`{}` is always MISSING: `{}` takes a NUMBER, not {}",
                    text(),
                    op.sign(),
                    kind.name()
                );
                return Some(Finding::new(message, "CASE WHEN x THEN 1 ELSE 0 END makes a number"));
            }
        }
    }
    None
}

/// A constant operand of arithmetic that is no number: never right.
pub(crate) fn operands(
    first: &Expr,
    rest: &[(Arithmetic, Expr)],
    at: Position,
) -> Result<(), Error> {
    let wrong = |expr: &Expr| match expr {
        Expr::Const(value @ Const::String(_)) if value.value().as_num().is_none() => {
            Some(constant(value))
        }
        _ => None,
    };
    for (place, (op, right)) in rest.iter().enumerate() {
        if *op == Arithmetic::Concat {
            continue;
        }
        let left = if place == 0 { wrong(first) } else { None };
        let Some(text) = left.or_else(|| wrong(right)) else { continue };
        let sign = op.sign();
        let message =
            format!("`{sign}` takes numbers, and {} does not read as one", lex::shorten(&text));
        let hint = match op {
            Arithmetic::Add => "`||` and concat() join text; a field stands without single quotes",
            _ => "a field stands without single quotes",
        };
        return Err(Error::at(at, message).expected("a number").hint(hint));
    }
    Ok(())
}

pub(super) fn case(case: &Case, printer: &Printer<'_>) -> Option<Finding> {
    let Some(operand) = &case.operand else {
        return case.arms.iter().find_map(|(arm, _)| {
            let never = match arm {
                Expr::Const(constant) => constant.value().truth() != Some(true),
                _ => false,
            };
            if never {
                let text = printer.expr(arm);
                let message = format!("`WHEN {text}` is never reached: it is not TRUE");
                return Some(Finding::new(message, "take the WHEN out"));
            }
            condition(arm, printer)
        });
    };
    let mut seen = HashSet::new();
    case.arms.iter().find_map(|(arm, _)| {
        let Expr::Const(value) = arm else { return None };
        let text = lex::shorten(&constant(value));
        if *value == Const::Null {
            let hint = "write CASE WHEN x IS NULL THEN …";
            return Some(Finding::new("`WHEN NULL` is never reached: NULL equals nothing", hint));
        }
        if let Some(why) = apart(operand, arm, printer) {
            let message = format!("`WHEN {text}` is never reached: {why}");
            return Some(Finding::new(message, "compare values of one type"));
        }
        let twice = !seen.insert(constant(value));
        twice.then(|| {
            let message = format!("`WHEN {text}` is never reached: it is there twice");
            Finding::new(message, "take the second one out")
        })
    })
}

/// An argument whose kind is known and that the function never takes.
pub(super) fn call(call: &Call, printer: &Printer<'_>) -> Option<Finding> {
    let own = call.function.reads.len();
    let arguments = call.arguments.iter().skip(own).enumerate();
    let mut wrong = arguments.filter_map(|(at, argument)| {
        let (have, wanted) = (kind(argument)?, call.function.kind(at));
        (!takes(wanted, have)).then(|| {
            let name = call.function.name;
            Finding::new(
                format!(
                    "`{name}` takes {}, and {} is {}: the result is always MISSING",
                    wanted.name(),
                    lex::shorten(&printer.expr(argument)),
                    have.name()
                ),
                usage(call.function),
            )
        })
    });
    wrong.next()
}

/// True when a value of a kind can be an argument.
fn takes(wanted: Kind, have: Kind) -> bool {
    match wanted {
        Kind::Any => true,
        Kind::Boolean => have == Kind::Boolean,
        Kind::Number | Kind::Integer => matches!(have, Kind::Number | Kind::Text),
        Kind::Text => matches!(have, Kind::Text | Kind::Number | Kind::Boolean),
        Kind::Bytes => !matches!(have, Kind::Array | Kind::Object),
        Kind::Array | Kind::Object => have == wanted,
    }
}

/// A constant argument that a function never takes: never right.
pub(crate) fn argument(
    function: &Function,
    at: usize,
    value: &Const,
    place: Position,
) -> Result<(), Error> {
    let mut coerced = value.value();
    let wanted = function.kind(at);
    if wanted.coerce(function.name, &mut coerced).is_ok() {
        return Ok(());
    }
    let text = lex::shorten(&constant(value));
    let name = function.name;
    Err(Error::at(place, format!("`{name}` takes {}, and {text} is none", wanted.name()))
        .expected(format!("`{}`", function.signature))
        .hint(match value {
            Const::String(_) => {
                format!("{}; a field stands without single quotes", usage(function))
            }
            _ => usage(function),
        }))
}

/// How a function is used, by its first example.
pub(crate) fn usage(function: &Function) -> String {
    let example = function.examples.first().map_or(function.signature, |example| example.sql);
    format!("for example `{example}`")
}

/// Constants that stand in a list of IN more than once.
pub(crate) fn repeated<'c>(list: impl Iterator<Item = &'c Const>) -> Option<Finding> {
    let mut seen = HashSet::new();
    let mut twice: Vec<String> = Vec::new();
    for value in list {
        let text = match value {
            // 1 and 1.0 are one number.
            Const::Number(num, _) => Num::text(Num::from_f64(num.as_f64()).unwrap_or(*num)),
            other => constant(other),
        };
        let exact = match value {
            Const::Number(num, text) if num.as_i128().is_some() => text.clone(),
            _ => text,
        };
        if !seen.insert(exact.clone()) {
            twice.push(exact);
        }
    }
    let first = lex::shorten(twice.first()?);
    let more = match twice.len() {
        1 => String::new(),
        count => format!(", and so do {} more", count - 1),
    };
    Some(Finding::new(format!("{first} stands in the list twice{more}"), "once is enough"))
}
