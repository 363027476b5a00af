//! R11: what every sink has to do when something goes wrong between it and its real peer: one record
//! of a batch, a call that is dropped, a connection that is refused, silent, cut or replaced.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use connectors::contract::{Env, Outcome, Record, Sink};
use serde_json::Value;

use super::sink;
use super::suite::{Peer, build, deliver, numbered};
use crate::faults::proxy::{Fault, Proxy};

/// The longest until a sink delivers again after its peer is back.
const RECOVERY: Duration = Duration::from_secs(20);

/// When the engine's patience would be over.
const DEADLINE: Duration = Duration::from_millis(300);

/// Where a proxy has to stand to be in the way of a peer.
pub struct Way {
    /// Where the proxy listens.
    pub front: String,
    /// Where the service is.
    pub upstream: String,
    /// Held while the place of the proxy can't be shared.
    #[expect(dead_code, reason = "it is held, not read")]
    pub alone: Option<tokio::sync::MutexGuard<'static, ()>>,
}

impl Way {
    /// A service that does not care where its clients come from.
    pub fn to(upstream: String) -> Self {
        Self { front: "127.0.0.1:0".to_owned(), upstream, alone: None }
    }
}

/// How a sink reaches its peer through a proxy.
pub struct Through {
    pub env: Env,
    pub settings: Value,
}

/// Everything below, in turn.
pub async fn run(peer: &dyn Peer) {
    opens_and_closes_without_a_word(peer);
    one_bad_record_harms_no_other(peer).await;
    a_call_dropped_at_once_loses_nothing(peer).await;
    let Some(way) = peer.way().await else { return };
    let proxy = Proxy::start(&way.front, &way.upstream, b"").await;
    delivers_again_after_refusals(peer, &proxy).await;
    delivers_again_after_a_deadline(peer, &proxy).await;
    loses_nothing_through_reconnects(peer, &proxy).await;
    another_way_works_during_an_outage(peer, &proxy).await;
}

fn build_through(peer: &dyn Peer, place: &str, proxy: SocketAddr) -> std::sync::Arc<dyn Sink> {
    let Through { env, settings } = peer.through(place, proxy);
    sink(peer.connector(), &settings, &env).expect("the peer's settings")
}

fn records(numbers: std::ops::Range<i64>) -> Vec<Record> {
    numbers.map(numbered).collect()
}

