//! `tidegate dlq replay`: says which letters are wanted, and watches how the daemon delivers them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use connectors::contract::{Topic, now_ms};
use serde::Deserialize;

use super::super::publish::single_thread;
use super::super::{Failure, Outcome, count, install_tls, refused, say};
use super::shown::{columns, printable};
use super::{Which, file, gone, open};
use crate::config::Config;
use crate::engine::dead::{Database, Edit, Filter, Progress, State, Wanted};

/// How often the state of a replay is looked at. The daemon works in steps of up to a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A daemon that has not been heard of for so long is not there, or not any more.
const SILENCE: Duration = Duration::from_secs(5);

/// A replay that has delivered nothing for so long says what it waits for.
const STILL: Duration = Duration::from_secs(2);

/// Between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Letters that are edited in one transaction, and numbers that are looked up at a time.
const CHUNK: usize = 500;

/// Cells of the bar.
const BAR: u64 = 30;

/// Arguments of `dlq replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Their numbers; without them all that the options name.
    #[arg(value_name = "ID")]
    ids: Vec<u64>,
    #[command(flatten)]
    which: Which,
    /// Those of this file, with its topics and payloads: lines as `dlq show --json` prints them.
    #[arg(long, value_name = "FILE", conflicts_with = "ids")]
    edit: Option<PathBuf>,
    /// Also those that were delivered by a replay already.
    #[arg(long)]
    force: bool,
    /// Say what would be replayed, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not wait for the end.
    #[arg(long)]
    no_wait: bool,
}

/// A line of the file of edits; what else it holds is not read.
#[derive(Debug, Deserialize)]
struct Line {
    id: u64,
    topic: String,
    payload: Option<String>,
    payload_base64: Option<String>,
}

pub(super) fn run(args: &Args, config: &Config) -> Outcome {
    // To ask the daemon what a replay waits for.
    install_tls();
    let filter = args.which.filter(config)?;
    let failed = single_thread(replay(args, config, filter)).map_err(refused)?;
    if failed { Err(Failure::Findings) } else { Ok(()) }
}

/// True when not all was delivered.
async fn replay(args: &Args, config: &Config, mut filter: Filter) -> anyhow::Result<bool> {
    let Some(database) = open(config).await? else {
        if args.edit.is_some() || !args.ids.is_empty() {
            bail!("there are no dead letters in {}", file(config).display());
        }
        say(format_args!("there are no dead letters in {}", file(config).display()));
        return Ok(false);
    };
    if let Some(path) = &args.edit {
        filter.ids = Some(edited_ids(path, config)?);
    } else if !args.ids.is_empty() {
        filter.ids = Some(args.ids.clone());
    }
    check(&database, args, &filter).await?;
    let mut filters = vec![filter.clone()];
    if args.force {
        filters.push(Filter { replayed: true, ..filter });
    }
    if args.dry_run {
        dry_run(&database, &filters).await?;
        return Ok(false);
    }
    let mut of = Vec::new();
    for filter in &filters {
        let groups = database.groups(filter).await?;
        of.extend(groups.iter().map(|group| action_of(&group.rule, &group.action)));
    }
    let wanted = database.begin_replay(now_ms()).await?;
    match &args.edit {
        Some(path) => want_edited(&database, &wanted, path, args.force, config).await?,
        None => {
            for filter in &filters {
                let mut part = wanted.clone();
                while database.want(&mut part, filter).await? {}
            }
        }
    }
    let failed = watch(&database, &wanted, args.no_wait, &Waits { config, of }).await?;
    database.close().await;
    Ok(failed)
}

/// Letters that are named must be there, and fit.
async fn check(database: &Database, args: &Args, filter: &Filter) -> anyhow::Result<()> {
    let Some(ids) = &filter.ids else { return Ok(()) };
    for ids in ids.chunks(CHUNK) {
        let states = database.states(ids).await?;
        for id in ids {
            let state = states.iter().find(|(there, _)| there == id).map(|(_, state)| *state);
            match state {
                None => bail!("{}", gone(*id)),
                Some(State::Replayed(_)) if !args.force => bail!(
                    "dead letter {id} was delivered by a replay already; `--force` delivers it again"
                ),
                Some(State::Wanted) if args.edit.is_some() => bail!(
                    "dead letter {id} is being replayed; wait for the end of that before it is changed"
                ),
                Some(_) => {}
            }
        }
        if args.edit.is_none() {
            continue;
        }
        let mut fit = HashSet::new();
        for replayed in [false, true] {
            let part = Filter { ids: Some(ids.to_vec()), replayed, ..filter.clone() };
            let found = database.list(&part, None, CHUNK as u64).await?;
            fit.extend(found.iter().map(|listed| listed.id));
        }
        if let Some(id) = ids.iter().find(|id| !fit.contains(id)) {
            bail!("dead letter {id} of the file is none of those that the options name");
        }
    }
    Ok(())
}

