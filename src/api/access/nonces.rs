//! The nonces that were used: each works once within the window, also after a restart.
//!
//! It checks no signature: only requests with a good one get here, so nobody can fill it for others.
//!
//! The log has one entry of [`ENTRY`] bytes for each request: minute of the request's time (4), print
//! of the key (4), print of key and nonce (12), CRC-32 of the rest (4). There are two generations of
//! [`GENERATION_MINUTES`]: an entry that is needed is never older than that, so the one before the last
//! can go. Entries are written at once but not synced: a crash of the daemon loses none, a power cut
//! loses those that the system had not written yet, some half a minute.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use connectors::contract::private;
use sha2::{Digest as _, Sha256};

use super::{Refused, Stamp, WINDOW_MINUTES};

/// Nonces of one key that are kept, unless configured otherwise: 5000 requests per second over the
/// window. Each takes some 20 to 40 bytes of memory and 24 of disk.
pub const NONCES_MAX: usize = 5_000_000;

/// Bytes of an entry in the log.
const ENTRY: usize = 24;

/// A request's time may be a window ahead, and is remembered for a window after it.
const GENERATION_MINUTES: u64 = 2 * WINDOW_MINUTES;

const MINUTE_MS: u64 = 60_000;

/// What the files are called, before the number of the generation.
const NAME: &str = "nonces-";

/// Key and nonce, hashed.
type Print = [u8; 12];

/// The nonces that were used within the window.
#[derive(Debug)]
pub struct Nonces {
    max: usize,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    keys: HashMap<u32, Window>,
    /// The minute up to which all keys were tidied.
    tidied: u64,
    log: Option<Log>,
}

/// What one key has used.
#[derive(Debug, Default)]
struct Window {
    count: usize,
    /// By the minute of the request's own time: whole minutes are forgotten at once.
    minutes: BTreeMap<u64, HashSet<Print>>,
}

impl Window {
    /// Forgets the minutes before one.
    fn tidy(&mut self, oldest: u64) {
        let kept = self.minutes.split_off(&oldest);
        self.count -= self.minutes.values().map(HashSet::len).sum::<usize>();
        self.minutes = kept;
    }

    fn insert(&mut self, minute: u64, print: Print) {
        self.count += usize::from(self.minutes.entry(minute).or_default().insert(print));
    }
}

/// The first minute whose requests are still accepted.
fn oldest_minute(now_ms: u64) -> u64 {
    (now_ms / MINUTE_MS).saturating_sub(WINDOW_MINUTES)
}

impl Nonces {
    /// Keeps at most `max` nonces of each key, until the process ends.
    #[must_use]
    pub fn in_memory(max: usize) -> Self {
        Self { max, used: Mutex::default() }
    }

    /// The same, and writes them to files in a folder, from which it reads those of the last run.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(folder: &Path, max: usize, now_ms: u64) -> io::Result<Self> {
        let mut used = Used::default();
        let current = now_ms / MINUTE_MS / GENERATION_MINUTES;
        let mut last = current;
        for file in std::fs::read_dir(folder)? {
            let file = file?;
            let name = file.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(NAME)?.parse().ok());
            let Some(generation) = number else { continue };
            if generation + 1 < current {
                std::fs::remove_file(file.path())?;
                continue;
            }
            used.recover(&file.path(), max, oldest_minute(now_ms))?;
            last = last.max(generation);
        }
        used.log = Some(Log::open(folder, last)?);
        Ok(Self { max, used: Mutex::new(used) })
    }

    /// Marks the nonce of a request as used.
    ///
    /// # Errors
    /// [`Refused::Throttled`] when too many are kept.
    pub fn claim(&self, stamp: &Stamp<'_>, now_ms: u64) -> Result<(), Refused> {
        let (key, print) = prints(stamp);
        // A thread that panicked while it held the lock left what it protects usable.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.tidy(now_ms);
        let window = used.keys.entry(key).or_default();
        if window.minutes.values().any(|minute| minute.contains(&print)) {
            return Err(Refused::NonceUsed);
        }
        if window.count >= self.max {
            let max = self.max;
            let text = format!("more than {max} requests of one key in {WINDOW_MINUTES} minutes");
            return Err(Refused::Throttled(text));
        }
        let minute = stamp.time_ms / MINUTE_MS;
        window.insert(minute, print);
        if let Some(log) = &mut used.log {
            log.append(&entry(minute, key, print), now_ms);
        }
        Ok(())
    }
}

