//! Remarks on what is no expression: keys of the record, the topic filter.

use sqlparser::tokenizer::Token;

use super::{Finding, warn};
use crate::sql::error::{Position, Warning};
use crate::sql::expr::{Content, Expr, Item};
use crate::sql::lex::{self, Keyword, Lexeme};

/// Keys that a later item replaces.
pub(crate) fn keys(items: &[Item], places: &[Position], warnings: &mut Vec<Warning>) {
    for (at, item) in items.iter().enumerate() {
        let Content::Value(_) = item.content else { continue };
        let later = items
            .iter()
            .skip(at + 1)
            .position(|other| matches!(other.content, Content::Value(_)) && other.key == item.key);
        let Some(later) = later.and_then(|distance| items.get(at + 1 + distance)) else { continue };
        let always = matches!(&later.content, Content::Value(Expr::Const(_)));
        let when = if always { "always" } else { "unless it is MISSING" };
        let message = format!(
            "a later item has the key `{}` too and replaces this one, {when}",
            lex::shorten(&item.key)
        );
        let place = places.get(at).copied();
        let hint = "give one of them another alias with AS, or leave one out";
        warn(warnings, place, Finding::new(message, hint));
    }
}

/// A word in double quotes that a field without them is compared with: mostly meant for text.
pub(crate) fn quoted(condition: &[Lexeme]) -> Option<(Position, Finding)> {
    let double = |lexeme: &Lexeme| match &lexeme.token {
        Token::Word(word) if word.quote_style == Some('"') => {
            let plain = word.value.chars().all(|char| char.is_alphanumeric() || char == '_');
            plain.then(|| word.value.clone())
        }
        _ => None,
    };
    let compares = |lexeme: &Lexeme| {
        let token = &lexeme.token;
        lexeme.is(Keyword::Like)
            || matches!(token, Token::Eq | Token::Neq | Token::Lt | Token::LtEq)
            || matches!(token, Token::Gt | Token::GtEq)
    };
    // Who quotes fields everywhere means fields.
    let (first, second) = (condition.iter(), condition.iter().skip(1));
    if first.zip(second).any(|(field, op)| compares(op) && double(field).is_some()) {
        return None;
    }
    let found = condition.windows(2).find_map(|pair| match pair {
        [op, word] if compares(op) => Some((word.at, double(word)?)),
        _ => None,
    });
    found.map(|(at, word)| {
        let word = lex::shorten(&word);
        let message = format!("`\"{word}\"` is the field `{word}`, not text");
        (at, Finding::new(message, format!("text stands in single quotes: '{word}'")))
    })
}

/// What looks wrong about a topic filter as it was written.
pub(crate) fn topics(text: &str) -> Option<Finding> {
    let levels: Vec<&str> = text.split('/').collect();
    if let Some(rest) = text.strip_prefix("$share/") {
        let real = rest.split_once('/').map_or(rest, |(_, filter)| filter);
        return Some(Finding::new(
            "a shared subscription means nothing to a rule, which sees every message once",
            format!("write \"{}\"", lex::shorten(real)),
        ));
    }
    if text.trim() != text || levels.iter().any(|level| level.trim() != *level) {
        return Some(Finding::new(
            "a level of the topic filter starts or ends with a space",
            "spaces belong to a topic: take them out unless devices send them",
        ));
    }
    if let ["", "sys", rest @ ..] = levels.as_slice()
        && !matches!(rest, [_, _, "thing", _, ..])
    {
        return Some(Finding::new(
            "messages of system topics reach rules without the leading /sys, which this filter \
             does not",
            "write \"/+/+/thing/#\", or name the product and the device in the place of `+`",
        ));
    }
    let inner = levels.get(1..).unwrap_or_default();
    if inner.iter().any(|level| level.is_empty()) && text != "/" {
        return Some(Finding::new(
            "the topic filter has an empty level: `a//b` and `a/` are not `a/b` and `a`",
            "take the additional slash out unless devices send it",
        ));
    }
    None
}
