//! What to do about a statement that is wrong: hints for words and places.

use sqlparser::tokenizer::Token;

use super::dialect::LISTED;
use super::error::{Error, Position};
use super::functions;
use super::lex::{Lexed, shorten};
use super::peers;
use super::unnest;

/// The error for a function that does not exist.
pub(crate) fn unknown(name: &str, at: Position) -> Error {
    if name.eq_ignore_ascii_case("unnest") {
        return unnest::misplaced(at);
    }
    let message = format!("unknown function `{}`", shorten(name));
    let hint = instead(name)
        .unwrap_or_else(|| "`tidegate describe functions` lists all of them".to_owned());
    Error::at(at, message).expected("a function of the language").hint(hint)
}

/// What to write instead of a function that does not exist, where something comes near.
#[must_use]
pub fn instead(name: &str) -> Option<String> {
    let aggregates = ["count", "sum", "avg", "min", "max", "stddev", "last_value", "row_number"];
    let lower = name.to_ascii_lowercase();
    if aggregates.contains(&lower.as_str()) {
        return Some("a rule sees one message: there are no aggregates or windows".to_owned());
    }
    if ["exists", "any", "all", "some"].contains(&lower.as_str()) {
        return Some("sub-queries are not supported; use IN (list) or AND/OR".to_owned());
    }
    if let Some(advice) = peers::advice(name) {
        return Some(advice.to_owned());
    }
    if let Some(near) = functions::nearest(name) {
        return Some(format!("did you mean `{}`?", near.signature));
    }
    // `hex`: `from_hex`, `to_hex`.
    let has = |known: &&str| known.split('_').any(|part| part.eq_ignore_ascii_case(name));
    let near: Vec<String> = functions::FUNCTIONS
        .iter()
        .map(|function| function.name)
        .filter(has)
        .take(3)
        .map(|known| format!("`{known}`"))
        .collect();
    (!near.is_empty()).then(|| format!("did you mean {}?", near.join(" or ")))
}

/// An error about the lexeme at a position.
pub(crate) fn unexpected(lexed: &Lexed<'_>, at: Position, expected: &str) -> Error {
    let error = Error::at(at, format!("unexpected {}", lexed.quote(at))).expected(expected);
    let found = lexed.lexemes.iter().find(|lexeme| lexeme.at == at);
    let open = ["END", "WHEN", "THEN", "one of THEN or WHEN"].contains(&expected);
    let found = found.filter(|_| expected != LISTED && !open);
    match found.and_then(|lexeme| hint(&lexeme.token)) {
        Some(hint) => error.hint(hint),
        None => error.hint(advice(expected)),
    }
}

/// What to do where something was expected.
pub(crate) fn advice(expected: &str) -> &'static str {
    match expected {
        "an expression" => "a field, a constant in single quotes, or a function call belongs here",
        "an operator or the end" => "an alias comes last, after AS; text stands in single quotes",
        "`)`" | "`,` or `)`" => "close the parenthesis that is open",
        "`(`" | LISTED => "write x IN (1, 2, 3)",
        "NULL or MISSING" => "for anything else write `=`: x = true",
        "AND" => "write x BETWEEN 1 AND 2",
        "WHEN" | "THEN" | "END" | "one of THEN or WHEN" => {
            "write CASE x WHEN 1 THEN 'a' ELSE 'b' END, or CASE WHEN x > 1 THEN 'a' END"
        }
        "a key" => "a path is a.b.c; a key with odd characters stands in backticks",
        "an item" | "an alias" | "`,` or FROM" => "items are separated by one comma: a, b.c AS x",
        "WHERE or the end" => {
            "a rule reads one topic filter: FROM \"/product/+/user/data\"; write a rule for each"
        }
        "the end" => "a rule is one statement",
        _ => "comparisons are joined by AND and OR",
    }
}

/// What to do about a token in the wrong place.
pub(crate) fn hint(token: &Token) -> Option<&'static str> {
    let word = match token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        Token::Number(text, _) if text.starts_with('.') => {
            return Some("a key that starts with a digit stands in backticks: a.`1b`");
        }
        Token::RParen => return Some("there is no `(` for it, or something is missing before it"),
        _ => return None,
    };
    Some(match word.as_str() {
        "JOIN" | "INNER" | "LEFT" | "RIGHT" | "FULL" | "CROSS" | "NATURAL" | "ON" | "USING" => {
            "joins are not supported: a rule reads one topic filter"
        }
        "GROUP" | "HAVING" | "WINDOW" | "OVER" | "PARTITION" => {
            "each message is evaluated by itself: there is no grouping and there are no windows"
        }
        "ORDER" | "LIMIT" | "OFFSET" | "FETCH" => {
            "each message is evaluated by itself: there is nothing to sort or limit"
        }
        "EXCEPT" => {
            "`*` takes all fields: name those to keep; for other records write a second rule"
        }
        "UNION" | "INTERSECT" | "MINUS" => "write a second rule instead",
        "INTO" => "where results go is said by the actions of the rule",
        "UNNEST" => unnest::FORM,
        "FOREACH" | "INCASE" | "DO" => {
            "one record for each element is FROM \"topic\", UNNEST(list) AS x; INCASE is a part of WHERE"
        }
        "SET" => {
            "there are no variables: give an item an alias, which later items and WHERE may name"
        }
        "VALUE" => {
            "there is no SELECT VALUE: write `a.*` for an object, `a AS value` for anything else"
        }
        "MOD" => "write a % b, or mod(a, b)",
        "CREATE" => "there are no streams: FROM names the topic filter itself",
        "FILTER" | "INVOKE" => {
            "there are no aggregates: conditions stand in WHERE, CASE chooses a value"
        }
        "REPLACE" => "a later item replaces a field of `*`: SELECT *, a + 1 AS a",
        "ESCAPE" => "in a LIKE pattern `\\%` is a percent sign",
        "REGEXP" | "RLIKE" | "SIMILAR" | "GLOB" => {
            "write regexp_like(a, 'pattern'), or LIKE with `%` for any text"
        }
        "ILIKE" => "LIKE with `%` is available; lower() both sides to ignore case",
        "ISNULL" | "NOTNULL" => "write a IS NULL, a IS NOT NULL",
        "AS" => "there is nothing to name here; an alias follows an item of SELECT",
        "AND" | "OR" | "NOT" | "IN" | "LIKE" | "BETWEEN" | "IS" | "CASE" | "WHEN" | "THEN"
        | "ELSE" | "SELECT" | "FROM" | "WHERE" | "DIV" => {
            "something is missing before it; a key that is called like a keyword stands in \
             backticks: `from`"
        }
        _ => return None,
    })
}
