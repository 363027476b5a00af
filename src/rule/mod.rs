//! Rules: what they are as written, whoever wrote them, and what they are compiled to.
//!
//! This module knows no queue and no thread: the engine runs what is compiled here.

mod compiled;
pub mod envelope;
pub mod file;
mod selftest;
pub mod store;
mod templates;

pub use compiled::{CompiledRule, Compiler, Fault, check_name};
pub use selftest::{Change, Difference, Report, RuleTest};

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A rule as written, from a file or over the API.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Unique among all rules; 4–30 characters where a CJK character counts 2.
    pub name: String,
    /// For people; at most 100 characters.
    pub description: String,
    /// A rule that is not enabled is compiled and checked, but gets no messages.
    pub enabled: bool,
    /// How payloads are read.
    pub data_type: DataType,
    /// The statement; `None` for a rule of the API that has no SQL yet.
    pub sql: Option<Statement>,
    /// At most ten.
    pub actions: Vec<Action>,
    /// Gets the envelope of what could not be delivered.
    pub error_action: Option<Box<Action>>,
    /// For all actions that have none of their own.
    pub retry: Retry,
    /// What becomes of records that wait when the rule is changed.
    pub pending: Pending,
    /// Who may change it.
    pub owner: Owner,
}

impl Rule {
    /// The action at a place, when there is one.
    #[must_use]
    pub fn action(&self, place: ActionPlace) -> Option<&Action> {
        match place {
            ActionPlace::Nth(place) => self.actions.get(place),
            ActionPlace::Error => self.error_action.as_deref(),
        }
    }

    /// The name of an action among all of its rule: its label, with `_2` and so on when earlier
    /// actions have the same.
    ///
    /// # Panics
    /// When there is no action at `place`: a programming error.
    #[must_use]
    pub fn action_name(&self, place: usize) -> Cow<'_, str> {
        let label = self.actions[place].label();
        let before = self.actions.iter().take(place).filter(|a| a.label() == label).count();
        match before {
            0 => Cow::Borrowed(label),
            before => Cow::Owned(format!("{label}_{}", before + 1)),
        }
    }
}

/// Which of a rule's actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionPlace {
    /// One of the list.
    Nth(usize),
    /// The error action.
    Error,
}

/// What the error action is called where actions have names.
pub const ERROR_ACTION: &str = "error_action";

pub use sql::DataType;

/// The SQL of a rule, in one text or in the three parts that the API passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    /// `SELECT … FROM "…" WHERE …`.
    Text(String),
    /// What follows each keyword.
    Parts {
        /// The items.
        select: String,
        /// The topic filter without quotes.
        from: String,
        /// The predicate, if there is one.
        filter: Option<String>,
    },
}

impl Statement {
    /// The statement in words.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn explain(&self, options: &sql::Options) -> Result<sql::Explanation, sql::Mistakes> {
        match self {
            Self::Text(text) => sql::Explanation::new(text, options),
            Self::Parts { select, from, filter } => {
                sql::Explanation::from_parts(select, from, filter.as_deref(), options)
            }
        }
    }
}

/// What to do with a record: a connector and its settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// For people and metrics; `None` means the connector's name.
    pub name: Option<String>,
    /// The name in the catalogue of sinks.
    pub connector: String,
    /// The settings, as the connector's schema says.
    pub settings: serde_json::Value,
    /// Instead of the rule's.
    pub retry: Option<Retry>,
    /// The longest that one delivery may take.
    pub deadline: Duration,
    /// Which records go together into one delivery.
    pub batch: Batching,
    /// What the error envelope calls `actionType` and `actionRegion`, for actions of the API.
    pub vendor: Option<VendorAction>,
}

/// Which records go together into one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batching {
    /// Records at most; `None` means what the sink prefers.
    pub rows: Option<usize>,
    /// Bytes of their bodies at most; one record always goes.
    pub bytes: usize,
    /// How long a delivery that is not full waits for more records.
    pub linger: Duration,
}

/// Bytes of a delivery, unless an action says otherwise.
pub const BATCH_BYTES: usize = 4 << 20;

impl Default for Batching {
    fn default() -> Self {
        Self { rows: None, bytes: BATCH_BYTES, linger: Duration::ZERO }
    }
}

impl Action {
    /// The name for people and metrics.
    #[must_use]
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.connector)
    }
}

/// How an action was named in the vendor's protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorAction {
    /// `OTS`, `FC`, …
    pub kind: String,
    /// `cn-shanghai`, …; empty when the action has none.
    pub region: String,
}

/// The longest that one delivery may take, unless an action says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// When to try again after a failure that can heal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The pause before each further try.
    pub delays: Arc<[Duration]>,
    /// What comes afterwards; `None`: the error action of a rule that has one, else `Keep`.
    pub then: Option<Then>,
    /// The longest that a record waits for its destination.
    pub max_age: Duration,
}

/// What becomes of a record after the scheduled tries have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The rule's error action gets it.
    ErrorAction,
    /// It is kept and tried again and again, up to once a minute, until `max_age`.
    Keep,
}

/// What becomes of records that wait for an action when its rule is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pending {
    /// They are delivered under the version that accepted them.
    #[default]
    Finish,
    /// The new version makes its own records of their messages and delivers those. An action takes
    /// over from the one of the same name.
    HandOver,
}

/// The longest that a record waits for its destination, unless a rule says otherwise.
pub const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Default for Retry {
    /// After 1 s, 3 s and 10 s (`aliyun` rule engine, "set data forwarding rules").
    fn default() -> Self {
        /// One list for all rules that have none of their own.
        static DELAYS: LazyLock<Arc<[Duration]>> =
            LazyLock::new(|| [1, 3, 10].map(Duration::from_secs).into());
        Self { delays: Arc::clone(&DELAYS), then: None, max_age: MAX_AGE }
    }
}

/// Who may change a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A rule file; read-only in the API.
    File {
        /// The file.
        path: PathBuf,
        /// The line of the rule in it, from 1.
        line: usize,
    },
    /// The API; kept in the store under this id.
    Api(u64),
}
