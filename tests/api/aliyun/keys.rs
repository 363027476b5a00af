//! What access keys may do, and that their secrets are seen nowhere.

use std::io;
use std::sync::{Arc, Mutex};

use tidegate::api::operations;
use tidegate::rule::store::{AccessKey, Role};

use crate::api::client::query;
use crate::api::server::{NOW_MS, Server, key};

const ROLES: [Role; 3] = [Role::Read, Role::Operate, Role::Admin];

#[tokio::test]
async fn every_operation_asks_for_its_role() {
    let server = Server::start().await;
    let client = server.client();
    for operation in operations() {
        for role in ROLES {
            let reply = client.with_key(key(role)).call(operation.name, &[]).await;
            let denied = reply.outcome() == "200 iot.common.RamActionPermissionDeny";
            assert_eq!(denied, role < operation.role, "{} as {role:?}", operation.name);
        }
    }
    server.end().await;
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Answers and logs of all that can go wrong with keys, at the finest level: the secret is in none.
#[tokio::test]
async fn a_secret_is_never_logged_or_answered() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    tracing::info!("the log works");

    let (id, secret) = ("canary".to_owned(), "canary-of-the-configuration".to_owned());
    let configured = AccessKey { id, secret, ..key(Role::Admin) };
    let server = Server::with(|state| {
        state.require_key = true;
        state.keys.push(configured.clone());
    })
    .await;
    let stored = server.store.create_key(Role::Admin, NOW_MS).await.unwrap();
    let secrets = [stored.secret.clone(), configured.secret.clone()];
    let mut answers = String::new();
    for of in [stored.clone(), configured] {
        let client = server.client().with_key(of.clone());
        answers.push_str(&client.call("ListRule", &[]).await.body);
        answers.push_str(&client.call("GetRule", &[("RuleId", "x")]).await.body);
        answers.push_str(&client.call_newer("CreateRule", &[("Name", "x")], &[]).await.body);
        for format in ["JSON", "XML"] {
            let mut parameters = client.parameters("ListRule", &[("Format", format)]);
            client.sign("POST", &mut parameters);
            parameters.insert("Name".to_owned(), "changed".to_owned());
            answers.push_str(&client.get("POST", &parameters).await.body);
        }
        for sent in [format!("Bearer {}:{}", of.id, of.secret), format!("Bearer {}", of.secret)] {
            let headers = [("Authorization", sent.as_str())];
            answers.push_str(&client.send("GET", "/spool", &headers, b"").await.body);
            answers.push_str(&client.send("POST", "/ingest/a/b/c", &headers, b"{}").await.body);
            answers.push_str(&client.send("POST", "/", &headers, b"{}").await.body);
        }
        let target = format!("/?{}", query(&client.parameters("ListRule", &[])));
        answers.push_str(&client.send("GET", &target, &[], b"").await.body);
    }
    server.store.close().await;
    let failed = server.client().with_key(stored.clone()).call("ListRule", &[]).await;
    assert_eq!(failed.outcome(), "200 iot.system.SystemException");
    answers.push_str(&failed.body);
    answers.push_str(&format!("{stored:?}"));
    server.end().await;

    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        logged.contains("the log works") && logged.contains("the store of rules and keys failed")
    );
    for secret in secrets {
        assert!(!logged.contains(&secret), "logged: {secret}");
        assert!(!answers.contains(&secret), "answered: {secret}");
    }
}
