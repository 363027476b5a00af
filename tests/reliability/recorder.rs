//! The recorder: what a destination got, and what is wrong with it. It never forgives: order, payload
//! and key are checked with every record.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::amounts::quantile;
use super::oracle::{Oracle, identify};

/// What is kept of a message that arrived.
#[derive(Clone, Copy, Default)]
struct Got {
    times: u32,
    key: u64,
    last_us: u64,
}

/// What arrived at one destination.
pub(super) struct Recorder {
    name: &'static str,
    pub(super) oracle: Arc<Oracle>,
    /// It is to get every so manieth message of a device.
    every: AtomicU64,
    /// Several get a share each: the order within a device is not what they see together.
    any_order: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    devices: Vec<Vec<Got>>,
    /// The number after the highest that arrived, by device.
    next: Vec<u64>,
    first: u64,
    repeated: u64,
    /// Repeated since the last kill.
    since_kill: u64,
    most_per_kill: u64,
    /// Repeated without a kill in between: a lost or late answer.
    unprovoked: u64,
    /// How long before a kill the oldest record was delivered that came again after it.
    oldest_us: u64,
    kills: Vec<u64>,
    latencies: Vec<u64>,
    wrong: Vec<String>,
}

/// Findings that are kept; there is no end to them once something is wrong.
const WRONG_MAX: usize = 10;

/// What a destination has seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Messages that arrived.
    pub(super) first: u64,
    /// Arrivals of messages that had arrived before.
    pub(super) repeated: u64,
    /// The most of them after one kill.
    pub(super) most_per_kill: u64,
    /// Those that no kill explains.
    pub(super) unprovoked: u64,
    /// How long before the kill the oldest of them was delivered.
    pub(super) oldest: Duration,
}

