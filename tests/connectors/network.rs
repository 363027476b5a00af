//! Which addresses the `http` sink connects to, whatever its URL says.

use std::sync::Arc;

use connectors::contract::{Env, FailureKind, Network, Outcome};
use serde_json::json;
use tidegate::rule::{Action, Batching, Compiler, DEADLINE, DataType, Owner, Pending, Retry, Rule};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{record, sink};

fn network(allow: &[&str], deny: &[&str]) -> Network {
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    Network::new(&owned(allow), &owned(deny)).expect("good lists")
}

/// A server on loopback that answers everything with 204; its port.
async fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|count| count > 0) {
                    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

/// Names are looked at once they are resolved, and addresses at once.
#[tokio::test]
async fn what_a_name_leads_to_is_checked_at_connect() {
    let port = server().await;
    let local = network(&[], &["127.0.0.0/8", "::1"]);
    let elsewhere = network(&["192.0.2.0/24"], &[]);
    for (network, reached) in [
        (Network::default(), true),
        (Network::default().for_api(), true),
        (local.clone(), false),
        (local.for_api(), false),
        (elsewhere, false),
        (network(&["127.0.0.1"], &[]), true),
    ] {
        let env = Env { network: network.clone(), ..Env::default() };
        let named = sink("http", &json!({ "url": format!("http://localhost:{port}/a") }), &env);
        let named = named.expect("nobody knows yet where the name leads");
        let outcomes = named.deliver(&[record("{}")]).await;
        match (&*outcomes, reached) {
            ([Outcome::Ok], true) => {}
            ([Outcome::Misconfigured(error)], false) => {
                assert_eq!(error.kind, FailureKind::Denied);
                let text = &error.message;
                assert!(
                    text.contains("`localhost` leads to") && text.contains("`network."),
                    "{text}"
                );
            }
            other => panic!("{network:?}: {other:?}"),
        }
        assert_eq!(named.check().await.is_ok(), reached);
        for host in ["127.0.0.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "127.0.0.1."] {
            let url = json!({ "url": format!("http://{host}:{port}/a") });
            let built = sink("http", &url, &env);
            assert_eq!(built.is_ok(), reached, "{host} {network:?}");
            if let Err(error) = built {
                assert_eq!(error.path, "url");
            }
        }
    }
}

/// Who may make rules over the API cannot read what only this machine should.
#[tokio::test]
async fn rules_of_the_api_do_not_reach_metadata() {
    let rule = |owner: Owner, url: &str| {
        let action = Action {
            name: None,
            connector: "http".to_owned(),
            settings: json!({ "url": url }),
            retry: None,
            deadline: DEADLINE,
            batch: Batching::default(),
            vendor: None,
        };
        Arc::new(Rule {
            owner,
            name: "rule_one".to_owned(),
            description: String::new(),
            data_type: DataType::Json,
            sql: None,
            actions: vec![action],
            error_action: None,
            enabled: true,
            retry: Retry::default(),
            pending: Pending::default(),
        })
    };
    let by = |network: Network| Compiler::new(connectors::SINKS, Env { network, ..Env::default() });
    let file = || Owner::File { path: "a.yaml".into(), line: 1 };
    let metadata = [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://100.100.100.200/",
        "http://[fd00:ec2::254]/",
        "http://0.0.0.0:9/",
    ];
    let default = by(Network::default());
    for url in metadata {
        assert!(default.compile(rule(file(), url)).is_ok(), "{url}");
        let faults = default.compile(rule(Owner::Api(1), url)).err().expect("refused");
        let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, ["actions[0].http.url"], "{url}");
    }
    let listed = by(network(&["169.254.169.254", "0.0.0.0/0"], &[]));
    assert!(listed.compile(rule(Owner::Api(1), metadata[0])).is_ok());
    assert!(listed.compile(rule(Owner::Api(1), metadata[3])).is_err());
    let denied = by(network(&[], &["169.254.0.0/16"]));
    assert!(denied.compile(rule(file(), metadata[0])).is_err());
}
