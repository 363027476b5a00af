//! MQTT over WebSocket (MQTT 5.0 §6).

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tidegate::broker::Tls;
use tidegate::broker::codec::{self, Packet, Reason, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::tls::{Server, dial, files};
use crate::broker::rig::{Raw, Wire, connect, message};

pub async fn upgrade<IO: Wire>(
    io: IO,
    path: &str,
    protocol: &str,
) -> Result<WebSocketStream<IO>, Error> {
    let mut request = format!("ws://localhost{path}").into_client_request().unwrap();
    if !protocol.is_empty() {
        let protocol = HeaderValue::from_str(protocol).unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocol);
    }
    let (socket, answer) = client_async(request, io).await?;
    let spoken = if protocol == "mqttv3.1" { protocol } else { "mqtt" };
    assert_eq!(answer.headers()["sec-websocket-protocol"], spoken);
    Ok(socket)
}

async fn plain(server: &Server) -> WebSocketStream<TcpStream> {
    let io = TcpStream::connect(server.address).await.unwrap();
    upgrade(io, "/mqtt", "mqttv3.1, mqtt").await.unwrap()
}

/// The bytes of a WebSocket, in messages of at most `most` bytes.
pub fn bytes_of<IO: Wire + 'static>(mut socket: WebSocketStream<IO>, most: usize) -> impl Wire {
    let (mine, theirs) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        let (mut from, mut to) = tokio::io::split(theirs);
        let mut buffer = vec![0; most];
        loop {
            tokio::select! {
                read = from.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(count) => {
                        let part = buffer[..count].to_vec();
                        if socket.send(Message::Binary(part.into())).await.is_err() {
                            break;
                        }
                    }
                },
                next = socket.next() => match next {
                    Some(Ok(Message::Binary(bytes))) => to.write_all(&bytes).await.unwrap(),
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                },
            }
        }
        socket.close(None).await.ok();
    });
    mine
}

#[tokio::test]
async fn mqtt_6_0_0_2_packets_are_spread_over_messages_in_any_way() {
    let server = Server::start(None, true).await;
    for (version, most) in Version::ALL.into_iter().zip([1_000, 1, 60_000]) {
        let io = bytes_of(plain(&server).await, most);
        let mut raw = Raw::over(io, version, server.stop.clone());
        raw.hello(connect("a", version)).await;
        raw.subscribe("b", 2).await;
        raw.publish("a", "x", 2).await;
        let publisher = bytes_of(plain(&server).await, 60_000);
        let mut publisher = Raw::over(publisher, version, server.stop.clone());
        publisher.hello(connect("p", version)).await;
        publisher.send(Packet::Publish(message("b", &"y".repeat(90_000), 1))).await;
        publisher.ack().await;
        assert_eq!(raw.message().await.payload.len(), 90_000);
        publisher.goodbye(Reason::SUCCESS).await;
        raw.goodbye(Reason::SUCCESS).await;
    }
    assert_eq!(server.engine.messages().len(), 6);
    server.end().await;
}

#[tokio::test]
async fn it_works_over_tls_too() {
    let tls = Arc::new(Tls::load(files()).unwrap());
    let server = Server::start(Some(tls), true).await;
    let socket = upgrade(dial(server.address, None).await.unwrap(), "/mqtt", "mqtt").await;
    let io = bytes_of(socket.unwrap(), 1_000);
    let mut raw = Raw::over(io, Version::V5, server.stop.clone());
    raw.hello(connect("a", Version::V5)).await;
    raw.publish("a", "x", 1).await;
    server.end().await;
}

#[tokio::test]
async fn other_paths_and_protocols_are_refused() {
    let server = Server::start(None, true).await;
    for (path, protocol, status) in
        [("/", "mqtt", 404), ("/mqtt/x", "mqtt", 404), ("/mqtt", "chat", 400), ("/mqtt", "", 400)]
    {
        let io = TcpStream::connect(server.address).await.unwrap();
        match upgrade(io, path, protocol).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status(), status, "{path} {protocol}"),
            other => panic!("{path} {protocol}: {other:?}"),
        }
    }
    // Clients of MQTT 3.1 have a name of their own for it.
    let io = TcpStream::connect(server.address).await.unwrap();
    assert!(upgrade(io, "/mqtt", "mqttv3.1").await.is_ok());
    let mut raw = TcpStream::connect(server.address).await.unwrap();
    raw.write_all(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00").await.unwrap();
    raw.shutdown().await.unwrap();
    raw.read_to_end(&mut Vec::new()).await.ok();
    server.end().await;
}

/// How an upgrade with these headers ends: its HTTP status.
pub async fn upgrade_from(address: SocketAddr, host: &str, origin: Option<&str>) -> u16 {
    let mut request = "ws://localhost/mqtt".into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", HeaderValue::from_static("mqtt"));
    headers.insert("host", HeaderValue::from_str(host).unwrap());
    if let Some(origin) = origin {
        headers.insert("origin", HeaderValue::from_str(origin).unwrap());
    }
    let io = TcpStream::connect(address).await.unwrap();
    match client_async(request, io).await {
        Ok((_, answer)) => answer.status().as_u16(),
        Err(Error::Http(answer)) => answer.status().as_u16(),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let server = Server::start(None, true).await;
    let own = server.address.to_string();
    for (host, origin, status) in [
        (&*own, None, 101),
        (&own, Some(format!("http://{own}")), 101),
        // As one client that is no browser sends it, whatever it speaks.
        (&own, Some(format!("https://{own}")), 101),
        ("localhost", None, 101),
        (&own, Some("http://evil.example".to_owned()), 403),
        (&own, Some("http://127.0.0.1:3000".to_owned()), 403),
        (&own, Some("null".to_owned()), 403),
        // A name that was made to lead here.
        ("evil.example:8083", Some("http://evil.example:8083".to_owned()), 421),
        ("evil.example:8083", None, 421),
    ] {
        let have = upgrade_from(server.address, host, origin.as_deref()).await;
        assert_eq!(have, status, "{host} {origin:?}");
    }
    server.end().await;
}

fn hello() -> Message {
    let mut out = Vec::new();
    let packet = Packet::Connect(Box::new(connect("a", Version::V311)));
    codec::encode(&packet, Version::V311, &mut out);
    Message::Binary(out.into())
}

#[tokio::test]
async fn mqtt_6_0_0_1_text_and_messages_that_are_too_large_end_the_connection() {
    let server = Server::start(None, true).await;
    for bad in [Message::Text("x".into()), Message::Binary(vec![0x30; 100_001].into())] {
        let mut socket = plain(&server).await;
        socket.send(hello()).await.unwrap();
        match socket.next().await {
            Some(Ok(Message::Binary(ack))) => assert_eq!(&ack[..], b"\x20\x02\x00\x00"),
            other => panic!("{other:?}"),
        }
        socket.send(Message::Ping("p".into())).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("p".into()));
        socket.send(bad).await.ok();
        while let Some(Ok(_)) = socket.next().await {}
    }
    assert!(server.engine.messages().is_empty());
    server.end().await;
}
