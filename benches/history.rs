//! The history of devices: how fast it is written, what a value takes on disk, how long a page takes, and
//! what ingest pays for it; each beside its baseline in the same run.
//!
//! Promises: 50 000 values a second and at least 70 % of a bare prepared INSERT of the same rows; at most
//! 40 bytes a value; a page of 50 values of any device out of 10⁷ within 5 ms, and out of 10⁵ not more than
//! twice as fast; ingest with the history at least 80 % of what it is without, the 99th percentile of
//! PUBACK at most 1.2 times as long.

mod process;

mod history {
    pub mod ingest;
    pub mod log;
}

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::contract::{QoS, shutdown};
use history::ingest;
use history::log::{Paper, document};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use tidegate::history::{FILE, History, Kind, Order, Settings, Window};
use tidegate::registry::{Limits, NewDevice, NewProduct, Registry};
use tidegate::rule::store::Store;

/// Properties of a post.
pub const NAMES: [&str; 5] = ["temperature", "humidity", "pressure", "voltage", "current"];

/// Rows of one INSERT and of one transaction of the baseline.
const CHUNK: usize = 512;
const TRANSACTION: usize = 16 << 10;

/// How much is done.
struct Size {
    devices: usize,
    posts: usize,
    rounds: usize,
    stored: [u64; 2],
    asked: usize,
    ingest: Duration,
}

const FULL: Size = Size {
    devices: 1_000,
    posts: 100,
    rounds: 3,
    stored: [100_000, 10_000_000],
    asked: 500,
    ingest: Duration::from_secs(4),
};

/// The same as a mere test of the bench.
const QUICK: Size = Size {
    devices: 20,
    posts: 20,
    rounds: 1,
    stored: [1_000, 10_000],
    asked: 20,
    ingest: Duration::from_millis(200),
};

fn now_ms() -> u64 {
    connectors::contract::now_ms()
}

/// A value as a device might measure it, and its time: all devices once a minute, each at its own second.
fn measured(device: usize, post: usize, nth: usize) -> (String, u64) {
    let n = (device * 7_919 + post * 104_729 + nth * 1_299_709) % 9_000;
    let time = now_ms() / 86_400_000 * 86_400_000 - 86_400_000;
    let time = time + post as u64 * 60_000 + (device as u64 * 37) % 60_000;
    (format!("{}.{:02}", 10 + n / 100, n % 100), time)
}

/// The devices of a store, which is made below a folder: their product's key, and their ids.
pub async fn devices(data_dir: &Path, count: usize) -> (Store, Registry, String, Vec<String>) {
    std::fs::create_dir_all(data_dir).expect("a folder");
    let store = Store::open(data_dir).await.expect("a store");
    let registry = Registry::open(store.clone(), Limits::default()).await.expect("a registry");
    let product = NewProduct::named("product");
    let pk = registry.create_product(product, now_ms()).await.expect("a product").key.clone();
    let mut ids = Vec::with_capacity(count);
    for n in 0..count {
        let (product_key, device_name) = (pk.clone(), Some(format!("dev{n}")));
        let device = NewDevice { product_key, device_name, nickname: None };
        ids.push(registry.register(device, now_ms()).await.expect("a device").iot_id);
    }
    (store, registry, pk, ids)
}

/// Values a second through the whole way from the log, and bytes of the file for each.
async fn written(size: &Size) -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, registry, pk, ids) = devices(folder.path(), size.devices).await;
    let paper = Paper::default();
    for post in 0..size.posts {
        for (device, id) in ids.iter().enumerate() {
            let values = NAMES.iter().enumerate();
            let values: Vec<_> =
                values.map(|(at, name)| (*name, measured(device, post, at))).collect();
            paper.append(document(&pk, device, id, &values));
        }
    }
    let values = (size.devices * size.posts * NAMES.len()) as u64;
    let clock = Arc::new(now_ms);
    let settings = Settings::default();
    let opened = History::open(&store, folder.path(), registry, settings, clock).await;
    let (history, mut writer) = opened.expect("a history");
    writer.follow(Box::new(paper.reader())).await.expect("a log");
    let (stop, stopped) = shutdown();
    let start = Instant::now();
    let task = tokio::spawn(writer.run(stopped));
    while history.counts().written < values {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = start.elapsed().as_secs_f64();
    stop.stop();
    task.await.expect("it ends");
    history.close().await;
    store.close().await;
    (values as f64 / took, file_bytes(&folder.path().join(FILE)) / values as f64)
}

fn file_bytes(path: &Path) -> f64 {
    std::fs::metadata(path).expect("the file").len() as f64
}

async fn bare(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    SqliteConnection::connect_with(&options).await.expect("a file")
}

