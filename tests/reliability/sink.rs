//! Destinations that record: a function over HTTP and an MQTT 5 broker, which fail in the ways that a
//! test asks for. A real one cannot be made to hang or to be slow on demand.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tidegate::broker::codec::{self, Packet, Reason, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::oracle::Oracle;
use super::recorder::Recorder;

/// Not the address of everything else: a port that is given up for a while stays free here.
pub(super) const HOST: &str = "127.0.0.2";

/// How a destination behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Up,
    /// Nobody listens.
    Refuse,
    /// Takes requests and never answers.
    Hang,
    /// Takes its time for every read of a socket.
    Slow(Duration),
    /// Answers requests with this status and does nothing (HTTP).
    Answer(u16),
}

/// A destination.
pub(super) struct Sink {
    pub(super) port: u16,
    pub(super) seen: Arc<Recorder>,
    mode: watch::Sender<Mode>,
    /// Ends the listener with the destination.
    task: tokio::task::AbortHandle,
}

#[derive(Clone, Copy)]
enum Protocol {
    Http,
    Mqtt,
}

impl Sink {
    /// A function that answers every POST.
    pub(super) async fn http(name: &'static str, oracle: &Arc<Oracle>) -> Self {
        Self::start(name, oracle, Protocol::Http).await
    }

    /// A broker that acknowledges every PUBLISH.
    pub(super) async fn mqtt(name: &'static str, oracle: &Arc<Oracle>) -> Self {
        Self::start(name, oracle, Protocol::Mqtt).await
    }

    async fn start(name: &'static str, oracle: &Arc<Oracle>, protocol: Protocol) -> Self {
        let listener = TcpListener::bind((HOST, 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (mode, now) = watch::channel(Mode::Up);
        let seen = Recorder::new(name, oracle);
        let task = tokio::spawn(listen(listener, port, now, protocol, Arc::clone(&seen)));
        Self { port, seen, mode, task: task.abort_handle() }
    }

    /// From now on it behaves so.
    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The action that calls it.
    pub(super) fn http_action(&self) -> String {
        format!("http: {{ url: \"http://{HOST}:{}/\" }}", self.port)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    first: TcpListener,
    port: u16,
    mut mode: watch::Receiver<Mode>,
    protocol: Protocol,
    seen: Arc<Recorder>,
) {
    let mut listener = Some(first);
    loop {
        if *mode.borrow_and_update() == Mode::Refuse {
            listener = None;
            if mode.changed().await.is_err() {
                return;
            }
            continue;
        }
        let Some(open) = &listener else {
            match TcpListener::bind((HOST, port)).await {
                Ok(open) => listener = Some(open),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
            continue;
        };
        tokio::select! {
            changed = mode.changed() => if changed.is_err() { return },
            Ok((stream, _)) = open.accept() => {
                let mut end = mode.clone();
                let (mode, seen) = (mode.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    let serving = async {
                        match protocol {
                            Protocol::Http => serve_http(stream, mode, &seen).await,
                            Protocol::Mqtt => serve_mqtt(stream, mode, &seen).await,
                        }
                    };
                    tokio::select! {
                        // An end in the middle is the other side's kill.
                        _ = serving => {}
                        _ = end.wait_for(|mode| *mode == Mode::Refuse) => {}
                    }
                });
            }
        }
    }
}

/// Waits as the mode says; `false` when there shall be no answer and the connection ends.
async fn behave(mode: &mut watch::Receiver<Mode>) -> bool {
    let now = *mode.borrow();
    match now {
        Mode::Hang => {
            mode.wait_for(|mode| *mode != Mode::Hang).await.ok();
            false
        }
        Mode::Slow(pause) => {
            tokio::time::sleep(pause).await;
            true
        }
        _ => true,
    }
}

/// A request: bytes of its head and its body, and whether it is a POST.
struct Request {
    head: usize,
    body: usize,
    post: bool,
    key: String,
}

fn parse(input: &[u8]) -> Option<Request> {
    let head = memchr::memmem::find(input, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&input[..head]).ok()?;
    let header = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let body = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let key = header("idempotency-key").unwrap_or_default().to_owned();
    Some(Request { head, body, post: text.starts_with("POST "), key })
}

async fn serve_http(
    mut stream: TcpStream,
    mut mode: watch::Receiver<Mode>,
    seen: &Recorder,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BytesMut::with_capacity(16 << 10);
    loop {
        let whole = parse(&input).filter(|request| input.len() >= request.head + request.body);
        let Some(request) = whole else {
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
            continue;
        };
        if !behave(&mut mode).await {
            return Ok(());
        }
        let status = match *mode.borrow() {
            Mode::Answer(status) => status,
            _ => 200,
        };
        if request.post && status == 200 {
            seen.take(&input[request.head..request.head + request.body], &request.key);
        }
        input.advance(request.head + request.body);
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// CONNACK of MQTT 5 without properties.
const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];
const PINGRESP: [u8; 2] = [0xd0, 0];

async fn serve_mqtt(
    mut stream: TcpStream,
    mut mode: watch::Receiver<Mode>,
    seen: &Recorder,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut output) = (BytesMut::with_capacity(64 << 10), Vec::new());
    loop {
        if stream.read_buf(&mut input).await? == 0 || !behave(&mut mode).await {
            return Ok(());
        }
        while let Some(length) = codec::frame_len(&input, 1 << 20).map_err(io::Error::other)?
            && length <= input.len()
        {
            let frame = input.split_to(length).freeze();
            match codec::decode(&frame, Version::V5).map_err(io::Error::other)? {
                Packet::Connect(_) => output.extend_from_slice(&CONNACK),
                Packet::PingReq => output.extend_from_slice(&PINGRESP),
                Packet::Publish(publish) => {
                    let key =
                        publish.properties.user().find(|(name, _)| &***name == "idempotency-key");
                    seen.take(&publish.payload, key.map_or("", |(_, key)| key));
                    let (id, ok) = (publish.packet_id, Reason::SUCCESS);
                    codec::encode_ack(codec::AckKind::PubAck, id, ok, Version::V5, &mut output);
                }
                _ => return Ok(()),
            }
        }
        stream.write_all(&output).await?;
        output.clear();
    }
}
