//! Many connections of one address: others get in.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::server::Server;

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
