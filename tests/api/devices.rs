//! Devices of a server, played: what each does is in its name. And a server that has them all.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use connectors::contract::{Ack, Batch, Ingress as _, Message, Origin, Topic, TopicLimits};
use serde_json::Value;
use tidegate::api::ApiState;
use tidegate::registry::{NewDevice, NewProduct};
use tidegate::thing::{Connection, Downlink, Forwarder, Options};

use super::server::{Home, NOW_MS, Server};

/// `echo` answers what it is sent, `ext` the same on topics of its own, `silent` never, `leaves` goes
/// when it is asked, `full` takes nothing; any other is not connected.
#[derive(Default)]
pub struct Line {
    /// Where answers go.
    pub forwarder: OnceLock<Forwarder>,
    pub sent: Mutex<Vec<Message>>,
    left: Mutex<bool>,
}

impl Line {
    fn say(&self, topic: String, payload: String) {
        let topic = Topic::parse(topic, TopicLimits::default()).unwrap();
        let mut message = Message::new(topic, payload, 0);
        message.origin = Arc::new(Origin { source: Some("mqtt".into()), ..Origin::default() });
        let batch = Batch::unacknowledged(vec![message]);
        self.forwarder.get().unwrap().try_submit(batch).unwrap();
    }

    /// Topics and payloads of what was sent since the last time.
    pub fn take(&self) -> Vec<(String, String)> {
        let sent = std::mem::take(&mut *self.sent.lock().unwrap());
        let text = |message: &Message| String::from_utf8(message.payload.to_vec()).unwrap();
        sent.iter().map(|message| (message.topic.to_string(), text(message))).collect()
    }
}

/// What a device answers to a service: its own id, and what it was given.
fn answered(payload: &str) -> String {
    let Ok(Value::Object(asked)) = serde_json::from_str(payload) else {
        return payload.chars().rev().collect();
    };
    let (id, params) = (&asked["id"], &asked["params"]);
    format!(r#"{{"id":{id},"code":200,"message":"success","data":{params},"version":"1.0"}}"#)
}

impl Downlink for Line {
    fn publish(&self, message: &Message, _: &mut Ack) -> bool {
        self.sent.lock().unwrap().push(message.clone());
        let topic = message.topic.as_str();
        let payload = String::from_utf8(message.payload.to_vec()).unwrap();
        let is = |name: &str| topic.split('/').any(|level| level == name);
        if is("leaves") {
            *self.left.lock().unwrap() = true;
        }
        if is("echo") && topic.contains("/rrpc/request/") {
            self.say(topic.replace("/request/", "/response/"), answered(&payload));
        } else if (is("echo") || is("ext")) && topic.starts_with("/ext/rrpc/") {
            self.say(topic.to_owned(), answered(&payload));
        } else if is("echo") && topic.ends_with("/invoke") {
            self.say(format!("{topic}_reply"), answered(&payload));
        }
        !is("full")
    }

    fn connection(&self, _: &str, device_name: &str) -> Option<Connection> {
        match device_name {
            "leaves" if *self.left.lock().unwrap() => None,
            "echo" | "silent" | "leaves" | "full" => Some(Connection::default()),
            "ext" => Some(Connection { extended: true }),
            _ => None,
        }
    }
}

/// A server whose devices have to be registered, and the key of a product with all that a [`Line`]
/// knows.
pub async fn server(codes: &Arc<Mutex<BTreeSet<String>>>) -> (Server, String) {
    server_with(codes, |_| ()).await
}

/// The same with a state that was changed.
pub async fn server_with(
    codes: &Arc<Mutex<BTreeSet<String>>>,
    change: impl FnOnce(&mut ApiState),
) -> (Server, String) {
    server_at(Home::new(), codes, change).await
}

/// The same with its stores in a place.
pub async fn server_at(
    home: Home,
    codes: &Arc<Mutex<BTreeSet<String>>>,
    change: impl FnOnce(&mut ApiState),
) -> (Server, String) {
    let patience = Duration::from_millis(100);
    let options = Options { strict: true, patience, ..Options::default() };
    let mut server = Server::furnished(home, options, |state| {
        state.limits.accept_wait = Duration::from_millis(50);
        state.limits.payload = 1000;
        change(state);
    })
    .await;
    server.codes = codes.clone();
    let product = NewProduct::named("product");
    let pk = server.registry.create_product(product, NOW_MS).await.unwrap().key.clone();
    for name in ["echo", "ext", "silent", "leaves", "full", "away"] {
        let (product_key, device_name) = (pk.clone(), Some(name.to_owned()));
        let device = NewDevice { product_key, device_name, nickname: None };
        server.registry.register(device, NOW_MS).await.unwrap();
    }
    let topic = format!("/sys/{pk}/echo/thing/event/property/post");
    post(&server, &topic, r#"{"id":"1","params":{"Level":7}}"#);
    (server, pk)
}

/// A message that a device sends.
pub fn post(server: &Server, topic: &str, payload: &str) {
    let topic = Topic::parse(topic, TopicLimits::default()).unwrap();
    let message = Message::new(topic, payload.to_owned(), NOW_MS);
    let forwarder = server.line.forwarder.get().unwrap();
    forwarder.try_submit(Batch::unacknowledged(vec![message])).unwrap();
}
