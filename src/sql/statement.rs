//! From lexemes to the parts of a statement, its items, and expressions that sqlparser has parsed.
//!
//! Names, paths and calls become single words before sqlparser sees them, so that no key is ever
//! taken for one of SQL's special forms. What the words stand for is in [`Named`].

use std::ops::Range;

use sqlparser::ast;
use sqlparser::keywords::Keyword as SqlKeyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Word};

use super::Limits;
use super::advice::{self, advice, unexpected, unknown};
use super::dialect::{FUNCTION, PATH, Tidegate};
use super::error::{Error, Position};
use super::functions::{self, Function};
use super::lex::{Keyword, Lexed, Lexeme, unescape, unquote};
use super::path::{self, Quoted, Step};
use super::unnest;

/// Where the parts of a statement are among its lexemes.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) select: Range<usize>,
    /// The topic filter and where it stands.
    pub(crate) topic: (String, Position),
    pub(crate) unnest: Option<unnest::Clause>,
    pub(crate) filter: Option<Range<usize>>,
}

/// An item as it is written.
#[derive(Debug)]
pub(crate) struct RawItem {
    /// The lexemes of all of it.
    pub(crate) all: Range<usize>,
    /// The lexemes of its expression.
    pub(crate) expr: Range<usize>,
    pub(crate) alias: Option<String>,
    pub(crate) shape: Shape,
}

/// What an item looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `*`
    All,
    /// `a.b.*`
    Spread,
    /// Anything else.
    Value,
}

/// What a word stands for that went through sqlparser.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) at: Position,
    /// As it was written, without quotes.
    pub(crate) text: String,
    pub(crate) what: What,
}

impl Named {
    /// True for `"$.i"`, which says that its first key is one of the document; not for a key that begins
    /// like that, `` `$.i` ``.
    pub(crate) fn starts_at_document(&self, first: &str) -> bool {
        self.text.strip_prefix("$.").is_some_and(|rest| rest.starts_with(first))
    }
}

/// See [`Named`].
#[derive(Debug)]
pub(crate) enum What {
    Quoted(Quoted),
    Function(&'static Function),
}

/// A parsed expression with the names that it uses.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) expr: ast::Expr,
    pub(crate) names: Vec<Named>,
}

/// Finds SELECT, FROM and WHERE.
pub(crate) fn split(lexed: &Lexed<'_>) -> Result<Parts, Error> {
    let all = &lexed.lexemes;
    let end = trimmed(lexed, 0..all.len())?.end;
    match all.first() {
        Some(first) if first.is(Keyword::Select) => {}
        Some(first) => {
            let peers = ["CREATE", "FOREACH", "SET"];
            let word = first.name().filter(|word| peers.contains(&&*word.value.to_uppercase()));
            let hint = word.and_then(|_| advice::hint(&first.token)).unwrap_or(
                "a rule is one statement: SELECT items FROM \"topic filter\" WHERE condition",
            );
            return Err(unexpected(lexed, first.at, "SELECT").hint(hint));
        }
        None => {
            return Err(Error::at(lexed.end, "the statement is empty")
                .expected("SELECT items FROM \"topic filter\" WHERE condition")
                .hint("`SELECT * FROM \"#\"` passes everything on"));
        }
    }
    let from = all[..end].iter().position(|lexeme| lexeme.is(Keyword::From));
    let Some(from) = from else {
        let place = all[..end].iter().find(|lexeme| lexeme.is(Keyword::Where));
        let at = place.or_else(|| all.get(end)).map_or(lexed.end, |lexeme| lexeme.at);
        return Err(Error::at(at, "FROM is missing")
            .expected("FROM \"topic filter\"")
            .hint("a key or alias called `from` stands in backticks or after AS"));
    };
    let topic = topic(lexed, from + 1, end)?;
    let (unnest, place) = match unnest::clause(lexed, from + 2, end)? {
        Some((clause, next)) => (Some(clause), next),
        None => (None, from + 2),
    };
    let filter = match all[..end].get(place) {
        None => None,
        Some(next) if next.is(Keyword::Where) => Some(place + 1..end),
        Some(next) if unnest.is_none() && unnest::follows(&all[place..end]) => {
            return Err(unexpected(lexed, next.at, "WHERE or the end").hint(unnest::FORM));
        }
        Some(next) => {
            let error = unexpected(lexed, next.at, "WHERE or the end");
            let behind = all.get(place + 1).and_then(|lexeme| advice::hint(&lexeme.token));
            return Err(match behind.filter(|_| next.token == Token::Comma) {
                Some(hint) => error.hint(hint),
                None => error,
            });
        }
    };
    Ok(Parts { select: 1..from, topic, unnest, filter })
}

