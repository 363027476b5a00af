//! UNNEST as it is written: the clause behind the topic filter, the item, and what names mean then.
//!
//! Two forms. `FROM "t", UNNEST(info) AS i [WITH OFFSET AS n]` names the elements: `i.cmd`, `i.a[0].b`,
//! `i` and `i.*` read them, in SELECT and in WHERE; `i` hides a key `i` of the document, which is still
//! `"$.i"`. `SELECT unnest(a) AS x, b` gives the elements as the values of one item, after WHERE: its
//! alias names nothing. `*` is the document in both, without the element. How it runs is in `elements`.

use std::ops::Range;

use sqlparser::tokenizer::Token;

use super::DataType;
use super::advice::unexpected;
use super::check::{self, Finding};
use super::error::{Error, Position, Warning};
use super::expr::{Call, Expr};
use super::functions::{Depends, Function, Kind, Nulls, Prepared};
use super::lex::{Keyword, Lexed, Lexeme, unquote};
use super::lower::Lowering;
use super::number::Num;
use super::path::{Quoted, Step};
use super::statement::{self, Named, RawItem, Shape};
use super::value::Value;
use super::work::Price;

/// How the form that can do everything is written.
pub(crate) const FORM: &str = "write FROM \"t\", UNNEST(a) AS i; its parts are then i.b, i.c[0]";

const INDEX: &str = "UNNEST(a) AS i WITH OFFSET AS n gives the index of an element, from 0";

/// `, UNNEST(…) AS i [WITH OFFSET AS n]` behind the topic filter.
#[derive(Debug)]
pub(crate) struct Clause {
    /// The lexemes between the parentheses.
    source: Range<usize>,
    element: String,
    offset: Option<String>,
    /// The word UNNEST.
    pub(crate) at: Position,
}

/// How a statement names the elements.
#[derive(Debug)]
pub(crate) enum Form {
    /// In FROM.
    From {
        /// What stands for an element.
        element: String,
        /// What stands for its index, from 0.
        offset: Option<String>,
    },
    /// An item of SELECT.
    Item {
        /// The item's alias, unless it is also what the array is called.
        alias: Option<String>,
    },
}

fn is_unnest(lexeme: &Lexeme) -> bool {
    lexeme
        .name()
        .is_some_and(|word| word.quote_style.is_none() && word.value.eq_ignore_ascii_case("UNNEST"))
}

/// True when one of the next lexemes is the word UNNEST.
pub(crate) fn follows(next: &[Lexeme]) -> bool {
    next.iter().take(3).any(is_unnest)
}

/// True for a topic filter of a statement in parts that goes on as FROM would.
pub(crate) fn in_filter(text: &str) -> bool {
    let behind = text.split(',').nth(1).unwrap_or_default().trim_start();
    behind.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("UNNEST("))
}

/// The error for UNNEST in the topic filter of a statement in parts.
pub(crate) fn not_in_parts(at: Position) -> Error {
    Error::at(at, "UNNEST does not follow the topic filter of a statement in parts")
        .expected("a topic filter")
        .hint("write the statement as one text, or select the elements: unnest(a) AS x")
}

/// The error for `unnest(…)` in the middle of an expression.
pub(crate) fn misplaced(at: Position) -> Error {
    Error::at(at, "`unnest` is no function that an expression can use")
        .expected("an item of its own: unnest(a) AS x")
        .hint("to test elements or compute with them: FROM \"t\", UNNEST(a) AS i WHERE i.b > 1")
}

fn second(at: Position) -> Error {
    Error::at(at, "a statement has one UNNEST")
        .expected("one array to take apart")
        .hint("for arrays within elements publish the elements again and write a second rule")
}

fn binary(at: Position) -> Error {
    Error::at(at, "a binary rule has no arrays")
        .expected("a payload that is passed on or encoded")
        .hint("UNNEST needs a JSON rule: `data_type: json`")
}