impl Recorder {
    pub(super) fn new(name: &'static str, oracle: &Arc<Oracle>) -> Arc<Self> {
        let devices = oracle.devices();
        let state = State {
            devices: vec![Vec::new(); devices],
            next: vec![0; devices],
            ..State::default()
        };
        Arc::new(Self {
            name,
            oracle: Arc::clone(oracle),
            every: AtomicU64::new(1),
            any_order: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    /// Its rule wants only messages whose number divides by that.
    pub(super) fn expect_every(&self, every: u64) {
        self.every.store(every, Ordering::Relaxed);
    }

    /// Order is not looked at.
    pub(super) fn in_any_order(&self) {
        self.any_order.store(true, Ordering::Relaxed);
    }

    /// What it is called.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Takes a record with its idempotency key.
    pub(super) fn take(&self, body: &[u8], key: &str) {
        let now = self.oracle.now_us();
        let mut state = self.state();
        let Some((device, n)) = identify(body) else {
            return state.wrong(format!("not as sent: {}", String::from_utf8_lossy(body)));
        };
        if device >= state.devices.len() || key.is_empty() {
            return state.wrong(format!("device {device}, n {n}, key `{key}`"));
        }
        let duty = self.oracle.duties(device).get(n as usize).copied();
        let Some(duty) = duty else {
            return state.wrong(format!("device {device}, n {n}: never sent"));
        };
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let key = hasher.finish();
        let known = &mut state.devices[device];
        if known.len() <= n as usize {
            known.resize(n as usize + 1, Got::default());
        }
        let before = known[n as usize];
        known[n as usize] = Got { times: before.times + 1, key, last_us: now };
        if before.times > 0 {
            state.again(device, n, before, key);
            return;
        }
        state.first += 1;
        state.latencies.push(now.saturating_sub(duty.sent_us));
        if n < state.next[device] && !self.any_order.load(Ordering::Relaxed) {
            let after = state.next[device] - 1;
            state.wrong(format!("device {device}: {n} came after {after}"));
        }
        state.next[device] = state.next[device].max(n + 1);
    }

    /// The daemon was killed just now.
    pub(super) fn killed(&self) {
        let now = self.oracle.now_us();
        let mut state = self.state();
        state.kills.push(now);
        state.since_kill = 0;
    }

    /// What it has seen until now.
    pub(super) fn seen(&self) -> Seen {
        let state = self.state();
        Seen {
            first: state.first,
            repeated: state.repeated,
            most_per_kill: state.most_per_kill,
            unprovoked: state.unprovoked,
            oldest: Duration::from_micros(state.oldest_us),
        }
    }

    /// Microseconds from sending to arrival that half, and that 99 of 100 of the messages took that
    /// arrived since this was asked last.
    pub(super) fn latency_us(&self) -> (u64, u64) {
        let mut latencies = std::mem::take(&mut self.state().latencies);
        (quantile(&mut latencies, 500), quantile(&mut latencies, 990))
    }

    /// How many acknowledged messages have not arrived, and which is the first of them.
    pub(super) fn missing(&self) -> (u64, Option<(usize, u64)>) {
        let (mut count, mut example) = (0, None);
        let state = self.state();
        let every = self.every.load(Ordering::Relaxed) as usize;
        for (device, got) in state.devices.iter().enumerate() {
            for (n, duty) in self.oracle.duties(device).iter().enumerate().step_by(every) {
                if duty.acknowledged && got.get(n).is_none_or(|got| got.times == 0) {
                    count += 1;
                    example = example.or(Some((device, n as u64)));
                }
            }
        }
        (count, example)
    }

    /// Waits until all acknowledged messages have arrived; fails when nothing arrives for `patience`.
    pub(super) async fn complete(&self, patience: Duration) {
        let (mut before, mut since) = (0, std::time::Instant::now());
        // With a device's first message it gets one more than its share.
        let every = self.every.load(Ordering::Relaxed);
        loop {
            let first = self.state().first;
            if first * every >= self.oracle.acknowledged() && self.missing().0 == 0 {
                return;
            }
            if first > before {
                (before, since) = (first, std::time::Instant::now());
            }
            if since.elapsed() > patience {
                let (lost, example) = self.missing();
                let of = self.oracle.acknowledged();
                let name = self.name;
                panic!("{name}: {lost} of {of} acknowledged messages are lost, first {example:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Fails when something was wrong with what arrived: order, payload, keys.
    pub(super) fn check(&self) {
        let state = self.state();
        assert!(state.wrong.is_empty(), "{}: {:#?}", self.name, state.wrong);
        let mut keys = HashMap::with_capacity(state.first as usize);
        for (device, got) in state.devices.iter().enumerate() {
            for (n, got) in got.iter().enumerate().filter(|(_, got)| got.times > 0) {
                let other = keys.insert(got.key, (device, n));
                assert!(other.is_none(), "{}: one key for {other:?}, {device} {n}", self.name);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("lock")
    }
}

impl State {
    fn wrong(&mut self, what: String) {
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(what);
        }
    }

    fn again(&mut self, device: usize, n: u64, before: Got, key: u64) {
        self.repeated += 1;
        if before.key != key {
            self.wrong(format!("device {device}, n {n}: another key the second time"));
        }
        // The first kill after the earlier delivery is what made it come again.
        let at = self.kills.partition_point(|kill| *kill < before.last_us);
        match self.kills.get(at) {
            Some(kill) => {
                self.oldest_us = self.oldest_us.max(kill - before.last_us);
                self.since_kill += 1;
                self.most_per_kill = self.most_per_kill.max(self.since_kill);
            }
            // Delivered while it was being killed, and noted a moment later.
            None if self.kills.last().is_some_and(|kill| before.last_us - kill < 100_000) => {
                self.since_kill += 1;
                self.most_per_kill = self.most_per_kill.max(self.since_kill);
            }
            None => self.unprovoked += 1,
        }
    }
}

#[test]
fn the_judge_finds_what_is_wrong() {
    let oracle = Oracle::new(1, 64);
    let bodies: Vec<_> = (0..4).map(|_| oracle.send(0).1).collect();
    (0..3).for_each(|n| oracle.acknowledge(0, n));
    let judge = || Recorder::new("judge", &oracle);
    let findings = |judge: &Recorder| judge.state().wrong.len();

    let good = judge();
    good.take(&bodies[0], "a");
    good.take(&bodies[2], "c");
    assert_eq!((good.missing(), findings(&good)), ((1, Some((0, 1))), 0), "one is lost");
    good.take(&bodies[1], "b");
    assert_eq!((good.missing().0, findings(&good)), (0, 1), "it came too late");

    let twice = judge();
    twice.take(&bodies[0], "a");
    twice.killed();
    twice.take(&bodies[0], "a");
    twice.take(&bodies[1], "b");
    twice.take(&bodies[1], "b");
    let seen = twice.seen();
    assert_eq!((seen.first, seen.repeated, findings(&twice)), (2, 2, 0));
    assert_eq!(seen.most_per_kill + seen.unprovoked, 2);
    twice.take(&bodies[1], "other");
    assert_eq!(findings(&twice), 1, "another key");

    let strange = judge();
    strange.take(b"{}", "x");
    strange.take(&super::oracle::payload(0, 9, 64), "x");
    strange.take(&bodies[0], "");
    assert_eq!(findings(&strange), 3, "broken, never sent, without a key");

    let same = judge();
    same.take(&bodies[0], "a");
    same.take(&bodies[1], "a");
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| same.check()));
    assert!(result.is_err(), "one key for two messages");
}
