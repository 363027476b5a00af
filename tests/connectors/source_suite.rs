//! R11: what every source has to do, whatever it speaks: it acknowledges what was accepted, in order,
//! however late and in whatever order that happens, and reads again what was not.

use std::net::SocketAddr;

use connectors::contract::{Batch, Env};
use serde_json::Value;

use super::inbox::{Inbox, Running, texts};
use super::outages::Way;
use super::unique;
use crate::faults::proxy::Proxy;

/// Messages that are produced at once.
const PIECE: usize = 5;

/// Batches that are held while none is accepted.
const BATCHES: usize = 10;

/// The other side of a source.
#[async_trait::async_trait]
pub trait SourcePeer: Sync {
    /// The connector's name.
    fn connector(&self) -> &'static str;

    /// Where a proxy gets in the way.
    async fn way(&self) -> Option<Way>;

    /// A fresh environment, as after a restart; through a proxy or not.
    fn env(&self, place: &str, proxy: Option<SocketAddr>) -> Env;

    /// Settings that read a place of that name.
    fn settings(&self, place: &str) -> Value;

    /// Makes the place, and lets the other side know the reader.
    async fn prepare(&self, place: &str);

    /// Puts the numbers from `from` to `to` there, in order.
    async fn produce(&self, place: &str, from: usize, to: usize);
}

/// Everything below, in turn.
pub async fn run(peer: &dyn SourcePeer) {
    acknowledges_nothing_behind_what_is_held(peer).await;
    acknowledges_what_is_accepted_backwards(peer).await;
    reads_again_what_was_refused(peer).await;
    reads_on_after_its_connection_was_cut(peer).await;
    stops_while_nobody_takes_anything(peer).await;
}

async fn place_for(peer: &dyn SourcePeer, test: &str) -> String {
    let place = unique(test);
    peer.prepare(&place).await;
    place
}

fn start(peer: &dyn SourcePeer, place: &str) -> Running {
    Running::start(peer.connector(), &peer.settings(place), &peer.env(place, None))
}

fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| n.to_string()).collect()
}

/// What came, each for the first time.
fn first(seen: Vec<String>) -> Vec<String> {
    let mut first: Vec<String> = Vec::new();
    for text in seen {
        if !first.contains(&text) {
            first.push(text);
        }
    }
    first
}

/// Batches with that many messages, none of them accepted.
async fn hold(inbox: &Inbox, count: usize) -> Vec<Batch> {
    let (mut held, mut have) = (Vec::new(), 0);
    while have < count {
        let batch = inbox.take().await;
        have += batch.messages.len();
        held.push(batch);
    }
    held
}

/// Produces piece by piece until many batches are held; says how much was produced.
async fn hold_pieces(peer: &dyn SourcePeer, place: &str, source: &Running) -> (Vec<Batch>, usize) {
    let (mut held, mut produced): (Vec<Batch>, usize) = (Vec::new(), 0);
    while held.len() < BATCHES {
        peer.produce(place, produced, produced + PIECE).await;
        produced += PIECE;
        while held.len() < BATCHES && count(&held) < produced {
            held.push(source.inbox.take().await);
        }
    }
    (held, produced)
}

fn count(batches: &[Batch]) -> usize {
    batches.iter().map(|batch| batch.messages.len()).sum()
}

async fn acknowledges_nothing_behind_what_is_held(peer: &dyn SourcePeer) {
    let place = place_for(peer, "held").await;
    let source = start(peer, &place);
    let (mut held, produced) = hold_pieces(peer, &place, &source).await;
    let first_batch = held.remove(0);
    held.into_iter().rev().for_each(|batch| batch.ack.accept());
    source.stop().await;
    // Whoever waits for this one is gone; accepting it now moves nothing.
    first_batch.ack.accept();
    let source = start(peer, &place);
    let seen = source.inbox.accept_until(&(produced - 1).to_string()).await;
    assert_eq!(seen, numbers(0, produced), "{}: all come again", peer.connector());
    source.stop().await;
}

/// What is there was acknowledged: only what is new comes.
async fn nothing_comes_again(peer: &dyn SourcePeer, place: &str, produced: usize) {
    peer.produce(place, produced, produced + 1).await;
    let source = start(peer, place);
    let seen = source.inbox.accept_until(&produced.to_string()).await;
    assert_eq!(seen, numbers(produced, produced + 1), "{}", peer.connector());
    source.stop().await;
}

async fn acknowledges_what_is_accepted_backwards(peer: &dyn SourcePeer) {
    let place = place_for(peer, "backwards").await;
    let source = start(peer, &place);
    let (held, produced) = hold_pieces(peer, &place, &source).await;
    let rest = produced - count(&held);
    held.into_iter().rev().for_each(|batch| batch.ack.accept());
    source.inbox.accept(rest).await;
    source.stop().await;
    nothing_comes_again(peer, &place, produced).await;
}

async fn reads_again_what_was_refused(peer: &dyn SourcePeer) {
    let place = place_for(peer, "refused").await;
    let source = start(peer, &place);
    let (mut held, produced) = hold_pieces(peer, &place, &source).await;
    let mut behind = held.split_off(BATCHES / 2).into_iter();
    let refused = count(&held);
    held.into_iter().for_each(|batch| batch.ack.accept());
    // The one in the middle is refused; what was accepted behind it comes again with it.
    drop(behind.next());
    behind.for_each(|batch| batch.ack.accept());
    let mut seen: Vec<String> = Vec::new();
    while !seen.ends_with(&numbers(refused, produced)) {
        seen.extend(texts(&source.inbox.accept(1).await));
    }
    source.stop().await;
    nothing_comes_again(peer, &place, produced).await;
}

async fn reads_on_after_its_connection_was_cut(peer: &dyn SourcePeer) {
    let Some(way) = peer.way().await else { return };
    let place = place_for(peer, "cut").await;
    let proxy = Proxy::start(&way.front, &way.upstream, b"").await;
    let env = peer.env(&place, Some(proxy.address()));
    let source = Running::start(peer.connector(), &peer.settings(&place), &env);
    let mut seen = Vec::new();
    for round in 0..4 {
        let from = round * PIECE;
        peer.produce(&place, from, from + PIECE).await;
        // Cut off before what was taken is accepted: it may come again, but is not lost.
        let held = hold(&source.inbox, PIECE).await;
        proxy.cut();
        for batch in held {
            seen.extend(texts(&batch.messages));
            batch.ack.accept();
        }
    }
    peer.produce(&place, 4 * PIECE, 4 * PIECE + 1).await;
    seen.extend(source.inbox.accept_until(&(4 * PIECE).to_string()).await);
    assert_eq!(first(seen), numbers(0, 4 * PIECE + 1), "{}", peer.connector());
    assert!(proxy.counts().cut > 0, "{} was cut off", peer.connector());
    source.stop().await;
}

async fn stops_while_nobody_takes_anything(peer: &dyn SourcePeer) {
    let place = place_for(peer, "stuck").await;
    peer.produce(&place, 0, PIECE).await;
    let (settings, env) = (peer.settings(&place), peer.env(&place, None));
    let source = Running::start_into(peer.connector(), &settings, &env, Inbox::new(0));
    source.stop().await;
    let source = start(peer, &place);
    let seen = source.inbox.accept_until(&(PIECE - 1).to_string()).await;
    assert_eq!(seen, numbers(0, PIECE), "{}", peer.connector());
    source.stop().await;
}
