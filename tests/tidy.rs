//! The rules of the house that no compiler checks: direction of dependencies, sizes, names.

use std::fs;
use std::path::{Path, PathBuf};

mod names;
mod wings;

/// Lines that a file may have.
const FILE_MAX: usize = 800;
/// Lines that a function may have.
const FUNCTION_MAX: usize = 70;

/// What each part of `src` may use of the others. Those with a `Cargo.toml` are crates, which Cargo holds
/// to what stands there; `lib` and `main` belong to the crate of the daemon.
const MAY_USE: &[(&str, &[&str])] = &[
    ("api", &["broker", "engine", "history", "problem", "registry", "rule", "sql", "thing", "web"]),
    ("broker", &["registry", "rule", "web"]),
    (
        "cli",
        &[
            "api", "broker", "config", "engine", "history", "problem", "registry", "rule", "sql",
            "thing", "web", "yaml",
        ],
    ),
    (
        "config",
        &[
            "api", "broker", "engine", "history", "problem", "registry", "rule", "sql", "thing",
            "web", "yaml",
        ],
    ),
    ("engine", &["rule", "sql", "yaml"]),
    ("history", &["registry", "rule"]),
    ("lib", &[]),
    ("main", &["cli"]),
    ("problem", &[]),
    ("registry", &["rule"]),
    ("rule", &["sql", "yaml"]),
    ("sql", &[]),
    ("thing", &["history", "registry", "rule"]),
    ("web", &[]),
    ("yaml", &[]),
];

/// Words that say nothing about what a module or a type does.
const EMPTY_NAMES: &[&str] =
    &["util", "utils", "common", "helper", "helpers", "misc", "manager", "handler"];

struct Source {
    path: PathBuf,
    text: String,
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("source");
                let path = path.strip_prefix(root).expect("below the root").to_owned();
                found.push(Source { path, text });
            }
        }
    }
    assert!(found.len() > 10, "the folders hold sources");
    found
}

/// The code above the unit tests of a file. Tests in a file of their own cut nothing off.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn complain(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// The parts of `src` that a part of it names in its `Cargo.toml`; `None` when it is no crate.
fn crates_used(part: &str) -> Option<Vec<String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(part).join("Cargo.toml");
    let text = fs::read_to_string(file).ok()?;
    let paths = text.split("path = \"../").skip(1).filter_map(|rest| rest.split('"').next());
    Some(paths.filter(|path| !path.starts_with("..")).map(str::to_owned).collect())
}

#[test]
fn crates_use_each_other_one_way() {
    let mut findings = Vec::new();
    let mut crates = 0;
    for (part, may) in MAY_USE {
        let Some(used) = crates_used(part) else { continue };
        crates += 1;
        for used in used.iter().filter(|used| !may.contains(&used.as_str())) {
            findings.push(format!("src/{part}/Cargo.toml: `{part}` may not use `{used}`"));
        }
    }
    complain(&findings);
    assert!(crates >= 8, "{crates} parts are crates");
}

#[test]
fn dependencies_point_one_way() {
    let mut findings = Vec::new();
    for source in sources(&["src"]) {
        let below = source.path.strip_prefix("src").expect("in src");
        let part = below.components().next().expect("a part").as_os_str().to_string_lossy();
        let part = part.trim_end_matches(".rs");
        let Some((_, may)) = MAY_USE.iter().find(|(name, _)| *name == part) else {
            findings.push(format!(
                "{}: `{part}` is not in the map of tests/tidy.rs",
                source.path.display()
            ));
            continue;
        };
        if crates_used(part).is_some() {
            continue;
        }
        for used in product(&source.text).split("crate::").skip(1) {
            let name: String =
                used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let known = MAY_USE.iter().any(|(part, _)| *part == name);
            if known && name != part && !may.contains(&name.as_str()) {
                findings.push(format!("{}: `{part}` may not use `{name}`", source.path.display()));
            }
        }
    }
    for source in sources(&["connectors"]) {
        // A crate of its own, which depends on none of Tidegate's.
        if source.path.starts_with("connectors/contract") {
            continue;
        }
        let file = source.path.file_stem().expect("a name").to_string_lossy().into_owned();
        for used in product(&source.text).split("crate::").skip(1) {
            let ok = used.starts_with("contract") || used.starts_with(&file) || file == "lib";
            if !ok {
                findings.push(format!(
                    "{}: a connector may use the contract only",
                    source.path.display()
                ));
            }
        }
    }
    complain(&findings);
}

