//! What EMQX writes differently: the payload below `payload`, what is known about a message as
//! fields, indices from 1, FOREACH.
//!
//! What it has and we have not is in `idioms` and `names`.

use std::ops::Range;

use sqlparser::tokenizer::Token;

use super::Peer;
use super::edit::{Edit, View, key};
use super::judge::Rewrite;
use crate::lex::{unescape, unquote};

pub(super) const REWRITES: &[Rewrite] = &[
    Rewrite {
        peers: &[Peer::Emqx],
        change: "FOREACH is UNNEST behind the topic: one record for each element; INCASE joins WHERE",
        find: |view, _| foreach(view),
    },
    Rewrite {
        peers: &[Peer::Emqx],
        change: "`topic(n)` is the n-th level of the topic",
        find: |view, _| levels(view),
    },
    Rewrite {
        peers: &[Peer::Emqx],
        change: "the payload is read already: nothing has to be decoded",
        find: |view, _| decoded(view),
    },
    Rewrite {
        peers: &[Peer::Emqx],
        change: "indices start at 0, not at 1",
        find: |view, _| indices(view),
    },
    Rewrite {
        peers: &[Peer::Emqx],
        change: "a key in quotes behind a dot stands in backticks",
        find: |view, _| quoted_parts(view),
    },
    Rewrite {
        peers: &[Peer::Emqx],
        change: "what is known about a message is asked by functions: `topic()`, `messageId()`",
        find: |view, _| columns(view),
    },
    Rewrite {
        peers: &[Peer::Emqx],
        change: "fields stand at the top of the document: `payload.x` is `x`",
        find: |view, _| prefixes(view, "payload"),
    },
    Rewrite { peers: &[Peer::Emqx], change: "`a mod b` is `a % b`", find: |view, _| modulo(view) },
    Rewrite {
        peers: &[Peer::Emqx],
        change: "`topic =~ 'filter'` is `topic_matches(topic(), 'filter')`",
        find: |view, _| matches(view),
    },
];

/// What EMQX offers as fields beside the payload, and our functions. Those that we lack are in `names`.
const COLUMNS: &[(&str, &str)] = &[
    ("clientid", "clientId()"),
    ("flags", "flags()"),
    ("id", "messageId()"),
    ("node", "node()"),
    ("payload", "payload()"),
    ("peerhost", "peerhost()"),
    ("publish_received_at", "timestamp()"),
    ("qos", "qos()"),
    ("timestamp", "timestamp()"),
    ("topic", "topic()"),
    ("username", "username()"),
];

/// `FOREACH list [AS x] [DO items] [INCASE condition] FROM "t" [WHERE condition]`.
fn foreach(view: &View<'_>) -> Vec<Edit> {
    let (true, Some(from)) = (view.is(0, "FOREACH"), view.find("FROM", 0)) else {
        return Vec::new();
    };
    let clause = |word: &str| view.find(word, 0).filter(|at| *at < from);
    let (each, case) = (clause("DO"), clause("INCASE"));
    let list_end = each.or(case).unwrap_or(from);
    let (list, name) = match view.find("AS", 0).filter(|at| *at < list_end) {
        Some(alias) => (1..alias, view.source(alias + 1..list_end).to_owned()),
        None => (1..list_end, "item".to_owned()),
    };
    let items = match each {
        Some(each) => view.source(each + 1..case.unwrap_or(from)).to_owned(),
        None => format!("{name}.*"),
    };
    let filter = view.find("WHERE", from);
    let topic = view.source(from + 1..filter.unwrap_or(view.len()));
    let list = view.source(list);
    let mut text = format!("SELECT {items} FROM {topic}, UNNEST({list}) AS {name}");
    let case = case.map(|case| view.source(case + 1..from));
    let filter = filter.map(|filter| view.source(filter + 1..view.len()));
    match (filter, case) {
        (Some(filter), Some(case)) => text += &format!(" WHERE ({filter}) AND ({case})"),
        (Some(one), None) | (None, Some(one)) => text += &format!(" WHERE {one}"),
        (None, None) => {}
    }
    vec![view.replace(0..view.len(), text)]
}

/// `nth(n, tokens(topic, '/'))`.
fn levels(view: &View<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for at in (0..view.len()).filter(|at| view.is(*at, "nth") && view.calls(*at)) {
        if let Some((arguments, close)) = view.arguments(at)
            && let [level, list] = arguments.as_slice()
        {
            let list: String = view.source(list.clone()).split_whitespace().collect();
            if matches!(list.as_str(), "tokens(topic,'/')" | "split(topic,'/')") {
                let text = format!("topic({})", view.source(level.clone()));
                edits.push(view.replace(at..close + 1, text));
            }
        }
    }
    edits
}

