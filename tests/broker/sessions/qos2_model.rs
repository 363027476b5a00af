//! QoS 2 against a model: a sender and a receiver that keep to the protocol and lose their connections
//! at any step, an engine that accepts late or refuses, and a broker that starts again. Everything
//! arrives exactly once.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectors::contract::{Ack as Promise, Batch, Ingress, Shutdown, ShutdownHandle, shutdown};
use proptest::prelude::*;
use tidegate::broker::codec::{Packet, Publish, Version};
use tidegate::broker::{Broker, Config, FILE, Hooks};
use tokio::task::JoinHandle;

use crate::broker::rig::{Raw, kept, message, puback, text};

/// What an engine accepted, and what it has not decided about.
#[derive(Default)]
struct Engine(Mutex<Batches>);

#[derive(Default)]
struct Batches {
    accepted: Vec<String>,
    undecided: VecDeque<(Vec<String>, Promise)>,
}

#[async_trait::async_trait]
impl Ingress for Engine {
    fn try_submit(&self, batch: Batch) -> Result<(), Batch> {
        let payloads = batch.messages.iter().map(|m| text(&m.payload).to_owned()).collect();
        self.0.lock().unwrap().undecided.push_back((payloads, batch.ack));
        Ok(())
    }

    async fn ready(&self) {}
}

impl Engine {
    fn decide(&self, accept: bool) -> bool {
        let mut inner = self.0.lock().unwrap();
        let Some((payloads, ack)) = inner.undecided.pop_front() else { return false };
        if accept {
            inner.accepted.extend(payloads);
            ack.accept();
        }
        true
    }
}

/// Rounds in which a run comes to its end.
const ROUNDS: usize = 2_000;

/// Turns of the one thread in which everything that can move has moved.
const SETTLED: usize = 300;

/// One step of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The sender publishes the next message.
    Publish,
    /// The sender (else the receiver) takes a packet.
    Read(bool),
    /// It writes the answer that it owes first.
    Answer(bool),
    /// It loses its connection, with what it has not written.
    Lose(bool),
    /// The engine accepts, or refuses, what it got first.
    Decide(bool),
    /// The broker stops and starts again, when it has a file.
    Restart,
}

/// What a sender knows of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Sent,
    Released,
}

/// One of the two clients.
struct Peer {
    raw: Option<Raw>,
    id: &'static str,
    version: Version,
    owed: VecDeque<Packet>,
}

struct Run {
    broker: Arc<Broker>,
    engine: Arc<Engine>,
    stopped: Shutdown,
    stop: Arc<ShutdownHandle>,
    running: JoinHandle<std::io::Result<()>>,
    file: Option<PathBuf>,
    sender: Peer,
    receiver: Peer,
    /// Messages by packet identifier; which is the number of the message and one.
    sent: BTreeMap<u16, Phase>,
    next: u16,
    have: HashSet<u16>,
    got: Vec<String>,
    refused: bool,
    /// How long a packet is waited for.
    wait: Duration,
}

impl Run {
    async fn start(version: Version, file: Option<PathBuf>) -> Self {
        // Paused time moves when nothing else can: then there is no packet. Real time does not wait.
        let wait = Duration::from_millis(if file.is_some() { 20 } else { 1 });
        let engine = Arc::new(Engine::default());
        let (broker, stop, stopped, running) = broker(&engine, file.as_deref()).await;
        let peer = |id| Peer { raw: None, id, version, owed: VecDeque::new() };
        let mut run = Self {
            broker,
            engine,
            stopped,
            stop,
            running,
            file,
            sender: peer("sender"),
            receiver: peer("receiver"),
            sent: BTreeMap::new(),
            next: 1,
            have: HashSet::new(),
            got: Vec::new(),
            refused: false,
            wait,
        };
        run.connect(false).await;
        run.receiver.raw.as_mut().unwrap().subscribe("#", 2).await;
        run.connect(true).await;
        run
    }

    fn peer(&mut self, sender: bool) -> &mut Peer {
        if sender { &mut self.sender } else { &mut self.receiver }
    }

