//! The queries that match one topic, and what evaluating them over a message needs.
//!
//! A [`Plan`] is immutable and shared; each thread has a [`Scratch`] of its own, which allocates only
//! until it has seen the largest message.

use std::sync::Arc;

use connectors::contract::{Body, DeviceFacts, Message};

use super::DataType;
use super::error::{EvalError, InvalidPayload};
use super::eval::{Context, Reading};
use super::pick::{Span, Trie, pick};
use super::query::Query;

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
    spans: Vec<Span>,
    numbers: Vec<Reading>,
    document: Option<serde_json::Value>,
    errors: Vec<EvalError>,
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
    /// WHERE was not TRUE.
    Filtered,
    /// An error that the vendor documents as ending the run; see [`Scratch::errors`].
    Aborted,
}

impl Plan {
    /// A plan for queries; their order is their index in [`Plan::evaluate`].
    #[must_use]
    pub fn new(queries: Vec<Arc<Query>>) -> Self {
        let steps = queries.iter().flat_map(|query| query.paths().iter().map(|p| &*p.steps));
        let (trie, slots) = Trie::new(steps);
        let mut starts = Vec::with_capacity(queries.len());
        let mut start = 0;
        for query in &queries {
            starts.push(start);
            start += query.paths().len();
        }
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

    /// Evaluates one query and appends at most one record to `out`. The payload is the one that
    /// was prepared. A JSON query over a payload that was refused (or never prepared) is filtered.
    pub fn evaluate(
        &self,
        index: usize,
        input: &Input<'_>,
        payload: &[u8],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Verdict {
        scratch.errors.clear();
        let (Some(query), Some(&start)) = (self.queries.get(index), self.starts.get(index)) else {
            return Verdict::Filtered;
        };
        let binary = query.data_type() == DataType::Binary;
        if !binary && !scratch.ready {
            return Verdict::Filtered;
        }
        let mut context = Context {
            query,
            input,
            payload,
            map: self.slots.get(start..start + query.paths().len()).unwrap_or_default(),
            spans: &scratch.spans,
            numbers: &mut scratch.numbers,
            document: &mut scratch.document,
            errors: &mut scratch.errors,
            item: None,
            aborted: false,
        };
        query.run(&mut context, out)
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
}
