//! What the daemon says on standard output when it starts: where its data goes, what listens where, and
//! what to try.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::daemon::Daemon;
use super::folder;
use crate::config::{Config, DEFAULT_FILE, DeviceAuth};
use crate::engine::rule_files;
use crate::rule::file;

/// Rule files that are looked through for an example.
const FILES_MAX: usize = 32;

/// Larger files are not read once more only for an example.
const FILE_MAX: u64 = 64 << 10;

/// The longest payload of an example, in bytes.
const PAYLOAD_MAX: usize = 500;

/// A message for one of the rules that run.
struct Example {
    rule: String,
    topic: String,
    /// What the rule selects; `None` when that is not known.
    payload: Option<String>,
}

/// Says where data goes, when that may not be where somebody wants it.
pub(super) fn say_where(config: &Config) {
    let Some(here) = folder::nothing_here(config) else { return };
    let here = here.display();
    super::say(format_args!(
        "Nothing of Tidegate is in {here}: data goes to {here}/data, and no rules were found. Put rule files into {here}/rules and start again; or stop this, and start it in the folder of your configuration or with `--config FILE`."
    ));
}

/// Says what listens where, and something to try.
pub(super) fn say_ready(daemon: &Daemon, config: &Config) {
    super::say(format_args!("{}", ready(daemon, config).trim_end()));
}

fn ready(daemon: &Daemon, config: &Config) -> String {
    let mut text = format!("Tidegate {} is ready\n", env!("CARGO_PKG_VERSION"));
    // Writing to a text can't fail.
    for line in daemon.ports.lines() {
        writeln!(text, "{line}").ok();
    }
    let running = daemon.rules.report().iter().filter(|report| report.rule.enabled).count();
    let folder = config.path(&config.rules);
    writeln!(text, "  rules  {running} running, from {} and the API", folder.display()).ok();
    if daemon.sources > 0 {
        writeln!(text, "  other sources  {}", daemon.sources).ok();
    }
    if let Some(file) = &daemon.key_file {
        writeln!(text, "  access key for the API in {}", file.display()).ok();
    }
    if !config.is_local() && config.auth.devices == Some(DeviceAuth::None) {
        text.push_str(
            "  WARNING  anybody who reaches these ports may publish (auth.devices is none)\n",
        );
    }
    text.push_str(&attempt(example(daemon, &folder), daemon, config));
    text
}

/// What to try in another terminal.
fn attempt(example: Option<Example>, daemon: &Daemon, config: &Config) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "tidegate".to_owned());
    let file = config.file().filter(|file| file != Path::new(DEFAULT_FILE));
    let file = file.map_or_else(String::new, |file| format!(" --config {}", file.display()));
    let to = match daemon.ports.mqtt == config.listen.mqtt {
        true => String::new(),
        false => format!(" --to {}", daemon.ports.mqtt),
    };
    let open = matches!(config.auth.devices, None | Some(DeviceAuth::None));
    match example {
        None => format!(
            "Try, with another terminal on `{program}{file} tap{to}`: {program}{file} pub{to} a/b '{{\"t\":1}}'\n  which no rule selects yet\n"
        ),
        Some(Example { rule, topic, payload: None }) => format!(
            "Try, with another terminal on `{program}{file} tap{to} --rule {rule}`, a message on the topic {topic}\n"
        ),
        Some(Example { rule, topic, payload: Some(payload) }) if open => format!(
            "Try, with another terminal on `{program}{file} tap{to} --rule {rule}`:\n  {program}{file} pub{to} {} {}\n",
            quoted(&topic),
            quoted(&payload),
        ),
        Some(Example { rule, topic, payload: Some(payload) }) => format!(
            "Try, as a client that may, a message on the topic {topic} for rule {rule}: {payload}\n"
        ),
    }
}

/// A message that one of the rules selects, from its own tests, with an object as its payload if there is
/// one; else one that reaches a rule.
fn example(daemon: &Daemon, folder: &Path) -> Option<Example> {
    let small = |path: &PathBuf| path.metadata().is_ok_and(|data| data.len() <= FILE_MAX);
    let paths = rule_files(folder).unwrap_or_default();
    let mut first = None;
    for path in paths.iter().filter(|path| small(path)).take(FILES_MAX) {
        let file = file::load(path, daemon.rules.compiler()).unwrap_or_default();
        for rule in file.rules {
            let name = &rule.compiled.rule.name;
            let owner = daemon.rules.owner(name);
            if !rule.compiled.rule.enabled || owner.as_ref() != Some(&rule.compiled.rule.owner) {
                continue;
            }
            let found = rule.tests.iter().find_map(|test| {
                let message = test.example(&rule.compiled)?;
                let payload = std::str::from_utf8(&message.payload).ok()?;
                let short = payload.len() <= PAYLOAD_MAX && !payload.contains('\n');
                short.then(|| Example {
                    rule: name.clone(),
                    topic: message.topic.as_str().to_owned(),
                    payload: Some(payload.to_owned()),
                })
            });
            let is_object = |found: &Example| found.payload.iter().any(|p| p.starts_with('{'));
            if found.as_ref().is_some_and(is_object) {
                return found;
            }
            first = first.or(found);
        }
    }
    if first.is_some() {
        return first;
    }
    let reports = daemon.rules.report();
    let mut running = reports.iter().filter(|report| report.rule.enabled);
    running.find_map(|report| {
        let lane = report.actions.first()?;
        let query = daemon.rules.lane(&report.rule.name, &lane.0)?.query()?;
        let topic = query.filter().as_str().replace('+', "dev1").replace('#', "data");
        Some(Example { rule: report.rule.name.clone(), topic, payload: None })
    })
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.,:@%+=".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_one_word_of_a_shell() {
        for (text, want) in
            [("/a/b", "/a/b"), ("", "''"), ("{\"t\":1}", "'{\"t\":1}'"), ("it's", r"'it'\''s'")]
        {
            assert_eq!(quoted(text), want);
        }
    }
}
