//! Comparisons that never hold, alone or together.

use std::collections::HashMap;

use super::bounds::{self, Constraint};
use super::{Finding, kind};
use crate::expr::{Call, Comparison, Const, Expr};
use crate::functions::Kind;
use crate::lex;
use crate::like::Pattern;
use crate::print::{Printer, constant};

/// What an operator makes of two kinds of values, one of which may be a constant: why they are
/// never equal. `None` when they can be.
pub(super) fn apart(left: &Expr, right: &Expr, printer: &Printer<'_>) -> Option<String> {
    let (a, b) = (kind(left)?, kind(right)?);
    let numeric = |expr: &Expr| match expr {
        Expr::Const(constant) => constant.value().as_num().is_some(),
        _ => true,
    };
    let fits = match (a, b) {
        (Kind::Number, Kind::Text) => numeric(right),
        (Kind::Text, Kind::Number) => numeric(left),
        (a, b) => a == b,
    };
    let shown = |expr: &Expr, kind: Kind| {
        let text = lex::shorten(&printer.expr(expr));
        match (expr, kind) {
            (Expr::Const(_), Kind::Text) => format!("{text} is a STRING"),
            (_, Kind::Bytes) => format!("{text} is BINARY"),
            (_, kind) => format!("{text} is {}", kind.name()),
        }
    };
    (!fits).then(|| format!("{}, {}", shown(left, a), shown(right, b)))
}

pub(super) fn compare(
    expr: &Expr,
    op: Comparison,
    left: &Expr,
    right: &Expr,
    printer: &Printer<'_>,
) -> Option<Finding> {
    let text = || lex::shorten(&printer.expr(expr));
    let null = |expr: &Expr| matches!(expr, Expr::Const(Const::Null));
    if null(left) || null(right) {
        let other = printer.expr(if null(left) { right } else { left });
        let not = if op == Comparison::NotEqual { "NOT " } else { "" };
        return Some(Finding::never(
            &text(),
            "comparing with NULL is UNKNOWN",
            format!("write `{} IS {not}NULL`", lex::shorten(&other)),
        ));
    }
    if let Some(why) = apart(left, right, printer) {
        let hint = "compare values of one type; text that reads as a number compares with numbers";
        return Some(match op {
            Comparison::NotEqual => {
                Finding::new(format!("`{}` is TRUE for everything but NULL: {why}", text()), hint)
            }
            _ => Finding::never(&text(), &why, hint),
        });
    }
    let (call, op, value) = match (left, right) {
        (Expr::Call(call), Expr::Const(value)) => (call, op, value),
        (Expr::Const(value), Expr::Call(call)) => (call, op.mirrored(), value),
        _ => return None,
    };
    if op == Comparison::Equal
        && let Const::String(wanted) = value
        && let Some(case) = wrong_case(call, wanted)
    {
        return Some(Finding::never(&text(), &case.0, case.1));
    }
    let (low, high) = bounds::range(call.function)?;
    let num = value.value().as_num()?;
    if bounds::within(op, num, low, high) {
        return None;
    }
    let name = call.function.name;
    let range = if high.is_finite() {
        format!("{name}() gives numbers from {low} to {high}")
    } else {
        format!("{name}() gives no number below {low}")
    };
    Some(Finding::never(&text(), &range, "correct the bound"))
}

/// Why the result of `upper` or `lower` is never that text, and what to do.
fn wrong_case(call: &Call, wanted: &str) -> Option<(String, String)> {
    let (right, which) = match call.function.name {
        "upper" => (wanted.to_uppercase(), "upper() gives no lower-case letters"),
        "lower" => (wanted.to_lowercase(), "lower() gives no upper-case letters"),
        _ => return None,
    };
    (right != wanted).then(|| {
        let hint = format!("write `{}`", lex::shorten(&constant(&Const::String(right))));
        (which.to_owned(), hint)
    })
}

pub(super) fn between(
    expr: &Expr,
    negated: bool,
    parts: &[Expr; 3],
    printer: &Printer<'_>,
) -> Option<Finding> {
    let text = || lex::shorten(&printer.expr(expr));
    let [value, low, high] = parts;
    if [low, high].iter().any(|bound| matches!(bound, Expr::Const(Const::Null))) {
        let hint = "write one bound as `>=` or `<=`";
        return Some(Finding::never(&text(), "comparing with NULL is UNKNOWN", hint));
    }
    let (Expr::Const(first), Expr::Const(last)) = (low, high) else { return None };
    if let Some(why) = apart(value, low, printer).or_else(|| apart(value, high, printer)) {
        return Some(Finding::never(&text(), &why, "compare values of one type"));
    }
    let empty = match (first, last) {
        (Const::Number(a, _), Const::Number(b, _)) => a.compare(*b).is_gt(),
        _ => false,
    };
    let hint = format!(
        "the smaller bound comes first: BETWEEN {} AND {}",
        constant(last),
        constant(first)
    );
    match (empty, negated) {
        (false, _) => None,
        (true, false) => Some(Finding::never(&text(), "the range is empty", hint)),
        (true, true) => {
            let message = format!("`{}` is TRUE for every number: the range is empty", text());
            Some(Finding::new(message, hint))
        }
    }
}

