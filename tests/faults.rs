//! Real sinks behind a proxy that breaks connections: nothing is lost, order is kept, and what comes
//! twice says so. What the engine does with each answer is tested beside it, with a paused clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use connectors::contract::{Batch, Ingress, Message, NoFacts, Topic, TopicLimits};
use tidegate::engine::{Engine, EngineLimits, LaneCounts, LaneLimits, RuleSet};
use tidegate::rule::{Compiler, file};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::connectors::{Folder, env};

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Ends a connection at once, without a word.
    Refuse,
    /// Takes everything and answers nothing.
    Silence,
    /// Resets the connection after the request.
    Reset,
    /// Ends its own direction after the request and takes the rest.
    HalfClose,
    /// Hands each answer on byte by byte.
    Slow,
    /// Passes the request on, and ends the connection in the place of the answer.
    ReplyLost,
}

/// Starts a proxy; a change of the fault ends all connections.
async fn proxy(upstream: String) -> (String, watch::Sender<Fault>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (set, fault) = watch::channel(Fault::None);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut changed, upstream) = (fault.clone(), upstream.clone());
            let now = *changed.borrow_and_update();
            tokio::spawn(async move {
                tokio::select! {
                    _ = serve(client, &upstream, now) => {}
                    _ = changed.changed() => {}
                }
            });
        }
    });
    (address, set)
}

async fn serve(mut client: TcpStream, upstream: &str, fault: Fault) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    match fault {
        Fault::None => {
            let mut server = TcpStream::connect(upstream).await?;
            tokio::io::copy_bidirectional(&mut client, &mut server).await?;
        }
        Fault::Refuse => {}
        Fault::Silence => while client.read(&mut buffer).await? > 0 {},
        Fault::Reset => {
            // What is left unread makes the end of the connection a reset.
            client.read_u8().await?;
        }
        Fault::HalfClose => {
            if client.read(&mut buffer).await? > 0 {
                client.shutdown().await?;
            }
            while client.read(&mut buffer).await? > 0 {}
        }
        Fault::Slow | Fault::ReplyLost => {
            let mut server = TcpStream::connect(upstream).await?;
            loop {
                let count = client.read(&mut buffer).await?;
                server.write_all(&buffer[..count]).await?;
                let count = server.read(&mut buffer).await?;
                if count == 0 || fault == Fault::ReplyLost {
                    return Ok(());
                }
                for byte in &buffer[..count] {
                    client.write_all(&[*byte]).await?;
                    client.flush().await?;
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    Ok(())
}

/// Idempotency keys and bodies in the order in which they came.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

async fn note(State(seen): State<Seen>, request: Request) -> &'static str {
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok());
    let key = key.unwrap_or_default().to_owned();
    // A request that breaks off has not arrived.
    if let Ok(body) = axum::body::to_bytes(request.into_body(), 1 << 20).await {
        let body = String::from_utf8_lossy(&body).into_owned();
        seen.lock().expect("lock").push((key, body));
    }
    "ok"
}

fn message(device: usize, n: usize) -> Message {
    let topic = Topic::parse(format!("/pk/dev{device}/x"), TopicLimits::default()).expect("topic");
    Message::new(topic, format!(r#"{{"d":{device},"n":{n}}}"#), 0)
}

fn counts(rules: &RuleSet) -> LaneCounts {
    rules.report()[0].actions[0].1
}

/// Waits for something that has to happen soon.
async fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(30), "it comes to rest");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One rule that sends what devices say over HTTP to an address, and the engine that runs it.
fn start(folder: &Folder, address: &str) -> (Arc<Engine>, RuleSet) {
    let limits = EngineLimits { shards: 1, messages: 1 << 10, bytes: 1 << 20 };
    let engine = Engine::start(limits, Arc::new(NoFacts), None, 0).expect("threads");
    let compiler = Compiler {
        sinks: connectors::SINKS,
        env: env(folder.path()),
        time_zone: jiff::tz::TimeZone::UTC,
        sql: tidegate::sql::Limits::default(),
        actions_max: 10,
    };
    let text = format!(
        "rules:\n  - name: through_proxy\n    sql: SELECT d, n FROM \"/pk/+/x\"\n    \
         actions: [{{ http: {{ url: \"http://{address}/\", timeout: 300ms }} }}]\n    \
         retry: {{ delays: [20ms] }}\n"
    );
    let path = folder.path().join("rule.yaml");
    std::fs::write(&path, &text).expect("a file");
    assert!(file::parse(&path, &text, &compiler).is_ok());
    let lanes = LaneLimits { records: 1 << 10, bytes: 1 << 20 };
    let rules = RuleSet::new(engine.clone(), compiler, lanes, tokio::runtime::Handle::current());
    assert_eq!(rules.load_folder(folder.path()).rules, 1);
    (engine, rules)
}

/// Each record arrived, those of one device in order, and what came twice had one key.
fn arrived_in_order(seen: &[(String, String)], sent: usize) {
    let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
    let mut first: Vec<&str> = Vec::new();
    for (key, body) in seen {
        match keys.insert(body, key) {
            Some(before) => assert_eq!(before, key, "a record that comes twice has one key"),
            None => first.push(body),
        }
    }
    for device in 0..2 {
        let want: Vec<String> = (0..sent)
            .filter(|n| n % 2 == device)
            .map(|n| format!(r#"{{"d":{device},"n":{n}}}"#))
            .collect();
        let prefix = format!(r#"{{"d":{device},"#);
        let got: Vec<_> = first.iter().filter(|body| body.starts_with(&prefix)).collect();
        assert_eq!(got, want.iter().collect::<Vec<_>>(), "each arrived, in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_http_loses_nothing_whatever_the_connection_does() {
    let (seen, folder) = (Seen::default(), Folder::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = listener.local_addr().expect("an address").to_string();
    let app = axum::Router::new().fallback(note).with_state(Arc::clone(&seen));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (address, fault) = proxy(upstream).await;

    let (engine, rules) = start(&folder, &address);

    let faults = [
        Fault::Refuse,
        Fault::Silence,
        Fault::Reset,
        Fault::HalfClose,
        Fault::Slow,
        Fault::ReplyLost,
    ];
    let mut sent = 0;
    for now in faults {
        fault.send_replace(now);
        let before = counts(&rules);
        let batch = (0..20).map(|n| message(n % 2, sent + n)).collect();
        engine.submit(Batch::unacknowledged(batch)).await;
        sent += 20;
        if now != Fault::Slow {
            until(|| counts(&rules).retried > before.retried).await;
        }
        fault.send_replace(Fault::None);
        until(|| counts(&rules).delivered == sent as u64).await;
        let after = counts(&rules);
        assert_eq!((after.received, after.failed, after.queued), (sent as u64, 0, 0), "{now:?}");
        if now == Fault::ReplyLost {
            assert!(after.tried[2] > before.tried[2], "a lost answer is unknown: {after:?}");
        }
    }
    let seen = seen.lock().expect("lock");
    assert!(seen.len() > sent, "lost answers made some come twice");
    arrived_in_order(&seen, sent);
    drop(seen);
    engine.stop();
}
