//! Passwords are guessed, over as many sockets as one likes: who knows the right one gets in meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use connectors::contract::{ShutdownHandle, TopicLimits, shutdown};
use ring::pbkdf2::PBKDF2_HMAC_SHA256;
use tempfile::TempDir;
use tidegate::broker::codec::{Connect, Packet, Reason, Version};
use tidegate::broker::{
    Broker, BrokerHandle, Config, DeviceAccess, Hooks, Limits, Listener, PasswordHash, Proof,
    StatusMessages, User, Users,
};
use tidegate::registry::{self, Registry};
use tidegate::rule::store::Store;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::broker::rig::{Engine, Raw, connect};

const SOCKETS: usize = 200;

/// The longest that the right password may take, and the longest of anything else here.
const SOON: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A broker that users `desk`, `lamp` and `door` may connect to, over real sockets and in real time.
struct Server {
    address: SocketAddr,
    handle: BrokerHandle,
    stop: Arc<ShutdownHandle>,
    /// What a check of a password costs, and how long it takes when nothing else is to do.
    rounds: NonZeroU32,
    check: Duration,
    _folder: TempDir,
}

impl Server {
    async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let registry = Registry::open(store, registry::Limits::default()).await.unwrap();
        let (rounds, check) = cost();
        let users = ["desk", "lamp", "door"].map(|name| {
            let hash = hashed(&format!("{name}-password"), rounds);
            User::new(name, hash, &[], &[], TopicLimits::default()).unwrap()
        });
        let status = StatusMessages::new(jiff::tz::TimeZone::UTC, TopicLimits::default());
        let users = Users::new(users.into());
        let access = Arc::new(DeviceAccess::new(registry, Proof::Password, users, status));
        let hooks = Hooks { authenticator: access.clone(), acl: access.clone(), lifecycle: access };
        let clock = Arc::new(|| 0);
        let config = Config { limits, ..Config::default() };
        let broker = Broker::new(config, hooks, Arc::new(Engine::default()), clock);
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let (stop, stopped) = shutdown();
        let handle = broker.handle();
        tokio::spawn(async move { broker.serve_all(vec![Listener::plain(tcp)], stopped).await });
        Self { address, handle, stop: Arc::new(stop), rounds, check, _folder: folder }
    }

    /// How CONNECT is answered, and after how long.
    async fn login(&self, from: Ipv4Addr, name: &str, password: &str) -> (Reason, Duration) {
        let start = Instant::now();
        let mut raw = dial(self.address, from, &self.stop).await;
        raw.send(Packet::Connect(Box::new(hello(name, password)))).await;
        let ack = tokio::time::timeout(PATIENCE, raw.conn_ack()).await.expect("an answer");
        (ack.reason, start.elapsed())
    }

    /// What a check takes at this moment.
    async fn check_now(&self) -> Duration {
        let (rounds, start) = (self.rounds, Instant::now());
        tokio::task::spawn_blocking(move || hashed("x", rounds)).await.unwrap();
        start.elapsed()
    }

    async fn right(&self, from: Ipv4Addr, name: &str) -> Duration {
        let (reason, took) = self.login(from, name, &format!("{name}-password")).await;
        assert_eq!(reason, Reason::SUCCESS, "{name}");
        took
    }

    /// Sockets that try again and again, each time with another name or password.
    async fn attack(&self, from: Ipv4Addr, guess: Guess) -> JoinSet<()> {
        let tries = Arc::new(AtomicUsize::new(0));
        let mut sockets = JoinSet::new();
        for _ in 0..SOCKETS {
            let (address, stop) = (self.address, Arc::clone(&self.stop));
            let tries = Arc::clone(&tries);
            sockets.spawn(async move {
                loop {
                    let (name, password) = guess(tries.fetch_add(1, Ordering::Relaxed));
                    let mut raw = dial(address, from, &stop).await;
                    raw.send(Packet::Connect(Box::new(hello(&name, &password)))).await;
                    while raw.try_recv().await.is_some() {}
                }
            });
        }
        // All of them are there, and one was answered.
        let failed = self.handle.snapshot().logins_failed;
        let begun = async {
            loop {
                let now = self.handle.snapshot();
                if now.connections >= SOCKETS as u64 && now.logins_failed > failed {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, begun).await.expect("an attack");
        sockets
    }
}

/// Rounds that take some 200 ms here, as those of a real hash do in a real build, and what they take.
fn cost() -> (NonZeroU32, Duration) {
    let few = NonZeroU32::new(2000).unwrap();
    let start = Instant::now();
    hashed("x", few);
    let took = start.elapsed().max(Duration::from_micros(1));
    let times = (Duration::from_millis(200).as_micros() / took.as_micros()).max(1);
    (few.saturating_mul(NonZeroU32::new(times as u32).unwrap()), took * times as u32)
}

fn hashed(password: &str, rounds: NonZeroU32) -> PasswordHash {
    let mut hash = [0; 32];
    ring::pbkdf2::derive(PBKDF2_HMAC_SHA256, rounds, b"salt", password.as_bytes(), &mut hash);
    let text = format!("$pbkdf2-sha256$i={rounds}$c2FsdA${}", STANDARD_NO_PAD.encode(hash));
    PasswordHash::parse(&text).unwrap()
}

async fn dial(address: SocketAddr, from: Ipv4Addr, stop: &Arc<ShutdownHandle>) -> Raw {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let io = socket.connect(address).await.unwrap();
    Raw::over(io, Version::V5, Arc::clone(stop))
}

fn hello(name: &str, password: &str) -> Connect {
    let mut hello = connect("", Version::V5);
    hello.username = Some(name.into());
    hello.password = Some(password.to_owned().into());
    hello
}

/// What 200 sockets guess: the name and the password of each try.
type Guess = fn(usize) -> (String, String);

/// An attack, and clients that get in at once all the same: from where, as whom.
type Attack = (&'static str, Guess, &'static [(Ipv4Addr, &'static str)]);

const ATTACKS: [Attack; 4] = [
    (
        "one wrong password of one user",
        |_| ("desk".into(), "wrong".into()),
        &[(HERE, "desk"), (HERE, "lamp"), (ELSEWHERE, "door")],
    ),
    (
        "other passwords of one user",
        |n| ("desk".into(), n.to_string()),
        &[(HERE, "lamp"), (ELSEWHERE, "desk"), (ELSEWHERE, "door")],
    ),
    (
        "names that nobody has",
        |n| (format!("nobody{n}"), "wrong".into()),
        &[(HERE, "desk"), (HERE, "lamp"), (ELSEWHERE, "door")],
    ),
    (
        "all users and nobody",
        |n| (["desk", "lamp", "nobody"][n % 3].into(), n.to_string()),
        &[(HERE, "door"), (ELSEWHERE, "desk")],
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_password_gets_in_while_200_sockets_guess() {
    for (what, guess, honest) in ATTACKS {
        let server = Server::start().await;
        // Whoever has proven his password is not held up by those who share his address and name.
        let first = server.right(HERE, "desk").await;
        let attack = server.attack(HERE, guess).await;
        let proven = server.right(HERE, "desk").await;
        assert!(proven < SOON, "{what}: {proven:?} for who was in before");
        drop(attack);

        let server = Server::start().await;
        let attack = server.attack(HERE, guess).await;
        for (from, name) in honest {
            let took = server.right(*from, name).await;
            // A machine that has much else to do checks more slowly: what a check takes just now.
            let most = SOON.max(server.check_now().await * 6);
            assert!(took < most, "{what}: {took:?} for {name} from {from}");
            eprintln!("{what}: {name} from {from} in {took:?}, alone {first:?}, proven {proven:?}");
        }
        drop(attack);
    }
}

/// Clients that say nothing take no connection from those of other addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_connections_are_for_other_addresses() {
    let server = Server::with(Limits { connections: 32, ..Limits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(dial(server.address, ELSEWHERE, &server.stop).await);
    }
    let full = async {
        while server.handle.snapshot().connections_crowded == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("some are closed");
    server.right(HERE, "desk").await;
    assert_eq!(server.handle.snapshot().connections_refused, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_nobody_has_takes_as_long_as_a_wrong_password() {
    let server = Server::start().await;
    // The first of an address wait the shortest; each pair comes from an address of its own.
    for n in 10..13 {
        let from = Ipv4Addr::new(127, 0, 0, n);
        let mut took = Vec::new();
        for name in ["desk", "nobody"] {
            let from = Ipv4Addr::new(127, 0, u8::from(name == "desk"), from.octets()[3]);
            let (reason, time) = server.login(from, name, "wrong").await;
            assert_eq!(reason, Reason::BAD_CREDENTIALS);
            took.push(time);
        }
        let apart = took[0].abs_diff(took[1]);
        let most = server.check_now().await.max(Duration::from_millis(100)) * 2;
        assert!(apart < most, "{took:?}, one check takes {:?}", server.check);
        assert!(took.iter().all(|time| *time >= Duration::from_millis(500)), "{took:?}");
    }
}
