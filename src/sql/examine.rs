//! Looks at each operator as it is compiled: what is constant is computed, what looks wrong is noted
//! with its place.
//!
//! The judgements are those of `fold` and `check`.

use sqlparser::ast;

use super::check::{self, Finding};
use super::error::{Error, Position};
use super::expr::Expr;
use super::fold::{self, Folded};
use super::lex::shorten;
use super::lower::{Lowering, named};
use super::print::Printer;
use super::statement::{Named, position};

impl Lowering {
    /// Computes what is constant and notes what looks wrong; `at` is where the whole expression
    /// starts.
    pub(crate) fn examine(
        &mut self,
        lowered: Expr,
        source: &ast::Expr,
        names: &[Named],
        at: Position,
    ) -> Result<Expr, Error> {
        let place = || start(source, names, at);
        if let Expr::Arithmetic(first, rest) = &lowered {
            check::operands(first, rest, place())?;
        }
        let found = match fold::fold(&lowered) {
            Folded::Const(constant) => {
                // The next call has the number that it would have had without this one.
                self.sites -= u32::from(matches!(lowered, Expr::Call(_)));
                return Ok(Expr::Const(constant));
            }
            Folded::Fault(error, aborts) => {
                let text = shorten(&self.printer().expr(&lowered));
                let what =
                    if aborts { "ends the run for every message" } else { "is always MISSING" };
                let message = format!("`{text}` {what}: {}", error.message);
                Some(Finding::new(message, "correct it, or take it out"))
            }
            Folded::Not => check::node(&lowered, &self.printer()),
        };
        if let Some(found) = found {
            check::warn(&mut self.warnings, Some(place()), found);
        }
        Ok(lowered)
    }

    /// Prints what is being compiled.
    pub(crate) fn printer(&self) -> Printer<'_> {
        let unnest = self.unnest.as_ref();
        Printer::numbered(&self.paths, &self.json_paths, &self.aliases, unnest)
    }
}

/// Where an expression starts.
pub(crate) fn start(expr: &ast::Expr, names: &[Named], at: Position) -> Position {
    let mut expr = expr;
    loop {
        expr = match expr {
            ast::Expr::Identifier(ident) => {
                return named(names, ident).map_or(at, |named| named.at);
            }
            ast::Expr::Value(value) => return position(value.span).unwrap_or(at),
            ast::Expr::Case { case_token, .. } => {
                return position(case_token.0.span).unwrap_or(at);
            }
            ast::Expr::Tuple(parts) => match parts.as_slice() {
                // The mark of a chain stands where its first operator does.
                [_, first, ..] => first,
                _ => return at,
            },
            ast::Expr::BinaryOp { left: inner, .. }
            | ast::Expr::UnaryOp { expr: inner, .. }
            | ast::Expr::Nested(inner)
            | ast::Expr::IsNull(inner)
            | ast::Expr::IsNotNull(inner)
            | ast::Expr::IsUnknown(inner)
            | ast::Expr::IsNotUnknown(inner)
            | ast::Expr::InList { expr: inner, .. }
            | ast::Expr::Between { expr: inner, .. }
            | ast::Expr::Like { expr: inner, .. } => inner,
            _ => return at,
        };
    }
}
