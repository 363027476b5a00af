//! A statement in words: what it was compiled to, and what it makes of one message, part by part.
//!
//! It keeps what [`Query`] throws away to stay small, so it is made when somebody asks.
//! Every value comes from the evaluator that runs rules; nothing is computed a second way.

mod absent;
mod elements;
mod plan;
mod reason;
mod text;
mod walk;

use std::sync::Arc;

use super::compile::Tree;
use super::elements::split;
use super::error::Mistakes;
use super::expr::Expr;
use super::plan::{Input, Plan, Scratch};
use super::print;
use super::query::Query;
use super::{Options, Warning};

pub use elements::{ArrayReport, ElementReport};
pub(crate) use plan::cost;
pub use plan::{ArrayPlan, Cost, FieldReport, ItemPlan, PlanReport, TestReport};
pub use walk::{ItemReport, MessageReport, Node, Outcome};

/// The most parts that are shown of one message; further ones are only counted.
pub const NODES: usize = 500;

/// The most characters that are shown of one value or expression.
pub const SHOWN: usize = 200;

/// The most bytes of a record that are shown.
pub const RECORD: usize = 64 * 1024;

/// The most elements of UNNEST that are shown of one message; further ones are only counted.
pub const ELEMENTS: usize = 5;

/// A statement that can be printed and explained.
#[derive(Debug)]
pub struct Explanation {
    /// The statement as canonical text.
    text: String,
    /// With WHERE as a tree: what is asked once per message.
    tree: Tree,
    /// What WHERE asks of each element of UNNEST.
    inner: Option<Expr>,
    /// The same statement as it runs.
    plan: Plan,
}

impl Explanation {
    /// Compiles a statement and keeps its tree.
    ///
    /// # Errors
    /// As [`Query::compile`](super::Query::compile).
    pub fn new(text: &str, options: &Options) -> Result<Self, Mistakes> {
        Ok(Self::of(Tree::compile(text, options)?, Query::compile(text, options)?))
    }

    /// Compiles a statement in parts and keeps its tree.
    ///
    /// # Errors
    /// As [`Query::from_parts`](super::Query::from_parts).
    pub fn from_parts(
        select: &str,
        from: &str,
        filter: Option<&str>,
        options: &Options,
    ) -> Result<Self, Mistakes> {
        let tree = Tree::from_parts(select, from, filter, options)?;
        Ok(Self::of(tree, Query::from_parts(select, from, filter, options)?))
    }

    fn of(mut tree: Tree, query: Query) -> Self {
        let text = print::statement(&tree);
        let mut inner = None;
        if tree.form.is_some() {
            let condition = tree.condition.take();
            (tree.condition, inner) = split(condition, tree.query.items(), tree.query.paths());
        }
        Self { text, tree, inner, plan: Plan::new(vec![Arc::new(query)]) }
    }

    /// The statement as canonical text that compiles to the same.
    #[must_use]
    pub fn text(&self) -> String {
        self.text.clone()
    }

    /// What is allowed but probably not meant.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        self.tree.query.warnings()
    }

    /// What the statement was compiled to.
    #[must_use]
    pub fn plan(&self) -> PlanReport {
        plan::report(self)
    }

    /// What the statement makes of one message. At most [`NODES`] parts are shown.
    #[must_use]
    pub fn message(&self, input: &Input<'_>, scratch: &mut Scratch) -> MessageReport {
        walk::report(self, input, scratch)
    }

    fn query(&self) -> &Query {
        &self.tree.query
    }
}

/// At most [`SHOWN`] characters of a text; what was cut is said.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => {
            format!("{}… ({} bytes)", text.get(..end).unwrap_or_default(), text.len())
        }
        None => text.to_owned(),
    }
}
