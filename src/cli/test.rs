//! `tidegate test`: do the rules what their own tests say?

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    Failure, NoPublisher, Outcome, compiler, install_tls, refused, rule_paths, say, usage,
};
use crate::config::Config;
use crate::problem::Problem;
use crate::rule::file::{self, LoadedRule, TestChanges};
use crate::rule::{Compiler, Report, RuleTest};

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files or folders; the configured folder by default.
    files: Vec<PathBuf>,
    /// Run only tests whose `rule: test` holds this text, whatever its case.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write what comes into tests that expect nothing yet, and into those that say `snapshot: true`.
    #[arg(long)]
    update: bool,
    /// Print a JSON object for each test, and one with the counts.
    #[arg(long)]
    json: bool,
    /// How results are printed; `json` is the same as `--json`.
    #[arg(long, default_value = "text", hide = true)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The most differences, and the most notes, of one test that are printed as text.
const SHOWN: usize = 20;

pub(super) fn run(args: &Args, config: &Config) -> Outcome {
    install_tls();
    let mut run = Run {
        compiler: compiler(config, Some(Arc::new(NoPublisher))).map_err(refused)?,
        json: args.json || args.format == Format::Json,
        update: args.update,
        filter: args.filter.as_ref().map(|text| text.to_lowercase()),
        counts: Counts::default(),
    };
    for path in rule_paths(&args.files, config)? {
        run.file(&path);
    }
    run.finish()
}

struct Run {
    compiler: Compiler,
    json: bool,
    update: bool,
    filter: Option<String>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    written: usize,
    problems: usize,
    /// Tests that the filter leaves out.
    skipped: usize,
    rules_without_tests: usize,
}

/// How one test of a file has ended.
struct Done<'a> {
    path: &'a Path,
    rule: &'a str,
    test: &'a RuleTest,
    report: Report,
    /// Its expectation could be written.
    writable: bool,
    written: bool,
}

impl Run {
    fn file(&mut self, path: &Path) {
        let text = match file::read_text(path) {
            Ok(text) => text,
            Err(problem) => return self.problem(&problem),
        };
        let file = match file::parse(path, &text, &self.compiler) {
            Ok(file) => file,
            Err(problem) => return self.problem(&problem),
        };
        file.problems().into_iter().for_each(|problem| self.problem(problem));
        let (mut done, changes) = self.rules(path, &file.rules);
        if self.update && !changes.is_empty() {
            let new = file::update(path, &text, &changes, &self.compiler);
            let written = new.and_then(|new| {
                std::fs::write(path, new).map_err(|error| Problem {
                    file: Some(path.to_owned()),
                    ..Problem::new(format!("cannot be written: {error}"))
                })
            });
            match written {
                Ok(()) => done.iter_mut().for_each(|done| done.written = done.writable),
                Err(problem) => self.problem(&problem),
            }
        }
        for done in &done {
            self.tell(done);
        }
    }

