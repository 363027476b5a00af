//! What texts name is there: files of the repository, and the targets of links.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use super::complain;

/// Where texts stand that name files.
const FOLDERS: &[&str] =
    &["benches", "connectors", "docs", "findings", "fuzz", "scripts", "src", "tests"];
/// Those beside them. The changelog tells of files that were.
const FILES: &[&str] =
    &["README.md", "CONTRIBUTING.md", "Cargo.toml", "deny.toml", "rules/README.md"];

fn texts() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = FOLDERS.iter().chain(FILES).map(|name| root.join(name)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder");
            open.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            // The checks of the house try themselves on files that there are not.
            if path.starts_with(root.join("tests/tidy")) {
                continue;
            }
            found.push((path.strip_prefix(root).expect("below the root").to_owned(), text));
        }
    }
    found
}

#[test]
fn named_files_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = Regex::new(
        r"(?:^|[\s`(\x22'])((?:benches|connectors|docs|findings|fuzz|scripts|src|tests)/[\w./-]+\.(?:json|md|rs|sh|slt|sql|txt|yaml))\b",
    )
    .expect("a pattern");
    let link = Regex::new(r"\]\(([\w./-]+)(?:#[\w-]*)?\)").expect("a pattern");
    let (mut findings, mut seen) = (Vec::new(), 0);
    for (path, text) in texts() {
        for (at, line) in text.lines().enumerate() {
            let files = named.captures_iter(line).map(|found| root.join(&found[1]));
            let folder = root.join(path.parent().unwrap_or(Path::new("")));
            let is_page = path.extension().is_some_and(|end| end == "md");
            let links = link.captures_iter(line).map(|found| folder.join(&found[1]));
            for target in files.chain(links.filter(|_| is_page)) {
                seen += 1;
                // `NAME` stands for any.
                if !target.exists() && !line.contains("NAME") {
                    let target = target.strip_prefix(root).unwrap_or(&target).display();
                    findings.push(format!("{}:{}: there is no {target}", path.display(), at + 1));
                }
            }
        }
    }
    assert!(seen > 50, "texts name files");
    complain(&findings);
}
