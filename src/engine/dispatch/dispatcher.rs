//! What one shard does with a batch: find each message's rules, evaluate them, hand on the records.
//!
//! A dispatcher belongs to one thread and shares nothing that it writes: it has its own topic cache,
//! its own plans, its own buffers, and its own column in the counters.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use contract::{Body, DeviceFacts, Message, Record, Topic};
use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::snapshot::Snapshot;
use crate::delivery::{Fanout, Item};
use crate::watch::Place;
use sql::{self, DataType, Input, Plan, Scratch, Verdict};

/// Topics that a shard remembers the rules of. When more are seen, it starts over: one look-up each.
const TOPICS_MAX: usize = 1 << 16;
/// Different sets of rules that a shard keeps a plan for.
const PLANS_MAX: usize = 1 << 13;

/// Counts of one shard that are not of one rule.
#[derive(Debug, Default)]
pub struct ShardCounts {
    /// Messages taken out of the shard's queue.
    pub received: AtomicU64,
    /// Of those: no rule wanted the topic.
    pub unmatched: AtomicU64,
}

/// Evaluates batches on one thread.
pub struct Dispatcher {
    shard: usize,
    /// Where it says what it evaluates.
    place: Option<Arc<Place>>,
    facts: Arc<dyn DeviceFacts>,
    counts: Arc<ShardCounts>,
    snapshot: Arc<Snapshot>,
    topics: HashMap<Box<str>, Wanted, RandomState>,
    sets: HashMap<Box<[u32]>, u32, RandomState>,
    plans: Vec<RuleSetPlan>,
    touched: Vec<u32>,
    ids: Vec<u32>,
    scratch: Scratch,
    out: Vec<u8>,
    selected: Vec<Selected>,
    /// The position in the log of the last message that has one.
    last: u64,
}

/// The plan of a topic, if any rule wants it.
type Wanted = Option<u32>;

/// The rules that match the same topics, prepared to run over one payload.
struct RuleSetPlan {
    rules: Box<[u32]>,
    plan: Plan,
    /// Messages of the present batch.
    seen: u64,
    /// Of those: the payload is no JSON.
    invalid: u64,
}

/// A record that waits for the end of the batch.
struct Selected {
    rule: u32,
    message: u32,
    body: Body,
    bytes: Range<usize>,
}

impl Dispatcher {
    /// A dispatcher that counts in column `shard`.
    #[must_use]
    pub fn new(shard: usize, facts: Arc<dyn DeviceFacts>, counts: Arc<ShardCounts>) -> Self {
        Self {
            shard,
            place: None,
            facts,
            counts,
            snapshot: Arc::default(),
            topics: HashMap::default(),
            sets: HashMap::default(),
            plans: Vec::new(),
            touched: Vec::new(),
            ids: Vec::new(),
            scratch: Scratch::default(),
            out: Vec::new(),
            selected: Vec::new(),
            last: 0,
        }
    }

    /// The same, saying what it evaluates.
    pub(super) fn watched(self, place: Arc<Place>) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Runs the rules of a snapshot over messages and gives the records to the actions' lanes.
    pub fn run(&mut self, snapshot: &Arc<Snapshot>, messages: Vec<Message>) {
        if !Arc::ptr_eq(snapshot, &self.snapshot) {
            self.snapshot = Arc::clone(snapshot);
            self.forget();
        }
        let mut unmatched = 0;
        for (index, message) in messages.iter().enumerate() {
            match self.wanted(&message.topic) {
                Some(plan) => {
                    if let Some(place) = &self.place {
                        place.begin(message.position);
                    }
                    self.evaluate(plan, index, message);
                    if let Some(place) = &self.place {
                        place.end();
                    }
                }
                None => unmatched += 1,
            }
        }
        add(&self.counts.received, messages.len() as u64);
        add(&self.counts.unmatched, unmatched);
        self.count();
        let last = messages.iter().rev().find_map(|message| message.position);
        if !self.selected.is_empty() {
            self.hand_on(messages);
        }
        self.last = last.unwrap_or(self.last);
    }

    /// The plan for a topic: from the cache, or found in the index.
    fn wanted(&mut self, topic: &Topic) -> Wanted {
        if let Some(wanted) = self.topics.get(topic.as_str()) {
            return *wanted;
        }
        if self.topics.len() >= TOPICS_MAX || self.plans.len() >= PLANS_MAX {
            self.forget();
        }
        let mut ids = std::mem::take(&mut self.ids);
        ids.clear();
        match sql::forwarded(topic) {
            Some(topic) => self.snapshot.index.lookup(&topic, &mut ids),
            None => self.snapshot.index.lookup(topic, &mut ids),
        }
        let wanted = (!ids.is_empty()).then(|| self.plan_for(&ids));
        self.ids = ids;
        self.topics.insert(topic.as_str().into(), wanted);
        wanted
    }

