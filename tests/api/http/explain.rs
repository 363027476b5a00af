//! Statements in words over HTTP.

use serde_json::json;
use tidegate::rule::store::Role;

use crate::api::server::Server;

const KEY: (&str, &str) = ("Authorization", "Bearer test-read:testsecret");

#[tokio::test]
async fn a_statement_and_a_message_are_explained() {
    let server = Server::start().await;
    let client = server.client();
    let ask = json!({
        "sql": "SELECT temperature AS t FROM \"/a1Pk/+/user/data\" WHERE temperature > 20 + 10",
        "topic": "/a1Pk/dev1/user/data",
        "payload": { "temperature": 12 }
    });
    let reply = client.send("POST", "/explain", &[KEY], ask.to_string().as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let answer = reply.json();
    assert_eq!(
        answer["plan"]["statement"],
        "SELECT temperature AS t FROM \"/a1Pk/+/user/data\" WHERE temperature > 30"
    );
    assert_eq!(answer["plan"]["tests"][0]["cost"], "free");
    let message = &answer["message"];
    assert_eq!(message["outcome"], "filtered");
    assert_eq!(
        message["because"],
        "WHERE is FALSE because temperature > 30 is FALSE: temperature is 12"
    );
    assert_eq!(message["where"]["value"], "FALSE");
    assert_eq!(message["where"]["parts"][0]["value"], "12");
    assert_eq!(message["records"], json!([]));

    let bytes = json!({ "sql": "SELECT to_hex(*) AS h FROM \"#\"", "data_type": "binary",
        "payload_base64": "/w==" });
    let reply = client.send("POST", "/explain", &[KEY], bytes.to_string().as_bytes()).await;
    assert_eq!(reply.json()["message"]["records"], json!([{ "h": "ff" }]));

    let plan = json!({ "sql": "SELECT a FROM \"#\" WHERE a = NULL" });
    let reply = client.send("POST", "/explain", &[KEY], plan.to_string().as_bytes()).await;
    let answer = reply.json();
    assert!(answer.get("message").is_none());
    let warning = answer["plan"]["warnings"][0].as_str().expect("a warning").to_owned();
    assert!(warning.contains("write `a IS NULL`"), "{warning}");
    server.end().await;
}

#[tokio::test]
async fn a_rule_is_explained_by_name_and_id() {
    let server = Server::start().await;
    let client = server.client();
    let rule = [
        ("Name", "hot_rule"),
        ("ProductKey", "a1Pk"),
        ("ShortTopic", "+/user/data"),
        ("Select", "t"),
        ("Where", "t > 1"),
        ("TopicType", "1"),
    ];
    let created = client.call("CreateRule", &rule).await;
    let id = created.json()["RuleId"].as_u64().expect("an id");
    for ask in [json!({ "rule": "hot_rule" }), json!({ "rule_id": id })] {
        let reply = client.send("POST", "/explain", &[KEY], ask.to_string().as_bytes()).await;
        assert_eq!(
            reply.json()["plan"]["statement"],
            "SELECT t FROM \"/a1Pk/+/user/data\" WHERE t > 1",
            "{}",
            reply.body
        );
    }
    server.end().await;
}

#[tokio::test]
async fn what_is_not_explained_says_why() {
    let server = Server::with(|state| {
        state.limits.body = 1000;
        state.limits.payload = 10;
    })
    .await;
    let client = server.client();
    // Also on loopback: statements of rules are not for everybody.
    let ask = json!({ "rule": "hot_rule" }).to_string();
    let without = client.send("POST", "/explain", &[], ask.as_bytes()).await;
    assert_eq!(without.outcome(), "401 key");
    let wrong = [("Authorization", "Bearer test-read:wrong")];
    assert_eq!(client.send("POST", "/explain", &wrong, ask.as_bytes()).await.status, 401);
    assert_eq!(client.send("GET", "/explain", &[KEY], b"").await.status, 405);
    let long = json!({ "sql": "x".repeat(1000) }).to_string();
    for (ask, want) in [
        ("{", "400 request"),
        ("{}", "400 request"),
        (r#"{"sql":"SELECT a FROM \"t\"","rule":"x"}"#, "400 request"),
        (r#"{"statement":"SELECT a FROM \"t\""}"#, "400 request"),
        (r#"{"sql":"SELECT a FORM \"t\""}"#, "400 sql"),
        (r#"{"sql":"SELECT a FROM \"t\"","payload":{},"topic":"a/+"}"#, "400 topic"),
        (r#"{"sql":"SELECT a FROM \"t\"","payload":{},"payload_base64":""}"#, "400 request"),
        (r#"{"sql":"SELECT a FROM \"t\"","payload_base64":"%"}"#, "400 request"),
        (r#"{"sql":"SELECT a FROM \"t\"","payload":{"a":"long enough"}}"#, "413 payload"),
        (r#"{"rule":"nobody"}"#, "404 rule"),
        (r#"{"rule_id":7}"#, "404 rule"),
        (long.as_str(), "413 request"),
    ] {
        let reply = client.send("POST", "/explain", &[KEY], ask.as_bytes()).await;
        assert_eq!(reply.outcome(), want, "{ask}: {}", reply.body);
    }
    let admin = server.store.create_key(Role::Admin, 0).await.unwrap();
    let bearer = format!("Bearer {}:{}", admin.id, admin.secret);
    let headers = [("Authorization", bearer.as_str())];
    let good = br#"{"sql":"SELECT a FROM \"t\""}"#;
    assert_eq!(client.send("POST", "/explain", &headers, good).await.status, 200);
    server.end().await;
}
