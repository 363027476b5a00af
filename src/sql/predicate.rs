//! WHERE as a flat program of tests and jumps.
//!
//! Only TRUE fires, so that NOT moves to the leaves and UNKNOWN needs no place in the program: a
//! leaf asks whether its answer is the wanted one, and UNKNOWN never is.

use super::eval::{Context, compare};
use super::explain::{Cost, cost};
use super::expr::{Comparison, Const, Expr};
use super::like::Pattern;
use super::number::Num;
use super::print::{Printer, constant, string};
use super::set::{Set, literal};
use super::value::Value;

/// A compiled condition.
#[derive(Debug)]
pub(crate) struct Program {
    instructions: Vec<Instruction>,
    entry: u32,
}

#[derive(Debug)]
struct Instruction {
    test: Test,
    /// The answer that leads to `hit`; FALSE or TRUE, never UNKNOWN.
    want: bool,
    hit: u32,
    miss: u32,
}

/// Jump targets that end the program.
const ACCEPT: u32 = u32::MAX;
const REJECT: u32 = u32::MAX - 1;

/// A leaf. All but `Other` look at one value of the document and constants.
#[derive(Debug)]
enum Test {
    Number { path: u32, op: Comparison, num: Num },
    Range { path: u32, low: Num, high: Num },
    Text { path: u32, op: Comparison, text: String },
    In { path: u32, set: Box<Set> },
    Like { path: u32, pattern: Box<Pattern> },
    IsNull { path: u32 },
    IsMissing { path: u32 },
    True { path: u32 },
    Other(Expr),
}

/// A test of a program in words.
pub(crate) struct Step {
    pub(crate) text: String,
    pub(crate) cost: Cost,
    /// The answer that leads to `hit`.
    pub(crate) want: bool,
    pub(crate) hit: Target,
    pub(crate) miss: Target,
}

/// Where an answer leads: to a step, counted from 1, or to the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) number: Option<usize>,
    pub(crate) accepts: bool,
}

impl Program {
    /// True when the condition is TRUE without a test.
    pub(crate) fn is_always(&self) -> bool {
        self.entry == ACCEPT
    }

    /// The tests in the order in which they are made.
    pub(crate) fn steps(&self, printer: &Printer<'_>) -> Vec<Step> {
        let mut reached = vec![false; self.instructions.len()];
        let mut open = vec![self.entry];
        while let Some(at) = open.pop() {
            if let Some(seen) = reached.get_mut(at as usize)
                && !std::mem::replace(seen, true)
                && let Some(instruction) = self.instructions.get(at as usize)
            {
                open.extend([instruction.hit, instruction.miss]);
            }
        }
        // What is tested later was compiled earlier.
        let number = |at: u32| {
            let behind = reached.get(at as usize..).unwrap_or_default();
            behind.iter().filter(|seen| **seen).count()
        };
        let target =
            |at: u32| Target { number: (at < REJECT).then(|| number(at)), accepts: at == ACCEPT };
        let all = self.instructions.iter().zip(&reached).rev();
        all.filter(|(_, seen)| **seen)
            .map(|(instruction, _)| Step {
                text: instruction.test.text(printer),
                cost: instruction.test.cost(),
                want: instruction.want,
                hit: target(instruction.hit),
                miss: target(instruction.miss),
            })
            .collect()
    }

    /// Compiles a condition.
    pub(crate) fn new(condition: Expr) -> Self {
        let mut program = Self { instructions: Vec::new(), entry: ACCEPT };
        program.entry = program.emit(condition, true, ACCEPT, REJECT);
        program.instructions.shrink_to_fit();
        program
    }

