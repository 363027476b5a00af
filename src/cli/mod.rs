//! The command line: one file a verb.
//!
//! Exit codes: 0 ok, 1 findings, 2 usage, 3 cannot start.

mod api;
mod asking;
mod bench;
mod bench_mqtt;
mod check;
mod daemon;
mod describe;
mod dlq;
mod folder;
mod greeting;
mod hash_password;
mod keys;
mod publish;
mod reference;
mod run;
mod spool;
mod sql;
mod tap;
mod test;

pub use daemon::{Daemon, Ports};
pub use describe::{functions_summary, operations_table, rule_schema, sinks_table, sources_table};
pub use reference::{connectors_reference, errors_reference, functions_reference, rules_reference};

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use connectors::contract::{ConfigError, Connections, Env, Promise, Publisher, Source};

use crate::config::{Config, one_key};
use crate::engine::rule_files;
use crate::problem::{Problem, nearest};
use crate::rule::Compiler;
use crate::yaml::join;

/// A self-hosted rules engine and stream processor for device messages.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version)]
pub struct Cli {
    /// The configuration; `./tidegate.yaml` when it exists.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon (the default).
    Run,
    /// Parse and compile rules and the configuration.
    Check(check::Args),
    /// Run the tests that rule files hold.
    Test(test::Args),
    /// Run one statement over payloads from standard input.
    Sql(sql::Args),
    /// Measure how fast rules run.
    Bench(bench::Args),
    /// Publish a message as a device.
    Pub(publish::Args),
    /// Watch messages, live.
    Tap(tap::Args),
    /// List, show and replay dead letters: what no action took.
    Dlq(dlq::Args),
    /// What waits for which action, and what an acknowledgement promises.
    Spool(spool::Args),
    /// Call an operation of the API.
    #[command(disable_help_flag = true)]
    Api(api::Args),
    /// Make, list and revoke access keys of the API.
    Keys(keys::Args),
    /// Hash a password from standard input, for `users` in the configuration.
    HashPassword,
    /// Describe functions, sinks, sources, or the schema of rule files.
    Describe(describe::Args),
}

/// Why a verb did not end well.
#[derive(Debug)]
pub enum Failure {
    /// It found something wrong and has said so.
    Findings,
    /// It can't do what was asked with what was given.
    Usage(anyhow::Error),
    /// What was given is refused, and the error says why.
    Refused(anyhow::Error),
    /// The daemon can't start.
    CannotStart(anyhow::Error),
}

/// What a verb comes to.
pub type Outcome = Result<(), Failure>;

impl Cli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// A [`Failure`] that stands for an exit code.
    pub fn run(self) -> Outcome {
        let config = || Config::load(self.config.as_deref());
        let here = || config().map_err(refused).and_then(in_its_folder);
        match self.verb.unwrap_or(Verb::Run) {
            Verb::Run => run::run(config().map_err(cannot_start)?),
            Verb::Check(args) => check::run(&args, config()),
            Verb::Test(args) => test::run(&args, &config().map_err(refused)?),
            Verb::Sql(args) => sql::run(&args, &config().map_err(refused)?),
            Verb::Bench(args) => bench::run(&args, &config().map_err(refused)?),
            Verb::Pub(args) => publish::run(&args, &config().map_err(refused)?),
            Verb::Tap(args) => tap::run(&args, &config().map_err(refused)?),
            Verb::Dlq(args) => dlq::run(&args, &here()?),
            Verb::Spool(args) => spool::run(&args, &config().map_err(refused)?),
            Verb::Api(args) => api::run(&args, config()),
            Verb::Keys(args) => keys::run(&args, &here()?),
            Verb::HashPassword => hash_password::run(),
            Verb::Describe(args) => describe::run(&args),
        }
    }
}

/// Refuses to work where nothing of Tidegate is: what is meant lies elsewhere.
fn in_its_folder(config: Config) -> Result<Config, Failure> {
    let Some(here) = folder::nothing_here(&config) else { return Ok(config) };
    Err(refused(anyhow::anyhow!(
        "nothing of Tidegate is in {}: neither {}, nor {}/, nor {}/; change to the folder in which the daemon runs, or name its configuration with `--config FILE`",
        here.display(),
        crate::config::DEFAULT_FILE,
        config.rules.display(),
        config.data_dir.display()
    )))
}

/// Prints a line. A reader that closes the pipe has seen enough; what was begun is still done, and
/// the exit code says how it went.
fn say(line: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    if let Err(error) = writeln!(std::io::stdout(), "{line}")
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        writeln!(std::io::stderr(), "error: cannot write: {error}").ok();
    }
}

/// A number with what is counted.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn refused(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Refused(error.into())
}

fn usage(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Usage(error.into())
}

fn cannot_start(error: impl Into<anyhow::Error>) -> Failure {
    Failure::CannotStart(error.into())
}

