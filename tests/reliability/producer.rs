//! Producers: devices over MQTT 3.1.1 at QoS 1 with many messages in flight, and over `POST /ingest`,
//! one request after the other. Everything is written by hand: no library may hide a lost PUBACK.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::oracle::{Oracle, topic};
use super::process::Process;

/// How long outstanding acknowledgements are waited for when a producer stops.
const LAST_ACKS: Duration = Duration::from_secs(5);
/// The pause before a producer connects again.
const AGAIN: Duration = Duration::from_millis(100);
/// Bytes that are written at once.
const CHUNK: usize = 32 << 10;
/// How often a producer with a pace looks how much is due.
const TICK: Duration = Duration::from_millis(2);

/// Who sends how fast.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Devices over MQTT; they share `connections`.
    pub(super) mqtt: Range<usize>,
    /// Connections of MQTT.
    pub(super) connections: usize,
    /// Messages in flight on each of them.
    pub(super) window: usize,
    /// Devices over HTTP, a connection each.
    pub(super) http: Range<usize>,
    /// Messages a second over all MQTT connections; 0 is as fast as acknowledgements come.
    pub(super) rate: u64,
    /// Stop after so many messages over each MQTT connection.
    pub(super) most: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self { mqtt: 0..16, connections: 4, window: 128, http: 16..20, rate: 0, most: u64::MAX }
    }
}

impl Plan {
    /// How many devices it needs.
    pub(super) fn devices(&self) -> usize {
        self.mqtt.end.max(self.http.end)
    }
}

