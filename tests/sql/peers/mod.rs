//! Statements of other rule engines: what `tidegate check --from` says about each, and an answer for
//! every name of a function that they have.
//!
//! `tests/sql/peers/*.sql` hold the statements, one in each block between blank lines, and what is said of
//! it in comments below it. `UPDATE_EXPECT=1` writes these.

use std::fmt::Write as _;
use std::path::Path;

use sql::Options;
use sql::functions::{self, FUNCTIONS};
use sql::peers::{self, PEER_NAMES, Peer, Report};

pub(crate) mod names;

const FILES: &[(Peer, &str)] =
    &[(Peer::Aws, "aws.sql"), (Peer::Emqx, "emqx.sql"), (Peer::Ekuiper, "ekuiper.sql")];

#[test]
fn statements_of_peers_are_answered() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql/peers");
    let mut stale = Vec::new();
    for (peer, name) in FILES {
        let path = folder.join(name);
        let have = std::fs::read_to_string(&path).expect("statements");
        let kept: Vec<&str> = have.lines().filter(|line| !line.starts_with("-- =>")).collect();
        let text = kept.join("\n");
        let findings = peers::check(*peer, &text, &Options::default());
        assert!(findings.len() >= 25, "{name}: {} statements", findings.len());
        let mut want = String::new();
        let mut findings = findings.iter().peekable();
        let mut report = None;
        for (number, line) in kept.iter().enumerate() {
            if let Some(finding) = findings.next_if(|finding| finding.line == number + 1) {
                assert!(report.is_none(), "{name}: two statements in one block");
                report = Some(&finding.report);
            }
            if line.is_empty()
                && let Some(report) = report.take()
            {
                write_report(&mut want, report);
            }
            writeln!(want, "{line}").expect("a string");
        }
        if let Some(report) = report {
            write_report(&mut want, report);
        }
        assert!(findings.next().is_none(), "{name}: a finding without its statement");
        if have != want {
            stale.push(format!("{name}:\n{}", difference(&have, &want)));
            if std::env::var_os("UPDATE_EXPECT").is_some() {
                std::fs::write(&path, want).expect("written");
            }
        }
    }
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    assert!(update || stale.is_empty(), "\n{}", stale.join("\n"));
}

fn write_report(want: &mut String, report: &Report) {
    for line in report.to_string().lines() {
        writeln!(want, "-- => {line}").expect("a string");
    }
}

/// The lines that only one of two texts has.
fn difference(have: &str, want: &str) -> String {
    let only = |a: &str, b: &str, mark: &str| {
        let lines: Vec<&str> = b.lines().collect();
        let only = a.lines().filter(|line| !lines.contains(line));
        only.map(|line| format!("{mark} {line}\n")).collect::<String>()
    };
    only(have, want, "have") + &only(want, have, "got ")
}

/// What an advice may name beside functions.
const THINGS: &[&str] = &[
    "UNNEST",
    "a DIV b",
    "'node 1' AS node",
    "NULL",
    "SELECT",
    "=",
    "a IS NULL",
    "a IS MISSING",
    "${env:NAME}",
    "%s",
    "sqlite",
    "postgres",
    "http",
    "data_type: binary",
    "\"$.a[*].b\"",
];

#[test]
fn each_advice_names_what_exists() {
    for (peer, name, advice) in PEER_NAMES {
        let parts: Vec<&str> = advice.split('`').skip(1).step_by(2).collect();
        assert!(!parts.is_empty(), "{} {name}: {advice}", peer.name());
        for part in parts {
            let known = match part.split_once('(') {
                Some((function, _)) => functions::find(function).is_some(),
                None => THINGS.contains(&part),
            };
            assert!(known, "{} {name}: `{part}` does not exist", peer.name());
        }
    }
}

#[test]
fn every_name_of_a_peer_has_an_answer() {
    let mut unanswered = Vec::new();
    for (peer, text, count) in names::NAMES {
        let names: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(names.len(), *count, "{}", peer.name());
        let lacks = |name: &&&str| {
            // UNNEST is a form of the language.
            **name != "unnest" && functions::find(name).is_none() && peers::advice(name).is_none()
        };
        let missing: Vec<&str> = names.iter().filter(lacks).copied().collect();
        println!(
            "{}: {} of {} names are functions; without an answer: {}",
            peer.name(),
            names.iter().filter(|name| functions::find(name).is_some()).count(),
            names.len(),
            missing.join(" ")
        );
        unanswered.extend(missing);
    }
    println!("{} functions", FUNCTIONS.len());
    assert!(unanswered.is_empty(), "names without an answer: {}", unanswered.join(" "));
    let dead = PEER_NAMES.iter().filter(|(_, name, _)| functions::find(name).is_some());
    let dead: Vec<&str> = dead.map(|(_, name, _)| *name).collect();
    assert!(dead.is_empty(), "functions, so that nobody sees the advice: {}", dead.join(" "));
}