/// What compiles rules under a configuration.
///
/// # Errors
/// A connection with wrong settings.
pub(crate) fn compiler(
    config: &Config,
    publisher: Option<Arc<dyn Publisher>>,
) -> Result<Compiler, Problem> {
    let mut env = Env {
        base_dir: config.base_dir.clone(),
        private_dir: Some(config.path(&config.data_dir)),
        connections: Arc::default(),
        publisher,
        topic_limits: config.limits.topic(),
        payload_max: config.limits.payload,
        hops_max: config.limits.hops,
        network: config.network().map_err(|(_, message)| Problem::new(message))?,
    };
    let mut connections = Connections::default();
    for (name, map) in &config.connections {
        let (kind, settings) = one_key(map).map_err(Problem::new)?;
        let part = format!("connections.{name}.{kind}");
        let spec = connectors::CONNECTIONS.iter().find(|spec| spec.name == kind);
        let spec = spec.ok_or_else(|| {
            let known = connectors::CONNECTIONS.iter().map(|spec| spec.name);
            no_connector(config, &part, &format!("connection `{name}`"), known)
        })?;
        let connection = (spec.open)(settings, &env)
            .map_err(|error| wrong(config, &part, &format!("connection `{name}`"), &error))?;
        connections.insert(name, spec.name, connection);
    }
    env.connections = Arc::new(connections);
    Ok(Compiler {
        sinks: connectors::SINKS,
        env,
        time_zone: config.zone().map_err(Problem::new)?,
        sql: config.limits.sql,
        actions_max: config.limits.actions,
    })
}

/// The sources of a configuration by name; none of them runs yet.
///
/// # Errors
/// A source with wrong settings.
pub(crate) fn sources(config: &Config, env: &Env) -> Result<Vec<NamedSource>, Problem> {
    let mut sources = Vec::with_capacity(config.sources.len());
    for (name, form) in &config.sources {
        let (kind, settings) = one_key(&form.connector).map_err(Problem::new)?;
        let part = format!("sources.{name}.{kind}");
        let spec = connectors::SOURCES.iter().find(|spec| spec.name == kind);
        let spec = spec.ok_or_else(|| {
            let known = connectors::SOURCES.iter().map(|spec| spec.name);
            no_connector(config, &part, &format!("source `{name}`"), known)
        })?;
        let source = (spec.build)(name, settings, env)
            .map_err(|error| wrong(config, &part, &format!("source `{name}`"), &error))?;
        sources.push(NamedSource { name: name.clone(), promise: form.promise(), source });
    }
    Ok(sources)
}

/// A source, with what the configuration says about it.
pub(crate) struct NamedSource {
    /// Its name.
    pub(crate) name: String,
    /// What it promises.
    pub(crate) promise: Promise,
    /// It, not running yet.
    pub(crate) source: Box<dyn Source>,
}

fn no_connector<'a>(
    config: &Config,
    part: &str,
    what: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Problem {
    let kind = part.rsplit('.').next().unwrap_or(part);
    let mut problem = config.problem(part, format!("{what}: there is no connector `{kind}`"));
    problem.expected = Some(format!("one of {}", known.clone().collect::<Vec<_>>().join(", ")));
    problem.hint = nearest(kind, known).map(|near| format!("did you mean `{near}`?"));
    problem
}

fn wrong(config: &Config, part: &str, what: &str, error: &ConfigError) -> Problem {
    let problem = config.mismatch(&join(part, &error.path), &error.message);
    Problem { message: format!("{what}: {}", problem.message), ..problem }
}

/// The rule files that arguments name; without arguments those of the configured folder.
fn rule_paths(files: &[PathBuf], config: &Config) -> Result<Vec<PathBuf>, Failure> {
    let configured = [config.path(&config.rules)];
    if files.is_empty() {
        in_its_folder(config.clone())?;
    }
    let folders = if files.is_empty() { &configured } else { files };
    let mut paths = Vec::new();
    for folder in folders {
        let found = rule_files(folder).map_err(|error| {
            let folder = folder.display();
            refused(match error.kind() {
                std::io::ErrorKind::NotFound if files.is_empty() => anyhow::anyhow!(
                    "there is no folder {folder}; put rule files there, or name some as arguments"
                ),
                _ => anyhow::anyhow!("cannot read {folder}: {error}"),
            })
        })?;
        paths.extend(found);
    }
    Ok(paths)
}

/// Installs the one TLS provider of the process; later calls change nothing.
pub(crate) fn install_tls() {
    // An error means that it is installed already.
    rustls::crypto::ring::default_provider().install_default().ok();
}

/// Publishes nowhere: lets rules with `republish` be compiled outside the daemon.
pub(crate) struct NoPublisher;

#[async_trait::async_trait]
impl Publisher for NoPublisher {
    async fn publish(
        &self,
        _: Vec<connectors::contract::Message>,
    ) -> Result<(), connectors::contract::DeliveryError> {
        Ok(())
    }
}
