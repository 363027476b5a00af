//! The file of cursors: two slots, of which one is always whole on disk.
//!
//! The slot that is not the durable one is written over as often as wanted (a killed process loses
//! nothing of it). When it is synced the two change places. The content has a generation, the end of
//! the log as it was durable then, and every cursor's name and position, under one CRC-32.

use std::io;
use std::sync::Arc;

use super::frame::{u32_at, u64_at};
use super::fs::{File, Fs};
use super::segment::read_full;

const NAMES: [&str; 2] = ["cursors.a", "cursors.b"];
const MAGIC: &[u8; 8] = b"TGLEDGR\0";
const FORMAT: u32 = 1;
const HEAD: usize = 32;
/// Reserved for a slot, so that some thousand cursors move on a full disk too.
const RESERVED: u64 = 64 << 10;
/// The longest content that is believed, in bytes.
const CONTENT_MAX: usize = 256 << 20;

/// Every cursor at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Counts the contents ever written.
    pub generation: u64,
    /// The position behind the last record that was durable in the log.
    pub end: u64,
    /// Names and positions.
    pub cursors: Vec<(Arc<str>, u64)>,
}

/// The two slots.
pub(super) struct Ledger {
    files: [Arc<dyn File>; 2],
    /// The slot that may be written over.
    scratch: usize,
    generation: u64,
    durable: u64,
    /// The content: names and places stay, numbers are written over.
    bytes: Vec<u8>,
    /// Where the position of each cursor stands in `bytes`.
    offsets: Vec<usize>,
}

/// What opening a ledger found.
pub(super) enum Opened {
    /// The ledger, and its newest content.
    Found(Ledger, Snapshot),
    /// The slots were made just now.
    New(Ledger),
    /// There are slots and none of them is whole.
    Damaged(Ledger),
    /// A slot is of another version.
    Other(u32),
}

enum Slot {
    /// What it says, and its bytes.
    Whole(Snapshot, Vec<u8>),
    Other(u32),
    Bad,
}

