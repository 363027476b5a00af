//! What a statement was compiled to: fields, the order of tests, what each part costs.

use serde::Serialize;

use super::{Explanation, shortened};
use crate::sql::DataType;
use crate::sql::expr::{Arithmetic, Content, Expr};
use crate::sql::functions::{FUNCTIONS, Kind};
use crate::sql::predicate::Step;
use crate::sql::print::Printer;

/// What a part costs for each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cost {
    /// A look at a value that the pass over the payload has found already.
    Free,
    /// A comparison of text, a look-up in a list, arithmetic.
    Cheap,
    /// Makes a new value, or a tree of the whole document.
    Costs,
}

/// A statement in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanReport {
    /// The statement as canonical text, constants computed.
    pub statement: String,
    /// The topics that the rule reads.
    pub topics: String,
    /// True when payloads are JSON documents.
    pub json: bool,
    /// What is taken out of the document.
    pub fields: Vec<FieldReport>,
    /// The tests of WHERE in their order; none when there is nothing to test.
    pub tests: Vec<TestReport>,
    /// What becomes of a message when there is nothing to test.
    pub untested: Option<String>,
    /// The items of SELECT.
    pub items: Vec<ItemPlan>,
    /// The functions that are called, with what they do.
    pub functions: Vec<String>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
}

/// A value of the document that the statement names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldReport {
    /// The path, as it is written in SQL.
    pub path: String,
    /// How it is found.
    pub how: &'static str,
    /// What finding it costs.
    pub cost: Cost,
}

/// One test of WHERE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestReport {
    /// Its number, from 1.
    pub number: usize,
    /// What is asked.
    pub test: String,
    /// What asking costs.
    pub cost: Cost,
    /// Where an answer leads.
    pub then: String,
}

/// One item of SELECT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemPlan {
    /// The key, `*` for all of the document.
    pub key: String,
    /// Its expression.
    pub expression: String,
    /// What it costs.
    pub cost: Cost,
    /// What it adds to the record.
    pub adds: &'static str,
}

pub(super) fn report(explanation: &Explanation) -> PlanReport {
    let query = explanation.query();
    let printer = Printer::of(query);
    // Of the document alone, so that no alias can be meant.
    let of_document = Printer::of_item(query, 0);
    let mut fields: Vec<FieldReport> = (0..query.paths().len())
        .map(|path| FieldReport {
            path: of_document.path(u32::try_from(path).unwrap_or(u32::MAX)),
            how: "one pass over the payload finds it",
            cost: Cost::Free,
        })
        .collect();
    fields.extend(query.json_paths().iter().map(|path| FieldReport {
        path: path.text.clone(),
        how: "a JSONPath, which needs the document as a tree",
        cost: Cost::Costs,
    }));
    let (tests, untested) = tests(explanation, &printer);
    let items = query.items().iter().enumerate().map(|(at, item)| {
        let (expression, cost, adds) = match &item.content {
            Content::All if query.items().len() == 1 => {
                ("*".into(), Cost::Free, "the record is the payload, byte for byte")
            }
            Content::All => ("*".into(), Cost::Costs, "all members of the document"),
            Content::Spread(expr) => {
                let text = Printer::of_item(query, at).expr(expr);
                (text, Cost::Costs, "the members of the object")
            }
            Content::Value(expr) => (Printer::of_item(query, at).expr(expr), cost(expr), "one key"),
        };
        ItemPlan { key: item.key.clone(), expression: shortened(&expression), cost, adds }
    });
    PlanReport {
        statement: explanation.text(),
        topics: query.filter().to_string(),
        json: query.data_type() == DataType::Json,
        fields,
        tests,
        untested,
        items: items.collect(),
        functions: functions(explanation),
        warnings: explanation.warnings().iter().map(ToString::to_string).collect(),
    }
}

fn tests(explanation: &Explanation, printer: &Printer<'_>) -> (Vec<TestReport>, Option<String>) {
    let running = explanation.plan.queries().first().and_then(|query| query.condition());
    let Some(program) = running else {
        return (Vec::new(), Some("there is no WHERE: the rule fires for every message".into()));
    };
    let steps = program.steps(printer);
    if steps.is_empty() {
        let always = program.is_always();
        let text = if always { "fires for every message" } else { "never fires" };
        return (Vec::new(), Some(format!("nothing is left to test: the rule {text}")));
    }
    let leads = |next: Option<usize>, accepts: bool| match (next, accepts) {
        (Some(number), _) => format!("go on with {number}"),
        (None, true) => "the rule fires".into(),
        (None, false) => "the rule does not fire".into(),
    };
    let test = |(at, step): (usize, &Step)| {
        let want = if step.want { "TRUE" } else { "FALSE" };
        let hit = leads(step.hit.number, step.hit.accepts);
        let miss = leads(step.miss.number, step.miss.accepts);
        let then = format!("{want}: {hit}; anything else: {miss}");
        TestReport { number: at + 1, test: shortened(&step.text), cost: step.cost, then }
    };
    (steps.iter().enumerate().map(test).collect(), None)
}

fn functions(explanation: &Explanation) -> Vec<String> {
    let mut names = Vec::new();
    for item in explanation.query().items() {
        if let Content::Spread(expr) | Content::Value(expr) = &item.content {
            calls(expr, &mut names);
        }
    }
    if let Some(condition) = &explanation.tree.condition {
        calls(condition, &mut names);
    }
    let used = FUNCTIONS.iter().filter(|function| names.contains(&function.name));
    used.map(|function| format!("{}: {}", function.signature, function.summary)).collect()
}

fn calls(expr: &Expr, names: &mut Vec<&'static str>) {
    if let Expr::Call(call) = expr
        && !names.contains(&call.function.name)
    {
        names.push(call.function.name);
    }
    for child in expr.children() {
        calls(child, names);
    }
}

/// What evaluating an expression costs.
pub(crate) fn cost(expr: &Expr) -> Cost {
    let own = match expr {
        Expr::Const(_) | Expr::Path(_) | Expr::Star => Cost::Free,
        Expr::IsNull { .. } | Expr::IsMissing { .. } => Cost::Free,
        Expr::And(_) | Expr::Or(_) | Expr::Not(_) => Cost::Free,
        Expr::JsonPath(_) | Expr::Wrap(_) | Expr::LikeAny { .. } => Cost::Costs,
        Expr::Arithmetic(_, rest) if rest.iter().any(|(op, _)| *op == Arithmetic::Concat) => {
            Cost::Costs
        }
        Expr::Call(call) => match call.function.result {
            Kind::Boolean | Kind::Number | Kind::Integer => Cost::Cheap,
            Kind::Any | Kind::Text | Kind::Array | Kind::Object | Kind::Bytes => Cost::Costs,
        },
        _ => Cost::Cheap,
    };
    expr.children().into_iter().map(cost).fold(own, Ord::max)
}
