//! The typed tree of an expression. Chains of one operator are flat, so that only real nesting is
//! depth.

use super::functions::{Function, PART, Prepared};
use super::like::Pattern;
use super::number::Num;
use super::set::Set;
use super::value::{Number, Value};

/// An expression. Paths and items are numbers into the query's lists.
#[derive(Debug)]
pub(crate) enum Expr {
    Const(Const),
    /// A value of the document.
    Path(u32),
    /// All matches of a JSONPath.
    JsonPath(u32),
    /// A one-element array of a value (`".a[0]"`).
    Wrap(Box<Expr>),
    /// The document's value, or that of a SELECT item where the document has none.
    Alias {
        path: Option<u32>,
        item: u32,
    },
    /// The whole payload, as an argument.
    Star,
    Negate(Box<Expr>),
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// From left to right, all of one precedence.
    Arithmetic(Box<Expr>, Vec<(Arithmetic, Expr)>),
    Compare(Comparison, Box<(Expr, Expr)>),
    Between {
        negated: bool,
        parts: Box<[Expr; 3]>,
    },
    /// A list of constants.
    InSet {
        negated: bool,
        value: Box<Expr>,
        set: Box<Set>,
    },
    In {
        negated: bool,
        value: Box<Expr>,
        list: Vec<Expr>,
    },
    Like {
        negated: bool,
        value: Box<Expr>,
        pattern: Box<Pattern>,
    },
    /// A pattern that is no constant.
    LikeAny {
        negated: bool,
        parts: Box<(Expr, Expr)>,
    },
    IsNull {
        negated: bool,
        value: Box<Expr>,
    },
    IsMissing {
        negated: bool,
        value: Box<Expr>,
    },
    Case(Box<Case>),
    Call(Box<Call>),
}

impl Expr {
    /// The operands, in the order of their evaluation. An alias and a list of constants have none.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match self {
            Self::Const(_)
            | Self::Path(_)
            | Self::JsonPath(_)
            | Self::Alias { .. }
            | Self::Star => Vec::new(),
            Self::Wrap(inner) | Self::Negate(inner) | Self::Not(inner) => vec![inner],
            Self::And(list) | Self::Or(list) => list.iter().collect(),
            Self::Arithmetic(first, rest) => {
                std::iter::once(&**first).chain(rest.iter().map(|(_, right)| right)).collect()
            }
            Self::Compare(_, sides) | Self::LikeAny { parts: sides, .. } => {
                vec![&sides.0, &sides.1]
            }
            Self::Between { parts, .. } => parts.iter().collect(),
            Self::InSet { value, .. }
            | Self::Like { value, .. }
            | Self::IsNull { value, .. }
            | Self::IsMissing { value, .. } => vec![value],
            Self::In { value, list, .. } => std::iter::once(&**value).chain(list).collect(),
            Self::Case(case) => {
                let arms = case.arms.iter().flat_map(|(condition, result)| [condition, result]);
                case.operand.iter().chain(arms).chain(&case.otherwise).collect()
            }
            Self::Call(call) => call.arguments.iter().collect(),
        }
    }
}

/// CASE in both forms.
#[derive(Debug)]
pub(crate) struct Case {
    /// What a simple CASE compares.
    pub(crate) operand: Option<Expr>,
    pub(crate) arms: Vec<(Expr, Expr)>,
    pub(crate) otherwise: Option<Expr>,
}

/// A function with its arguments.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: &'static Function,
    /// The paths that the function reads by itself come first.
    pub(crate) arguments: Vec<Expr>,
    /// What the function has made of its constant arguments.
    pub(crate) prepared: Prepared,
    /// The number of the call in the statement: two calls of `rand()` differ.
    pub(crate) site: u32,
}

impl Call {
    /// True for a path behind an alias, which is a name and no call when it is written.
    pub(crate) fn is_part(&self) -> bool {
        std::ptr::eq(self.function, &PART)
    }
}

/// A constant of the statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Const {
    /// NULL.
    Null,
    /// TRUE or FALSE.
    Bool(bool),
    /// A number and its text as JSON.
    Number(Num, String),
    /// Text.
    String(String),
}

impl Const {
    /// The constant as a value.
    #[must_use]
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(num, text) => Value::Number(Number { num: *num, text: Some(text) }),
            Self::String(text) => Value::text(text.as_str()),
        }
    }
}

/// An operator of arithmetic or `||`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    IntegerDivide,
    Concat,
}

/// An operator that compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Comparison {
    /// The operator with its sides exchanged.
    pub(crate) fn mirrored(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
            same => same,
        }
    }
}

/// An item of the SELECT list.
#[derive(Debug)]
pub(crate) struct Item {
    /// The key of the result.
    pub(crate) key: String,
    pub(crate) content: Content,
    /// True when the key was written after the expression.
    pub(crate) aliased: bool,
}

impl Item {
    /// The expression, unless the item is `*`.
    pub(crate) fn expr(&self) -> Option<&Expr> {
        match &self.content {
            Content::All => None,
            Content::Spread(expr) | Content::Value(expr) => Some(expr),
        }
    }
}

/// What an item adds to the result.
#[derive(Debug)]
pub(crate) enum Content {
    /// All of the document.
    All,
    /// The members of an object.
    Spread(Expr),
    /// One value.
    Value(Expr),
}
