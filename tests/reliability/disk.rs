//! R5 and R6: a disk that is full, and one that fails. What was acknowledged stays, what can't be kept
//! is not acknowledged, and the daemon goes on by itself.

use std::time::{Duration, Instant};

use super::amounts::{amount, figure, tier};
use super::oracle::Oracle;
use super::process::{Ended, PATIENCE, Process, Site, usable};
use super::producer::{Plan, Producers};
use super::sink::{Mode, Sink};
use super::{broker, two_rules};

/// No acknowledgement for so long means that there are none any more.
const SILENCE: Duration = Duration::from_millis(1_500);

/// Bytes of a payload that fills the disk.
const BYTES: u64 = 64 << 10;

/// Asks until it is so; fails with `what` after a time.
async fn until(what: &str, most: Duration, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < most, "not within {most:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    began.elapsed()
}

/// `/readyz` says that messages are not kept at present.
async fn is_degraded(process: &Process) -> bool {
    let (status, text) = process.get("/readyz").await;
    status == 503 && (text.contains("spool") || text.contains("degraded"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r5_a_full_disk_stops_acknowledgements_and_nothing_else() {
    let mib = amount("R5_MIB", [64, 64, 64]);
    let mount = format!("mount -t tmpfs -o size={mib}m tmpfs data && exec \"$0\"");
    let under = ["unshare", "-rm", "sh", "-c", &mount];
    if !usable("R5, a full disk", &["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .await
    {
        return;
    }
    let plan = Plan { http: 0..0, mqtt: 0..8, connections: 2, window: 16, ..Plan::default() };
    let oracle = Oracle::new(plan.devices(), BYTES as usize);
    let calls = Sink::http("calls", &oracle).await;
    // What this one has not got is what fills the disk.
    let topics = Sink::mqtt("topics", &oracle).await;
    topics.set(Mode::Refuse);
    let site = Site::new(&broker(&topics), &two_rules(&calls));
    std::fs::create_dir(site.path("data")).expect("data");
    let mut process = site.start_under(&under).await;
    let producers = Producers::start(&oracle, &process, &plan, true);
    let silent = || oracle.now_us() - oracle.last_us() > SILENCE.as_micros() as u64;
    until("acknowledgements stop", PATIENCE, async || oracle.acknowledged() > 0 && silent()).await;
    let (full, full_us) = (oracle.acknowledged(), oracle.now_us());
    until("it says that it is degraded", PATIENCE, async || is_degraded(&process).await).await;
    calls.seen.complete(PATIENCE).await;
    assert_eq!(oracle.acknowledged(), full, "nothing is acknowledged that can't be kept");
    assert!(process.is_running(), "{}", site.last_words());

    let grow = format!("remount,size={}m", mib * 4);
    let id = process.id().to_string();
    let data = site.path("data").display().to_string();
    let enter = ["nsenter", "-t", &id, "-U", "-m", "--preserve-credentials"];
    let grown = [&enter[..], &["mount", "-o", &grow, &data]].concat();
    assert!(usable("room for a full disk", &grown).await);
    let freed = Instant::now();
    until("acknowledgements come again", PATIENCE, async || oracle.acknowledged() > full).await;
    let resumed = freed.elapsed();
    // Few, or the disk is full again.
    until("it goes on", PATIENCE, async || oracle.acknowledged() > full + 50).await;
    producers.stop().await;
    until("it is ready again", PATIENCE, async || !is_degraded(&process).await).await;
    topics.set(Mode::Up);
    for sink in [&calls, &topics] {
        sink.seen.complete(PATIENCE).await;
        sink.seen.check();
    }
    assert!(process.is_running(), "without a restart: {}", site.last_words());
    process.balanced().await;
    oracle.check();
    figure("R5", "acknowledged until the disk was full", full);
    figure("R5", "without acknowledgements, s", (oracle.now_us() - full_us) / 1_000_000);
    figure("R5", "room until acknowledgements, ms", resumed.as_millis());
    figure("R5", "acknowledged and lost", calls.seen.missing().0 + topics.seen.missing().0);
    assert!(resumed <= Duration::from_secs(2), "it took {resumed:?}");
    assert!(full * BYTES >= (mib << 20) / 8, "too little work: {full} messages");
}

/// Under `strace` with these expressions; what it sees goes to the file `trace.txt`.
async fn traced(site: &Site, expressions: &[&str]) -> Result<Process, Ended> {
    let trace = site.path("trace.txt").display().to_string();
    std::fs::write(&trace, "").expect("trace");
    let mut under = vec!["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", &trace];
    expressions.iter().for_each(|expression| under.extend(["-e", expression]));
    site.try_start(&under).await
}

/// How often the busiest thread of a start makes a call.
async fn calls_of_a_start(site: &Site, call: &str) -> u64 {
    let process = traced(site, &[&format!("trace={call}")]).await.expect("it starts");
    process.kill().await;
    let trace = std::fs::read_to_string(site.path("trace.txt")).expect("trace");
    let mut threads = std::collections::BTreeMap::<&str, u64>::new();
    for line in trace.lines().filter(|line| line.contains(&format!(" {call}("))) {
        *threads.entry(line.split(' ').next().unwrap_or_default()).or_default() += 1;
    }
    threads.into_values().max().unwrap_or(0)
}

/// One kind of fault, at the `k`-th call of every thread: whether it was met, and whether it came
/// while the daemon served.
async fn fault_run(
    site: &Site,
    (call, error, k): (&str, &str, u64),
    plan: &Plan,
    sinks: [&Sink; 2],
) -> (bool, bool) {
    let oracle = &sinks[0].seen.oracle;
    let (calls, inject) =
        (format!("trace={call}"), format!("inject={call}:error={error}:when={k}"));
    // An error while it starts may keep it from starting, but says so and harms nothing.
    let mut process = match traced(site, &[&calls, &inject]).await {
        Ok(process) => process,
        Err(ended) => {
            assert_eq!(ended.code, Some(3), "{call} {error} {k}: {}", site.last_words());
            return (injected(site), false);
        }
    };
    let before = oracle.acknowledged();
    let producers = Producers::start(oracle, &process, plan, true);
    let (began, mut met) = (Instant::now(), false);
    while !met && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
        met = injected(site);
    }
    let after = oracle.acknowledged();
    let goes_on = async || oracle.acknowledged() >= after + 50 || is_degraded(&process).await;
    until(&format!("{call} {error} {k}: it goes on"), PATIENCE, goes_on).await;
    assert!(process.is_running(), "{call} {error} {k}: {}", site.last_words());
    process.kill().await;
    sinks.iter().for_each(|sink| sink.seen.killed());
    producers.stop().await;
    (met, oracle.acknowledged() > before)
}

fn injected(site: &Site) -> bool {
    let trace = std::fs::read(site.path("trace.txt")).unwrap_or_default();
    memchr::memmem::find(&trace, b"(INJECTED)").is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_a_disk_that_fails_loses_nothing_acknowledged() {
    let probe =
        ["strace", "-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync", "true"];
    if !usable("R6, a failing disk: strace", &probe).await {
        return;
    }
    // Runs of each kind: the k-th call of a thread fails, k = 1, 2, …
    let runs = amount("R6_RUNS", [2, 10, 100]);
    let plan = Plan { mqtt: 0..8, http: 8..10, connections: 2, window: 16, ..Plan::default() };
    let oracle = Oracle::new(plan.devices(), 128);
    let calls = Sink::http("calls", &oracle).await;
    let topics = Sink::mqtt("topics", &oracle).await;
    let site = Site::new(&broker(&topics), &two_rules(&calls));
    // The store and the first key are made without faults.
    site.start().await.stop().await;
    let (mut met, mut served, mut done) = (0, 0, 0);
    for (call, error) in [("fdatasync", "EIO"), ("pwrite64", "ENOSPC")] {
        // In the small, none of the few runs shall end with the start.
        let skip = if tier() < 2 { calls_of_a_start(&site, call).await } else { 0 };
        for k in skip + 1..=skip + runs {
            let run = fault_run(&site, (call, error, k), &plan, [&calls, &topics]).await;
            met += u64::from(run.0);
            served += u64::from(run.1);
            done += 1;
        }
    }
    let process = site.start().await;
    for sink in [&calls, &topics] {
        sink.seen.complete(PATIENCE).await;
        sink.seen.check();
    }
    process.balanced().await;
    process.stop().await;
    oracle.check();
    figure("R6", "runs, that met their fault, that served", format!("{done} {met} {served}"));
    figure("R6", "acknowledged", oracle.acknowledged());
    figure("R6", "acknowledged and lost", calls.seen.missing().0 + topics.seen.missing().0);
    assert!(met * 10 >= done * 8, "faults were met in {met} of {done} runs only");
    assert!(served * 2 >= done, "{served} of {done} runs served only");
    let acknowledged = oracle.acknowledged();
    assert!(acknowledged >= served * 50, "too little work: {acknowledged}");
}