/// Rows a second of a bare prepared INSERT of the same rows, in the order in which they come, and bytes
/// of a table with one row a value as one would write it first.
async fn inserted(size: &Size) -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut connection = bare(&folder.path().join("bare.db")).await;
    let table = "CREATE TABLE v (series INTEGER, time_ms INTEGER, nth INTEGER, value TEXT,
                 PRIMARY KEY (series, time_ms, nth)) STRICT, WITHOUT ROWID";
    sqlx::raw_sql(table).execute(&mut connection).await.expect("a table");
    let mut rows = Vec::new();
    for post in 0..size.posts {
        for device in 0..size.devices {
            for at in 0..NAMES.len() {
                let (value, time) = measured(device, post, at);
                rows.push(((device * NAMES.len() + at) as i64, time as i64, value));
            }
        }
    }
    let count = rows.len();
    let start = Instant::now();
    for transaction in rows.chunks(TRANSACTION) {
        let mut change = connection.begin().await.expect("a transaction");
        for chunk in transaction.chunks(CHUNK) {
            let places = vec!["(?, ?, ?, ?)"; chunk.len()].join(", ");
            let statement = AssertSqlSafe(format!("INSERT INTO v VALUES {places}"));
            let mut query = sqlx::query(statement);
            for (series, time, value) in chunk {
                query = query.bind(series).bind(time).bind(0).bind(value);
            }
            query.execute(&mut *change).await.expect("rows");
        }
        change.commit().await.expect("committed");
    }
    let took = start.elapsed().as_secs_f64();
    let plain = folder.path().join("plain.db");
    let mut connection = bare(&plain).await;
    let table = "CREATE TABLE v (device TEXT, identifier TEXT, time_ms INTEGER, value TEXT) STRICT;
                 CREATE INDEX by_time ON v (device, identifier, time_ms)";
    sqlx::raw_sql(table).execute(&mut connection).await.expect("a table");
    for transaction in rows.chunks(TRANSACTION) {
        let mut change = connection.begin().await.expect("a transaction");
        for (series, time, value) in transaction {
            let device = format!("{:020}0010000100", series / 5);
            let query = sqlx::query("INSERT INTO v VALUES (?, ?, ?, ?)");
            let query = query.bind(device).bind(NAMES[*series as usize % 5]).bind(time).bind(value);
            query.execute(&mut *change).await.expect("a row");
        }
        change.commit().await.expect("committed");
    }
    connection.close().await.expect("closed");
    (count as f64 / took, file_bytes(&plain) / count as f64)
}

/// How long pages of 50 values take with so many stored: the median, and the 99th percentile.
async fn paged(size: &Size, stored: u64) -> (Duration, Duration) {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, registry, _, ids) = devices(folder.path(), size.devices.min(100)).await;
    let clock = Arc::new(now_ms);
    let settings = Settings::default();
    let opened = History::open(&store, folder.path(), registry, settings, clock).await;
    let (history, writer) = opened.expect("a history");
    let (stop, stopped) = shutdown();
    let task = tokio::spawn(writer.run(stopped));
    let file = SqliteConnectOptions::new().filename(folder.path().join(FILE));
    let pool = SqlitePool::connect_with(file).await.expect("the file");
    for (at, id) in ids.iter().enumerate() {
        let series = sqlx::query("INSERT INTO history_series VALUES (?, ?, 1, 'temperature')");
        series.bind(at as i64 + 1).bind(id).execute(&pool).await.expect("a series");
    }
    let each = stored / ids.len() as u64;
    let fill = format!(
        "WITH RECURSIVE n(n) AS (VALUES (0) UNION ALL SELECT n + 1 FROM n WHERE n < {} - 1)
         INSERT INTO history_values SELECT s.id, {} - n * 100, 0, '23.45'
         FROM history_series s, n ORDER BY 1, 2",
        each,
        now_ms()
    );
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&pool).await.expect("values");
    let mut times = Vec::with_capacity(size.asked);
    for n in 0..size.asked {
        let id = &ids[n * 31 % ids.len()];
        let order = if n % 2 == 0 { Order::Descending } else { Order::Ascending };
        let middle = now_ms() - (n as u64 * 7_919 % each.max(1)) * 100;
        let window = match order {
            Order::Ascending => Window::new(middle, now_ms(), order),
            Order::Descending => Window::new(middle, 0, order),
        };
        let start = Instant::now();
        let page = history.page(id, Kind::Property, &["temperature"], window, 50).await;
        times.push(start.elapsed());
        page.expect("a page").expect("it is on");
    }
    stop.stop();
    task.await.expect("it ends");
    pool.close().await;
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let size = if quick { QUICK } else { FULL };
    let (mut ours, mut bares, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bytes, mut plain) = (0.0, 0.0);
    for round in 0..size.rounds {
        // In turns, so that what the machine does besides hits both.
        let (mut one, mut other) = (0.0, 0.0);
        for turn in 0..2 {
            if (turn + round) % 2 == 0 {
                (one, bytes) = written(&size).await;
            } else {
                (other, plain) = inserted(&size).await;
            }
        }
        ours.push(one);
        bares.push(other);
        ratios.push(one / other);
    }
    println!(
        "history written: {:.0} values/s, a bare INSERT {:.0}, ratio {:.2}",
        median(ours),
        median(bares),
        median(ratios)
    );
    println!("history on disk: {bytes:.1} bytes a value, one plain row a value {plain:.1}");
    let [few, many] = size.stored;
    let (few_p50, few_p99) = paged(&size, few).await;
    let (many_p50, many_p99) = paged(&size, many).await;
    println!(
        "a page of 50 of {many} values: p50 {many_p50:?}, p99 {many_p99:?}; of {few}: p50 {few_p50:?}, p99 {few_p99:?}; ratio {:.2}",
        many_p50.as_secs_f64() / few_p50.as_secs_f64()
    );
    ingest::compare(size.rounds, size.ingest, QoS::AtLeastOnce).await;
}
