//! The `file` sink: records as JSON lines, appended to a local file. It does not rotate files; when
//! something else moves or removes the file, the next batch goes to a new one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::contract::{
    Body, ConfigError, DeliveryError, Env, FailureKind, Outcome, Preview, Record, Sink, SinkConfig,
};

/// Records in one write.
const BATCH_MAX: usize = 500;

/// Appends each record as a line of JSON to a file.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSettings {
    /// The file; it and the folders above it are created when they are missing. A relative path is
    /// relative to the configuration file.
    path: PathBuf,
    /// When lines are forced to the disk: `never` leaves it to the operating system, `batch` waits
    /// for the disk before a batch counts as delivered.
    #[serde(default)]
    sync: Flush,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Flush {
    #[default]
    Never,
    Batch,
}

impl SinkConfig for FileSettings {
    const NAME: &'static str = "file";
    const SUMMARY: &'static str =
        "Appends each record as a line of JSON to a file; bytes become {\"base64\":\"…\"}.";
    const EXAMPLE: &'static str = r#"{ path: "data/errors.jsonl" }"#;

    fn build(self, env: &Env) -> Result<Arc<dyn Sink>, ConfigError> {
        if self.path.file_name().is_none() {
            return Err(ConfigError::new("path", "name a file, not a folder"));
        }
        let path = env.path(&self.path);
        Ok(Arc::new(FileSink { lines: Arc::new(Lines::new(path)), sync: self.sync }))
    }
}

struct FileSink {
    lines: Arc<Lines>,
    sync: Flush,
}

#[async_trait::async_trait]
impl Sink for FileSink {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        let mut text = Vec::with_capacity(records.iter().map(|r| r.bytes().len() + 16).sum());
        for record in records {
            push_line(record, &mut text);
        }
        match self.off_thread(move |lines, sync| lines.append(&text, sync)).await {
            Ok(()) => vec![Outcome::Ok; records.len()],
            Err(error) => Outcome::all(&error, records.len()),
        }
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        self.off_thread(|lines, _| lines.append(b"", Flush::Never)).await
    }

    fn resource(&self) -> String {
        self.lines.path.display().to_string()
    }

    fn preview(&self, record: &Record) -> Result<Preview, DeliveryError> {
        let mut line = Vec::new();
        push_line(record, &mut line);
        Ok(Preview::new().body(line.trim_ascii_end()))
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }
}

impl FileSink {
    /// Runs a file operation to its end, even when the delivery is dropped: no torn lines.
    async fn off_thread(
        &self,
        work: impl FnOnce(&Lines, Flush) -> io::Result<()> + Send + 'static,
    ) -> Result<(), DeliveryError> {
        let (lines, sync) = (self.lines.clone(), self.sync);
        let done = tokio::task::spawn_blocking(move || work(&lines, sync)).await;
        let result = done.unwrap_or_else(|_| Err(io::Error::other("the writing thread ended")));
        result.map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> DeliveryError {
        let text = format!("can't write to {}: {error}", self.resource());
        DeliveryError::new(kind_of(error.kind()), text)
    }
}

/// What an error of the system means.
fn kind_of(error: io::ErrorKind) -> FailureKind {
    match error {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FailureKind::Denied,
        io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::InvalidFilename => FailureKind::Misconfigured,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::Busy,
        _ => FailureKind::Unreachable,
    }
}

/// One record as one line: a line break in JSON only stands between tokens, where a space does.
fn push_line(record: &Record, out: &mut Vec<u8>) {
    match record.body {
        Body::Json => {
            let flat = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
            out.extend(record.bytes().iter().map(flat));
        }
        Body::Binary => {
            out.extend_from_slice(br#"{"base64":""#);
            out.extend_from_slice(STANDARD.encode(record.bytes()).as_bytes());
            out.extend_from_slice(br#""}"#);
        }
    }
    out.push(b'\n');
}

/// The open file and what is known about its end.
struct Lines {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<File>,
    /// A write failed half-way, so the last line may be cut off.
    torn: bool,
}

impl Lines {
    fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default() }
    }

    fn append(&self, text: &[u8], sync: Flush) -> io::Result<()> {
        // What a panic could leave behind is only `torn`, which is set before each write.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let torn = state.torn;
        let mut file = match state.file.take() {
            Some(file) if is_still(&file, &self.path) => file,
            _ => open(&self.path)?,
        };
        state.torn = true;
        if torn && !text.is_empty() {
            file.write_all(b"\n")?;
        }
        file.write_all(text)?;
        if sync == Flush::Batch {
            file.sync_data()?;
        }
        state.torn = torn && text.is_empty();
        state.file = Some(file);
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().append(true).create(true).open(path)
}

/// False when the path names another file by now, or none.
#[cfg(unix)]
fn is_still(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |data: io::Result<std::fs::Metadata>| data.ok().map(|d| (d.dev(), d.ino()));
    let ours = identity(file.metadata());
    ours.is_some() && ours == identity(std::fs::metadata(path))
}

#[cfg(not(unix))]
fn is_still(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use io::ErrorKind as E;

    use super::*;

    #[test]
    fn r15_errors_mean_what_the_engine_can_do() {
        let cases: [(FailureKind, &[E]); 4] = [
            (FailureKind::Denied, &[E::PermissionDenied, E::ReadOnlyFilesystem]),
            (
                FailureKind::Misconfigured,
                &[
                    E::IsADirectory,
                    E::NotADirectory,
                    E::AlreadyExists,
                    E::InvalidInput,
                    E::InvalidFilename,
                ],
            ),
            (FailureKind::Busy, &[E::StorageFull, E::QuotaExceeded]),
            (FailureKind::Unreachable, &[E::TimedOut, E::Other, E::NotFound, E::Interrupted]),
        ];
        for (kind, errors) in cases {
            for error in errors {
                assert_eq!(kind_of(*error), kind, "{error:?}");
            }
        }
        // The same as Linux numbers them (errno(3)).
        let numbers: [(FailureKind, &[i32]); 4] = [
            (FailureKind::Denied, &[1, 13, 30]),
            (FailureKind::Misconfigured, &[17, 20, 21, 22, 36]),
            (FailureKind::Busy, &[28, 122]),
            (FailureKind::Unreachable, &[2, 4, 5, 6, 11, 12, 19, 23, 24, 110, 116]),
        ];
        for (kind, numbers) in numbers {
            for number in numbers {
                let error = io::Error::from_raw_os_error(*number);
                assert_eq!(kind_of(error.kind()), kind, "{number}: {error}");
            }
        }
    }
}
