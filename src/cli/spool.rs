//! `tidegate spool`: what the running daemon says about its backlog.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};

use super::asking::{KEY_ID, KEY_SECRET, PATIENCE, here, key, unreachable};
use super::dlq::columns;
use super::publish::single_thread;
use super::{Outcome, install_tls, refused, say};
use crate::api::{CursorStatus, SpoolStatus};
use crate::config::Config;

/// Arguments of `spool`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// What is promised, how full the spool is, and what waits for which action.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// The daemon's HTTP listener; the configured one by default.
        #[arg(long, value_name = "ADDRESS")]
        to: Option<SocketAddr>,
    },
}

pub(super) fn run(args: &Args, config: &Config) -> Outcome {
    let Verb::Status { json, to } = &args.verb;
    install_tls();
    single_thread(status(config, *json, to.unwrap_or(config.listen.http))).map_err(refused)
}

async fn status(config: &Config, json: bool, to: SocketAddr) -> anyhow::Result<()> {
    let text = ask(config, to).await?;
    if json {
        say(format_args!("{}", text.trim_end()));
        return Ok(());
    }
    print(&read(&text, to)?);
    Ok(())
}

/// What the daemon that is configured says does not work.
pub(super) async fn trouble(config: &Config) -> anyhow::Result<Vec<String>> {
    let to = config.listen.http;
    Ok(read(&ask(config, to).await?, to)?.trouble)
}

fn read(text: &str, to: SocketAddr) -> anyhow::Result<SpoolStatus> {
    serde_json::from_str(text)
        .with_context(|| format!("{to} answers something else than the state of a spool"))
}

/// What `GET /spool` answers.
async fn ask(config: &Config, to: SocketAddr) -> anyhow::Result<String> {
    let to = here(to);
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
    let mut request = client.get(format!("http://{to}/spool"));
    let open = config.listen.http.ip().is_loopback() && to.ip().is_loopback();
    if !open && let Some((id, secret)) = key(config)? {
        request = request.bearer_auth(format!("{id}:{secret}"));
    }
    let answer = request.send().await.with_context(|| unreachable(to))?;
    let code = answer.status();
    let text = answer.text().await.context("the answer broke off")?;
    if code.as_u16() == 401 || code.as_u16() == 403 {
        bail!("{to} says {code}: {text}; set {KEY_ID} and {KEY_SECRET}");
    }
    if !code.is_success() {
        bail!("{to} says {code}: {text}");
    }
    Ok(text)
}

fn print(status: &SpoolStatus) {
    say(format_args!("promise  {}", status.promise));
    match status.enabled {
        true => say(format_args!("spool    {} of {}", size(status.bytes), size(status.bytes_max))),
        false => say(format_args!("spool    off")),
    }
    let (records, bytes) = (status.backlog_records, status.backlog_bytes);
    say(format_args!("backlog  {records} records, {}", size(bytes)));
    for dropped in &status.dropped {
        say(format_args!("dropped  {} ({})", dropped.count, dropped.reason));
    }
    for trouble in &status.trouble {
        say(format_args!("trouble  {trouble}"));
    }
    if !status.unconfirmed.is_empty() {
        let actions = status.unconfirmed.join(", ");
        say(format_args!("promise  ends when a record is handed over to {actions}"));
    }
    if !status.cursors.is_empty() {
        print_cursors(status);
    }
    say(format_args!("({})", status.promise_in_full));
}

fn print_cursors(status: &SpoolStatus) {
    let names = ["rule", "action", "version", "records", "bytes", "oldest"];
    let mut rows = vec![names.map(str::to_owned)];
    rows.extend(status.cursors.iter().map(row));
    columns(&rows);
}

fn row(cursor: &CursorStatus) -> [String; 6] {
    [
        cursor.rule.clone(),
        cursor.action.clone(),
        cursor.version.clone(),
        cursor.backlog_records.to_string(),
        size(cursor.backlog_bytes),
        cursor.oldest_ms.map_or_else(String::new, age),
    ]
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    format!("{value:.1} {unit}")
}

/// A time span for people.
fn age(ms: u64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        s @ 1..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_for_people() {
        let sizes = [0, 1023, 1024, 1536, 5 << 20, 8 << 30, 3 << 50].map(size);
        let want = ["0 bytes", "1023 bytes", "1.0 KiB", "1.5 KiB", "5.0 MiB", "8.0 GiB"];
        assert_eq!(sizes[..6], want);
        assert_eq!(sizes[6], "3072.0 TiB");
        assert_eq!(
            [5, 90_000, 240_000, 7_200_000, 999_999_999].map(age),
            ["5 ms", "90 s", "4 min", "2 h", "11 d"]
        );
    }
}
