//! What every sink has to do, whatever it speaks. `run` is called once per sink with its real peer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use connectors::contract::{Env, Outcome, Record, Sink};
use serde_json::Value;

use super::outages::{self, Through, Way};
use super::{record, sink};

/// A delivery to a peer that is not there has to end within this time.
const UNREACHABLE_WITHIN: Duration = Duration::from_secs(10);

/// The other side of a sink: how to reach it, and what has arrived there.
#[async_trait::async_trait]
pub trait Peer: Sync {
    /// The connector's name.
    fn connector(&self) -> &'static str;

    /// A fresh environment, as after a restart.
    fn env(&self) -> Env;

    /// Settings that deliver to a place (topic, table, file) of that name.
    fn settings(&self, place: &str) -> Value;

    /// Environment and settings with which nothing can be reached; `None` when there is no peer.
    fn unreachable(&self) -> Option<(Env, Value)>;

    /// Makes the place ready before the first delivery.
    async fn prepare(&self, _place: &str) {}

    /// The values of `n` that have arrived, in order, when there are `count` of them.
    async fn received(&self, place: &str, count: usize) -> Vec<i64>;

    /// The same when some may have come twice: all that has arrived when `count` different ones have.
    async fn received_at_least_once(&self, place: &str, count: usize) -> Vec<i64> {
        self.received(place, count).await
    }

    /// A record that this sink can never deliver; `None` when it takes every record.
    fn poison(&self) -> Option<Record> {
        None
    }

    /// Where a proxy gets in the way; `None` when nothing goes over a network.
    async fn way(&self) -> Option<Way> {
        None
    }

    /// As [`Peer::env`] and [`Peer::settings`], but through a proxy.
    fn through(&self, _place: &str, _proxy: SocketAddr) -> Through {
        unreachable!("a peer with a way says how to go it")
    }

    /// The place's name from the test's.
    fn place(&self, test: &str) -> String {
        super::unique(test)
    }
}

/// Everything below, in turn.
pub async fn run(peer: &dyn Peer) {
    refuses_unknown_settings(peer);
    delivers_in_order_and_after_a_restart(peer).await;
    delivers_full_batches(peer).await;
    serves_parallel_callers(peer).await;
    answers_retry_when_nobody_is_there(peer).await;
    outages::run(peer).await;
}

pub(super) fn build(peer: &dyn Peer, place: &str) -> Arc<dyn Sink> {
    sink(peer.connector(), &peer.settings(place), &peer.env()).expect("the peer's settings")
}

pub(super) fn numbered(n: i64) -> Record {
    record(&format!(r#"{{"n":{n},"device":"dev1"}}"#))
}

pub(super) async fn deliver(sink: &dyn Sink, numbers: impl Iterator<Item = i64>) {
    let records: Vec<_> = numbers.map(numbered).collect();
    let outcomes = sink.deliver(&records).await;
    assert_eq!(outcomes, vec![Outcome::Ok; records.len()]);
}

fn refuses_unknown_settings(peer: &dyn Peer) {
    let mut settings = peer.settings("anywhere");
    settings["colour"] = "blue".into();
    match sink(peer.connector(), &settings, &peer.env()) {
        Ok(_) => panic!("{} takes the setting `colour`", peer.connector()),
        Err(error) => assert!(error.to_string().contains("colour"), "{error}"),
    }
}

async fn delivers_in_order_and_after_a_restart(peer: &dyn Peer) {
    let place = peer.place("in_order");
    peer.prepare(&place).await;
    let first = build(peer, &place);
    first.check().await.expect("the peer is there");
    assert_eq!(first.deliver(&[]).await, []);
    deliver(&*first, 0..1).await;
    deliver(&*first, 1..8).await;
    drop(first);
    let second = build(peer, &place);
    deliver(&*second, 8..10).await;
    assert_eq!(peer.received(&place, 10).await, (0..10).collect::<Vec<_>>());
}

async fn delivers_full_batches(peer: &dyn Peer) {
    let place = peer.place("full");
    peer.prepare(&place).await;
    let sink = build(peer, &place);
    let most = i64::try_from(sink.batch_max()).expect("a batch size");
    deliver(&*sink, 0..most).await;
    assert_eq!(peer.received(&place, sink.batch_max()).await, (0..most).collect::<Vec<_>>());
}

async fn serves_parallel_callers(peer: &dyn Peer) {
    let place = peer.place("parallel");
    peer.prepare(&place).await;
    let sink = build(peer, &place);
    let caller = |from: i64| {
        let sink = sink.clone();
        tokio::spawn(async move {
            for n in (from..from + 20).step_by(5) {
                deliver(&*sink, n..n + 5).await;
            }
        })
    };
    for task in [0, 20, 40, 60].map(caller) {
        task.await.expect("a caller");
    }
    let got = peer.received(&place, 80).await;
    // Callers may interleave, but the records of each keep their order.
    for from in [0, 20, 40, 60] {
        let one: Vec<_> = got.iter().copied().filter(|n| (from..from + 20).contains(n)).collect();
        assert_eq!(one, (from..from + 20).collect::<Vec<_>>(), "{}", peer.connector());
    }
    assert_eq!(got.len(), 80);
}

async fn answers_retry_when_nobody_is_there(peer: &dyn Peer) {
    let Some((env, settings)) = peer.unreachable() else { return };
    let sink = sink(peer.connector(), &settings, &env).expect("settings without input or output");
    let records: Vec<_> = (0..3).map(numbered).collect();
    let outcomes = tokio::time::timeout(UNREACHABLE_WITHIN, sink.deliver(&records)).await;
    let outcomes = outcomes.unwrap_or_else(|_| panic!("{} hangs", peer.connector()));
    assert_eq!(outcomes.len(), 3);
    for outcome in &outcomes {
        assert!(matches!(outcome, Outcome::Retry(_)), "{}: {outcome:?}", peer.connector());
    }
    assert!(sink.check().await.is_err(), "{}", peer.connector());
}
