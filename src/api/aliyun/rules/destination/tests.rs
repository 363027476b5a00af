//! Configurations of the vendor's documents against endpoints.

use std::sync::Arc;

use connectors::contract::{Connections, TopicLimits};
use serde_json::json;

use super::configuration::parse;
use super::*;
use crate::api::state::endpoint::{ENDPOINT_TYPES, Endpoint};

const ROLE: &str =
    r#""role":{"roleArn":"acs:ram::6541:role/r","roleName":"R"},"regionName":"cn-shanghai""#;

fn destinations(endpoint: Option<Endpoint>) -> Destinations {
    let mut connections = Connections::default();
    for (name, kind) in [("k", "kafka"), ("s", "sqlite"), ("p", "postgres"), ("m", "mqtt")] {
        assert!(connections.insert(name, kind, Arc::new(())));
    }
    Destinations {
        endpoints: endpoint.into_iter().collect(),
        connections: Arc::new(connections),
        topics: TopicLimits::default(),
    }
}

fn endpoint(kind: &str, to: &str) -> Endpoint {
    let to = to.to_owned();
    let (connection, url) = if to.contains(':') { (None, Some(to)) } else { (Some(to), None) };
    Endpoint { kind: kind.to_owned(), region: "*".into(), instance: "*".into(), connection, url }
}

fn action(kind: &str, to: &str, configuration: &str) -> Result<(String, Value), String> {
    let parsed = parse(configuration).map_err(|e| e.code.into_owned())?;
    let action = super::action(&destinations(Some(endpoint(kind, to))), "n".into(), kind, &parsed);
    action.map(|a| (a.connector, a.settings)).map_err(|e| e.code.into_owned())
}

#[test]
fn queues_become_topics_and_calls() {
    let ons = format!(r#"{{"instanceId":"i","topic":"aliyun-iot","tag":"${{t}}",{ROLE}}}"#);
    assert_eq!(
        action("ONS", "k", &ons),
        Ok((
            "kafka".into(),
            json!({"connection": "k", "topic": "aliyun-iot", "headers": {"tag": "${t}"}})
        ))
    );
    let mns = format!(r#"{{"themeName":"mns-test",{ROLE}}}"#);
    assert_eq!(
        action("MNS", "k", &mns),
        Ok(("kafka".into(), json!({"connection": "k", "topic": "mns-test"})))
    );
    assert_eq!(action("MNS", "s", &mns), Err("iot.ruleng.InvalidEndpoint".into()));
    let fc = format!(r#"{{"functionName":"f/${{x}}","serviceName":"weather",{ROLE}}}"#);
    assert_eq!(
        action("FC", "http://h/{serviceName}/{functionName}?d=${device}&{other}", &fc),
        Ok(("http".into(), json!({"url": "http://h/weather/f%2F%24%7Bx%7D?d=${device}&{other}"})))
    );
    // The host is the configuration's alone.
    for url in ["http://{serviceName}/x", "http://{serviceName}.h/x", "http://h:{functionName}?x"] {
        assert_eq!(action("FC", url, &fc), Err("iot.ruleng.InvalidEndpoint".into()), "{url}");
    }
    assert_eq!(action("FC", "k", &fc).map(|a| a.1["topic"].clone()), Ok("weather.f/$${x}".into()));
}

#[test]
fn datahub_rows_keep_their_types() {
    let configuration = format!(
        r#"{{"schemaVals":[{{"name":"devicename","value":"${{deviceName}}","type":"STRING"}},{{"name":"t","value":"${{t}}","type":"TIMESTAMP"}},{{"name":"one","value":"1.50","type":"DECIMAL"}},{{"name":"q","value":"a\"b","type":"STRING"}}],"projectName":"p","topicName":"t1",{ROLE}}}"#
    );
    let body = r#"{"devicename":"${deviceName}","t":${t},"one":1.50,"q":"a\"b"}"#;
    assert_eq!(
        action("DATAHUB", "k", &configuration),
        Ok(("kafka".into(), json!({"connection": "k", "topic": "p.t1", "payload": body})))
    );
    let columns = json!({"devicename": "${deviceName}", "t": "${t}", "one": "1.50", "q": "a\"b"});
    assert_eq!(
        action("DATAHUB", "p", &configuration),
        Ok(("postgres".into(), json!({"connection": "p", "table": "t1", "columns": columns})))
    );
}

#[test]
fn table_stores_keep_all_keys_of_the_record() {
    let ots = |keys: &str| {
        action(
            "OTS",
            "s",
            &format!(r#"{{"instanceName":"i","tableName":"tt","primaryKeys":[{keys}],{ROLE}}}"#),
        )
    };
    let same = r#"{"columnType":"STRING","columnName":"d","columnValue":"${d}","option":""}"#;
    let other = r#"{"columnType":"STRING","columnName":"ttt","columnValue":"${tt}"}"#;
    let auto =
        r#"{"columnType":"INTEGER","columnName":"id","columnValue":"","option":"AUTO_INCREMENT"}"#;
    let table = |rest: Value| {
        let mut settings = json!({"connection": "s", "table": "tt"});
        for (key, value) in rest.as_object().cloned().unwrap_or_default() {
            settings[key] = value;
        }
        Ok(("sqlite".to_owned(), settings))
    };
    assert_eq!(ots(same), table(json!({"key": ["d"]})));
    assert_eq!(ots(&format!("{same},{auto}")), table(json!({})));
    // The guide's own example.
    assert_eq!(
        ots(&format!("{other},{auto}")),
        table(json!({"columns": {"ttt": "${tt}"}, "rest": true}))
    );
}

#[test]
fn without_an_endpoint_the_message_says_what_to_add() {
    let parsed =
        parse(r#"{"topic":"t","instanceId":"i","regionName":"cn-beijing"}"#).expect("JSON");
    let error =
        super::action(&destinations(None), "n".into(), "ONS", &parsed).expect_err("no endpoint");
    assert_eq!(error.code, "iot.ruleng.InstanceNotFound");
    assert!(error.message.contains("endpoints: [{ type: ONS, region: \"cn-beijing\""), "{error}");
    let elsewhere = Endpoint { region: "cn-shanghai".into(), ..endpoint("ONS", "k") };
    let error = super::action(&destinations(Some(elsewhere)), "n".into(), "ONS", &parsed)
        .expect_err("region");
    assert_eq!(error.code, "iot.ruleng.IncorrectRegionName");
    let other = Endpoint { instance: "j".into(), ..endpoint("ONS", "k") };
    let error = super::action(&destinations(Some(other)), "n".into(), "ONS", &parsed)
        .expect_err("instance");
    assert_eq!(error.code, "iot.ruleng.InstanceNotFound");
}

#[test]
fn kinds_are_sorted() {
    assert!(KINDS.is_sorted_by_key(|kind| kind.name));
    assert!(KINDS.iter().map(|kind| kind.name).eq(ENDPOINT_TYPES));
    assert!(is_type("REPUBLISH") && is_type("OTS") && !is_type("RDS"));
}
