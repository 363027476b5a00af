//! From a file of foreign statements to what becomes of each here.
//!
//! Statements are separated by `;` and by blank lines. Nothing here knows an idiom of a peer.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use sqlparser::tokenizer::Token;

use super::edit::{Edit, View, constant, deeper};
use super::{Peer, aws, ekuiper, emqx, idioms, names};
use crate::functions;
use crate::{Options, Query};

/// A statement of a file and what becomes of it.
#[derive(Debug)]
pub struct Finding {
    /// The line that it starts on, from 1.
    pub line: usize,
    /// As it was written.
    pub text: String,
    /// What becomes of it.
    pub report: Report,
}

/// What becomes of a foreign statement. Its text is what `tidegate check --from` prints.
#[derive(Debug, PartialEq, Eq)]
pub enum Report {
    /// It works as it stands.
    Works {
        /// What means something else here, or looks unintended.
        notes: Vec<String>,
    },
    /// It works after changes.
    Changed {
        /// What has to be changed.
        changes: Vec<String>,
        /// The statements that it becomes; none when it is not needed here.
        sql: Vec<String>,
        /// As above.
        notes: Vec<String>,
    },
    /// It can't be said.
    Refused {
        /// Why, one for each thing that stands in the way.
        reasons: Vec<Reason>,
    },
}

/// Why something can't be said, and the nearest that can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What there is not.
    pub why: String,
    /// What comes nearest.
    pub nearest: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let notes = match self {
            Self::Works { notes } => {
                f.write_str("works as it stands")?;
                notes
            }
            Self::Changed { changes, sql, notes } => {
                f.write_str(match (changes.len(), sql.is_empty()) {
                    (_, true) => "is not needed here",
                    (1, _) => "works after one change",
                    _ => "works after changes",
                })?;
                changes.iter().try_for_each(|change| write!(f, "\n  change: {change}"))?;
                for statement in sql {
                    let lines = statement.lines().map(str::trim).filter(|line| !line.is_empty());
                    for (at, line) in lines.enumerate() {
                        write!(f, "\n  {} {line}", if at == 0 { "write:" } else { "      " })?;
                    }
                }
                notes
            }
            Self::Refused { reasons } => {
                f.write_str("cannot be said here")?;
                for Reason { why, nearest } in reasons {
                    write!(f, "\n  why: {why}\n  nearest: {nearest}")?;
                }
                return Ok(());
            }
        };
        notes.iter().try_for_each(|note| write!(f, "\n  note: {note}"))
    }
}

/// A way in which a peer writes what is written differently here.
pub(super) struct Rewrite {
    pub(super) peers: &'static [Peer],
    /// What users are told when it was applied.
    pub(super) change: &'static str,
    /// The edits that make it ours; none when the idiom is not there.
    pub(super) find: fn(&View<'_>, &Streams) -> Vec<Edit>,
}

/// The topics of eKuiper's streams by their names, as the file declares them.
pub(super) type Streams = HashMap<String, String>;

/// Looks at all statements of a file that was written for a peer.
#[must_use]
pub fn check(peer: Peer, text: &str, options: &Options) -> Vec<Finding> {
    let statements = statements(text, options);
    let mut streams = Streams::new();
    if peer == Peer::Ekuiper {
        for (_, statement) in &statements {
            if let Ok(view) = View::read(statement, &options.limits)
                && let Some((name, topic)) = ekuiper::stream(&view)
            {
                streams.insert(name, topic);
            }
        }
    }
    let judged = statements.into_iter().map(|(line, text)| {
        let report = judge(peer, text, &streams, options);
        Finding { line, text: text.to_owned(), report }
    });
    judged.collect()
}

/// The statements of a file and the lines that they start on.
fn statements<'t>(text: &'t str, options: &Options) -> Vec<(usize, &'t str)> {
    let mut found = Vec::new();
    let mut from = 0;
    let mut blocks = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            blocks.push(from..at);
            from = at + line.len();
        }
        at += line.len();
    }
    blocks.push(from..text.len());
    for block in blocks {
        let source = text.get(block.clone()).unwrap_or_default();
        let before = text.get(..block.start).unwrap_or_default();
        let first = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
        let Ok(view) = View::read(source, &options.limits) else {
            found.push((first, source.trim_end()));
            continue;
        };
        for part in parts(&view) {
            let part = view.all().get(part).unwrap_or_default();
            if let (Some(start), Some(end)) = (part.first(), part.last()) {
                let statement = source.get(start.start..end.end).unwrap_or_default();
                found.push((first + start.at.line - 1, statement));
            }
        }
    }
    found
}

/// Words that begin a statement.
const OPENINGS: &[&str] = &["SELECT", "FOREACH", "CREATE"];

/// Words behind which a SELECT belongs to the statement that it follows.
const JOINTS: &[&str] = &["UNION", "ALL", "DISTINCT", "EXCEPT", "INTERSECT", "AS"];

