//! Connections within bounds of number and time, and what stopping does to them.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::api::client::read_reply;
use crate::api::server::{Fate, Server};

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

async fn dial(address: SocketAddr, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from(from), 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

/// What a connection is answered; nothing when it is closed.
async fn answer(mut stream: TcpStream) -> String {
    stream.write_all(REQUEST).await.ok();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.ok();
    text
}

#[tokio::test]
async fn one_address_does_not_take_all_connections() {
    let server = Server::with(|state| {
        state.limits.connections = 4;
        state.limits.connections_per_address = 2;
    })
    .await;
    let held =
        [dial(server.address, [127, 0, 0, 2]).await, dial(server.address, [127, 0, 0, 2]).await];
    assert_eq!(answer(dial(server.address, [127, 0, 0, 2]).await).await, "");
    assert!(answer(dial(server.address, [127, 0, 0, 3]).await).await.contains("200 OK"));
    drop(held);
    let again = async {
        while !answer(dial(server.address, [127, 0, 0, 2]).await).await.contains("200 OK") {}
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("room again");
    server.end().await;
}

/// A connection that never finishes its headers is closed; one that waits for its turn gets it.
#[tokio::test]
async fn connections_are_bounded_in_time_and_number() {
    let server = Server::with(|state| {
        state.limits.header_wait = Duration::from_millis(50);
        state.limits.connections = 1;
    })
    .await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let second = server.client().send("GET", "/healthz", &[], b"").await;
    assert_eq!(second.status, 200);
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();
    assert!(!String::from_utf8(rest).unwrap().contains("200 OK"));
    server.end().await;
}

/// Once most connections are taken, those that say nothing are ended sooner.
#[tokio::test]
async fn a_full_listener_frees_itself() {
    let server = Server::with(|state| {
        state.limits.header_wait = Duration::from_secs(5);
        state.limits.connections = 4;
    })
    .await;
    let start = std::time::Instant::now();
    let mut silent = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        silent.push(stream);
    }
    assert_eq!(server.client().send("GET", "/healthz", &[], b"").await.status, 200);
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    server.end().await;
}

/// Sends a message that the engine keeps without an answer.
async fn hang(server: &Server) -> TcpStream {
    *server.inbox.fate.lock().unwrap() = Fate::Forget;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = "POST /ingest/pk/dn/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    while server.inbox.held.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    stream
}

#[tokio::test]
async fn stopping_waits_for_requests_that_are_under_way() {
    let server = Server::start().await;
    let mut stream = hang(&server).await;
    let inbox = server.inbox.clone();
    let address = server.address;
    let ended = tokio::spawn(server.end());
    // Once the listener is gone, the server is about to stop and still has one request.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!ended.is_finished());
    let held = inbox.held.lock().unwrap().pop().unwrap();
    held.ack.accept();
    assert_eq!(read_reply(&mut stream).await.status, 202);
    ended.await.unwrap();
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let server = Server::with(|state| state.limits.stop_wait = Duration::from_millis(50)).await;
    let mut stream = hang(&server).await;
    server.end().await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.ok();
    assert!(rest.is_empty());
}
