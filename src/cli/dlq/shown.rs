//! Dead letters on the screen and as JSON.
//!
//! Devices choose topics and payloads, and destinations their errors: control characters of theirs
//! never reach a terminal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::say;
use crate::config::Config;
use crate::engine::dead::{Listed, State, StoredLetter};

/// Characters of an error in a table.
const ERROR_CHARS: usize = 80;

/// The text without what a terminal would act on.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A moment in the configured zone.
pub(super) fn moment(ms: u64, config: &Config) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    match (at, config.zone()) {
        (Some(at), Ok(zone)) => at.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        _ => format!("{ms} ms"),
    }
}

fn utc(ms: u64) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    Some(format!("{at:.3}"))
}

/// A letter of a list as a line of JSON.
pub(super) fn line(letter: &Listed) -> Value {
    json!({
        "id": letter.id,
        "kept": utc(letter.kept_ms),
        "rule": letter.rule,
        "action": letter.action,
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "topic": letter.topic,
        "payload_bytes": letter.payload_bytes,
        "state": letter.state.as_str(),
    })
}

/// Prints letters in columns.
pub(super) fn table(page: &[Listed], head: bool, config: &Config) {
    let mut rows: Vec<[String; 8]> = Vec::with_capacity(page.len() + 1);
    if head {
        let names = ["id", "kept", "rule", "action", "reason", "tries", "topic", "error"];
        rows.push(names.map(str::to_owned));
    }
    for letter in page {
        let error = printable(&letter.error);
        let short: String = error.chars().take(ERROR_CHARS).collect();
        let dots = if short.len() < error.len() { "…" } else { "" };
        rows.push([
            letter.id.to_string(),
            moment(letter.kept_ms, config),
            printable(&letter.rule),
            printable(&letter.action),
            printable(&letter.reason),
            letter.attempts.to_string(),
            printable(&letter.topic),
            format!("{short}{dots}"),
        ]);
    }
    columns(&rows);
}

/// Prints rows whose last column needs no width.
pub(in crate::cli) fn columns<const N: usize>(rows: &[[String; N]]) {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (at, (text, width)) in row.iter().zip(&widths).enumerate() {
            line.push_str(text);
            if at + 1 < N {
                let pad = width - text.chars().count() + 2;
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        say(format_args!("{}", line.trim_end()));
    }
}

/// Puts bytes under a name: as text where they are text, else in base64 under `{name}_base64`.
fn put_bytes(document: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => document.insert(name.to_owned(), text.into()),
        Err(_) => document.insert(format!("{name}_base64"), STANDARD.encode(bytes).into()),
    };
}

/// All of a letter as a line of JSON; `replay --edit` reads `id`, `topic` and the payload from it.
pub(super) fn document(letter: &StoredLetter) -> Value {
    let message = &letter.message;
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            all.insert(name.to_owned(), value);
        }
    };
    put("id", letter.id.into());
    put("rule", (*letter.rule).into());
    put("action", (*letter.action).into());
    put("reason", letter.reason.as_str().into());
    put("error", letter.error.as_str().into());
    put("attempts", letter.attempts.into());
    put("version", (*letter.version).into());
    put("state", letter.state.as_str().into());
    if let State::Replayed(ms) = letter.state {
        put("replayed", json!(utc(ms)));
    }
    put("edited", if letter.edited { true.into() } else { Value::Null });
    put("kept", json!(utc(letter.kept_ms)));
    put("received", json!(utc(message.received_ms)));
    // A number of more than 53 bits does not survive every reader of JSON.
    put("message_id", message.id.to_string().into());
    put("nth", letter.nth.into());
    put("qos", message.qos.level().into());
    put("retain", message.retain.into());
    put("hops", message.hops.into());
    if let Some(device) = &message.device {
        put("product_key", (*device.product_key).into());
        put("device_name", (*device.device_name).into());
    }
    if let Some(properties) = &message.properties {
        let pairs = properties.iter().map(|(key, value)| json!([&**key, &**value]));
        put("properties", pairs.collect());
    }
    if let Some(headers) = &message.headers {
        put("content_type", json!(headers.content_type.as_deref()));
        put("response_topic", json!(headers.response_topic.as_deref()));
        let correlation = headers.correlation_data.as_ref().map(|bytes| STANDARD.encode(bytes));
        put("correlation_data_base64", json!(correlation));
    }
    let origin = &message.origin;
    put("source", json!(origin.source.as_deref()));
    put("client_id", json!(origin.client_id.as_deref()));
    put("username", json!(origin.username.as_deref()));
    put("peer", json!(origin.peer.map(|peer| peer.to_string())));
    put("topic", message.topic.as_str().into());
    put_bytes(&mut all, "payload", &message.payload);
    if let Some(record) = &letter.record {
        put_bytes(&mut all, "record", record);
    }
    all.into()
}

/// Prints all of a letter, a line for each part.
pub(super) fn page(letter: &StoredLetter, config: &Config) {
    let Value::Object(all) = document(letter) else { return };
    for (name, value) in &all {
        let text = match (name.as_str(), value) {
            ("kept", _) => moment(letter.kept_ms, config),
            ("received", _) => moment(letter.message.received_ms, config),
            (_, Value::String(text)) => printable(text),
            (_, other) => other.to_string(),
        };
        say(format_args!("{name:<16} {text}"));
    }
    say(format_args!(""));
}
