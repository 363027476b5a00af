//! How much there is: functions, examples, cases, pairs of the matrix and names of peers, in one place.
//!
//! It counts; what each of them says is tested elsewhere.

use std::path::Path;

use sql::functions::{self, FUNCTIONS};
use sql::instead;

use crate::peers::names::NAMES;

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).expect("a file of tests")
}

/// The lines of cases, and of remarks in them, of all `.slt` files of a folder.
fn cases(folder: &Path) -> (usize, usize, usize) {
    let (mut files, mut cases, mut remarks) = (0, 0, 0);
    for entry in std::fs::read_dir(folder).expect("the folder of cases") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "slt") {
            let text = read(&path);
            files += 1;
            cases += text.lines().filter(|line| line.starts_with("=>")).count();
            remarks += text.lines().filter(|line| line.starts_with("? ")).count();
        }
    }
    (files, cases, remarks)
}

/// The tables of the matrix and their cells.
fn matrix(text: &str) -> (usize, usize) {
    let (mut tables, mut cells) = (0, 0);
    for table in text.split("\n\n").filter(|part| part.lines().any(|line| line.contains(" | "))) {
        tables += 1;
        let rows = table.lines().filter(|line| line.contains(" | ")).skip(1);
        cells += rows.map(|row| row.split(" | ").count() - 1).sum::<usize>();
    }
    (tables, cells)
}

#[test]
fn there_is_enough_of_everything() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql");
    let aliases: usize = FUNCTIONS.iter().map(|function| function.aliases.len()).sum();
    let examples: usize = FUNCTIONS.iter().map(|function| function.examples.len()).sum();
    let few = FUNCTIONS.iter().filter(|function| function.examples.len() < 2);
    let few: Vec<&str> = few.map(|function| function.name).collect();
    let (files, cases, remarks) = cases(&folder);
    let (tables, cells) = matrix(&read(&folder.join("matrix.txt")));
    println!("{} functions, {aliases} further names, {examples} examples", FUNCTIONS.len());
    println!("{cases} cases and {remarks} remarks in {files} files");
    println!("{tables} tables of operators over kinds of values, {cells} combinations");
    for (peer, names, documented) in NAMES {
        let names: Vec<&str> = names.split_whitespace().collect();
        let ours = names.iter().filter(|name| functions::find(name).is_some()).count();
        let advised = names.iter().filter(|name| functions::find(name).is_none());
        let advised = advised.filter(|name| instead(name).is_some()).count();
        println!(
            "{peer:?}: {ours} of {documented} names work, {advised} say what to write instead"
        );
        assert_eq!(names.len(), *documented, "{peer:?}");
        assert_eq!(ours + advised, *documented, "{peer:?}: some names have no answer");
    }
    assert!(FUNCTIONS.len() >= 200, "{} functions", FUNCTIONS.len());
    assert!(few.is_empty(), "fewer than two examples: {few:?}");
    assert!(examples >= 2 * FUNCTIONS.len(), "{examples} examples");
    assert!(cases >= 1_500, "{cases} cases");
    assert!(remarks >= 100, "{remarks} remarks");
    assert!(tables >= 24 && cells >= 2_500, "{tables} tables, {cells} combinations");
}
