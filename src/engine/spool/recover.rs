//! Opening a folder: what is there, what of it is whole, where the log goes on.
//!
//! Nothing is changed before every version is known to be this program's. What is found is made durable
//! before it is served, so that opening again finds the same. Only the headers and the last segment are
//! read; the other segments' ends stand in the headers of those behind them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::cursor::Place;
use super::fs::{Fs, Lock};
use super::ledger::{Ledger, Opened, Snapshot};
use super::limits::{LimitsError, SpoolLimits};
use super::segment::{FORMAT, HEADER, Header, HeaderFound, Identity, read_full, read_header};
use super::shared::{Index, Segment, State};
use super::walk::{Found, Walk};

/// Bytes of a group commit that are written again at once.
const AGAIN_BYTES: usize = 1 << 20;

/// What opening a spool found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records in the log, as far as the headers say.
    pub records: u64,
    /// Segments with records.
    pub segments: usize,
    /// Cursors in the ledger.
    pub cursors: usize,
    /// Bytes of an unfinished group commit that were cut from the end. Nothing of it was acknowledged.
    pub torn_bytes: u64,
    /// Places in the last segment where a record is damaged; it is skipped.
    pub damaged: u64,
    /// Positions `from..to` whose records are missing although a cursor had them ahead.
    pub missing: Vec<(u64, u64)>,
    /// Files with a segment's name that are not used: copies, renamed to end in `.aside`.
    pub aside: Vec<String>,
    /// Both slots of the ledger are damaged or out of date: cursors that it does not know start at the
    /// oldest record, so that what they had ahead is delivered (again) rather than lost.
    pub cursors_lost: bool,
}

/// Why a spool cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the folder.
    #[error(
        "another process has this spool open; stop it, or give this daemon a data folder of its own"
    )]
    Locked,
    /// A file was written by another version.
    #[error(
        "{file} has format {found}, this program reads format {FORMAT}; run the version of Tidegate that wrote it until the spool is empty (`tidegate spool status`), or move the folder away to start without its records"
    )]
    Version {
        /// The file's name in the folder.
        file: String,
        /// Its version.
        found: u32,
    },
    /// The limits contradict each other.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The system refused something that opening needs.
    #[error(
        "cannot open the spool: {doing}: {source}; check that the folder exists, is writable and has space"
    )]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What a writer starts from.
pub(super) struct Start {
    pub lock: Box<dyn Lock>,
    pub ledger: Ledger,
    pub state: State,
    pub report: Recovered,
    /// The position of the next record.
    pub next: u64,
    /// The serial of the next segment.
    pub serial: u64,
    /// Files to delete once the next segment is durable.
    pub graves: Vec<String>,
}

struct Candidate {
    name: String,
    identity: Identity,
    header: Option<Header>,
}

fn io_error(doing: &'static str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { doing, source }
}

