//! The journal of rule versions: what each cursor of the log was made for, so that records that were
//! accepted under a version of a rule are delivered under it, also after a restart with other rules.
//!
//! One JSON document per line, appended and synced: a version with its cursors, the end of versions
//! that were changed or removed. It is rewritten when it is opened. It may hold what rules hold, and is
//! readable by its owner only. It knows nothing of compiled rules.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::atomic_file;
use rule::{
    Action, ActionPlace, Batching, DataType, Owner, Pending, Retry, Rule, Statement, Then,
    VendorAction,
};

/// The file in the folder of the log.
pub const FILE: &str = "rules.jsonl";

/// What a cursor was made for.
#[derive(Debug, Clone)]
pub struct Version {
    /// The rule as it was.
    pub rule: Arc<Rule>,
    /// Which of its actions.
    pub place: ActionPlace,
    /// The action gets nothing from this position on; `None` while the version was current.
    pub end: Option<u64>,
}

/// The journal, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    /// What the last run has left, until the rules of this one have claimed theirs.
    versions: BTreeMap<String, Version>,
    /// What could not be written yet.
    unwritten: Unwritten,
}

/// Notes that are not in the file.
#[derive(Debug, Default)]
struct Unwritten {
    begun: Vec<Begun>,
    ended: Vec<(Vec<String>, u64)>,
    /// The file may end within a line.
    torn: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// A version came to run.
    Version { rule: Box<StoredRule>, cursors: Vec<(String, Option<usize>)> },
    /// Cursors of versions that were changed or removed at a position.
    End { cursors: Vec<String>, at: u64 },
}

impl Line {
    fn version(rule: &Rule, cursors: impl Iterator<Item = (String, ActionPlace)>) -> Self {
        let place = |place| match place {
            ActionPlace::Nth(place) => Some(place),
            ActionPlace::Error => None,
        };
        let cursors = cursors.map(|(cursor, at)| (cursor, place(at))).collect();
        Self::Version { rule: Box::new(rule.into()), cursors }
    }
}

#[derive(Serialize, Deserialize, Clone)]
struct StoredRule {
    name: String,
    data_type: DataType,
    sql: StoredStatement,
    actions: Vec<StoredAction>,
    error_action: Option<StoredAction>,
    retry: StoredRetry,
}

#[derive(Serialize, Deserialize, Clone)]
#[serde(rename_all = "snake_case")]
enum StoredStatement {
    None,
    Text(String),
    Parts(String, String, Option<String>),
}

#[derive(Serialize, Deserialize, Clone)]
struct StoredAction {
    name: Option<String>,
    connector: String,
    settings: serde_json::Value,
    retry: Option<StoredRetry>,
    deadline: Duration,
    batch: Batching,
    vendor: Option<(String, String)>,
}

#[derive(Serialize, Deserialize, Clone)]
struct StoredRetry {
    delays: Vec<Duration>,
    then: Option<Then>,
    max_age: Duration,
}

impl Journal {
    /// Reads the journal, keeps what belongs to the cursors that exist, and writes that anew. A line
    /// that is not whole was never relied on, and is left out.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path, cursors: &[String]) -> io::Result<Self> {
        let file = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut versions = BTreeMap::new();
        let lines = file.into_iter().flat_map(|file| BufReader::new(file).split(b'\n'));
        for line in lines {
            let line = line?;
            match serde_json::from_slice(&line) {
                Ok(Line::Version { rule, cursors }) => {
                    let rule = Arc::new(Rule::from(*rule));
                    for (cursor, place) in cursors {
                        let place = place.map_or(ActionPlace::Error, ActionPlace::Nth);
                        let version = Version { rule: Arc::clone(&rule), place, end: None };
                        versions.insert(cursor, version);
                    }
                }
                Ok(Line::End { cursors, at }) => {
                    for cursor in cursors {
                        if let Some(version) = versions.get_mut(&cursor) {
                            version.end = Some(at);
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, file = %path.display(), "left a broken line out");
                }
            }
        }
        let cursors: HashSet<&str> = cursors.iter().map(String::as_str).collect();
        versions.retain(|cursor, _| cursors.contains(cursor.as_str()));
        let mut journal =
            Self { path: path.to_owned(), file: None, versions, unwritten: Unwritten::default() };
        journal.rewrite()?;
        Ok(journal)
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let mut by_rule: BTreeMap<*const Rule, Vec<(&String, &Version)>> = BTreeMap::new();
        for (cursor, version) in &self.versions {
            by_rule.entry(Arc::as_ptr(&version.rule)).or_default().push((cursor, version));
        }
        atomic_file::replace(&self.path, |out| {
            for group in by_rule.values() {
                let Some((_, first)) = group.first() else { continue };
                let cursors = group.iter().map(|(name, version)| ((*name).clone(), version.place));
                put_line(out, &Line::version(&first.rule, cursors))?;
                for (cursor, version) in group {
                    if let Some(at) = version.end {
                        let cursors = vec![(*cursor).clone()];
                        put_line(out, &Line::End { cursors, at })?;
                    }
                }
            }
            Ok(())
        })?;
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        Ok(())
    }

    /// Notes versions that come to run, and cursors whose action gets nothing from `end` on. Durable
    /// when it returns; what could not be written is written with the next note.
    ///
    /// # Errors
    /// What the system says; what was noted before stays.
    pub fn note(&mut self, begun: Vec<Begun>, ended: Vec<String>, end: u64) -> io::Result<()> {
        let known = &self.versions;
        let fresh = begun.into_iter().filter(|(cursor, ..)| !known.contains_key(cursor));
        self.unwritten.begun.extend(fresh);
        if !ended.is_empty() {
            self.unwritten.ended.push((ended, end));
        }
        if self.unwritten.begun.is_empty() && self.unwritten.ended.is_empty() {
            return Ok(());
        }
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let written = self.unwritten.append(file);
        self.unwritten.torn = written.is_err();
        if written.is_ok() {
            self.unwritten = Unwritten::default();
        }
        written
    }

