//! Each fault of the proxy, seen from a client: what the tests of sinks and sources rely on.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::proxy::{Fault, Proxy};
use super::rig::{Arrival, arrived_in_order, until};

/// A server that sends back what it gets, and what it got.
async fn echo() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let got = Arc::<Mutex<Vec<u8>>>::default();
    let all = Arc::clone(&got);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let got = Arc::clone(&got);
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    got.lock().expect("lock").extend(&buffer[..count]);
                    stream.write_all(&buffer[..count]).await.ok();
                }
            });
        }
    });
    (address, all)
}

async fn connected(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address()).await.expect("connected");
    assert_eq!(ask(&mut stream, b"ping").await.expect("an answer"), b"ping");
    stream
}

/// Sends bytes and reads one piece of the answer; empty when the other side has ended.
async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut buffer = vec![0; 1024];
    let count = stream.read(&mut buffer).await?;
    buffer.truncate(count);
    Ok(buffer)
}

#[tokio::test]
async fn r10_the_proxy_breaks_connections_as_it_is_told() {
    let (address, got) = echo().await;
    let proxy = Proxy::start("127.0.0.1:0", &address, b"pi").await;
    let mut open = connected(&proxy).await;

    proxy.set(Fault::Refuse);
    let error = ask(&mut open, b"x").await.map(|bytes| assert!(bytes.is_empty()));
    assert!(error.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "open ones are reset");
    until("nobody listens", || std::net::TcpStream::connect(proxy.address()).is_err()).await;
    let error = TcpStream::connect(proxy.address()).await.expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

    proxy.set(Fault::None);
    until("it listens", || std::net::TcpStream::connect(proxy.address()).is_ok()).await;
    for fault in [
        Fault::Reset { after: b"mark" },
        Fault::HalfClose { after: b"mark" },
        Fault::ReplyLost { after: b"mark" },
    ] {
        proxy.set(Fault::None);
        let mut stream = connected(&proxy).await;
        proxy.set(fault);
        assert_eq!(ask(&mut stream, b"before").await.expect("an answer"), b"before", "{fault:?}");
        // The mark is found also where a request is cut.
        assert_eq!(ask(&mut stream, b"..ma").await.expect("an answer"), b"..ma", "{fault:?}");
        got.lock().expect("lock").clear();
        let answer = ask(&mut stream, b"rk..").await;
        assert_eq!(*got.lock().expect("lock"), b"rk..", "{fault:?}: the request arrived");
        match fault {
            Fault::Reset { .. } => {
                assert_eq!(answer.expect("half of it"), b"rk");
                let error = stream.read_u8().await.expect_err("reset");
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            }
            _ => assert_eq!(answer.expect("an end"), b"", "{fault:?}"),
        }
        let open = proxy.counts().open;
        if let Fault::HalfClose { .. } = fault {
            stream.write_all(b"more").await.expect("it goes on taking");
            assert!(open > 0);
        }
    }

    proxy.set(Fault::None);
    let mut stream = connected(&proxy).await;
    proxy.set(Fault::Silence);
    got.lock().expect("lock").clear();
    let silent = tokio::time::timeout(Duration::from_millis(50), ask(&mut stream, b"x")).await;
    assert!(silent.is_err() && got.lock().expect("lock").is_empty());
    proxy.set(Fault::None);
    assert!(ask(&mut stream, b"y").await.is_err(), "what is spoilt does not go on");
    assert!(proxy.counts().counted >= 5, "{:?}", proxy.counts());
}

#[tokio::test]
async fn r10_the_proxy_delays_and_heals_what_is_under_way() {
    let (address, _) = echo().await;
    let proxy = Proxy::start("127.0.0.1:0", &address, b"").await;
    let mut stream = connected(&proxy).await;
    let mut buffer = [0; 100];
    for (fault, least) in [
        (Fault::Latency(Duration::from_millis(40)), 80),
        (Fault::Slow { bytes_per_second: 1000 }, 90),
        // The way there takes that long; the way back begins with the first piece.
        (Fault::Bandwidth { bytes_per_second: 2000 }, 50),
    ] {
        proxy.set(fault);
        let start = Instant::now();
        stream.write_all(&[7; 100]).await.expect("sent");
        stream.read_exact(&mut buffer).await.expect("an answer");
        assert!(
            start.elapsed() >= Duration::from_millis(least),
            "{fault:?}: {:?}",
            start.elapsed()
        );
    }
    // What would take a minute and a half is there when the fault ends.
    proxy.set(Fault::Slow { bytes_per_second: 1 });
    stream.write_all(&[7; 100]).await.expect("sent");
    let (start, before) = (Instant::now(), proxy.counts().to_server);
    until("it is on its way", || proxy.counts().to_server >= before).await;
    proxy.set(Fault::None);
    stream.read_exact(&mut buffer).await.expect("an answer");
    assert!(start.elapsed() < Duration::from_secs(30));
}

fn arrivals(of: &[(usize, &str)]) -> Vec<Arrival> {
    let arrival = |(n, key): &(usize, &str)| Arrival {
        key: Some((*key).to_owned()),
        device: n % super::rig::DEVICES,
        n: *n,
    };
    of.iter().map(arrival).collect()
}

#[test]
fn r10_the_check_of_arrivals_finds_what_is_wrong() {
    let fails = |of: &[(usize, &str)]| {
        let seen = arrivals(of);
        std::panic::catch_unwind(|| arrived_in_order(&seen, 5, true, "a test")).is_err()
    };
    let good = [(0, "a"), (1, "b"), (1, "b"), (2, "c"), (3, "d"), (4, "e"), (0, "a")];
    assert!(!fails(&good));
    assert!(fails(&good[..5]), "one is lost");
    assert!(fails(&[(4, "e"), (0, "a"), (1, "b"), (2, "c"), (3, "d")]), "out of order");
    assert!(fails(&[(0, "a"), (0, "x"), (1, "b"), (2, "c"), (3, "d"), (4, "e")]), "another key");
    assert!(fails(&[(0, "a"), (1, "a"), (2, "c"), (3, "d"), (4, "e")]), "a key twice");
}
