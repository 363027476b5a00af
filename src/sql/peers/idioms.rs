//! What peers have and we have not, what they write in another way more than one of them, and what
//! reads the same but means something else.
//!
//! Functions are in `names`.

use sqlparser::tokenizer::Token;

use super::Peer;
use super::edit::{Edit, View};
use super::judge::{Reason, Rewrite};
use crate::functions;

const ALL: &[Peer] = &[Peer::Aws, Peer::Emqx, Peer::Ekuiper];
const AWS: &[Peer] = &[Peer::Aws];
const EMQX: &[Peer] = &[Peer::Emqx];
const EKUIPER: &[Peer] = &[Peer::Ekuiper];

/// A sequence of words that can't be said here.
struct Refusal {
    peers: &'static [Peer],
    /// As `View::sequence` takes them.
    words: &'static str,
    why: &'static str,
    nearest: &'static str,
}

const fn no(
    peers: &'static [Peer],
    words: &'static str,
    why: &'static str,
    nearest: &'static str,
) -> Refusal {
    Refusal { peers, words, why, nearest }
}

const ALONE: &str = "each message is evaluated by itself: there are no groups and no windows";
const BEHIND: &str = "group where the records go: a query over the table that the action `sqlite` or `postgres` fills";
const JOINS: &str = "a rule reads one topic filter: there are no joins";

const REFUSALS: &[Refusal] = &[
    no(ALL, "GROUP BY", ALONE, BEHIND),
    no(ALL, "HAVING", ALONE, BEHIND),
    no(ALL, "OVER (", ALONE, BEHIND),
    no(ALL, "FILTER (", ALONE, BEHIND),
    no(ALL, "ORDER BY", ALONE, "sort where the records go"),
    no(ALL, "LIMIT #", ALONE, "limit where the records go"),
    no(
        ALL,
        "JOIN",
        JOINS,
        "a rule for each side writes to a table (`sqlite`, `postgres`) that joins them",
    ),
    no(
        AWS,
        "SELECT VALUE ?",
        "a record is an object: there is no SELECT VALUE",
        "`SELECT a.*` for an object, `SELECT a AS value` for anything else",
    ),
    no(
        AWS,
        "SET @",
        "there are no variables",
        "an item with an alias: `SELECT a + 1 AS v`; later items and WHERE may name `v`",
    ),
    no(
        AWS,
        "( SELECT",
        "there are no nested SELECTs",
        "`UNNEST(list) AS x` behind the topic makes one record for each element",
    ),
    no(
        EMQX,
        "# #",
        "there are no ranges in brackets",
        "single elements: `a[0]`, `a[-1]`, or a JSONPath in double quotes: `\"$.a[0:4]\"`",
    ),
    no(EKUIPER, "* EXCEPT (", "`*` takes all fields", "name the fields to keep: `SELECT a, b`"),
    no(
        EKUIPER,
        "# :",
        "there are no slices in brackets",
        "a JSONPath in double quotes: `\"$.a[1:3]\"`",
    ),
    no(
        EKUIPER,
        ": #",
        "there are no slices in brackets",
        "a JSONPath in double quotes: `\"$.a[1:3]\"`",
    ),
    no(EKUIPER, "&", "`&` is no operator here", "`bitand(a, b)`"),
    no(EKUIPER, "|", "`|` is no operator here", "`bitor(a, b)`"),
    no(EKUIPER, "^", "`^` is no operator here", "`bitxor(a, b)`"),
];

/// Topics that only a peer has.
const OWN_TOPICS: &[(Peer, &str, &str)] = &[
    (
        Peer::Emqx,
        "$events/",
        "the status topics of devices: FROM \"/as/mqtt/status/{productKey}/{deviceName}\"",
    ),
    (Peer::Emqx, "$bridges/", "a source reads other systems under topics of its own"),
    (Peer::Emqx, "$sources/", "a source reads other systems under topics of its own"),
    (Peer::Aws, "$aws/", "the topics that your own devices publish to"),
];

/// What a statement uses that can't be said here.
pub(super) fn refusals(peer: Peer, view: &View<'_>) -> Vec<Reason> {
    let mut reasons: Vec<Reason> = Vec::new();
    let mut add = |why: String, nearest: &str| {
        if !reasons.iter().any(|have| have.why == why) {
            reasons.push(Reason { why, nearest: nearest.to_owned() });
        }
    };
    for refusal in REFUSALS.iter().filter(|refusal| refusal.peers.contains(&peer)) {
        if view.sequence(refusal.words).is_some() {
            add(refusal.why.to_owned(), refusal.nearest);
        }
    }
    if let Some(topic) = view.find("FROM", 0).and_then(|from| quoted(view, from + 1)) {
        for (_, start, nearest) in OWN_TOPICS.iter().filter(|(whose, ..)| *whose == peer) {
            if topic.starts_with(start) {
                add(format!("topics below `{start}` exist in {} only", peer.name()), nearest);
            }
        }
    }
    reasons
}

