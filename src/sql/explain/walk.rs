//! One message, part by part: the value of every sub-expression and what came of all.

use contract::Body;
use serde::Serialize;
use serde_json::value::RawValue;

use super::elements::{self, ArrayReport};
use super::{Explanation, NODES, RECORD, absent, reason, shortened};
use crate::error::EvalError;
use crate::eval::Context;
use crate::expr::{Content, Expr};
use crate::plan::{Input, Scratch, Verdict};
use crate::print::Printer;
use crate::query::forwarded;
use crate::value::Value;
use crate::work::TOO_COSTLY;
use crate::{DataType, json};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The rule fires.
    Fires,
    /// WHERE is not TRUE.
    Filtered,
    /// An error ended the run.
    Aborted,
    /// The payload is no JSON document.
    InvalidPayload,
    /// The topic filter does not match.
    OtherTopic,
}

/// How many times the work of one message explaining it may take.
const EXPLAINED: u64 = 8;

/// What becomes of most items.
pub(super) const IN_RECORD: &str = "in the record";

/// What a statement makes of one message.
#[derive(Debug, Serialize)]
pub struct MessageReport {
    /// What became of it.
    pub outcome: Outcome,
    /// Why, in one sentence.
    pub because: String,
    /// WHERE with the value of each of its parts; with UNNEST what it asks of the message.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Node>,
    /// UNNEST: the array and its elements, when WHERE lets the message through to them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unnest: Option<ArrayReport>,
    /// The items of SELECT, also when the rule does not fire. With UNNEST elements have them.
    pub items: Vec<ItemReport>,
    /// The records; with UNNEST those of the elements that are shown. `null` stands for one that is longer than [`RECORD`].
    pub records: Vec<Option<Box<RawValue>>>,
    /// True when parts were left out to keep the answer short.
    pub cut: bool,
}

/// An expression and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// As SQL.
    pub expression: String,
    /// As JSON; `MISSING`, or TRUE, FALSE, UNKNOWN for a condition.
    pub value: String,
    /// What it is for the expression above: `WHEN`, `THEN`, `ELSE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The error that arose here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// True when the rule did not need it for this message.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unneeded: bool,
    /// Its operands, without constants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Node>,
}

/// An item of SELECT and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemReport {
    /// Its key.
    pub key: String,
    /// What became of it.
    pub effect: &'static str,
    /// Its value; nothing for `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Node>,
}

pub(super) fn report(
    explanation: &Explanation,
    input: &Input<'_>,
    scratch: &mut Scratch,
) -> MessageReport {
    let query = explanation.query();
    let payload: &[u8] = &input.message.payload;
    let mut report = MessageReport {
        outcome: Outcome::Filtered,
        because: String::new(),
        condition: None,
        unnest: None,
        items: Vec::new(),
        records: Vec::new(),
        cut: false,
    };
    if query.data_type() == DataType::Json
        && let Err(invalid) = explanation.plan.prepare(payload, scratch)
    {
        report.outcome = Outcome::InvalidPayload;
        report.because = format!("the payload is no JSON document: {invalid}");
        return report;
    }
    let mut out = Vec::new();
    let verdict = explanation.plan.evaluate(0, input, payload, scratch, &mut out);
    let errors = std::mem::take(&mut scratch.errors);
    // Every part is evaluated by itself: all together may cost more than the run.
    scratch.work.set(query.work().saturating_mul(EXPLAINED));
    if query.unnest().is_some() {
        elements::report(explanation, input, scratch, &errors, &mut report);
    } else {
        let context = explanation.plan.context(0, query, input, payload, scratch);
        let mut walk = Walk::new(explanation, context, NODES);
        let because = explanation.tree.condition.as_ref().map(|condition| {
            report.condition = walk.node(condition, true).map(|(node, _)| node);
            reason::sentence(&mut walk, condition, "WHERE")
        });
        report.because = because.unwrap_or_else(|| "there is no WHERE".into());
        report.items = items(&mut walk, explanation);
        report.cut = walk.cut;
    }
    let costly = errors.iter().find(|error| error.code == TOO_COSTLY);
    match verdict {
        Verdict::Selected(_) | Verdict::Unnested => {
            report.outcome = Outcome::Fires;
            let shown = report.unnest.as_ref().map_or(1, ArrayReport::records);
            let records = verdict.records(scratch, 0..out.len()).take(shown);
            report.records.extend(records.map(|(body, place)| record(body, &out[place])));
        }
        Verdict::Filtered => {}
        Verdict::Aborted => {
            report.outcome = Outcome::Aborted;
            report.unnest.iter_mut().for_each(|array| array.revoke("an error ended the run"));
            let error = errors.last().map(ToString::to_string).unwrap_or_default();
            report.because = format!("an error ended the run for this message: {error}");
        }
    }
    if let (Some(error), false) = (costly, verdict == Verdict::Aborted) {
        report.because.push_str(&format!("; in the run {error}"));
    }
    if input.has_topic && !query.matches(&input.message.topic) {
        report.outcome = Outcome::OtherTopic;
        report.records.clear();
        report.unnest.iter_mut().for_each(|array| array.revoke("the topic is another"));
        report.because = other_topic(query.filter().as_str(), input);
    }
    report
}

