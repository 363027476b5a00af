//! What a statement was compiled to: fields, the order of tests, what each part costs.

use serde::Serialize;

use super::{Explanation, shortened};
use crate::DataType;
use crate::elements::Unnest;
use crate::expr::{Arithmetic, Content, Expr};
use crate::functions::{FUNCTIONS, Kind};
use crate::predicate::{Program, Step};
use crate::print::Printer;
use crate::unnest::Form;

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
    /// The tests of WHERE in their order; none when there is nothing to test. With UNNEST those that
    /// are made once per message.
    pub tests: Vec<TestReport>,
    /// What becomes of a message when there is nothing to test.
    pub untested: Option<String>,
    /// The array that UNNEST takes apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unnest: Option<ArrayPlan>,
    /// The items of SELECT; with UNNEST those of each element's record.
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

/// UNNEST: where elements come from, and what is asked of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ArrayPlan {
    /// The array, as it is written in SQL.
    pub array: String,
    /// What it costs to have the array.
    pub cost: Cost,
    /// The most elements that it may have; with more nothing of the message fires.
    pub most: usize,
    /// What is taken out of each element.
    pub fields: Vec<FieldReport>,
    /// The tests of WHERE that name the element, made for each.
    pub tests: Vec<TestReport>,
    /// What becomes of an element when there is nothing to test.
    pub untested: Option<String>,
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
    let tree = &explanation.tree;
    let printer = Printer::of(tree);
    let mut fields = self::fields(explanation, false);
    fields.extend(query.json_paths().iter().map(|path| FieldReport {
        path: path.text.clone(),
        how: "a JSONPath, which needs the document as a tree",
        cost: Cost::Costs,
    }));
    let words = if query.unnests() { &MESSAGE } else { &RULE };
    let running = explanation.plan.queries().first();
    let (tests, untested) = tests(running.and_then(|query| query.condition()), &printer, words);
    let items = query.items().iter().enumerate().map(|(at, item)| {
        let (expression, cost, adds) = match &item.content {
            Content::All if query.items().len() == 1 => {
                ("*".into(), Cost::Free, "the record is the payload, byte for byte")
            }
            Content::All => ("*".into(), Cost::Costs, "all members of the document"),
            Content::Spread(expr) => {
                let text = Printer::of_item(tree, at).expr(expr);
                (text, Cost::Costs, "the members of the object")
            }
            Content::Value(expr) => (Printer::of_item(tree, at).expr(expr), cost(expr), "one key"),
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
        unnest: query.unnest().map(|unnest| array(explanation, unnest, &printer)),
        items: items.collect(),
        functions: functions(explanation),
        warnings: explanation.warnings().iter().map(ToString::to_string).collect(),
    }
}

/// What UNNEST does.
fn array(explanation: &Explanation, unnest: &Unnest, printer: &Printer<'_>) -> ArrayPlan {
    // What runs has the tests.
    let running = explanation.plan.queries().first().and_then(|query| query.unnest());
    let (tests, untested) = tests(running.and_then(Unnest::condition), printer, &ELEMENT);
    let array = Printer::of_array(&explanation.tree).expr(unnest.source());
    let named = matches!(explanation.tree.form, Some(Form::From { .. }));
    ArrayPlan {
        array: shortened(&array),
        cost: cost(unnest.source()),
        most: unnest.most(),
        fields: if named { fields(explanation, true) } else { Vec::new() },
        tests,
        untested,
    }
}

/// The paths into the document, or into an element.
fn fields(explanation: &Explanation, element: bool) -> Vec<FieldReport> {
    // For the first item, so that no alias can be meant.
    let printer = Printer::of_item(&explanation.tree, 0);
    let paths = explanation.query().paths().iter().enumerate();
    let how = if element {
        "one pass over the element finds it"
    } else {
        "one pass over the payload finds it"
    };
    paths
        .filter(|(_, path)| path.element == element)
        .map(|(at, _)| FieldReport {
            path: printer.path(u32::try_from(at).unwrap_or(u32::MAX)),
            how,
            cost: Cost::Free,
        })
        .collect()
}

/// How tests are told.
struct Words {
    /// There is no condition.
    none: &'static str,
    /// Nothing has to be asked: the condition holds.
    always: &'static str,
    /// Nothing has to be asked: the condition does not hold.
    never: &'static str,
    accepts: &'static str,
    rejects: &'static str,
}

const RULE: Words = Words {
    none: "there is no WHERE: the rule fires for every message",
    always: "nothing is left to test: the rule fires for every message",
    never: "nothing is left to test: the rule never fires",
    accepts: "the rule fires",
    rejects: "the rule does not fire",
};

const MESSAGE: Words = Words {
    none: "nothing is asked",
    always: "nothing is left to test: every message goes on with the elements",
    never: "nothing is left to test: the rule never fires",
    accepts: "go on with the elements",
    rejects: "the rule does not fire",
};

const ELEMENT: Words = Words {
    none: "nothing is asked, each gives a record",
    always: "nothing is left to test: each element gives a record",
    never: "nothing is left to test: no element gives a record",
    accepts: "the element gives a record",
    rejects: "it gives none",
};

fn tests(
    program: Option<&Program>,
    printer: &Printer<'_>,
    words: &Words,
) -> (Vec<TestReport>, Option<String>) {
    let Some(program) = program else { return (Vec::new(), Some(words.none.into())) };
    let steps = program.steps(printer);
    if steps.is_empty() {
        let text = if program.is_always() { words.always } else { words.never };
        return (Vec::new(), Some(text.into()));
    }
    let leads = |next: Option<usize>, accepts: bool| match (next, accepts) {
        (Some(number), _) => format!("go on with {number}"),
        (None, true) => words.accepts.into(),
        (None, false) => words.rejects.into(),
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
    let source = explanation.query().unnest().map(Unnest::source);
    for expr in explanation.tree.condition.iter().chain(&explanation.inner).chain(source) {
        calls(expr, &mut names);
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
