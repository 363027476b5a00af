//! Messages whose evaluation takes too long, also over restarts.
//!
//! The budget of a rule bounds what a message may cost (`limits.sql.work`), so this should never see
//! anything. If something takes long all the same, the daemon says so, and a message that it dies over
//! again and again does not stall every start: it becomes a dead letter.
//!
//! Each thread that evaluates notes where it is, which costs a message a few stores. One thread looks at
//! the notes a few times a second. What has not moved for [`LONG`] is told, and, when the log has the
//! message, written down with how often that has happened; it is taken out when the evaluation ends. What
//! is left in the file at a start is what the daemon ended over.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::atomic_file;

/// The file in the folder of the log.
const FILE: &str = "attempts.json";

/// From then on an evaluation takes too long.
const LONG: Duration = Duration::from_secs(1);

/// How often somebody looks.
const EVERY: Duration = Duration::from_millis(250);

/// How often the daemon may end over a message before the message is given up.
const ATTEMPTS: u32 = 2;

/// No position in the log.
const NOWHERE: u64 = u64::MAX;

/// A message that the daemon has ended over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// Its position in the log.
    position: u64,
    /// The rule that was reading the log. A shard evaluates all rules of a message, and says none.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// How often.
    attempts: u32,
}

/// What is being evaluated.
#[derive(Debug)]
pub(super) struct Watch {
    file: Option<PathBuf>,
    /// What the last runs ended over.
    suspects: Vec<Note>,
    state: Mutex<State>,
    /// Evaluations that take too long at present.
    long: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<Seen>,
    /// What is in the file.
    written: Vec<Note>,
}

/// A thread, as it was when somebody looked last.
#[derive(Debug)]
struct Seen {
    place: Weak<Place>,
    turn: u64,
    since: Instant,
    told: bool,
}

/// Where a thread is; only that thread writes it.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Place {
    rule: Option<Arc<str>>,
    /// Odd while a message is evaluated.
    turn: AtomicU64,
    position: AtomicU64,
}

impl Place {
    /// A message is evaluated from here on.
    pub(super) fn begin(&self, position: Option<u64>) {
        self.position.store(position.unwrap_or(NOWHERE), Ordering::Relaxed);
        self.step();
    }

    /// It was evaluated.
    pub(super) fn end(&self) {
        self.step();
    }

    fn step(&self) {
        self.turn.store(self.turn.load(Ordering::Relaxed) + 1, Ordering::Release);
    }
}

impl Watch {
    /// Over a log in that folder whose oldest message has that position; without a folder nothing is
    /// written down.
    ///
    /// # Errors
    /// What the system says about the file.
    pub(super) fn open(folder: Option<&Path>, oldest: u64) -> io::Result<Self> {
        let file = folder.map(|folder| folder.join(FILE));
        let mut suspects: Vec<Note> = match file.as_ref().map(std::fs::read) {
            // A file that cannot be understood is none: it is written as a whole or not at all.
            Some(Ok(text)) => serde_json::from_slice(&text).unwrap_or_default(),
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => Vec::new(),
        };
        suspects.retain(|note| note.position >= oldest);
        for Note { position, rule, attempts } in &suspects {
            let rule = rule.as_deref();
            tracing::warn!(
                position,
                rule,
                attempts,
                "the daemon ended while this message of the spool was being evaluated"
            );
        }
        let state = State { seen: Vec::new(), written: suspects.clone() };
        Ok(Self { file, suspects, state: Mutex::new(state), long: AtomicU64::new(0) })
    }

    /// The place of a thread that evaluates; of all rules, or of one that reads the log.
    pub(super) fn place(&self, rule: Option<Arc<str>>) -> Arc<Place> {
        let (turn, position) = (AtomicU64::new(0), AtomicU64::new(NOWHERE));
        let place = Arc::new(Place { rule, turn, position });
        let seen =
            Seen { place: Arc::downgrade(&place), turn: 0, since: Instant::now(), told: false };
        self.state.lock().unwrap_or_else(PoisonError::into_inner).seen.push(seen);
        place
    }

    /// How often the daemon has ended over a message of the log, when it is too often for this rule to
    /// evaluate it once more.
    pub(super) fn gives_up(&self, position: u64, rule: &str) -> Option<u32> {
        let of = |note: &&Note| {
            note.position == position && note.rule.as_deref().is_none_or(|other| other == rule)
        };
        let attempts = self.suspects.iter().filter(of).map(|note| note.attempts).sum();
        (attempts >= ATTEMPTS).then_some(attempts)
    }

