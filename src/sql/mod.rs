//! The SQL of rules: from text to an evaluator that reads payloads and writes records.
//!
//! `Query::compile` parses one statement; a [`Plan`] joins the queries that match one topic, so that
//! a payload is read once for all of them. Nothing here does input or output, is async, or knows a
//! clock but the message's.

mod advice;
mod check;
mod compile;
mod dialect;
mod elements;
mod error;
mod eval;
mod examine;
pub mod explain;
mod expr;
mod fold;
pub mod functions;
mod json;
mod json_path;
mod lex;
mod like;
mod lower;
mod measure;
mod number;
mod path;
pub mod peers;
mod pick;
mod plan;
mod predicate;
mod print;
mod project;
mod query;
mod set;
mod statement;
mod unnest;
mod value;
mod work;

use contract::TopicLimits;
use schemars::JsonSchema;
use serde::Deserialize;

pub use advice::instead;
pub use error::{Error, EvalError, InvalidPayload, Mistakes, Warning};
pub use explain::Explanation;
pub use number::Num;
pub use path::{Path, Step};
pub use pick::JSON_DEPTH;
pub use plan::{Input, Plan, Scratch, Verdict};
pub use query::{Query, forwarded};
pub use value::{Number, Value};
pub use work::Price;

/// How a rule reads payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    /// JSON documents; fields can be named.
    #[default]
    Json,
    /// Bytes that are passed on or encoded, never parsed.
    Binary,
}

/// What a statement may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a statement's text.
    pub text: usize,
    /// Levels of nesting: parentheses, brackets, CASE, operators and aliases within each other.
    pub depth: usize,
    /// Names, constants and operators of a statement; constants in an IN list do not count.
    pub nodes: usize,
    /// Values in one IN list.
    pub in_list: usize,
    /// Items of a SELECT.
    pub items: usize,
    /// Elements that UNNEST takes apart in one message, and hence records of it; a longer array ends
    /// the run with the error `too_many_records`.
    pub unnest: usize,
    /// Units of work that a rule may take for one message; ten of them are about a nanosecond. What would
    /// take more is MISSING with the error `too_costly`; with UNNEST the run ends.
    pub work: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text: 64 * 1024,
            depth: 64,
            nodes: 10_000,
            in_list: 10_000,
            items: 50,
            unnest: 1_000,
            work: work::BUDGET,
        }
    }
}

/// What compiling a statement needs beside its text.
#[derive(Debug, Clone)]
pub struct Options {
    /// How payloads are read.
    pub data_type: DataType,
    /// The zone in which `timestamp(format)` writes.
    pub time_zone: jiff::tz::TimeZone,
    /// What the statement may hold.
    pub limits: Limits,
    /// What its topic filter may hold.
    pub topic_limits: TopicLimits,
}

impl Default for Options {
    /// JSON, UTC and the default limits.
    fn default() -> Self {
        Self {
            data_type: DataType::Json,
            time_zone: jiff::tz::TimeZone::UTC,
            limits: Limits::default(),
            topic_limits: TopicLimits::default(),
        }
    }
}