    /// True when the condition is TRUE.
    pub(crate) fn fires<'a>(&'a self, context: &mut Context<'a, '_>) -> bool {
        let mut at = self.entry;
        while let Some(instruction) = self.instructions.get(at as usize) {
            let answer = instruction.test.answer(context);
            at = if answer == Some(instruction.want) { instruction.hit } else { instruction.miss };
        }
        at == ACCEPT
    }

    /// Appends a condition and returns where it starts. Behind it the program goes to `hit` when the
    /// answer is `want`, else to `miss`.
    fn emit(&mut self, expr: Expr, want: bool, hit: u32, miss: u32) -> u32 {
        match (expr, want) {
            (Expr::Not(inner), _) => self.emit(*inner, !want, hit, miss),
            // NOT (a AND b) is NOT a OR NOT b.
            (Expr::And(list), true) | (Expr::Or(list), false) => {
                list.into_iter().rev().fold(hit, |next, part| self.emit(part, want, next, miss))
            }
            (Expr::Or(list), true) | (Expr::And(list), false) => {
                list.into_iter().rev().fold(miss, |next, part| self.emit(part, want, hit, next))
            }
            (expr, _) => {
                if let Some(answer) = known(&expr) {
                    return if answer == Some(want) { hit } else { miss };
                }
                let (test, negated) = Test::new(expr);
                let place = u32::try_from(self.instructions.len())
                    .expect("invariant: the nodes of a statement are bounded");
                self.instructions.push(Instruction { test, want: want != negated, hit, miss });
                place
            }
        }
    }
}

/// The answer of a condition on constants alone.
fn known(expr: &Expr) -> Option<Option<bool>> {
    match expr {
        Expr::Const(constant) => Some(constant.value().truth()),
        Expr::Compare(op, sides) => match &**sides {
            (Expr::Const(a), Expr::Const(b)) => Some(compare(*op, a.value().relate(&b.value()))),
            _ => None,
        },
        Expr::InSet { negated, value, set } => match &**value {
            Expr::Const(value) => {
                Some(set.contains(&value.value()).map(|answer| answer != *negated))
            }
            _ => None,
        },
        Expr::IsNull { negated, value } => match &**value {
            Expr::Const(value) => Some(Some(value.value().is_null() != *negated)),
            _ => None,
        },
        _ => None,
    }
}

impl Test {
    /// A test for an expression, and whether it asks the opposite.
    fn new(expr: Expr) -> (Self, bool) {
        match expr {
            Expr::Path(path) => (Self::True { path }, false),
            Expr::Compare(op, sides) => (Self::compare(op, *sides), false),
            Expr::Between { negated, parts } => match *parts {
                [
                    Expr::Path(path),
                    Expr::Const(Const::Number(low, _)),
                    Expr::Const(Const::Number(high, _)),
                ] => (Self::Range { path, low, high }, negated),
                parts => {
                    let parts = Box::new(parts);
                    (Self::Other(Expr::Between { negated, parts }), false)
                }
            },
            Expr::InSet { negated, value, set } => match *value {
                Expr::Path(path) => (Self::In { path, set }, negated),
                value => {
                    let value = Box::new(value);
                    (Self::Other(Expr::InSet { negated, value, set }), false)
                }
            },
            Expr::Like { negated, value, pattern } => match *value {
                Expr::Path(path) => (Self::Like { path, pattern }, negated),
                value => {
                    let value = Box::new(value);
                    (Self::Other(Expr::Like { negated, value, pattern }), false)
                }
            },
            Expr::IsNull { negated, value } => match *value {
                Expr::Path(path) => (Self::IsNull { path }, negated),
                value => {
                    let value = Box::new(value);
                    (Self::Other(Expr::IsNull { negated, value }), false)
                }
            },
            Expr::IsMissing { negated, value } => match *value {
                Expr::Path(path) => (Self::IsMissing { path }, negated),
                value => {
                    let value = Box::new(value);
                    (Self::Other(Expr::IsMissing { negated, value }), false)
                }
            },
            expr => (Self::Other(expr), false),
        }
    }