/// A record as JSON; bytes as `{"base64": …}`.
fn record(body: Body, bytes: &[u8]) -> Option<Box<RawValue>> {
    use base64::Engine as _;
    if bytes.len() > RECORD {
        return None;
    }
    let text = match body {
        Body::Json => String::from_utf8_lossy(bytes).into_owned(),
        Body::Binary => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
            format!("{{\"base64\":\"{encoded}\"}}")
        }
    };
    RawValue::from_string(text).ok()
}

/// Where a topic and a filter part.
fn other_topic(filter: &str, input: &Input<'_>) -> String {
    let topic = forwarded(&input.message.topic).unwrap_or_else(|| input.message.topic.clone());
    let start = format!("the topic filter {filter} does not match {topic}");
    let mut levels = topic.as_str().split('/');
    // A leading slash starts an empty level, which nobody counts.
    let first = usize::from(!filter.starts_with('/'));
    for (at, want) in filter.split('/').enumerate() {
        let number = at + first;
        match (want, levels.next()) {
            ("#", _) => break,
            (_, None) => return format!("{start}: it ends before level {number}, `{want}`"),
            ("+", Some(have)) if at == 0 && have.starts_with('$') => break,
            ("+", Some(_)) => {}
            (want, Some(have)) if want == have => {}
            (want, Some(have)) => {
                return format!("{start}: level {number} is `{have}`, not `{want}`");
            }
        }
    }
    match levels.next() {
        Some(more) => format!("{start}: `{more}` and what follows is too much"),
        None => start,
    }
}

/// Evaluates parts of one statement over one message.
pub(super) struct Walk<'a, 's> {
    pub(super) context: Context<'a, 's>,
    pub(super) printer: Printer<'a>,
    /// How many parts may still be shown.
    pub(super) left: usize,
    pub(super) cut: bool,
}

impl<'a, 's> Walk<'a, 's> {
    pub(super) fn new(explanation: &'a Explanation, context: Context<'a, 's>, left: usize) -> Self {
        // Those of the run itself are none of a part's.
        context.errors.clear();
        Self { context, printer: Printer::of(&explanation.tree), left, cut: false }
    }

    /// The value of an expression by itself, with the errors that arise on the way.
    pub(super) fn value(&mut self, expr: &'a Expr) -> (Value<'a>, Vec<EvalError>) {
        self.context.aborted = false;
        let value = self.context.eval(expr);
        (value, std::mem::take(self.context.errors))
    }

