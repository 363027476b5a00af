//! The fuzz targets on stable and without libFuzzer: the corpus once, and mutations of it that are the
//! same each time. What holds is said by the targets; `scripts/fuzz` runs them at length.

use std::path::Path;

use tidegate::sql::functions::FUNCTIONS;

#[path = "../fuzz/targets.rs"]
pub mod targets;

/// Mutations of each target's corpus; `FUZZ_INPUTS` sets another number.
const INPUTS: usize = 20_000;

/// A generator of numbers that starts the same each time (Knuth's MMIX constants).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound.max(1)
    }
}

/// Pieces of statements, templates and requests.
const WORDS: &[&str] = &[
    "SELECT ",
    " FROM ",
    " WHERE ",
    " AS ",
    " AND ",
    " OR ",
    " NOT ",
    " IN (",
    " IS ",
    "NULL",
    "MISSING",
    " LIKE ",
    " BETWEEN ",
    "CASE ",
    " WHEN ",
    " THEN ",
    " ELSE ",
    " END",
    " DIV ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "*",
    "'",
    "\"",
    "`",
    ";",
    "$",
    "${",
    "$..",
    "||",
    "-",
    "--",
    "/*",
    "*/",
    "\\",
    "\\u",
    "d83d",
    "1e",
    "0",
    "9223372036854775807",
    "温",
    "\0",
    "\n",
    "/",
    "+",
    "#",
    "null",
    "true",
    "a",
    "b",
    ":",
    "&",
    "=",
    "%",
    ";",
    "x-acs-",
    "Signature",
];

/// Pieces that are put into inputs.
fn words() -> Vec<&'static [u8]> {
    let mut words: Vec<&[u8]> = WORDS.iter().map(|word| word.as_bytes()).collect();
    words.extend(FUNCTIONS.iter().map(|function| function.name.as_bytes()));
    words.push(b"\xff");
    words
}

fn mutate(corpus: &[Vec<u8>], words: &[&[u8]], chance: &mut Chance) -> Vec<u8> {
    let mut input = corpus[chance.below(corpus.len())].clone();
    for _ in 0..=chance.below(4) {
        let at = chance.below(input.len() + 1);
        match chance.below(6) {
            0 if at < input.len() => input[at] ^= 1 << chance.below(8),
            1 if at < input.len() => drop(input.remove(at)),
            2 => input.truncate(at),
            3 => {
                let other = &corpus[chance.below(corpus.len())];
                let from = chance.below(other.len() + 1);
                input.splice(at.., other[from..].iter().copied());
            }
            4 => input.insert(at, u8::try_from(chance.below(256)).expect("a byte")),
            _ => {
                let word = words[chance.below(words.len())];
                input.splice(at..at, word.iter().copied());
            }
        }
    }
    input
}

/// Runs one target over its corpus and over mutations of it.
fn smoke(target: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("a corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty() && files.len() <= 60, "{target}: {} files", files.len());
    let corpus: Vec<Vec<u8>> =
        files.iter().map(|file| std::fs::read(file).expect("a file")).collect();
    let tried = |input: &[u8], whence: &str| {
        let run = || targets::run(target, input);
        if std::panic::catch_unwind(run).is_err() {
            panic!("{target}: {whence}: {:?}", String::from_utf8_lossy(input));
        }
    };
    for (file, input) in files.iter().zip(&corpus) {
        tried(input, &file.display().to_string());
    }
    let inputs = std::env::var("FUZZ_INPUTS").ok().and_then(|text| text.parse().ok());
    let words = words();
    let mut chance = Chance(7);
    for number in 0..inputs.unwrap_or(INPUTS) {
        tried(&mutate(&corpus, &words, &mut chance), &format!("mutation {number}"));
    }
}

#[test]
fn each_target_has_its_program() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/bin");
    for (name, _) in targets::TARGETS {
        assert!(root.join(format!("{name}.rs")).exists(), "{name}");
    }
}

#[test]
fn statements_survive() {
    smoke("statement");
}

#[test]
fn payloads_survive() {
    smoke("payload");
}

#[test]
fn calls_survive() {
    smoke("call");
}

#[test]
fn templates_survive() {
    smoke("template");
}

#[test]
fn topic_filters_survive() {
    smoke("topic_filter");
}

#[test]
fn mqtt_packets_survive() {
    smoke("mqtt_packet");
}

#[test]
fn api_requests_survive() {
    smoke("api_request");
}
