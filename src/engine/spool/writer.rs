//! The writer's thread: takes what waits, has it done, calls back in order.
//!
//! What is written and how is [`super::log`]'s; what comes next is [`super::queue`]'s.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::log::{Bodies, Log, Now};
use super::queue::{Item, Member, Work};
use super::refused::{Refused, Stored};
use super::shared::Shared;

/// Where the writer's times come from.
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn started() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Now { wall_ms: millis(wall), steady_ms: millis(self.0.elapsed()) }
    }
}

/// However the thread ends, nobody waits for it afterwards.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.closed = true;
        let items = queue.clear();
        drop(queue);
        for item in items {
            self.0.call(|| item.refuse(Refused::Closed));
        }
        self.0.room.notify_waiters();
    }
}

/// The writer's thread.
pub(super) fn write_all(mut log: Log, clock: &Clock) {
    let shared = log.shared.clone();
    let _ending = Ending(shared.clone());
    let mut pause = 0;
    loop {
        match shared.take(pause) {
            Work::Group(bodies, members) => commit(&mut log, &bodies, members, clock.now()),
            Work::Request(item) => answer(&mut log, item, clock.now()),
            Work::Idle => {}
            Work::End => break,
        }
        pause = log.tend(clock.now());
    }
    if let Err(error) = log.close(clock.now()) {
        tracing::warn!(%error, "the spool did not end in order; some deliveries may be repeated");
    }
}

fn commit(log: &mut Log, group: &[Bodies], members: Vec<Member>, now: Now) {
    let shared = log.shared.clone();
    let written = log.write(group, now);
    shared.queue().writing = 0;
    let mut first = written.as_ref().copied().unwrap_or(0);
    for member in members {
        match member {
            Member::Append(count, done) => {
                let result = match &written {
                    Ok(_) => Ok(Stored { first, count, dropped: 0 }),
                    Err(error) => Err(error.clone().into()),
                };
                first += count;
                shared.call(|| done(result));
            }
            Member::Pass(call) => shared.call(call),
        }
    }
}

fn answer(log: &mut Log, item: Item, now: Now) {
    let shared = log.shared.clone();
    match item {
        Item::Pass(_, call) => shared.call(call),
        Item::Open(names, done) => {
            let opened = log.open_cursors(&names, now).map_err(Into::into);
            let end = shared.end();
            shared.call(|| done(opened.map(|places| (places, end))));
        }
        Item::Remove(names, done) => {
            let removed = log.remove_cursors(&names, now).map_err(Into::into);
            shared.call(|| done(removed));
        }
        Item::Complete(done) => {
            log.cursors_complete();
            shared.call(|| done(Ok(())));
        }
        Item::Flush(done) => {
            let flushed = log.checkpoint(now).map_err(Into::into);
            shared.call(|| done(flushed));
        }
        // The queue gives appends as groups.
        Item::Append(..) => shared.call(|| item.refuse(Refused::Closed)),
    }
}
