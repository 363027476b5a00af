//! A gateway with its sub-devices, played: it signs for them, logs them in, and says what it is told.

use std::collections::VecDeque;
use std::time::Duration;

use connectors::contract::{QoS, Topic, TopicFilter, TopicLimits};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tidegate::broker::client::{Client, ClientError, Options};
use tidegate::broker::codec::Version;

/// The longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A device that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub key: String,
    pub name: String,
    pub secret: String,
}

impl Registered {
    /// What it signs with, to a client id and nothing else.
    fn sign(&self, client_id: &str) -> String {
        let Self { key, name, secret } = self;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
        mac.update(format!("clientId{client_id}deviceName{name}productKey{key}").as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    /// As a gateway names it where it need not prove anything.
    pub fn named(&self) -> Value {
        json!({ "productKey": self.key, "deviceName": self.name })
    }

    /// As a gateway names it where the device must agree.
    pub fn signed(&self) -> Value {
        json!({ "productKey": self.key, "deviceName": self.name, "clientId": self.name,
            "signMethod": "hmacSha256", "sign": self.sign(&self.name), "cleanSession": "true" })
    }

    /// `/sys/{product key}/{device name}/{tail}`
    pub fn sys(&self, tail: &str) -> String {
        format!("/sys/{}/{}/{tail}", self.key, self.name)
    }

    /// `/ext/session/{product key}/{device name}/combine/{what}`
    pub fn session(&self, what: &str) -> String {
        format!("/ext/session/{}/{}/combine/{what}", self.key, self.name)
    }

    /// Where a gateway is told of its devices.
    pub fn errors(&self) -> String {
        format!("/ext/error/{}/{}", self.key, self.name)
    }
}

/// A device with a connection of its own.
pub struct Peer {
    pub me: Registered,
    mqtt: Client,
    told: VecDeque<(String, Value)>,
    asked: u64,
}

fn topic(text: &str) -> Topic {
    Topic::parse(text, TopicLimits::default()).expect("a topic")
}

impl Peer {
    pub async fn try_connect(port: u16, me: &Registered) -> Result<Self, ClientError> {
        let mut options = Options::new("peer|securemode=3,signmethod=hmacsha256|");
        options.username = Some(format!("{}&{}", me.name, me.key).into());
        options.password = Some(me.sign("peer").into());
        options.version = Version::V311;
        let mqtt = Client::connect(("127.0.0.1", port), options).await?;
        Ok(Self { me: me.clone(), mqtt, told: VecDeque::new(), asked: 0 })
    }

    pub async fn connect(port: u16, me: &Registered) -> Self {
        Self::try_connect(port, me).await.expect("it signs")
    }

    pub async fn say(&mut self, to: &str, payload: &Value) {
        let payload = payload.to_string();
        self.mqtt
            .publish(&topic(to), payload.as_bytes(), QoS::AtMostOnce, false)
            .await
            .expect("said");
        self.mqtt.flush().await.expect("said");
    }

    pub async fn subscribe(&mut self, filter: &str) -> Result<QoS, ClientError> {
        let filter = TopicFilter::parse(filter, TopicLimits::default()).expect("a filter");
        self.mqtt.subscribe(&filter, QoS::AtLeastOnce).await
    }

    /// What it is told next on a topic; what it is told on others is kept.
    pub async fn hears(&mut self, on: &str) -> Value {
        let (_, value) = self.hears_where(on, |topic, _| topic == on).await;
        value
    }

    pub async fn hears_where(
        &mut self,
        what: &str,
        is: impl Fn(&str, &Value) -> bool,
    ) -> (String, Value) {
        if let Some(at) = self.told.iter().position(|(topic, value)| is(topic, value)) {
            return self.told.remove(at).expect("it is there");
        }
        loop {
            let next = tokio::time::timeout(PATIENCE, self.mqtt.next()).await;
            let next = next.unwrap_or_else(|_| {
                panic!("{} hears nothing of {what}: {:?}", self.me.name, self.told)
            });
            let next = next.unwrap_or_else(|problem| panic!("{what}: {problem}"));
            let value = serde_json::from_slice(&next.payload);
            let value = value.unwrap_or_else(|_| {
                Value::from(String::from_utf8_lossy(&next.payload).into_owned())
            });
            if is(&next.topic, &value) {
                return (next.topic.to_string(), value);
            }
            self.told.push_back((next.topic.to_string(), value));
        }
    }

    /// Everything that it was told and nobody has asked for.
    pub fn told(&self) -> impl Iterator<Item = &(String, Value)> {
        self.told.iter()
    }

    /// A request of the device protocol and its answer.
    pub async fn ask(&mut self, to: &str, params: &Value) -> Value {
        self.asked += 1;
        let id = self.asked.to_string();
        self.say(to, &json!({ "id": id, "version": "1.0", "params": params })).await;
        let reply = format!("{to}_reply");
        self.hears_where(&reply, |topic, told| topic == reply && told["id"] == id.as_str()).await.1
    }

    /// The same; the code of the answer.
    pub async fn code(&mut self, to: &str, params: &Value) -> Value {
        self.ask(to, params).await["code"].clone()
    }

    pub async fn attach(&mut self, devices: &[Registered]) -> Value {
        let signed: Vec<_> = devices.iter().map(Registered::signed).collect();
        self.code(&self.me.sys("thing/topo/add"), &signed.into()).await
    }

    pub async fn log_in(&mut self, device: &Registered) -> Value {
        self.code(&self.me.session("login"), &device.signed()).await
    }

    pub async fn log_in_all(&mut self, devices: &[Registered]) -> Value {
        let signed: Vec<_> = devices.iter().map(Registered::signed).collect();
        self.code(&self.me.session("batch_login"), &json!({ "deviceList": signed })).await
    }

    pub async fn log_out(&mut self, device: &Registered) -> Value {
        self.code(&self.me.session("logout"), &device.named()).await
    }

    /// Posts a property of a device, its own or a sub-device's; the code of the answer.
    pub async fn post(&mut self, device: &Registered, value: u64) -> Value {
        self.code(&device.sys("thing/event/property/post"), &json!({ "T": value })).await
    }

    /// Says goodbye.
    pub async fn leave(self) {
        self.mqtt.disconnect().await.expect("goodbye");
    }
}