    /// The answer of a condition; `None` is UNKNOWN.
    pub(super) fn truth(&mut self, expr: &'a Expr) -> Option<bool> {
        let answer = self.context.truth(expr);
        self.context.errors.clear();
        answer
    }

    /// A node with all that is below it, and all errors of its evaluation. `None` when there are
    /// too many.
    pub(super) fn node(
        &mut self,
        expr: &'a Expr,
        condition: bool,
    ) -> Option<(Node, Vec<EvalError>)> {
        let Some(left) = self.left.checked_sub(1) else {
            self.cut = true;
            return None;
        };
        self.left = left;
        let mut parts = Vec::new();
        let mut below = Vec::new();
        let taken = self.taken(expr);
        let mut decided = false;
        for (at, child) in self.operands(expr).into_iter().enumerate() {
            if matches!(child, Expr::Const(_)) {
                continue;
            }
            let logic = is_condition(expr, at);
            let Some((mut node, errors)) = self.node(child, logic) else { break };
            node.role = role(expr, at);
            node.unneeded = decided || taken.is_some_and(|taken| unneeded(expr, taken, at));
            decided |= match expr {
                Expr::And(_) => self.truth(child) == Some(false),
                Expr::Or(_) => self.truth(child) == Some(true),
                _ => false,
            };
            below.extend(errors);
            parts.push(node);
        }
        let answer = if condition { Some(self.truth(expr)) } else { None };
        let (value, errors) = self.value(expr);
        // What did not arise below arose here.
        let mut own = errors.clone();
        own.retain(|error| {
            let known = below.iter().position(|other| other.message == error.message);
            known.map(|at| below.swap_remove(at)).is_none()
        });
        let node = Node {
            expression: shortened(&self.printer.expr(expr)),
            value: shown(expr, answer, &value),
            role: None,
            error: own.first().map(|error| error.message.clone()),
            note: self.note(expr).or_else(|| self.hint(expr, &value)),
            unneeded: false,
            parts,
        };
        Some((node, errors))
    }

    /// The operands of an expression; an alias has the item that it stands for.
    fn operands(&self, expr: &'a Expr) -> Vec<&'a Expr> {
        match expr {
            Expr::Alias { path, item }
                if path.is_none_or(|path| self.context.raw(path).is_none()) =>
            {
                self.context.query.value_of(*item as usize).into_iter().collect()
            }
            _ => expr.children(),
        }
    }

    fn note(&self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Alias { path, item } => {
                let present = path.is_some_and(|path| self.context.raw(path).is_some());
                let number = item + 1;
                Some(match present {
                    true => "the key of the document comes before the alias".into(),
                    false => format!("the alias of item {number}"),
                })
            }
            _ => None,
        }
    }

    /// What was probably meant by an expression that is MISSING.
    pub(super) fn hint(&self, expr: &Expr, value: &Value<'_>) -> Option<String> {
        if *value != Value::Missing || self.context.query.data_type() != DataType::Json {
            return None;
        }
        absent::hint(self.context.payload, self.context.query.paths(), expr)
    }

    /// For CASE the number of the arm whose result counts; those of all arms when none does.
    fn taken(&mut self, expr: &'a Expr) -> Option<usize> {
        let Expr::Case(case) = expr else { return None };
        let operand = case.operand.as_ref().map(|operand| self.value(operand).0);
        let found = case.arms.iter().position(|(condition, _)| match &operand {
            Some(operand) => operand.relate(&self.value(condition).0).equal() == Some(true),
            None => self.truth(condition) == Some(true),
        });
        Some(found.unwrap_or(case.arms.len()))
    }
}

