//! Devices of a server: what each does is in its name.

use std::sync::{Arc, Mutex, OnceLock};

use connectors::contract::{Ack, Batch, Ingress as _, Message, Origin, Topic, TopicLimits};
use serde_json::Value;
use tidegate::thing::{Connection, Downlink, Forwarder};

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
