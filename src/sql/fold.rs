//! Computes parts of a statement that are the same for every message once, when it is compiled.
//!
//! The evaluator itself does the computing, over two messages that have nothing in common: only what
//! comes out the same for both can be a constant. Nothing here says what looks wrong; `check` does.

use std::sync::LazyLock;

use contract::{Message, NoFacts, Topic, TopicFilter, TopicLimits};

use super::error::EvalError;
use super::eval::Context;
use super::expr::{Const, Expr};
use super::functions::Depends;
use super::plan::Input;
use super::print::has_literal;
use super::query::Query;
use super::value::{Number, Value};
use super::work::Work;

/// The longest text that is kept instead of being computed for each message, in bytes: statements
/// are many and live long.
const TEXT: usize = 4096;

/// What became of an expression.
#[derive(Debug)]
pub(crate) enum Folded {
    /// It depends on the message, or its value has no place among the constants of a statement.
    Not,
    /// Its value.
    Const(Const),
    /// It is MISSING, whatever the message: the error that makes it so, and whether that ends the
    /// run of the rule.
    Fault(EvalError, bool),
}

/// A message and a query to evaluate constants with.
struct Probe {
    query: Query,
    message: Message,
}

static PROBES: LazyLock<Option<[Probe; 2]>> = LazyLock::new(|| {
    let one = probe("/one/a", "{\"p\":1}", 1_000_000_000_000, 1)?;
    let other = probe("/two/b/c", "{\"p\":\"two\"}", 1_765_432_101_234, 2)?;
    Some([one, other])
});

fn probe(topic: &str, payload: &'static str, time: u64, id: u64) -> Option<Probe> {
    let limits = TopicLimits::default();
    let mut message = Message::new(Topic::parse(topic, limits).ok()?, payload.as_bytes(), time);
    message.id = id;
    Some(Probe { query: Query::empty(TopicFilter::parse("#", limits).ok()?), message })
}

/// Computes an expression whose operands are constants.
pub(crate) fn fold(expr: &Expr) -> Folded {
    if !is_ready(expr) {
        return Folded::Not;
    }
    let Some([one, other]) = &*PROBES else { return Folded::Not };
    let inputs = [one, other].map(|probe| Input {
        message: &probe.message,
        facts: &NoFacts,
        rule: probe.message.topic.as_str(),
        has_topic: true,
    });
    let first = run(expr, &one.query, &inputs[0]);
    if run(expr, &other.query, &inputs[1]) != first {
        return Folded::Not;
    }
    let (value, errors, aborted) = first;
    match (constant(&value), errors.into_iter().next()) {
        (_, Some(error)) if value == Value::Missing => Folded::Fault(error, aborted),
        (Some(constant), None) => Folded::Const(constant),
        _ => Folded::Not,
    }
}

fn run<'a>(
    expr: &'a Expr,
    query: &'a Query,
    input: &'a Input<'a>,
) -> (Value<'a>, Vec<EvalError>, bool) {
    let (mut numbers, mut document, mut errors) = ([], None, Vec::new());
    let work = Work::new(query.work());
    let mut context = Context {
        query,
        input,
        payload: &input.message.payload,
        text: &input.message.payload,
        map: &[],
        spans: &[],
        numbers: &mut numbers,
        document: &mut document,
        errors: &mut errors,
        work: &work,
        item: None,
        element: 0,
        aborted: false,
    };
    let value = context.eval(expr);
    let aborted = context.aborted;
    (value, errors, aborted)
}

/// True when nothing but constants is below an operator or a pure function.
fn is_ready(expr: &Expr) -> bool {
    let is = |expr: &Expr| matches!(expr, Expr::Const(_));
    match expr {
        Expr::Negate(inner) | Expr::Not(inner) => is(inner),
        Expr::And(list) | Expr::Or(list) => list.iter().all(is),
        Expr::Arithmetic(first, rest) => is(first) && rest.iter().all(|(_, right)| is(right)),
        Expr::Compare(_, sides) | Expr::LikeAny { parts: sides, .. } => {
            is(&sides.0) && is(&sides.1)
        }
        Expr::Between { parts, .. } => parts.iter().all(is),
        Expr::InSet { value, .. }
        | Expr::Like { value, .. }
        | Expr::IsNull { value, .. }
        | Expr::IsMissing { value, .. } => is(value),
        Expr::In { value, list, .. } => is(value) && list.iter().all(is),
        Expr::Case(case) => {
            case.operand.iter().chain(&case.otherwise).all(is)
                && case.arms.iter().all(|(condition, result)| is(condition) && is(result))
        }
        Expr::Call(call) => {
            call.function.depends == Depends::Arguments
                && !call.arguments.is_empty()
                && call.arguments.iter().all(is)
        }
        Expr::Const(_)
        | Expr::Path(_)
        | Expr::JsonPath(_)
        | Expr::Wrap(_)
        | Expr::Alias { .. }
        | Expr::Star => false,
    }
}

fn constant(value: &Value<'_>) -> Option<Const> {
    match value {
        Value::Null => Some(Const::Null),
        Value::Bool(value) => Some(Const::Bool(*value)),
        Value::Number(Number { num, text }) => {
            let text = text.map_or_else(|| num.text(), str::to_owned);
            Some(Const::Number(*num, text))
        }
        Value::String(text) if text.len() <= TEXT && has_literal(text) => {
            Some(Const::String(text.clone().into_owned()))
        }
        _ => None,
    }
}
