//! What is allowed but can't be meant: comparisons that never hold, parts that are always MISSING,
//! keys that replace each other, topic filters that match nothing.
//!
//! It judges each operator when it is compiled, from constants and from what functions are declared
//! to give. It proves nothing across items and computes no constant; `fold` does.

mod bounds;
mod compare;
mod operate;
mod parts;

pub(crate) use compare::underscore;
use compare::{between, compare, contradiction, in_set, like, tautology};
pub(crate) use operate::{argument, operands, repeated, usage};
use operate::{arithmetic, call, case};
pub(crate) use parts::{item, keys, quoted, topics};

use super::error::{Position, Warning};
use super::expr::{Arithmetic, Const, Expr};
use super::functions::Kind;
use super::lex;
use super::print::Printer;

/// The most remarks on one statement; they are kept as long as the rule.
pub(crate) const WARNINGS: usize = 20;

/// Something that looks wrong, without its place.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) message: String,
    pub(crate) hint: String,
    /// True when the condition that it is about is never TRUE.
    pub(crate) never: bool,
}

impl Finding {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into(), never: false }
    }

    /// A condition that is never TRUE.
    fn never(text: &str, why: &str, hint: impl Into<String>) -> Self {
        let message = format!("`{text}` is never TRUE: {why}");
        Self { never: true, ..Self::new(message, hint) }
    }
}

/// What can be said of an expression, from how it is made, without knowing a message.
pub(crate) fn kind(expr: &Expr) -> Option<Kind> {
    match expr {
        Expr::Const(Const::Bool(_))
        | Expr::Not(_)
        | Expr::And(_)
        | Expr::Or(_)
        | Expr::Compare(..)
        | Expr::Between { .. }
        | Expr::InSet { .. }
        | Expr::In { .. }
        | Expr::Like { .. }
        | Expr::LikeAny { .. }
        | Expr::IsNull { .. }
        | Expr::IsMissing { .. } => Some(Kind::Boolean),
        Expr::Const(Const::Number(..)) | Expr::Negate(_) => Some(Kind::Number),
        Expr::Const(Const::String(_)) => Some(Kind::Text),
        Expr::Arithmetic(_, rest) => {
            let joins = rest.iter().any(|(op, _)| *op == Arithmetic::Concat);
            (!joins).then_some(Kind::Number)
        }
        Expr::Wrap(_) | Expr::JsonPath(_) => Some(Kind::Array),
        Expr::Star => Some(Kind::Bytes),
        Expr::Call(call) => match call.function.result {
            // Bytes that are UTF-8 count as text.
            Kind::Any | Kind::Bytes => None,
            Kind::Integer => Some(Kind::Number),
            kind => Some(kind),
        },
        Expr::Const(Const::Null) | Expr::Path(_) | Expr::Alias { .. } | Expr::Case(_) => None,
    }
}

/// What looks wrong about an operator or call; its operands were looked at before.
pub(crate) fn node(expr: &Expr, printer: &Printer<'_>) -> Option<Finding> {
    match expr {
        Expr::Compare(op, sides) => compare(expr, *op, &sides.0, &sides.1, printer),
        Expr::Between { negated, parts } => between(expr, *negated, parts, printer),
        Expr::InSet { negated, value, set } => {
            let list = set.constants();
            in_set(expr, *negated, value, &list, printer)
        }
        Expr::Like { negated, value, pattern } => like(expr, *negated, value, pattern, printer),
        Expr::Not(inner) => condition(inner, printer),
        Expr::And(list) => list
            .iter()
            .find_map(|operand| condition(operand, printer))
            .or_else(|| contradiction(list, printer)),
        Expr::Or(list) => list
            .iter()
            .find_map(|operand| condition(operand, printer))
            .or_else(|| tautology(list, printer)),
        Expr::Arithmetic(first, rest) => arithmetic(expr, first, rest, printer),
        Expr::Case(found) => case(found, printer),
        Expr::Call(found) => call(found, printer),
        _ => None,
    }
}

/// What an expression can come to as a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcomes {
    pub(crate) truth: bool,
    pub(crate) falsehood: bool,
    pub(crate) unknown: bool,
}

impl Outcomes {
    const ALL: Self = Self { truth: true, falsehood: true, unknown: true };