async fn dry_run(database: &Database, filters: &[Filter]) -> anyhow::Result<()> {
    let mut rows = vec![["rule", "action", "reason", "letters"].map(str::to_owned)];
    let mut sum = 0;
    for filter in filters {
        for group in database.groups(filter).await? {
            sum += group.count;
            let count = group.count.to_string();
            rows.push([
                printable(&group.rule),
                printable(&group.action),
                printable(&group.reason),
                count,
            ]);
        }
    }
    if sum > 0 {
        columns(&rows);
    }
    say(format_args!("{sum} dead letters would be replayed"));
    Ok(())
}

/// What a file of edits says, a line at a time.
fn edits<'a>(
    path: &'a Path,
    config: &'a Config,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Edit>> + use<'a>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = |(number, line): (usize, std::io::Result<String>)| {
        let place = || format!("{}:{}", path.display(), number + 1);
        let line = match line.with_context(place) {
            Ok(line) if line.trim().is_empty() => return None,
            Ok(line) => line,
            Err(error) => return Some(Err(error)),
        };
        Some(edit(&line, config).with_context(place))
    };
    Ok(BufReader::new(file).lines().enumerate().filter_map(read))
}

fn edit(line: &str, config: &Config) -> anyhow::Result<Edit> {
    let line: Line = serde_json::from_str(line)
        .context("expected a line of `dlq show --json`: an object with id, topic and payload")?;
    let topic = Topic::parse(line.topic.clone(), config.limits.topic())
        .with_context(|| format!("topic `{}`", printable(&line.topic)))?;
    let payload = match (line.payload, line.payload_base64) {
        (Some(text), None) => Bytes::from(text),
        (None, Some(text)) => {
            STANDARD.decode(text).context("`payload_base64` is not base64")?.into()
        }
        _ => bail!("give either `payload` (a text) or `payload_base64`"),
    };
    let most = config.limits.payload;
    if payload.len() > most {
        bail!("the payload has {} bytes, `limits.payload` allows {most}", payload.len());
    }
    Ok(Edit { id: line.id, topic, payload })
}

/// The numbers of all letters of the file; the whole file is found to be right before anything is done.
fn edited_ids(path: &Path, config: &Config) -> anyhow::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for edit in edits(path, config)? {
        ids.push(edit?.id);
    }
    let mut seen = HashSet::new();
    if let Some(twice) = ids.iter().find(|id| !seen.insert(**id)) {
        bail!("{}: dead letter {twice} is there twice", path.display());
    }
    if ids.is_empty() {
        bail!("{}: no letter is in it; `dlq show ID --json` makes such a file", path.display());
    }
    Ok(ids)
}

async fn want_edited(
    database: &Database,
    wanted: &Wanted,
    path: &Path,
    force: bool,
    config: &Config,
) -> anyhow::Result<()> {
    let mut edits = edits(path, config)?;
    loop {
        let some = edits.by_ref().take(CHUNK).collect::<anyhow::Result<Vec<Edit>>>()?;
        if some.is_empty() {
            return Ok(());
        }
        for id in database.want_edited(wanted, &some, force).await? {
            writeln!(
                std::io::stderr(),
                "dead letter {id} was taken by another replay meanwhile; it stays as it is"
            )
            .ok();
        }
    }
}