/// Cuts semicolons at the end of a range and refuses others, and sub-queries.
pub(crate) fn trimmed(lexed: &Lexed<'_>, range: Range<usize>) -> Result<Range<usize>, Error> {
    let Range { start, mut end } = range;
    while end > start && lexed.lexemes[end - 1].token == Token::SemiColon {
        end -= 1;
    }
    for (at, lexeme) in lexed.lexemes[..end].iter().enumerate() {
        if lexeme.token == Token::SemiColon {
            return Err(unexpected(lexed, lexeme.at, "the end").hint("a rule is one statement"));
        }
        if lexeme.is(Keyword::Select) && at > 0 {
            return Err(Error::at(lexeme.at, "sub-queries and set operations are not supported")
                .expected("one SELECT, at the start")
                .hint("a rule sees one message; a key called `select` stands in backticks"));
        }
    }
    Ok(start..end)
}

fn topic(lexed: &Lexed<'_>, at: usize, end: usize) -> Result<(String, Position), Error> {
    const WANTED: &str = "a topic filter in quotes";
    let Some(lexeme) = lexed.lexemes[..end].get(at) else {
        return Err(Error::at(lexed.end, "the topic filter is missing")
            .expected(WANTED)
            .hint("write FROM \"/product/+/user/data\""));
    };
    match &lexeme.token {
        Token::SingleQuotedString(text) => Ok((unescape(text), lexeme.at)),
        Token::Word(word) if word.quote_style.is_some() => Ok((unquote(word), lexeme.at)),
        Token::LParen => Err(unexpected(lexed, lexeme.at, WANTED)
            .hint("sub-queries are not supported; a rule reads one topic filter")),
        _ => Err(unexpected(lexed, lexeme.at, WANTED)
            .hint("write FROM \"/product/+/user/data\", with quotes")),
    }
}

/// Splits the SELECT list at its commas.
pub(crate) fn items(
    lexed: &Lexed<'_>,
    select: Range<usize>,
    limits: &Limits,
) -> Result<Vec<RawItem>, Error> {
    let all = &lexed.lexemes;
    let Range { start, mut end } = select;
    if end > start + 1 && all[end - 1].token == Token::Comma {
        end -= 1;
    }
    let after = |at: usize| all.get(at).map_or(lexed.end, |lexeme| lexeme.at);
    if start == end {
        return Err(
            unexpected(lexed, after(end), "an item").hint("`*` selects all, `a.b AS x` one value")
        );
    }
    modifiers(lexed, start, end)?;
    let mut items = Vec::new();
    let mut depth = 0_usize;
    let mut from = start;
    for at in start..=end {
        let token = if at == end { &Token::Comma } else { &all[at].token };
        match token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            Token::Comma if depth == 0 || at == end => {
                if from == at {
                    return Err(unexpected(lexed, after(at), "an item"));
                }
                if items.len() == limits.items {
                    let message = format!("SELECT has more than {} items", limits.items);
                    let most = format!("at most {} items", limits.items);
                    return Err(Error::at(all[from].at, message).expected(most).hint(
                        "`*` takes the whole document, thingPropertyFlatMap() all properties",
                    ));
                }
                items.push(item(lexed, from..at)?);
                from = at + 1;
            }
            _ => {}
        }
    }
    Ok(items)
}

/// What SQL allows between SELECT and the first item.
pub(crate) const MODIFIERS: [&str; 4] = ["DISTINCT", "ALL", "TOP", "STRAIGHT_JOIN"];

/// Refuses [`MODIFIERS`].
fn modifiers(lexed: &Lexed<'_>, start: usize, end: usize) -> Result<(), Error> {
    let [first, second, ..] = &lexed.lexemes[start..end] else { return Ok(()) };
    let Some(word) = first.name().filter(|word| word.quote_style.is_none()) else {
        return Ok(());
    };
    let third = lexed.lexemes[start..end].get(2);
    let behind = third.is_some_and(|third| {
        third.is(Keyword::As) || matches!(third.token, Token::Period | Token::LBracket)
    });
    // `value x` is the key `value` with an alias.
    if word.value.eq_ignore_ascii_case("VALUE") && second.name().is_some() && behind {
        return Err(unexpected(lexed, first.at, "an item"));
    }
    let operand = second.name().is_some()
        || matches!(second.token, Token::Number(..) | Token::Mul)
        || second.is(Keyword::Case);
    if MODIFIERS.iter().any(|m| m.eq_ignore_ascii_case(&word.value)) && operand {
        let name = word.value.to_ascii_uppercase();
        return Err(Error::at(first.at, format!("SELECT {name} is not supported"))
            .expected("an item")
            .hint("each message is evaluated by itself; a key of that name stands in backticks"));
    }
    Ok(())
}

