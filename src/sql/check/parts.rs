//! Remarks on what is no expression: keys of the record, the topic filter.

use sqlparser::tokenizer::Token;

use super::{Finding, warn};
use crate::error::{Position, Warning};
use crate::expr::{Content, Expr, Item};
use crate::lex::{self, Keyword, Lexeme};

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

/// What looks wrong about an item as it was written: `all` are its lexemes with those of its alias.
pub(crate) fn item(all: &[Lexeme]) -> Option<Finding> {
    let bare = |lexeme: &Lexeme| {
        lexeme.name().filter(|word| word.quote_style.is_none()).map(|word| word.value.clone())
    };
    if let [first, second] = all
        && let (Some(first), Some(second)) = (bare(first), bare(second))
    {
        let hint = if first.eq_ignore_ascii_case("VALUE") {
            format!("there is no SELECT VALUE: `{second}` alone is the field")
        } else {
            format!(
                "for both fields write `{first}, {second}`, for another name `{first} AS {second}`"
            )
        };
        let message =
            format!("`{first} {second}` is the field `{first}` under the name `{second}`");
        return Some(Finding::new(message, hint));
    }
    // `seq-len`: words and minus signs in turn, without a space.
    let tight = all.windows(2).all(|pair| pair[0].end == pair[1].start);
    let words = all.iter().step_by(2).map(bare).collect::<Option<Vec<_>>>()?;
    let signs = all.iter().skip(1).step_by(2).all(|lexeme| lexeme.token == Token::Minus);
    (tight && signs && words.len() > 1 && all.len() % 2 == 1).then(|| {
        let text = lex::shorten(&words.join("-"));
        let message = format!("`{text}` is {}", words.join(" minus "));
        let spaced = words.join(" - ");
        let hint = format!(
            "a field of that name is `` `{text}` ``; for the difference write `{spaced} AS x`"
        );
        Finding::new(message, hint)
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
