//! Requests that mean harm: whatever they say, they are answered, and the store stays as it was.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection};
use tidegate::api::{Operation, operations};
use tidegate::rule::store::{FILE, Role};

use crate::api::client::{Client, Pairs, Wire, query};
use crate::api::server::{Server, key};

/// How many there are; the order and the texts are the same each time.
const REQUESTS: usize = 10_000;

/// Texts that no parameter takes, not even a name: those with plain letters and digits are too long.
const TEXTS: &[&str] = &[
    "' OR 1=1; DROP TABLE rules; --",
    "../../../../etc/passwd",
    "\u{0}\u{1}\u{7f}",
    "\u{202e}\u{feff}\u{fffd}",
    "<!DOCTYPE x [<!ENTITY y SYSTEM \"file:///etc/passwd\">]>&y;",
    "${env:HOME}${a.b}",
    "{{{{[[[[",
    "%00%0d%0aSet-Cookie:%20x",
    "\r\nHTTP/1.1 200 OK\r\n\r\n",
    "-92233720368547758090000000000000000",
    "1844674407370955161600000000000000000",
    "NaN",
    "1e9999999999999999999999999999999999",
    "💥 💥",
    "$SYS/#",
    "/+/+/#/+",
];

/// A generator of numbers that starts the same each time (Knuth's MMIX constants).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % bound
    }

    fn text(&mut self) -> String {
        match self.below(TEXTS.len() + 2) {
            at if at < TEXTS.len() => TEXTS[at].to_owned(),
            at if at == TEXTS.len() => "温".repeat(200 + self.below(300)),
            _ => "[".repeat(200 + self.below(500)),
        }
    }
}

/// All parameters of an operation with such texts: plain, or as lists, or as objects.
fn parameters(chance: &mut Chance, operation: &Operation) -> Pairs {
    let mut all = Pairs::new();
    for parameter in operation.parameters {
        let name = parameter.name;
        let name = match chance.below(6) {
            0 => format!("{name}.1"),
            1 => format!("{name}.{}", chance.below(2000)),
            2 => format!("{name}.1.Key"),
            3 => format!("{name}.{}", chance.text()),
            _ => name.to_owned(),
        };
        all.insert(name, chance.text());
    }
    all
}

/// One request as bytes. Its kind is what is wrong with it.
fn request(chance: &mut Chance, client: &Client, all: &[&Operation]) -> Vec<u8> {
    let operation = all[chance.below(all.len())];
    let own = parameters(chance, operation);
    let own: Vec<_> = own.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let kind = chance.below(6);
    // With a good signature nothing but the parameters is wrong, or what the key may do.
    let role = if kind == 1 { Role::Read } else { Role::Admin };
    let client = client.with_key(key(role));
    let mut signed = client.parameters(operation.name, &own);
    client.sign("POST", &mut signed);
    match kind {
        0 | 1 => {}
        2 => drop(signed.insert("Signature".to_owned(), chance.text())),
        3 => drop(signed.insert("Timestamp".to_owned(), chance.text())),
        4 => drop(signed.remove("SignatureNonce")),
        // Good once, and sent with something added.
        _ => drop(signed.insert(format!("Z{}", chance.text()), chance.text())),
    }
    let (query, body) = match chance.below(2) {
        0 => (query(&signed), String::new()),
        _ => (String::new(), query(&signed)),
    };
    let authorization = match chance.below(8) {
        0 => {
            "Authorization: ACS3-HMAC-SHA256 Credential=test-admin,SignedHeaders=host,Signature=00\r\n"
        }
        1 => "Authorization: Bearer test-admin:wrong\r\n",
        _ => "",
    };
    let length = body.len();
    format!(
        "POST /?{query} HTTP/1.1\r\nHost: x\r\n{authorization}Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A number that changes with every change that another connection makes to the store.
async fn version(store: &mut SqliteConnection) -> i64 {
    sqlx::query("PRAGMA data_version").fetch_one(store).await.unwrap().get(0)
}

#[tokio::test]
async fn ten_thousand_hostile_requests_change_nothing() {
    let server = Server::with(|state| state.limits.requests_per_second = 0).await;
    let client = server.client();
    let made = client.call("CreateRule", &[("Name", "rule_one")]).await;
    assert_eq!(made.outcome(), "200 OK");
    let file = server.folder.join(FILE);
    let mut store = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    // What was there before it looks is no change.
    sqlx::query("SELECT count(*) FROM rules").fetch_one(&mut store).await.unwrap();
    let before = version(&mut store).await;
    let all: Vec<_> = operations().collect();
    let mut chance = Chance(5);
    let mut wire = Wire::connect(server.address).await;
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..REQUESTS {
        let bytes = request(&mut chance, &client, &all);
        let Some(reply) = wire.send(&bytes).await else {
            panic!("{number}: no answer to {}", String::from_utf8_lossy(&bytes));
        };
        assert!(reply.status < 500, "{number}: {}", reply.body);
        if number % 100 == 99 {
            let text = String::from_utf8_lossy(&bytes);
            assert_eq!(version(&mut store).await, before, "up to {number}, {text}");
        }
        let json = reply.headers.get("content-type").is_some_and(|kind| kind == "application/json");
        let code = if json { reply.outcome() } else { reply.status.to_string() };
        *outcomes.entry(code).or_default() += 1;
        if reply.headers.get("connection").is_some_and(|value| value == "close") {
            wire = Wire::connect(server.address).await;
        }
    }
    assert_eq!(version(&mut store).await, before, "{outcomes:?}");
    assert!(server.engine.running.lock().unwrap().is_empty());
    // They got as far as the operations, and were stopped on the way there too.
    for code in
        ["400 SignatureDoesNotMatch", "400 InvalidTimeStamp.Format", "200 iot.rule.IncorrentRuleId"]
    {
        assert!(outcomes.contains_key(code), "{code} is not among {outcomes:?}");
    }
    assert_eq!(client.call("GetRule", &[("RuleId", "100000")]).await.outcome(), "200 OK");
    server.end().await;
}