/// Reads a folder.
///
/// # Errors
/// An [`OpenError`]; damage is none.
pub(super) fn recover(fs: &dyn Fs, limits: &SpoolLimits) -> Result<Start, OpenError> {
    limits.check()?;
    let lock = fs.lock().map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked,
        _ => OpenError::Io { doing: "locking the folder", source },
    })?;
    let names = fs.list().map_err(io_error("listing the folder"))?;
    let candidates = candidates(fs, &names)?;
    let mut report = Recovered::default();
    let serial = candidates
        .iter()
        .map(|one| one.identity.serial)
        .max()
        .map_or(0, |last| last.saturating_add(1));
    let known = candidates.iter().filter_map(|one| one.header).map(|header| header.ledger).max();
    let (mut ledger, snapshot) =
        match Ledger::open(fs, &names).map_err(io_error("opening the ledger"))? {
            Opened::Found(ledger, snapshot) => (ledger, Some(snapshot)),
            Opened::New(ledger) | Opened::Damaged(ledger) => (ledger, None),
            Opened::Other(found) => {
                return Err(OpenError::Version { file: "the ledger of cursors".to_owned(), found });
            }
        };
    let stale = snapshot.as_ref().is_none_or(|snapshot| snapshot.generation < known.unwrap_or(0));
    report.cursors_lost = stale && !candidates.is_empty();
    ledger.skip_to(known.unwrap_or(0));
    let snapshot = snapshot.unwrap_or_default();
    let (kept, mut graves) = choose(fs, candidates, &mut report);
    let mut segments =
        chain(fs, &kept, &snapshot, &mut report).map_err(io_error("reading the last segment"))?;
    fs.sync_names().map_err(io_error("syncing the folder"))?;
    let end = segments.last().map_or(0, |last| last.end);
    let cursors = snapshot.cursors.iter().map(|(_, position)| *position);
    // Positions that were given away with a lost tail are not given again: cursors may be behind them.
    let next = cursors.clone().fold(end.max(snapshot.end), u64::max);
    let lowest = cursors.min().unwrap_or(if report.cursors_lost { 0 } else { next });
    report.missing = missing(&segments, lowest, next);
    segments.retain(|segment| {
        let empty = segment.end == segment.identity.base;
        if empty {
            graves.push(segment.name.clone());
        }
        !empty
    });
    report.segments = segments.len();
    report.records = segments.iter().map(|segment| segment.end - segment.identity.base).sum();
    report.cursors = snapshot.cursors.len();
    let places = snapshot.cursors.iter();
    let state = State {
        segments: segments.into_iter().map(|segment| (segment.identity.base, segment)).collect(),
        places: places
            .map(|(name, position)| (name.clone(), Place::new(name.clone(), *position)))
            .collect(),
        ..State::default()
    };
    Ok(Start { lock, ledger, state, report, next, serial, graves })
}

/// All files that are segments, or were.
fn candidates(fs: &dyn Fs, names: &[String]) -> Result<Vec<Candidate>, OpenError> {
    let mut found = Vec::new();
    for name in names {
        let Some(named) = Identity::parse(name) else { continue };
        let (identity, header) =
            match read_header(fs, name).map_err(io_error("opening a segment"))? {
                HeaderFound::Good(header) => (header.identity, Some(header)),
                HeaderFound::None => (named, None),
                HeaderFound::Other(found) => {
                    return Err(OpenError::Version { file: name.clone(), found });
                }
            };
        found.push(Candidate { name: name.clone(), identity, header });
    }
    Ok(found)
}

/// One file for each base, ascending; copies are set aside.
fn choose(
    fs: &dyn Fs,
    candidates: Vec<Candidate>,
    report: &mut Recovered,
) -> (Vec<Candidate>, Vec<String>) {
    let mut graves = Vec::new();
    // No two segments have the same salt.
    let mut by_salt: BTreeMap<u64, Candidate> = BTreeMap::new();
    for candidate in candidates {
        let better = |one: &Candidate| (one.header.is_some(), one.name == one.identity.name());
        let salt = candidate.identity.salt;
        let copy = match by_salt.remove(&salt) {
            Some(other) if better(&other) >= better(&candidate) => {
                by_salt.insert(salt, other);
                Some(candidate)
            }
            other => {
                by_salt.insert(salt, candidate);
                other
            }
        };
        if let Some(copy) = copy {
            let aside = format!("{}.aside", copy.name);
            // When it stays in the way it is found and ignored again.
            fs.rename(&copy.name, &aside).ok();
            report.aside.push(aside);
        }
    }
    let mut sorted: Vec<Candidate> = by_salt.into_values().collect();
    sorted.sort_by_key(|candidate| candidate.identity);
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in sorted {
        // Sorted by base, then serial: the later one holds what was acknowledged.
        if kept.last().is_some_and(|last| last.identity.base == candidate.identity.base) {
            graves.extend(kept.pop().map(|given_up| given_up.name));
        }
        kept.push(candidate);
    }
    (kept, graves)
}

