//! The table sinks: `sqlite` on a file and `postgres` on a real server.

use std::net::SocketAddr;
use std::str::FromStr as _;

use connectors::contract::{Env, FailureKind, Outcome, Record};
use serde_json::{Value, json};
use sqlx::postgres::PgPool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{AssertSqlSafe, Row as _};

use super::outages::{Through, Way};
use super::suite::{self, Peer};
use super::{Folder, binary, env, record, sink, unique, with_connection};
use crate::faults::targets::through;
use crate::services::service;

fn kind(outcome: &Outcome) -> Option<FailureKind> {
    match outcome {
        Outcome::Ok => None,
        Outcome::Retry(e) | Outcome::Misconfigured(e) | Outcome::Poison(e) => Some(e.kind),
    }
}

fn kinds(outcomes: &[Outcome]) -> Vec<Option<FailureKind>> {
    outcomes.iter().map(kind).collect()
}

// --- sqlite ---------------------------------------------------------------------------------------

struct SqlitePeer(Folder);

impl SqlitePeer {
    async fn query(&self, sql: &str) -> Vec<sqlx::sqlite::SqliteRow> {
        let options = SqliteConnectOptions::new().filename(self.0.path().join("data/h.db"));
        let pool = SqlitePool::connect_with(options).await.expect("the database");
        sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&pool).await.expect(sql)
    }
}

#[async_trait::async_trait]
impl Peer for SqlitePeer {
    fn connector(&self) -> &'static str {
        "sqlite"
    }

    fn env(&self) -> Env {
        with_connection(env(self.0.path()), "sqlite", &json!({ "path": "data/h.db" }))
    }

    fn settings(&self, place: &str) -> Value {
        json!({ "connection": "it", "table": place })
    }

    fn unreachable(&self) -> Option<(Env, Value)> {
        None
    }

    fn poison(&self) -> Option<Record> {
        Some(record("[9]"))
    }

    async fn received(&self, place: &str, _: usize) -> Vec<i64> {
        let rows = self.query(&format!("SELECT n FROM {place} ORDER BY rowid")).await;
        rows.iter().map(|row| row.get(0)).collect()
    }
}

#[tokio::test]
async fn sqlite_conforms() {
    suite::run(&SqlitePeer(Folder::new())).await;
}

