//! R2: random histories of appends, group commits, rotations, cursors, crashes, kills and failing disks,
//! held against a list of what was promised.
//!
//! `TIDEGATE_R2_CASES` sets how many histories, `TIDEGATE_R2_SEED` the first; a failure prints its seed, which
//! repeats it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use contract::{Message, Topic, TopicLimits};

use super::super::cursor::{Cursor, Start};
use super::super::limits::SpoolLimits;
use super::super::log::{Bodies, Log, Now};
use super::super::reader::{Reader, Record};
use super::super::record::encode;
use super::sim::{Chance, Faults, SimFs};

const ACTIONS: u64 = 200;

pub fn limits() -> SpoolLimits {
    SpoolLimits {
        bytes: 1 << 40,
        max_age: Duration::from_secs(1 << 40),
        segment_bytes: 4096,
        ..SpoolLimits::default()
    }
}

/// The message with an id; everything in it follows from the id.
pub fn message(id: u64) -> Message {
    let mut chance = Chance(id);
    let size = if chance.one_in(12) { 6000 } else { 240 };
    let len = chance.below(size) as usize;
    let payload: Vec<u8> = (0..len).map(|n| (n as u64 ^ id) as u8).collect();
    let topic = Topic::parse(format!("/pk/dev{}/data", id % 7), TopicLimits::default());
    Message { id, ..Message::new(topic.expect("topic"), payload, id * 3) }
}

pub fn bodies(ids: impl Iterator<Item = u64>) -> Bodies {
    let mut bodies = Bodies::default();
    for id in ids {
        encode(&message(id), None, &mut bodies.bytes);
        bodies.close();
    }
    bodies
}

pub fn assert_genuine(record: &Record) -> u64 {
    let id = record.message.id;
    let genuine = message(id);
    assert_eq!(record.message.payload, genuine.payload, "the payload of message {id}");
    assert_eq!(record.message.topic, genuine.topic);
    id
}

pub fn read_all(reader: &mut Reader) -> (Vec<Record>, u64) {
    let (mut records, mut skipped) = (Vec::new(), 0);
    loop {
        let before = reader.position();
        let step = reader.read(50, 1 << 16, &mut records).expect("readable");
        skipped += step.skipped;
        if step.next == before {
            return (records, skipped);
        }
    }
}

#[derive(Default)]
struct Promised {
    /// A power cut leaves at least this.
    least: u64,
    /// Nothing may be found beyond this.
    most: u64,
    /// Creating or removing it failed: it is there or not.
    unsure: bool,
}

struct World {
    fs: SimFs,
    chance: Chance,
    log: Option<Log>,
    time: u64,
    next_id: u64,
    /// Position and id of what must be served.
    stored: BTreeMap<u64, u64>,
    /// Ids whose write failed: nobody knows.
    unsure: BTreeSet<u64>,
    cursors: BTreeMap<String, Promised>,
    readers: Vec<(Reader, u64)>,
    work: Work,
}

/// A cursor's name and position, and positions and ids of all that it has ahead.
type Seen = (String, u64, Vec<(u64, u64)>);

