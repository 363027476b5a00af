//! A TCP proxy that breaks connections on purpose: what it does can be changed while it runs, and it
//! counts what it has done. It needs nothing but tokio, so that other binaries may include it.
//!
//! It knows no protocol. What a fault waits for before it strikes is a piece of a request that the
//! test chooses: handshakes and pings get through, and the request with that piece is hit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// Pieces that a second of bandwidth is handed on in.
const PIECES_PER_SECOND: usize = 50;

/// What the proxy does. The faults with `after` strike a connection from its first request on that
/// holds those bytes; with none, from its next request on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Passes everything on.
    None,
    /// Nobody listens, and open connections are reset.
    Refuse,
    /// Takes everything and answers nothing; the other side gets nothing.
    Silence,
    /// The request arrives; half of the first piece of its answer comes back, then a reset.
    Reset { after: &'static [u8] },
    /// The request arrives; in the place of the answer the proxy's direction ends, and it goes on
    /// taking what comes.
    HalfClose { after: &'static [u8] },
    /// The request arrives and is obeyed; its answer is swallowed and the connection ended.
    ReplyLost { after: &'static [u8] },
    /// Hands answers on byte by byte, so many a second.
    Slow { bytes_per_second: u32 },
    /// Each piece, in both directions, comes this much later.
    Latency(Duration),
    /// Both directions carry so many bytes a second.
    Bandwidth { bytes_per_second: u32 },
}

impl Fault {
    /// The piece of a request that makes the fault strike.
    fn after(self) -> Option<&'static [u8]> {
        match self {
            Self::Reset { after } | Self::HalfClose { after } | Self::ReplyLost { after } => {
                Some(after)
            }
            _ => None,
        }
    }
}

/// What a proxy has done since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Connections accepted.
    pub accepted: u64,
    /// Of those: open now.
    pub open: u64,
    /// Bytes that went to the server.
    pub to_server: u64,
    /// Bytes that went to clients.
    pub to_client: u64,
    /// Pieces of requests and answers that were swallowed.
    pub swallowed: u64,
    /// Connections ended by a fault, by [`Proxy::cut`] or by the end of a fault that had spoilt them.
    pub cut: u64,
    /// How often requests held the bytes that it was told to count.
    pub counted: u64,
}

#[derive(Default)]
struct Counters {
    accepted: AtomicU64,
    open: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
    swallowed: AtomicU64,
    cut: AtomicU64,
    counted: AtomicU64,
}

/// What connections do now. Every cut is a new number, which ends those that were open before.
#[derive(Debug, Clone, Copy)]
struct Order {
    fault: Fault,
    cuts: u64,
}

/// A running proxy; it ends, and its connections with it, when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    order: watch::Sender<Order>,
    counters: Arc<Counters>,
    /// Keeps the port ours while nobody listens on it.
    _reserved: TcpSocket,
}

/// What the tasks of a proxy share.
#[derive(Clone)]
struct Shared {
    upstream: Arc<str>,
    order: watch::Receiver<Order>,
    counters: Arc<Counters>,
    counting: &'static [u8],
}

impl Proxy {
    /// Starts a proxy for a server (`host:port`) on an address: `127.0.0.1:0` for a free port, else
    /// the one that the server tells its clients. It counts how often requests hold the bytes
    /// `counting`, if any.
    pub async fn start(address: &str, upstream: &str, counting: &'static [u8]) -> Self {
        let reserved = bound(address.parse().expect("an address and a port")).expect("a port");
        let address = reserved.local_addr().expect("an address");
        let (order, receiver) = watch::channel(Order { fault: Fault::None, cuts: 0 });
        let counters = Arc::<Counters>::default();
        let shared = Shared {
            upstream: upstream.into(),
            order: receiver,
            counters: Arc::clone(&counters),
            counting,
        };
        let listener = listen(address).expect("the port listens");
        tokio::spawn(accept(address, listener, shared));
        Self { address, order, counters, _reserved: reserved }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does that from now on, also with open connections.
    pub fn set(&self, fault: Fault) {
        self.order.send_modify(|order| order.fault = fault);
    }

    /// Resets all open connections; new ones are served.
    pub fn cut(&self) {
        self.order.send_modify(|order| order.cuts += 1);
    }

    /// What it has done.
    pub fn counts(&self) -> Counts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &*self.counters;
        Counts {
            accepted: load(&c.accepted),
            open: load(&c.open),
            to_server: load(&c.to_server),
            to_client: load(&c.to_client),
            swallowed: load(&c.swallowed),
            cut: load(&c.cut),
            counted: load(&c.counted),
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bound(address)?.listen(BACKLOG)
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}

/// Accepts connections, but has no listener while the fault is to refuse them.
async fn accept(address: SocketAddr, listener: TcpListener, mut shared: Shared) {
    let mut listener = Some(listener);
    loop {
        let refuse = shared.order.borrow_and_update().fault == Fault::Refuse;
        if refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(listen(address).expect("the port is reserved"));
        }
        let next = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = shared.order.changed() => if changed.is_err() { return },
            accepted = next => if let Ok((client, _)) = accepted {
                add(&shared.counters.accepted, 1);
                tokio::spawn(serve(client, shared.clone()));
            },
        }
    }
}

