//! R14: one bad row in a thousand, in batches of 500, against a real PostgreSQL: it costs few further
//! statements, the good rows are written once, and the error action has the bad one and the reason.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::proxy::Proxy;
use super::rig::{Rig, until};
use super::targets::through;
use crate::connectors::tables::PostgresPeer;
use crate::connectors::{Folder, env, unique, with_connection};

/// An Execute message of the unnamed portal without a limit (PostgreSQL documentation, "Message
/// Formats"): one for each statement that is run.
const EXECUTE: &[u8] = b"E\0\0\0\x09\0\0\0\0\0";

const ROWS: usize = 1000;
const BATCH: usize = 500;

/// 2·⌈log₂ 500⌉ statements beyond the one that each batch takes.
const EXTRA_MAX: u64 = 18;

fn row(n: usize) -> Value {
    json!({ "n": n, "v": "good", "u": n })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r14_one_bad_row_in_a_thousand_costs_few_statements_and_no_good_row() {
    let Some(peer) = PostgresPeer::new().await else { return };
    let (folder, table) = (Folder::new(), unique("poison"));
    peer.texts(&format!("CREATE TABLE {table} (n int, v varchar(8), u int UNIQUE)")).await;
    let proxy = Proxy::start("127.0.0.1:0", &through(&peer.1, None).0, EXECUTE).await;
    let url = through(&peer.1, Some(proxy.address())).1;
    let env = with_connection(env(folder.path()), "postgres", &json!({ "url": url }));
    let rig = Rig::start(
        env,
        &format!(
            "rules:\n  - name: poison_rule\n    sql: SELECT n, v, u FROM \"/pk/+/x\"\n    \
             actions: [{{ postgres: {{ connection: it, table: {table} }} }}]\n    \
             error_action: {{ file: {{ path: errors.jsonl }} }}\n"
        ),
    );
    // The first row pays for the look at the table.
    rig.send_texts([row(0).to_string()].into_iter()).await;
    until("the first row", || rig.counts().delivered == 1).await;

    let cases = [
        ("a type", "22P02", 137, json!({ "n": "x", "v": "bad", "u": -1 })),
        ("a length", "22001", 999, json!({ "n": 1, "v": "nine char", "u": -2 })),
        ("a NUL", "22021", 500, json!({ "n": 1, "v": "a\0", "u": -3 })),
        ("a row twice", "23505", 0, json!({ "n": 1, "v": "twice", "u": 0 })),
    ];
    let mut good = 1;
    for (round, (what, state, place, bad)) in cases.iter().enumerate() {
        let (before, from) = (proxy.counts(), 1 + round * ROWS);
        let rows = (0..ROWS).map(|at| if at == *place { bad.clone() } else { row(from + at) });
        let start = Instant::now();
        rig.send_texts(rows.map(|row| row.to_string())).await;
        until("the bad row is in the error action", || {
            rig.error_counts().delivered == round as u64 + 1
        })
        .await;
        let told = start.elapsed();
        good += ROWS as u64 - 1;
        until("the good rows", || rig.counts().delivered == good).await;
        // Each new connection runs one statement to set itself up.
        let after = proxy.counts();
        let set_up = after.accepted - before.accepted;
        let extra = after.counted - before.counted - set_up - (ROWS / BATCH) as u64;
        println!("r14: {what}: {extra} statements more; in the error action after {told:?}");
        assert!((1..=EXTRA_MAX).contains(&extra), "{what}: {extra} statements more");

        let errors = std::fs::read_to_string(folder.path().join("errors.jsonl")).expect("a file");
        let envelope: Value =
            serde_json::from_str(errors.lines().nth(round).expect("a line")).expect("an envelope");
        let reason = envelope["failures"][0]["errorMessage"].as_str().expect("a reason");
        assert!(reason.contains(state), "{what}: {reason}");
        let payload = envelope["base64OriginalPayload"].as_str().expect("a payload");
        assert_eq!(STANDARD.decode(payload).expect("base64"), bad.to_string().into_bytes());
    }
    let counts = rig.counts();
    assert_eq!((counts.failed, counts.queued, counts.retried), (cases.len() as u64, 0, 0));
    let written = peer
        .texts(&format!("SELECT concat_ws(' ', count(*), count(DISTINCT u)) FROM {table}"))
        .await;
    assert_eq!(written, [format!("{good} {good}")], "each good row once");
}
