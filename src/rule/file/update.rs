//! Writing what came into the tests of a rule file (`tidegate test --update`): only the text of the
//! expectations changes, and only when the file then reads as it should.

use std::path::Path;

use serde_json::Value;

use super::super::{Change, Compiler};
use super::parse;
use yaml::problem::Problem;
use yaml::{Document, edit};

/// The changes of one test: the index of its rule in the file, its own in the rule, and the keys to
/// set.
#[derive(Debug)]
pub struct TestChanges {
    /// The rule's index in the file.
    pub rule: usize,
    /// The test's index in the rule.
    pub test: usize,
    /// What to set.
    pub changes: Vec<Change>,
}

/// The text of a rule file with changes of its tests. The result was read again: nothing else has
/// changed, and the tests that were changed pass.
///
/// # Errors
/// The first test that can't be changed in the text; then the file has to be edited by hand.
pub fn update(
    path: &Path,
    text: &str,
    tests: &[TestChanges],
    compiler: &Compiler,
) -> Result<String, Problem> {
    let mut new = text.to_owned();
    for TestChanges { rule, test, changes } in tests {
        let place = format!("rules[{rule}].tests[{test}]");
        for Change { key, value } in changes {
            let set = edit::set(&new, &place, key, value);
            // Each change is looked at by itself, so that a failure names its test.
            new = set
                .filter(|after| rest(path, after, &place, key) == rest(path, &new, &place, key))
                .ok_or_else(|| refused(path, text, &place, key))?;
        }
    }
    let loaded = parse(path, &new, compiler);
    for TestChanges { rule, test, changes } in tests {
        let passes = loaded.as_ref().is_ok_and(|file| {
            let rule = file.rules.iter().find(|one| one.index == *rule);
            rule.and_then(|rule| Some((rule, rule.tests.iter().find(|one| one.index == *test)?)))
                .is_some_and(|(rule, test)| test.run(&rule.compiled).differences.is_empty())
        });
        if !passes {
            let key = changes.first().map_or("expect", |change| change.key);
            return Err(refused(path, text, &format!("rules[{rule}].tests[{test}]"), key));
        }
    }
    Ok(new)
}

/// The document without one key of one test; `None` for text that is no YAML.
fn rest(path: &Path, text: &str, place: &str, key: &str) -> Option<Value> {
    let mut value = Document::parse(path, text).ok()?.take();
    let pointer = format!("/{}", place.replace(['[', '.'], "/").replace(']', ""));
    value.pointer_mut(&pointer)?.as_object_mut()?.remove(key);
    Some(value)
}

fn refused(path: &Path, text: &str, place: &str, key: &str) -> Problem {
    let problem = Problem::new(format!("`{key}` can't be written here"))
        .hint("nothing was changed; edit the file by hand, and write the test as a block of lines");
    match Document::parse(path, text) {
        Ok(document) => problem.in_file(path, document.position(place)),
        Err(_) => problem,
    }
}
