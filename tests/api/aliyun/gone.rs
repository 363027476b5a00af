//! Clients that go before they are answered.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tidegate::rule::store::FILE;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use super::registry::furnished_at;
use crate::api::client::query;
use crate::api::server::Home;

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// While the database is locked, a client asks for a device and goes. What the database takes then is
/// known in memory, too: another device can't be made in its place, and the one that is there is found.
#[tokio::test]
async fn a_change_is_whole_though_its_client_goes() {
    let (server, key) = furnished_at(Home::new()).await;
    let options = SqliteConnectOptions::new().filename(server.folder.join(FILE));
    let other = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();

    let client = server.client();
    let own = [("ProductKey", key.as_str()), ("DeviceName", "device7")];
    let mut parameters = client.parameters("RegisterDevice", &own);
    client.sign("POST", &mut parameters);
    let body = query(&parameters);
    let length = body.len();
    let request = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // One change at a time: while this one waits for the database, no other gets through.
    let step = Duration::from_millis(50);
    let under_way = async { while timeout(step, server.registry.flush()).await.is_ok() {} };
    timeout(PATIENCE, under_way).await.expect("the change is under way");
    drop(stream);
    // Time to notice it; what is carried out to its end still waits then.
    timeout(step * 10, server.registry.flush()).await.ok();
    lock.rollback().await.unwrap();

    let mut tick = interval(step);
    let known = async {
        while !server.registry.knows_device(&key, "device7") {
            tick.tick().await;
        }
    };
    timeout(PATIENCE, known).await.expect("the device is known");
    assert_eq!(client.call("QueryDeviceDetail", &own).await.outcome(), "200 OK");
    let taken = client.call("RegisterDevice", &own).await;
    assert_eq!(taken.outcome(), "200 iot.device.AlreadyExistedDeviceName");
    other.close().await;
    server.end().await;
}
