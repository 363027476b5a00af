//! sqlparser's grammar bent to ours: precedences, names, chains without recursion.
//!
//! Names and calls arrive as words that `statement` made, never as words that sqlparser could give
//! a meaning of its own. What comes out is understood by `lower` only.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Ident, Value, ValueWithSpan};
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// The dialect. Everything that sqlparser would do on its own beyond operators, CASE, BETWEEN and
/// LIKE is switched off by what it gets to see.
#[derive(Debug)]
pub(crate) struct Tidegate;

/// First element of a tuple that stands for operands and operators of one precedence.
pub(crate) const CHAIN: &str = "chain";

/// First element of a tuple that stands for a call: the function's name and its arguments follow.
pub(crate) const CALL: &str = "call";

/// The argument `*` of a call: the whole payload.
pub(crate) const STAR: &str = "*";

/// What is expected in an empty list of IN.
pub(crate) const LISTED: &str = "a value of the list";

/// First letter of the word that stands for a path.
pub(crate) const PATH: char = 'p';

/// First letter of the word that stands for a function.
pub(crate) const FUNCTION: char = 'f';

const OR: u8 = 5;
const AND: u8 = 10;
const NOT: u8 = 15;
const COMPARISON: u8 = 20;
const SUM: u8 = 30;
const PRODUCT: u8 = 40;

