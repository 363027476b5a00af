//! R10: every fault of the proxy × every networked sink × single records and batches. A sample runs
//! with each test run; all cells with `-- --ignored r10`.

use std::time::{Duration, Instant};

use super::proxy::{Fault, Proxy};
use super::rig::{Rig, arrived_in_order, until};
use super::targets::{MARK, Target, target};

/// The longest from the end of a fault until everything is delivered: far below twice the longest
/// pause of the engine (2 × 60 s), since a short outage has short pauses; what takes longest is a
/// client library that finds out that its connection is gone.
const RECOVERY: Duration = Duration::from_secs(15);

/// Tasks that may come and go beside those that a healthy action has: a connection that is closing.
const TASKS_SPARE: usize = 2;

/// Records delivered before a fault, and sent in two pieces while it lasts.
const BEFORE: usize = 8;
const DURING: usize = 20;

const FAULTS: [Fault; 8] = [
    Fault::Refuse,
    Fault::Silence,
    Fault::Reset { after: MARK },
    Fault::HalfClose { after: MARK },
    Fault::ReplyLost { after: MARK },
    Fault::Slow { bytes_per_second: 60 },
    Fault::Latency(Duration::from_millis(150)),
    Fault::Bandwidth { bytes_per_second: 8 * 1024 },
];

/// The faults that let everything through, only later.
fn only_delays(fault: Fault) -> bool {
    matches!(fault, Fault::Slow { .. } | Fault::Latency(_) | Fault::Bandwidth { .. })
}

fn rule(action: &str, single: bool) -> String {
    let batch = if single { ", batch: 1" } else { "" };
    format!(
        "rules:\n  - name: through_proxy\n    \
         sql: SELECT d, n, 'strike' AS m FROM \"/pk/+/x\"\n    \
         actions: [{{ {action}, deadline: 2s{batch} }}]\n    \
         retry: {{ delays: [20ms] }}\n"
    )
}

/// One cell: a healthy start, the fault, its end.
async fn cell(target: &dyn Target, fault: Fault, single: bool, what: &str) {
    let what = format!("{what}, {fault:?}, {}", if single { "single" } else { "batch" });
    let proxy = Proxy::start(&target.front(), &target.upstream(), b"").await;
    let rig =
        Rig::start(target.env(proxy.address()), &rule(&target.action(proxy.address()), single));
    rig.send(0, BEFORE).await;
    until(&format!("{what}: the start"), || rig.counts().delivered == BEFORE as u64).await;
    let tasks = rig.tasks();

    let (before, passed) = (rig.counts(), proxy.counts());
    proxy.set(fault);
    rig.send(BEFORE, BEFORE + DURING).await;
    until(&format!("{what}: the fault shows"), || {
        let now = rig.counts();
        now.retried > before.retried || (only_delays(fault) && now.delivered > before.delivered)
    })
    .await;
    let sent = BEFORE + 2 * DURING;
    rig.send(BEFORE + DURING, sent).await;
    let broken = proxy.counts();
    let strikes = !only_delays(fault) && fault != Fault::Refuse;
    assert!(
        !strikes || broken.swallowed > passed.swallowed,
        "{what}: the fault struck: {broken:?}"
    );

    proxy.set(Fault::None);
    let healed = Instant::now();
    // A record counts as delivered a moment before it leaves the queue.
    until(&format!("{what}: all is delivered"), || {
        let now = rig.counts();
        now.delivered == sent as u64 && now.queued == 0
    })
    .await;
    let recovery = healed.elapsed();
    println!("r10: {what}: recovered in {recovery:?}");
    assert!(recovery <= RECOVERY, "{what}: recovered in {recovery:?}");
    let after = rig.counts();
    assert_eq!((after.received, after.failed, after.queued), (sent as u64, 0, 0), "{what}");
    if matches!(fault, Fault::ReplyLost { .. }) {
        assert!(after.tried[2] > before.tried[2], "{what}: a lost answer is unknown: {after:?}");
    }
    until(&format!("{what}: {tasks} tasks again"), || rig.tasks() <= tasks + TASKS_SPARE).await;

    let seen = target.arrived(sent).await;
    arrived_in_order(&seen, sent, target.keyed(), &what);
    if matches!(fault, Fault::ReplyLost { .. }) && !target.drops_twice() {
        assert!(seen.len() > sent, "{what}: lost answers made some come twice");
    }
}

async fn cells(name: &str, faults: &[Fault], ways: &[bool]) {
    for fault in faults {
        for single in ways {
            let Some(target) = target(name).await else { return };
            cell(&*target, *fault, *single, name).await;
        }
    }
}

/// One fault that breaks before the request and the worst one behind it.
const SAMPLE: [Fault; 2] = [Fault::Refuse, Fault::ReplyLost { after: MARK }];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_http_loses_nothing_whatever_the_connection_does() {
    cells("http", &FAULTS, &[true, false]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_kafka_loses_nothing_sample() {
    cells("kafka", &SAMPLE, &[false]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_mqtt_loses_nothing_sample() {
    cells("mqtt", &SAMPLE, &[false]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_postgres_loses_nothing_sample() {
    cells("postgres", &SAMPLE, &[false]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "T1: the whole matrix takes minutes"]
async fn r10_kafka_loses_nothing_whatever_the_connection_does() {
    cells("kafka", &FAULTS, &[true, false]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "T1: the whole matrix takes minutes"]
async fn r10_mqtt_loses_nothing_whatever_the_connection_does() {
    cells("mqtt", &FAULTS, &[true, false]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "T1: the whole matrix takes minutes"]
async fn r10_postgres_loses_nothing_whatever_the_connection_does() {
    cells("postgres", &FAULTS, &[true, false]).await;
}