pub(super) fn in_set(
    expr: &Expr,
    negated: bool,
    value: &Expr,
    list: &[Const],
    printer: &Printer<'_>,
) -> Option<Finding> {
    let text = || lex::shorten(&printer.expr(expr));
    if list.contains(&Const::Null) && (negated || list.len() == 1) {
        let why = "comparing with NULL is UNKNOWN";
        return Some(Finding::never(
            &text(),
            why,
            "take NULL out of the list; IS NOT NULL asks for it",
        ));
    }
    if negated {
        return None;
    }
    let wrong = |constant: &Const| -> Option<String> {
        if let (Expr::Call(call), Const::String(wanted)) = (value, constant)
            && let Some((why, _)) = wrong_case(call, wanted)
        {
            return Some(why);
        }
        apart(value, &Expr::Const(constant.clone()), printer)
    };
    // A list of different kinds is meant for a field; here all of them have to be wrong.
    let why = list.first().and_then(wrong)?;
    list.iter()
        .all(|constant| wrong(constant).is_some())
        .then(|| Finding::never(&text(), &why, "correct the list"))
}

/// `_` in a pattern, which other engines take for any one character.
pub(crate) fn underscore(pattern: &str) -> Option<Finding> {
    let shown = lex::shorten(pattern);
    if pattern.contains("\\_") {
        let message = format!("`\\_` in the pattern '{shown}' is a backslash and `_`");
        return Some(Finding::new(message, "`_` stands for itself: write it without a backslash"));
    }
    pattern.contains('_').then(|| {
        Finding::new(
            format!("`_` in the pattern '{shown}' stands for itself"),
            "`%` is the only wildcard of LIKE; for any one character write regexp_like(a, '^x.$')",
        )
    })
}

pub(super) fn like(
    expr: &Expr,
    negated: bool,
    value: &Expr,
    pattern: &Pattern,
    printer: &Printer<'_>,
) -> Option<Finding> {
    let text = || lex::shorten(&printer.expr(expr));
    if let Some(kind @ (Kind::Array | Kind::Object | Kind::Bytes)) = kind(value) {
        let why = format!("LIKE takes a STRING, not {}", kind.name());
        return Some(Finding::never(&text(), &why, "ask for a part of it that is text"));
    }
    if let Expr::Call(call) = value
        && !negated
        && let Some((why, _)) = wrong_case(call, &pattern.text())
    {
        return Some(Finding::never(&text(), &why, "match the case of the pattern"));
    }
    match pattern {
        // What `_` means has been said already.
        Pattern::Exactly(wanted) if !wanted.contains('_') => {
            let op = if negated { "<>" } else { "=" };
            let same = format!(
                "{} {op} {}",
                lex::shorten(&printer.expr(value)),
                lex::shorten(&constant(&Const::String(wanted.clone())))
            );
            Some(Finding::new(
                format!("the pattern of `{}` has no `%`: it matches that text alone", text()),
                format!("write `{same}`, or put `%` where any text may stand"),
            ))
        }
        _ => None,
    }
}

/// Operands of AND that exclude each other.
pub(super) fn contradiction(list: &[Expr], printer: &Printer<'_>) -> Option<Finding> {
    let mut known: HashMap<String, Vec<(Constraint<'_>, usize)>> = HashMap::new();
    for (at, operand) in list.iter().enumerate() {
        let Some((subject, constraints)) = bounds::constraints(operand) else { continue };
        let before = known.entry(printer.expr(subject)).or_default();
        let excluded = before
            .iter()
            .find(|(other, _)| constraints.iter().any(|constraint| constraint.excludes(other)));
        if let Some((_, other)) = excluded {
            let shown = |at: usize| {
                lex::shorten(&list.get(at).map_or_else(String::new, |e| printer.expr(e)))
            };
            return Some(Finding::never(
                &format!("{} AND {}", shown(*other), shown(at)),
                "they exclude each other",
                "join alternatives by OR, or write x IN (…)",
            ));
        }
        if before.len() < bounds::CONSTRAINTS {
            before.extend(constraints.into_iter().map(|constraint| (constraint, at)));
        }
    }
    None
}

/// `x <> 1 OR x <> 2`: meant was AND.
pub(super) fn tautology(list: &[Expr], printer: &Printer<'_>) -> Option<Finding> {
    let mut known: HashMap<String, (&Const, usize)> = HashMap::new();
    for (at, operand) in list.iter().enumerate() {
        let Expr::Compare(Comparison::NotEqual, sides) = operand else { continue };
        let (subject, value) = match &**sides {
            (subject, Expr::Const(value)) | (Expr::Const(value), subject) => (subject, value),
            _ => continue,
        };
        if !bounds::is_steady(subject) {
            continue;
        }
        let name = printer.expr(subject);
        let Some((other, place)) = known.get(&name) else {
            known.insert(name, (value, at));
            continue;
        };
        if bounds::differ(value, other) {
            let shown = |at: usize| {
                lex::shorten(&list.get(at).map_or_else(String::new, |e| printer.expr(e)))
            };
            return Some(Finding::new(
                format!("`{} OR {}` is TRUE for everything but NULL", shown(*place), shown(at)),
                "join them by AND, or write x NOT IN (…)",
            ));
        }
    }
    None
}