fn item(lexed: &Lexed<'_>, range: Range<usize>) -> Result<RawItem, Error> {
    let all = &lexed.lexemes[range.clone()];
    let mut depth = 0_usize;
    let mut found = None;
    for (at, lexeme) in all.iter().enumerate() {
        match lexeme.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ if depth == 0 && lexeme.is(Keyword::As) && found.is_none() => found = Some(at),
            _ => {}
        }
    }
    let (count, alias) = match found {
        Some(at) => {
            let behind = |n: usize| {
                lexed.lexemes.get(range.start + at + n).map_or(lexed.end, |lexeme| lexeme.at)
            };
            let alias = all.get(at + 1).and_then(alias);
            if alias.is_none() {
                return Err(unexpected(lexed, behind(1), "an alias"));
            }
            if let Some(next) = all.get(at + 2) {
                let error = unexpected(lexed, behind(2), "`,` or FROM");
                return Err(match next.token {
                    Token::Period | Token::LBracket => error
                        .hint("a key with such a character stands in double quotes: AS \"a.b\""),
                    _ => error,
                });
            }
            (at, alias)
        }
        None => match all {
            [.., before, last] if before.ends_operand() && last.keyword.is_none() => {
                let alias = alias(last);
                (all.len() - usize::from(alias.is_some()), alias)
            }
            _ => (all.len(), None),
        },
    };
    if let [star, next, ..] = all
        && star.token == Token::Mul
        && next.name().is_some()
    {
        let hint = advice::hint(&next.token).unwrap_or("`*` takes no alias");
        return Err(unexpected(lexed, next.at, "`,` or FROM").hint(hint));
    }
    let expr = range.start..range.start + count;
    let (shape, expr) = match &all[..count] {
        [star] if star.token == Token::Mul => (Shape::All, expr),
        [_, .., dot, star] if dot.token == Token::Period && star.token == Token::Mul => {
            (Shape::Spread, expr.start..expr.end - 2)
        }
        _ => (Shape::Value, expr),
    };
    if shape != Shape::Value && alias.is_some() {
        let at = all.last().map_or(lexed.end, |lexeme| lexeme.at);
        return Err(Error::at(at, "`*` takes no alias")
            .expected("`,` or FROM")
            .hint("select the object itself: `a AS x`"));
    }
    Ok(RawItem { all: range, expr, alias, shape })
}

fn alias(lexeme: &Lexeme) -> Option<String> {
    match &lexeme.token {
        Token::Word(word) => Some(unquote(word)),
        Token::SingleQuotedString(text) => Some(unescape(text)),
        _ => None,
    }
}

/// Parses the expression in a range of lexemes.
pub(crate) fn parse(lexed: &Lexed<'_>, range: Range<usize>) -> Result<Parsed, Error> {
    let end = lexed.lexemes.get(range.end).map_or(lexed.end, |lexeme| lexeme.at);
    if range.is_empty() {
        return Err(unexpected(lexed, end, "an expression"));
    }
    let tokens = Vec::with_capacity(range.len() + 1);
    let mut fold = Fold { lexed, names: Vec::new(), tokens, casts: Vec::new() };
    fold.run(range)?;
    let Fold { names, mut tokens, .. } = fold;
    tokens.push(place(Token::EOF, end));
    // The nesting was checked when the text was split; this only has to be more than it can need.
    let mut parser =
        Parser::new(&Tidegate).with_recursion_limit(100_000).with_tokens_with_locations(tokens);
    let expr = parser.parse_expr().map_err(|error| translate(lexed, &error, end))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(unexpected(lexed, whence(next.span.start), "an operator or the end"));
    }
    Ok(Parsed { expr, names })
}

fn whence(location: Location) -> Position {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Position { line: number(location.line), column: number(location.column) }
}

/// Where a node of sqlparser's tree starts, if it says so.
pub(crate) fn position(span: Span) -> Option<Position> {
    (span.start.line > 0).then(|| whence(span.start))
}

fn place(token: Token, at: Position) -> TokenWithSpan {
    let at = Location::new(at.line as u64, at.column as u64);
    TokenWithSpan::new(token, Span::new(at, at))
}

