//! One message of a statement with UNNEST: the array, and the first of its elements part by part.
//!
//! Elements are visited by what runs rules; here is only what is said of them.

use serde::Serialize;

use super::walk::{ItemReport, MessageReport, Node, Walk, items, text};
use super::{ELEMENTS, Explanation, NODES, reason, shortened};
use crate::elements::{ITEM, Unnest};
use crate::error::EvalError;
use crate::plan::{Input, Scratch};
use crate::print::Printer;
use crate::value::Value;

/// The array that UNNEST takes apart, of one message.
#[derive(Debug, Serialize)]
pub struct ArrayReport {
    /// The array and the value of each of its parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<Node>,
    /// The first elements.
    pub elements: Vec<ElementReport>,
    /// How many elements there are.
    pub count: usize,
    /// How many of them give a record.
    pub fire: usize,
}

/// An element and what becomes of it.
#[derive(Debug, Serialize)]
pub struct ElementReport {
    /// Its index, from 0.
    pub index: u32,
    /// As JSON.
    pub value: String,
    /// True when it gives a record.
    pub fires: bool,
    /// Why, in one sentence.
    pub because: String,
    /// What WHERE asks of it, with the value of each part.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Node>,
    /// The items of SELECT, also when it gives no record.
    pub items: Vec<ItemReport>,
    /// The place of its record among those of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<usize>,
}

impl ArrayReport {
    /// How many records the elements that are shown have.
    pub(super) fn records(&self) -> usize {
        self.elements.iter().filter(|element| element.fires).count()
    }

    /// Takes the records back: nothing of the message fires.
    pub(super) fn revoke(&mut self, why: &str) {
        self.fire = 0;
        for element in self.elements.iter_mut().filter(|element| element.fires) {
            (element.fires, element.record) = (false, None);
            element.because.push_str(&format!("; {why}"));
        }
    }
}

/// Reports on the elements of a message that was evaluated before; `errors` are those of that.
pub(super) fn report(
    explanation: &Explanation,
    input: &Input<'_>,
    scratch: &mut Scratch,
    errors: &[EvalError],
    report: &mut MessageReport,
) {
    let query = explanation.query();
    let Some(unnest) = query.unnest() else { return };
    let payload: &[u8] = &input.message.payload;
    let mut left = NODES;
    let mut words = Vec::new();
    {
        let context = explanation.plan.context(0, query, input, payload, scratch);
        let mut walk = Walk::new(explanation, context, left);
        if let Some(condition) = &explanation.tree.condition {
            report.condition = walk.node(condition, true).map(|(node, _)| node);
            words.push(reason::sentence(&mut walk, condition, "what WHERE asks of the message"));
            if walk.truth(condition) != Some(true) {
                words.push("the array is not looked at".into());
                report.because = words.join("; ");
                report.cut = walk.cut;
                return;
            }
        } else if explanation.inner.is_none() {
            words.push("there is no WHERE".into());
        }
        let (array, why) = array(&mut walk, explanation, unnest, errors);
        report.unnest = Some(ArrayReport { array, elements: Vec::new(), count: 0, fire: 0 });
        (left, report.cut) = (walk.left, walk.cut);
        if let Some(why) = why {
            words.push(why);
            report.because = words.join("; ");
            return;
        }
    }
    if let Some(found) = &mut report.unnest {
        report.cut |= visit(explanation, unnest, input, scratch, left, found);
        let (fire, count) = (found.fire, found.count);
        words.push(match (fire, count) {
            (_, 0) => "the array is empty: no records".into(),
            (0, 1) => "the element gives no record".into(),
            (1, 1) => "the element gives a record".into(),
            (0, _) => format!("none of {count} elements gives a record"),
            _ if fire == count => format!("each of {count} elements gives a record"),
            (1, _) => format!("1 of {count} elements gives a record"),
            _ => format!("{fire} of {count} elements give a record"),
        });
    }
    report.because = words.join("; ");
}

/// The array and its parts; with that why there are no elements.
fn array<'a>(
    walk: &mut Walk<'a, '_>,
    explanation: &'a Explanation,
    unnest: &'a Unnest,
    errors: &[EvalError],
) -> (Option<Node>, Option<String>) {
    walk.printer = Printer::of_array(&explanation.tree);
    let node = walk.node(unnest.source(), false).map(|(node, _)| node);
    let (value, _) = walk.value(unnest.source());
    let name = shortened(&walk.printer.expr(unnest.source()));
    // Conditions may have failed, too.
    let error = errors.iter().rev().find(|error| error.item == ITEM);
    let why = match &value {
        Value::Json(array) if array.starts_with('[') => None,
        Value::Missing | Value::Null => match error {
            Some(error) => Some(format!("{name} is {}: {}", text(&value), error.message)),
            None => Some(format!("{name} is {}: no records", text(&value))),
        },
        value => {
            let error = error.map_or("no ARRAY", |error| &error.message);
            Some(format!("{name} is {}: {error}", text(value)))
        }
    };
    (node, why)
}

/// Visits the elements; true when parts were left out.
fn visit(
    explanation: &Explanation,
    unnest: &Unnest,
    input: &Input<'_>,
    scratch: &mut Scratch,
    mut left: usize,
    report: &mut ArrayReport,
) -> bool {
    let task = explanation.plan.task(0, explanation.query(), input, &input.message.payload);
    let Ok(start) = unnest.find(&task, scratch) else { return false };
    let mut cut = false;
    let done = unnest.visit(&task, start, scratch, |context, raw| {
        let mut walk = Walk::new(explanation, context, left);
        let inner = explanation.inner.as_ref();
        let fires = inner.is_none_or(|inner| walk.truth(inner) == Some(true));
        if report.elements.len() < ELEMENTS {
            let condition = inner.and_then(|inner| walk.node(inner, true)).map(|(node, _)| node);
            let because = match inner {
                Some(inner) => reason::sentence(&mut walk, inner, "WHERE"),
                None => "nothing is asked of an element".into(),
            };
            report.elements.push(ElementReport {
                index: walk.context.element,
                value: shortened(&String::from_utf8_lossy(raw)),
                fires,
                because,
                condition,
                items: items(&mut walk, explanation),
                record: fires.then_some(report.fire),
            });
        }
        report.count += 1;
        report.fire += usize::from(fires);
        (left, cut) = (walk.left, cut | walk.cut);
        Ok(())
    });
    if done.is_err() {
        // There are too many: none becomes a record.
        report.elements.clear();
        (report.count, report.fire) = (0, 0);
    }
    cut
}
