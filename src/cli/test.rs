//! `tidegate test`: do the rules what their own tests say?

use std::path::PathBuf;
use std::sync::Arc;

use super::{Failure, NoPublisher, Outcome, compiler, install_tls, refused, rule_paths};
use crate::config::Config;
use crate::rule::file;

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files or folders; the configured folder by default.
    files: Vec<PathBuf>,
    /// How results are printed.
    #[arg(long, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(args: &Args, config: &Config) -> Outcome {
    install_tls();
    let compiler = compiler(config, Some(Arc::new(NoPublisher))).map_err(refused)?;
    let (mut passed, mut failed) = (0, 0);
    for path in rule_paths(&args.files, config)? {
        match file::load(&path, &compiler) {
            Ok(rules) => {
                for rule in rules {
                    let name = &rule.compiled.rule.name;
                    let Some(query) = &rule.compiled.query else { continue };
                    for test in &rule.tests {
                        let result = test.run(name, query);
                        passed += usize::from(result.is_ok());
                        failed += usize::from(result.is_err());
                        report(args.format, name, &test.name, &result);
                    }
                }
            }
            Err(problems) => {
                failed += problems.len();
                problems.iter().for_each(|problem| println!("{problem}"));
            }
        }
    }
    if args.format == Format::Text {
        println!("{passed} passed, {failed} failed");
    }
    if failed == 0 { Ok(()) } else { Err(Failure::Findings) }
}

fn report(format: Format, rule: &str, test: &str, result: &Result<(), String>) {
    match (format, result) {
        (Format::Text, Ok(())) => println!("ok    {rule}: {test}"),
        (Format::Text, Err(difference)) => println!("FAIL  {rule}: {test}\n      {difference}"),
        (Format::Json, result) => println!(
            "{}",
            serde_json::json!({
                "rule": rule, "test": test, "ok": result.is_ok(),
                "difference": result.as_ref().err(),
            })
        ),
    }
}