/// How CAST is written.
const CAST: &str = "write CAST(x AS integer), or cast(x, 'integer')";

/// Turns lexemes into tokens in which every name is one word.
struct Fold<'a, 't> {
    lexed: &'a Lexed<'t>,
    names: Vec<Named>,
    tokens: Vec<TokenWithSpan>,
    /// For each open parenthesis whether it is that of CAST or TRY_CAST.
    casts: Vec<bool>,
}

impl Fold<'_, '_> {
    fn run(&mut self, range: Range<usize>) -> Result<(), Error> {
        let mut at = range.start;
        while at < range.end {
            let lexeme = &self.lexed.lexemes[at];
            let next = self.lexed.lexemes[..range.end].get(at + 1);
            self.nest(&lexeme.token);
            let token = match (&lexeme.token, lexeme.keyword) {
                (Token::Word(_), Some(Keyword::As)) if self.casts.last() == Some(&true) => {
                    self.tokens.push(place(Token::Comma, lexeme.at));
                    at += 1;
                    let (place_of, name) = self.cast_type(at, range.end)?;
                    self.tokens.push(place(Token::SingleQuotedString(name), place_of));
                    at += 1;
                    continue;
                }
                (Token::Word(word), Some(_)) => {
                    let value = word.value.to_ascii_uppercase();
                    Token::Word(Word { value, quote_style: None, keyword: word.keyword })
                }
                (Token::Word(word), None) => {
                    let calls = next.is_some_and(|next| next.token == Token::LParen);
                    if calls && word.quote_style.is_none() {
                        let function = functions::find(&word.value)
                            .ok_or_else(|| unknown(&word.value, lexeme.at))?;
                        self.name(FUNCTION, lexeme.at, word.value.clone(), What::Function(function))
                    } else {
                        let (token, after) = self.path(at, range.end)?;
                        self.tokens.push(place(token, lexeme.at));
                        at = after;
                        continue;
                    }
                }
                (Token::SingleQuotedString(text), _) => Token::SingleQuotedString(unescape(text)),
                (Token::LBracket, _) => {
                    return Err(self.bracket(lexeme, self.lexed.lexemes.get(at.wrapping_sub(1))));
                }
                (Token::Period, _) => {
                    return Err(unexpected(self.lexed, lexeme.at, "an operator or the end")
                        .hint("a path starts with a key; of a result take get(f(a), 'key')"));
                }
                (token, _) => token.clone(),
            };
            self.tokens.push(place(token, lexeme.at));
            at += 1;
        }
        Ok(())
    }

    /// The error for `[` that follows no key.
    fn bracket(&self, lexeme: &Lexeme, before: Option<&Lexeme>) -> Error {
        let hint = match before {
            Some(before) if before.token == Token::RParen => {
                "an index follows a key: a[0]; of a result take element_at(f(a), 0)"
            }
            Some(before) if before.is(Keyword::In) => "write x IN (1, 2, 3)",
            _ => {
                "an array is made by array(1, 2); of a document that is an array take \"$[0]\", or UNNEST(*) AS i"
            }
        };
        unexpected(self.lexed, lexeme.at, "an expression").hint(hint)
    }

    /// Keeps [`Fold::casts`].
    fn nest(&mut self, token: &Token) {
        match token {
            Token::LParen => {
                let called = match self.tokens.last().map(|before| &before.token) {
                    Some(Token::Word(word)) if word.quote_style.is_some() => self.names.last(),
                    _ => None,
                };
                let casts = called.is_some_and(|named| match named.what {
                    What::Function(function) => ["cast", "try_cast"].contains(&function.name),
                    What::Quoted(_) => false,
                });
                self.casts.push(casts);
            }
            Token::RParen => {
                self.casts.pop();
            }
            _ => {}
        }
    }

    /// The type behind AS: `CAST(x AS integer)` is `cast(x, 'integer')`.
    fn cast_type(&self, at: usize, end: usize) -> Result<(Position, String), Error> {
        let token = |at: usize| self.lexed.lexemes[..end].get(at);
        let place = |at: usize| token(at).map_or_else(|| self.behind(end), |lexeme| lexeme.at);
        let Some(Token::Word(word)) = token(at).map(|lexeme| &lexeme.token) else {
            return Err(unexpected(self.lexed, place(at), "a type").hint(CAST));
        };
        if token(at + 1).is_some_and(|next| next.token == Token::LParen) {
            return Err(unexpected(self.lexed, place(at + 1), "`)`")
                .hint("types have no length or precision here; round(x, 2) rounds"));
        }
        Ok((place(at), word.value.clone()))
    }

