//! Messages of devices that change what is kept: shadows, desired values, tags, sub-devices.
//!
//! One task works through them in order, so that a device's changes happen as it sent them.

use std::collections::BTreeMap;

use contract::Message;
use hmac::Hmac;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use subtle::ConstantTimeEq as _;

use super::alink::{Address, NO_PARAMS, NOT_JSON, Post, Refusal, plain_topic, quoted};
use super::gateway::Named;
use super::reply;
use super::shadow::{DeviceAsks, ShadowError, Wish};
use super::things::Things;
use super::topology::SUB_DEVICES_MAX;
use registry::{DeviceRef, RegistryError};
use rule::store::StoreError;

const REFUSED: Refusal = Refusal { code: 460, message: "request parameter error" };

const FAILED: Refusal = Refusal { code: 500, message: "the server's store failed" };

const TOO_MANY: Refusal = Refusal { code: 6402, message: "a gateway has at most 1500 sub-devices" };

impl From<StoreError> for Refusal {
    fn from(problem: StoreError) -> Self {
        tracing::error!(%problem, "a device's message could not be kept");
        FAILED
    }
}

impl From<RegistryError> for Refusal {
    fn from(problem: RegistryError) -> Self {
        match problem {
            RegistryError::Store(problem) => problem.into(),
            _ => REFUSED,
        }
    }
}

/// What a device says of itself: one tag.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tag {
    attr_key: String,
    #[serde(default)]
    attr_value: Option<String>,
}

/// A device that is to be one of a gateway's, and the proof that it agrees.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Newcomer {
    #[serde(flatten)]
    named: Named,
    sign: String,
    #[serde(alias = "signMethod", default)]
    signmethod: Option<String>,
    #[serde(default)]
    timestamp: Option<Box<RawValue>>,
    client_id: String,
}

impl Things {
    /// Does what a message asks for and answers the device.
    pub(super) async fn work_on(&self, message: &Message) {
        let text = message.topic.as_str();
        if let Some(address) = Address::below("/shadow/update/", text) {
            if address.tail.is_empty() {
                self.update_from_device(message, address).await;
            }
            return;
        }
        let Some(address) = Address::below("/sys/", text) else { return };
        let post = Post::parse(&message.payload);
        let outcome = match &post {
            None => Err(NOT_JSON),
            Some(post) => self.keep_post(message, address, post.params).await,
        };
        let outcome = outcome.as_deref().map_err(|refusal| *refusal);
        if post.as_ref().is_none_or(Post::wants_reply) {
            let now_ms = self.now_ms();
            let (topic, tail) = (&message.topic, address.tail);
            if let Some(told) = reply::answer(post.as_ref(), topic, tail, outcome, now_ms) {
                // A device that is gone asks again.
                let _queued = self.publish(&told);
            }
        }
    }