    /// Of a condition; depends on the message unless one alone is left.
    pub(crate) fn of(expr: &Expr, printer: &Printer<'_>) -> Self {
        match expr {
            Expr::Const(constant) => {
                let answer = constant.value().truth();
                Self {
                    truth: answer == Some(true),
                    falsehood: answer == Some(false),
                    unknown: answer.is_none(),
                }
            }
            Expr::Not(inner) => Self::of(inner, printer).not(),
            Expr::And(list) => {
                let mut all = Self::all(list.iter().map(|operand| Self::of(operand, printer)));
                all.truth &= contradiction(list, printer).is_none();
                all
            }
            // By De Morgan's laws.
            Expr::Or(list) => {
                Self::all(list.iter().map(|operand| Self::of(operand, printer).not())).not()
            }
            Expr::IsNull { .. } | Expr::IsMissing { .. } => Self { unknown: false, ..Self::ALL },
            _ if joins(expr) || kind(expr).is_some_and(|kind| kind != Kind::Boolean) => {
                Self { truth: false, falsehood: false, unknown: true }
            }
            _ => Self { truth: node(expr, printer).is_none_or(|found| !found.never), ..Self::ALL },
        }
    }

    fn not(self) -> Self {
        Self { truth: self.falsehood, falsehood: self.truth, ..self }
    }

    /// AND: TRUE needs all, one FALSE is enough, UNKNOWN needs one and no FALSE.
    fn all(operands: impl Iterator<Item = Self>) -> Self {
        let start = Self { truth: true, falsehood: false, unknown: false };
        operands.fold(start, |so_far, next| Self {
            truth: so_far.truth && next.truth,
            falsehood: so_far.falsehood || next.falsehood,
            unknown: (so_far.unknown && (next.unknown || next.truth))
                || (next.unknown && so_far.truth),
        })
    }
}

/// What looks wrong about all of WHERE.
pub(crate) fn filter(expr: &Expr, printer: &Printer<'_>) -> Option<Finding> {
    let outcomes = Outcomes::of(expr, printer);
    if !outcomes.truth {
        let because = match (outcomes.falsehood, outcomes.unknown) {
            (true, false) => "FALSE",
            (false, true) => "UNKNOWN",
            _ => "FALSE or UNKNOWN",
        };
        if let Some(found) = condition(expr, printer) {
            let message = format!("the rule never fires: {}", found.message);
            return Some(Finding::new(message, found.hint));
        }
        let message = format!("the rule never fires: WHERE is {because} for every message");
        return Some(Finding::new(
            message,
            "correct WHERE; `enabled: false` keeps a rule from running",
        ));
    }
    if !outcomes.falsehood && !outcomes.unknown {
        let message = "WHERE is TRUE for every message".to_owned();
        return Some(Finding::new(message, "leave WHERE out"));
    }
    condition(expr, printer)
}

/// What UNNEST can never take apart.
pub(crate) fn array(expr: &Expr, printer: &Printer<'_>) -> Option<Finding> {
    let kind = kind(expr).filter(|kind| *kind != Kind::Array)?;
    let text = lex::shorten(&printer.expr(expr));
    let message =
        format!("the rule never fires: UNNEST takes an ARRAY, `{text}` is {}", kind.name());
    Some(Finding::new(message, "name a path, or a function that gives an ARRAY"))
}

/// True for `a || b`, which gives text or an ARRAY and is often meant for OR.
fn joins(expr: &Expr) -> bool {
    matches!(expr, Expr::Arithmetic(_, rest) if rest.iter().any(|(op, _)| *op == Arithmetic::Concat))
}

/// An operand of AND, OR, NOT, or WHEN that is no condition.
fn condition(expr: &Expr, printer: &Printer<'_>) -> Option<Finding> {
    let text = || lex::shorten(&printer.expr(expr));
    match (expr, kind(expr)) {
        _ if joins(expr) => Some(Finding::new(
            format!("`{}` is no condition: `||` joins text", text()),
            "alternatives are joined by OR",
        )),
        (_, None | Some(Kind::Boolean)) => None,
        (_, Some(kind)) => Some(Finding::new(
            format!("`{}` is no condition: {} counts as UNKNOWN", text(), kind.name()),
            "compare it with something, for example `x > 0`",
        )),
    }
}

/// Adds a remark, unless there are enough.
pub(crate) fn warn(warnings: &mut Vec<Warning>, place: Option<Position>, finding: Finding) {
    let at = place.unwrap_or(Position { line: 1, column: 1 });
    let Finding { message, hint, .. } = finding;
    let warning = Warning { message, line: at.line, column: at.column, hint, part: "SELECT" };
    // A constant that is computed in an alias may be met again.
    if warnings.len() < WARNINGS && !warnings.contains(&warning) {
        warnings.push(warning);
    }
}
