//! R12: a destination that is down for a long time. Memory stays bounded, the others notice nothing,
//! and afterwards it gets everything, faster than new messages come.

use std::time::{Duration, Instant};

use super::amounts::{amount, figure, reached};
use super::oracle::Oracle;
use super::process::{PATIENCE, Process, Site};
use super::producer::{Plan, Producers};
use super::rule;
use super::sink::{HOST, Mode, Sink};

/// One probe a minute at most leaves a destination that is back alone for so long.
const PROBE: Duration = Duration::from_secs(90);
/// Below this, a latency is that of one group commit on a shared disk, and its ratio means nothing.
const FLOOR_US: u64 = 50_000;
const MEMORY_KIB: u64 = 256 << 10;

/// What healthy destinations did over a time.
struct Measured {
    /// Messages a second, and microseconds that 99 of 100 of them took at most.
    topics: (f64, u64),
    calls: (f64, u64),
}

/// The destination that goes down, and the two that do not.
struct Three {
    dead: Sink,
    topics: Sink,
    /// Gets every tenth message.
    calls: Sink,
}

impl Three {
    fn site(&self) -> Site {
        let connection = |name: &str, sink: &Sink| {
            format!("  {name}: {{ mqtt: {{ host: \"{HOST}\", port: {} }} }}\n", sink.port)
        };
        let (down, well) = (connection("down", &self.dead), connection("well", &self.topics));
        let config = format!("connections:\n{down}{well}");
        let tenth = rule("calls", &self.calls.http_action());
        let tenth = tenth.replace("user/data\"", "user/data\" WHERE n % 10 = 0");
        let rules = format!(
            "rules:\n{}{}{tenth}",
            rule("dead", "mqtt: { connection: down, topic: out }"),
            rule("topics", "mqtt: { connection: well, topic: out }"),
        );
        Site::new(&config, &rules)
    }

    async fn measure(&self, time: Duration, process: &Process, peak_kib: &mut u64) -> Measured {
        let sinks = [&self.topics, &self.calls];
        let before = sinks.map(|sink| sink.seen.seen().first);
        for sink in sinks {
            sink.seen.latency_us();
        }
        let began = Instant::now();
        while began.elapsed() < time {
            tokio::time::sleep(Duration::from_millis(200)).await;
            *peak_kib = (*peak_kib).max(process.memory_kib("VmRSS"));
        }
        let seconds = began.elapsed().as_secs_f64();
        let of = |n: usize| {
            let count = sinks[n].seen.seen().first - before[n];
            (count as f64 / seconds, sinks[n].seen.latency_us().1)
        };
        Measured { topics: of(0), calls: of(1) }
    }

    /// Waits until the one that was down has caught up: messages a second meanwhile, and the pause
    /// before it got the first.
    async fn catch_up(&self, rate: u64) -> (f64, Duration) {
        let healed = Instant::now();
        let (seen, oracle) = (&self.dead.seen, &self.dead.seen.oracle);
        let before = seen.seen().first;
        while seen.seen().first == before {
            assert!(healed.elapsed() < PROBE, "it is back and gets nothing");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (began, pause) = (Instant::now(), healed.elapsed());
        let mut best = (before, Instant::now());
        loop {
            let now = seen.seen().first;
            // What is on its way is not behind.
            if now + rate / 5 >= oracle.acknowledged() {
                return ((now - before) as f64 / began.elapsed().as_secs_f64(), pause);
            }
            if now > best.0 {
                best = (now, Instant::now());
            }
            assert!(best.1.elapsed() < PROBE, "it stands still at {now}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Messages a second and p99 of a healthy destination before and during the outage.
fn compare(who: &str, before: (f64, u64), during: (f64, u64)) {
    let speeds = format!("{:.0} {:.0}", before.0, during.0);
    figure("R12", &format!("{who}: messages/s before and during"), speeds);
    let latencies = format!("{} {}", before.1 / 1000, during.1 / 1000);
    figure("R12", &format!("{who}: p99 ms before and during"), latencies);
    assert!(during.0 >= before.0 * 0.95, "{who}: {} messages/s, before {}", during.0, before.0);
    let most = (before.1 * 2).max(FLOOR_US);
    assert!(during.1 <= most, "{who}: p99 {} µs, before {}", during.1, before.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r12_a_destination_that_is_down_costs_no_memory_and_no_other() {
    if !reached(1, "R12, a destination is down") {
        return;
    }
    let rate = amount("R12_RATE", [500, 5_000, 5_000]);
    let seconds = amount("R12_SECONDS", [5, 60, 600]);
    let base = Duration::from_secs(amount("R12_BASE_SECONDS", [3, 15, 60]));
    let plan = Plan { rate, http: 0..0, mqtt: 0..32, window: 512, ..Plan::default() };
    let oracle = Oracle::new(plan.devices(), 256);
    let three = Three {
        dead: Sink::mqtt("dead", &oracle).await,
        topics: Sink::mqtt("topics", &oracle).await,
        calls: Sink::http("calls", &oracle).await,
    };
    three.calls.seen.expect_every(10);
    let site = three.site();
    let process = site.start().await;
    let producers = Producers::start(&oracle, &process, &plan, false);
    let mut peak_kib = 0;
    // Caches and connections are warm after a moment.
    three.measure(Duration::from_secs(2), &process, &mut peak_kib).await;
    let before = three.measure(base, &process, &mut peak_kib).await;
    three.dead.set(Mode::Refuse);
    let during = three.measure(Duration::from_secs(seconds), &process, &mut peak_kib).await;
    let behind = oracle.acknowledged() - three.dead.seen.seen().first;
    three.dead.set(Mode::Up);
    let (drain, pause) = three.catch_up(rate).await;
    let after = three.topics.seen.latency_us().1;
    producers.stop().await;
    for sink in [&three.dead, &three.topics, &three.calls] {
        sink.seen.complete(PATIENCE).await;
        sink.seen.check();
    }
    process.balanced().await;
    peak_kib = peak_kib.max(process.memory_kib("VmHWM"));
    process.stop().await;
    oracle.check();

    figure("R12", "messages acknowledged", oracle.acknowledged());
    figure("R12", "waiting when it came back", behind);
    figure("R12", "memory at most, MiB", peak_kib >> 10);
    figure("R12", "back until its first record, s", format!("{:.1}", pause.as_secs_f64()));
    figure("R12", "catching up, messages/s", format!("{drain:.0}"));
    figure("R12", "catching up, times the rate of new ones", format!("{:.1}", drain / rate as f64));
    figure("R12", "others while it catches up, p99 ms", after / 1000);

    assert!(behind >= rate * seconds * 8 / 10, "too little work: {behind}");
    assert!(peak_kib <= MEMORY_KIB, "{} MiB of memory", peak_kib >> 10);
    compare("others over MQTT", before.topics, during.topics);
    compare("others over HTTP", before.calls, during.calls);
    assert!(drain >= 4.0 * rate as f64, "{drain} messages/s");
}