/// The lexeme of the parenthesis that closes the one at `open`.
fn closing(lexemes: &[Lexeme], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, lexeme) in lexemes.iter().enumerate().skip(open) {
        match lexeme.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Reads the clause that may follow the topic filter at `at`; with it, where the next lexeme is.
pub(crate) fn clause(
    lexed: &Lexed<'_>,
    at: usize,
    end: usize,
) -> Result<Option<(Clause, usize)>, Error> {
    let all = &lexed.lexemes[..end];
    let here = |at: usize| lexed.lexemes.get(at).map_or(lexed.end, |lexeme| lexeme.at);
    let [comma, word, ..] = all.get(at..).unwrap_or_default() else { return Ok(None) };
    if comma.token != Token::Comma || !is_unnest(word) {
        return Ok(None);
    }
    let open = at + 2;
    if all.get(open).is_none_or(|lexeme| lexeme.token != Token::LParen) {
        return Err(unexpected(lexed, here(open), "`(`").hint(FORM));
    }
    let Some(close) = closing(all, open) else {
        return Err(unexpected(lexed, here(end), "`)`"));
    };
    let (element, mut next) = name(lexed, close + 1, end, FORM)?;
    let mut offset = None;
    if all.get(next).is_some_and(|lexeme| plain(lexeme, "WITH")) {
        if !all.get(next + 1).is_some_and(|lexeme| plain(lexeme, "OFFSET")) {
            return Err(unexpected(lexed, here(next + 1), "OFFSET").hint(INDEX));
        }
        let (name, after) = name(lexed, next + 2, end, INDEX)?;
        if name == element {
            return Err(Error::at(here(after - 1), "the element and its index have one name")
                .expected("another name")
                .hint(INDEX));
        }
        (offset, next) = (Some(name), after);
    }
    match all.get(next..) {
        Some([comma, word, ..]) if comma.token == Token::Comma && is_unnest(word) => {
            return Err(second(word.at));
        }
        Some([open, ..]) if open.token == Token::LParen => {
            return Err(unexpected(lexed, open.at, "WHERE or the end")
                .hint("one name stands for the whole element; its parts are i.b, i.c[0]"));
        }
        _ => {}
    }
    Ok(Some((Clause { source: open + 1..close, element, offset, at: word.at }, next)))
}

fn plain(lexeme: &Lexeme, wanted: &str) -> bool {
    let word = lexeme.name().filter(|word| word.quote_style.is_none());
    word.is_some_and(|word| word.value.eq_ignore_ascii_case(wanted))
}

/// Reads `[AS] name` from `at` on; with it, where the next lexeme is.
fn name(lexed: &Lexed<'_>, at: usize, end: usize, hint: &str) -> Result<(String, usize), Error> {
    let all = &lexed.lexemes[..end];
    let spelled = all.get(at).is_some_and(|lexeme| lexeme.is(Keyword::As));
    let at = at + usize::from(spelled);
    let found = all.get(at).and_then(Lexeme::name);
    // Without AS, `WITH` goes on with the clause.
    let found = found.filter(|_| spelled || !plain(&all[at], "WITH"));
    match found {
        Some(word) => Ok((unquote(word), at + 1)),
        None => {
            let at = lexed.lexemes.get(at).map_or(lexed.end, |lexeme| lexeme.at);
            let wanted = if spelled { "a name" } else { "AS and a name" };
            Err(unexpected(lexed, at, wanted).hint(hint))
        }
    }
}

/// True when a comma stands between arguments.
fn ends_early(argument: &[Lexeme]) -> bool {
    let mut depth = 0_usize;
    argument.iter().any(|lexeme| {
        match lexeme.token {
            Token::LParen | Token::LBracket => depth += 1,
            Token::RParen | Token::RBracket => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && lexeme.token == Token::Comma
    })
}

/// The lexemes of the argument when an item is `unnest(…)` and nothing else.
fn argument(lexed: &Lexed<'_>, raw: &RawItem) -> Option<Range<usize>> {
    let Range { start, end } = raw.expr;
    let all = &lexed.lexemes[..end];
    let calls = raw.shape == Shape::Value
        && is_unnest(all.get(start)?)
        && all.get(start + 1)?.token == Token::LParen;
    (calls && closing(all, start + 1)? + 1 == end).then(|| start + 2..end - 1)
}

impl Lowering {
    /// Takes over the clause of FROM.
    pub(crate) fn unnest_from(&mut self, lexed: &Lexed<'_>, clause: Clause) -> Result<(), Error> {
        let Clause { source, element, offset, at } = clause;
        let source = self.array(lexed, source, at)?;
        self.unnest = Some((source, Form::From { element, offset }));
        Ok(())
    }

    /// Takes over an item that is `unnest(…)`; what stands in its place, or `None` for another item.
    pub(crate) fn unnest_item(
        &mut self,
        lexed: &Lexed<'_>,
        raw: &RawItem,
        text: &str,
    ) -> Result<Option<Expr>, Error> {
        let Some(inside) = argument(lexed, raw) else { return Ok(None) };
        let at = lexed.lexemes[raw.expr.start].at;
        if self.unnest.is_some() {
            return Err(second(at));
        }
        let source = self.array(lexed, inside, at)?;
        let same = |alias: &String| match &source {
            Expr::Path(path) => self.paths.get(*path as usize).is_some_and(|p| p.text == *alias),
            _ => false,
        };
        let alias = raw.alias.clone().filter(|alias| !same(alias));
        self.unnest = Some((source, Form::Item { alias }));
        Ok(Some(Expr::Path(self.path(&[], text, true))))
    }

    /// Notes that the clause of FROM gives elements that nothing names: all records are the same.
    pub(crate) fn elements_unnamed(&mut self, at: Position) {
        let Some((_, Form::From { element, .. })) = &self.unnest else { return };
        if !self.element_named {
            let found = Finding::new(
                format!("`{element}` is named nowhere: a message gives equal records"),
                format!("name its parts, such as `{element}.a`, or leave UNNEST out"),
            );
            check::warn(&mut self.warnings, Some(at), found);
        }
    }

    fn array(
        &mut self,
        lexed: &Lexed<'_>,
        inside: Range<usize>,
        at: Position,
    ) -> Result<Expr, Error> {
        if self.data_type == DataType::Binary {
            return Err(binary(at));
        }
        if inside.is_empty() || ends_early(&lexed.lexemes[inside.clone()]) {
            return Err(Error::at(at, "UNNEST takes one array").expected("UNNEST(a)").hint(
                "`a` is a path, an expression that gives an ARRAY such as parse_json(x), or `*` for a \
                 document that is an array",
            ));
        }
        // The whole document.
        if let [star] = &lexed.lexemes[inside.clone()]
            && star.token == Token::Mul
        {
            return Ok(Expr::Path(self.path(&[], "$", false)));
        }
        let at = lexed.lexemes.get(inside.start).map_or(at, |lexeme| lexeme.at);
        let parsed = statement::parse(lexed, inside)?;
        let source = self.lower(&parsed, at)?;
        if let Expr::Const(_) = source {
            return Err(Error::at(at, "a constant is no ARRAY")
                .expected("a path or an expression that gives an ARRAY")
                .hint("text that holds an array is taken apart as UNNEST(parse_json(text))"));
        }
        if let Some(found) = check::array(&source, &self.printer()) {
            check::warn(&mut self.warnings, Some(at), found);
        }
        Ok(source)
    }

    /// What a name means that is (a part of) the element or its index; `None` for other names.
    pub(crate) fn of_element(
        &mut self,
        named: &Named,
        what: &Quoted,
    ) -> Result<Option<Expr>, Error> {
        let (steps, wraps) = match what {
            Quoted::Path(steps) => (steps, false),
            Quoted::Wrapped(steps) => (steps, true),
            Quoted::JsonPath(_) => return Ok(None),
        };
        match &self.unnest {
            Some((_, Form::From { element, offset })) => {
                let Some((Step::Key(first), rest)) = steps.split_first() else { return Ok(None) };
                if named.starts_at_document(first) {
                    return Ok(None);
                }
                if first == element {
                    self.element_named = true;
                    let text = named.text.trim_start_matches('.');
                    let path = Expr::Path(self.path(rest, text, true));
                    return Ok(Some(if wraps { Expr::Wrap(Box::new(path)) } else { path }));
                }
                if Some(first) != offset.as_ref() {
                    return Ok(None);
                }
                if !rest.is_empty() || wraps {
                    return Err(Error::at(
                        named.at,
                        format!("`{first}` is a number without parts"),
                    )
                    .expected(format!("`{first}`"))
                    .hint(format!("a key of the document with that name is \"$.{first}\"")));
                }
                self.element_named = true;
                let (function, prepared) = (&OFFSET, Prepared::Nothing);
                let call = Call { function, arguments: Vec::new(), prepared, site: 0 };
                Ok(Some(Expr::Call(Box::new(call))))
            }
            Some((_, Form::Item { alias: Some(alias) })) if *alias == named.text => {
                self.warnings.push(Warning {
                    message: format!("`{alias}` is a key of the document here, not the element"),
                    line: named.at.line,
                    column: named.at.column,
                    hint: format!("to test elements write FROM \"t\", UNNEST(a) AS {alias}"),
                    part: "WHERE",
                });
                Ok(None)
            }
            _ => Ok(None),
        }
    }
}

/// The index of the element; not in the table of functions, because only the name that WITH OFFSET
/// gives stands for it.
pub(crate) static OFFSET: Function = Function {
    name: "WITH OFFSET",
    aliases: &[],
    family: "",
    signature: "WITH OFFSET",
    price: Price::new(0, 0),
    params: &[],
    rest: None,
    result: Kind::Integer,
    nulls: Nulls::Own,
    reads: &[],
    spreads: false,
    depends: Depends::Message,
    summary: "The index of the element that UNNEST gives, from 0.",
    examples: &[],
    prepare: |_| Ok(Prepared::Nothing),
    eval: |_, site| Ok(Value::number(Num::Int(i64::from(site.element)))),
};
