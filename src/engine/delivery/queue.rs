//! What waits for one action: in memory, and behind that in the log; and how far the action has come.
//!
//! Records come in order. While there is room they wait in memory. When there is none, those that the
//! log has are forgotten here and read from it later: the lane is *behind* from then on, until it has
//! read all that it forgot. What the log does not have waits in memory within the same bounds.
//!
//! The action's position in the log follows from numbers that the items get as they come: a *mark*
//! says that all messages before a position have come by the time of a number, so that the position is
//! reached when all items before the number are settled.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Weak;

use contract::{Message, Record};
use tokio::time::Instant;

use super::fanout::Fanout;
use super::item::Item;

/// Marks that are kept; with more, the last one moves on.
const MARKS_MAX: usize = 64;

/// Bounds of what waits for one action in memory.
#[derive(Debug, Clone, Copy)]
pub struct LaneLimits {
    /// Records that wait.
    pub records: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
}

/// What waits for one action.
#[derive(Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    /// A task is delivering. It ends when nothing waits, so an idle lane costs no task.
    pub(super) running: bool,
    /// Records that the task holds.
    pub(super) in_flight: usize,
    /// The number of the next item.
    next: u64,
    /// All items before this number are settled, but for those in `held`.
    settled: u64,
    /// Items that the action has given up while their envelope is not durable.
    held: BTreeMap<u64, Held>,
    marks: VecDeque<Mark>,
    behind: Option<Box<Behind>>,
    /// There is a log to forget records to.
    has_log: bool,
    /// Every message before it is delivered or given up.
    position: u64,
    /// The action gets nothing from this position on.
    end: Option<u64>,
}

/// An item whose envelope is not durable yet.
struct Held {
    since: Instant,
    fanout: Weak<Fanout>,
}

/// All messages before `reach` have come when `number` was the next one.
struct Mark {
    number: u64,
    reach: u64,
}

/// What is known of records that only the log has.
struct Behind {
    /// For each shard, from where on its records are only in the log.
    from: Box<[u64]>,
    /// Everything before it has been read.
    read: u64,
    /// Records before it, and none behind, were forgotten.
    forgotten_to: u64,
    /// How many records were forgotten and not read yet, as far as this run knows.
    records: u64,
    /// What the log does not have, behind what it has.
    later: VecDeque<Item>,
    later_bytes: usize,
}

/// What reading the log needs to know.
pub(super) struct Ahead {
    /// Where to go on.
    pub(super) read: u64,
    /// For each shard, from where on records are wanted.
    pub(super) from: Box<[u64]>,
    /// The action gets nothing from this position on.
    pub(super) end: Option<u64>,
}

/// What was read of the log.
#[derive(Default)]
pub(super) struct Chunk {
    /// What the action gets of it.
    pub(super) items: Vec<Item>,
    /// Messages that are not evaluated once more, because the daemon has ended over them so often.
    pub(super) given_up: Vec<(Message, u32)>,
    /// Everything before it has been read.
    pub(super) next: u64,
    /// Items that were counted when they were forgotten.
    pub(super) known: u64,
    /// Items that an earlier run, or an earlier version, has left.
    pub(super) fresh: usize,
}

/// Records and bytes that a queue holds.
fn bytes_of(record: &Record) -> usize {
    record.bytes().len()
}

impl Queue {
    /// Begins at a position of the log; what is before `forgotten_to` has to be read from it.
    pub(super) fn begin(&mut self, position: u64, forgotten_to: u64, shards: usize) {
        self.position = position;
        self.has_log = true;
        if position < forgotten_to {
            self.behind = Some(Box::new(Behind {
                from: vec![position; shards].into(),
                read: position,
                forgotten_to,
                records: 0,
                later: VecDeque::new(),
                later_bytes: 0,
            }));
        }
    }

