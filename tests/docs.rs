//! What is generated from declarations is committed; a stale file is rewritten and fails the test.

use std::path::Path;

use tidegate::cli;

/// Compares a file with what it should hold; where they differ, writes it and says so.
pub(crate) fn ensure(path: &str, want: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    if have != want {
        std::fs::write(&path, want).expect("written");
        panic!("{} was stale and is rewritten: run the test again and commit it", path.display());
    }
}

/// The text with what stands between a part's marks replaced.
fn replaced(text: &str, part: &str, new: &str) -> String {
    let open = format!("<!-- generated: {part} -->\n");
    let (before, rest) = text.split_once(&open).unwrap_or_else(|| panic!("no mark for {part}"));
    let (_, after) = rest.split_once("<!-- end -->").expect("an end mark");
    format!("{before}{open}{new}<!-- end -->{after}")
}

#[test]
fn the_readme_tables_come_from_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let mut text = std::fs::read_to_string(path).expect("README");
    text = replaced(&text, "sinks", &cli::sinks_table());
    text = replaced(&text, "sources", &cli::sources_table());
    text = replaced(&text, "functions", &cli::functions_summary());
    text = replaced(&text, "operations", &cli::operations_table());
    text = replaced(&text, "clients", &clients());
    ensure("README.md", &text);
}

/// The clients that `scripts/services` installs for the tests, with their versions.
fn clients() -> String {
    let text = include_str!("../scripts/services");
    let mut table = String::from("| registry | clients |\n| --- | --- |\n");
    for (registry, list) in [
        ("PyPI", "PYTHON_PACKAGES=("),
        ("PyPI, devices", "DEVICE_PACKAGES=("),
        ("PyPI, devices of MQTT 3.1", "TENCENT_PACKAGES=("),
        ("npm", "NODE_PACKAGES=("),
        ("Maven Central", "JAVA_PACKAGES=("),
    ] {
        let (_, rest) = text.split_once(list).expect("a list of packages");
        let (lines, _) = rest.split_once("\n)").expect("the end of the list");
        let mut packages = Vec::new();
        for line in lines.split_whitespace() {
            let (name, version) = line.rsplit_once(['=', '@', ':']).expect("a version");
            packages.push(format!("{} {version}", name.trim_end_matches('=')));
        }
        table.push_str(&format!("| {registry} | {} |\n", packages.join(", ")));
    }
    let text = include_str!("api/aliyun/sdk/drive/go/go.mod");
    let clients = ["alibaba-cloud-sdk-go", "iot-20180120/v3"];
    let named = text.lines().map(str::trim).filter(|line| {
        line.split_whitespace()
            .next()
            .is_some_and(|name| clients.iter().any(|end| name.ends_with(end)))
    });
    table.push_str(&format!("| Go modules | {} |\n", named.collect::<Vec<_>>().join(", ")));
    table
}

#[test]
fn the_schema_of_rule_files_comes_from_the_code() {
    ensure("rules/rule.schema.json", &cli::rule_schema());
}

#[test]
fn the_reference_pages_come_from_the_code() {
    ensure("rules/README.md", &cli::rules_reference());
    ensure("connectors/README.md", &cli::connectors_reference());
    ensure("docs/functions.md", &cli::functions_reference());
    // What the API recommends to those whose call is refused.
    ensure(tidegate::api::error::CODES_PAGE, &cli::errors_reference());
}