    fn compare(op: Comparison, sides: (Expr, Expr)) -> Self {
        match sides {
            (Expr::Path(path), Expr::Const(Const::Number(num, _))) => {
                Self::Number { path, op, num }
            }
            (Expr::Const(Const::Number(num, _)), Expr::Path(path)) => {
                Self::Number { path, op: op.mirrored(), num }
            }
            (Expr::Path(path), Expr::Const(Const::String(text))) => Self::Text { path, op, text },
            (Expr::Const(Const::String(text)), Expr::Path(path)) => {
                Self::Text { path, op: op.mirrored(), text }
            }
            sides => Self::Other(Expr::Compare(op, Box::new(sides))),
        }
    }

    /// As SQL.
    fn text(&self, printer: &Printer<'_>) -> String {
        let at = |path: &u32| printer.path(*path);
        match self {
            Self::Number { path, op, num } => {
                format!("{} {} {}", at(path), op.sign(), literal(*num))
            }
            Self::Range { path, low, high } => {
                format!("{} BETWEEN {} AND {}", at(path), literal(*low), literal(*high))
            }
            Self::Text { path, op, text } => format!("{} {} {}", at(path), op.sign(), string(text)),
            Self::In { path, set } => {
                let list: Vec<String> = set.constants().iter().map(constant).collect();
                format!("{} IN ({})", at(path), list.join(", "))
            }
            Self::Like { path, pattern } => {
                format!("{} LIKE {}", at(path), string(&pattern.text()))
            }
            Self::IsNull { path } => format!("{} IS NULL", at(path)),
            Self::IsMissing { path } => format!("{} IS MISSING", at(path)),
            Self::True { path } => at(path),
            Self::Other(expr) => printer.expr(expr),
        }
    }

    /// What asking costs.
    fn cost(&self) -> Cost {
        match self {
            Self::Number { .. }
            | Self::Range { .. }
            | Self::IsNull { .. }
            | Self::IsMissing { .. }
            | Self::True { .. } => Cost::Free,
            Self::Text { .. } | Self::In { .. } | Self::Like { .. } => Cost::Cheap,
            Self::Other(expr) => cost(expr),
        }
    }

    /// The answer for a message; `None` is UNKNOWN.
    #[inline]
    fn answer<'a>(&'a self, context: &mut Context<'a, '_>) -> Option<bool> {
        match self {
            Self::Number { path, op, num } => match context.number(*path) {
                Some(value) => Some(ordered(*op, value.compare(*num))),
                None => {
                    let value = context.path(*path);
                    compare(*op, context.relate(&value, &Value::number(*num)))
                }
            },
            Self::Range { path, low, high } => {
                let value = match context.number(*path) {
                    Some(value) => value,
                    // Text that reads as a number; anything else has no order.
                    None => context.path(*path).as_num()?,
                };
                Some(value.compare(*low).is_ge() && value.compare(*high).is_le())
            }
            Self::Text { path, op, text } => match context.plain(*path)? {
                Some(value) => Some(ordered(*op, value.cmp(text.as_bytes()))),
                None => {
                    let value = context.path(*path);
                    compare(*op, context.relate(&value, &Value::text(text.as_str())))
                }
            },
            Self::In { path, set } => match context.number(*path) {
                Some(value) => set.number(value),
                None => match context.plain(*path)? {
                    Some(text) => set.string(text),
                    None => set.contains(&context.path(*path)),
                },
            },
            Self::Like { path, pattern } => match context.plain(*path)? {
                Some(text) => {
                    context.pays(pattern.price(text.len())).then(|| pattern.matches(text))
                }
                None => {
                    let value = context.path(*path);
                    context.like(&value, pattern)
                }
            },
            Self::IsNull { path } => {
                Some(context.raw(*path).is_none_or(|raw| raw.first() == Some(&b'n')))
            }
            Self::IsMissing { path } => Some(context.raw(*path).is_none()),
            Self::True { path } => match context.raw(*path)?.first() {
                Some(b't') => Some(true),
                Some(b'f') => Some(false),
                _ => None,
            },
            Self::Other(expr) => context.truth(expr),
        }
    }
}

fn ordered(op: Comparison, order: std::cmp::Ordering) -> bool {
    match op {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterEqual => order.is_ge(),
    }
}
