//! What AWS IoT writes differently: text in double quotes, `get`, constants for objects and arrays.
//!
//! What it has and we have not is in `idioms` and `names`.

use std::ops::Range;

use sqlparser::tokenizer::Token;

use super::Peer;
use super::edit::{Edit, View, constant, key};
use super::judge::Rewrite;
use crate::lex::unescape;

pub(super) const REWRITES: &[Rewrite] = &[
    Rewrite {
        peers: &[Peer::Aws, Peer::Ekuiper],
        change: "text stands in single quotes; double quotes name a key",
        find: |view, _| strings(view),
    },
    Rewrite {
        peers: &[Peer::Aws],
        change: "a key with odd characters stands in backticks instead of `get(…)`",
        find: |view, _| gets(view),
    },
    Rewrite {
        peers: &[Peer::Aws, Peer::Emqx],
        change: "objects are made by `object(key, value, …)`, arrays by `array(value, …)`",
        find: |view, _| literals(view),
    },
    Rewrite {
        peers: &[Peer::Aws],
        change: "`to_base64(*)` is the payload in base64",
        find: |view, _| encodes(view),
    },
];

/// Text in double quotes where a key would be.
fn strings(view: &View<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for at in 0..view.len() {
        let is_topic = at > 0 && view.is(at - 1, "FROM");
        if let Some(text) = view.double_quoted(at)
            && !view.is_free(at)
            && !is_topic
        {
            edits.push(view.replace(at..at + 1, constant(text)));
        }
    }
    edits
}

/// `get(get(a.b, 'k'), 0)` as the path ``a.b.`k`[0]``, from the outermost call on.
fn gets(view: &View<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut at = 0;
    while at < view.len() {
        let call = view.is(at, "get") && view.calls(at);
        if call && let (Some(path), Some((_, close))) = (get(view, at), view.arguments(at)) {
            edits.push(view.replace(at..close + 1, path));
            at = close;
        }
        at += 1;
    }
    edits
}

fn get(view: &View<'_>, at: usize) -> Option<String> {
    let (arguments, _) = view.arguments(at)?;
    let [of, what] = arguments.as_slice() else { return None };
    let of = base(view, of.clone())?;
    match view.token(what.start).filter(|_| what.len() == 1)? {
        Token::SingleQuotedString(text) if of.is_empty() => Some(key(&unescape(text))),
        Token::SingleQuotedString(text) => Some(format!("{of}.{}", key(&unescape(text)))),
        Token::Number(index, _) if !of.is_empty() => Some(format!("{of}[{index}]")),
        _ => None,
    }
}

/// What `get` reads from: nothing for the document itself.
fn base(view: &View<'_>, range: Range<usize>) -> Option<String> {
    if range.len() == 1 && view.token(range.start) == Some(&Token::Mul) {
        return Some(String::new());
    }
    if view.is(range.start, "get") && view.calls(range.start) {
        return get(view, range.start);
    }
    let plain = range.clone().all(|at| {
        let token = view.token(at);
        matches!(token, Some(Token::Word(_) | Token::Period)) && !view.calls(at)
    });
    plain.then(|| view.source(range).to_owned())
}

/// `{'a': b}` and `[a, b]` where a value begins.
fn literals(view: &View<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    // For each open brace or bracket: whether it makes a value.
    let mut open: Vec<Option<&Token>> = Vec::new();
    for at in 0..view.len() {
        let before = at.checked_sub(1).and_then(|before| view.all().get(before));
        match view.token(at) {
            Some(Token::LBrace) => {
                edits.push(view.replace(at..at + 1, "object("));
                open.push(Some(&Token::LBrace));
            }
            Some(Token::LBracket) => {
                let value = before.is_some_and(|before| {
                    !matches!(before.token, Token::RParen | Token::RBracket)
                        && (before.name().is_none() || view.is(at - 1, "SELECT"))
                });
                if value {
                    edits.push(view.replace(at..at + 1, "array("));
                }
                open.push(value.then_some(&Token::LBracket));
            }
            Some(Token::RBrace | Token::RBracket) if matches!(open.pop(), Some(Some(_))) => {
                edits.push(view.replace(at..at + 1, ")"));
            }
            Some(Token::Colon) if open.last() == Some(&Some(&Token::LBrace)) => {
                edits.push(view.replace(at..at + 1, ","));
            }
            _ => {}
        }
    }
    edits
}

/// `encode(*, 'base64')`.
fn encodes(view: &View<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for at in (0..view.len()).filter(|at| view.is(*at, "encode") && view.calls(*at)) {
        if let Some((arguments, close)) = view.arguments(at)
            && let [what, how] = arguments.as_slice()
            && view.source(how.clone()).eq_ignore_ascii_case("'base64'")
        {
            let text = format!("to_base64({})", view.source(what.clone()));
            edits.push(view.replace(at..close + 1, text));
        }
    }
    edits
}
