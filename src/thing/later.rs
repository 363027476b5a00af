//! Messages of devices that change what is kept: shadows and tags here, desired values and sub-devices beside.
//!
//! One task works through them in order, so that a device's changes happen as it sent them.

use std::collections::BTreeMap;

use contract::Message;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::alink::{Address, NO_PARAMS, NOT_JSON, Post, Refusal, plain_topic, quoted};
use super::reply;
use super::shadow::{DeviceAsks, ShadowError, Wish};
use super::things::Things;
use registry::RegistryError;
use rule::store::StoreError;

/// The parameters are wrong.
pub(super) const REFUSED: Refusal = Refusal { code: 460, message: "request parameter error" };

pub(super) const FAILED: Refusal = Refusal { code: 500, message: "the server's store failed" };

/// Too many messages wait for the database, or this one is too large to wait.
const BUSY: Refusal = Refusal { code: 429, message: "too many requests" };

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
        if let Some(address) = Address::below("/ext/session/", text) {
            return self.session(message, address).await;
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

    /// Answers a message for which there is no room.
    pub(super) fn refuse(&self, message: &Message) {
        let text = message.topic.as_str();
        let address = Address::below("/ext/session/", text).or(Address::below("/sys/", text));
        let Some(Address { tail, .. }) = address else { return };
        let post = Post::parse(&message.payload);
        if post.as_ref().is_none_or(Post::wants_reply) {
            let (topic, now_ms) = (&message.topic, self.now_ms());
            if let Some(told) = reply::answer(post.as_ref(), topic, tail, Err(BUSY), now_ms) {
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
            "thing/sub/register" => self.tell_secrets(address, params).await,
            "thing/topo/delete" => self.detach(message, address, params).await,
            _ => self.list_topology(address).await,
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

    /// Hands rules a document in the place of what a device sent.
    pub(super) async fn announce(&self, message: &Message, topic: String, payload: String) {
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

/// The parameters of a post.
pub(super) fn read<T: serde::de::DeserializeOwned>(params: &str) -> Result<T, Refusal> {
    serde_json::from_str(params).map_err(|_| NO_PARAMS)
}

#[cfg(test)]
mod tests;