/// The statements among the lexemes of a block: semicolons part them, and so does a line that begins
/// one where the one before is whole.
fn parts(view: &View<'_>) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut from, mut depth, mut whole) = (0, 0_usize, false);
    for at in 0..view.len() {
        let lexeme = &view.all()[at];
        depth = deeper(depth, Some(&lexeme.token));
        let opens = |at: usize| OPENINGS.iter().any(|word| view.is(at, word));
        let last = at.checked_sub(1).filter(|last| *last >= from);
        let new_line = last.is_some_and(|last| view.all()[last].at.line < lexeme.at.line);
        if lexeme.token == Token::SemiColon {
            parts.push(from..at);
            (from, depth, whole) = (at + 1, 0, false);
        } else if depth == 0 && new_line && whole && opens(at) {
            let joint = |last| JOINTS.iter().any(|word| view.is(last, word));
            if !last.is_some_and(joint) {
                parts.push(from..at);
                (from, whole) = (at, false);
            }
        }
        // A SELECT is whole with its FROM, a stream with its name.
        whole |= depth == 0 && opens(from) && (view.is(at, "FROM") || view.is(from, "CREATE"));
    }
    parts.push(from..view.len());
    parts
}

/// What becomes of one statement.
fn judge(peer: Peer, text: &str, streams: &Streams, options: &Options) -> Report {
    let refused = |reasons| Report::Refused { reasons };
    let mut text = text.to_owned();
    let mut changes: Vec<String> = Vec::new();
    let mut notes = Vec::new();
    let rewrites = [idioms::REWRITES, aws::REWRITES, emqx::REWRITES, ekuiper::REWRITES];
    match View::read(&text, &options.limits) {
        Ok(view) if peer == Peer::Ekuiper && ekuiper::stream(&view).is_some() => {
            let change = "the topic of a stream stands in FROM itself".to_owned();
            return Report::Changed { changes: vec![change], sql: Vec::new(), notes: Vec::new() };
        }
        Ok(view) => {
            let reasons = idioms::refusals(peer, &view);
            if !reasons.is_empty() {
                return refused(reasons);
            }
            if peer == Peer::Ekuiper && !ekuiper::knows_its_topic(&view, streams) {
                notes.push("put the topic of the stream, its DATASOURCE, behind FROM".to_owned());
            }
        }
        Err(error) => return refused(vec![reason(&error)]),
    }
    for rewrite in rewrites.iter().copied().flatten().filter(|r| r.peers.contains(&peer)) {
        let Ok(view) = View::read(&text, &options.limits) else { break };
        let edits = (rewrite.find)(&view, streams);
        if !edits.is_empty() {
            changes.push(rewrite.change.to_owned());
            text = view.edited(edits);
        }
    }
    let view = match View::read(&text, &options.limits) {
        Ok(view) => view,
        Err(error) => return refused(vec![reason(&error)]),
    };
    let unknown = unknown(peer, &view);
    if !unknown.is_empty() {
        return refused(unknown);
    }
    notes.extend(idioms::notes(peer, &view));
    let sql = each_topic(&view);
    if sql.len() > 1 {
        changes.push("a rule reads one topic filter: write one rule for each".to_owned());
    }
    for statement in &sql {
        match Query::compile(statement, options) {
            Ok(query) => {
                for warning in query.warnings() {
                    let note = format!("{}; {}", warning.message, warning.hint);
                    if !notes.contains(&note) {
                        notes.push(note);
                    }
                }
            }
            Err(mistakes) => {
                return refused(mistakes.all().map(|error| reason(&error)).collect());
            }
        }
    }
    if changes.is_empty() {
        Report::Works { notes }
    } else {
        Report::Changed { changes, sql, notes }
    }
}

fn reason(error: &crate::Error) -> Reason {
    let expected = error.expected.as_deref().map(|text| format!("; expected {text}"));
    Reason {
        why: format!("{}{}", error.message, expected.unwrap_or_default()),
        nearest: error.hint.clone().unwrap_or_else(|| "see the README".to_owned()),
    }
}

/// What the statement calls that there is not.
fn unknown(peer: Peer, view: &View<'_>) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    for at in (0..view.len()).filter(|at| view.calls(*at)) {
        let Some(name) = view.word(at) else { continue };
        if functions::find(name).is_some() || name.eq_ignore_ascii_case("unnest") {
            continue;
        }
        let nearest = match (names::of(peer, name), functions::nearest(name)) {
            (Some(advice), _) => advice.to_owned(),
            (None, Some(near)) => format!("`{}`", near.signature),
            (None, None) => "`tidegate describe functions` lists what there is".to_owned(),
        };
        let reason = Reason { why: format!("there is no function `{name}`"), nearest };
        // One advice is enough for functions of one kind.
        if !reasons.iter().any(|have| have.nearest == reason.nearest) {
            reasons.push(reason);
        }
    }
    reasons
}

/// The statement for each of the topics behind FROM.
fn each_topic(view: &View<'_>) -> Vec<String> {
    let whole = || vec![view.edited(Vec::new())];
    let Some(from) = view.find("FROM", 0) else { return whole() };
    let topic = |at: usize| match view.token(at) {
        Some(Token::SingleQuotedString(text)) => Some(text.clone()),
        _ => view.double_quoted(at).map(str::to_owned),
    };
    let mut topics: Vec<String> = topic(from + 1).into_iter().collect();
    let mut end = from + 2;
    while view.token(end) == Some(&Token::Comma)
        && let Some(next) = topic(end + 1)
    {
        topics.push(next);
        end += 2;
    }
    if topics.len() < 2 {
        return whole();
    }
    let one = |topic: &String| {
        let quoted = if topic.contains('"') { constant(topic) } else { format!("\"{topic}\"") };
        view.edited(vec![view.replace(from + 1..end, quoted)])
    };
    topics.iter().map(one).collect()
}