/// `json_decode(payload) AS p` goes, and `p.x` becomes `x`.
fn decoded(view: &View<'_>) -> Vec<Edit> {
    let Some(from) = view.find("FROM", 0) else { return Vec::new() };
    let items = view.parts(1..from);
    let decodes = |item: &&Range<usize>| {
        let text: String = view.source((*item).clone()).split_whitespace().collect();
        item.len() == 6 && text.to_ascii_lowercase().starts_with("json_decode(payload)as")
    };
    let Some(item) = items.iter().find(decodes).filter(|_| items.len() > 1) else {
        return Vec::new();
    };
    let Some(name) = view.word(item.end - 1) else { return Vec::new() };
    let last = item.end == from;
    let comma = if last { item.start - 1..item.end } else { item.start..item.end + 1 };
    let mut edits = prefixes(view, name);
    edits.push(if last { view.replace(comma, "") } else { view.remove(comma) });
    edits
}

/// Numbers above zero in brackets behind a key.
fn indices(view: &View<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for at in 1..view.len() {
        let behind = view.all()[at - 1].ends_operand();
        if let (Some(Token::LBracket), Some(Token::Number(index, _)), Some(Token::RBracket)) =
            (view.token(at).filter(|_| behind), view.token(at + 1), view.token(at + 2))
            && let Some(index) = index.parse::<u64>().ok().and_then(|index| index.checked_sub(1))
        {
            edits.push(view.replace(at + 1..at + 2, index.to_string()));
        }
    }
    edits
}

/// `a.'odd key'`.
fn quoted_parts(view: &View<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for at in 1..view.len() {
        if let (Some(Token::Period), Some(Token::SingleQuotedString(text))) =
            (view.token(at - 1), view.token(at))
        {
            edits.push(view.replace(at..at + 1, key(&unescape(text))));
        }
    }
    edits
}

/// Fields that are functions here; as an item of its own such a field keeps its name.
fn columns(view: &View<'_>) -> Vec<Edit> {
    let from = view.find("FROM", 0).unwrap_or(0);
    let aliases: Vec<&str> = (1..view.len())
        .filter(|at| view.word(at - 1).is_some_and(|word| word.eq_ignore_ascii_case("AS")))
        .filter_map(|at| view.word(at))
        .collect();
    let mut edits = Vec::new();
    for at in 0..view.len() {
        let Some(name) = view.word(at).filter(|_| !view.is_free(at)) else { continue };
        let Some((_, function)) = COLUMNS.iter().find(|(column, _)| *column == name) else {
            continue;
        };
        let path = matches!(view.token(at + 1), Some(Token::Period | Token::LBracket));
        // In WHERE a name that the statement itself gave means that.
        if path || view.calls(at) || (at > from && aliases.contains(&name)) {
            continue;
        }
        let before = at.checked_sub(1).and_then(|before| view.token(before));
        let starts = at == 1 || before == Some(&Token::Comma);
        let ends = at + 1 == from || view.token(at + 1) == Some(&Token::Comma);
        let item = starts && ends && at < from && !inside(view, at);
        let alias = if item { format!(" AS {name}") } else { String::new() };
        edits.push(view.replace(at..at + 1, format!("{function}{alias}")));
    }
    edits
}

/// True inside of parentheses.
fn inside(view: &View<'_>, at: usize) -> bool {
    let count = |token: &Token| (0..at).filter(|n| view.token(*n) == Some(token)).count();
    count(&Token::LParen) > count(&Token::RParen)
}

/// `prefix.a` becomes `a`.
fn prefixes(view: &View<'_>, prefix: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    for at in 0..view.len() {
        let found = match view.token(at) {
            Some(Token::Word(word)) => unquote(word) == prefix,
            _ => false,
        };
        if found && !view.is_free(at) && view.token(at + 1) == Some(&Token::Period) {
            edits.push(view.replace(at..at + 2, ""));
            // Behind the dot it could have any name.
            if let Some(field) = view.word(at + 2).filter(|field| key(field) != **field) {
                edits.push(view.replace(at + 2..at + 3, key(field)));
            }
        }
    }
    edits
}

fn modulo(view: &View<'_>) -> Vec<Edit> {
    let infix = |at: &usize| {
        *at > 0 && view.is(*at, "mod") && !view.calls(*at) && view.all()[at - 1].ends_operand()
    };
    (0..view.len()).filter(infix).map(|at| view.replace(at..at + 1, "%")).collect()
}

/// `topic =~ 'a/+'`; the left side is a call by now.
fn matches(view: &View<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for at in 3..view.len() {
        if let (Some(Token::Eq), Some(Token::Tilde), Some(Token::SingleQuotedString(_))) =
            (view.token(at), view.token(at + 1), view.token(at + 2))
            && view.source(at - 3..at) == "topic()"
        {
            let text = format!("topic_matches(topic(), {})", view.source(at + 2..at + 3));
            edits.push(view.replace(at - 3..at + 3, text));
        }
    }
    edits
}