/// Finds where each segment ends: by the header behind it, or for the last one by reading it.
fn chain(
    fs: &dyn Fs,
    kept: &[Candidate],
    snapshot: &Snapshot,
    report: &mut Recovered,
) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for (n, candidate) in kept.iter().enumerate() {
        let base = candidate.identity.base;
        let file = fs.open(&candidate.name)?;
        let mut segment = Segment {
            identity: candidate.identity,
            name: candidate.name.clone(),
            end: base,
            bytes: file.size()?.max(HEADER),
            created_ms: candidate.header.map_or(0, |header| header.created_ms),
            index: Arc::new(Index::default()),
        };
        if let Some(behind) = kept.get(n + 1) {
            let said = match behind.header {
                Some(header) if header.before_base == base => header.before_end,
                // A segment between the two is missing; this one ends where that one began, or before.
                Some(header) if header.before_base > base => header.before_base,
                _ => behind.identity.base,
            };
            segment.end = said.clamp(base, behind.identity.base);
        } else {
            let tail = read_tail(file.clone(), &segment, snapshot.end);
            report.damaged += tail.damaged;
            report.torn_bytes += tail.torn_bytes;
            segment.end = tail.end;
            segment.bytes = tail.bytes;
            // What a killed process left in the page cache has to be on disk before it is served. After
            // a failed sync the cache takes it for written, so the last group commit, which alone may be
            // in doubt, is written again.
            write_again(&*file, tail.group_at..tail.bytes)?;
            file.sync()?;
            // Only gives reserved space back; the end stands in the next header.
            if file.set_len(tail.bytes).is_ok() {
                file.sync()?;
            }
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// Writes what a file holds to where it stands.
fn write_again(file: &dyn super::fs::File, range: std::ops::Range<u64>) -> io::Result<()> {
    let mut at = range.start;
    let mut block = vec![0; AGAIN_BYTES];
    while at < range.end {
        let most = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(AGAIN_BYTES);
        let part = block.get_mut(..most).unwrap_or_default();
        // What cannot be read is on no disk; it was found damaged.
        let read = read_full(file, part, at).unwrap_or(0);
        if read == 0 {
            break;
        }
        file.write_at(part.get(..read).unwrap_or_default(), at)?;
        at += read as u64;
    }
    Ok(())
}

struct Tail {
    end: u64,
    bytes: u64,
    /// Where the last group commit starts, in bytes.
    group_at: u64,
    damaged: u64,
    torn_bytes: u64,
}

/// Reads the last segment to its end. Damage before a later group commit, or before a position that is
/// known to have been durable, is damage: what follows it stays. Damage in the last group commit is
/// that of a write that never finished: nothing of it was acknowledged, and it is cut there, so that
/// what is resent is not overtaken by a part of it.
fn read_tail(file: Arc<dyn super::fs::File>, segment: &Segment, durable: u64) -> Tail {
    let base = segment.identity.base;
    let mut walk = Walk::new(file, segment.identity.salt, HEADER, 0);
    let mut tail = Tail { end: base, bytes: HEADER, group_at: HEADER, damaged: 0, torn_bytes: 0 };
    // Where the log would be cut, and how much damage was before.
    let mut open: Option<Tail> = None;
    loop {
        match walk.next(segment.bytes) {
            Found::Record { nth, at, first, damage } => {
                let position = base.saturating_add(nth);
                if damage.is_some() || position > tail.end {
                    let cut = Tail { torn_bytes: segment.bytes, ..tail };
                    open = open.or((tail.end >= durable).then_some(cut));
                    tail.damaged += 1;
                }
                if first || position < durable {
                    open = None;
                }
                if first {
                    tail.group_at = at;
                }
                tail.end = position.saturating_add(1);
                tail.bytes = at + super::frame::HEAD as u64 + walk.body().len() as u64;
                segment.index.note(nth, at);
            }
            Found::End { damage } => {
                let mut found = open.take().unwrap_or(tail);
                let rubbish = damage.is_some() || found.torn_bytes > 0;
                found.torn_bytes =
                    if rubbish { segment.bytes.saturating_sub(found.bytes) } else { 0 };
                return found;
            }
        }
    }
}

/// The ranges between `lowest` and `next` that no segment covers.
fn missing(segments: &[Segment], lowest: u64, next: u64) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut at = lowest;
    for segment in segments {
        if segment.identity.base > at {
            ranges.push((at, segment.identity.base));
        }
        at = at.max(segment.end);
    }
    if next > at {
        ranges.push((at, next));
    }
    ranges
}