/// How a connection ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// One side has ended it.
    Closed,
    /// The fault ends it as if all were said.
    Finish,
    /// The fault resets it.
    Reset,
}

async fn serve(mut client: TcpStream, shared: Shared) {
    add(&shared.counters.open, 1);
    let end = pass(&mut client, &shared).await.unwrap_or(End::Closed);
    if end != End::Closed {
        add(&shared.counters.cut, 1);
    }
    if end == End::Reset {
        // An error means that the client is gone already.
        client.set_zero_linger().ok();
    }
    drop(client);
    shared.counters.open.fetch_sub(1, Ordering::Relaxed);
}

/// What the two directions of a connection tell each other.
struct Connection {
    order: watch::Receiver<Order>,
    counters: Arc<Counters>,
    counting: &'static [u8],
    cuts: u64,
    /// A request has arrived that the fault waits for.
    struck: AtomicBool,
    /// Bytes are missing: it can't go on when the fault ends.
    spoilt: AtomicBool,
}

async fn pass(client: &mut TcpStream, shared: &Shared) -> io::Result<End> {
    let mut order = shared.order.clone();
    let now = *order.borrow_and_update();
    let connection = Connection {
        order,
        counters: Arc::clone(&shared.counters),
        counting: shared.counting,
        cuts: now.cuts,
        struck: AtomicBool::new(false),
        spoilt: AtomicBool::new(false),
    };
    if now.fault == Fault::Silence {
        return connection.swallow(client).await;
    }
    let mut server = TcpStream::connect(&*shared.upstream).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        end = connection.requests(from_client, to_server) => end,
        end = connection.answers(from_server, to_client) => end,
    }
}

impl Connection {
    /// Takes what comes until the fault ends.
    async fn swallow(&self, client: &mut TcpStream) -> io::Result<End> {
        let (mut order, mut buffer) = (self.order.clone(), vec![0; CHUNK]);
        loop {
            tokio::select! {
                changed = order.changed() => {
                    let silent = changed.is_ok() && order.borrow().fault == Fault::Silence;
                    if !silent || order.borrow().cuts != self.cuts {
                        return Ok(End::Reset);
                    }
                }
                read = client.read(&mut buffer) => {
                    if read? == 0 {
                        return Ok(End::Closed);
                    }
                    add(&self.counters.swallowed, 1);
                }
            }
        }
    }

    /// What to do now; `None` when the connection has to be reset.
    fn fault(&self, order: &mut watch::Receiver<Order>) -> Option<Fault> {
        let Order { fault, cuts } = *order.borrow_and_update();
        let over = cuts != self.cuts || fault == Fault::Refuse;
        let healed = fault == Fault::None && self.spoilt.load(Ordering::Acquire);
        (!over && !healed).then_some(fault)
    }