    /// Keeps what was posted; returns the data that the device is answered.
    async fn keep_post(
        &self,
        message: &Message,
        address: Address<'_>,
        params: Option<&RawValue>,
    ) -> Result<String, Refusal> {
        let params = params.map_or("null", RawValue::get);
        match address.tail {
            "thing/deviceinfo/update" => self.set_tags(message, address, params).await,
            "thing/deviceinfo/delete" => self.delete_tags(address, params).await,
            "thing/property/desired/get" => {
                self.desired_for_device((address.product_key, address.device_name), params).await
            }
            "thing/property/desired/delete" => {
                self.dealt_with((address.product_key, address.device_name), params).await
            }
            "thing/topo/add" => self.attach(message, address, params).await,
            "thing/topo/delete" => self.detach(message, address, params).await,
            _ => {
                let gateway = (address.product_key, address.device_name);
                let most = u32::try_from(SUB_DEVICES_MAX).unwrap_or(u32::MAX);
                let devices = self.shadows().attached(gateway, most).await?;
                let device = |(key, name): &(String, String)| {
                    format!(r#"{{"deviceName":{},"productKey":{}}}"#, quoted(name), quoted(key))
                };
                Ok(format!("[{}]", devices.iter().map(device).collect::<Vec<_>>().join(",")))
            }
        }
    }

    async fn set_tags(
        &self,
        message: &Message,
        address: Address<'_>,
        params: &str,
    ) -> Result<String, Refusal> {
        let tags: Vec<Tag> = read(params)?;
        let Address { product_key, device_name, .. } = address;
        let pairs: BTreeMap<String, String> = tags
            .iter()
            .map(|tag| (tag.attr_key.clone(), tag.attr_value.clone().unwrap_or_default()))
            .collect();
        self.registry().set_tags(product_key, device_name, &pairs).await?;
        let listed = pairs.iter().map(|(key, value)| {
            format!(r#"{{"attrKey":{},"attrValue":{}}}"#, quoted(key), quoted(value))
        });
        let who = self.who(product_key, device_name);
        let payload = format!(
            r#"{{"iotId":{},"productKey":{},"deviceName":{},"value":[{}],"messageCreateTime":{}}}"#,
            quoted(&who.iot_id),
            quoted(product_key),
            quoted(device_name),
            listed.collect::<Vec<_>>().join(","),
            message.received_ms
        );
        self.announce(message, reply::rule_topic(&address), payload).await;
        Ok("{}".to_owned())
    }

    async fn delete_tags(&self, address: Address<'_>, params: &str) -> Result<String, Refusal> {
        let tags: Vec<Tag> = read(params)?;
        for Tag { attr_key, .. } in &tags {
            let Address { product_key, device_name, .. } = address;
            self.registry().delete_tag(product_key, device_name, attr_key).await?;
        }
        Ok("{}".to_owned())
    }

    async fn attach(
        &self,
        message: &Message,
        address: Address<'_>,
        params: &str,
    ) -> Result<String, Refusal> {
        let newcomers: Vec<Newcomer> = read(params)?;
        let gateway = (address.product_key, address.device_name);
        let most = u32::try_from(SUB_DEVICES_MAX).unwrap_or(u32::MAX);
        let kept = self.shadows().attached(gateway, most).await?.len();
        if kept + newcomers.len() > SUB_DEVICES_MAX {
            return Err(TOO_MANY);
        }
        for newcomer in &newcomers {
            let Named { product_key, device_name } = &newcomer.named;
            let of = DeviceRef::Name { product_key, device_name };
            let known = self.registry().device(of).await?.ok_or(REFUSED)?;
            if !newcomer.agrees(&known.secret) {
                return Err(REFUSED);
            }
        }
        let devices: Vec<_> = newcomers.into_iter().map(|newcomer| newcomer.named).collect();
        for Named { product_key, device_name } in &devices {
            let device = (product_key.as_str(), device_name.as_str());
            if !self.shadows().attach(gateway, device).await? {
                return Err(REFUSED);
            }
            if let (Some(gateway), Some(device)) = (self.id_of(gateway), self.id_of(device)) {
                self.topology().attach(&gateway, &device);
            }
        }
        self.announce_topology(message, address, "create", &devices).await;
        Ok("{}".to_owned())
    }

    async fn detach(
        &self,
        message: &Message,
        address: Address<'_>,
        params: &str,
    ) -> Result<String, Refusal> {
        let devices: Vec<Named> = read(params)?;
        let gateway = (address.product_key, address.device_name);
        for Named { product_key, device_name } in &devices {
            let device = (product_key.as_str(), device_name.as_str());
            if self.shadows().detach(gateway, device).await?
                && let Some(device) = self.id_of(device)
            {
                self.topology().detach(&device);
            }
        }
        self.announce_topology(message, address, "delete", &devices).await;
        Ok("{}".to_owned())
    }

    async fn announce_topology(
        &self,
        message: &Message,
        address: Address<'_>,
        action: &str,
        devices: &[Named],
    ) {
        let listed = reply::devices(devices.iter().map(|Named { product_key, device_name }| {
            let who = self.who(product_key, device_name);
            (who.iot_id.into_owned(), product_key.as_str(), device_name.as_str())
        }));
        let action = Some((action, message.received_ms));
        let payload = self.gateway_document(address, action, &listed);
        let Address { product_key, device_name, .. } = address;
        let topic = format!("/{product_key}/{device_name}/thing/topo/lifecycle");
        self.announce(message, topic, payload).await;
    }

    /// Hands rules a document in the place of what a device sent.
    async fn announce(&self, message: &Message, topic: String, payload: String) {
        if let Some(topic) = plain_topic(topic) {
            let payload = payload.into();
            self.tell_rules(Message { topic, payload, ..message.clone() }).await;
        }
    }

    async fn update_from_device(&self, message: &Message, address: Address<'_>) {
        let Address { product_key, device_name, .. } = address;
        let now_s = message.received_ms / 1000;
        let told = match DeviceAsks::parse(&message.payload) {
            Ok(asks) => self.obey((product_key, device_name), asks, now_s).await,
            Err(problem) => Err(problem),
        };
        let told = told.unwrap_or_else(|problem| problem.reply(now_s));
        self.tell_shadow(product_key, device_name, &told);
    }

    async fn obey(
        &self,
        of: (&str, &str),
        asks: DeviceAsks,
        now_s: u64,
    ) -> Result<Value, ShadowError> {
        let _change = self.shadows().change.lock().await;
        let failed = |problem: StoreError| {
            tracing::error!(%problem, "a shadow could not be read or written");
            ShadowError::Server
        };
        let mut shadow = self.shadows().read(of).await.map_err(failed)?;
        let changes = asks != DeviceAsks::Get;
        let told = shadow.obey(asks, now_s)?;
        if changes && !self.shadows().write(of, &shadow).await.map_err(failed)? {
            return Err(ShadowError::Server);
        }
        Ok(told)
    }

    /// Changes a registered device's shadow as the cloud wishes, and tells the device when something is
    /// wanted of it.
    ///
    /// # Errors
    /// A [`ShadowError`]; the shadow is as it was.
    pub async fn wish(
        &self,
        product_key: &str,
        device_name: &str,
        wish: Wish,
    ) -> Result<(), ShadowError> {
        let _change = self.shadows().change.lock().await;
        let failed = |problem: StoreError| {
            tracing::error!(%problem, "a shadow could not be read or written");
            ShadowError::Server
        };
        let of = (product_key, device_name);
        let mut shadow = self.shadows().read(of).await.map_err(failed)?;
        shadow.grant(wish, self.now_ms() / 1000)?;
        if !self.shadows().write(of, &shadow).await.map_err(failed)? {
            return Err(ShadowError::Server);
        }
        if !shadow.desired.state.is_empty() {
            self.tell_shadow(product_key, device_name, &shadow.told("control"));
        }
        Ok(())
    }

    fn tell_shadow(&self, product_key: &str, device_name: &str, what: &Value) {
        if let Some(topic) = plain_topic(format!("/shadow/get/{product_key}/{device_name}")) {
            // A device that is not there asks for its shadow when it is.
            let _queued = self.publish(&Message::new(topic, what.to_string(), self.now_ms()));
        }
    }
}

impl Newcomer {
    /// Whether the device has signed: its secret over names and values, sorted by name.
    fn agrees(&self, secret: &str) -> bool {
        let Named { product_key, device_name } = &self.named;
        let mut text =
            format!("clientId{}deviceName{device_name}productKey{product_key}", self.client_id);
        // A number is signed as it is written.
        match self.timestamp.as_deref().map(RawValue::get) {
            None | Some("null") => {}
            Some(time) => {
                let quoted = time.starts_with('"').then(|| serde_json::from_str(time));
                let time = quoted.and_then(Result::ok).unwrap_or_else(|| time.to_owned());
                text.extend(["timestamp", &time]);
            }
        }
        let method = self.signmethod.as_deref().unwrap_or("hmacMd5").to_ascii_lowercase();
        let wanted = match method.as_str() {
            "hmacmd5" => digest::<Hmac<md5::Md5>>(secret, &text),
            "hmacsha1" => digest::<Hmac<sha1::Sha1>>(secret, &text),
            "hmacsha256" => digest::<Hmac<sha2::Sha256>>(secret, &text),
            _ => return false,
        };
        wanted.as_bytes().ct_eq(self.sign.to_ascii_lowercase().as_bytes()).into()
    }
}

fn digest<M: hmac::Mac + hmac::KeyInit>(secret: &str, text: &str) -> String {
    let mut mac = <M as hmac::KeyInit>::new_from_slice(secret.as_bytes())
        .expect("invariant: HMAC takes keys of any length");
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn read<T: serde::de::DeserializeOwned>(params: &str) -> Result<T, Refusal> {
    serde_json::from_str(params).map_err(|_| NO_PARAMS)
}

#[cfg(test)]
mod tests;
