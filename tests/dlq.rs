//! `tidegate dlq` against real files, with the replay of a daemon beside it in this process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use connectors::contract::{Message, ShutdownHandle, Topic, TopicLimits, shutdown};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::engine::dead::{
    DeadLetter, DeadLetters, DeadLimits, Done, FILE, ReplayTo, StoredLetter,
};

use crate::daemon;

const LIMITS: DeadLimits = DeadLimits { entries: 1_000_000, bytes: 1 << 40 };

/// A folder with a data folder in it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("tidegate.yaml"), "time_zone: UTC\n").expect("configuration");
    folder
}

async fn open(folder: &Path) -> Arc<DeadLetters> {
    Arc::new(DeadLetters::open(&folder.join("data").join(FILE), LIMITS).await.expect("opens"))
}

fn letter(rule: &str, action: &str, number: u64) -> DeadLetter {
    let topic = Topic::parse("/a1Pk/dev1/user/data", TopicLimits::default()).expect("topic");
    let message = Message::new(topic, format!("{{\"n\":{number}}}"), 1_763_700_000_000);
    DeadLetter {
        rule: rule.into(),
        version: "4f2a".into(),
        action: action.into(),
        reason: "poison",
        error: "422: no such\u{1b}[31m column".to_owned(),
        attempts: 1,
        nth: 0,
        message: Message { id: number, ..message },
        record: Some("{\"t\":1}".into()),
    }
}

async fn keep(dead: &DeadLetters, rule: &str, count: u64) {
    let numbers: Vec<u64> = (1..=count).collect();
    for chunk in numbers.chunks(1000) {
        let letters = chunk.iter().map(|n| letter(rule, "http", *n)).collect();
        dead.keep(letters).await.expect("kept");
    }
}

/// The command, in the folder: exit code, standard output and standard error.
async fn dlq(folder: &TempDir, args: &[&str]) -> (i32, String, String) {
    let path = folder.path().to_owned();
    let args: Vec<String> = ["dlq"].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
    let work = tokio::task::spawn_blocking(move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        daemon::run(&path, &args, "")
    });
    work.await.expect("runs")
}

/// Topic and payload.
type Got = (String, Vec<u8>);

/// What a rule's action would be: it notes what it got, and refuses what it is told to.
#[derive(Default)]
struct Fake {
    got: Mutex<BTreeMap<u64, Vec<Got>>>,
    refuses: Option<u64>,
}

impl ReplayTo for Fake {
    fn give(&self, letter: StoredLetter, done: Done) {
        let message = &letter.message;
        let got = (message.topic.to_string(), message.payload.to_vec());
        self.got.lock().expect("free").entry(letter.id).or_default().push(got);
        if self.refuses == Some(letter.id) {
            done.failed("poison", "still no such column");
        } else {
            done.delivered();
        }
    }
}