/// What was done, so that a test that does nothing fails.
#[derive(Default, Debug)]
struct Work {
    stored: u64,
    crashes: u64,
    failed: u64,
    torn: u64,
    segments_deleted: u64,
    surfaced: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            fs: SimFs::new(seed),
            chance: Chance(seed),
            log: None,
            time: 1,
            next_id: 1,
            stored: BTreeMap::new(),
            unsure: BTreeSet::new(),
            cursors: BTreeMap::new(),
            readers: Vec::new(),
            work: Work::default(),
        };
        world.open();
        world
    }

    fn now(&mut self) -> Now {
        self.time += self.chance.below(400);
        Now { wall_ms: self.time, steady_ms: self.time }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("open")
    }

    /// Opens and holds what is found against what was promised.
    fn open(&mut self) {
        let now = self.now();
        let (log, found) =
            Log::open(Arc::new(self.fs.clone()), limits(), now).expect("opens always");
        assert!(found.missing.is_empty() && found.aside.is_empty(), "{found:?}");
        assert_eq!((found.damaged, found.cursors_lost), (0, false), "{found:?}");
        self.work.torn += u64::from(found.torn_bytes > 0);
        self.log = Some(log);
        let names: BTreeSet<String> =
            self.log().shared.state().places.keys().map(|name| name.to_string()).collect();
        for (name, promised) in &self.cursors {
            assert!(promised.unsure || names.contains(name), "cursor {name} is lost");
        }
        self.cursors.retain(|name, _| names.contains(name));
        for name in names {
            let promised =
                self.cursors.get(&name).unwrap_or_else(|| panic!("cursor {name} is back"));
            let (least, most) = (promised.least, promised.most);
            let cursor = self.cursor(&name);
            let at = cursor.position();
            assert!((least..=most).contains(&at), "{name} at {at}, promised {least}..={most}");
            self.cursors.insert(name, Promised { least: at, most: at, unsure: false });
            self.check_from(&cursor);
        }
    }

    /// Everything that was promised from a cursor on, once, in order, and nothing that was not sent.
    fn check_from(&mut self, cursor: &Cursor) {
        let from = cursor.position();
        let (records, skipped) = read_all(&mut Reader::new(cursor));
        assert_eq!(skipped, 0, "nothing is damaged");
        let mut last = 0;
        let mut promised = self.stored.range(from..).map(|(position, _)| *position).peekable();
        let mut surfaced = Vec::new();
        for record in records {
            let id = assert_genuine(&record);
            assert!(id > last, "message {id} after {last}");
            last = id;
            if promised.peek() == Some(&record.position) {
                promised.next();
                assert_eq!(self.stored.get(&record.position), Some(&id));
            } else {
                assert!(
                    self.unsure.contains(&id),
                    "message {id} was not sent, or stands elsewhere"
                );
                surfaced.push((record.position, id));
            }
        }
        assert_eq!(promised.next(), None, "a stored message is lost");
        self.work.surfaced += surfaced.len() as u64;
        // What was served once stays.
        self.stored.extend(surfaced);
    }

    fn cursor(&mut self, name: &str) -> Cursor {
        let shared = self.log().shared.clone();
        let place = shared.state().places.get(name).expect("a cursor").clone();
        Cursor { shared, place }
    }

    fn some_cursor(&mut self) -> Option<String> {
        let sure = self.cursors.iter().filter(|(_, promised)| !promised.unsure);
        let names: Vec<_> = sure.map(|(name, _)| name.clone()).collect();
        let n = self.chance.below(names.len() as u64) as usize;
        names.get(n).cloned()
    }

    fn append(&mut self) {
        let mut group = Vec::new();
        let first_id = self.next_id;
        for _ in 0..=self.chance.below(3) {
            let count = 1 + self.chance.below(4);
            group.push(bodies(self.next_id..self.next_id + count));
            self.next_id += count;
        }
        let now = self.now();
        match self.log().write(&group, now) {
            Ok(first) => {
                for (n, id) in (first_id..self.next_id).enumerate() {
                    let before = self.stored.insert(first + n as u64, id);
                    assert_eq!(before, None, "a position was given twice");
                }
                self.work.stored += self.next_id - first_id;
            }
            Err(_) => {
                self.unsure.extend(first_id..self.next_id);
                self.work.failed += 1;
            }
        }
    }

    fn commit(&mut self) {
        let Some(name) = self.some_cursor() else { return };
        let cursor = self.cursor(&name);
        let ahead = cursor.shared.end() - cursor.position();
        let step = if self.chance.one_in(3) { ahead } else { self.chance.below(ahead + 1) };
        let to = cursor.position() + step;
        cursor.commit(to);
        let promised = self.cursors.get_mut(&name).expect("known");
        promised.most = promised.most.max(to);
    }

    fn open_cursor(&mut self) {
        let name = format!("rule/{}", self.chance.below(6));
        let known = self.cursors.get(&name).is_some_and(|promised| !promised.unsure);
        let start = if self.chance.one_in(2) { Start::Tail } else { Start::Oldest };
        let now = self.now();
        let opened = self.log().open_cursors(&[(name.as_str().into(), start)], now);
        if known {
            return;
        }
        match opened {
            Ok(places) => {
                let at = places[0].position.load(std::sync::atomic::Ordering::Relaxed);
                // It may have been left by a removal that failed; then it starts anew.
                self.cursors.insert(name, Promised { least: at, most: at, unsure: false });
            }
            Err(_) => {
                let most = u64::MAX;
                self.cursors.insert(name, Promised { least: 0, most, unsure: true });
            }
        }
    }

    fn remove_cursor(&mut self) {
        let Some(name) = self.some_cursor() else { return };
        let now = self.now();
        match self.log().remove_cursors(&[name.as_str().into()], now) {
            Ok(()) => {
                self.cursors.remove(&name);
                // A failed one before is settled by this as well: the whole ledger was synced.
            }
            Err(_) => {
                let most = u64::MAX;
                self.cursors.insert(name, Promised { least: 0, most, unsure: true });
            }
        }
    }

    fn checkpoint(&mut self) {
        let now = self.now();
        if self.log().checkpoint(now).is_ok() {
            let shared = self.log().shared.clone();
            let state = shared.state();
            for (name, promised) in &mut self.cursors {
                if let Some(place) = state.places.get(name.as_str()) {
                    let at = place.position.load(std::sync::atomic::Ordering::Relaxed);
                    promised.least = promised.least.max(at);
                }
            }
        }
    }

    /// A reader that stays open over appends and rotations sees what a new one would.
    fn read_on(&mut self) {
        if (self.readers.is_empty() || self.chance.one_in(4))
            && let Some(name) = self.some_cursor()
        {
            let cursor = self.cursor(&name);
            self.readers.push((Reader::new(&cursor), 0));
        }
        let n = self.chance.below(self.readers.len() as u64) as usize;
        let count = 1 + self.chance.below(20) as usize;
        let Some((reader, last)) = self.readers.get_mut(n) else { return };
        let mut records = Vec::new();
        reader.read(count, 1 << 20, &mut records).expect("readable");
        for record in &records {
            let id = assert_genuine(record);
            assert!(id > *last, "order");
            *last = id;
            let stored = self.stored.get(&record.position);
            assert!(stored.is_none_or(|stored| *stored == id), "message {id}");
        }
    }

    fn fault(&mut self) {
        let at = self.chance.below(12) as u32;
        let faults = match self.chance.below(6) {
            0 => Faults { sync_in: Some(at), ..Faults::default() },
            1 => Faults { write_in: Some(at), ..Faults::default() },
            2 => Faults { full: true, ..Faults::default() },
            3 => Faults { names_in: Some(at), ..Faults::default() },
            _ => Faults::default(),
        };
        self.fs.set_faults(faults);
    }

    /// Ends the process in one of the ways in which it ends, and starts it again.
    fn restart(&mut self) {
        self.readers.clear();
        match self.chance.below(8) {
            0 => {
                let now = self.now();
                self.log.take().expect("open").close(now).ok();
            }
            1 => {}
            2..=4 => {
                // The power goes in the middle of something.
                let in_commit = self.chance.one_in(2);
                let dead_in = Some(if in_commit { 1 } else { self.chance.below(12) as u32 });
                self.fs.set_faults(Faults { dead_in, ..Faults::default() });
                if in_commit {
                    self.append();
                }
                for _ in 0..1 + self.chance.below(4) {
                    self.act();
                }
                self.fs.crash(&mut self.chance);
            }
            _ => self.fs.crash(&mut self.chance),
        }
        self.readers.clear();
        self.log = None;
        self.fs.set_faults(Faults::default());
        self.work.crashes += 1;
        if self.chance.one_in(3) {
            // Opening is cut short too.
            let dead_in = Some(self.chance.below(14) as u32);
            self.fs.set_faults(Faults { dead_in, ..Faults::default() });
            let now = self.now();
            drop(Log::open(Arc::new(self.fs.clone()), limits(), now));
            self.fs.crash(&mut self.chance);
        }
        self.open();
        if self.chance.one_in(4) {
            // What an opened log has served stays, also through a power cut a moment later.
            let before = self.everything();
            self.log = None;
            if self.chance.one_in(2) {
                self.fs.crash(&mut self.chance);
            }
            self.open();
            assert_eq!(self.everything(), before, "opening twice gives the same");
        }
    }

    /// What all cursors see.
    fn everything(&mut self) -> Vec<Seen> {
        let names: Vec<String> = self.cursors.keys().cloned().collect();
        let mut all = Vec::new();
        for name in names {
            let cursor = self.cursor(&name);
            let (records, _) = read_all(&mut Reader::new(&cursor));
            let records =
                records.iter().map(|record| (record.position, record.message.id)).collect();
            all.push((name, cursor.position(), records));
        }
        all
    }

    fn act(&mut self) {
        match self.chance.below(20) {
            0..=8 => self.append(),
            9..=12 => self.commit(),
            13 => self.checkpoint(),
            14 => self.open_cursor(),
            15 if self.chance.one_in(3) => self.remove_cursor(),
            16 if self.chance.one_in(3) => self.fault(),
            17..=18 => self.read_on(),
            _ => {
                let now = self.now();
                let before = self.log().shared.state().segments.len();
                self.log().tend(now);
                let after = self.log().shared.state().segments.len();
                self.work.segments_deleted += before.saturating_sub(after) as u64;
            }
        }
    }
}

pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn r2_power_cuts_lose_nothing_that_was_stored() {
    let (cases, seed) = (setting("TIDEGATE_R2_CASES", 2000), setting("TIDEGATE_R2_SEED", 1));
    let mut done = Work::default();
    for seed in seed..seed + cases {
        let outcome = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            let actions = 1 + world.chance.below(ACTIONS);
            for _ in 0..actions {
                if world.chance.one_in(30) {
                    world.restart();
                } else {
                    world.act();
                }
            }
            world.restart();
            world.work
        });
        let Ok(work) = outcome else {
            panic!("repeat with TIDEGATE_R2_CASES=1 TIDEGATE_R2_SEED={seed}");
        };
        done.stored += work.stored;
        done.crashes += work.crashes;
        done.failed += work.failed;
        done.torn += work.torn;
        done.segments_deleted += work.segments_deleted;
        done.surfaced += work.surfaced;
    }
    println!("R2: {cases} histories, {done:?}");
    if cases >= 1000 {
        assert!(done.stored > 50 * cases && done.crashes > 2 * cases, "{done:?}");
        assert!(done.failed > cases / 10 && done.torn > cases / 20, "{done:?}");
        assert!(done.segments_deleted > cases / 10 && done.surfaced > cases / 100, "{done:?}");
    }
}