/// The value of a node: the answer of a condition, else the value itself.
fn shown(expr: &Expr, answer: Option<Option<bool>>, value: &Value<'_>) -> String {
    match answer {
        Some(Some(true)) => "TRUE".into(),
        Some(Some(false)) => "FALSE".into(),
        // What is no comparison says by its value why it is no answer.
        Some(None) => match expr {
            Expr::Path(_)
            | Expr::Alias { .. }
            | Expr::Call(_)
            | Expr::Arithmetic(..)
            | Expr::Case(_)
            | Expr::Negate(_)
            | Expr::JsonPath(_)
            | Expr::Wrap(_) => {
                format!("UNKNOWN ({})", text(value))
            }
            _ => "UNKNOWN".into(),
        },
        None => text(value),
    }
}

/// A value as it is shown.
pub(super) fn text(value: &Value<'_>) -> String {
    match value {
        Value::Missing => "MISSING".into(),
        Value::Binary(bytes) => format!("{} bytes", bytes.len()),
        value => {
            let mut out = Vec::new();
            value.write(&mut out);
            shortened(&String::from_utf8_lossy(&out))
        }
    }
}

/// True when the operand at a place counts as a condition.
fn is_condition(expr: &Expr, at: usize) -> bool {
    match expr {
        Expr::And(_) | Expr::Or(_) | Expr::Not(_) => true,
        Expr::Case(case) => {
            case.operand.is_none() && at < 2 * case.arms.len() && at.is_multiple_of(2)
        }
        _ => false,
    }
}

/// What an operand of CASE is.
fn role(expr: &Expr, at: usize) -> Option<&'static str> {
    let Expr::Case(case) = expr else { return None };
    let at = match (&case.operand, at) {
        (Some(_), 0) => return None,
        (Some(_), at) => at - 1,
        (None, at) => at,
    };
    Some(match (at < 2 * case.arms.len(), at.is_multiple_of(2)) {
        (false, _) => "ELSE",
        (true, true) => "WHEN",
        (true, false) => "THEN",
    })
}

/// True for an operand of CASE that did not matter, when the result of an arm does.
fn unneeded(expr: &Expr, taken: usize, at: usize) -> bool {
    let Expr::Case(case) = expr else { return false };
    let at = match (&case.operand, at) {
        (Some(_), 0) => return false,
        (Some(_), at) => at - 1,
        (None, at) => at,
    };
    let arm = at / 2;
    if arm >= case.arms.len() { taken < arm } else { arm > taken || (at % 2 == 1 && arm != taken) }
}

/// The items of SELECT.
pub(super) fn items<'a>(walk: &mut Walk<'a, '_>, explanation: &'a Explanation) -> Vec<ItemReport> {
    let query = explanation.query();
    let mut reports = Vec::new();
    for (at, item) in query.items().iter().enumerate() {
        walk.printer = Printer::of_item(&explanation.tree, at);
        walk.context.item = Some(at);
        let (value, effect) = match &item.content {
            Content::All if query.items().len() == 1 => (None, "the record is the payload"),
            Content::All => match json::members(walk.context.payload).next() {
                Some(_) => (None, "all members of the document"),
                None => (None, "nothing: the document is no object, or an empty one"),
            },
            Content::Spread(expr) => {
                let (found, _) = walk.value(expr);
                let node = walk.node(expr, false).map(|(node, _)| node);
                let object = matches!(&found, Value::Json(text) if text.starts_with('{'));
                (node, if object { "its members" } else { "nothing: it is no object" })
            }
            Content::Value(expr) => {
                let (found, _) = walk.value(expr);
                let mut node = walk.node(expr, false).map(|(node, _)| node);
                if let (Some(node), Expr::Path(_), Value::Missing, true) =
                    (&mut node, expr, &found, item.aliased)
                    && let Some(hint) = absent::alias_hint(walk.context.payload, &item.key)
                {
                    node.note = Some(hint);
                }
                let effect = match found {
                    Value::Missing => "left out",
                    Value::Binary(_) => {
                        "left out: bytes have no JSON form; wrap them in to_base64()"
                    }
                    _ => IN_RECORD,
                };
                (node, effect)
            }
        };
        reports.push(ItemReport { key: item.key.clone(), effect, value });
    }
    reports
}