impl Used {
    /// Forgets what is out of the window, once a minute.
    fn tidy(&mut self, now_ms: u64) {
        let oldest = oldest_minute(now_ms);
        if oldest <= self.tidied {
            return;
        }
        self.tidied = oldest;
        self.keys.retain(|_, window| {
            window.tidy(oldest);
            window.count > 0
        });
    }

    /// Reads a file of the log. An entry that is damaged is left out; the others count.
    fn recover(&mut self, path: &Path, max: usize, oldest: u64) -> io::Result<()> {
        let mut file = BufReader::new(File::open(path)?);
        let mut bytes = [0; ENTRY];
        loop {
            match file.read_exact(&mut bytes) {
                Ok(()) => {}
                Err(problem) if problem.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(problem) => return Err(problem),
            }
            let Some((minute, key, print)) = read_entry(&bytes) else { continue };
            if minute < oldest {
                continue;
            }
            let window = self.keys.entry(key).or_default();
            if window.count < max {
                window.insert(minute, print);
            }
        }
    }
}

fn prints(stamp: &Stamp<'_>) -> (u32, Print) {
    let key = Sha256::digest(stamp.key_id.as_bytes());
    let mut both = Sha256::new();
    both.update(key);
    both.update(stamp.nonce.as_bytes());
    let (mut short, mut print) = ([0; 4], [0; 12]);
    short.copy_from_slice(&key[..4]);
    print.copy_from_slice(&both.finalize()[..12]);
    (u32::from_le_bytes(short), print)
}

fn entry(minute: u64, key: u32, print: Print) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    // Enough minutes for eight thousand years.
    bytes[..4].copy_from_slice(&u32::try_from(minute).unwrap_or(u32::MAX).to_le_bytes());
    bytes[4..8].copy_from_slice(&key.to_le_bytes());
    bytes[8..20].copy_from_slice(&print);
    let sum = crc32fast::hash(&bytes[..20]);
    bytes[20..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn read_entry(bytes: &[u8; ENTRY]) -> Option<(u64, u32, Print)> {
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
    };
    if word(20)? != crc32fast::hash(&bytes[..20]) {
        return None;
    }
    Some((u64::from(word(0)?), word(4)?, bytes.get(8..20)?.try_into().ok()?))
}

/// The file that is written.
#[derive(Debug)]
struct Log {
    folder: PathBuf,
    generation: u64,
    file: File,
    /// Bytes of whole entries.
    length: u64,
    failing: bool,
}

impl Log {
    fn open(folder: &Path, generation: u64) -> io::Result<Self> {
        let path = folder.join(format!("{NAME}{generation}"));
        let file = private(std::fs::OpenOptions::new().create(true).append(true)).open(path)?;
        // The end of a file may be half an entry, after which the next would be out of step.
        let length = file.metadata()?.len();
        let length = length - length % ENTRY as u64;
        file.set_len(length)?;
        Ok(Self { folder: folder.to_owned(), generation, file, length, failing: false })
    }

    /// Writes an entry. A disk that does not take it keeps nobody from working: the nonce counts until
    /// the process ends, and the log says so.
    fn append(&mut self, entry: &[u8; ENTRY], now_ms: u64) {
        match self.try_append(entry, now_ms) {
            Ok(()) => self.failing = false,
            Err(problem) if !self.failing => {
                self.failing = true;
                let folder = self.folder.display();
                tracing::error!(
                    "nonces cannot be written to {folder}: {problem}; after a restart, requests of the last {WINDOW_MINUTES} minutes could be sent again"
                );
            }
            Err(_) => {}
        }
    }

