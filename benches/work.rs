//! What a unit of work is in time: every function of the table, and statements of all kinds, over
//! messages of 1 MiB that are made to be hard.
//!
//! Fails when one message takes a thread more than 50 ms of the processor, or more than twice the time that
//! the units it has paid stand for: then a function is declared too cheap.

#[path = "../tests/sql/hard.rs"]
mod hard;

use std::process::ExitCode;
use std::time::Duration;

use sql::Scratch;

/// The largest payload by default.
const MESSAGE: usize = 1 << 20;

/// What one message may take.
const MOST: Duration = Duration::from_millis(50);

/// Of the time, what is not the evaluation's: the message is read, memory is cleared, and some systems
/// count the time of a thread in steps of 4 ms.
const BESIDE: Duration = Duration::from_millis(16);

/// Processor time that this thread has used.
fn used() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// What a case that has paid so many units may take.
fn allowed(units: u64) -> Duration {
    MOST.min(2 * Duration::from_nanos(units / 10) + BESIDE)
}

fn main() -> ExitCode {
    let test = std::env::args().any(|argument| argument == "--test");
    let shapes = hard::shapes(if test { 1 << 10 } else { MESSAGE - 64 });
    let mut scratch = Scratch::new();
    let mut rows = Vec::new();
    let mut all = hard::statements(&shapes);
    for function in hard::functions() {
        all.extend(hard::cases(function, &shapes));
        for case in all.drain(..) {
            let Some(plan) = hard::plan(&case) else { continue };
            // The best of some: the first one also takes memory from the system, and others use the machine.
            let mut best = None;
            for round in 0..if test { 1 } else { 8 } {
                let start = used();
                let came = hard::evaluate(&plan, &case, &mut scratch);
                let took = used() - start;
                let found = (took, came.used, came.codes.first().copied().unwrap_or(""));
                std::hint::black_box((came.verdict, came.record));
                best = best.min(Some(found)).or(Some(found));
                if round > 0 && best.is_some_and(|(took, units, _)| took <= allowed(units)) {
                    break;
                }
            }
            if let Some((took, units, code)) = best {
                rows.push((took, units, code, case.sql, case.shape));
            }
        }
    }
    let mut fine = true;
    rows.sort_by_key(|(took, ..)| std::cmp::Reverse(*took));
    println!("{} cases; the slowest, and those that are too cheap:", rows.len());
    for (at, (took, units, code, sql, shape)) in rows.iter().enumerate() {
        let bad = !test && *took > allowed(*units);
        fine &= !bad;
        if bad || at < 25 {
            let mark = if bad { "!" } else { " " };
            let (ms, units) = (took.as_secs_f64() * 1e3, *units as f64 / 1e7);
            println!("{mark} {ms:8.2} ms, paid {units:8.2} ms {code:12} {sql:.100} over {shape}");
        }
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