    /// All versions of the last run have been claimed or taken over.
    pub fn settle(&mut self) {
        self.versions.clear();
    }

    /// Where the version of a cursor ended, if it did.
    #[must_use]
    pub fn end(&self, cursor: &str) -> Option<u64> {
        self.versions.get(cursor)?.end
    }

    /// What a cursor was made for.
    #[must_use]
    pub fn version(&self, cursor: &str) -> Option<Version> {
        self.versions.get(cursor).cloned()
    }
}

/// A cursor, and the rule and action that it was made for.
type Begun = (String, Arc<Rule>, ActionPlace);

impl Unwritten {
    fn append(&self, file: &File) -> io::Result<()> {
        let mut out = BufWriter::new(file);
        if self.torn {
            // A line that is not whole is left out when it is read.
            out.write_all(b"\n")?;
        }
        for group in self.begun.chunk_by(|a, b| Arc::ptr_eq(&a.1, &b.1)) {
            let Some((_, rule, _)) = group.first() else { continue };
            let cursors = group.iter().map(|(cursor, _, place)| (cursor.clone(), *place));
            put_line(&mut out, &Line::version(rule, cursors))?;
        }
        for (cursors, at) in &self.ended {
            put_line(&mut out, &Line::End { cursors: cursors.clone(), at: *at })?;
        }
        out.flush()?;
        drop(out);
        file.sync_data()
    }
}

fn put_line(out: &mut impl io::Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line).map_err(io::Error::other)?;
    out.write_all(b"\n")
}

/// What tells one version of an action from another: 16 hexadecimal digits over all of the rule that
/// decides what the action gets and what becomes of it.
#[must_use]
pub fn fingerprint(rule: &Rule, place: ActionPlace, action: &Action, retry: &Retry) -> String {
    let statement = StoredStatement::from(rule.sql.as_ref());
    let is_error = place == ActionPlace::Error;
    let action = StoredAction { retry: Some(retry.into()), ..action.into() };
    let all =
        (&rule.name, rule.data_type, statement, action, rule.error_action.is_some(), is_error);
    // What is made of texts, numbers and maps with text keys can be written.
    let text = serde_json::to_vec(&all).unwrap_or_default();
    let digest = Sha256::digest(&text);
    hex::encode(digest.get(..8).unwrap_or_default())
}

impl From<Option<&Statement>> for StoredStatement {
    fn from(statement: Option<&Statement>) -> Self {
        match statement {
            None => Self::None,
            Some(Statement::Text(text)) => Self::Text(text.clone()),
            Some(Statement::Parts { select, from, filter }) => {
                Self::Parts(select.clone(), from.clone(), filter.clone())
            }
        }
    }
}

impl From<StoredStatement> for Option<Statement> {
    fn from(stored: StoredStatement) -> Self {
        match stored {
            StoredStatement::None => None,
            StoredStatement::Text(text) => Some(Statement::Text(text)),
            StoredStatement::Parts(select, from, filter) => {
                Some(Statement::Parts { select, from, filter })
            }
        }
    }
}

impl From<&Retry> for StoredRetry {
    fn from(retry: &Retry) -> Self {
        Self { delays: retry.delays.to_vec(), then: retry.then, max_age: retry.max_age }
    }
}

impl From<StoredRetry> for Retry {
    fn from(stored: StoredRetry) -> Self {
        Self { delays: stored.delays.into(), then: stored.then, max_age: stored.max_age }
    }
}

impl From<&Action> for StoredAction {
    fn from(action: &Action) -> Self {
        let vendor = action.vendor.as_ref();
        Self {
            name: action.name.clone(),
            connector: action.connector.clone(),
            settings: action.settings.clone(),
            retry: action.retry.as_ref().map(Into::into),
            deadline: action.deadline,
            batch: action.batch,
            vendor: vendor.map(|vendor| (vendor.kind.clone(), vendor.region.clone())),
        }
    }
}

impl From<StoredAction> for Action {
    fn from(stored: StoredAction) -> Self {
        Self {
            name: stored.name,
            connector: stored.connector,
            settings: stored.settings,
            retry: stored.retry.map(Into::into),
            deadline: stored.deadline,
            batch: stored.batch,
            vendor: stored.vendor.map(|(kind, region)| VendorAction { kind, region }),
        }
    }
}

impl From<&Rule> for StoredRule {
    fn from(rule: &Rule) -> Self {
        Self {
            name: rule.name.clone(),
            data_type: rule.data_type,
            sql: rule.sql.as_ref().into(),
            actions: rule.actions.iter().map(Into::into).collect(),
            error_action: rule.error_action.as_deref().map(Into::into),
            retry: (&rule.retry).into(),
        }
    }
}

impl From<StoredRule> for Rule {
    fn from(stored: StoredRule) -> Self {
        Self {
            name: stored.name,
            description: String::new(),
            enabled: true,
            data_type: stored.data_type,
            sql: stored.sql.into(),
            actions: stored.actions.into_iter().map(Into::into).collect(),
            error_action: stored.error_action.map(|action| Box::new(action.into())),
            retry: stored.retry.into(),
            pending: Pending::Finish,
            // Nobody can change it any more.
            owner: Owner::Api(0),
        }
    }
}