#[tokio::test]
async fn sqlite_keeps_types_and_adds_columns() {
    let peer = SqlitePeer(Folder::new());
    let table = sink("sqlite", &peer.settings("t"), &peer.env()).expect("settings");
    let records = [
        record(r#"{"i":9007199254740993,"r":1.5,"s":"温","b":true}"#),
        record(r#"{"i":null,"o":{"a":[1]}}"#),
        record(r#"{"a \"name\" of 1":1.0}"#),
        record("[1]"),
        binary(b"x"),
    ];
    let outcomes = table.deliver(&records).await;
    let rejected = Some(FailureKind::Rejected);
    assert_eq!(kinds(&outcomes), [None, None, None, rejected, rejected]);
    let rows = peer
        .query(
            "SELECT json_array(typeof(i), i, typeof(r), r, s, b, o, \"a \"\"name\"\" of 1\") \
             FROM t ORDER BY rowid",
        )
        .await;
    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(rows[0], r#"["integer",9007199254740993,"real",1.5,"温",1,null,null]"#);
    assert_eq!(rows[1], r#"["null",null,"null",null,null,null,"{\"a\":[1]}",null]"#);
    assert_eq!(rows[2], r#"["null",null,"null",null,null,null,null,1.0]"#);
}

#[tokio::test]
async fn sqlite_replaces_rows_with_the_same_key() {
    let peer = SqlitePeer(Folder::new());
    let settings = json!({
        "connection": "it", "table": "state", "key": ["device"],
        "columns": { "device": "${device}", "t": "${t}", "note": "at ${t} °C" },
    });
    let table = sink("sqlite", &settings, &peer.env()).expect("settings");
    let of = |device: &str, t: i32| record(&format!(r#"{{"device":"{device}","t":{t}}}"#));
    let records = [of("a", 1), of("b", 2), of("a", 3), record(r#"{"t":1}"#)];
    let outcomes = table.deliver(&records).await;
    assert_eq!(kinds(&outcomes), [None, None, None, Some(FailureKind::Rejected)]);
    assert_eq!(table.deliver(&[of("b", 4)]).await, [Outcome::Ok]);
    let rows = peer.query("SELECT device || '=' || t || ' ' || note FROM state ORDER BY 1").await;
    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(rows, ["a=3 at 3 °C", "b=4 at 4 °C"]);
}

#[tokio::test]
async fn sqlite_keeps_the_rest_of_a_record() {
    let peer = SqlitePeer(Folder::new());
    let settings = json!({
        "connection": "it", "table": "ots", "key": ["device"], "rest": true,
        "columns": { "device": "${d}/${n}", "n": "${n}" },
    });
    let table = sink("sqlite", &settings, &peer.env()).expect("settings");
    let records = [
        record(r#"{"d":"a","n":1,"t":39.5}"#),
        record(r#"{"d":"a","n":2}"#),
        record(r#"{"d":"a","n":1,"u":"°C"}"#),
    ];
    assert_eq!(table.deliver(&records).await, vec![Outcome::Ok; 3]);
    let rows = peer.query("SELECT json_array(device, n, d, t, u) FROM ots ORDER BY device").await;
    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(rows, [r#"["a/1",1,"a",39.5,"°C"]"#, r#"["a/2",2,"a",null,null]"#]);
}

#[tokio::test]
async fn sqlite_finds_the_bad_rows_of_a_batch() {
    let peer = SqlitePeer(Folder::new());
    let table = sink("sqlite", &peer.settings("t"), &peer.env()).expect("settings");
    assert_eq!(table.deliver(&[record(r#"{"n":-1}"#)]).await, [Outcome::Ok]);
    peer.query("CREATE UNIQUE INDEX u ON t (n)").await;
    let records: Vec<_> = (0..300)
        .map(|n| record(&format!(r#"{{"n":{}}}"#, if n % 100 == 50 { -1 } else { n })))
        .collect();
    let outcomes = table.deliver(&records).await;
    for (at, outcome) in outcomes.iter().enumerate() {
        let want = (at % 100 == 50).then_some(FailureKind::Rejected);
        assert_eq!(kind(outcome), want, "{at}");
    }
    assert_eq!(peer.received("t", 298).await.len(), 298);
}

#[tokio::test]
async fn sqlite_says_what_is_missing_and_notices_changes() {
    let peer = SqlitePeer(Folder::new());
    let settings = json!({ "connection": "it", "table": "t", "create": false });
    let table = sink("sqlite", &settings, &peer.env()).expect("settings");
    let one = || [record(r#"{"n":1}"#)];
    let outcomes = table.deliver(&one()).await;
    assert!(
        matches!(&outcomes[0], Outcome::Misconfigured(e) if e.message.contains("no table \"t\""))
    );
    assert_eq!(table.check().await.map_err(|e| e.kind), Err(FailureKind::Misconfigured));
    peer.query("CREATE TABLE t (m)").await;
    // A column that only the record names is the record's affair, one that the rule names is not.
    assert_eq!(kinds(&table.deliver(&one()).await), [Some(FailureKind::Rejected)]);
    let columns =
        json!({ "connection": "it", "table": "t", "create": false, "columns": { "n": "${n}" } });
    let named = sink("sqlite", &columns, &peer.env()).expect("settings");
    assert_eq!(kinds(&named.deliver(&one()).await), [Some(FailureKind::Misconfigured)]);
    peer.query("ALTER TABLE t ADD COLUMN n").await;
    assert_eq!(named.deliver(&one()).await, [Outcome::Ok]);
    assert_eq!(table.deliver(&one()).await, [Outcome::Ok]);

    // A table that is made again by somebody else, or by us when we may.
    let settings = peer.settings("mine");
    let mine = sink("sqlite", &settings, &peer.env()).expect("settings");
    assert_eq!(mine.deliver(&one()).await, [Outcome::Ok]);
    peer.query("DROP TABLE mine").await;
    assert_eq!(mine.deliver(&one()).await, [Outcome::Ok]);
}

#[tokio::test]
async fn sqlite_bounds_the_columns_that_it_makes() {
    let peer = SqlitePeer(Folder::new());
    let table = sink("sqlite", &peer.settings("t"), &peer.env()).expect("settings");
    let wide = |from: usize| {
        let fields: Vec<_> = (from..from + 150).map(|c| format!(r#""c{c}":{c}"#)).collect();
        record(&format!("{{{}}}", fields.join(",")))
    };
    let outcomes = table.deliver(&[wide(0), wide(150), wide(0)]).await;
    assert_eq!(kinds(&outcomes), [None, Some(FailureKind::Rejected), None]);
}

// --- postgres -------------------------------------------------------------------------------------

pub(crate) struct PostgresPeer(Folder, pub(crate) String, PgPool);

impl PostgresPeer {
    pub(crate) async fn new() -> Option<Self> {
        let url = service("PostgreSQL", "TIDEGATE_TEST_POSTGRES")?;
        let options = sqlx::postgres::PgConnectOptions::from_str(&url).expect("a URL");
        let pool = PgPool::connect_with(options).await.expect("the server");
        Some(Self(Folder::new(), url, pool))
    }

    pub(crate) async fn query(&self, sql: &str) -> Vec<sqlx::postgres::PgRow> {
        let query = sqlx::query(AssertSqlSafe(sql.to_owned())).persistent(false);
        query.fetch_all(&self.2).await.expect(sql)
    }

    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        self.query(sql).await.iter().map(|row| row.get(0)).collect()
    }
}

#[async_trait::async_trait]
impl Peer for PostgresPeer {
    fn connector(&self) -> &'static str {
        "postgres"
    }

    fn env(&self) -> Env {
        with_connection(env(self.0.path()), "postgres", &json!({ "url": self.1 }))
    }

    fn settings(&self, place: &str) -> Value {
        json!({ "connection": "it", "table": place, "columns": { "n": "${n}" } })
    }

    fn unreachable(&self) -> Option<(Env, Value)> {
        let nobody = json!({ "host": "127.0.0.1", "port": 1, "user": "u", "password": "hunter2" });
        let env = with_connection(env(self.0.path()), "postgres", &nobody);
        Some((env, self.settings("anything")))
    }

    fn poison(&self) -> Option<Record> {
        Some(record(r#"{"n":"nine"}"#))
    }

    async fn way(&self) -> Option<Way> {
        Some(Way::to(through(&self.1, None).0))
    }

    fn through(&self, place: &str, proxy: SocketAddr) -> Through {
        let url = through(&self.1, Some(proxy)).1;
        let env = with_connection(env(self.0.path()), "postgres", &json!({ "url": url }));
        Through { env, settings: self.settings(place) }
    }

    async fn prepare(&self, place: &str) {
        let sql = format!("CREATE TABLE {place} (at bigserial, n bigint)");
        self.query(&sql).await;
    }

    async fn received(&self, place: &str, _: usize) -> Vec<i64> {
        let rows = self.query(&format!("SELECT n FROM {place} ORDER BY at")).await;
        rows.iter().map(|row| row.get(0)).collect()
    }
}

#[tokio::test]
async fn postgres_conforms() {
    let Some(peer) = PostgresPeer::new().await else { return };
    suite::run(&peer).await;
}

#[tokio::test]
async fn postgres_casts_to_the_columns_types() {
    let Some(peer) = PostgresPeer::new().await else { return };
    let name = unique("types");
    peer.query(&format!(
        "CREATE TABLE {name} (at serial, i int, d float8, m numeric(8,2), b boolean, t text, \
         v varchar(3), j jsonb, z timestamptz, c char(4))"
    ))
    .await;
    let settings = json!({ "connection": "it", "table": format!("public.{name}") });
    let table = sink("postgres", &settings, &peer.env()).expect("settings");
    let records = [
        record(
            r#"{"i":39.0,"d":1e300,"m":1.24,"b":true,"t":{"a":1},"v":"温度1","j":"x","z":1784000000123,"c":"ab"}"#,
        ),
        record(r#"{"i":null,"j":{"a":[1,null]},"z":"2026-01-02T03:04:05+08:00"}"#),
    ];
    assert_eq!(table.deliver(&records).await, [Outcome::Ok, Outcome::Ok]);
    let sql = format!(
        "SELECT concat_ws('|', i, d, m, b, t, v, j, (extract(epoch from z) * 1000)::bigint, c) \
         FROM {name} ORDER BY at"
    );
    let rows = peer.texts(&sql).await;
    assert_eq!(rows[0], "39|1e+300|1.24|t|{\"a\":1}|温度1|\"x\"|1784000000123|ab  ");
    assert_eq!(rows[1], "{\"a\": [1, null]}|1767294245000");

    // One bad value each: the others of the batch are written.
    let records = [
        record(r#"{"i":1}"#),
        record(r#"{"i":1.5}"#),
        record(r#"{"i":"x"}"#),
        record(r#"{"v":"four"}"#),
        record("{\"t\":\"nul \\u0000\"}"),
        record(r#"{"i":2}"#),
    ];
    let outcomes = table.deliver(&records).await;
    let rejected = Some(FailureKind::Rejected);
    assert_eq!(kinds(&outcomes), [None, rejected, rejected, rejected, rejected, None]);
    let sum = peer.texts(&format!("SELECT sum(i)::text FROM {name}")).await;
    assert_eq!(sum, ["42"]);
}

#[tokio::test]
async fn postgres_replaces_rows_with_the_same_key() {
    let Some(peer) = PostgresPeer::new().await else { return };
    let name = unique("state");
    peer.query(&format!("CREATE TABLE {name} (\"deviceName\" text PRIMARY KEY, t int, u int)"))
        .await;
    let settings = json!({ "connection": "it", "table": name, "key": ["deviceName"] });
    let table = sink("postgres", &settings, &peer.env()).expect("settings");
    let of = |device: &str, t: i32| record(&format!(r#"{{"deviceName":"{device}","t":{t}}}"#));
    let records =
        [of("a", 1), of("b", 2), of("a", 3), record(r#"{"deviceName":"a","u":9}"#), of("a", 4)];
    assert_eq!(table.deliver(&records).await, vec![Outcome::Ok; 5]);
    let rows = peer
        .texts(&format!("SELECT concat_ws(' ', \"deviceName\", t, u) FROM {name} ORDER BY 1"))
        .await;
    assert_eq!(rows, ["a 4 9", "b 2"]);

    let settings = json!({ "connection": "it", "table": name, "key": ["t"] });
    let wrong = sink("postgres", &settings, &peer.env()).expect("settings");
    let outcomes = wrong.deliver(&[of("c", 1)]).await;
    assert_eq!(kinds(&outcomes), [Some(FailureKind::Misconfigured)]);
}

#[tokio::test]
async fn postgres_keeps_the_rest_of_a_record() {
    let Some(peer) = PostgresPeer::new().await else { return };
    let name = unique("ots");
    let settings = json!({
        "connection": "it", "table": name, "key": ["device"], "rest": true, "create": true,
        "columns": { "device": "${d}/${n}", "n": "${n}" },
    });
    let table = sink("postgres", &settings, &peer.env()).expect("settings");
    let records = [
        record(r#"{"d":"a","n":1,"t":39.5}"#),
        record(r#"{"d":"a","n":2}"#),
        record(r#"{"d":"a","n":1,"u":"°C"}"#),
    ];
    assert_eq!(table.deliver(&records).await, vec![Outcome::Ok; 3]);
    let sql = format!("SELECT json_build_array(device, n, d, t, u)::text FROM {name} ORDER BY 1");
    assert_eq!(
        peer.texts(&sql).await,
        [r#"["a/1", 1, "a", 39.5, "°C"]"#, r#"["a/2", 2, "a", null, null]"#]
    );
}

#[tokio::test]
async fn postgres_finds_the_bad_rows_of_a_batch() {
    let Some(peer) = PostgresPeer::new().await else { return };
    let name = unique("bisect");
    peer.query(&format!("CREATE TABLE {name} (n int UNIQUE CHECK (n < 1000))")).await;
    let settings = json!({ "connection": "it", "table": name });
    let table = sink("postgres", &settings, &peer.env()).expect("settings");
    let n = |at: usize| if at % 100 == 50 { 5000 } else { at };
    let records: Vec<_> = (0..500).map(|at| record(&format!(r#"{{"n":{}}}"#, n(at)))).collect();
    let outcomes = table.deliver(&records).await;
    for (at, outcome) in outcomes.iter().enumerate() {
        assert_eq!(kind(outcome), (at % 100 == 50).then_some(FailureKind::Rejected), "{at}");
    }
    let count = peer.texts(&format!("SELECT count(*)::text FROM {name}")).await;
    assert_eq!(count, ["495"]);
}

#[tokio::test]
async fn postgres_creates_what_is_missing_when_it_may() {
    let Some(peer) = PostgresPeer::new().await else { return };
    let name = unique("made");
    let settings = json!({ "connection": "it", "table": name, "key": ["device"] });
    let closed = sink("postgres", &settings, &peer.env()).expect("settings");
    let one = || [record(r#"{"device":"a","t":39.5,"hot":true,"o":{"x":1},"maybe":null}"#)];
    let outcomes = closed.deliver(&one()).await;
    assert!(
        matches!(&outcomes[0], Outcome::Misconfigured(e) if e.message.contains("no such table"))
    );
    assert!(closed.check().await.is_err());

    let settings = json!({ "connection": "it", "table": name, "key": ["device"], "create": true });
    let open = sink("postgres", &settings, &peer.env()).expect("settings");
    assert_eq!(open.deliver(&one()).await, [Outcome::Ok]);
    // The sink that saw no table before sees it now.
    let more = [record(r#"{"device":"a","t":40,"maybe":7}"#)];
    assert_eq!(closed.deliver(&more).await, [Outcome::Ok]);
    let outcomes = closed.deliver(&[record(r#"{"device":"a","later":1}"#)]).await;
    assert!(matches!(&outcomes[0], Outcome::Poison(e) if e.message.contains("\"later\"")));
    assert_eq!(open.deliver(&[record(r#"{"device":"b","later":"x"}"#)]).await, [Outcome::Ok]);
    let rows = peer
        .texts(&format!(
            "SELECT concat_ws(' ', device, t, hot, o, maybe, later) FROM {name} ORDER BY 1"
        ))
        .await;
    assert_eq!(rows, ["a 40 t {\"x\": 1} 7", "b x"]);

    // Actions that make the same table at the same moment.
    let together = unique("together");
    let settings = json!({ "connection": "it", "table": together, "create": true });
    let env = peer.env();
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let sink = sink("postgres", &settings, &env).expect("settings");
            tokio::spawn(async move { sink.deliver(&[record(r#"{"n":1}"#)]).await })
        })
        .collect();
    for task in tasks {
        let outcomes = task.await.expect("a task");
        assert!(matches!(kind(&outcomes[0]), None | Some(FailureKind::Busy)), "{outcomes:?}");
    }
}

#[tokio::test]
async fn postgres_survives_that_its_connections_are_cut() {
    let Some(peer) = PostgresPeer::new().await else { return };
    let name = unique("cut");
    peer.prepare(&name).await;
    let table = sink("postgres", &peer.settings(&name), &peer.env()).expect("settings");
    assert_eq!(table.deliver(&[record(r#"{"n":1}"#)]).await, [Outcome::Ok]);
    // Only this sink's connections have prepared a statement with the table's name.
    let sql = format!(
        "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity \
         WHERE application_name = 'tidegate' AND query LIKE '%{name}%'"
    );
    assert_eq!(peer.texts(&sql).await, ["true"]);
    let outcomes = table.deliver(&[record(r#"{"n":2}"#)]).await;
    assert!(matches!(outcomes[0], Outcome::Ok | Outcome::Retry(_)), "{outcomes:?}");
    assert_eq!(table.deliver(&[record(r#"{"n":3}"#)]).await, [Outcome::Ok]);
}
