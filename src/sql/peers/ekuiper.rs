//! What eKuiper writes differently: streams instead of topics, arrows, metadata.
//!
//! Its strings in double quotes are AWS's too and stand in `aws`; windows are refused in `idioms`.

use sqlparser::tokenizer::Token;

use super::Peer;
use super::edit::{Edit, View, constant, key};
use super::judge::{Rewrite, Streams};
use crate::lex::unescape;

pub(super) const REWRITES: &[Rewrite] = &[
    Rewrite {
        peers: &[Peer::Ekuiper],
        change: "a value inside an object is `a.b`, not `a->b`",
        find: |view, _| arrows(view),
    },
    Rewrite {
        peers: &[Peer::Ekuiper],
        change: "FROM names a topic filter in quotes, not a stream; fields have no stream before them",
        find: topics,
    },
    Rewrite {
        peers: &[Peer::Ekuiper],
        change: "a later item replaces a field of `*`: `*, expression AS field`",
        find: |view, _| replaced(view),
    },
    Rewrite {
        peers: &[Peer::Ekuiper],
        change: "what is known about a message is asked by functions: `topic()`, `messageId()`",
        find: |view, _| metadata(view),
    },
];

/// Names of metadata and the functions that give them.
const METADATA: &[(&str, &str)] = &[
    ("topic", "topic()"),
    ("messageid", "messageId()"),
    ("qos", "qos()"),
    ("clientid", "clientId()"),
];

/// The name and the topic of `CREATE STREAM name (…) WITH (DATASOURCE="topic", …)`.
pub(super) fn stream(view: &View<'_>) -> Option<(String, String)> {
    let kind = view.is(1, "STREAM") || view.is(1, "TABLE");
    let name = view.word(2).filter(|_| view.is(0, "CREATE") && kind)?;
    let at = (3..view.len()).find(|at| view.is(*at, "DATASOURCE"))?;
    let topic = match view.token(at + 2) {
        Some(Token::SingleQuotedString(text)) => unescape(text),
        _ => view.double_quoted(at + 2)?.to_owned(),
    };
    Some((name.to_owned(), topic))
}

/// False when FROM names a stream that the file does not declare.
pub(super) fn knows_its_topic(view: &View<'_>, streams: &Streams) -> bool {
    let name = view.find("FROM", 0).and_then(|from| view.word(from + 1));
    name.is_none_or(|name| streams.contains_key(name))
}

fn arrows(view: &View<'_>) -> Vec<Edit> {
    let arrow = |at: &usize| view.token(*at) == Some(&Token::Arrow);
    (0..view.len()).filter(arrow).map(|at| view.replace(at..at + 1, ".")).collect()
}

/// `FROM stream [AS s]`, and `stream.field` everywhere.
fn topics(view: &View<'_>, streams: &Streams) -> Vec<Edit> {
    let Some(from) = view.find("FROM", 0) else { return Vec::new() };
    let Some(stream) = view.word(from + 1) else { return Vec::new() };
    let topic = streams.get(stream).map_or(stream, String::as_str);
    let mut names = vec![stream];
    let mut end = from + 2;
    if view.is(end, "AS") {
        end += 1;
    }
    if let Some(alias) = view.word(end).filter(|_| !view.is(end, "WHERE")) {
        names.push(alias);
        end += 1;
    } else {
        end = from + 2;
    }
    let quoted = if topic.contains('"') { constant(topic) } else { format!("\"{topic}\"") };
    let mut edits = vec![view.replace(from + 1..end, quoted)];
    for at in 0..view.len() {
        let known = view.word(at).is_some_and(|word| names.contains(&word));
        if known && !view.is_free(at) && view.token(at + 1) == Some(&Token::Period) {
            edits.push(view.replace(at..at + 2, ""));
            if let Some(field) = view.word(at + 2).filter(|field| key(field) != **field) {
                edits.push(view.replace(at + 2..at + 3, key(field)));
            }
        }
    }
    edits
}

/// `* REPLACE (a + 1 AS a)`.
fn replaced(view: &View<'_>) -> Vec<Edit> {
    let Some(star) = view.sequence("* REPLACE (") else { return Vec::new() };
    let Some(close) = view.close(star + 2) else { return Vec::new() };
    let inside = view.source(star + 3..close);
    vec![view.replace(star..close + 1, format!("*, {inside}"))]
}

/// `meta(topic)` and `mqtt(topic)`.
fn metadata(view: &View<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for at in (0..view.len()).filter(|at| view.is(*at, "meta") || view.is(*at, "mqtt")) {
        if let (Some(name), Some(Token::RParen)) = (view.word(at + 2), view.token(at + 3))
            && view.calls(at)
            && let Some((_, ours)) = METADATA.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))
        {
            edits.push(view.replace(at..at + 4, *ours));
        }
    }
    edits
}