    /// Runs the tests of a file. Answers with the changes that would let them pass.
    fn rules<'a>(
        &mut self,
        path: &'a Path,
        rules: &'a [LoadedRule],
    ) -> (Vec<Done<'a>>, Vec<TestChanges>) {
        let (mut all, mut writable) = (Vec::new(), Vec::new());
        for rule in rules {
            let none = rule.tests.is_empty() && rule.wrong_tests.is_empty();
            self.counts.rules_without_tests += usize::from(none);
            let name = rule.compiled.rule.name.as_str();
            for test in &rule.tests {
                let label = format!("{name}: {}", test.name).to_lowercase();
                if self.filter.as_ref().is_some_and(|filter| !label.contains(filter)) {
                    self.counts.skipped += 1;
                    continue;
                }
                let report = test.run(&rule.compiled);
                let changes = test.changes(&report);
                all.push(Done {
                    path,
                    rule: name,
                    test,
                    report,
                    writable: !changes.is_empty(),
                    written: false,
                });
                if !changes.is_empty() {
                    let (rule, test) = (rule.index, test.index);
                    writable.push(TestChanges { rule, test, changes });
                }
            }
        }
        (all, writable)
    }

    fn problem(&mut self, problem: &Problem) {
        self.counts.problems += 1;
        if self.json {
            let (line, column) = problem.at.map(|at| (at.line, at.column)).unzip();
            let file = problem.file.as_ref().map(|file| file.display().to_string());
            say(format_args!(
                "{}",
                json!({ "problem": problem.to_string(), "file": file, "line": line, "column": column })
            ));
        } else {
            say(format_args!("{problem}"));
        }
    }

    fn tell(&mut self, done: &Done<'_>) {
        let ok = done.report.differences.is_empty();
        match (ok, done.written) {
            (true, _) => self.counts.passed += 1,
            (_, true) => self.counts.written += 1,
            _ => self.counts.failed += 1,
        }
        if self.json {
            return say(format_args!("{}", done.json()));
        }
        let (rule, test) = (done.rule, &done.test.name);
        let place = format!("{}:{}", done.path.display(), done.test.line);
        match (ok, done.written) {
            (true, _) => return say(format_args!("ok    {rule}: {test}")),
            (_, true) => return say(format_args!("wrote {rule}: {test} ({place})")),
            _ => say(format_args!("FAIL  {rule}: {test} ({place})")),
        }
        let Report { differences, notes, .. } = &done.report;
        for difference in differences.iter().take(SHOWN) {
            say(format_args!("      {difference}"));
        }
        if differences.len() > SHOWN {
            say(format_args!("      and {} more differences", differences.len() - SHOWN));
        }
        for note in notes.iter().take(SHOWN) {
            say(format_args!("      note: {note}"));
        }
        if done.writable && !self.update {
            say(format_args!(
                "      hint: `tidegate test --update` writes what came into the file"
            ));
        }
    }

    fn finish(&self) -> Outcome {
        let Counts { passed, failed, written, problems, skipped, rules_without_tests } =
            self.counts;
        let ran = passed + failed + written;
        if let Some(filter) = self.filter.as_ref().filter(|_| ran + problems == 0) {
            let text =
                format!("no test holds `{filter}` in `rule: test`; there are {skipped} tests");
            return Err(usage(anyhow::anyhow!(text)));
        }
        if self.json {
            say(format_args!(
                "{}",
                json!({
                    "passed": passed, "failed": failed, "written": written, "problems": problems,
                    "skipped": skipped, "rules_without_tests": rules_without_tests,
                })
            ));
        } else {
            let mut text = format!("{passed} passed, {failed} failed");
            let untested = if self.filter.is_none() { rules_without_tests } else { 0 };
            for (count, one, many) in [
                (written, "written", "written"),
                (skipped, "left out", "left out"),
                (problems, "problem in files", "problems in files"),
                (untested, "rule without tests", "rules without tests"),
            ] {
                if count > 0 {
                    text.push_str(&format!(", {count} {}", if count == 1 { one } else { many }));
                }
            }
            say(format_args!("{text}"));
        }
        if failed + problems == 0 { Ok(()) } else { Err(Failure::Findings) }
    }
}

impl Done<'_> {
    fn json(&self) -> Value {
        let differences = self.report.differences.iter().map(|difference| {
            let mut map = Map::new();
            map.insert("path".to_owned(), difference.path.as_str().into());
            for (key, value) in [("expected", &difference.expected), ("got", &difference.got)] {
                // A missing value is not the same as null.
                map.extend(value.clone().map(|value| (key.to_owned(), value)));
            }
            map.extend(difference.note.as_deref().map(|note| ("note".to_owned(), note.into())));
            Value::Object(map)
        });
        json!({
            "rule": self.rule,
            "test": self.test.name,
            "file": self.path.display().to_string(),
            "line": self.test.line,
            "ok": self.report.differences.is_empty(),
            "written": self.written,
            "differences": differences.collect::<Vec<_>>(),
            "notes": self.report.notes,
        })
    }
}