    fn try_append(&mut self, entry: &[u8; ENTRY], now_ms: u64) -> io::Result<()> {
        let current = now_ms / MINUTE_MS / GENERATION_MINUTES;
        if current > self.generation {
            let old = self.generation;
            *self = Self { failing: self.failing, ..Self::open(&self.folder, current)? };
            for gone in [old.checked_sub(1), Some(old).filter(|old| old + 1 < current)] {
                let Some(gone) = gone else { continue };
                match std::fs::remove_file(self.folder.join(format!("{NAME}{gone}"))) {
                    Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
                        return Err(problem);
                    }
                    _ => {}
                }
            }
        }
        if let Err(problem) = self.file.write_all(entry) {
            // What was written of it must not stay.
            self.file.set_len(self.length).ok();
            return Err(problem);
        }
        self.length += ENTRY as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::WINDOW_MS;
    use super::*;

    const START: u64 = 100 * WINDOW_MS;

    fn stamp(nonce: &str, time_ms: u64) -> Stamp<'_> {
        Stamp { key_id: "k", nonce, time_ms }
    }

    fn outcome(result: Result<(), Refused>) -> &'static str {
        match result {
            Ok(()) => "OK",
            Err(Refused::NonceUsed) => "used",
            Err(Refused::Throttled(_)) => "throttled",
        }
    }

    #[test]
    fn a_nonce_works_once_within_the_window() {
        let nonces = Nonces::in_memory(2);
        let at = |nonce, time_ms, now_ms| outcome(nonces.claim(&stamp(nonce, time_ms), now_ms));
        assert_eq!(at("a", START, START), "OK");
        assert_eq!(at("a", START + MINUTE_MS, START), "used");
        let other = Stamp { key_id: "other", ..stamp("a", START) };
        nonces.claim(&other, START).expect("another key");
        assert_eq!(at("b", START + 2 * MINUTE_MS, START), "OK");
        assert_eq!(at("c", START, START), "throttled");
        // As long as the request itself would be accepted, its nonce is remembered.
        let last = START + WINDOW_MS;
        assert_eq!(at("a", last, last), "used");
        assert_eq!(at("a", last + MINUTE_MS, last + MINUTE_MS), "OK");
        assert_eq!(nonces.used.lock().expect("free").keys.len(), 1, "the other is forgotten");
    }

    #[test]
    fn a_restart_forgets_nothing_that_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let open = |now_ms| Nonces::open(path, 3, now_ms).expect("opened");
        let nonces = open(START);
        nonces.claim(&stamp("a", START), START).expect("first");
        nonces.claim(&stamp("b", START + WINDOW_MS), START).expect("second, ahead of time");
        drop(nonces);
        let nonces = open(START + 1);
        assert_eq!(outcome(nonces.claim(&stamp("a", START), START)), "used");
        nonces.claim(&stamp("c", START), START).expect("third");
        assert_eq!(outcome(nonces.claim(&stamp("d", START), START)), "throttled");
        drop(nonces);

        // Half an entry and a damaged one are left out; what follows them counts.
        let file = path.join(format!("{NAME}{}", START / MINUTE_MS / GENERATION_MINUTES));
        let mut bytes = std::fs::read(&file).expect("read");
        assert_eq!(bytes.len(), 3 * ENTRY);
        bytes[3] ^= 1;
        bytes.extend([7; ENTRY - 1]);
        std::fs::write(&file, &bytes).expect("written");
        let nonces = open(START);
        assert_eq!(outcome(nonces.claim(&stamp("c", START), START)), "used");
        nonces.claim(&stamp("a", START), START).expect("its entry was damaged");
        assert_eq!(std::fs::metadata(&file).expect("there").len(), 4 * ENTRY as u64);
        drop(nonces);

        // The next generation still knows what was ahead of time; the one after it starts afresh.
        let next = START + 2 * WINDOW_MS - 1;
        let nonces = open(next);
        assert_eq!(outcome(nonces.claim(&stamp("b", START + WINDOW_MS), next)), "used");
        nonces.claim(&stamp("e", next + 1), next + 1).expect("a generation on");
        nonces.claim(&stamp("f", next + 3 * WINDOW_MS), next + 3 * WINDOW_MS).expect("later");
        assert!(!file.exists());
        let files = std::fs::read_dir(path).expect("read").count();
        assert!(files <= 2, "{files} files");
    }
}
