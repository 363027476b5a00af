//! The `log` sink: records in the daemon's own log, for trying rules out. It delivers nowhere else.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::contract::{
    Body, ConfigError, Confirms, DeliveryError, Env, Outcome, PathGuard, Preview, Record, Sink,
    SinkConfig, Template,
};

/// Records in one call.
const BATCH_MAX: usize = 100;

/// The most of a record that is logged, in characters.
const TEXT_MAX: usize = 8192;

/// Writes each record to the daemon's log (target `tidegate::action`).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// The text to log; without it the whole record.
    message: Option<Template>,
    /// How important it is.
    #[serde(default)]
    level: Level,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

impl SinkConfig for LogSettings {
    const NAME: &'static str = "log";
    const SUMMARY: &'static str = "Writes each record to the daemon's log.";
    const EXAMPLE: &'static str = r#"{ message: "${device} is at ${t} °C", level: warn }"#;

    fn build(self, _: &Env) -> Result<Arc<dyn Sink>, ConfigError> {
        Ok(Arc::new(LogSink(self)))
    }
}

struct LogSink(LogSettings);

#[async_trait::async_trait]
impl Sink for LogSink {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        records.iter().map(|record| self.log(record)).collect()
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        Ok(())
    }

    fn resource(&self) -> String {
        "log".to_owned()
    }

    fn preview(&self, record: &Record) -> Result<Preview, DeliveryError> {
        Ok(Preview::new().body(self.text(record)?.as_bytes()))
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    fn confirms(&self) -> Confirms {
        Confirms::HandedOver
    }
}

impl LogSink {
    fn text(&self, record: &Record) -> Result<String, DeliveryError> {
        let text = match (&self.0.message, record.body) {
            (Some(template), _) => template.render(record, PathGuard::Free)?,
            (None, Body::Json) => String::from_utf8_lossy(record.bytes()).into_owned(),
            (None, Body::Binary) => {
                format!(r#"{{"base64":"{}"}}"#, STANDARD.encode(record.bytes()))
            }
        };
        Ok(shown(&text))
    }

    fn log(&self, record: &Record) -> Outcome {
        let text = match self.text(record) {
            Ok(text) => text,
            Err(error) => return Outcome::from_error(error),
        };
        let rule = &*record.rule;
        match self.0.level {
            Level::Error => tracing::error!(target: "tidegate::action", rule, "{text}"),
            Level::Warn => tracing::warn!(target: "tidegate::action", rule, "{text}"),
            Level::Info => tracing::info!(target: "tidegate::action", rule, "{text}"),
            Level::Debug => tracing::debug!(target: "tidegate::action", rule, "{text}"),
        }
        Outcome::Ok
    }
}

/// The text on one line and without the controls that could forge lines or move a terminal's cursor.
fn shown(text: &str) -> String {
    let mut out: String =
        text.chars().take(TEXT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(TEXT_MAX).is_some() {
        out.push('…');
    }
    out
}
