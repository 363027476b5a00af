//! Why WHERE is what it is: from AND, OR and NOT down to the leaves that made it so, in one sentence.

use super::shortened;
use super::walk::{Walk, text};
use crate::expr::Expr;

/// The most leaves that a sentence names.
const LEAVES: usize = 4;

/// The most fields that are told for one leaf.
const FIELDS: usize = 4;

/// `WHERE is FALSE because temperature > 30 is FALSE: temperature is 12`; `subject` is what the
/// condition is called.
pub(super) fn sentence<'a>(walk: &mut Walk<'a, '_>, condition: &'a Expr, subject: &str) -> String {
    let answer = walk.truth(condition);
    let mut leaves = Vec::new();
    gather(walk, condition, answer, &mut leaves);
    let more = leaves.len().saturating_sub(LEAVES);
    leaves.truncate(LEAVES);
    let mut reasons: Vec<String> =
        leaves.iter().map(|(leaf, answer)| because(walk, leaf, *answer)).collect();
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    format!("{subject} is {} because {}", word(answer), reasons.join("; "))
}

/// TRUE, FALSE or UNKNOWN.
fn word(answer: Option<bool>) -> &'static str {
    match answer {
        Some(true) => "TRUE",
        Some(false) => "FALSE",
        None => "UNKNOWN",
    }
}

/// Collects the leaves that made a condition what it is.
fn gather<'a>(
    walk: &mut Walk<'a, '_>,
    expr: &'a Expr,
    answer: Option<bool>,
    leaves: &mut Vec<(&'a Expr, Option<bool>)>,
) {
    let (list, decides) = match expr {
        Expr::Not(inner) => return gather(walk, inner, answer.map(|answer| !answer), leaves),
        Expr::And(list) => (list, false),
        Expr::Or(list) => (list, true),
        _ => return leaves.push((expr, answer)),
    };
    for operand in list {
        let own = walk.truth(operand);
        // All operands make AND TRUE and OR FALSE; one is enough for the opposite.
        if own == answer {
            gather(walk, operand, own, leaves);
            if answer == Some(decides) {
                // The first that decides is the last that is looked at.
                return;
            }
        }
    }
}

/// `temperature > 30 is FALSE: temperature is 12`.
fn because<'a>(walk: &mut Walk<'a, '_>, leaf: &'a Expr, answer: Option<bool>) -> String {
    if let Expr::Const(_) = leaf {
        return format!("the constant {} stands there", walk.printer.expr(leaf));
    }
    let start = format!("{} is {}", shortened(&walk.printer.expr(leaf)), word(answer));
    let mut told: Vec<String> = Vec::new();
    let operands = match leaf {
        Expr::Path(_)
        | Expr::Alias { .. }
        | Expr::Call(_)
        | Expr::JsonPath(_)
        | Expr::Case(_)
        | Expr::Arithmetic(..)
        | Expr::Negate(_)
        | Expr::Wrap(_) => vec![leaf],
        _ => leaf.children(),
    };
    for operand in operands {
        tell(walk, operand, &mut told);
    }
    if told.is_empty() {
        return start;
    }
    format!("{start}: {}", told.join(", "))
}

/// Says what an operand is, and what the fields in it are.
fn tell<'a>(walk: &mut Walk<'a, '_>, operand: &'a Expr, told: &mut Vec<String>) {
    if matches!(operand, Expr::Const(_)) || told.len() >= FIELDS {
        return;
    }
    let (value, errors) = walk.value(operand);
    let mut words = format!("{} is {}", shortened(&walk.printer.expr(operand)), text(&value));
    if let Some(hint) = walk.hint(operand, &value) {
        words.push_str(&format!(" ({hint})"));
    }
    if let Some(error) = errors.first() {
        words.push_str(&format!(" ({})", error.message));
    }
    if !told.contains(&words) {
        told.push(words);
    }
    for child in operand.children() {
        tell(walk, child, told);
    }
}