    fn name(&mut self, letter: char, at: Position, text: String, what: What) -> Token {
        let value = format!("{letter}{}", self.names.len());
        self.names.push(Named { at, text, what });
        Token::Word(Word { value, quote_style: Some('`'), keyword: SqlKeyword::NoKeyword })
    }

    /// Reads `a.b[0]."c-d"` from `at` on; returns its word and the lexeme behind it.
    fn path(&mut self, start: usize, end: usize) -> Result<(Token, usize), Error> {
        let lexed = self.lexed;
        let all = &lexed.lexemes[..end];
        let first = &all[start];
        let (mut what, mut text) = self.part(first)?;
        let mut at = start + 1;
        loop {
            let before = at;
            let mut more = Vec::new();
            match all.get(at).map(|lexeme| &lexeme.token) {
                Some(Token::Period) => {
                    let Some(next) = all.get(at + 1).filter(|l| matches!(l.token, Token::Word(_)))
                    else {
                        let at = all.get(at + 1).map_or_else(|| self.behind(end), |l| l.at);
                        return Err(unexpected(lexed, at, "a key"));
                    };
                    let (part, written) = self.part(next)?;
                    let Quoted::Path(steps) = part else {
                        return Err(unexpected(lexed, next.at, "a key"));
                    };
                    more = steps;
                    text.push('.');
                    text.push_str(&written);
                    at += 2;
                }
                Some(Token::LBracket) => {
                    let close = all[at..].iter().position(|l| l.token == Token::RBracket);
                    let inside = lexed.source(
                        all[at].end,
                        close.map_or(all[at].end, |close| all[at + close].start),
                    );
                    let (Some(close), Some(index)) = (close, path::index(inside.trim())) else {
                        let at = all.get(at + 1).map_or_else(|| self.behind(end), |l| l.at);
                        return Err(unexpected(lexed, at, "an index such as 0 or -1")
                            .hint("wildcards and filters are JSONPath: \"$.a[*].b\""));
                    };
                    more.push(Step::Index(index));
                    text.push_str(&format!("[{index}]"));
                    at += close + 1;
                }
                _ => {}
            }
            if at == before {
                let token = self.name(PATH, first.at, text, What::Quoted(what));
                return Ok((token, at));
            }
            match &mut what {
                Quoted::Path(steps) | Quoted::Wrapped(steps) => steps.extend(more),
                Quoted::JsonPath(_) => {
                    return Err(unexpected(lexed, all[before].at, "an operator or the end")
                        .hint("write the whole JSONPath inside the quotes"));
                }
            }
        }
    }

    fn behind(&self, end: usize) -> Position {
        self.lexed.lexemes.get(end).map_or(self.lexed.end, |lexeme| lexeme.at)
    }

    /// One word of a path and its text without quotes.
    fn part(&self, lexeme: &Lexeme) -> Result<(Quoted, String), Error> {
        let Token::Word(word) = &lexeme.token else {
            return Err(unexpected(self.lexed, lexeme.at, "a key"));
        };
        let text = unquote(word);
        let what = match word.quote_style {
            Some('"') => path::quoted(&text).map_err(|(message, hint)| {
                Error::at(lexeme.at, message).expected("a path").hint(hint)
            })?,
            _ => Quoted::Path(vec![Step::Key(text.clone())]),
        };
        Ok((what, text))
    }
}

/// An error of sqlparser in our words.
fn translate(lexed: &Lexed<'_>, error: &ParserError, end: Position) -> Error {
    let ParserError::ParserError(text) = error else {
        return Error::at(end, "the expression is nested too deeply")
            .expected("fewer levels")
            .hint("simplify the expression");
    };
    let (message, place) = match text.rsplit_once(" at Line: ") {
        Some((message, place)) => (message, Some(place)),
        None => (text.as_str(), None),
    };
    let at = place
        .and_then(|place| place.split_once(", Column: "))
        .and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?)))
        .map_or(end, |(line, column)| Position { line, column });
    let wanted = message.strip_prefix("Expected: ").and_then(|m| m.split_once(", found:"));
    match wanted {
        Some((wanted, _)) if wanted.len() == 1 => unexpected(lexed, at, &format!("`{wanted}`")),
        Some((wanted, _)) => unexpected(lexed, at, wanted),
        None => Error::at(at, message.to_lowercase())
            .expected("an expression")
            .hint(advice("an expression")),
    }
}
