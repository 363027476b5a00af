//! One statement, compiled: immutable, shared by all threads.

use contract::{Body, Topic, TopicFilter, TopicLimits};

use super::compile::Tree;
use super::elements::Unnest;
use super::error::{Mistakes, Warning};
use super::eval::Context;
use super::expr::{Content, Expr, Item};
use super::json_path::JsonPath;
use super::path::Path;
use super::plan::Verdict;
use super::predicate::Program;
use super::project::{self, Projection};
use super::{DataType, Limits, Options};

/// A compiled statement.
#[derive(Debug)]
pub struct Query {
    pub(super) data_type: DataType,
    pub(super) filter: TopicFilter,
    pub(super) items: Vec<Item>,
    pub(super) projection: Projection,
    pub(super) condition: Option<Program>,
    /// Most statements have none.
    pub(super) unnest: Option<Box<Unnest>>,
    pub(super) paths: Vec<Path>,
    pub(super) json_paths: Vec<JsonPath>,
    pub(super) warnings: Vec<Warning>,
    pub(super) time_zone: jiff::tz::TimeZone,
    /// Units of work for one message.
    pub(super) work: u64,
}

impl Query {
    /// Compiles `SELECT … FROM "…" [, UNNEST(…) AS …] [WHERE …]`.
    ///
    /// # Errors
    /// What is wrong, where in the text, what was expected, and a hint: of each item, of FROM and of
    /// WHERE the first mistake.
    pub fn compile(text: &str, options: &Options) -> Result<Self, Mistakes> {
        Tree::compile(text, options).map(Tree::finish)
    }

    /// Compiles the three parts of a statement: the items, the topic filter without quotes, and the
    /// condition. An empty condition counts as none. The elements of an array are an item here:
    /// `unnest(a) AS x`.
    ///
    /// # Errors
    /// As [`Query::compile`]; the message names the part, and the position is relative to it.
    pub fn from_parts(
        select: &str,
        from: &str,
        filter: Option<&str>,
        options: &Options,
    ) -> Result<Self, Mistakes> {
        Tree::from_parts(select, from, filter, options).map(Tree::finish)
    }

    /// A query that selects nothing, for expressions that need none of its parts.
    pub(crate) fn empty(filter: TopicFilter) -> Self {
        Self {
            data_type: DataType::Json,
            filter,
            items: Vec::new(),
            projection: Projection::new(&[]),
            condition: None,
            unnest: None,
            paths: Vec::new(),
            json_paths: Vec::new(),
            warnings: Vec::new(),
            time_zone: jiff::tz::TimeZone::UTC,
            work: Limits::default().work,
        }
    }

    /// The topics that the rule reads. A leading `/sys` before `/{pk}/{dn}/thing/` is gone: both
    /// spellings name the forwarded document.
    #[must_use]
    pub fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// True when the rule reads a topic, in either spelling of a system topic.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        match forwarded(topic) {
            Some(topic) => self.filter.matches(&topic),
            None => self.filter.matches(topic),
        }
    }

    /// The same for the text of a topic that is known to be valid.
    #[must_use]
    pub fn matches_text(&self, topic: &str) -> bool {
        TopicFilter::text_matches(self.filter.as_str(), without_sys(topic))
    }

    /// How payloads are read.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    /// What is allowed but probably not meant.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The keys that a record can have, in order; `None` when the document decides (`*`, `a.*`).
    #[must_use]
    pub fn output_keys(&self) -> Option<Vec<String>> {
        let mut keys: Vec<String> = Vec::with_capacity(self.items.len());
        for item in &self.items {
            if !matches!(item.content, Content::Value(_)) {
                return None;
            }
            if !keys.contains(&item.key) {
                keys.push(item.key.clone());
            }
        }
        Some(keys)
    }

    /// The paths that the statement names, JSONPath aside.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// True when a message can give several records.
    #[must_use]
    pub fn unnests(&self) -> bool {
        self.unnest.is_some()
    }

    pub(crate) fn unnest(&self) -> Option<&Unnest> {
        self.unnest.as_deref()
    }

    pub(crate) fn json_paths(&self) -> &[JsonPath] {
        &self.json_paths
    }

    pub(crate) fn condition(&self) -> Option<&Program> {
        self.condition.as_ref()
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(crate) fn time_zone(&self) -> &jiff::tz::TimeZone {
        &self.time_zone
    }

    /// The units of work that one message may take.
    pub(crate) fn work(&self) -> u64 {
        self.work
    }

    /// The expression of an item that has one.
    pub(crate) fn value_of(&self, item: usize) -> Option<&Expr> {
        match &self.items.get(item)?.content {
            Content::Value(expr) => Some(expr),
            _ => None,
        }
    }

    /// WHERE, then SELECT.
    pub(crate) fn run<'a>(&'a self, context: &mut Context<'a, '_>, out: &mut Vec<u8>) -> Verdict {
        let fires = self.condition.as_ref().is_none_or(|condition| condition.fires(context));
        if context.aborted {
            return Verdict::Aborted;
        }
        if !fires {
            return Verdict::Filtered;
        }
        self.select(context, out);
        match (context.aborted, &self.projection) {
            (true, _) => Verdict::Aborted,
            (false, Projection::Payload) if self.data_type == DataType::Binary => {
                Verdict::Selected(Body::Binary)
            }
            (false, _) => Verdict::Selected(Body::Json),
        }
    }

    /// SELECT alone: appends one record, nothing when the run is aborted.
    pub(crate) fn select<'a>(&'a self, context: &mut Context<'a, '_>, out: &mut Vec<u8>) {
        project::write(context, &self.items, &self.projection, out);
    }
}

/// The topic under which rules know a system topic: without the leading `/sys`. `None` for a topic
/// that keeps its name.
#[must_use]
pub fn forwarded(topic: &Topic) -> Option<Topic> {
    let short = without_sys(topic.as_str());
    if short.len() == topic.as_str().len() {
        return None;
    }
    let limits = TopicLimits { bytes: short.len(), levels: usize::MAX };
    Topic::parse(short.to_owned(), limits).ok()
}

/// A topic or filter without the `/sys` before `/{pk}/{dn}/thing/`.
pub(super) fn without_sys(text: &str) -> &str {
    match text.strip_prefix("/sys") {
        Some(rest) if is_system(rest) => rest,
        _ => text,
    }
}

/// True for `/{pk}/{dn}/thing/…`.
pub(super) fn is_system(text: &str) -> bool {
    let mut levels = text.split('/');
    levels.next() == Some("") && levels.nth(2) == Some("thing") && levels.next().is_some()
}
