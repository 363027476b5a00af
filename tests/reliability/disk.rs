//! R5 and R6: a disk that is full, and one that fails. What was acknowledged stays, what can't be kept
//! is not acknowledged, and the daemon goes on by itself.

use std::time::{Duration, Instant};

use super::amounts::{amount, figure, tier};
use super::oracle::Oracle;
use super::process::{PATIENCE, Process, Site, usable};
use super::producer::{Plan, Producers};
use super::sink::{Mode, Sink};
use super::{broker, two_rules};

/// No acknowledgement for so long means that there are none any more.
const SILENCE: Duration = Duration::from_millis(1_500);

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
    let plan = Plan { http: 0..0, mqtt: 0..8, connections: 2, window: 64, ..Plan::default() };
    let oracle = Oracle::new(plan.devices(), 16 << 10);
    let calls = Sink::http("calls", &oracle).await;
    // What this one has not got is what fills the disk.
    let topics = Sink::mqtt("topics", &oracle).await;
    topics.set(Mode::Refuse);
    let site = Site::new(&broker(&topics), &two_rules(&calls));
    std::fs::create_dir(site.path("data")).expect("data");
    let mut process = site.start_under(&under).await;
    let producers = Producers::start(&oracle, &process, &plan, true);
    let silent = || oracle.now_us() - oracle.last_us() > SILENCE.as_micros() as u64;
    until("acknowledgements stop", PATIENCE * 2, async || oracle.acknowledged() > 0 && silent())
        .await;
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
    until("it is ready again", PATIENCE, async || !is_degraded(&process).await).await;
    until("it goes on", PATIENCE, async || oracle.acknowledged() > full + 100).await;
    producers.stop().await;
    topics.set(Mode::Up);
    for sink in [&calls, &topics] {
        sink.seen.complete(PATIENCE * 3).await;
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
    assert!(full * (16 << 10) >= (mib << 20) / 8, "too little work: {full} messages");
}

/// One kind of fault, at the `k`-th call of every thread.
async fn fault_run(
    site: &Site,
    call: &str,
    error: &str,
    k: u64,
    plan: &Plan,
    sinks: [&Sink; 2],
) -> u64 {
    let oracle = &sinks[0].seen.oracle;
    let trace = site.path("trace.txt").display().to_string();
    let (calls, inject) =
        (format!("trace={call}"), format!("inject={call}:error={error}:when={k}"));
    let under =
        ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", &trace, "-e", &calls, "-e", &inject];
    std::fs::write(&trace, "").expect("trace");
    // An error while it starts may keep it from starting, but says so and harms nothing.
    let mut process = match site.try_start(&under).await {
        Ok(process) => process,
        Err(ended) => {
            assert_eq!(ended.code, Some(3), "{call} {error} {k}: {}", site.last_words());
            return injected(&trace);
        }
    };
    let before = oracle.acknowledged();
    let producers = Producers::start(oracle, &process, plan, true);
    // One sync serves all that wait at that moment: enough messages for k of them.
    let least = before + 50 + 40 * k;
    let goes_on = async || oracle.acknowledged() >= least || is_degraded(&process).await;
    until(&format!("{call} {error} {k}: it goes on"), PATIENCE, goes_on).await;
    assert!(process.is_running(), "{call} {error} {k}: {}", site.last_words());
    process.kill().await;
    sinks.iter().for_each(|sink| sink.seen.killed());
    producers.stop().await;
    injected(&trace)
}

fn injected(trace: &str) -> u64 {
    let trace = std::fs::read(trace).unwrap_or_default();
    memchr::memmem::find_iter(&trace, b"(INJECTED)").count() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_a_disk_that_fails_loses_nothing_acknowledged() {
    let probe =
        ["strace", "-D", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync", "true"];
    if !usable("R6, a failing disk: strace", &probe).await {
        return;
    }
    // Runs of each kind; the k-th call fails, k = 1, 2, … or spread over the same range.
    let runs = amount("R6_RUNS", [2, 10, 100]);
    let plan = Plan { mqtt: 0..8, http: 8..10, connections: 2, window: 16, ..Plan::default() };
    let oracle = Oracle::new(plan.devices(), 128);
    let calls = Sink::http("calls", &oracle).await;
    let topics = Sink::mqtt("topics", &oracle).await;
    let site = Site::new(&broker(&topics), &two_rules(&calls));
    // The store and the first key are made without faults.
    site.start().await.stop().await;
    let (mut met, mut done) = (0, 0);
    for run in 1..=runs {
        for (call, error) in [("fdatasync", "EIO"), ("pwrite64", "ENOSPC")] {
            let k = if tier() == 0 { run * 2 - 1 } else { run };
            let faults = fault_run(&site, call, error, k, &plan, [&calls, &topics]).await;
            met += u64::from(faults > 0);
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
    figure("R6", "runs, and runs that met their fault", format!("{done} {met}"));
    figure("R6", "acknowledged", oracle.acknowledged());
    figure("R6", "acknowledged and lost", calls.seen.missing().0 + topics.seen.missing().0);
    assert!(met * 10 >= done * 8, "faults were met in {met} of {done} runs only");
    assert!(oracle.acknowledged() >= done * 50, "too little work: {}", oracle.acknowledged());
}