    /// Evaluations that take too long at present.
    pub(super) fn long(&self) -> u64 {
        self.long.load(Ordering::Relaxed)
    }

    /// Starts the thread that looks at what is being evaluated, until nobody evaluates any more.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn keep_looking(self: &Arc<Self>) -> io::Result<()> {
        let watch = Arc::downgrade(self);
        let look = move || {
            while let Some(watch) = watch.upgrade() {
                watch.look(Instant::now());
                drop(watch);
                std::thread::park_timeout(EVERY);
            }
        };
        std::thread::Builder::new().name("watch".into()).spawn(look).map(drop)
    }

    /// Looks where the threads are, and writes down what takes too long.
    fn look(&self, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut long = 0;
        let mut notes = self.suspects.clone();
        state.seen.retain_mut(|seen| {
            let Some(place) = seen.place.upgrade() else { return false };
            let turn = place.turn.load(Ordering::Acquire);
            let position = place.position.load(Ordering::Acquire);
            if turn != seen.turn {
                *seen = Seen { place: seen.place.clone(), turn, since: now, told: false };
            } else if turn % 2 == 1 && now.saturating_duration_since(seen.since) >= LONG {
                long += 1;
                let (rule, message) = (place.rule.as_deref(), (position != NOWHERE).then_some(position));
                if !std::mem::replace(&mut seen.told, true) {
                    tracing::error!(
                        rule,
                        position = message,
                        "a message is being evaluated for more than {LONG:?}; others of its shard wait"
                    );
                }
                if let Some(position) = message {
                    count(&mut notes, &self.suspects, position, rule);
                }
            }
            true
        });
        self.long.store(long, Ordering::Relaxed);
        if notes == state.written {
            return;
        }
        let Some(file) = &self.file else { return };
        match write(file, &notes) {
            Ok(()) => state.written = notes,
            Err(error) => tracing::error!(%error, "cannot write {}", file.display()),
        }
    }
}

/// Counts one attempt more than the last runs have left.
fn count(notes: &mut Vec<Note>, before: &[Note], position: u64, rule: Option<&str>) {
    let same = |note: &&Note| note.position == position && note.rule.as_deref() == rule;
    let attempts = before.iter().find(same).map_or(1, |note| note.attempts + 1);
    let note = Note { position, rule: rule.map(str::to_owned), attempts };
    match notes.iter_mut().find(|other| same(&&**other)) {
        Some(other) => *other = note,
        None => notes.push(note),
    }
}

/// Puts the notes in the place of the earlier ones, durably, all or none.
fn write(file: &Path, notes: &[Note]) -> io::Result<()> {
    let text = serde_json::to_vec(notes)?;
    atomic_file::replace(file, |out| out.write_all(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run that ends while a message is evaluated, after `look`.
    fn run(folder: &Path, rule: Option<&str>, ends: bool) -> Watch {
        let watch = Watch::open(Some(folder), 0).expect("the file");
        let place = watch.place(rule.map(Into::into));
        place.begin(Some(7));
        let now = Instant::now();
        watch.look(now);
        assert_eq!(watch.long(), 0, "it has just begun");
        watch.look(now + LONG * 2);
        assert_eq!(watch.long(), 1);
        if ends {
            place.end();
            watch.look(now + LONG * 3);
            assert_eq!(watch.long(), 0);
        }
        Watch::open(Some(folder), 0).expect("the file")
    }

    #[test]
    fn a_message_is_given_up_after_two_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        let next = run(folder.path(), None, false);
        assert_eq!(next.gives_up(7, "a"), None, "once may be chance");
        let next = run(folder.path(), Some("a"), false);
        assert_eq!(next.gives_up(7, "a"), Some(2));
        assert_eq!(next.gives_up(7, "b"), None, "other rules have done nothing");
        assert_eq!(next.gives_up(8, "a"), None);
        let gone = Watch::open(Some(folder.path()), 8).expect("the file");
        assert_eq!(gone.gives_up(7, "a"), None, "the log does not have it any more");
    }

    #[test]
    fn what_ends_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        run(folder.path(), None, true);
        let next = run(folder.path(), None, true);
        assert_eq!(next.gives_up(7, "a"), None);
        assert_eq!(next.suspects, []);
    }

    #[test]
    fn without_a_log_it_is_told_only() {
        let watch = Watch::open(None, 0).expect("no file");
        let place = watch.place(None);
        place.begin(None);
        let now = Instant::now();
        watch.look(now);
        watch.look(now + LONG);
        assert_eq!(watch.long(), 1);
        drop(place);
        watch.look(now + LONG);
        assert_eq!(watch.long(), 0);
    }
}
