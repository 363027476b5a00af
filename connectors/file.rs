//! The `file` sink: records as JSON lines, appended to a local file and synced. It does not rotate
//! files; when something else moves or removes the file, the next batch goes to a new one.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::contract::{
    Body, ConfigError, Confirms, DeliveryError, Env, FailureKind, Outcome, Preview, Record, Sink,
    SinkConfig, private,
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
    /// When lines are forced to the disk: `batch`, the default, waits for the disk before a batch
    /// counts as delivered; all that write to the file then share a sync. `never` leaves it to the
    /// operating system: a power cut can lose what was delivered in the last half minute or so.
    #[serde(default)]
    sync: Flush,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Flush {
    #[default]
    Batch,
    Never,
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
        let private = env.is_private(&path);
        Ok(Arc::new(FileSink { lines: Lines::of(path, private), sync: self.sync }))
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
        self.off_thread(|lines, sync| lines.append(b"", sync)).await
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

    fn confirms(&self) -> Confirms {
        match self.sync {
            Flush::Batch => Confirms::Kept,
            Flush::Never => Confirms::HandedOver,
        }
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

/// One file, for all sinks that write to it: what was written, and what of it is on disk. `synced` is
/// never waited for while `state` is held.
struct Lines {
    path: PathBuf,
    /// Made for its owner only.
    private: bool,
    state: Mutex<State>,
    synced: Mutex<Synced>,
}

#[derive(Default)]
struct State {
    file: Option<Arc<Opened>>,
    /// A write failed half-way, so the last line may be cut off.
    torn: bool,
    /// Times that the file was opened.
    openings: u64,
    /// Appends to the open file.
    written: u64,
}

struct Opened {
    file: File,
    /// Which opening it is.
    opening: u64,
    /// Only regular files are on a disk; a pipe or a terminal can't be synced.
    regular: bool,
}

/// How far a file is on disk.
#[derive(Default)]
struct Synced {
    opening: u64,
    /// Appends that are on disk.
    through: u64,
    /// A sync failed: nobody knows what the disk has of this opening, and a further sync would not say.
    broken: bool,
}

impl Lines {
    /// The one for a path.
    fn of(path: PathBuf, private: bool) -> Arc<Self> {
        static FILES: Mutex<BTreeMap<PathBuf, Weak<Lines>>> = Mutex::new(BTreeMap::new());
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, lines| lines.strong_count() > 0);
        if let Some(lines) = files.get(&path).and_then(Weak::upgrade) {
            return lines;
        }
        let lines = Arc::new(Self {
            path: path.clone(),
            private,
            state: Mutex::default(),
            synced: Mutex::default(),
        });
        files.insert(path, Arc::downgrade(&lines));
        lines
    }

    /// Appends, and with [`Flush::Batch`] returns when it is on disk. Those that wait at the same time
    /// share one sync.
    fn append(&self, text: &[u8], sync: Flush) -> io::Result<()> {
        let (opened, number) = self.write(text, sync)?;
        match sync {
            Flush::Batch if opened.regular => self.sync(&opened, number),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panic could leave behind is only `torn`, which is set before each write.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes, and says to what, as which append.
    fn write(&self, text: &[u8], sync: Flush) -> io::Result<(Arc<Opened>, u64)> {
        let mut state = self.lock();
        let torn = state.torn;
        let opened = match state.file.take() {
            Some(opened) if is_still(&opened.file, &self.path) => opened,
            _ => {
                let file = open(&self.path, sync, self.private)?;
                let regular = file.metadata()?.is_file();
                state.openings += 1;
                state.written = 0;
                Arc::new(Opened { file, opening: state.openings, regular })
            }
        };
        state.torn = true;
        let mut file = &opened.file;
        if torn && !text.is_empty() {
            file.write_all(b"\n")?;
        }
        file.write_all(text)?;
        state.torn = torn && text.is_empty();
        state.written += 1;
        state.file = Some(Arc::clone(&opened));
        Ok((opened, state.written))
    }

    fn sync(&self, opened: &Opened, number: u64) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if synced.opening == opened.opening {
            if synced.broken {
                return Err(io::Error::other(
                    "the disk has refused to sync what was written before",
                ));
            }
            if synced.through >= number {
                return Ok(());
            }
        }
        // All that was written until now is synced with it, unless that went to another file.
        let (latest, through) = {
            let state = self.lock();
            (state.openings, state.written)
        };
        let done = opened.file.sync_data();
        if synced.opening <= opened.opening {
            let through = if latest == opened.opening { through } else { number };
            *synced = Synced { opening: opened.opening, through, broken: done.is_err() };
        }
        if done.is_err() {
            let mut state = self.lock();
            state.file.take_if(|open| open.opening == opened.opening);
        }
        done
    }
}

/// Opens a file to append to it. With [`Flush::Batch`] the names of what is made are on disk, too; a
/// private one is made for its owner only.
fn open(path: &Path, sync: Flush, is_private: bool) -> io::Result<File> {
    match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    let folders = || path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    let missing = folders().take_while(|folder| !folder.exists()).count();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    let options = if is_private { private(&mut options) } else { &mut options };
    let file = options.open(path)?;
    if sync == Flush::Batch {
        folders().take(missing + 1).try_for_each(sync_names)?;
    }
    Ok(file)
}

/// Forces the names in a folder to the disk.
#[cfg(unix)]
fn sync_names(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_names(_: &Path) -> io::Result<()> {
    Ok(())
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

    #[cfg(unix)]
    #[test]
    fn what_is_made_in_a_private_folder_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("tidegate-file-{}", std::process::id()));
        let env = Env { private_dir: Some(folder.clone()), ..Env::default() };
        for (path, private) in [(folder.join("a.jsonl"), true), ("elsewhere".into(), false)] {
            assert_eq!(env.is_private(&path), private, "{}", path.display());
        }
        Lines::of(folder.join("a.jsonl"), true).append(b"{}\n", Flush::Never).expect("a write");
        let mode = std::fs::metadata(folder.join("a.jsonl")).expect("a file").permissions().mode();
        std::fs::remove_dir_all(&folder).expect("a folder");
        assert_eq!(mode & 0o777, 0o600);
    }

    fn lines(folder: &Path) -> Arc<Lines> {
        Lines::of(folder.join("new/folder/lines.jsonl"), false)
    }

    #[test]
    fn those_that_wait_share_a_sync() {
        let folder = tempfile::tempdir().expect("a folder");
        let lines = lines(folder.path());
        let through = || lines.synced.lock().expect("lock").through;
        let (opened, first) = lines.write(b"1\n", Flush::Batch).expect("written");
        let (_, second) = lines.write(b"2\n", Flush::Batch).expect("written");
        assert_eq!((first, second, through()), (1, 2, 0));
        lines.sync(&opened, first).expect("synced");
        assert_eq!(through(), 2, "the first has synced what the second wrote");
        lines.sync(&opened, second).expect("nothing to do");
        assert!(Arc::ptr_eq(&lines, &self::lines(folder.path())), "one for all sinks of the file");

        // What went to a file that was moved away is synced there.
        let (moved, third) = lines.write(b"3\n", Flush::Batch).expect("written");
        std::fs::rename(&lines.path, folder.path().join("moved")).expect("moved");
        let (opened, fourth) = lines.write(b"4\n", Flush::Batch).expect("written");
        assert_eq!((opened.opening, fourth), (2, 1));
        lines.sync(&moved, third).expect("synced");
        lines.sync(&opened, fourth).expect("synced");
        assert_eq!((through(), std::fs::read(&lines.path).expect("lines")), (1, b"4\n".to_vec()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn after_a_sync_that_failed_nobody_trusts_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let lines = lines(folder.path());
        let (_, number) = lines.write(b"1\n", Flush::Batch).expect("written");
        // A device that can't be synced stands for the file.
        let file = File::open("/dev/null").expect("a device");
        let broken = Arc::new(Opened { file, opening: 1, regular: true });
        lines.lock().file = Some(Arc::clone(&broken));
        assert!(lines.sync(&broken, number).is_err());
        let second = lines.sync(&broken, number + 1).expect_err("the same file").to_string();
        assert!(second.contains("before"), "{second}");
        assert!(lines.lock().file.is_none(), "it is opened again");
        lines.append(b"2\n", Flush::Batch).expect("the file works again");
    }

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
