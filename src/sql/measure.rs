//! How large and how deep an expression is, aliases included: evaluation recurses as deep and takes
//! as long.

use super::expr::Expr;

/// Nodes and levels of an expression.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measure {
    pub(crate) nodes: usize,
    pub(crate) depth: usize,
}

impl Measure {
    /// An expression; `items` are the measures of the items that its aliases may name.
    pub(crate) fn of(expr: &Expr, items: &[Self]) -> Self {
        let of = |expr: &Expr| Self::of(expr, items);
        let below = match expr {
            Expr::Const(_) | Expr::Path(_) | Expr::JsonPath(_) | Expr::Star => Self::default(),
            Expr::Alias { item, .. } => items.get(*item as usize).copied().unwrap_or_default(),
            Expr::Wrap(inner) | Expr::Negate(inner) | Expr::Not(inner) => of(inner),
            Expr::And(list) | Expr::Or(list) => Self::join(list.iter().map(of)),
            Expr::Arithmetic(first, rest) => {
                of(first).beside(Self::join(rest.iter().map(|(_, expr)| of(expr))))
            }
            Expr::Compare(_, sides) | Expr::LikeAny { parts: sides, .. } => {
                of(&sides.0).beside(of(&sides.1))
            }
            Expr::Between { parts, .. } => Self::join(parts.iter().map(of)),
            Expr::InSet { value, .. }
            | Expr::Like { value, .. }
            | Expr::IsNull { value, .. }
            | Expr::IsMissing { value, .. } => of(value),
            Expr::In { value, list, .. } => of(value).beside(Self::join(list.iter().map(of))),
            Expr::Case(case) => Self::join(case.operand.iter().map(of))
                .beside(Self::join(case.arms.iter().map(|(a, b)| of(a).beside(of(b)))))
                .beside(Self::join(case.otherwise.iter().map(of))),
            Expr::Call(call) => Self::join(call.arguments.iter().map(of)),
        };
        Self { nodes: below.nodes.saturating_add(1), depth: below.depth + 1 }
    }

    fn beside(self, other: Self) -> Self {
        Self { nodes: self.nodes.saturating_add(other.nodes), depth: self.depth.max(other.depth) }
    }

    fn join(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::default(), Self::beside)
    }
}