    fn plan_for(&mut self, ids: &[u32]) -> u32 {
        if let Some(plan) = self.sets.get(ids) {
            return *plan;
        }
        let queries = ids.iter().map(|id| Arc::clone(&self.snapshot.rules[*id as usize].query));
        let plan = Plan::new(queries.collect());
        let number = u32::try_from(self.plans.len()).unwrap_or(u32::MAX);
        self.plans.push(RuleSetPlan { rules: ids.into(), plan, seen: 0, invalid: 0 });
        self.sets.insert(ids.into(), number);
        number
    }

    /// Forgets what was learned; called between batches or when a cache is full.
    fn forget(&mut self) {
        self.count();
        self.topics.clear();
        self.sets.clear();
        self.plans.clear();
    }

    fn evaluate(&mut self, plan: u32, index: usize, message: &Message) {
        let entry = &mut self.plans[plan as usize];
        if entry.seen == 0 {
            self.touched.push(plan);
        }
        entry.seen += 1;
        let valid = entry.plan.prepare(&message.payload, &mut self.scratch).is_ok();
        entry.invalid += u64::from(!valid);
        for (place, id) in entry.rules.iter().enumerate() {
            let rule = &self.snapshot.rules[*id as usize];
            if !valid && rule.query.data_type() == DataType::Json {
                continue;
            }
            let start = self.out.len();
            let input = Input { message, facts: &*self.facts, rule: &rule.name, has_topic: true };
            let verdict = entry.plan.evaluate(
                place,
                &input,
                &message.payload,
                &mut self.scratch,
                &mut self.out,
            );
            let errors = self.scratch.errors();
            if !errors.is_empty() {
                rule.stats.count_errors(self.shard, errors.iter().map(|error| error.code));
            }
            match verdict {
                Verdict::Filtered => {}
                Verdict::Aborted => {
                    self.out.truncate(start);
                    rule.stats.of(self.shard).aborted.bump(1);
                }
                Verdict::Selected(_) | Verdict::Unnested => {
                    rule.stats.of(self.shard).selected.bump(1);
                    let message = u32::try_from(index).unwrap_or(u32::MAX);
                    for (body, bytes) in verdict.records(&self.scratch, start..self.out.len()) {
                        self.selected.push(Selected { rule: *id, message, body, bytes });
                    }
                }
            }
        }
    }

    /// Adds what the batch's plans have seen to their rules' counters.
    fn count(&mut self) {
        for plan in self.touched.drain(..) {
            let Some(entry) = self.plans.get_mut(plan as usize) else { continue };
            for id in &entry.rules {
                let rule = &self.snapshot.rules[*id as usize];
                let stats = rule.stats.of(self.shard);
                stats.received.bump(entry.seen);
                if rule.query.data_type() == DataType::Json {
                    stats.invalid.bump(entry.invalid);
                }
            }
            entry.seen = 0;
            entry.invalid = 0;
        }
    }

    /// Gives the batch's records to the lanes: one block of bytes, one push per lane.
    fn hand_on(&mut self, messages: Vec<Message>) {
        let messages: Arc<[Message]> = messages.into();
        let since = Instant::now();
        let next = Vec::with_capacity(self.out.len());
        let block = Bytes::from(std::mem::replace(&mut self.out, next));
        self.selected.sort_unstable_by_key(|s| (s.rule, s.message, s.bytes.start));
        for group in self.selected.chunk_by(|a, b| a.rule == b.rule) {
            let Some(first) = group.first() else { continue };
            let rule = &self.snapshot.rules[first.rule as usize];
            let mut before = None;
            let mut nth = 0;
            let mut items: Vec<Item> = group
                .iter()
                .map(|selected| {
                    nth = if before == Some(selected.message) { nth + 1 } else { 0 };
                    before = Some(selected.message);
                    let record = Record::new(
                        Arc::clone(&messages),
                        selected.message as usize,
                        Arc::clone(&rule.name),
                        selected.body,
                        block.slice(selected.bytes.clone()),
                    )
                    .numbered(nth);
                    let error_lane = rule.error_lane.as_ref().map(Arc::clone);
                    let fanout = error_lane
                        .map(|lane| Fanout::new(record.clone(), lane, rule.query.unnests()));
                    let position = record.message().position;
                    let order = || self.order(&messages, selected.message as usize);
                    let order = position.unwrap_or_else(order);
                    Item { record, position, order, fanout, since, number: 0, receipt: None }
                })
                .collect();
            let Some((last, others)) = rule.lanes.split_last() else { continue };
            for lane in others {
                lane.push(self.shard, items.iter().cloned());
            }
            last.push(self.shard, items.drain(..));
        }
        self.selected.clear();
    }

    /// The position of the message before one that the log does not have.
    fn order(&self, messages: &[Message], index: usize) -> u64 {
        let before = messages[..index].iter().rev().find_map(|message| message.position);
        before.unwrap_or(self.last)
    }
}

/// Adds to a counter that only this thread writes.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}