/// What a daemon does with a file.
fn replaying(dead: &Arc<DeadLetters>, fake: &Arc<Fake>) -> ShutdownHandle {
    let (stop, stopped) = shutdown();
    tokio::spawn(Arc::clone(dead).replay(Arc::clone(fake) as Arc<dyn ReplayTo>, stopped));
    stop
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_and_shown() {
    let folder = folder();
    let (code, out, _) = dlq(&folder, &["list"]).await;
    assert!(code == 0 && out.starts_with("there are no dead letters in "), "{out}");
    assert!(!folder.path().join("data").exists(), "a look makes no file");

    let dead = open(folder.path()).await;
    keep(&dead, "high_temperature", 3).await;
    let mut binary = letter("raw", "file", 9);
    binary.message.payload = vec![0, 255].into();
    dead.keep(vec![binary]).await.expect("kept");

    let (code, out, _) = dlq(&folder, &["list", "--limit", "2"]).await;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len()), (0, 4), "{out}");
    assert!(lines[0].starts_with("id  kept"), "{out}");
    assert!(lines[1].starts_with("4   ") && lines[2].starts_with("3   "), "{out}");
    assert!(out.contains("no such\\u{1b}[31m column") && !out.contains('\u{1b}'), "{out}");
    assert_eq!(lines[3], "2 shown, 4 dead letters are kept; older ones: --before 3");
    let (_, out, _) = dlq(&folder, &["list", "--before", "3", "--json"]).await;
    let ids: Vec<Value> = out.lines().map(|line| json_of(line)["id"].clone()).collect();
    assert_eq!(ids, [2, 1]);
    for (args, count) in [
        (&["--rule", "raw"][..], 1),
        (&["--rule", "high_temperature", "--action", "http", "--reason", "poison"], 3),
        (&["--since", "1h"], 4),
        (&["--since", "2099-01-01"], 0),
        (&["--since", "2020-01-01T00:00:00Z"], 4),
        (&["--replayed"], 0),
    ] {
        let (code, out, _) = dlq(&folder, &[&["list", "--json"], args].concat()).await;
        assert_eq!((code, out.lines().count()), (0, count), "{args:?}: {out}");
    }
    let (code, _, error) = dlq(&folder, &["list", "--since", "yesterday"]).await;
    assert!(code == 2 && error.contains("write `2h` (ago)"), "{error}");

    let (code, out, _) = dlq(&folder, &["show", "4", "--json"]).await;
    let shown = json_of(&out);
    assert_eq!(
        (code, &shown["payload_base64"], &shown["record"]),
        (0, &json!("AP8="), &json!("{\"t\":1}"))
    );
    assert_eq!(
        (&shown["version"], &shown["attempts"], &shown["message_id"]),
        (&json!("4f2a"), &json!(1), &json!("9"))
    );
    let (code, out, error) = dlq(&folder, &["show", "1", "77"]).await;
    assert_eq!(code, 1);
    assert!(
        out.contains("payload          {\"n\":1}\n") && out.contains("reason           poison\n"),
        "{out}"
    );
    assert!(error.contains("there is no dead letter 77"), "{error}");
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// R18 in small; in full: `engine::dead::tests::r18_a_million_letters`.
#[tokio::test(flavor = "multi_thread")]
async fn r18_ten_thousand_letters_are_replayed_once_each() {
    let folder = folder();
    let dead = open(folder.path()).await;
    keep(&dead, "high_temperature", 10_000).await;
    keep(&dead, "other", 10).await;
    let fake = Arc::new(Fake { refuses: Some(77), ..Fake::default() });
    let _stop = replaying(&dead, &fake);

    let (code, out, _) = dlq(&folder, &["replay", "--rule", "high_temperature", "--dry-run"]).await;
    assert!(code == 0 && out.ends_with("10000 dead letters would be replayed\n"), "{out}");
    let (code, out, progress) = dlq(&folder, &["replay", "--rule", "high_temperature"]).await;
    assert!(code == 1 && out.starts_with("9999 dead letters were delivered in "), "{out}");
    assert!(out.contains("\n1 failed again; "), "{out}");
    assert!(
        progress.contains("10000 of 10000 replayed, ") && !progress.contains('\r'),
        "{progress}"
    );
    {
        let got = fake.got.lock().expect("free");
        assert_eq!(got.len(), 10_000);
        assert!(got.values().all(|times| times.len() == 1));
    }
    let (_, out, _) = dlq(&folder, &["list", "--rule", "high_temperature", "--json"]).await;
    let left = json_of(&out);
    assert_eq!((&left["id"], &left["error"]), (&json!(77), &json!("still no such column")));
    assert_eq!(left["attempts"], 2);

    let (code, _, error) = dlq(&folder, &["replay", "5"]).await;
    assert!(code == 1 && error.contains("`--force` delivers it again"), "{error}");
    let (code, _, _) = dlq(&folder, &["replay", "5", "--force"]).await;
    assert_eq!((code, fake.got.lock().expect("free")[&5].len()), (0, 2));
    let (code, _, error) = dlq(&folder, &["replay", "123456"]).await;
    assert!(code == 1 && error.contains("there is no dead letter 123456"), "{error}");
    let (code, out, _) = dlq(&folder, &["replay", "--reason", "expired"]).await;
    assert_eq!((code, out.as_str()), (0, "nothing to replay: no dead letter fits\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_daemon_letters_are_replayed_at_its_next_start() {
    let folder = folder();
    let dead = open(folder.path()).await;
    keep(&dead, "high_temperature", 20).await;
    let (code, out, _) = dlq(&folder, &["replay", "--no-wait", "1", "2"]).await;
    assert_eq!((code, out.as_str()), (0, "2 dead letters are wanted; the daemon replays them\n"));
    let (code, out, _) = dlq(&folder, &["replay"]).await;
    assert!(code == 0 && out.starts_with("no daemon is running on this `data_dir`: 20 "), "{out}");
    drop(dead);

    let dead = open(folder.path()).await;
    let fake = Arc::new(Fake::default());
    let _stop = replaying(&dead, &fake);
    let (code, out, _) = dlq(&folder, &["replay"]).await;
    assert_eq!(code, 0, "{out}");
    daemon::eventually("all are delivered", || (dead.counts().replayed == 20).then_some(()));
    assert!(fake.got.lock().expect("free").values().all(|times| times.len() == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_replayed_with_the_topics_and_payloads_of_a_file() {
    let folder = folder();
    let dead = open(folder.path()).await;
    keep(&dead, "high_temperature", 3).await;
    let fake = Arc::new(Fake::default());
    let _stop = replaying(&dead, &fake);
    let file = folder.path().join("edit.jsonl");
    let (_, shown, _) = dlq(&folder, &["show", "1", "3", "--json"]).await;
    let path = file.to_str().expect("a path");
    let replay = ["replay", "--edit", path];

    let wrong = [
        ("{\"id\":1}\n", "edit.jsonl:1: expected a line of `dlq show --json`"),
        ("\n{\"id\":1,\"topic\":\"a/+\",\"payload\":\"\"}", "edit.jsonl:2: topic `a/+`"),
        ("{\"id\":8,\"topic\":\"a\",\"payload\":\"\"}", "there is no dead letter 8"),
        ("{\"id\":1,\"topic\":\"a\",\"payload_base64\":\"?\"}", "is not base64"),
        ("", "no letter is in it"),
    ];
    for (text, want) in wrong {
        std::fs::write(&file, text).expect("written");
        let (code, _, error) = dlq(&folder, &replay).await;
        assert!(code == 1 && error.contains(want), "{text}: {error}");
    }
    std::fs::write(&file, shown.replace("{\\\"n\\\":3}", "{\\\"n\\\":33}")).expect("written");
    let (code, _, error) = dlq(&folder, &[&replay[..], &["--rule", "x"]].concat()).await;
    assert!(code == 1 && error.contains("none of those that the options name"), "{error}");
    let (code, out, error) = dlq(&folder, &replay).await;
    assert!(code == 0 && out.starts_with("2 dead letters were delivered"), "{out}{error}");
    let got = fake.got.lock().expect("free");
    let payload = |id: u64| String::from_utf8(got[&id][0].1.clone()).expect("text");
    assert_eq!((got.len(), payload(1), payload(3)), (2, "{\"n\":1}".into(), "{\"n\":33}".into()));
}