    async fn requests(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<End> {
        let (mut order, mut buffer) = (self.order.clone(), vec![0; CHUNK]);
        let (mut waited_for, mut counted) = (Finder::default(), Finder::default());
        loop {
            let Some(fault) = self.fault(&mut order) else { return Ok(End::Reset) };
            let count = tokio::select! {
                biased;
                changed = order.changed() => if changed.is_ok() { continue } else { return Ok(End::Reset) },
                read = from.read(&mut buffer) => read?,
            };
            if count == 0 {
                to.shutdown().await?;
                // The other direction still has answers to bring.
                return std::future::pending().await;
            }
            let bytes = &buffer[..count];
            add(&self.counters.counted, counted.find(self.counting, bytes));
            match fault.after() {
                Some(after) if after.is_empty() || waited_for.find(after, bytes) > 0 => {
                    self.struck.store(true, Ordering::Release);
                }
                Some(_) => {}
                None => {
                    waited_for = Finder::default();
                    self.struck.store(false, Ordering::Release);
                }
            }
            if fault == Fault::Silence {
                self.spoilt.store(true, Ordering::Release);
                add(&self.counters.swallowed, 1);
                continue;
            }
            self.hand_on(bytes, &mut to, false, &mut order).await?;
            add(&self.counters.to_server, count);
        }
    }

    async fn answers(&self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<End> {
        let (mut order, mut buffer) = (self.order.clone(), vec![0; CHUNK]);
        let mut ended = false;
        loop {
            let Some(fault) = self.fault(&mut order) else { return Ok(End::Reset) };
            let count = tokio::select! {
                biased;
                changed = order.changed() => if changed.is_ok() { continue } else { return Ok(End::Reset) },
                read = from.read(&mut buffer) => read?,
            };
            if count == 0 {
                to.shutdown().await?;
                return Ok(End::Closed);
            }
            let struck = self.struck.load(Ordering::Acquire);
            match fault {
                Fault::Reset { .. } if struck => {
                    to.write_all(&buffer[..count / 2]).await?;
                    add(&self.counters.swallowed, 1);
                    return Ok(End::Reset);
                }
                Fault::ReplyLost { .. } if struck => {
                    add(&self.counters.swallowed, 1);
                    return Ok(End::Finish);
                }
                Fault::HalfClose { .. } if struck => {
                    self.spoilt.store(true, Ordering::Release);
                    add(&self.counters.swallowed, 1);
                    if !std::mem::replace(&mut ended, true) {
                        to.shutdown().await?;
                    }
                }
                Fault::Silence => {
                    self.spoilt.store(true, Ordering::Release);
                    add(&self.counters.swallowed, 1);
                }
                _ => {
                    self.hand_on(&buffer[..count], &mut to, true, &mut order).await?;
                    add(&self.counters.to_client, count);
                }
            }
        }
    }

    /// Writes bytes at the pace of the fault, which may change meanwhile.
    async fn hand_on(
        &self,
        mut bytes: &[u8],
        to: &mut WriteHalf<'_>,
        answers: bool,
        order: &mut watch::Receiver<Order>,
    ) -> io::Result<()> {
        let mut late = false;
        while !bytes.is_empty() {
            let (count, pause) = match order.borrow().fault {
                Fault::Slow { bytes_per_second } if answers => {
                    (1, Duration::from_secs(1) / bytes_per_second.max(1))
                }
                Fault::Bandwidth { bytes_per_second } => {
                    let piece = (bytes_per_second as usize / PIECES_PER_SECOND).max(1);
                    let count = piece.min(bytes.len());
                    (
                        count,
                        Duration::from_secs_f64(count as f64 / f64::from(bytes_per_second.max(1))),
                    )
                }
                Fault::Latency(pause) if !late => (bytes.len(), pause),
                _ => (bytes.len(), Duration::ZERO),
            };
            late = true;
            if !pause.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    changed = order.changed() => if changed.is_ok() { continue } else { return Ok(()) },
                }
            }
            let (now, rest) = bytes.split_at(count);
            to.write_all(now).await?;
            bytes = rest;
        }
        Ok(())
    }
}

/// Finds a piece in a stream, also where it begins in one chunk and ends in the next.
#[derive(Default)]
struct Finder(Vec<u8>);

impl Finder {
    /// How often the piece ends in the next chunk of the stream.
    fn find(&mut self, piece: &[u8], chunk: &[u8]) -> usize {
        if piece.is_empty() {
            return 0;
        }
        self.0.extend_from_slice(chunk);
        let found = self.0.windows(piece.len()).filter(|window| *window == piece).count();
        let keep = self.0.len().min(piece.len() - 1);
        self.0.drain(..self.0.len() - keep);
        found
    }
}
