//! Going through the records of one segment, over whatever stands between them.
//!
//! A walk verifies all that it gives out, always moves forward, and holds one window of the file. It
//! does not know where a segment's records end in number; its users do.

use std::io;
use std::sync::Arc;

use super::frame::{HEAD, Head};
use super::fs::File;
use super::segment::read_full;

/// Bytes that are read at once; more only for a record that is longer.
const WINDOW: usize = 256 << 10;
/// What is read at once where a larger read failed: the unit in which disks fail.
const BLOCK: usize = 4096;

/// What comes next in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A record whose checksums are right; [`Walk::body`] has it until the next call.
    Record {
        /// Its number in the segment.
        nth: u64,
        /// Where its head starts, in bytes.
        at: u64,
        /// Whether it starts a group commit.
        first: bool,
        /// Where something that is no sound record starts between it and the one before.
        damage: Option<u64>,
    },
    /// No further record.
    End {
        /// Where something other than zeros starts behind the last record.
        damage: Option<u64>,
    },
}

/// The walk.
pub(super) struct Walk {
    file: Arc<dyn File>,
    salt: u64,
    /// Where the next head is expected.
    at: u64,
    /// The lowest number that the next record may have.
    next: u64,
    window: Vec<u8>,
    window_at: u64,
    body: std::ops::Range<u64>,
}

impl Walk {
    /// Starts where a head is, or at the end of the segment's records.
    pub(super) fn new(file: Arc<dyn File>, salt: u64, at: u64, next: u64) -> Self {
        Self { file, salt, at, next, window: Vec::new(), window_at: 0, body: 0..0 }
    }

    /// The next record among the bytes before `end`.
    pub(super) fn next(&mut self, end: u64) -> Found {
        let mut damage = None;
        loop {
            if let Some(head) = self.head(self.at, end) {
                let at = self.at;
                self.at += head.span();
                self.next = u64::from(head.nth) + 1;
                self.body = at + HEAD as u64..self.at;
                if self.load(self.body.clone()) && crc32fast::hash(self.body()) == head.body {
                    let nth = u64::from(head.nth);
                    return Found::Record { nth, at, first: head.first, damage };
                }
                // The head is sound, so the next record starts behind this body.
                damage.get_or_insert(at);
                continue;
            }
            let at = self.at;
            match self.search(end) {
                Search::Head => damage = damage.or(Some(at)),
                Search::Rubbish => return Found::End { damage: damage.or(Some(at)) },
                Search::Zeros => return Found::End { damage },
            }
        }
    }

    /// The body of the record that [`Walk::next`] gave.
    pub(super) fn body(&self) -> &[u8] {
        let bytes = self.body.start.checked_sub(self.window_at).and_then(|from| {
            let from = usize::try_from(from).ok()?;
            self.window.get(from..from + usize::try_from(self.body.end - self.body.start).ok()?)
        });
        bytes.unwrap_or_default()
    }

    /// A sound head at an offset that fits into what is before `end` and does not go back.
    fn head(&mut self, at: u64, end: u64) -> Option<Head> {
        let (salt, next) = (self.salt, self.next);
        let head = Head::parse(salt, self.view(at, HEAD, end))?;
        (u64::from(head.nth) >= next && at + head.span() <= end).then_some(head)
    }

    /// Moves to the next sound head behind the current place.
    fn search(&mut self, end: u64) -> Search {
        let (salt, next, start) = (self.salt, self.next, self.at);
        let (mut at, mut rubbish) = (start, false);
        loop {
            let view = self.view(at, HEAD, end);
            if view.len() < HEAD {
                rubbish |= view.iter().any(|byte| *byte != 0);
                return if rubbish { Search::Rubbish } else { Search::Zeros };
            }
            let Some(zeros) = view.iter().position(|byte| *byte != 0) else {
                // The length comes first in a head; at most three of its bytes are zero.
                at += view.len() as u64 - 3;
                continue;
            };
            rubbish = true;
            let from = zeros.saturating_sub(3).max(usize::from(at == start));
            let last = view.len() - HEAD;
            let found = (from..=last).find(|&from| {
                let head = view.get(from..).and_then(|bytes| Head::parse(salt, bytes));
                head.is_some_and(|head| {
                    u64::from(head.nth) >= next && at + from as u64 + head.span() <= end
                })
            });
            if let Some(found) = found {
                self.at = at + found as u64;
                return Search::Head;
            }
            at += last as u64 + 1;
        }
    }

    /// Brings a range into the window; false when the file ends before.
    fn load(&mut self, range: std::ops::Range<u64>) -> bool {
        let Ok(need) = usize::try_from(range.end - range.start) else { return false };
        self.view(range.start, need, range.end).len() >= need
    }

    /// What the window has from an offset on: at least `need` bytes, or all before `end`.
    fn view(&mut self, at: u64, need: usize, end: u64) -> &[u8] {
        let has = self.window_at + self.window.len() as u64;
        let covered = at >= self.window_at && (at + need as u64).min(end) <= has;
        if !covered {
            let most = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            self.window.clear();
            self.window.shrink_to(WINDOW);
            self.window.resize(need.max(WINDOW).min(most), 0);
            let read = read_around(&*self.file, &mut self.window, at);
            self.window.truncate(read);
            self.window_at = at;
        }
        let from = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        let until = usize::try_from(end.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        self.window.get(from..until.min(self.window.len())).unwrap_or_default()
    }
}

enum Search {
    /// The walk stands at a head.
    Head,
    /// There is none, but something else than zeros.
    Rubbish,
    /// There are only zeros.
    Zeros,
}

/// Reads as much as there is. What cannot be read is taken for zeros, block by block, so that a bad
/// sector costs the records in it and no others.
fn read_around(file: &dyn File, into: &mut [u8], offset: u64) -> usize {
    let whole: io::Result<usize> = read_full(file, into, offset);
    if let Ok(read) = whole {
        return read;
    }
    let mut read = 0;
    for block in into.chunks_mut(BLOCK) {
        match read_full(file, block, offset + read as u64) {
            Ok(part) => {
                read += part;
                if part < block.len() {
                    break;
                }
            }
            Err(_) => {
                block.fill(0);
                read += block.len();
            }
        }
    }
    read
}