    /// Takes an item of a shard in. Comes back with what there is no room for and the log does not have.
    pub(super) fn offer(
        &mut self,
        item: Item,
        shard: usize,
        shards: usize,
        limits: LaneLimits,
    ) -> Option<Item> {
        let bytes = bytes_of(&item.record);
        let full = self.items.len() >= limits.records || self.bytes + bytes > limits.bytes;
        let exceeds = full && self.may_exceed(bytes, limits);
        match (item.position, &mut self.behind) {
            (Some(position), Some(behind)) => behind.forget(shard, position),
            (Some(position), None) if full => {
                let behind = self.behind.insert(Box::new(Behind {
                    from: vec![u64::MAX; shards].into(),
                    read: position,
                    forgotten_to: 0,
                    records: 0,
                    later: VecDeque::new(),
                    later_bytes: 0,
                }));
                behind.forget(shard, position);
            }
            (None, Some(behind)) => {
                if behind.later.len() >= limits.records || behind.later_bytes + bytes > limits.bytes
                {
                    return Some(item);
                }
                behind.later_bytes += bytes;
                behind.later.push_back(item);
            }
            (None, None) if full && !exceeds => return Some(item),
            _ => self.add(item),
        }
        None
    }

    /// Beside a log, what it does not have may wait behind as much again: the next record that the log
    /// has makes room for it.
    fn may_exceed(&self, bytes: usize, limits: LaneLimits) -> bool {
        self.has_log
            && self.items.len() < limits.records.saturating_mul(2)
            && self.bytes + bytes <= limits.bytes.saturating_mul(2)
    }

    fn add(&mut self, mut item: Item) {
        item.number = self.next;
        self.next += 1;
        self.bytes += bytes_of(&item.record);
        self.items.push_back(item);
    }

    /// The next items.
    pub(super) fn take(&mut self, most: usize, bytes: usize) -> Vec<Item> {
        let count = self.reach(most, bytes);
        self.in_flight += count;
        let taken: Vec<Item> = self.items.drain(..count).collect();
        self.bytes -= taken.iter().map(|item| bytes_of(&item.record)).sum::<usize>();
        taken
    }

    /// How many of the items go into so much room: one always.
    fn reach(&self, most: usize, bytes: usize) -> usize {
        if self.bytes <= bytes {
            return self.items.len().min(most);
        }
        let mut left = bytes;
        let fits = |item: &&Item| {
            let fits = bytes_of(&item.record) <= left;
            left = left.saturating_sub(bytes_of(&item.record));
            fits
        };
        let count = self.items.iter().take(most).take_while(fits).count();
        count.max(1).min(self.items.len())
    }

    /// True when some items wait, and do not fill a delivery.
    pub(super) fn has_room(&self, most: usize, bytes: usize) -> bool {
        !self.items.is_empty() && self.items.len() < most && self.bytes < bytes
    }

    /// Items at the front for which something holds, taken out.
    pub(super) fn take_while(&mut self, holds: impl Fn(&Item) -> bool) -> Vec<Item> {
        let count = self.items.iter().take_while(|item| holds(item)).count();
        let taken = self.take(count, usize::MAX);
        self.in_flight -= taken.len();
        taken
    }

    /// True when there is something to deliver or to read.
    pub(super) fn is_idle(&self) -> bool {
        self.items.is_empty() && self.behind.is_none()
    }

    /// Items that wait in memory or are being delivered.
    pub(super) fn in_memory(&self) -> u64 {
        let later = self.behind.as_ref().map_or(0, |behind| behind.later.len());
        (self.items.len() + later + self.in_flight) as u64
    }

    /// Of those that wait: the log does not have them.
    pub(super) fn volatile(&self) -> u64 {
        let later = self.behind.as_ref().map_or(0, |behind| behind.later.len());
        let items = self.items.iter().filter(|item| item.position.is_none()).count();
        (later + items) as u64
    }

    /// Records that only the log has, as far as this run has seen them.
    pub(super) fn spooled(&self) -> u64 {
        self.behind.as_ref().map_or(0, |behind| behind.records)
    }

    /// True while something may have to be read from the log.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }

    /// What is to be read from the log, when the action is behind.
    pub(super) fn ahead(&self) -> Option<Ahead> {
        let behind = self.behind.as_ref()?;
        Some(Ahead { read: behind.read, from: behind.from.clone(), end: self.end })
    }