    /// Connects if need be; a sender repeats what is not finished (MQTT-4.4.0-1).
    async fn connect(&mut self, sender: bool) {
        if self.peer(sender).raw.is_some() {
            return;
        }
        let (broker, stopped) = (self.broker.clone(), self.stopped.clone());
        let (mine, theirs) = tokio::io::duplex(1 << 20);
        let from = "10.0.0.7:5000".parse().unwrap();
        tokio::spawn(async move { broker.serve_stream(theirs, from, stopped).await });
        let stop = self.stop.clone();
        let (id, version) = (self.peer(sender).id, self.peer(sender).version);
        let mut raw = Raw::over(mine, version, stop);
        raw.hello(kept(id, version)).await;
        if sender {
            for (&id, &phase) in &self.sent {
                raw.send(match phase {
                    Phase::Sent => Packet::Publish(publish(id, true)),
                    Phase::Released => Packet::PubRel(puback(id)),
                })
                .await;
            }
        }
        let peer = self.peer(sender);
        peer.raw = Some(raw);
        peer.owed.clear();
    }

    /// True when something happened.
    async fn step(&mut self, step: Step) -> bool {
        match step {
            Step::Publish => {
                self.connect(true).await;
                let id = self.next;
                self.next += 1;
                self.sent.insert(id, Phase::Sent);
                self.sender.raw.as_mut().unwrap().send(Packet::Publish(publish(id, false))).await;
                true
            }
            Step::Read(sender) => {
                self.connect(sender).await;
                self.read(sender).await
            }
            Step::Answer(sender) => {
                let peer = self.peer(sender);
                let Some(packet) = peer.owed.pop_front() else { return false };
                peer.raw.as_mut().unwrap().send(packet).await;
                true
            }
            Step::Lose(sender) => {
                self.step_lose(sender);
                true
            }
            Step::Restart => {
                if self.file.is_some() {
                    self.restart().await;
                }
                true
            }
            Step::Decide(accept) => {
                self.refused |= !accept;
                self.engine.decide(accept)
            }
        }
    }

    /// Only what the engine has decided about is known after a restart: so it decides until the end,
    /// however long that takes on this machine.
    async fn restart(&mut self) {
        self.settle().await;
        self.stop.stop();
        // Connections learn of it before their clients are gone.
        self.settle().await;
        for sender in [true, false] {
            self.step_lose(sender);
        }
        while !self.running.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.engine.decide(true);
        }
        (&mut self.running).await.unwrap().unwrap();
        self.settle().await;
        self.broker.handle().save().await;
        (self.broker, self.stop, self.stopped, self.running) =
            broker(&self.engine, self.file.as_deref()).await;
    }

    async fn settle(&self) {
        for _ in 0..SETTLED {
            tokio::task::yield_now().await;
            self.engine.decide(true);
        }
    }

    fn step_lose(&mut self, sender: bool) {
        let peer = self.peer(sender);
        peer.raw = None;
        peer.owed.clear();
    }

    async fn read(&mut self, sender: bool) -> bool {
        let wait = self.wait;
        let raw = self.peer(sender).raw.as_mut().unwrap();
        let Ok(packet) = tokio::time::timeout(wait, raw.try_recv()).await else { return false };
        let answer = match packet {
            None => {
                self.step_lose(sender);
                return true;
            }
            Some(Packet::PubRec(ack)) => {
                assert!(self.sent.contains_key(&ack.packet_id), "{ack:?}");
                self.sent.insert(ack.packet_id, Phase::Released);
                Some(Packet::PubRel(puback(ack.packet_id)))
            }
            Some(Packet::PubComp(ack)) => {
                self.sent.remove(&ack.packet_id);
                None
            }
            Some(Packet::Publish(publish)) => {
                assert_eq!(publish.qos, 2);
                if self.have.insert(publish.packet_id) {
                    self.got.push(text(&publish.payload).to_owned());
                }
                Some(Packet::PubRec(puback(publish.packet_id)))
            }
            Some(Packet::PubRel(ack)) => {
                self.have.remove(&ack.packet_id);
                Some(Packet::PubComp(puback(ack.packet_id)))
            }
            Some(Packet::Disconnect(_)) => None,
            Some(other) => panic!("{other:?}"),
        };
        self.peer(sender).owed.extend(answer);
        true
    }

    /// Lets everything come to its end, and compares.
    async fn finish(mut self) {
        let all = [
            Step::Decide(true),
            Step::Read(true),
            Step::Answer(true),
            Step::Read(false),
            Step::Answer(false),
        ];
        for _ in 0..ROUNDS {
            for step in all {
                self.step(step).await;
            }
            let all = usize::from(self.next - 1);
            if self.sent.is_empty() && self.have.is_empty() && self.got.len() >= all {
                break;
            }
        }
        // What came too often would come now.
        self.step(Step::Read(false)).await;
        assert!(self.sent.is_empty() && self.have.is_empty(), "{:?} {:?}", self.sent, self.have);
        let want: Vec<_> = (1..self.next).map(|n| n.to_string()).collect();
        let mut accepted = self.engine.0.lock().unwrap().accepted.clone();
        if self.refused {
            // What was refused comes again behind others that were not.
            accepted.sort_by_key(|n| n.parse::<u16>().unwrap());
            self.got.sort_by_key(|n| n.parse::<u16>().unwrap());
        }
        assert_eq!(accepted, want, "rules");
        assert_eq!(self.got, want, "subscriber");
        assert_eq!(self.broker.handle().snapshot().queued_bytes, 0);
    }
}

