//! `tidegate dlq`: list, show and replay dead letters.
//!
//! It works on the file of the dead letters, whether the daemon runs or not; the daemon does the
//! delivering.

mod replay;
mod shown;

use std::path::PathBuf;

pub(super) use shown::columns;

use anyhow::Context as _;
use connectors::contract::{Period, now_ms};

use super::publish::single_thread;
use super::{Failure, Outcome, refused, say, usage};
use crate::config::Config;
use crate::engine::dead::{Database, FILE, Filter};

/// Letters that are read at a time.
const PAGE: u64 = 1000;

/// Arguments of `dlq`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List dead letters, the latest first.
    List(List),
    /// Show all that is known about some of them.
    Show(Show),
    /// Deliver them once more, each to its rule and action as they are now.
    Replay(replay::Args),
}

/// Which letters; what is given must all hold.
#[derive(Debug, Default, clap::Args)]
struct Which {
    /// Of this rule.
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Of this action.
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// That ended for this reason, such as `poison` or `expired`.
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Kept since then: `2h` and `7d` ago, `2026-11-21`, `2026-11-21T08:30:00Z`.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

impl Which {
    fn filter(&self, config: &Config) -> Result<Filter, Failure> {
        let since_ms = match &self.since {
            Some(text) => Some(parse_since(text, config)?),
            None => None,
        };
        Ok(Filter {
            rule: self.rule.clone(),
            action: self.action.clone(),
            reason: self.reason.clone(),
            since_ms,
            ..Filter::default()
        })
    }
}

/// Reads a moment: a period before now, or a date with or without time and zone.
fn parse_since(text: &str, config: &Config) -> Result<u64, Failure> {
    if let Ok(period) = Period::parse(text) {
        let ms = u64::try_from(period.get().as_millis()).unwrap_or(u64::MAX);
        return Ok(now_ms().saturating_sub(ms));
    }
    let zone = config.zone().map_err(|text| refused(anyhow::Error::msg(text)))?;
    let local = |text: &str| {
        let at: jiff::civil::DateTime = text.parse().ok()?;
        at.to_zoned(zone.clone()).ok().map(|at| at.timestamp())
    };
    let at = text.parse::<jiff::Timestamp>().ok().or_else(|| local(text));
    let at = at.ok_or_else(|| {
        usage(anyhow::anyhow!(
            "--since: `{text}` is no time; write `2h` (ago), `2026-11-21` or `2026-11-21T08:30:00Z`"
        ))
    })?;
    Ok(u64::try_from(at.as_millisecond()).unwrap_or(0))
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    which: Which,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Go on after this one: the last number of the page before.
    #[arg(long, value_name = "ID")]
    before: Option<u64>,
    /// Those that were replayed and are still there.
    #[arg(long)]
    replayed: bool,
    /// A line of JSON for each.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Their numbers.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<u64>,
    /// A line of JSON for each, as `replay --edit` reads it.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, config: &Config) -> Outcome {
    match &args.verb {
        Verb::List(args) => {
            let filter = Filter { replayed: args.replayed, ..args.which.filter(config)? };
            single_thread(list(args, config, &filter)).map_err(refused)
        }
        Verb::Show(args) => single_thread(show(args, config)).map_err(refused),
        Verb::Replay(args) => replay::run(args, config),
    }
}

/// Where the letters are, whether there are any or not.
fn file(config: &Config) -> PathBuf {
    config.path(&config.data_dir).join(FILE)
}

/// Opens the file; `None` when there never was a dead letter.
async fn open(config: &Config) -> anyhow::Result<Option<Database>> {
    let path = file(config);
    Database::open(&path).await.with_context(|| format!("cannot open {}", path.display()))
}

async fn list(args: &List, config: &Config, filter: &Filter) -> anyhow::Result<()> {
    let Some(database) = open(config).await? else {
        if !args.json {
            say(format_args!("there are no dead letters in {}", file(config).display()));
        }
        return Ok(());
    };
    let mut before = match args.before {
        Some(id) => {
            let letter = database.letter(id).await?.with_context(|| gone(id))?;
            Some((letter.kept_ms, id))
        }
        None => None,
    };
    let mut left = args.limit;
    let mut shown = 0;
    while left > 0 {
        let page = database.list(filter, before, left.min(PAGE)).await?;
        let Some(last) = page.last() else { break };
        before = Some((last.kept_ms, last.id));
        left -= page.len() as u64;
        if args.json {
            page.iter().for_each(|letter| say(format_args!("{}", shown::line(letter))));
        } else {
            shown::table(&page, shown == 0, config);
        }
        shown += page.len();
    }
    if !args.json {
        let kept = database.counts().await?.kept;
        let more = match before {
            Some((_, id)) if left == 0 => format!("; older ones: --before {id}"),
            _ => String::new(),
        };
        say(format_args!("{shown} shown, {kept} dead letters are kept{more}"));
    }
    database.close().await;
    Ok(())
}

fn gone(id: u64) -> String {
    format!("there is no dead letter {id}; `tidegate dlq list` shows those that there are")
}

async fn show(args: &Show, config: &Config) -> anyhow::Result<()> {
    let database = open(config).await?;
    let mut missing = Vec::new();
    for id in &args.ids {
        let letter = match &database {
            Some(database) => database.letter(*id).await?,
            None => None,
        };
        match letter {
            Some(letter) if args.json => say(format_args!("{}", shown::document(&letter))),
            Some(letter) => shown::page(&letter, config),
            None => missing.push(id.to_string()),
        }
    }
    if let Some(database) = database {
        database.close().await;
    }
    if !missing.is_empty() {
        anyhow::bail!(
            "there is no dead letter {}; `tidegate dlq list` shows those that there are",
            missing.join(", ")
        );
    }
    Ok(())
}
