//! A history that reads a log: nothing is lost and nothing comes twice, wherever it is killed, and a
//! store that is behind neither holds the log up for good nor goes unsaid.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use connectors::contract::{Message, QoS};
use tidegate::history::{Called, End, Kind, Log, Logged, Looked, Order, Settings, WayIn, Window};
use tokio::sync::Notify;

use super::{NOW_MS, Place, Rig, document};

/// A log in memory.
#[derive(Default)]
struct Paper {
    messages: Mutex<Vec<Logged>>,
    arrived: Notify,
    committed: AtomicU64,
    pressed: AtomicBool,
}

impl Paper {
    fn append(&self, message: Message, own: bool) {
        self.messages.lock().expect("lock").push(Logged { message, own });
        self.arrived.notify_waiters();
    }

    fn end(&self) -> u64 {
        self.messages.lock().expect("lock").len() as u64
    }
}

struct Reader {
    paper: Arc<Paper>,
    position: u64,
}

#[async_trait::async_trait]
impl Log for Reader {
    fn name(&self) -> &str {
        "history.1"
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn seek(&mut self, position: u64) {
        self.position = position;
    }

    fn end(&self) -> End {
        let paper = self.paper.clone();
        Arc::new(move || paper.end())
    }

    fn way_in(&self) -> WayIn {
        let paper = self.paper.clone();
        Arc::new(move |message| {
            paper.append(message.clone(), true);
            true
        })
    }

    fn read(&mut self, wanted: fn(&str) -> bool) -> Looked {
        let messages = self.paper.messages.lock().expect("lock");
        let next = messages.iter().skip(usize::try_from(self.position).expect("a number")).take(7);
        let next: Vec<_> = next.cloned().collect();
        self.position += next.len() as u64;
        let is_wanted = |one: &Logged| one.own || wanted(one.message.topic.as_str());
        Looked { messages: next.into_iter().filter(is_wanted).collect(), lost: 0 }
    }

    async fn ready(&self) {
        loop {
            let arrived = self.paper.arrived.notified();
            if self.paper.end() > self.position {
                return;
            }
            arrived.await;
        }
    }

    fn commit(&self, position: u64) {
        self.paper.committed.fetch_max(position, Ordering::Relaxed);
        self.paper.pressed.store(false, Ordering::Relaxed);
    }

    fn is_pressed(&self) -> bool {
        self.paper.pressed.load(Ordering::Relaxed)
    }
}

fn log(paper: &Arc<Paper>, position: u64) -> Option<Box<dyn Log>> {
    Some(Box::new(Reader { paper: paper.clone(), position }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_neither_lose_nor_repeat() {
    let place = Place::new();
    let rig = Rig::new(&place).await;
    let (pk, id) = (rig.pk.clone(), rig.id.clone());
    rig.stop().await;
    let paper: Arc<Paper> = Arc::default();
    let mut posted = 0_u64;
    for round in 0..12_u64 {
        // The log's own word of where the history is may be lost: it starts from the front.
        let rig = Rig::open(&place, Settings::default(), log(&paper, 0)).await;
        for _ in 0..500 {
            let value = posted.to_string();
            paper.append(document(&pk, &id, &[("v", NOW_MS + posted / 3, &value)]), false);
            posted += 1;
        }
        let enough = round * 40;
        rig.until(|rig| rig.history.counts().written >= enough).await;
        rig.kill().await;
    }
    let rig = Rig::open(&place, Settings::default(), log(&paper, 0)).await;
    let want: Vec<_> = (0..posted).map(|n| (NOW_MS + n / 3, n.to_string())).collect();
    let all = rig.all("v").await;
    assert_eq!(all.len(), want.len());
    assert_eq!(all, want);
    assert_eq!(paper.committed.load(Ordering::Relaxed), posted);
    rig.stop().await;
}

#[tokio::test]
async fn what_the_log_keeps_comes_from_there_only() {
    let place = Place::new();
    let paper: Arc<Paper> = Arc::default();
    let rig = Rig::open(&place, Settings::default(), log(&paper, 0)).await;
    let volatile = rig.document(&[("v", NOW_MS, "0")]);
    let kept = Message { qos: QoS::AtLeastOnce, ..volatile.clone() };
    assert!(rig.history.wants(&volatile, false) && !rig.history.wants(&volatile, true));
    assert!(!rig.history.wants(&kept, false));
    assert!(!rig.history.wants(&Message { hops: 1, ..volatile.clone() }, false));
    rig.history.offer(volatile);
    paper.append(rig.document(&[("v", NOW_MS, "1")]), false);
    let mut values: Vec<_> = rig.all("v").await.into_iter().map(|(_, value)| value).collect();
    values.sort_unstable();
    assert_eq!(values, ["0", "1"]);
    // A call goes through the log; nobody else's message is taken for one.
    let input = serde_json::from_str::<Box<_>>("{}").expect("JSON");
    let call = Called {
        device: rig.id.as_str().into(),
        identifier: "reboot".into(),
        id: 1,
        time_ms: NOW_MS,
        input: Some(&input),
        output: None,
    };
    rig.history.called(&call);
    let own = paper.messages.lock().expect("lock").last().cloned().expect("a message");
    assert!(own.own);
    paper.append(own.message, false);
    let window = Window::new(NOW_MS, NOW_MS, Order::Ascending);
    let page = rig.history.page(&rig.id, Kind::Service, &["reboot"], window, 10).await;
    assert_eq!(page.expect("a page").expect("it is on").series[0].len(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_gives_the_log_free() {
    let place = Place::new();
    let paper: Arc<Paper> = Arc::default();
    let rig = Rig::open(&place, Settings::default(), log(&paper, 0)).await;
    assert_eq!(rig.history.abnormal(), None);
    rig.history.close().await;
    for n in 0..100_u64 {
        paper.append(rig.document(&[("v", NOW_MS + n, "1")]), false);
    }
    rig.until(|rig| rig.history.abnormal().is_some()).await;
    let said = rig.history.abnormal().expect("trouble");
    assert!(said.contains("cannot be written") && said.contains("100 messages behind"), "{said}");
    assert_eq!(paper.committed.load(Ordering::Relaxed), 0, "the log keeps it");
    for n in 0..100_u64 {
        paper.append(rig.document(&[("v", NOW_MS + n, "2")]), false);
    }
    paper.pressed.store(true, Ordering::Relaxed);
    rig.until(|rig| rig.history.counts().dropped[1] > 0).await;
    assert_eq!(rig.history.counts().dropped, [0, 7, 0, 0, 0, 0], "as much as gives it free");
    rig.kill().await;
}
