//! The queries that match one topic, and what evaluating them over a message needs.
//!
//! A [`Plan`] is immutable and shared; each thread has a [`Scratch`] of its own, which allocates only
//! until it has seen the largest message.

use std::ops::Range;
use std::sync::Arc;

use contract::{Body, DeviceFacts, Message};

use super::DataType;
use super::elements::Task;
use super::error::{EvalError, InvalidPayload};
use super::eval::{Context, Reading};
use super::pick::{Span, Trie, pick};
use super::query::Query;
use super::work::Work;

/// Queries that are evaluated over the same messages. All paths that they name are found in one pass
/// over the payload.
#[derive(Debug)]
pub struct Plan {
    queries: Vec<Arc<Query>>,
    trie: Trie,
    /// For each query, where its part of `slots` starts.
    starts: Vec<usize>,
    /// For each path of each query its slot.
    slots: Vec<u32>,
}

/// What a thread needs to evaluate plans; any plan, one after the other.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) spans: Vec<Span>,
    pub(super) numbers: Vec<Reading>,
    pub(super) document: Option<serde_json::Value>,
    pub(super) errors: Vec<EvalError>,
    /// The payload and behind it the array that UNNEST computed.
    pub(super) text: Vec<u8>,
    /// Where the records of the last [`Verdict::Unnested`] end in the output.
    pub(super) ends: Vec<usize>,
    /// What the evaluation may still cost.
    pub(super) work: Work,
    ready: bool,
}

/// A message and what may be asked about it.
pub struct Input<'a> {
    /// The message.
    pub message: &'a Message,
    /// What is known about devices.
    pub facts: &'a dyn DeviceFacts,
    /// The rule's name: part of what `rand()` and `newuuid()` are made from.
    pub rule: &'a str,
    /// False when the message came without a topic (`tidegate sql` without `--topic`): functions of
    /// the topic are then MISSING.
    pub has_topic: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One record was appended.
    Selected(Body),
    /// UNNEST: JSON records were appended, at least one; [`Verdict::records`] tells them apart.
    Unnested,
    /// WHERE was not TRUE, or UNNEST found no element for which it was.
    Filtered,
    /// An error that ends the run: as the vendor documents it, or too many records; see
    /// [`Scratch::errors`].
    Aborted,
}

impl Verdict {
    /// The records of an evaluation, in order, each with its place in the output. `appended` is what
    /// the evaluation has appended, and `scratch` that of the evaluation.
    pub fn records(
        self,
        scratch: &Scratch,
        appended: Range<usize>,
    ) -> impl Iterator<Item = (Body, Range<usize>)> {
        let mut from = appended.start;
        let (one, ends) = match self {
            Self::Selected(body) => (Some((body, appended)), &[][..]),
            Self::Unnested => (None, &*scratch.ends),
            Self::Filtered | Self::Aborted => (None, &[][..]),
        };
        one.into_iter().chain(ends.iter().map(move |end| {
            let start = std::mem::replace(&mut from, *end);
            (Body::Json, start..*end)
        }))
    }
}

impl Plan {
    /// A plan for queries; their order is their index in [`Plan::evaluate`].
    #[must_use]
    pub fn new(queries: Vec<Arc<Query>>) -> Self {
        let paths = queries.iter().flat_map(|query| query.paths());
        let (trie, ends) = Trie::new(paths.filter(|path| !path.element).map(|path| &*path.steps));
        let first = u32::try_from(trie.slots()).expect("invariant: statements are bounded");
        let mut ends = ends.into_iter();
        let mut starts = Vec::with_capacity(queries.len());
        let mut slots = Vec::new();
        for query in &queries {
            starts.push(slots.len());
            for (at, path) in query.paths().iter().enumerate() {
                // The slots of elements, of one query at a time, lie behind those of the document.
                let of_element = query.unnest().filter(|_| path.element);
                let slot = of_element.map(|unnest| first + unnest.slot(at));
                slots.extend(slot.or_else(|| ends.next()));
            }
        }
        slots.shrink_to_fit();
        Self { queries, trie, starts, slots }
    }

    /// The queries in the order of their indices.
    #[must_use]
    pub fn queries(&self) -> &[Arc<Query>] {
        &self.queries
    }

    /// Reads a payload: validates all of it (RFC 8259, UTF-8, at most 128 levels) and finds the
    /// values that the queries name. Needed once per message before JSON queries are evaluated;
    /// binary queries do without.
    ///
    /// # Errors
    /// Where the payload stops being JSON. JSON queries then do not fire.
    pub fn prepare(&self, payload: &[u8], scratch: &mut Scratch) -> Result<(), InvalidPayload> {
        scratch.document = None;
        let result = pick(payload, &self.trie, &mut scratch.spans);
        scratch.numbers.clear();
        scratch.numbers.resize(scratch.spans.len(), Reading::Unknown);
        scratch.ready = result.is_ok();
        result
    }

    /// Evaluates one query and appends what it selects to `out`: at most one record, with UNNEST at
    /// most one per element. The payload is the one that was prepared. A JSON query over a payload
    /// that was refused (or never prepared) is filtered.
    pub fn evaluate(
        &self,
        index: usize,
        input: &Input<'_>,
        payload: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Verdict {
        scratch.errors.clear();
        let Some(query) = self.queries.get(index) else { return Verdict::Filtered };
        scratch.work.set(query.work());
        let binary = query.data_type() == DataType::Binary;
        if !binary && !scratch.ready {
            return Verdict::Filtered;
        }
        if let Some(unnest) = query.unnest() {
            return unnest.run(&self.task(index, query, input, payload), scratch, out);
        }
        let mut context = self.context(index, query, input, payload, scratch);
        query.run(&mut context, out)
    }

    /// For each path of the query at an index its slot.
    fn map(&self, index: usize, query: &Query) -> &[u32] {
        let start = self.starts.get(index).copied().unwrap_or_default();
        self.slots.get(start..start + query.paths().len()).unwrap_or_default()
    }

    /// What UNNEST of a query works on; the query is the one at that index, or has the same paths.
    pub(crate) fn task<'a>(
        &'a self,
        index: usize,
        query: &'a Query,
        input: &'a Input<'a>,
        payload: &'a [u8],
    ) -> Task<'a> {
        Task { query, input, payload, map: self.map(index, query), known: self.trie.slots() }
    }

    /// What expressions of a query are evaluated with; the query is the one at that index, or has
    /// the same paths.
    pub(crate) fn context<'a, 's>(
        &'a self,
        index: usize,
        query: &'a Query,
        input: &'a Input<'a>,
        payload: &'a [u8],
        scratch: &'s mut Scratch,
    ) -> Context<'a, 's> {
        Context {
            query,
            input,
            payload,
            text: payload,
            map: self.map(index, query),
            spans: &scratch.spans,
            numbers: &mut scratch.numbers,
            document: &mut scratch.document,
            errors: &mut scratch.errors,
            work: &scratch.work,
            item: None,
            element: 0,
            aborted: false,
        }
    }
}

impl Scratch {
    /// Nothing prepared yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The errors of the last evaluation.
    #[must_use]
    pub fn errors(&self) -> &[EvalError] {
        &self.errors
    }

    /// The units of work that are left of the budget of the last evaluation.
    #[must_use]
    pub fn work_left(&self) -> u64 {
        self.work.left()
    }
}
