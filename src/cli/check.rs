//! `tidegate check`: are the rules and the configuration right? And what becomes of statements that
//! were written for another rule engine?

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;

use super::daemon::{certificate, models};
use super::{
    Failure, NoPublisher, Outcome, cannot_start, compiler, count, install_tls, rule_paths, say,
    sources, usage,
};
use crate::api::{ENDPOINT_TYPES, HOST_IS_WRITTEN, names_host};
use crate::config::Config;
use crate::problem::Problem;
use crate::rule::{CompiledRule, Compiler, file};
use crate::sql::peers::{self, Finding, Peer, Report};
use crate::sql::{DataType, Options};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rule files or folders; the configured folder by default.
    files: Vec<PathBuf>,
    /// Reach every action's destination too.
    #[arg(long)]
    connect: bool,
    /// The files hold statements of another rule engine: say which work here, and what to change.
    #[arg(long, value_name = "PEER", requires = "files", conflicts_with = "connect")]
    from: Option<Origin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Origin {
    Aws,
    Emqx,
    Ekuiper,
}

pub(super) fn run(args: &Args, config: Result<Config, Problem>) -> Outcome {
    install_tls();
    let config = match config {
        Ok(config) => config,
        Err(problem) => {
            say(format_args!("{problem}"));
            return Err(Failure::Findings);
        }
    };
    let compiler = match compiler(&config, Some(Arc::new(NoPublisher))) {
        Ok(compiler) => compiler,
        Err(problem) => {
            say(format_args!("{problem}"));
            return Err(Failure::Findings);
        }
    };
    if let Some(origin) = args.from {
        return foreign(origin, &args.files, &config);
    }
    let mut findings = 0;
    if let Err(problem) = sources(&config, &compiler.env) {
        say(format_args!("{problem}"));
        findings += 1;
    }
    for problem in endpoints(&config) {
        say(format_args!("{problem}"));
        findings += 1;
    }
    // What a start reads, too.
    let certificate = certificate(&config).err().map(|error| error.to_string());
    let models = models(&config).err().map(|error| format!("{error:#}"));
    for problem in certificate.into_iter().chain(models) {
        say(format_args!("{problem}"));
        findings += 1;
    }
    let rules = check_files(&rule_paths(&args.files, &config)?, &compiler, &mut findings);
    if args.connect {
        findings += connect(&rules)?;
    }
    let right = count(rules.len(), "rule is right", "rules are right");
    say(format_args!("{right}, {}", count(findings, "finding", "findings")));
    if findings == 0 { Ok(()) } else { Err(Failure::Findings) }
}

/// Says everything that is wrong with rule files. The rules that are right.
fn check_files(paths: &[PathBuf], compiler: &Compiler, findings: &mut usize) -> Vec<CompiledRule> {
    let mut rules: Vec<CompiledRule> = Vec::new();
    let mut names = HashMap::new();
    for path in paths {
        let file = match file::load(path, compiler) {
            Ok(file) => file,
            Err(problem) => {
                say(format_args!("{problem}"));
                *findings += 1;
                continue;
            }
        };
        let problems = file.problems();
        problems.iter().for_each(|problem| say(format_args!("{problem}")));
        *findings += problems.len();
        for rule in file.rules {
            rule.warnings.iter().for_each(|warning| say(format_args!("{warning}")));
            match names.entry(rule.compiled.rule.name.clone()) {
                Entry::Vacant(free) => {
                    free.insert(rules.len());
                    rules.push(rule.compiled);
                }
                Entry::Occupied(taken) => {
                    say(format_args!("{}", repeated(&rules[*taken.get()], &rule.compiled)));
                    *findings += 1;
                }
            }
        }
    }
    rules
}

/// Says what becomes of the statements of another rule engine; a finding is one that does not work as
/// it stands.
fn foreign(origin: Origin, files: &[PathBuf], config: &Config) -> Outcome {
    let peer = match origin {
        Origin::Aws => Peer::Aws,
        Origin::Emqx => Peer::Emqx,
        Origin::Ekuiper => Peer::Ekuiper,
    };
    let options = Options {
        data_type: DataType::Json,
        time_zone: config.zone().map_err(|error| usage(anyhow::anyhow!(error)))?,
        limits: config.limits.sql,
        topic_limits: config.limits.topic(),
    };
    let (mut works, mut changed, mut refused) = (0, 0, 0);
    for file in files {
        let text = std::fs::read_to_string(file)
            .map_err(|error| usage(anyhow::anyhow!("cannot read {}: {error}", file.display())))?;
        for Finding { line, report, .. } in peers::check(peer, &text, &options) {
            say(format_args!("{}:{line}: {report}", file.display()));
            match report {
                Report::Works { .. } => works += 1,
                Report::Changed { .. } => changed += 1,
                Report::Refused { .. } => refused += 1,
            }
        }
    }
    say(format_args!(
        "{works} work as they stand, {changed} after changes, {refused} cannot be said here"
    ));
    if changed + refused == 0 { Ok(()) } else { Err(Failure::Findings) }
}

/// What is wrong with `endpoints:`; the API would say so only when an action needs one.
fn endpoints(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, endpoint) in config.endpoints.iter().enumerate() {
        let mut wrong = |key: &str, message: String| {
            problems.push(config.problem(&format!("endpoints[{index}]{key}"), message));
        };
        let kind = endpoint.kind.as_str();
        if !ENDPOINT_TYPES.contains(&kind) {
            let known = ENDPOINT_TYPES.join(", ");
            wrong(".type", format!("there is no type `{kind}`; expected one of {known}"));
        }
        match (&endpoint.connection, &endpoint.url) {
            (Some(name), None) if !config.connections.contains_key(name) => {
                let text = format!("connection `{name}` is not below `connections:`");
                wrong(".connection", text);
            }
            (None, Some(url)) if !names_host(url) => wrong(".url", HOST_IS_WRITTEN.to_owned()),
            (Some(_), None) | (None, Some(_)) => {}
            _ => wrong("", "expected either `connection` or `url`".to_owned()),
        }
    }
    problems
}

fn repeated(other: &CompiledRule, rule: &CompiledRule) -> Problem {
    let place = |rule: &CompiledRule| match &rule.rule.owner {
        crate::rule::Owner::File { path, line } => format!("{}:{line}", path.display()),
        crate::rule::Owner::Api(id) => format!("rule {id} of the API"),
    };
    let message = format!("{}: the name is used by {}", place(rule), place(other));
    Problem::new(message).hint("give one of them another name")
}

fn connect(rules: &[CompiledRule]) -> Result<usize, Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot_start)?;
    let mut findings = 0;
    for rule in rules {
        let actions = rule.rule.actions.iter().chain(rule.rule.error_action.as_deref());
        let sinks = rule.sinks.iter().chain(&rule.error_sink);
        for (action, sink) in actions.zip(sinks) {
            let result = runtime
                .block_on(async { tokio::time::timeout(action.deadline, sink.check()).await });
            let error = match result {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {:?}", action.deadline),
            };
            say(format_args!(
                "rule `{}`: action `{}`: {}: {error}",
                rule.rule.name,
                action.label(),
                sink.resource()
            ));
            findings += 1;
        }
    }
    Ok(findings)
}