    /// Takes in what was read. When that was all that had been forgotten, the action is not behind any
    /// more; then it comes back with the number of records that the log had lost.
    pub(super) fn read(&mut self, chunk: Chunk) -> Option<u64> {
        let mut behind = self.behind.take()?;
        behind.read = behind.read.max(chunk.next);
        behind.records = behind.records.saturating_sub(chunk.known);
        let done =
            behind.read >= behind.forgotten_to || self.end.is_some_and(|end| behind.read >= end);
        let due = match done {
            true => behind.later.len(),
            false => behind.later.iter().take_while(|item| item.order < behind.read).count(),
        };
        let mut items = chunk.items;
        for item in behind.later.drain(..due) {
            behind.later_bytes -= bytes_of(&item.record);
            items.push(item);
        }
        // What the log has comes before what followed it.
        items.sort_by_key(|item| (item.order, item.position.is_none()));
        for item in items {
            self.add(item);
        }
        if done {
            return Some(behind.records);
        }
        self.behind = Some(behind);
        None
    }

    /// Notes that all items before a number are settled, or all that came when `None`.
    pub(super) fn settle(&mut self, first_open: Option<u64>) {
        let next = self.items.front().map_or(self.next, |item| item.number);
        self.settled = self.settled.max(first_open.unwrap_or(next));
    }

    /// Holds the position until [`Queue::release`]; says how many are held.
    pub(super) fn hold(&mut self, number: u64, fanout: Weak<Fanout>) -> usize {
        self.held.insert(number, Held { since: Instant::now(), fanout });
        self.held.len()
    }

    /// The envelope of an item is durable, or not needed.
    pub(super) fn release(&mut self, number: u64) {
        self.held.remove(&number);
    }

    /// How many items are held.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Those among the held whose envelope waits too long for the other actions.
    pub(super) fn overdue(&self, age: std::time::Duration) -> Vec<std::sync::Arc<Fanout>> {
        let held = self.held.values();
        held.take_while(|held| held.since.elapsed() > age)
            .filter_map(|held| held.fanout.upgrade())
            .collect()
    }

    /// Moves on, when all messages before `frontier` have been offered; says where the action stands.
    pub(super) fn advance(&mut self, frontier: u64) -> u64 {
        let reach = self.behind.as_ref().map_or(frontier, |behind| behind.read.min(frontier));
        let reach = self.end.map_or(reach, |end| reach.min(end));
        let held = self.held.keys().next();
        let done = held.map_or(self.settled, |first| self.settled.min(*first));
        if done == self.next {
            self.marks.clear();
            self.position = self.position.max(reach);
            return self.position;
        }
        while let Some(mark) = self.marks.front().filter(|mark| mark.number <= done) {
            self.position = self.position.max(mark.reach);
            self.marks.pop_front();
        }
        let number = self.next;
        match self.marks.back_mut() {
            Some(last) if last.number == number => last.reach = last.reach.max(reach),
            _ => {
                if self.marks.len() == MARKS_MAX {
                    self.marks.pop_back();
                }
                self.marks.push_back(Mark { number, reach });
            }
        }
        self.position
    }

    /// The action gets nothing from a position on: it was changed or removed.
    pub(super) fn retire(&mut self, end: u64) {
        self.end = Some(end);
    }

    /// True when a retired action has nothing left to do.
    pub(super) fn is_finished(&self) -> bool {
        self.end.is_some_and(|end| {
            self.is_idle() && self.in_flight == 0 && self.held() == 0 && self.position >= end
        })
    }

    /// True when the action gets nothing any more.
    pub(super) fn is_retired(&self) -> bool {
        self.end.is_some()
    }

    /// Where the action stands in the log.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Empties the memory; comes back with what the log does not have.
    pub(super) fn take_volatile(&mut self) -> Vec<Item> {
        let mut taken = self.take(usize::MAX, usize::MAX);
        self.in_flight -= taken.len();
        taken.retain(|item| item.position.is_none());
        if let Some(behind) = self.behind.take() {
            taken.extend(behind.later);
        }
        taken
    }
}

impl Behind {
    fn forget(&mut self, shard: usize, position: u64) {
        if let Some(from) = self.from.get_mut(shard) {
            *from = (*from).min(position);
        }
        self.read = self.read.min(position);
        self.forgotten_to = self.forgotten_to.max(position + 1);
        self.records += 1;
    }
}