/// Shows how far the replay is until it ends; true when not all was delivered.
async fn watch(
    database: &Database,
    wanted: &Wanted,
    no_wait: bool,
    waits: &Waits<'_>,
) -> anyhow::Result<bool> {
    let mut progress = database.progress(wanted.replay).await?;
    if progress.total == 0 {
        say(format_args!("nothing to replay: no dead letter fits"));
        return Ok(false);
    }
    if no_wait {
        let total = progress.total;
        say(format_args!("{total} dead letters are wanted; the daemon replays them"));
        return Ok(false);
    }
    let start = Instant::now();
    let mut meter = Meter::new();
    let mut heard = (progress.seen_ms, Instant::now());
    let mut moved = (progress.done(), Instant::now());
    let mut look = tokio::time::interval(LOOK_EVERY);
    while progress.done() < progress.total {
        meter.show(&progress, start);
        if progress.seen_ms != heard.0 {
            heard = (progress.seen_ms, Instant::now());
        } else if heard.1.elapsed() > SILENCE {
            meter.end();
            return silent(&progress);
        }
        if progress.done() != moved.0 {
            moved = (progress.done(), Instant::now());
        } else if moved.1.elapsed() > STILL && progress.seen_ms.is_some() {
            moved.1 = Instant::now() + LINE_EVERY;
            meter.note(&waits.reasons().await);
        }
        look.tick().await;
        progress = database.progress(wanted.replay).await?;
    }
    meter.show(&progress, start);
    meter.end();
    let Progress { delivered, failed, dropped, .. } = progress;
    let seconds = start.elapsed().as_secs_f64();
    let delivered = usize::try_from(delivered).unwrap_or(usize::MAX);
    let delivered = count(delivered, "dead letter was", "dead letters were");
    say(format_args!("{delivered} delivered in {seconds:.1} s"));
    if failed > 0 {
        say(format_args!("{failed} failed again; `tidegate dlq list` says why"));
    }
    if dropped > 0 {
        say(format_args!("{dropped} were driven out by `limits.dead_letters` before their turn"));
    }
    Ok(failed + dropped > 0)
}

/// What a replay waits for that does not come on.
struct Waits<'a> {
    config: &'a Config,
    /// Its rules and actions, as the daemon names them when something is wrong with them.
    of: Vec<String>,
}

impl Waits<'_> {
    async fn reasons(&self) -> Vec<String> {
        let asked = super::super::spool::trouble(self.config);
        let trouble = match tokio::time::timeout(STILL, asked).await {
            Ok(Ok(trouble)) => trouble,
            Ok(Err(error)) => return vec![format!("what for is not known: {error:#}")],
            Err(_) => return vec!["what for is not known: the daemon does not answer".to_owned()],
        };
        let own = |line: &String| self.of.iter().any(|action| line.starts_with(action));
        let own: Vec<String> = trouble.into_iter().filter(own).collect();
        match own.is_empty() {
            true => vec!["records that came before these are delivered first".to_owned()],
            false => own,
        }
    }
}

fn action_of(rule: &str, action: &str) -> String {
    format!("rule `{rule}`: action `{action}`: ")
}

/// Nobody is at work. Nothing is lost by that.
fn silent(progress: &Progress) -> anyhow::Result<bool> {
    let left = progress.total.saturating_sub(progress.done());
    if progress.seen_ms.is_some() {
        bail!(
            "the daemon was heard of last {} s ago; {left} dead letters are still wanted and are replayed at its next start",
            SILENCE.as_secs()
        );
    }
    say(format_args!(
        "no daemon is running on this `data_dir`: {left} dead letters are wanted and are replayed at its next start"
    ));
    Ok(false)
}

/// A bar on a terminal, lines elsewhere; on standard error, so that the outcome stands alone.
struct Meter {
    terminal: bool,
    last: Option<Instant>,
}

impl Meter {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: None }
    }

    fn show(&mut self, progress: &Progress, start: Instant) {
        let early = self.last.is_some_and(|last| last.elapsed() < LINE_EVERY);
        if !self.terminal && early && progress.done() < progress.total {
            return;
        }
        self.last = Some(Instant::now());
        let (done, total) = (progress.done(), progress.total);
        let rate = done as f64 / start.elapsed().as_secs_f64().max(0.001);
        let failed = match progress.failed {
            0 => String::new(),
            failed => format!(", {failed} failed again"),
        };
        let text = format!("{done} of {total} replayed, {rate:.0}/s{failed}");
        let mut out = std::io::stderr();
        // Nobody reads the progress any more when it can't be written.
        if self.terminal {
            let full = done * BAR / total.max(1);
            let cells: String = (0..BAR).map(|at| if at < full { '#' } else { '.' }).collect();
            write!(out, "\r\x1b[K[{cells}] {text}").ok();
        } else {
            writeln!(out, "{text}").ok();
        }
        out.flush().ok();
    }

    /// Lines between those of progress.
    fn note(&self, lines: &[String]) {
        let mut out = std::io::stderr();
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        for line in lines {
            writeln!(out, "{clear}waits: {}", printable(line)).ok();
        }
    }

    fn end(&self) {
        if self.terminal {
            writeln!(std::io::stderr()).ok();
        }
    }
}