/// Delivers as the engine does: what has to be tried again is, from there on, within a time.
async fn deliver_at_last(peer: &dyn Peer, sink: &dyn Sink, numbers: std::ops::Range<i64>) {
    let (mut left, start) = (records(numbers), Instant::now());
    while !left.is_empty() {
        assert!(start.elapsed() < RECOVERY, "{} does not recover", peer.connector());
        let Ok(outcomes) = tokio::time::timeout(Duration::from_secs(2), sink.deliver(&left)).await
        else {
            continue;
        };
        assert_eq!(outcomes.len(), left.len());
        let bad = outcomes.iter().find(|o| !matches!(o, Outcome::Ok | Outcome::Retry(_)));
        assert_eq!(bad, None, "{}", peer.connector());
        let mut outcomes = outcomes.iter();
        left.retain(|_| outcomes.next() != Some(&Outcome::Ok));
        if !left.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// All have arrived, each for the first time in order.
async fn all_in_order(peer: &dyn Peer, place: &str, count: i64) {
    let mut first: Vec<i64> = Vec::new();
    for n in peer.received_at_least_once(place, usize::try_from(count).expect("small")).await {
        if !first.contains(&n) {
            first.push(n);
        }
    }
    assert_eq!(first, (0..count).collect::<Vec<_>>(), "{}", peer.connector());
}

fn opens_and_closes_without_a_word(peer: &dyn Peer) {
    for _ in 0..10 {
        drop(build(peer, "anything"));
    }
}

async fn one_bad_record_harms_no_other(peer: &dyn Peer) {
    let Some(bad) = peer.poison() else { return };
    let place = peer.place("partial");
    peer.prepare(&place).await;
    let sink = build(peer, &place);
    let batch = [numbered(0), numbered(1), bad, numbered(2), numbered(3)];
    let outcomes = sink.deliver(&batch).await;
    for (at, outcome) in outcomes.iter().enumerate() {
        match at {
            2 => assert!(matches!(outcome, Outcome::Poison(_)), "{outcome:?}"),
            _ => assert_eq!(*outcome, Outcome::Ok, "{}: {at}", peer.connector()),
        }
    }
    assert_eq!(peer.received(&place, 4).await, [0, 1, 2, 3], "{}", peer.connector());
}

async fn a_call_dropped_at_once_loses_nothing(peer: &dyn Peer) {
    let place = peer.place("dropped");
    peer.prepare(&place).await;
    let sink = build(peer, &place);
    deliver(&*sink, 0..1).await;
    let batch = records(1..3);
    let call = tokio::time::timeout(Duration::ZERO, sink.deliver(&batch)).await;
    drop(call);
    deliver_at_last(peer, &*sink, 1..3).await;
    deliver_at_last(peer, &*sink, 3..4).await;
    all_in_order(peer, &place, 4).await;
}

async fn delivers_again_after_refusals(peer: &dyn Peer, proxy: &Proxy) {
    let place = peer.place("refused");
    peer.prepare(&place).await;
    let sink = build_through(peer, &place, proxy.address());
    sink.check().await.expect("the peer is there");
    deliver(&*sink, 0..2).await;
    proxy.set(Fault::Refuse);
    for outcome in sink.deliver(&records(2..4)).await {
        assert!(matches!(&outcome, Outcome::Retry(_)), "{}: {outcome:?}", peer.connector());
    }
    assert!(sink.check().await.is_err(), "{} finds nobody", peer.connector());
    proxy.set(Fault::None);
    deliver_at_last(peer, &*sink, 2..4).await;
    sink.check().await.expect("the peer is there again");
    all_in_order(peer, &place, 4).await;
}

async fn delivers_again_after_a_deadline(peer: &dyn Peer, proxy: &Proxy) {
    let place = peer.place("silent");
    peer.prepare(&place).await;
    let sink = build_through(peer, &place, proxy.address());
    deliver(&*sink, 0..2).await;
    proxy.set(Fault::Silence);
    for _ in 0..2 {
        let batch = records(2..4);
        let call = tokio::time::timeout(DEADLINE, sink.deliver(&batch)).await;
        let answered = call.is_ok_and(|outcomes| outcomes.contains(&Outcome::Ok));
        assert!(!answered, "{} takes silence for an answer", peer.connector());
    }
    proxy.set(Fault::None);
    deliver_at_last(peer, &*sink, 2..4).await;
    deliver_at_last(peer, &*sink, 4..6).await;
    all_in_order(peer, &place, 6).await;
}

async fn loses_nothing_through_reconnects(peer: &dyn Peer, proxy: &Proxy) {
    let place = peer.place("lossy");
    peer.prepare(&place).await;
    let sink = build_through(peer, &place, proxy.address());
    let cut = proxy.counts().cut;
    for from in (0..60).step_by(6) {
        let batch = deliver_at_last(peer, &*sink, from..from + 6);
        // The cut comes at another moment of the call each time.
        let moments = from / 6;
        let cutting = async {
            for _ in 0..moments {
                tokio::task::yield_now().await;
            }
            proxy.cut();
        };
        tokio::join!(batch, cutting);
    }
    assert!(proxy.counts().cut > cut, "{} was cut off", peer.connector());
    all_in_order(peer, &place, 60).await;
}

async fn another_way_works_during_an_outage(peer: &dyn Peer, proxy: &Proxy) {
    let place = peer.place("changed");
    peer.prepare(&place).await;
    let old = build_through(peer, &place, proxy.address());
    deliver(&*old, 0..2).await;
    proxy.set(Fault::Refuse);
    let outcomes = old.deliver(&records(2..4)).await;
    assert!(outcomes.iter().all(|o| matches!(o, Outcome::Retry(_))), "{outcomes:?}");
    // As when somebody changes the address: the new action starts while the old one still fails.
    let new = build(peer, &place);
    deliver(&*new, 2..6).await;
    drop(old);
    proxy.set(Fault::None);
    all_in_order(peer, &place, 6).await;
}