/// Text in either quotes.
fn quoted<'v>(view: &'v View<'_>, at: usize) -> Option<&'v str> {
    match view.token(at) {
        Some(Token::SingleQuotedString(text)) => Some(text),
        _ => view.double_quoted(at),
    }
}

pub(super) const REWRITES: &[Rewrite] = &[
    Rewrite {
        peers: ALL,
        change: "a key with a dot stands in double quotes and stays flat: `AS \"a.b\"`",
        find: |view, _| dotted(view),
    },
    Rewrite {
        peers: &[Peer::Aws, Peer::Ekuiper],
        change: "`log(x)` is the natural logarithm: `log(x, 10)`",
        find: |view, _| calls(view, &[("log", 1, "log($1, 10)")], true),
    },
    Rewrite {
        peers: ALL,
        change: "`IS NULL` and `IS MISSING` ask for what is not there",
        find: |view, _| calls(view, ABSENT, false),
    },
    Rewrite {
        peers: ALL,
        change: "operators instead of functions: `a = b`, `a % b`",
        find: |view, _| calls(view, OPERATORS, false),
    },
];

/// Calls with so many arguments, and what they become.
type Calls = &'static [(&'static str, usize, &'static str)];

const ABSENT: Calls = &[
    ("isnull", 1, "($1 IS NULL)"),
    ("is_null", 1, "($1 IS NULL)"),
    ("is_null_var", 1, "($1 IS NULL)"),
    ("is_not_null", 1, "($1 IS NOT NULL)"),
    ("is_not_null_var", 1, "($1 IS NOT NULL)"),
    ("isundefined", 1, "($1 IS MISSING)"),
];

const OPERATORS: Calls =
    &[("eq", 2, "($1 = $2)"), ("fmod", 2, "($1 % $2)"), ("remainder", 2, "($1 % $2)")];

/// Calls of functions that we lack, or of all.
fn calls(view: &View<'_>, table: Calls, all: bool) -> Vec<Edit> {
    let mut edits = Vec::new();
    for at in (0..view.len()).filter(|at| view.calls(*at)) {
        let Some((_, count, ours)) = table
            .iter()
            .find(|(name, ..)| view.is(at, name))
            .filter(|(name, ..)| all || functions::find(name).is_none())
        else {
            continue;
        };
        let Some((arguments, close)) = view.arguments(at).filter(|(list, _)| list.len() == *count)
        else {
            continue;
        };
        let mut text = (*ours).to_owned();
        for (n, argument) in arguments.into_iter().enumerate() {
            text = text.replace(&format!("${}", n + 1), view.source(argument));
        }
        edits.push(view.replace(at..close + 1, text));
    }
    edits
}

/// `AS a.b` or `AS a[1].b`.
fn dotted(view: &View<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for at in (1..view.len()).filter(|at| view.is(at - 1, "AS") && view.word(*at).is_some()) {
        let inside = |n: &usize| {
            matches!(view.token(*n), Some(Token::Period | Token::LBracket | Token::RBracket))
                || (matches!(view.token(*n), Some(Token::Word(_) | Token::Number(..)))
                    && matches!(view.token(n - 1), Some(Token::Period | Token::LBracket)))
        };
        let end = at + 1 + (at + 1..view.len()).take_while(inside).count();
        if end > at + 1 {
            let text = view.source(at..end).replace(['"', '`'], "");
            edits.push(view.replace(at..end, format!("\"{text}\"")));
        }
    }
    edits
}

/// What reads the same and means something else, in a statement that is ours by now.
pub(super) fn notes(peer: Peer, view: &View<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let star = (1..view.len()).any(|at| {
        let starts = view.is(at - 1, "SELECT") || view.token(at - 1) == Some(&Token::Comma);
        let ends = view.is(at + 1, "FROM") || view.token(at + 1) == Some(&Token::Comma);
        starts && ends && view.token(at) == Some(&Token::Mul)
    });
    if peer == Peer::Emqx && star {
        notes.push("`*` is the payload alone: add `topic() AS topic` and the like".to_owned());
    }
    let divides = (0..view.len()).any(|at| view.token(at) == Some(&Token::Div));
    if peer != Peer::Emqx && divides {
        notes.push("7 / 2 is 3.5 here; `7 DIV 2` is 3".to_owned());
    }
    notes
}
