//! What comparisons with constants say about a value, and when two of them exclude each other.
//!
//! Text that reads as a number compares with numbers, so that most pairs of text and number say
//! nothing; where in doubt, nothing is said.

use crate::eval;
use crate::expr::{Comparison, Const, Expr};
use crate::functions::{Depends, Function};
use crate::number::Num;

/// How many comparisons of one value are held against each other.
pub(super) const CONSTRAINTS: usize = 32;

/// What one operand of AND asks of a value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Constraint<'e> {
    Compare(Comparison, &'e Const),
    Null,
    /// Any comparison that NULL never passes.
    NotNull,
}

/// The value that a condition is about, and what it asks of it.
pub(super) fn constraints(expr: &Expr) -> Option<(&Expr, Vec<Constraint<'_>>)> {
    let (subject, found) = match expr {
        Expr::Compare(op, sides) => match &**sides {
            (Expr::Const(_), Expr::Const(_)) => return None,
            (subject, Expr::Const(value)) => (subject, vec![Constraint::Compare(*op, value)]),
            (Expr::Const(value), subject) => {
                (subject, vec![Constraint::Compare(op.mirrored(), value)])
            }
            _ => return None,
        },
        Expr::Between { negated: false, parts } => match &**parts {
            [subject, Expr::Const(low), Expr::Const(high)] => (
                subject,
                vec![
                    Constraint::Compare(Comparison::GreaterEqual, low),
                    Constraint::Compare(Comparison::LessEqual, high),
                ],
            ),
            _ => return None,
        },
        Expr::IsNull { negated, value } => {
            let found = if *negated { Constraint::NotNull } else { Constraint::Null };
            (&**value, vec![found])
        }
        Expr::InSet { value, .. } | Expr::Like { value, .. } => {
            (&**value, vec![Constraint::NotNull])
        }
        _ => return None,
    };
    is_steady(subject).then_some((subject, found))
}

/// True for an expression that gives the same wherever it stands: no constant, no chance.
pub(super) fn is_steady(expr: &Expr) -> bool {
    match expr {
        Expr::Path(_) | Expr::Alias { .. } => true,
        Expr::Call(call) => {
            call.function.depends != Depends::Chance
                && call.arguments.iter().all(|argument| {
                    matches!(argument, Expr::Const(_) | Expr::Star) || is_steady(argument)
                })
        }
        _ => false,
    }
}

/// True for constants that no value equals both.
pub(super) fn differ(a: &Const, b: &Const) -> bool {
    let numeric = |value: &Const| value.value().as_num();
    match (a, b) {
        // '1' and '1.0' are different text, and the number 1 equals both.
        (Const::String(_), Const::String(_)) => match (numeric(a), numeric(b)) {
            (Some(x), Some(y)) => a != b && !x.compare(y).is_eq(),
            _ => a != b,
        },
        _ => a.value().relate(&b.value()).equal() == Some(false),
    }
}

impl Constraint<'_> {
    /// True when no value passes both.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::NotNull | Self::Compare(..))
            | (Self::NotNull | Self::Compare(..), Self::Null) => true,
            (Self::Compare(op, a), Self::Compare(other, b)) => {
                fails(*op, a, *other, b) || fails(*other, b, *op, a) || apart(*op, a, *other, b)
            }
            _ => false,
        }
    }
}

/// True when a value that equals `a` never passes the other comparison.
fn fails(op: Comparison, a: &Const, other: Comparison, b: &Const) -> bool {
    if op != Comparison::Equal {
        return false;
    }
    if other == Comparison::Equal {
        return differ(a, b);
    }
    let numeric = a.value().as_num().is_some();
    match (a, b) {
        // Text that reads as the number may compare as text.
        (Const::Number(..), Const::String(_)) => false,
        (Const::String(_), Const::String(_)) if numeric => false,
        _ => eval::compare(other, a.value().relate(&b.value())) != Some(true),
    }
}

/// True for a lower bound that is not below an upper one.
fn apart(op: Comparison, a: &Const, other: Comparison, b: &Const) -> bool {
    let (Const::Number(a, _), Const::Number(b, _)) = (a, b) else { return false };
    let is_low = |op| matches!(op, Comparison::Greater | Comparison::GreaterEqual);
    let is_high = |op| matches!(op, Comparison::Less | Comparison::LessEqual);
    let (low, high) = if is_low(op) && is_high(other) {
        (a, b)
    } else if is_high(op) && is_low(other) {
        (b, a)
    } else {
        return false;
    };
    let strict = [op, other].iter().any(|op| matches!(op, Comparison::Less | Comparison::Greater));
    let order = low.compare(*high);
    order.is_gt() || (strict && order.is_eq())
}

/// The numbers that a function can give.
pub(super) fn range(function: &Function) -> Option<(f64, f64)> {
    const NUMBERS: &[(&str, f64, f64)] = &[
        ("abs", 0.0, f64::INFINITY),
        ("array_length", 0.0, f64::INFINITY),
        ("cos", -1.0, 1.0),
        ("cosh", 1.0, f64::INFINITY),
        ("exp", 0.0, f64::INFINITY),
        ("length", 0.0, f64::INFINITY),
        ("qos", 0.0, 2.0),
        ("rand", 0.0, 1.0),
        ("sign", -1.0, 1.0),
        ("sin", -1.0, 1.0),
        ("sqrt", 0.0, f64::INFINITY),
        ("tanh", -1.0, 1.0),
    ];
    let found = NUMBERS.iter().find(|(name, ..)| *name == function.name);
    found.map(|(_, low, high)| (*low, *high))
}

/// True when a number of the range can pass the comparison.
pub(super) fn within(op: Comparison, value: Num, low: f64, high: f64) -> bool {
    let (low, high) = (value.compare(Num::Float(low)), value.compare(Num::Float(high)));
    match op {
        Comparison::Equal => low.is_ge() && high.is_le(),
        Comparison::NotEqual => true,
        Comparison::Less => low.is_gt(),
        Comparison::LessEqual => low.is_ge(),
        Comparison::Greater => high.is_lt(),
        Comparison::GreaterEqual => high.is_le(),
    }
}