#[test]
fn files_and_functions_are_small() {
    let mut findings = Vec::new();
    for source in sources(&["src", "connectors", "tests", "benches", "fuzz"]) {
        let lines: Vec<&str> = source.text.lines().collect();
        if lines.len() > FILE_MAX {
            findings.push(format!("{}: {} lines", source.path.display(), lines.len()));
        }
        for (start, line) in lines.iter().enumerate() {
            let code = line.trim_start();
            let is_function =
                ["fn ", "pub fn ", "async fn ", "pub async fn ", "const fn ", "pub const fn "]
                    .iter()
                    .any(|head| code.starts_with(head))
                    || (code.starts_with("pub(") && code.contains(" fn "));
            if !is_function || code.trim_end().ends_with(';') {
                continue;
            }
            let indent = line.len() - code.len();
            let close = format!("{}}}", " ".repeat(indent));
            let end = lines.iter().skip(start).position(|line| **line == close);
            if let Some(length) = end
                && length + 1 > FUNCTION_MAX
            {
                let place = format!("{}:{}", source.path.display(), start + 1);
                findings.push(format!("{place}: a function of {} lines", length + 1));
            }
        }
    }
    complain(&findings);
}

#[test]
fn files_say_what_they_own() {
    let mut findings = Vec::new();
    for source in sources(&["src", "connectors", "tests", "benches", "fuzz"]) {
        if !source.text.starts_with("//!") {
            findings.push(format!("{}: no `//!` at the start", source.path.display()));
        }
        let stem = source.path.file_stem().expect("a name").to_string_lossy().into_owned();
        if EMPTY_NAMES.contains(&stem.as_str()) {
            findings.push(format!("{}: a name that says nothing", source.path.display()));
        }
    }
    complain(&findings);
}

#[test]
fn nothing_panics_by_negligence() {
    let mut findings = Vec::new();
    for source in sources(&["src", "connectors"]) {
        // A module of tests, and what belongs to one.
        if source.path.iter().any(|part| part == "tests.rs" || part == "tests") {
            continue;
        }
        for (number, line) in product(&source.text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or(line);
            let bad = code.contains(".unwrap()")
                || code.contains("panic!(")
                || code.contains("todo!(")
                || code.contains("#[allow(")
                || (code.contains(".expect(\"") && !code.contains(".expect(\"invariant: "));
            if bad {
                findings.push(format!("{}:{}: {}", source.path.display(), number + 1, code.trim()));
            }
        }
    }
    complain(&findings);
}

/// A tree that serde_json makes by itself can be bent by what a device sends, see
/// `connectors/contract/tree.rs`.
#[test]
fn trees_are_read_in_one_place() {
    let mut findings = Vec::new();
    let all = sources(&["src", "connectors"]);
    let is_test =
        |path: &Path| path.ends_with("tests.rs") || path.iter().any(|part| part == "tests");
    for source in all.iter().filter(|source| !is_test(&source.path)) {
        for (at, line) in product(&source.text).lines().enumerate() {
            // `RawValue` is the text itself.
            let is_tree = line.replace("RawValue", "").contains("Value") || line.contains("Map<");
            if line.contains("serde_json::from_") && is_tree {
                let path = source.path.display();
                findings.push(format!("{path}:{}: read it with contract::tree", at + 1));
            }
        }
    }
    complain(&findings);
}

#[test]
fn tests_do_not_sleep() {
    let mut findings = Vec::new();
    let word = concat!("thread::", "sleep");
    for source in sources(&["tests"]) {
        for (number, line) in source.text.lines().enumerate() {
            if line.contains(word) {
                findings.push(format!("{}:{}: a sleep", source.path.display(), number + 1));
            }
        }
    }
    complain(&findings);
}
