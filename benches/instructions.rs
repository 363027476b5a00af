//! Instructions per message of three simple rules, counted by callgrind: unlike times they hardly
//! depend on what else the machine does, so that they can be held against kept figures.
//!
//! `baseline.txt` keeps the figures and the compiler that they are of. With that compiler, a rule that
//! needs more than 1.03 times its figure fails; with another, the figures are printed and nothing is
//! compared. `UPDATE_BASELINE=1` writes the file. Without valgrind nothing is measured, which is a
//! failure when `TIDEGATE_REQUIRE_SERVICES=1`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use contract::{Message, NoFacts, Topic, TopicLimits};
use sql::{Input, Options, Plan, Query, Scratch};

/// The rules, simple ones, as most are.
const RULES: [(&str, &str); 3] = [
    (
        "compare",
        "SELECT deviceName, temperature AS t FROM \"/a1Pk/+/user/data\" WHERE temperature > 30",
    ),
    (
        "function",
        "SELECT deviceName() AS d, items.temperature.value AS t, items.humidity.value AS h \
         FROM \"/a1Pk/+/user/data\" WHERE items.temperature.value > 38",
    ),
    (
        "predicate",
        "SELECT * FROM \"/a1Pk/+/user/data\" \
         WHERE temperature > 30 AND deviceName LIKE 'dev%' OR status IN (1, 2, 3)",
    ),
];

const PAYLOAD: &str = r#"{"deviceName":"dev-0001","temperature":39.5,"status":7,"items":{"temperature":{"value":39.5,"time":1763000000000},"humidity":{"value":60,"time":1763000000000}}}"#;

/// More than the kept figure by this factor is a failure.
const ALLOWED: f64 = 1.03;

/// How many more messages the longer of two runs has.
const MESSAGES: u64 = 2_000;

/// Evaluates a rule over as many messages.
fn evaluate(rule: usize, messages: u64) {
    let query = Query::compile(RULES[rule].1, &Options::default()).expect("a statement");
    let plan = Plan::new(vec![Arc::new(query)]);
    let topic = Topic::parse("/a1Pk/dev-0001/user/data", TopicLimits::default()).expect("a topic");
    let message = Message::new(topic, PAYLOAD, 1_763_000_000_000);
    let input = Input { message: &message, facts: &NoFacts, rule: "r", has_topic: true };
    let (mut scratch, mut out) = (Scratch::new(), Vec::with_capacity(4096));
    for _ in 0..messages {
        out.clear();
        plan.prepare(&message.payload, &mut scratch).expect("JSON");
        plan.evaluate(0, &input, &message.payload, &mut scratch, &mut out);
        std::hint::black_box(&out);
    }
    assert!(!out.is_empty(), "the rule fires");
}

/// Instructions of a run of this program under callgrind.
fn instructions(rule: usize, messages: u64) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["--evaluate", &rule.to_string(), &messages.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    count.ok_or_else(|| format!("valgrind counted nothing: {text}"))
}

fn compiler() -> String {
    let output =
        Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into())).arg("--version").output();
    output.map_or_else(|_| String::new(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}

/// The figure of a rule, and whether it holds.
fn judge(name: &str, count: u64, kept: Option<&str>) -> bool {
    let line = kept.and_then(|text| text.lines().find_map(|line| line.strip_prefix(name)));
    let Some(base) = line.and_then(|rest| rest.trim().parse::<u64>().ok()) else {
        println!("{name}: {count} instructions per message, nothing to compare with");
        // A compiler without kept figures is fine, a rule without its figure is not.
        return kept.is_none();
    };
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let ratio = count as f64 / base as f64;
    println!(
        "{name}: {count} instructions per message, kept {base}, ratio {ratio:.3} (must be <= {ALLOWED})"
    );
    ratio <= ALLOWED
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--evaluate") {
        let number = |offset: usize| arguments[at + offset].parse::<u64>().expect("a number");
        evaluate(usize::try_from(number(1)).expect("an index"), number(2));
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--test") {
        // Without optimization the counts mean nothing.
        (0..RULES.len()).for_each(|rule| evaluate(rule, 10));
        return ExitCode::SUCCESS;
    }
    let compiler = compiler();
    let kept = include_str!("baseline.txt");
    let same = kept.lines().any(|line| line == compiler);
    if !same {
        println!("the kept figures are not of {compiler}: figures without comparison");
    }
    let mut text =
        format!("Instructions per message, written by benches/instructions.rs\n{compiler}\n");
    let mut fine = true;
    for (rule, (name, _)) in RULES.iter().enumerate() {
        let counts =
            instructions(rule, 100).and_then(|a| Ok((a, instructions(rule, 100 + MESSAGES)?)));
        let (less, more) = match counts {
            Ok(counts) => counts,
            Err(error) => {
                println!("not measured: {error}");
                let required = std::env::var("TIDEGATE_REQUIRE_SERVICES").is_ok_and(|v| v == "1");
                return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
            }
        };
        let count = (more - less) / MESSAGES;
        fine &= judge(name, count, same.then_some(kept));
        writeln!(text, "{name} {count}").expect("a string");
    }
    if std::env::var_os("UPDATE_BASELINE").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/baseline.txt");
        std::fs::write(file, text).expect("write the figures");
        return ExitCode::SUCCESS;
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