/// Producers that run.
pub(super) struct Producers {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Producers {
    /// Starts all of a plan. Each ends with its connection, or connects again if `again`.
    pub(super) fn start(oracle: &Arc<Oracle>, to: &Process, plan: &Plan, again: bool) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let share = |n: usize| {
            let devices: Vec<_> = plan.mqtt.clone().skip(n).step_by(plan.connections).collect();
            let rate = plan.rate as f64 / plan.connections as f64;
            Load { oracle: Arc::clone(oracle), devices, window: plan.window, rate, most: plan.most }
        };
        for n in (0..plan.connections).filter(|_| !plan.mqtt.is_empty()) {
            let (load, port, stopped) = (share(n), to.mqtt, stopped.clone());
            tasks.spawn(async move {
                loop {
                    let done = mqtt(&load, n, port, stopped.clone()).await;
                    if done.is_ok() || !again || *stopped.borrow() {
                        return;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
        for device in plan.http.clone() {
            let (oracle, port, stopped) = (Arc::clone(oracle), to.http, stopped.clone());
            tasks.spawn(async move {
                while !*stopped.borrow() {
                    let done = http(&oracle, device, port, &stopped).await;
                    if done.is_ok() || !again {
                        return;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
        Self { stop, tasks }
    }

    /// Waits until all have ended by themselves.
    pub(super) async fn end(mut self) {
        while let Some(task) = self.tasks.join_next().await {
            task.expect("a producer");
        }
    }

    /// Lets all take their last acknowledgements, and ends them.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        self.end().await;
    }
}

/// What one MQTT connection sends.
struct Load {
    oracle: Arc<Oracle>,
    devices: Vec<usize>,
    window: usize,
    rate: f64,
    most: u64,
}

/// What was sent on a connection and waits for its PUBACK.
struct Flight {
    free: Semaphore,
    sent: Mutex<VecDeque<(u16, usize, u64)>>,
    /// Nothing more will be sent.
    last: AtomicBool,
}

impl Flight {
    fn is_empty(&self) -> bool {
        self.sent.lock().expect("lock").is_empty()
    }
}

/// Publishes until the connection ends, which is an error, or until it is stopped.
async fn mqtt(load: &Load, n: usize, port: u16, stop: watch::Receiver<bool>) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&connect(&format!("producer{n}"))).await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    if answer != [0x20, 2, 0, 0] {
        return Err(io::Error::other("refused"));
    }
    let (reader, writer) = stream.into_split();
    let flight = Flight {
        free: Semaphore::new(load.window),
        sent: Mutex::default(),
        last: AtomicBool::new(false),
    };
    let mut acks = pin!(take_acks(reader, &load.oracle, &flight));
    let mut writer = tokio::select! {
        ended = &mut acks => return ended,
        writer = publish(writer, load, &flight, stop) => writer?,
    };
    flight.last.store(true, Ordering::Relaxed);
    if !flight.is_empty() {
        tokio::time::timeout(LAST_ACKS, acks).await??;
    }
    writer.write_all(&[0xe0, 0]).await
}

async fn publish(
    mut writer: OwnedWriteHalf,
    load: &Load,
    flight: &Flight,
    mut stop: watch::Receiver<bool>,
) -> io::Result<OwnedWriteHalf> {
    let (began, mut sent, mut id) = (Instant::now(), 0_u64, 0_u16);
    let mut out = Vec::with_capacity(CHUNK * 2);
    while sent < load.most {
        let due = (began.elapsed().as_secs_f64() * load.rate) as u64;
        if load.rate > 0.0 && sent >= due {
            tokio::select! {
                () = tokio::time::sleep(TICK) => continue,
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        tokio::select! {
            permit = flight.free.acquire() => permit.expect("open").forget(),
            _ = stop.wait_for(|stop| *stop) => break,
        }
        // All that may go out now goes out in one write.
        loop {
            let device = load.devices[(sent % load.devices.len() as u64) as usize];
            let (n, payload) = load.oracle.send(device);
            id = id.checked_add(1).unwrap_or(1);
            flight.sent.lock().expect("lock").push_back((id, device, n));
            push_publish(&topic(device), id, &payload, &mut out);
            sent += 1;
            let enough = out.len() >= CHUNK || sent >= load.most;
            if enough || (load.rate > 0.0 && sent >= due) {
                break;
            }
            match flight.free.try_acquire() {
                Ok(permit) => permit.forget(),
                Err(_) => break,
            }
        }
        writer.write_all(&out).await?;
        out.clear();
    }
    Ok(writer)
}

/// Takes PUBACKs, which come in the order of the PUBLISHes (MQTT 3.1.1 §4.6).
async fn take_acks(mut from: OwnedReadHalf, oracle: &Oracle, flight: &Flight) -> io::Result<()> {
    let mut input = Vec::with_capacity(4096);
    loop {
        if from.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let whole = input.len() / 4 * 4;
        for packet in input[..whole].chunks_exact(4) {
            let id = u16::from_be_bytes([packet[2], packet[3]]);
            let sent = flight.sent.lock().expect("lock").pop_front();
            match sent {
                Some((expected, device, n)) if packet[..2] == [0x40, 2] && id == expected => {
                    oracle.acknowledge(device, n);
                }
                other => oracle.complain(format!("{packet:?} where PUBACK of {other:?} was due")),
            }
        }
        flight.free.add_permits(whole / 4);
        input.drain(..whole);
        if flight.last.load(Ordering::Relaxed) && flight.is_empty() {
            return Ok(());
        }
    }
}

/// CONNECT of MQTT 3.1.1 with a clean session and no keep-alive.
pub(super) fn connect(id: &str) -> Vec<u8> {
    let mut out = vec![0x10, (12 + id.len()) as u8, 0, 4];
    out.extend_from_slice(b"MQTT\x04\x02\0\0\0");
    out.push(id.len() as u8);
    out.extend_from_slice(id.as_bytes());
    out
}

/// PUBLISH of QoS 1.
pub(super) fn push_publish(topic: &str, id: u16, payload: &[u8], out: &mut Vec<u8>) {
    out.push(0x32);
    let mut length = 4 + topic.len() + payload.len();
    loop {
        let more = if length > 127 { 0x80 } else { 0 };
        out.push((length & 0x7f) as u8 | more);
        length >>= 7;
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(&(topic.len() as u16).to_be_bytes());
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Sends one request after the other over one connection; 202 is an acknowledgement.
async fn http(
    oracle: &Oracle,
    device: usize,
    port: u16,
    stop: &watch::Receiver<bool>,
) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    while !*stop.borrow() {
        let (n, payload) = oracle.send(device);
        let head = format!(
            "POST /ingest{} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
            topic(device),
            payload.len()
        );
        stream.write_all(&[head.as_bytes(), &payload].concat()).await?;
        match answer(&mut stream).await? {
            202 => oracle.acknowledge(device, n),
            503 => tokio::time::sleep(AGAIN).await,
            other => oracle.complain(format!("/ingest answered {other}")),
        }
    }
    Ok(())
}

/// The status of an answer, whose body has the length that its head says.
async fn answer(stream: &mut TcpStream) -> io::Result<u16> {
    let mut input = Vec::with_capacity(512);
    loop {
        if stream.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(head) = memchr::memmem::find(&input, b"\r\n\r\n") else { continue };
        let text = String::from_utf8_lossy(&input[..head]).to_lowercase();
        let length = text.split("content-length: ").nth(1).and_then(|rest| {
            rest.split("\r\n").next().and_then(|length| length.parse::<usize>().ok())
        });
        if input.len() >= head + 4 + length.unwrap_or(0) {
            let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
            return status.ok_or_else(|| io::Error::other("no status"));
        }
    }
}
