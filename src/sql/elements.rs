//! UNNEST as it runs: several records of one message, one for each element of an array.
//!
//! What is decided here: MISSING, NULL and an empty array give no record, anything else that is no
//! ARRAY is an error and gives none. The conditions of WHERE that do not name the element are asked
//! once, before the array is looked at. An array with more elements than `limits.sql.unnest`, or one
//! whose records come to more bytes than a value may have, ends the run with an error: half of a
//! message's records would look like all of them. So does work that the budget does not pay. Elements are counted, not records, because each is
//! evaluated: what a message can cost is bounded, too, when WHERE refuses most of them.
//!
//! The paths into elements are paths of the query like all others; their slots lie behind those of
//! the document. Nothing else of the evaluation knows about elements, and a statement without UNNEST
//! pays nothing for them. How it is written is in `unnest`.

use super::Limits;
use super::error::EvalError;
use super::eval::{Context, Reading, fits};
use super::expr::{Expr, Item};
use super::functions::Fault;
use super::path::Path;
use super::pick::{self, Span, Trie};
use super::plan::{Input, Scratch, Verdict};
use super::predicate::Program;
use super::query::Query;
use super::unnest::OFFSET;
use super::value::Value;
use super::work::{PART, VALUE};

/// What errors of UNNEST itself are reported under, where others name an item or WHERE.
pub(crate) const ITEM: &str = "UNNEST";

/// UNNEST of one query.
#[derive(Debug)]
pub(crate) struct Unnest {
    /// Gives the array.
    source: Expr,
    /// What WHERE asks of an element.
    condition: Option<Program>,
    /// The paths into elements.
    trie: Trie,
    /// For each path of the query its slot among those of an element; 0 for paths of the document.
    slots: Vec<u32>,
    /// The most elements.
    most: usize,
    /// Units of work for each element, without what its values cost.
    price: u64,
}

/// What one evaluation works on.
pub(crate) struct Task<'a> {
    pub(crate) query: &'a Query,
    pub(crate) input: &'a Input<'a>,
    pub(crate) payload: &'a [u8],
    /// For each path of the query its slot.
    pub(crate) map: &'a [u32],
    /// The slots of the document; those of the element follow.
    pub(crate) known: usize,
}

impl Unnest {
    /// Prepares the paths into elements; `paths` are all of the query, and `parts` what is evaluated
    /// of it for an element.
    pub(crate) fn new(source: Expr, paths: &[Path], limits: &Limits, parts: usize) -> Self {
        let (trie, ends) =
            Trie::new(paths.iter().filter(|path| path.element).map(|path| &*path.steps));
        let mut ends = ends.into_iter();
        let slot = |path: &Path| if path.element { ends.next().unwrap_or(0) } else { 0 };
        let slots = paths.iter().map(slot).collect();
        let price = PART.saturating_mul(parts as u64);
        Self { source, condition: None, trie, slots, most: limits.unnest, price }
    }

    /// The slot of a path of the query among those of an element.
    pub(crate) fn slot(&self, path: usize) -> u32 {
        self.slots.get(path).copied().unwrap_or(0)
    }

    /// Gives the array.
    pub(crate) fn source(&self) -> &Expr {
        &self.source
    }

    /// What WHERE asks of an element.
    pub(crate) fn condition(&self) -> Option<&Program> {
        self.condition.as_ref()
    }

    /// The most elements that an array may have.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Keeps what WHERE asks of the element and returns the rest, which is asked once per message.
    pub(crate) fn keep(
        &mut self,
        condition: Option<Expr>,
        items: &[Item],
        paths: &[Path],
    ) -> Option<Expr> {
        let (outer, inner) = split(condition, items, paths);
        self.condition = inner.map(Program::new);
        outer
    }

    /// Evaluates the query: at most one record per element, each with its end in `scratch.ends`.
    pub(crate) fn run(&self, task: &Task<'_>, scratch: &mut Scratch, out: &mut Vec<u8>) -> Verdict {
        scratch.ends.clear();
        let start = match self.find(task, scratch) {
            Ok(start) => start,
            Err(verdict) => return verdict,
        };
        let before = out.len();
        let mut ends = std::mem::take(&mut scratch.ends);
        let done = self.visit(task, start, scratch, |mut context, _| {
            let fires = self.condition.as_ref().is_none_or(|c| c.fires(&mut context));
            if fires && !context.aborted {
                task.query.select(&mut context, out);
                ends.push(out.len());
            }
            if context.aborted {
                return Err(None);
            }
            fits(out.len() - before).map_err(Some)
        });
        scratch.ends = ends;
        match done {
            Ok(()) if scratch.ends.is_empty() => Verdict::Filtered,
            Ok(()) => Verdict::Unnested,
            Err(fault) => {
                if let Some(Fault { code, message, .. }) = fault {
                    scratch.errors.push(EvalError { code, message, item: ITEM.into() });
                }
                scratch.ends.clear();
                out.truncate(before);
                Verdict::Aborted
            }
        }
    }