impl Dialect for Tidegate {
    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        ch.is_alphanumeric() || ch == '_' || ch == '$'
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    /// Keeps sqlparser from reading a CASE that is broken as a name.
    fn is_reserved_for_identifier(&self, _: Keyword) -> bool {
        true
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::Or => OR,
            Precedence::And => AND,
            Precedence::UnaryNot => NOT,
            Precedence::PlusMinus => SUM,
            Precedence::MulDivModOp => PRODUCT,
            _ => COMPARISON,
        }
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        Some(Ok(precedence(&parser.peek_token_ref().token)))
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        prefix(parser)
    }

    fn parse_infix(
        &self,
        parser: &mut Parser,
        left: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        match infix(parser, left, precedence) {
            Ok(ControlFlow::Break(expr)) => Some(Ok(expr)),
            Ok(ControlFlow::Continue(())) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

fn precedence(token: &Token) -> u8 {
    match token {
        Token::Plus | Token::Minus | Token::StringConcat => SUM,
        Token::Mul | Token::Div | Token::Mod => PRODUCT,
        Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq => COMPARISON,
        Token::Word(word) if word.quote_style.is_none() => match word.keyword {
            Keyword::OR => OR,
            Keyword::AND => AND,
            Keyword::IS | Keyword::IN | Keyword::LIKE | Keyword::BETWEEN | Keyword::NOT => {
                COMPARISON
            }
            Keyword::DIV => PRODUCT,
            _ => 0,
        },
        _ => 0,
    }
}

/// Names, calls, constants and parentheses; CASE, NOT and signs are left to sqlparser.
fn prefix(parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
    let next = parser.peek_token_ref();
    match &next.token {
        Token::Word(word) if word.quote_style == Some('`') => {
            let ident = Ident { value: word.value.clone(), quote_style: None, span: next.span };
            parser.next_token();
            Some(if ident.value.starts_with(FUNCTION) {
                call(parser, ident)
            } else {
                Ok(Expr::Identifier(ident))
            })
        }
        Token::SingleQuotedString(text) => {
            let value = Value::SingleQuotedString(text.clone());
            let expr = Expr::Value(ValueWithSpan { value, span: next.span });
            parser.next_token();
            Some(Ok(expr))
        }
        Token::Number(text, _) => {
            let value = Value::Number(text.clone(), false);
            let expr = Expr::Value(ValueWithSpan { value, span: next.span });
            parser.next_token();
            Some(Ok(expr))
        }
        Token::LParen => {
            parser.next_token();
            Some(nested(parser))
        }
        Token::Minus | Token::Plus => None,
        Token::Word(word)
            if matches!(
                word.keyword,
                Keyword::CASE | Keyword::NOT | Keyword::TRUE | Keyword::FALSE | Keyword::NULL
            ) =>
        {
            None
        }
        _ => {
            let next = next.clone();
            Some(parser.expected("an expression", next))
        }
    }
}

fn nested(parser: &mut Parser) -> Result<Expr, ParserError> {
    let inner = parser.parse_expr()?;
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Nested(Box::new(inner)))
}

fn call(parser: &mut Parser, name: Ident) -> Result<Expr, ParserError> {
    let mut parts = vec![mark(CALL, &parser.peek_token()), Expr::Identifier(name)];
    parser.expect_token(&Token::LParen)?;
    if parser.consume_token(&Token::RParen) {
        return Ok(Expr::Tuple(parts));
    }
    loop {
        let next = parser.peek_token();
        let alone = |next: Token| matches!(next, Token::RParen | Token::Comma);
        if next.token == Token::Mul && alone(parser.peek_nth_token(1).token) {
            parser.next_token();
            parts.push(mark(STAR, &next));
        } else {
            parts.push(parser.parse_expr()?);
        }
        if parser.consume_token(&Token::RParen) {
            return Ok(Expr::Tuple(parts));
        }
        let next = parser.peek_token();
        if !parser.consume_token(&Token::Comma) {
            return parser.expected("`,` or `)`", next);
        }
    }
}

fn infix(
    parser: &mut Parser,
    left: &Expr,
    precedence: u8,
) -> Result<ControlFlow<Expr>, ParserError> {
    if precedence != COMPARISON {
        return chain(parser, left, precedence).map(ControlFlow::Break);
    }
    let next = parser.peek_token();
    if compares(left) {
        return parser.expected("AND, OR or the end: comparisons do not chain", next);
    }
    let keyword = |n: usize| match parser.peek_nth_token(n).token {
        Token::Word(word) if word.quote_style.is_none() => Some((word.keyword, word.value)),
        _ => None,
    };
    let is = |n: usize, wanted: Keyword| keyword(n).is_some_and(|(found, _)| found == wanted);
    if is(0, Keyword::IS) {
        parser.next_token();
        return test(parser, left).map(ControlFlow::Break);
    }
    let negated = is(0, Keyword::NOT);
    if is(usize::from(negated), Keyword::IN) {
        parser.next_token();
        if negated {
            parser.next_token();
        }
        return list(parser, left, negated).map(ControlFlow::Break);
    }
    Ok(ControlFlow::Continue(()))
}

/// `IS [NOT] NULL`, `IS [NOT] MISSING`; the latter borrows sqlparser's form for UNKNOWN.
fn test(parser: &mut Parser, left: &Expr) -> Result<Expr, ParserError> {
    let negated = parser.parse_keyword(Keyword::NOT);
    let left = Box::new(left.clone());
    let next = parser.next_token();
    match &next.token {
        Token::Word(word) if word.quote_style.is_none() && word.keyword == Keyword::NULL => {
            Ok(if negated { Expr::IsNotNull(left) } else { Expr::IsNull(left) })
        }
        Token::Word(word) if word.quote_style.is_none() && word.value == "MISSING" => {
            Ok(if negated { Expr::IsNotUnknown(left) } else { Expr::IsUnknown(left) })
        }
        _ => parser.expected("NULL or MISSING", next),
    }
}

fn list(parser: &mut Parser, left: &Expr, negated: bool) -> Result<Expr, ParserError> {
    parser.expect_token(&Token::LParen)?;
    let mut list = Vec::new();
    if parser.peek_token_ref().token == Token::RParen {
        let next = parser.peek_token();
        return parser.expected(LISTED, next);
    }
    loop {
        list.push(parser.parse_expr()?);
        if parser.consume_token(&Token::RParen) {
            return Ok(Expr::InList { expr: Box::new(left.clone()), list, negated });
        }
        let next = parser.peek_token();
        if !parser.consume_token(&Token::Comma) {
            return parser.expected("`,` or `)`", next);
        }
    }
}

/// All operands of one precedence in one flat tuple: operand, operator, operand, …. A tree would be
/// as deep as the chain is long.
fn chain(parser: &mut Parser, left: &Expr, level: u8) -> Result<Expr, ParserError> {
    let mut parts = vec![mark(CHAIN, &parser.peek_token()), left.clone()];
    while precedence(&parser.peek_token_ref().token) == level {
        let operator = parser.next_token();
        let name = operator.token.to_string().to_ascii_uppercase();
        parts.push(mark(&name, &operator));
        parts.push(parser.parse_subexpr(level)?);
    }
    Ok(Expr::Tuple(parts))
}

fn mark(name: &str, at: &TokenWithSpan) -> Expr {
    Expr::Value(ValueWithSpan { value: Value::Placeholder(name.to_owned()), span: at.span })
}

/// True for an expression that is a comparison and not in parentheses.
fn compares(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::BinaryOp { .. }
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::InList { .. }
            | Expr::Between { .. }
            | Expr::Like { .. }
    )
}
