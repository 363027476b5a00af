//! Tidegate: SQL rules over device messages, in one daemon.
//!
//! # The main job
//! A source hands [`Batch`](connectors::contract::Batch)es of messages to the engine's ingress. The
//! engine looks up which rules' topic filters match, reads the fields that those rules name out of
//! the payload in one pass, evaluates WHERE and SELECT, and hands the records to the actions. Each
//! action has a queue of its own, a deadline, a retry schedule and, at the end, the rule's error action.
//!
//! # Map (may use →)
//! `main → cli → api → engine → rule → sql → connectors::contract`; `api` may use `thing`, `registry`
//! and `broker`; `thing` and `broker` may use `registry`, and that the store of `rule`; `history`
//! stands between `thing` and `registry`. The broker and the thing models reach the engine only through the contract's `Ingress`, and the engine reaches the
//! broker only as a `Publisher` that `cli::daemon` passes in. All but `api`, `cli` and `config` are crates
//! of the workspace, which this one shows under its own name.
//!
//! # What is deliberately absent
//! - `sql` does no input or output, has nothing async, and knows no clock but the message's.
//! - A compiled rule is immutable: a change makes a new snapshot, which is swapped in. Start and
//!   reload are one path.
//! - The engine never looks into a payload; the compiled rules do.
//! - No connector retries, and none knows a rule.
//! - No unbounded queue, recursion or retry.
//!
//! # As a library
//! A statement is compiled once and run over any number of messages:
//! ```
//! use std::sync::Arc;
//! use connectors::contract::{Message, NoFacts, Topic, TopicLimits};
//! use tidegate::sql::{Input, Options, Plan, Query, Scratch, Verdict};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let text = r#"SELECT temperature AS t FROM "/a1Pk/+/user/data" WHERE temperature > 38"#;
//! let query = Arc::new(Query::compile(text, &Options::default())?);
//! let plan = Plan::new(vec![query]);
//! let topic = Topic::parse("/a1Pk/dev1/user/data", TopicLimits::default())?;
//! let message = Message::new(topic, r#"{"temperature": 39.50}"#, 0);
//!
//! let (mut scratch, mut record) = (Scratch::default(), Vec::new());
//! plan.prepare(&message.payload, &mut scratch)?;
//! let input = Input { message: &message, facts: &NoFacts, rule: "example", has_topic: true };
//! let verdict = plan.evaluate(0, &input, &message.payload, &mut scratch, &mut record);
//! assert!(matches!(verdict, Verdict::Selected(_)));
//! assert_eq!(record, br#"{"t":39.50}"#);
//! # Ok(())
//! # }
//! ```

pub mod api;
pub mod cli;
pub mod config;

pub use ::{broker, engine, history, registry, rule, sql, thing, web, yaml};
pub use ::yaml::problem;