    /// Where the array starts: in the payload, or in `scratch.text`, which is then not empty. Fails
    /// with what becomes of a message that has none, or that WHERE does not let through.
    pub(crate) fn find(&self, task: &Task<'_>, scratch: &mut Scratch) -> Result<usize, Verdict> {
        // Another query's elements may have been here before.
        scratch.spans.truncate(task.known);
        scratch.numbers.truncate(task.known);
        let Scratch { spans, numbers, document, errors, text, work, .. } = scratch;
        text.clear();
        let mut context = Context {
            query: task.query,
            input: task.input,
            payload: task.payload,
            text: task.payload,
            map: task.map,
            spans,
            numbers,
            document,
            errors,
            work,
            item: None,
            element: 0,
            aborted: false,
        };
        let fires = task.query.condition().is_none_or(|condition| condition.fires(&mut context));
        if context.aborted {
            return Err(Verdict::Aborted);
        }
        if !fires {
            return Err(Verdict::Filtered);
        }
        if let Expr::Path(path) = self.source
            && context.raw(path).is_some_and(|raw| raw.first() == Some(&b'['))
            && let Some(span) = context.span(path)
        {
            return Ok(span.start as usize);
        }
        let noted = context.errors.len();
        let found = match context.eval(&self.source) {
            Value::Missing | Value::Null => None,
            Value::Json(array) if array.starts_with('[') => {
                // Spans lie in one text: the payload, and the array behind it.
                text.reserve_exact(task.payload.len() + array.len());
                text.extend_from_slice(task.payload);
                text.extend_from_slice(array.as_bytes());
                Some(task.payload.len())
            }
            other => {
                context.fault(Fault::wrong_type(ITEM, "an ARRAY", &other));
                None
            }
        };
        let aborted = context.aborted;
        for error in errors.iter_mut().skip(noted) {
            ITEM.clone_into(&mut error.item);
        }
        match found {
            _ if aborted => Err(Verdict::Aborted),
            Some(start) => Ok(start),
            None => Err(Verdict::Filtered),
        }
    }

    /// Goes through the elements in the order of the array, which starts at `start`; `each` gets what
    /// expressions are evaluated with, and the text of the element. Fails with what `each` fails with,
    /// and when there are too many; without a fault it is noted already.
    pub(crate) fn visit<'a>(
        &self,
        task: &Task<'a>,
        start: usize,
        scratch: &'a mut Scratch,
        mut each: impl FnMut(Context<'a, '_>, &'a [u8]) -> Result<(), Option<Fault>>,
    ) -> Result<(), Option<Fault>> {
        let Scratch { spans, numbers, document, errors, text, work, .. } = scratch;
        let text: &'a [u8] = if text.is_empty() { task.payload } else { text };
        if u32::try_from(text.len()).is_err() {
            return Err(Some(Fault::new("too_large", "document and array have 4 GiB or more")));
        }
        let slots = task.known + self.trie.slots();
        spans.resize(slots, Span::default());
        numbers.resize(slots, Reading::Unknown);
        let mut at = pick::space(text, start + 1);
        let mut element = 0_u32;
        while let Some(byte) = text.get(at)
            && *byte != b']'
        {
            if element as usize >= self.most {
                return Err(Some(self.too_many()));
            }
            if let Some(own) = numbers.get_mut(task.known..) {
                own.fill(Reading::Unknown);
            }
            let own = spans.get_mut(task.known..).unwrap_or_default();
            let Some(end) = pick::pick_at(text, at, &self.trie, own) else { break };
            work.pay(self.price + (end - at) as u64 * VALUE).map_err(Some)?;
            let context = Context {
                query: task.query,
                input: task.input,
                payload: task.payload,
                text,
                map: task.map,
                spans,
                numbers,
                document,
                errors,
                work,
                item: None,
                element,
                aborted: false,
            };
            each(context, text.get(at..end).unwrap_or_default())?;
            element += 1;
            at = pick::space(text, end);
            if text.get(at) == Some(&b',') {
                at = pick::space(text, at + 1);
            }
        }
        Ok(())
    }

    fn too_many(&self) -> Fault {
        let message = format!(
            "the array has more than {} elements, so that none becomes a record; \
             `limits.sql.unnest` says how many may",
            self.most
        );
        Fault::new("too_many_records", message)
    }
}

/// Parts a condition in what is asked once per message and what is asked of each element.
pub(crate) fn split(
    condition: Option<Expr>,
    items: &[Item],
    paths: &[Path],
) -> (Option<Expr>, Option<Expr>) {
    let Some(condition) = condition else { return (None, None) };
    let mut reads = Reads { paths, items: Vec::with_capacity(items.len()) };
    for item in items {
        let found = item.expr().is_some_and(|expr| reads.element(expr));
        reads.items.push(found);
    }
    let mut all = Vec::new();
    conjuncts(condition, &mut all);
    let (inner, outer): (Vec<Expr>, Vec<Expr>) =
        all.into_iter().partition(|part| reads.element(part));
    (join(outer), join(inner))
}

/// Takes AND apart.
fn conjuncts(expr: Expr, all: &mut Vec<Expr>) {
    match expr {
        Expr::And(list) => list.into_iter().for_each(|part| conjuncts(part, all)),
        part => all.push(part),
    }
}

fn join(mut all: Vec<Expr>) -> Option<Expr> {
    match all.len() {
        0 | 1 => all.pop(),
        _ => Some(Expr::And(all)),
    }
}

/// Tells which expressions read the element.
struct Reads<'q> {
    paths: &'q [Path],
    /// The answers for items, which aliases name.
    items: Vec<bool>,
}

impl Reads<'_> {
    fn element(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Path(path) => self.paths.get(*path as usize).is_some_and(|path| path.element),
            Expr::Alias { item, .. } => self.items.get(*item as usize).copied().unwrap_or(true),
            Expr::Call(call) if std::ptr::eq(call.function, &OFFSET) => true,
            _ => expr.children().into_iter().any(|expr| self.element(expr)),
        }
    }
}
