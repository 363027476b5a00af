//! docs/api: a page for each chapter of the operations, from their declarations, with a request of each
//! that the scenarios make and what they find in its answer.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tidegate::api::{KNOWN, Operation, operations};

use super::scenario::{SCENARIOS, Step, parse};
use crate::docs::ensure;

/// Scenarios that need more than the others.
const FURTHER: &[&str] = &[
    include_str!("scenarios/things.txt"),
    include_str!("scenarios/files.txt"),
    include_str!("scenarios/history.txt"),
];

/// What stands in front of each page.
const HEAD: &str = "\
From the declarations and the tests' scenarios; `cargo test --test integration -- pages::` writes it. A key
needs the role; parameters in bold are needed. Those of all requests, and the codes of all refusals, are in
[the errors of the API](../api-errors.md). Each example is run by the tests, in JSON and XML; `<PK>` and the like are
what earlier requests have answered.
";

/// The first request of an operation that is not refused; best one of which something is expected, or which
/// has parameters at least.
fn example<'a>(steps: &'a [Step<'a>], name: &str) -> Option<&'a Step<'a>> {
    let is_good = |step: &&Step<'_>| {
        let mut expected = step.expect.iter().filter(|line| line.starts_with("=>"));
        step.action == name && expected.all(|line| line.contains(" = "))
    };
    let tells = |step: &Step<'_>| step.expect.iter().any(|line| line.contains(" = "));
    let worth = |step: &&Step<'_>| (tells(step), !step.parameters.is_empty());
    // The first among equals, where `max_by_key` has the last.
    steps.iter().rev().filter(is_good).max_by_key(worth)
}

fn section(operation: &Operation, steps: &[Step<'_>]) -> String {
    let mut text = format!("## {}\n\nRole `{}`. ", operation.name, operation.role.as_str());
    let parameters = operation.parameters.iter().map(|parameter| match parameter.required {
        true => format!("**{}**", parameter.name),
        false => parameter.name.to_owned(),
    });
    let parameters: Vec<_> = parameters.collect();
    match parameters.is_empty() {
        true => text.push_str("No parameters.\n"),
        false => writeln!(text, "Parameters: {}.", parameters.join(", ")).expect("a text"),
    }
    let example = example(steps, operation.name);
    let example = example.unwrap_or_else(|| panic!("no scenario has {} succeed", operation.name));
    text.push_str("\n```text\n");
    writeln!(text, "{}", operation.name).expect("a text");
    for (name, value) in &example.parameters {
        writeln!(text, "  {name} = {value}").expect("a text");
    }
    for line in example.expect.iter().filter(|line| line.starts_with("=>")) {
        writeln!(text, "{line}").expect("a text");
    }
    text.push_str("```\n\n");
    text
}

#[test]
fn the_pages_of_the_api_come_from_the_code() {
    let texts = SCENARIOS.iter().map(|(_, text)| *text).chain(FURTHER.iter().copied());
    let steps: Vec<Step<'_>> = texts.flat_map(parse).collect();
    let mut offered: BTreeMap<&str, &Operation> =
        operations().map(|operation| (operation.name, operation)).collect();
    let mut pages: Vec<(&str, Vec<&Operation>)> = Vec::new();
    for (chapter, names) in KNOWN {
        let of = names.iter().map(|name| offered.remove(name).expect("it works"));
        pages.push((chapter, of.collect()));
    }
    pages.push(("Later documents", offered.into_values().collect()));
    for (chapter, operations) in pages {
        let mut text = format!("# {chapter}\n\n{HEAD}\n");
        text.extend(operations.iter().map(|operation| section(operation, &steps)));
        let file = format!("docs/api/{}.md", chapter.to_lowercase().replace(' ', "-"));
        ensure(&file, &format!("{}\n", text.trim_end()));
    }
}
