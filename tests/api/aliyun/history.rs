//! The history of devices over the API.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::api::devices::{post, server, server_at};
use crate::api::server::{Home, NOW_MS, Server};

const TEXT: &str = include_str!("scenarios/history.txt");

/// Parameters of a request for the values of a property.
fn asked(pk: &str) -> Vec<(&'static str, String)> {
    let now = NOW_MS.to_string();
    [("ProductKey", pk), ("DeviceName", "echo"), ("Identifier", "Level"), ("StartTime", &now)]
        .into_iter()
        .chain([("EndTime", &*now), ("PageSize", "50"), ("Asc", "1"), ("Identifier.1", "Level")])
        .map(|(name, value)| (name, value.to_owned()))
        .collect()
}

const FAILURES: [(&str, &str); 4] = [
    ("QueryDevicePropertyData", "iot.device.QueryDeviceAttrDataHistoryFailed"),
    ("QueryDevicePropertiesData", "iot.device.QueryDeviceAttrDataHistoryFailed"),
    ("QueryDeviceEventData", "iot.device.QueryDeviceEventHistoryFailed"),
    ("QueryDeviceServiceData", "iot.device.QueryDeviceServiceHistoryFailed"),
];

/// Every code of this family.
pub async fn produce_all(codes: &Arc<Mutex<BTreeSet<String>>>) {
    for format in ["XML", "JSON"] {
        let (server, pk) = server(codes).await;
        super::scenario::run("history.txt", &TEXT.replace("PK", &pk), &server, format).await;
        server.end().await;
    }
    let (server, pk) = server(codes).await;
    let parameters = asked(&pk);
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, &**value)).collect();
    server.history.close().await;
    for (action, code) in FAILURES {
        let outcome = server.client().call(action, &parameters).await.outcome();
        assert_eq!(outcome, format!("200 {code}"));
    }
    server.end().await;
}

#[tokio::test]
async fn history_answers_as_it_says() {
    produce_all(&Arc::default()).await;
}

#[tokio::test]
async fn history_answers_the_same_on_postgres() {
    let Some(home) = Home::postgres().await else { return };
    let (server, pk) = server_at(home, &Arc::default(), |_| ()).await;
    super::scenario::run("history.txt", &TEXT.replace("PK", &pk), &server, "JSON").await;
    server.end().await;
}

#[tokio::test]
async fn history_is_there_after_a_restart() {
    let (server, pk) = server(&Arc::default()).await;
    let parameters = asked(&pk);
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, &**value)).collect();
    let topic = format!("/sys/{pk}/echo/thing/event/property/post");
    post(&server, &topic, r#"{"params":{"Level":8}}"#);
    let home = server.stop().await;
    let server = Server::open(home, |_| ()).await;
    post(&server, &topic, r#"{"params":{"Level":9}}"#);
    let json = server.client().call("QueryDevicePropertyData", &parameters).await.json();
    let values = json["Data"]["List"]["PropertyInfo"].as_array().unwrap();
    let values: Vec<_> = values.iter().map(|value| value["Value"].as_str().unwrap()).collect();
    assert_eq!(values, ["7", "8", "9"]);
    server.end().await;
}

#[tokio::test]
async fn a_history_that_is_off_says_so() {
    let (server, pk) = server_at(Home::without_history(), &Arc::default(), |_| ()).await;
    let parameters = asked(&pk);
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, &**value)).collect();
    for (action, code) in FAILURES {
        let json = server.client().call(action, &parameters).await.json();
        assert_eq!(json["Code"], code);
        assert!(json["ErrorMessage"].as_str().unwrap().contains("history.enabled"), "{json}");
    }
    server.end().await;
}
