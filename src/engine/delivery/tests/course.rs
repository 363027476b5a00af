//! What an action does over time: backoff, circuit breaker, pause, age, isolation. The clock is paused.

use super::*;
use rule::Then;

const HOUR: Duration = Duration::from_secs(3600);

fn balanced(lane: &Lane) {
    let c = lane.counts();
    assert_eq!(c.received, c.delivered + c.failed + c.queued, "{c:?}");
}

/// Lets the paused clock run on until something holds.
async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn bodies(sink: &Scripted) -> Vec<String> {
    sink.seen().into_iter().map(|(_, body)| body).collect()
}

#[tokio::test(start_paused = true)]
async fn without_an_error_action_a_record_is_kept_and_tried_until_it_gets_through() {
    let sink = Scripted::new(&[Step::Retry; 30], 1);
    let lane = keeping(&sink, Retry::default());
    lane.push(0, items(&["1", "2"], None));
    settle(&[&lane]).await;
    let times: Vec<u64> = sink.seen().iter().map(|(at, _)| *at).collect();
    assert_eq!(times[..4], [0, 1, 4, 14], "the vendor's schedule comes first");
    for (pair, bound) in times[3..31].windows(2).zip([20, 40, 60].into_iter().chain([60; 30])) {
        assert!(pair[1] - pair[0] <= bound, "{times:?}");
    }
    let counts = lane.counts();
    assert_eq!((counts.delivered, counts.failed, counts.retried), (2, 0, 30));
    assert_eq!(counts.tried, [2, 30, 0, 0, 0]);
    let keys = sink.keys.lock().expect("lock").clone();
    assert!(keys[..31].iter().all(|key| key.as_deref() == Some("rule/main/7")), "{keys:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_longer_than_it_may_is_given_up_with_all_behind_it() {
    let sink = Scripted::new(&[], 2);
    sink.always(Step::Retry);
    let lane = keeping(&sink, Retry { max_age: HOUR, ..Retry::default() });
    lane.push(0, items(&["1", "2", "3", "4", "5"], None));
    let start = Instant::now();
    settle(&[&lane]).await;
    let took = start.elapsed();
    assert!(took >= HOUR && took < HOUR + Duration::from_secs(1), "{took:?}");
    let counts = lane.counts();
    assert_eq!((counts.failed, counts.dropped), (5, 5));
    assert_eq!(counts.dropped_by[Reason::Expired as usize], 5);
    balanced(&lane);
    // What comes later has its own time, and the breaker keeps the calls rare.
    lane.push(0, items(&["6"], None));
    sink.always(Step::Ok);
    settle(&[&lane]).await;
    assert_eq!(lane.counts().delivered, 1);
    assert!(sink.seen().len() < 400, "{} records tried in an hour", sink.seen().len());
}

#[tokio::test(start_paused = true)]
async fn r16_an_open_breaker_probes_with_one_batch_and_uses_up_no_tries() {
    let (sink, errors) = (Scripted::new(&[], 1), Scripted::new(&[], 1));
    sink.always(Step::Retry);
    let error_lane = lane("error_action", &errors, LIMITS);
    let lane = lane("main", &sink, LIMITS);
    let names: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    lane.push(0, items(&names, Some(&error_lane)));
    until(|| lane.counts().breaker == BreakerState::Open).await;
    // The first has had its schedule; the next one's first failure opens the breaker.
    assert_eq!(bodies(&sink), ["0", "0", "0", "0", "1"]);
    assert_eq!((lane.counts().failed, lane.counts().queued), (1, 49));
    assert!(lane.trouble().expect("trouble").contains("records wait: Retry"));
    let (opened, calls) = (Instant::now(), sink.seen().len());
    until(|| opened.elapsed() > 10 * HOUR).await;
    let probes = sink.seen().len() - calls;
    assert!((600..3000).contains(&probes), "{probes} probes in ten hours");
    assert!(bodies(&sink)[calls..].iter().all(|body| body == "1"));
    assert_eq!(lane.counts().failed, 1, "no further record was given up");
    sink.always(Step::Ok);
    settle(&[&lane, &error_lane]).await;
    let counts = lane.counts();
    assert_eq!((counts.delivered, counts.failed, counts.dropped), (49, 1, 0));
    assert_eq!((counts.breaker, lane.trouble()), (BreakerState::Closed, None));
    assert_eq!(bodies(&sink)[calls + probes..], names[1..], "in order");
    assert_eq!(errors.seen().len(), 1);
    balanced(&lane);
}

#[tokio::test(start_paused = true)]
async fn r16_a_hundred_thousand_records_make_no_storm() {
    const COUNT: usize = 100_000;
    let sink = Scripted::new(&[], 500);
    sink.always(Step::Retry);
    let limits = LaneLimits { records: COUNT, bytes: 64 << 20 };
    let retry = Retry { then: Some(Then::Keep), ..Retry::default() };
    let lane = super::make("main", Arc::clone(&sink) as Arc<dyn Sink>, limits, false, retry);
    let names: Vec<String> = (0..COUNT).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    lane.push(0, items(&names, None));
    until(|| lane.counts().breaker == BreakerState::Open).await;
    let (opened, calls) = (Instant::now(), sink.calls().last().copied().unwrap_or_default());
    until(|| opened.elapsed() > 10 * HOUR).await;
    let probes = sink.calls().last().copied().unwrap_or_default() - calls;
    assert!((600..3000).contains(&probes), "{probes} calls in ten hours");
    let tried = sink.seen().len();
    sink.always(Step::Ok);
    settle(&[&lane]).await;
    assert_eq!((lane.counts().delivered, lane.counts().failed), (COUNT as u64, 0));
    assert_eq!(bodies(&sink)[tried..], names, "in order");
    balanced(&lane);
}

#[tokio::test(start_paused = true)]
async fn r19_an_answer_after_the_deadline_is_unknown_and_counted_once() {
    // It does what it is asked, but answers a second too late.
    let sink = Scripted::new(&[Step::Late, Step::Ok], 1);
    let lane = keeping(&sink, Retry::default());
    lane.push(0, items(&["a", "b"], None));
    settle(&[&lane]).await;
    assert_eq!(bodies(&sink), ["a", "a", "b"]);
    let keys = sink.keys.lock().expect("lock").clone();
    assert!(keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
    let counts = lane.counts();
    assert_eq!((counts.received, counts.delivered, counts.retried), (2, 2, 1));
    balanced(&lane);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_configuration_pauses_the_action_until_it_is_mended() {
    let sink = Scripted::new(&[], 1);
    sink.always(Step::Misconfigured);
    let (lane, errors) = (lane("main", &sink, LIMITS), Scripted::new(&[], 1));
    let error_lane = super::lane("error_action", &errors, LIMITS);
    lane.push(0, items(&["1", "2", "3"], Some(&error_lane)));
    until(|| lane.counts().paused).await;
    assert!(lane.trouble().expect("trouble").contains("configuration is wrong: Misconfigured"));
    until(|| sink.seen().len() == 4).await;
    let times: Vec<u64> = sink.seen().iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 60, 120, 180], "a look every minute");
    assert_eq!((lane.counts().queued, lane.counts().failed), (3, 0), "all of them wait");
    // Somebody mends it and reloads.
    sink.always(Step::Ok);
    lane.resume();
    settle(&[&lane]).await;
    assert!(sink.seen()[4].0 <= 181, "at once");
    assert_eq!(bodies(&sink)[4..], ["1", "2", "3"]);
    assert_eq!((lane.counts().delivered, lane.counts().paused), (3, false));
    assert_eq!((lane.trouble(), errors.seen().len()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn then_says_what_comes_after_the_schedule() {
    let delays: Arc<[Duration]> = [Duration::from_secs(1)].into();
    let schedule = |then| Retry { delays: Arc::clone(&delays), then, ..Retry::default() };
    let table = [
        (true, None, 1),
        (true, Some(Then::Keep), 0),
        (false, None, 0),
        (false, Some(Then::ErrorAction), 1),
    ];
    for (error_action, then, failed) in table {
        let sink = Scripted::new(&[Step::Retry; 9], 1);
        let sunk = Arc::clone(&sink) as Arc<dyn Sink>;
        let lane = make("main", sunk, LIMITS, error_action, schedule(then));
        lane.push(0, items(&["1"], None));
        settle(&[&lane]).await;
        assert_eq!(lane.counts().failed, failed, "{error_action} {then:?}");
        assert_eq!(lane.counts().dropped_by[Reason::Exhausted as usize], failed);
    }
}

#[tokio::test(start_paused = true)]
async fn r13_dead_hanging_and_slow_destinations_cost_the_others_nothing() {
    let kinds = [Step::Hang, Step::Retry, Step::Misconfigured, Step::Poison];
    let sinks: Vec<_> = (0..50).map(|_| Scripted::new(&[], 1)).collect();
    for (sink, kind) in sinks.iter().zip(kinds) {
        sink.always(kind);
    }
    let lanes: Vec<_> = sinks.iter().map(|sink| lane("main", sink, LIMITS)).collect();
    for batch in 0..10 {
        for lane in &lanes {
            let names: Vec<String> = (0..5).map(|n| (batch * 5 + n).to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            lane.push(0, items(&names, None));
        }
    }
    let healthy: Vec<_> = lanes[kinds.len()..].iter().collect();
    settle(&healthy).await;
    let want: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for (sink, lane) in sinks.iter().zip(&lanes).skip(kinds.len()) {
        assert!(sink.seen().iter().all(|(at, _)| *at == 0), "nothing was late");
        assert_eq!((bodies(sink), lane.counts().delivered), (want.clone(), 50));
    }
    for sink in &sinks {
        sink.always(Step::Ok);
    }
    lanes.iter().for_each(|lane| lane.resume());
    settle(&lanes.iter().collect::<Vec<_>>()).await;
    for lane in &lanes {
        balanced(lane);
        assert_eq!(lane.counts().received, 50);
    }
    let poison = lanes[3].counts();
    assert_eq!(poison.dropped_by[Reason::Poison as usize], poison.failed);
}

/// Takes one second for each record, and fails badly at some.
struct Slow {
    taken: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl Sink for Slow {
    async fn deliver(&self, records: &[Record]) -> Vec<Outcome> {
        let text = |record: &Record| String::from_utf8_lossy(record.bytes()).into_owned();
        assert!(!records.iter().any(|record| text(record) == "bad"), "a defect");
        tokio::time::sleep(Duration::from_secs(records.len() as u64)).await;
        self.taken.lock().expect("lock").extend(records.iter().map(text));
        vec![Outcome::Ok; records.len()]
    }

    async fn check(&self) -> Result<(), DeliveryError> {
        Ok(())
    }

    fn resource(&self) -> String {
        "slow".to_owned()
    }

    fn batch_max(&self) -> usize {
        64
    }
}

#[tokio::test(start_paused = true)]
async fn r19_a_destination_too_slow_for_a_batch_gets_smaller_ones() {
    let sink = Arc::new(Slow { taken: Mutex::default() });
    let lane = make("main", sink.clone(), LIMITS, false, Retry::default());
    let names: Vec<String> = (0..64).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    lane.push(0, items(&names, None));
    settle(&[&lane]).await;
    assert_eq!(*sink.taken.lock().expect("lock"), names, "all, in order");
    let counts = lane.counts();
    assert_eq!((counts.delivered, counts.failed), (64, 0));
    assert!(counts.tried[2] > 0, "late answers count as unknown, not as delivered: {counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_breaks_the_sink_is_given_up_alone() {
    let sink = Arc::new(Slow { taken: Mutex::default() });
    let lane = make("main", sink.clone(), LIMITS, false, Retry::default());
    lane.push(0, items(&["1", "bad", "2", "3"], None));
    settle(&[&lane]).await;
    assert_eq!(*sink.taken.lock().expect("lock"), ["1", "2", "3"]);
    assert_eq!(lane.counts().dropped_by[Reason::Poison as usize], 1);
    balanced(&lane);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_only_poison_does_not_close_the_breaker() {
    let sink = Scripted::new(&[Step::Retry; 5], 1);
    let lane = keeping(&sink, Retry::default());
    lane.push(0, items(&["1", "2", "3"], None));
    until(|| lane.counts().breaker == BreakerState::Open).await;
    sink.always(Step::Poison);
    settle(&[&lane]).await;
    assert_eq!(lane.counts().breaker, BreakerState::HalfOpen);
    sink.always(Step::Ok);
    lane.push(0, items(&["4"], None));
    settle(&[&lane]).await;
    assert_eq!(lane.counts().breaker, BreakerState::Closed);
}
