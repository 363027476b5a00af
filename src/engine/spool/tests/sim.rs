//! A folder in memory that forgets what was not synced.
//!
//! Every file has what is on disk and what programs see; writes and cuts wait between the two until a
//! sync. A crash takes over a random part of what waits, in pieces of 512 or 4096 bytes; names that were not
//! synced come and go each by itself. A failed sync drops or keeps each waiting piece and reports it once,
//! as Linux does.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::fs::{File, Fs, Lock};

/// A small generator (splitmix64), so that a seed repeats a history.
#[derive(Clone, Copy)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

#[derive(Clone)]
enum Waiting {
    Write(u64, Vec<u8>),
    Cut(u64),
}

#[derive(Clone, Default)]
struct Inode {
    disk: Vec<u8>,
    seen: Vec<u8>,
    waiting: Vec<Waiting>,
}

/// What goes wrong next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Syncs of files until one fails.
    pub sync_in: Option<u32>,
    /// Writes until one fails, having written a part.
    pub write_in: Option<u32>,
    /// No file can be made and none can grow.
    pub full: bool,
    /// No file can be made for which more is reserved.
    pub room: Option<u64>,
    /// Syncs of names until one fails.
    pub names_in: Option<u32>,
    /// Operations until the power goes: that one and all later ones fail.
    pub dead_in: Option<u32>,
    /// The power is gone.
    pub dead: bool,
}

#[derive(Default)]
struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    locked: bool,
    faults: Faults,
    chance: u64,
}

/// The folder. Clones are the same folder.
#[derive(Clone)]
pub struct SimFs(Arc<Mutex<Disk>>);

struct SimFile {
    disk: SimFs,
    inode: usize,
}

struct SimLock(SimFs);

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.disk().locked = false;
    }
}

fn apply(bytes: &mut Vec<u8>, waiting: &Waiting) {
    match waiting {
        Waiting::Write(at, from) => {
            let at = *at as usize;
            if bytes.len() < at + from.len() {
                bytes.resize(at + from.len(), 0);
            }
            bytes[at..at + from.len()].copy_from_slice(from);
        }
        Waiting::Cut(len) => bytes.resize(*len as usize, 0),
    }
}

/// Takes a random part of what waits to the disk.
fn part(inode: &mut Inode, chance: &mut Chance) {
    let sector = if chance.one_in(2) { 512 } else { 4096 };
    let odds = 1 + chance.below(4);
    for waiting in std::mem::take(&mut inode.waiting) {
        match waiting {
            Waiting::Cut(_) => {
                if chance.one_in(2) {
                    apply(&mut inode.disk, &waiting);
                }
            }
            Waiting::Write(at, bytes) => {
                let mut from = 0;
                while from < bytes.len() {
                    let offset = at as usize + from;
                    let until = (sector - offset % sector + from).min(bytes.len());
                    if !chance.one_in(odds + 1) {
                        let piece = Waiting::Write(offset as u64, bytes[from..until].to_vec());
                        apply(&mut inode.disk, &piece);
                    }
                    from = until;
                }
            }
        }
    }
}

impl SimFs {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Disk { chance: seed, ..Disk::default() })))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("one thread")
    }

    pub fn set_faults(&self, faults: Faults) {
        self.disk().faults = faults;
    }

    /// What is still to go wrong.
    pub fn faults(&self) -> Faults {
        self.disk().faults
    }

    /// Cuts the power: what was not synced is there or not, piece by piece.
    pub fn crash(&self, chance: &mut Chance) {
        let mut disk = self.disk();
        let disk = &mut *disk;
        let mut names = BTreeMap::new();
        let both: BTreeMap<_, _> = disk
            .names
            .iter()
            .chain(&disk.durable_names)
            .map(|(name, inode)| (name.clone(), *inode))
            .collect();
        for (name, inode) in both {
            let (now, then) = (disk.names.get(&name), disk.durable_names.get(&name));
            let there = if now == then {
                true
            } else {
                (chance.one_in(2) && now.is_some()) || (chance.one_in(2) && then.is_some())
            };
            if there {
                names.insert(name, inode);
            }
        }
        for inode in &mut disk.inodes {
            part(inode, chance);
            inode.seen.clone_from(&inode.disk);
        }
        disk.names.clone_from(&names);
        disk.durable_names = names;
        disk.locked = false;
        disk.faults = Faults::default();
    }

    /// Names and contents, for tests that damage files.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let disk = self.disk();
        disk.names
            .iter()
            .map(|(name, inode)| (name.clone(), disk.inodes[*inode].seen.clone()))
            .collect()
    }

    /// A folder with these files, all on disk.
    pub fn with(contents: &BTreeMap<String, Vec<u8>>, seed: u64) -> Self {
        let fs = Self::new(seed);
        let mut disk = fs.disk();
        for (n, (name, bytes)) in contents.iter().enumerate() {
            disk.inodes.push(Inode {
                disk: bytes.clone(),
                seen: bytes.clone(),
                waiting: Vec::new(),
            });
            disk.names.insert(name.clone(), n);
        }
        disk.durable_names = disk.names.clone();
        drop(disk);
        fs
    }
}

