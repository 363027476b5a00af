//! The dead letters against real files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use bytestring::ByteString;
use contract::{Device, Headers, Origin, QoS, Topic, TopicLimits, shutdown};
use tokio::sync::mpsc;

use super::writer::REPLAYED_MAX;
use super::*;

const LIMITS: DeadLimits = DeadLimits { entries: 1_000_000, bytes: 1 << 40 };

/// A folder that is deleted with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("tidegate-dead-{}", uuid::Uuid::new_v4())))
    }

    fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }

    /// Time 1, 2, 3, … with every transaction.
    async fn open(&self, limits: DeadLimits) -> Arc<DeadLetters> {
        let clock = AtomicU64::new(0);
        let clock = Arc::new(move || clock.fetch_add(1, Ordering::Relaxed));
        Arc::new(DeadLetters::with_clock(&self.file(), limits, clock).await.unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn topic(text: &str) -> Topic {
    Topic::parse(text.to_owned(), TopicLimits::default()).unwrap()
}

fn letter(rule: &str, number: u64) -> DeadLetter {
    let payload = format!("{{\"n\":{number}}}");
    DeadLetter {
        rule: rule.into(),
        version: "v1".into(),
        action: "http".into(),
        reason: "poison",
        error: "422 unprocessable".to_owned(),
        attempts: 4,
        nth: 0,
        message: Message { id: number, ..Message::new(topic("/a1Pk/dev1/user/data"), payload, 5) },
        record: Some(Bytes::from_static(b"{}")),
    }
}

async fn all(dead: &DeadLetters, filter: &Filter) -> Vec<u64> {
    let list = dead.database().list(filter, None, 1_000_000).await.unwrap();
    list.iter().map(|listed| listed.id).collect()
}

#[tokio::test]
async fn a_letter_comes_back_as_it_was() {
    let folder = Folder::new();
    let mut given = letter("规则", u64::MAX - 5);
    given.nth = 3;
    given.message.qos = QoS::AtLeastOnce;
    given.message.retain = true;
    given.message.hops = 2;
    given.message.payload = Bytes::from_static(&[0, 255, 10]);
    given.message.device =
        Some(Arc::new(Device { product_key: "pk".into(), device_name: "dn".into() }));
    let pair = |key: &str, value: &str| (ByteString::from(key), ByteString::from(value));
    given.message.properties = Some(vec![pair("a", "1"), pair("a", "2")].into());
    given.message.headers = Some(Arc::new(Headers {
        content_type: Some("text/plain".into()),
        response_topic: Some("r".into()),
        correlation_data: Some(Bytes::from_static(&[1, 254])),
    }));
    given.message.origin = Arc::new(Origin {
        source: Some("mqtt".into()),
        client_id: Some("c".into()),
        username: Some("u".into()),
        peer: Some([127, 0, 0, 1].into()),
    });
    given.error = "é".repeat(5000);
    let dead = folder.open(LIMITS).await;
    dead.keep(vec![given.clone()]).await.unwrap();
    drop(dead);

    let dead = folder.open(LIMITS).await;
    assert_eq!((dead.counts().kept, dead.counts().added), (1, 1));
    let kept = dead.database().letter(1).await.unwrap().unwrap();
    assert_eq!((&*kept.rule, &*kept.version, &*kept.action), ("规则", "v1", "http"));
    assert_eq!((kept.reason.as_str(), kept.attempts, kept.nth), ("poison", 4, 3));
    assert_eq!(kept.error, "é".repeat(1024));
    assert_eq!((kept.state, kept.edited), (State::Dead, false));
    assert_eq!(kept.record, given.record);
    let (got, want) = (&kept.message, &given.message);
    assert_eq!((&got.topic, &got.payload, got.id), (&want.topic, &want.payload, want.id));
    assert_eq!((got.received_ms, got.qos, got.retain, got.hops), (5, want.qos, true, 2));
    assert_eq!((&got.device, &got.properties), (&want.device, &want.properties));
    assert_eq!((&got.headers, &got.origin), (&want.headers, &want.origin));
    assert!(dead.database().letter(2).await.unwrap().is_none());
}

#[tokio::test]
async fn callers_at_the_same_time_share_transactions() {
    let folder = Folder::new();
    let dead = folder.open(LIMITS).await;
    let calls = (1..=500).map(|n| dead.keep(vec![letter("a", n), letter("b", n)]));
    for result in futures_util::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(dead.counts().kept, 1000);
    // Every transaction has a time of its own.
    let list = dead.database().list(&Filter::default(), None, 2000).await.unwrap();
    let transactions: std::collections::BTreeSet<u64> = list.iter().map(|l| l.kept_ms).collect();
    assert!(transactions.len() < 50, "{} transactions", transactions.len());
}

#[tokio::test]
async fn the_same_record_is_kept_once() {
    let folder = Folder::new();
    let dead = folder.open(LIMITS).await;
    dead.keep(vec![letter("a", 1), letter("a", 2)]).await.unwrap();
    let again = DeadLetter { attempts: 9, ..letter("a", 1) };
    let other = DeadLetter { nth: 1, ..letter("a", 1) };
    dead.keep(vec![again, other]).await.unwrap();
    assert_eq!(all(&dead, &Filter::default()).await.len(), 3);
    assert_eq!(dead.database().letter(1).await.unwrap().unwrap().attempts, 9);
    // Messages without a number are never taken for the same.
    dead.keep(vec![letter("a", 0), letter("a", 0)]).await.unwrap();
    assert_eq!((dead.counts().kept, dead.counts().added), (5, 5));
}

#[tokio::test]
async fn the_limits_drive_out_the_oldest() {
    let folder = Folder::new();
    let dead = folder.open(DeadLimits { entries: 10, ..LIMITS }).await;
    for chunk in 0..5 {
        dead.keep((1..=7).map(|n| letter("a", chunk * 7 + n)).collect()).await.unwrap();
    }
    let counts = dead.counts();
    assert_eq!((counts.kept, counts.added, counts.dropped), (10, 35, 25));
    assert_eq!(all(&dead, &Filter::default()).await, (26..=35).rev().collect::<Vec<_>>());
    let each = counts.bytes / 10;
    drop(dead);

    let bytes = each * 4 + each / 2;
    let dead = folder.open(DeadLimits { bytes, ..LIMITS }).await;
    assert_eq!((dead.counts().kept, dead.counts().dropped), (4, 31));
    let mut large = letter("a", 99);
    large.message.payload = vec![b'x'; usize::try_from(each).unwrap() * 2].into();
    dead.keep(vec![large]).await.unwrap();
    // Its clock is behind that of the others, as it began again.
    assert_eq!(all(&dead, &Filter::default()).await, [35, 36]);
    assert!(dead.counts().bytes <= bytes);
}

#[tokio::test]
async fn filters_and_pages() {
    let folder = Folder::new();
    let dead = folder.open(LIMITS).await;
    for n in 1..=30 {
        let rule = if n % 3 == 0 { "third" } else { "other" };
        let reason = if n % 2 == 0 { "expired" } else { "poison" };
        dead.keep(vec![DeadLetter { reason, ..letter(rule, n) }]).await.unwrap();
    }
    let of = |rule: &str| Filter { rule: Some(rule.into()), ..Filter::default() };
    assert_eq!(all(&dead, &of("third")).await, [30, 27, 24, 21, 18, 15, 12, 9, 6, 3]);
    assert!(all(&dead, &of("' OR 1 --")).await.is_empty());
    let expired = Filter { reason: Some("expired".into()), ..of("third") };
    assert_eq!(all(&dead, &expired).await, [30, 24, 18, 12, 6]);
    let since = Filter { since_ms: Some(25), action: Some("http".into()), ..of("third") };
    assert_eq!(all(&dead, &since).await, [30, 27]);
    let ids = Filter { ids: Some(vec![3, 4, 400]), ..of("third") };
    assert_eq!(all(&dead, &ids).await, [3]);

    let mut pages = Vec::new();
    let mut before = None;
    loop {
        let page = dead.database().list(&of("other"), before, 7).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some((last.kept_ms, last.id));
        pages.extend(page.iter().map(|listed| listed.id));
    }
    assert_eq!(pages, all(&dead, &of("other")).await);
    let groups = dead.database().groups(&Filter::default()).await.unwrap();
    assert_eq!(groups.iter().map(|group| group.count).collect::<Vec<_>>(), [10, 10, 5, 5]);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_says_why() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).unwrap();
    std::fs::write(folder.file(), "no database, but longer than its head: ".repeat(50)).unwrap();
    let error = DeadLetters::open(&folder.file(), LIMITS).await.unwrap_err().to_string();
    assert!(error.contains("not a database"), "{error}");
    assert!(Database::open(&folder.0.join("none.db")).await.unwrap().is_none());
}

/// Takes letters as told, and counts who got what.
#[derive(Default)]
struct Fake {
    given: Mutex<BTreeMap<u64, u32>>,
    order: Mutex<Vec<u64>>,
    held: Mutex<Vec<Done>>,
    /// Numbers that fail, and numbers that are held.
    fails: Vec<u64>,
    holds: bool,
    told: Option<mpsc::UnboundedSender<u64>>,
}

impl ReplayTo for Fake {
    fn give(&self, letter: StoredLetter, done: Done) {
        *self.given.lock().unwrap().entry(letter.id).or_default() += 1;
        self.order.lock().unwrap().push(letter.id);
        if self.holds {
            self.held.lock().unwrap().push(done);
        } else if self.fails.contains(&letter.id) {
            done.failed("exhausted", "still no");
        } else {
            done.delivered();
        }
        if let Some(told) = &self.told {
            told.send(letter.id).ok();
        }
    }
}

async fn want(dead: &DeadLetters, filter: &Filter) -> Wanted {
    let database = dead.database();
    let mut wanted = database.begin_replay(1).await.unwrap();
    while database.want(&mut wanted, filter).await.unwrap() {}
    dead.look();
    wanted
}

/// Waits for the end of a replay; the paused clock runs ahead while nothing else happens.
async fn finished(dead: &DeadLetters, wanted: &Wanted) -> Progress {
    loop {
        let progress = dead.database().progress(wanted.replay).await.unwrap();
        if progress.done() >= progress.total {
            return progress;
        }
        tokio::task::yield_now().await;
    }
}

async fn keep(dead: &DeadLetters, count: u64) {
    let numbers: Vec<u64> = (1..=count).collect();
    for chunk in numbers.chunks(1000) {
        dead.keep(chunk.iter().map(|n| letter("a", *n)).collect()).await.unwrap();
    }
}

#[tokio::test]
async fn each_letter_is_given_once_in_order() {
    let folder = Folder::new();
    let dead = folder.open(LIMITS).await;
    keep(&dead, 10_000).await;
    let fake = Arc::new(Fake { fails: vec![3, 9_999], ..Fake::default() });
    let (stop, stopped) = shutdown();
    let task = tokio::spawn(Arc::clone(&dead).replay(fake.clone(), stopped));
    let wanted = want(&dead, &Filter::default()).await;
    let progress = finished(&dead, &wanted).await;
    assert_eq!((progress.total, progress.delivered, progress.failed), (10_000, 9_998, 2));
    assert_eq!(*fake.order.lock().unwrap(), (1..=10_000).collect::<Vec<_>>());
    assert_eq!(all(&dead, &Filter::default()).await, [9_999, 3]);
    let third = dead.database().letter(3).await.unwrap().unwrap();
    assert_eq!(
        (third.reason.as_str(), third.error.as_str(), third.attempts),
        ("exhausted", "still no", 5)
    );
    let replayed = Filter { replayed: true, ..Filter::default() };
    assert_eq!(all(&dead, &replayed).await.len(), 9_998);
    let counts = dead.counts();
    assert_eq!((counts.kept, counts.replayed, counts.dropped), (2, 9_998, 0));

    // Once more: only those that are dead. By force: those, too.
    want(&dead, &Filter::default()).await;
    let wanted = want(&dead, &Filter { ids: Some(vec![5]), ..replayed }).await;
    finished(&dead, &wanted).await;
    stop.stop();
    task.await.unwrap();
    let given = fake.given.lock().unwrap();
    let twice: Vec<u64> = given.iter().filter(|(_, n)| **n != 1).map(|(id, _)| *id).collect();
    assert_eq!(twice, [3, 5, 9_999]);
}

#[tokio::test]
async fn a_replay_goes_on_after_it_was_cut_off() {
    let folder = Folder::new();
    let dead = folder.open(LIMITS).await;
    keep(&dead, 3000).await;
    let wanted = want(&dead, &Filter::default()).await;
    let (told, mut heard) = mpsc::unbounded_channel();
    let fake = Arc::new(Fake { holds: true, told: Some(told), ..Fake::default() });
    let (_stop, stopped) = shutdown();
    let task = tokio::spawn(Arc::clone(&dead).replay(fake.clone(), stopped));
    for _ in 0..IN_FLIGHT_MAX {
        heard.recv().await.unwrap();
    }
    // A bounded number is under way; 400 of them get through before the end.
    let held: Vec<Done> = fake.held.lock().unwrap().drain(..400).collect();
    held.into_iter().for_each(Done::delivered);
    for _ in 0..400 {
        heard.recv().await.unwrap();
    }
    assert_eq!(fake.order.lock().unwrap().len(), IN_FLIGHT_MAX + 400);
    task.abort();
    task.await.unwrap_err();
    drop(dead);

    let dead = folder.open(LIMITS).await;
    let second = Arc::new(Fake::default());
    let (_stop, stopped) = shutdown();
    tokio::spawn(Arc::clone(&dead).replay(second.clone(), stopped));
    let progress = finished(&dead, &wanted).await;
    assert_eq!((progress.total, progress.delivered), (3000, 3000));
    // Those that were written down are not given again; those that were only given are.
    assert_eq!(*second.order.lock().unwrap(), (401..=3000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_given_back_is_given_again() {
    let folder = Folder::new();
    let dead = folder.open(LIMITS).await;
    keep(&dead, 2).await;
    let (told, mut heard) = mpsc::unbounded_channel();
    let fake = Arc::new(Fake { holds: true, told: Some(told), ..Fake::default() });
    let (_stop, stopped) = shutdown();
    tokio::spawn(Arc::clone(&dead).replay(fake.clone(), stopped));
    let wanted = want(&dead, &Filter::default()).await;
    assert_eq!((heard.recv().await, heard.recv().await), (Some(1), Some(2)));
    // Dropped, both of them.
    fake.held.lock().unwrap().clear();
    assert_eq!((heard.recv().await, heard.recv().await), (Some(1), Some(2)));
    let held = std::mem::take(&mut *fake.held.lock().unwrap());
    held.into_iter().for_each(Done::delivered);
    assert_eq!(finished(&dead, &wanted).await.delivered, 2);
}

#[tokio::test]
async fn edited_letters_are_replayed_as_edited() {
    let folder = Folder::new();
    let dead = folder.open(LIMITS).await;
    keep(&dead, 3).await;
    let database = dead.database();
    let wanted = database.begin_replay(1).await.unwrap();
    let edit =
        |id| Edit { id, topic: topic("/b"), payload: Bytes::from_static(b"{\"n\":\"new\"}") };
    let left = database.want_edited(&wanted, &[edit(2), edit(77)], false).await.unwrap();
    assert_eq!(left, [77]);
    let second = database.letter(2).await.unwrap().unwrap();
    assert_eq!((second.state, second.edited, second.record.is_none()), (State::Wanted, true, true));
    assert_eq!(
        (second.message.topic.as_str(), &second.message.payload[..]),
        ("/b", &b"{\"n\":\"new\"}"[..])
    );
    assert_eq!(second.message.id, 2);
    // It is on its way: it is not changed under the hands of the replay.
    assert_eq!(database.want_edited(&wanted, &[edit(2)], true).await.unwrap(), [2]);
    assert_eq!(database.progress(wanted.replay).await.unwrap().total, 1);
    let row: i64 = sqlx::query_scalar("SELECT sum(bytes) FROM letters")
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(database.counts().await.unwrap().bytes, u64::try_from(row).unwrap());
}

#[tokio::test]
async fn a_later_replay_takes_over_what_an_earlier_one_still_wants() {
    let folder = Folder::new();
    let dead = folder.open(DeadLimits { entries: 5, ..LIMITS }).await;
    keep(&dead, 5).await;
    let first = want(&dead, &Filter::default()).await;
    let second = want(&dead, &Filter { ids: Some(vec![4, 5]), ..Filter::default() }).await;
    let progress = async |wanted: &Wanted| dead.database().progress(wanted.replay).await.unwrap();
    assert_eq!((progress(&first).await.total, progress(&second).await.total), (3, 2));
    // What the limit drives out is not waited for.
    dead.keep(vec![letter("b", 1)]).await.unwrap();
    assert_eq!(progress(&first).await.dropped, 1);
    let (stop, stopped) = shutdown();
    let task = tokio::spawn(Arc::clone(&dead).replay(Arc::new(Fake::default()), stopped));
    assert_eq!(finished(&dead, &first).await.delivered, 2);
    assert_eq!(finished(&dead, &second).await.delivered, 2);
    // The counts follow what is written.
    stop.stop();
    task.await.unwrap();
    assert_eq!(dead.counts().kept, 1);
}

/// R18 in full: `cargo test --release --lib million -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute and 1 GiB of disk"]
async fn r18_a_million_letters() {
    const COUNT: u64 = 1_000_000;
    let folder = Folder::new();
    let dead = folder.open(LIMITS).await;
    let start = std::time::Instant::now();
    keep(&dead, COUNT).await;
    println!("kept {COUNT} letters in {:?}", start.elapsed());
    let database = dead.database();
    let page = async |name: &str, filter: Filter, before: Option<(u64, u64)>| {
        let mut times = Vec::new();
        for _ in 0..20 {
            let start = std::time::Instant::now();
            database.list(&filter, before, 50).await.unwrap();
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!("list page, {name}: median {median:?}, worst {worst:?}");
        assert!(median.as_millis() <= 50, "{name}: {median:?}");
    };
    let none = Filter::default;
    page("first", none(), None).await;
    page("in the middle", none(), Some((500, 500_000))).await;
    page("of a rule", Filter { rule: Some("a".into()), ..none() }, None).await;
    page("of a rule without any", Filter { rule: Some("b".into()), ..none() }, None).await;
    page("of a reason", Filter { reason: Some("expired".into()), ..none() }, None).await;
    page("since", Filter { since_ms: Some(500), ..none() }, None).await;

    let fake = Arc::new(Fake::default());
    let (stop, stopped) = shutdown();
    let start = std::time::Instant::now();
    let wanted = want(&dead, &none()).await;
    println!("asked for all in {:?}", start.elapsed());
    let start = std::time::Instant::now();
    let task = tokio::spawn(Arc::clone(&dead).replay(fake.clone(), stopped));
    let mut every = tokio::time::interval(std::time::Duration::from_millis(50));
    while database.progress(wanted.replay).await.unwrap().done() < COUNT {
        every.tick().await;
    }
    let took = start.elapsed();
    stop.stop();
    task.await.unwrap();
    let rate = COUNT as f64 / took.as_secs_f64();
    println!("replayed {COUNT} letters in {took:?}: {rate:.0}/s");
    let given = std::mem::take(&mut *fake.given.lock().unwrap());
    assert_eq!(given.len() as u64, COUNT);
    assert!(given.values().all(|count| *count == 1));
    assert_eq!(dead.counts().kept, 0);
    assert_eq!(all(&dead, &Filter { replayed: true, ..none() }).await.len() as u64, REPLAYED_MAX);
    assert!(rate >= 20_000.0 || cfg!(debug_assertions), "{rate:.0}/s");
}
