//! Rules over restarts, with a store that fails, and changed by many at the same time.

use tidegate::rule::Statement;

use crate::api::client::Client;
use crate::api::server::Server;

/// A rule that runs over a MNS action and a table, ready to be looked at.
async fn start_a_rule(client: &Client) {
    let rule = [
        ("Name", "alerts"),
        ("ProductKey", "a1Pk"),
        ("ShortTopic", "+/user/#"),
        ("Select", "a, b"),
        ("Where", "a > 1"),
        ("TopicType", "1"),
    ];
    assert_eq!(client.call("CreateRule", &rule).await.json()["RuleId"], 100_000);
    let table = r#"{"instanceName":"testaaa","tableName":"tt","primaryKeys":[{"columnType":"STRING","columnName":"a","columnValue":"${a}"}],"regionName":"cn-shanghai"}"#;
    for (kind, configuration, error) in
        [("OTS", table, "false"), ("MNS", r#"{"themeName":"mns-test-topic1"}"#, "true")]
    {
        let action = [
            ("RuleId", "100000"),
            ("Type", kind),
            ("Configuration", configuration),
            ("ErrorActionFlag", error),
        ];
        assert_eq!(client.call("CreateRuleAction", &action).await.json()["Success"], true);
    }
    let started = client.call("StartRule", &[("RuleId", "100000")]).await;
    assert_eq!(started.outcome(), "200 OK");
}

#[tokio::test]
async fn rules_run_again_after_a_restart() {
    let server = Server::start().await;
    start_a_rule(&server.client()).await;
    let before = server.engine.running.lock().unwrap()[&100_000].clone();
    let statement = Statement::Parts {
        select: "a, b".to_owned(),
        from: "/a1Pk/+/user/#".to_owned(),
        filter: Some("a > 1".to_owned()),
    };
    assert_eq!(before.sql, Some(statement));
    assert_eq!(before.actions[0].connector, "sqlite");
    assert_eq!(
        before.actions[0].settings,
        serde_json::json!({"connection": "s", "table": "tt", "key": ["a"]})
    );
    let vendor = before.actions[0].vendor.clone().unwrap();
    assert_eq!((vendor.kind.as_str(), vendor.region.as_str()), ("OTS", "cn-shanghai"));
    assert_eq!(before.error_action.as_ref().unwrap().connector, "kafka");

    let folder = server.stop().await;
    let server = Server::open(folder, |_| ()).await;
    assert_eq!(server.engine.running.lock().unwrap()[&100_000], before);
    let client = server.client();
    assert_eq!(client.call("StopRule", &[("RuleId", "100000")]).await.outcome(), "200 OK");
    assert!(server.engine.running.lock().unwrap().is_empty());

    let folder = server.stop().await;
    let server = Server::open(folder, |_| ()).await;
    assert!(server.engine.running.lock().unwrap().is_empty());
    server.end().await;
}

#[tokio::test]
async fn a_rule_keeps_running_as_it_was_when_the_store_fails() {
    let server = Server::start().await;
    let client = server.client();
    start_a_rule(&client).await;
    let renamed = client.call("UpdateRule", &[("RuleId", "100000"), ("Name", "renamed")]).await;
    assert_eq!(renamed.outcome(), "200 OK");
    assert_eq!(server.engine.running.lock().unwrap()[&100_000].name, "renamed");
    server.store.close().await;
    let failed = client.call("UpdateRule", &[("RuleId", "100000"), ("Name", "other")]).await;
    assert_eq!(failed.outcome(), "200 iot.rule.UpdateRuleFailed");
    let action = [
        ("RuleId", "100000"),
        ("Type", "FC"),
        ("Configuration", r#"{"serviceName":"weather","functionName":"f"}"#),
    ];
    let failed = client.call("CreateRuleAction", &action).await;
    assert_eq!(failed.outcome(), "200 iot.ruleng.CreateRuleActionFailed");
    assert_eq!(server.engine.running.lock().unwrap()[&100_000].name, "renamed");
    assert_eq!(server.engine.running.lock().unwrap().len(), 1);
    server.end().await;
}

#[tokio::test]
async fn changes_at_the_same_time_agree() {
    let server = Server::with(|state| state.limits.rules = 5).await;
    let client = server.client();
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let client = client.clone();
            tokio::spawn(async move {
                let name = format!("rule_{}", n % 10);
                client.call("CreateRule", &[("Name", &name)]).await.outcome()
            })
        })
        .collect();
    let mut made = 0;
    for call in calls {
        made += usize::from(call.await.unwrap() == "200 OK");
    }
    assert_eq!(made, 5);
    assert_eq!(client.call("ListRule", &[]).await.json()["Total"], 5);
    server.end().await;
}