async fn broker(
    engine: &Arc<Engine>,
    file: Option<&Path>,
) -> (Arc<Broker>, Arc<ShutdownHandle>, Shutdown, JoinHandle<std::io::Result<()>>) {
    let (clock, hooks) = (Arc::new(|| 0), Hooks::default());
    let config = Config::default();
    let broker = match file {
        None => Broker::new(config, hooks, engine.clone(), clock),
        Some(file) => Broker::open(config, hooks, engine.clone(), clock, file).await.unwrap(),
    };
    let broker = Arc::new(broker);
    let (stop, stopped) = shutdown();
    let serving = (broker.clone(), stopped.clone());
    let running = tokio::spawn(async move { serving.0.serve_all(vec![], serving.1).await });
    (broker, Arc::new(stop), stopped, running)
}

fn publish(id: u16, dup: bool) -> Publish {
    Publish { dup, packet_id: id, ..message("a", &id.to_string(), 2) }
}

fn run(version: Version, steps: impl IntoIterator<Item = Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut run = Run::start(version, None).await;
        for step in steps {
            run.step(step).await;
        }
        run.finish().await;
    });
}

#[test]
fn connections_that_are_lost_at_every_step_lose_and_repeat_nothing() {
    let mut plan = vec![Step::Publish, Step::Publish];
    for _ in 0..6 {
        plan.extend([Step::Decide(true), Step::Read(true), Step::Answer(true)]);
        plan.extend([Step::Read(false), Step::Answer(false)]);
        plan.extend([Step::Publish]);
    }
    for at in 0..plan.len() {
        for lost in [vec![Step::Lose(true)], vec![Step::Lose(false)], vec![Step::Decide(false)]] {
            let mut steps = plan.clone();
            steps.splice(at..at, lost);
            run(if at % 2 == 0 { Version::V311 } else { Version::V5 }, steps);
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Publish),
        6 => any::<bool>().prop_map(Step::Read),
        6 => any::<bool>().prop_map(Step::Answer),
        2 => any::<bool>().prop_map(Step::Lose),
        4 => proptest::bool::weighted(0.8).prop_map(Step::Decide),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_run_delivers_exactly_once(
        steps in proptest::collection::vec(step(), 0..80),
        new in any::<bool>(),
    ) {
        run(if new { Version::V5 } else { Version::V311 }, steps);
    }
}

proptest! {
    // Real time and a real file: fewer of them.
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn restarts_lose_and_repeat_nothing(
        steps in proptest::collection::vec(step(), 0..60),
        new in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE);
        let version = if new { Version::V5 } else { Version::V311 };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::start(version, Some(file)).await;
            for step in steps {
                run.step(step).await;
            }
            run.step(Step::Restart).await;
            run.finish().await;
        });
    }
}