impl Ledger {
    /// Opens or makes the slots and makes durable what is found.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn open(fs: &dyn Fs, names: &[String]) -> io::Result<Opened> {
        let (mut existed, mut found) = (false, Vec::new());
        for name in NAMES {
            let exists = names.iter().any(|other| other == name);
            if exists && let Slot::Other(version) = read(&*fs.open(name)?)? {
                return Ok(Opened::Other(version));
            }
        }
        let mut slot = |name: &str| -> io::Result<Arc<dyn File>> {
            if !names.iter().any(|other| other == name) {
                return fs.create(name, RESERVED);
            }
            existed = true;
            let file = fs.open(name)?;
            if let Slot::Whole(snapshot, bytes) = read(&*file)? {
                found.push((name.to_owned(), snapshot, bytes));
            }
            Ok(file)
        };
        let files = [slot(NAMES[0])?, slot(NAMES[1])?];
        let newest = found.into_iter().max_by_key(|(_, snapshot, _)| snapshot.generation);
        let mut ledger = Self {
            files,
            scratch: 0,
            generation: 0,
            durable: 0,
            bytes: Vec::new(),
            offsets: Vec::new(),
        };
        fs.sync_names()?;
        let Some((name, snapshot, bytes)) = newest else {
            return Ok(if existed { Opened::Damaged(ledger) } else { Opened::New(ledger) });
        };
        // A killed process may have left it to the page cache, which after a failed sync takes it for
        // written: so it is written again. The other slot is written only when this one is on disk.
        ledger.scratch = usize::from(name != NAMES[1]);
        let whole = 1 - ledger.scratch;
        let again = |file: &Arc<dyn File>| file.write_at(&bytes, 0).and_then(|()| file.sync());
        ledger.files.get(whole).map_or(Ok(()), again)?;
        (ledger.generation, ledger.durable) = (snapshot.generation, snapshot.generation);
        Ok(Opened::Found(ledger, snapshot))
    }

    /// Never gives a generation again that a segment knows of.
    pub(super) fn skip_to(&mut self, generation: u64) {
        self.generation = self.generation.max(generation);
    }

    /// The generation that a power cut leaves.
    pub(super) fn durable(&self) -> u64 {
        self.durable
    }

    /// Bytes of the content as last written.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Sets which cursors the content has.
    pub(super) fn set_names<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        let bytes = &mut self.bytes;
        bytes.clear();
        self.offsets.clear();
        bytes.extend_from_slice(MAGIC);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.resize(HEAD, 0);
        for name in names {
            bytes.extend((name.len() as u32).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
            self.offsets.push(bytes.len());
            bytes.extend([0; 8]);
        }
        let length = (bytes.len() - HEAD) as u32;
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        bytes.extend([0; 4]);
    }

    /// Writes the positions of all cursors, in the order of their names, not yet durably.
    ///
    /// # Errors
    /// What the system says; the durable content stays.
    pub(super) fn write(&mut self, end: u64, positions: &[u64]) -> io::Result<()> {
        self.generation += 1;
        if self.bytes.len() < HEAD + 4 {
            self.set_names(std::iter::empty());
        }
        let bytes = &mut self.bytes;
        bytes[16..24].copy_from_slice(&self.generation.to_le_bytes());
        bytes[24..32].copy_from_slice(&end.to_le_bytes());
        for (at, position) in self.offsets.iter().zip(positions) {
            bytes[*at..*at + 8].copy_from_slice(&position.to_le_bytes());
        }
        let sum_at = bytes.len() - 4;
        let sum = crc32fast::hash(&bytes[..sum_at]);
        bytes[sum_at..].copy_from_slice(&sum.to_le_bytes());
        self.files.get(self.scratch).map_or(Ok(()), |file| file.write_at(bytes, 0))
    }

    /// Makes durable what was written last.
    ///
    /// # Errors
    /// What the system says; the content that was durable before still is.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.files.get(self.scratch).map_or(Ok(()), |file| file.sync())?;
        self.scratch = 1 - self.scratch;
        self.durable = self.generation;
        Ok(())
    }
}

fn read(file: &dyn File) -> io::Result<Slot> {
    let mut head = [0; HEAD];
    // What cannot be read is as good as damaged: there is the other slot.
    if read_full(file, &mut head, 0).unwrap_or(0) < HEAD || !head.starts_with(MAGIC) {
        return Ok(Slot::Bad);
    }
    let length = u32_at(&head, 12).unwrap_or(0) as usize;
    if length > CONTENT_MAX || length as u64 > file.size()? {
        return Ok(Slot::Bad);
    }
    let mut bytes = vec![0; HEAD + length + 4];
    if read_full(file, &mut bytes, 0).unwrap_or(0) < bytes.len() {
        return Ok(Slot::Bad);
    }
    let parsed = parse(&bytes, HEAD + length);
    Ok(match parsed {
        Some(Ok(snapshot)) => Slot::Whole(snapshot, bytes),
        Some(Err(version)) => Slot::Other(version),
        None => Slot::Bad,
    })
}

/// The content, or the number of another version; `None` when it is damaged.
fn parse(bytes: &[u8], end: usize) -> Option<Result<Snapshot, u32>> {
    if u32_at(bytes, end)? != crc32fast::hash(bytes.get(..end)?) {
        return None;
    }
    let version = u32_at(bytes, 8)?;
    if version != FORMAT {
        return Some(Err(version));
    }
    let mut cursors = Vec::new();
    let mut at = HEAD;
    while at < end {
        let length = u32_at(bytes, at)? as usize;
        let name = std::str::from_utf8(bytes.get(at + 4..at + 4 + length)?).ok()?;
        cursors.push((Arc::from(name), u64_at(bytes, at + 4 + length)?));
        at += 12 + length;
    }
    Some(Ok(Snapshot { generation: u64_at(bytes, 16)?, end: u64_at(bytes, 24)?, cursors }))
}