/// Counts down; true when it is the turn.
fn due(count: &mut Option<u32>) -> bool {
    match count {
        Some(0) => {
            *count = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

impl Disk {
    /// Fails an operation that changes something when the power is gone.
    fn operate(&mut self) -> io::Result<()> {
        self.faults.dead |= due(&mut self.faults.dead_in);
        if self.faults.dead { Err(io::Error::other("injected: no power")) } else { Ok(()) }
    }
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl Fs for SimFs {
    fn lock(&self) -> io::Result<Box<dyn Lock>> {
        let mut disk = self.disk();
        if std::mem::replace(&mut disk.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock(self.clone())))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().names.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        disk.operate()?;
        if disk.faults.full || disk.faults.room.is_some_and(|room| bytes > room) {
            return Err(full());
        }
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = disk.inodes.len();
        let reserve = Waiting::Cut(bytes);
        let mut new = Inode::default();
        apply(&mut new.seen, &reserve);
        new.waiting.push(reserve);
        disk.inodes.push(new);
        disk.names.insert(name.to_owned(), inode);
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let inode = self.disk().names.get(name).copied();
        let inode = inode.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        disk.names.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        let inode =
            disk.names.remove(from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        disk.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.operate()?;
        if due(&mut disk.faults.names_in) {
            return Err(io::Error::other("injected: names not synced"));
        }
        disk.durable_names = disk.names.clone();
        Ok(())
    }

    fn random(&self) -> u64 {
        let mut disk = self.disk();
        let mut chance = Chance(disk.chance);
        let drawn = chance.next();
        disk.chance = chance.0;
        drawn
    }
}

impl File for SimFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.disk();
        let seen = &disk.inodes[self.inode].seen;
        let from = seen.get(offset as usize..).unwrap_or_default();
        let count = from.len().min(into.len());
        into[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.disk();
        let disk = &mut *disk;
        disk.operate()?;
        let grows = offset as usize + from.len() > disk.inodes[self.inode].seen.len();
        let (mut from, mut result) = (from, Ok(()));
        if due(&mut disk.faults.write_in) || (grows && disk.faults.full) {
            let mut chance = Chance(disk.chance);
            from = &from[..chance.below(from.len() as u64) as usize];
            disk.chance = chance.0;
            result = Err(full());
            if grows && disk.faults.full {
                from = &[];
            }
        }
        let inode = &mut disk.inodes[self.inode];
        let write = Waiting::Write(offset, from.to_vec());
        if !from.is_empty() {
            apply(&mut inode.seen, &write);
            inode.waiting.push(write);
        }
        result
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.disk();
        let disk = &mut *disk;
        disk.operate()?;
        let inode = &mut disk.inodes[self.inode];
        if due(&mut disk.faults.sync_in) {
            // The pages are clean now, whatever reached the disk of them.
            let mut chance = Chance(disk.chance);
            part(inode, &mut chance);
            disk.chance = chance.0;
            return Err(io::Error::other("injected: not synced"));
        }
        // Only what waits: pages that a failed sync has marked clean are not written again.
        for waiting in std::mem::take(&mut inode.waiting) {
            apply(&mut inode.disk, &waiting);
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut disk = self.disk.disk();
        disk.operate()?;
        let inode = &mut disk.inodes[self.inode];
        apply(&mut inode.seen, &Waiting::Cut(bytes));
        inode.waiting.push(Waiting::Cut(bytes));
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.disk().inodes[self.inode].seen.len() as u64)
    }
}
