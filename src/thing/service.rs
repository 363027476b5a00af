//! Requests to devices: services, properties and remote calls, of whichever vendor's API they come from.
//!
//! All of them go one way: a topic and a payload in the device's dialect, and either somebody who
//! waits for the answer, or rules that are told of it. Who may ask is the API's matter.

use std::time::Duration;

use bytes::Bytes;
use contract::{Message, QoS, Topic, object};
use serde_json::{Map, Value};

use super::alink::{plain_topic, quoted};
use super::calls::{CallError, Request};
use super::record::{Asked, SET};
use super::reply::{self, Fate};
use super::things::Things;
use super::tsl::{Misfit, Model, Property, check_fields};

/// How long a synchronous service is waited for.
pub const SYNC_PATIENCE: Duration = Duration::from_secs(5);

/// How long a remote call may be waited for, in milliseconds.
pub const RRPC_PATIENCE_MS: std::ops::RangeInclusive<u64> = 1_000..=8_000;

/// The form in which a device takes services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/sys/{pk}/{dn}/thing/service/{identifier}`; to be waited for on a topic of remote calls.
    Alink,
    /// `$sys/{pid}/{device name}/thing/service/{identifier}/invoke` and `invoke_reply`.
    OneJson,
}

/// Why a service was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The arguments are no JSON object.
    #[error("the arguments are no JSON object: {0}")]
    NotJson(String),
    /// The product's model has no such service or property.
    #[error("{}", .0.message)]
    Unknown(Misfit),
    /// The arguments do not fit what the product's model says.
    #[error("{}", .0.message)]
    Model(Misfit),
    /// A property that can only be read.
    #[error("property `{0}` can't be set: its access mode is r")]
    ReadOnly(String),
    /// A name that can't be part of a topic.
    #[error("`{0}` can't be part of a topic")]
    Name(String),
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// A request that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its id, which the device has seen.
    pub id: u64,
    /// What the device answered, when that was waited for.
    pub answer: Option<Bytes>,
}

/// A service that a device is to do.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// Whose device.
    pub product_key: &'a str,
    /// Its name.
    pub device_name: &'a str,
    /// The service's name in the model.
    pub identifier: &'a str,
    /// A JSON object.
    pub arguments: &'a str,
    /// Whether the answer is waited for. `None` leaves it to the model; without a model it is.
    pub wait: Option<bool>,
    /// What the device speaks.
    pub dialect: Dialect,
    /// Of the request.
    pub qos: QoS,
}

impl Things {
    /// Has a device do a service.
    ///
    /// # Errors
    /// A [`ServiceError`]. Without waiting, a device that is offline is none: rules are told of it.
    pub async fn invoke(&self, service: Service<'_>) -> Result<Done, ServiceError> {
        let Service { product_key, device_name, identifier, .. } = service;
        let arguments = members(service.arguments)?;
        let mut wait = service.wait;
        if let Some(model) = self.model(product_key) {
            let known = model.services.get(identifier);
            let known = known.ok_or_else(|| ServiceError::Unknown(Misfit::unknown(identifier)))?;
            check_fields(&known.inputs, &arguments).map_err(ServiceError::Model)?;
            wait = wait.or(Some(known.synchronous));
        }
        let id = self.calls().short_id();
        let device = format!("{product_key}/{device_name}");
        let asked = match service.dialect {
            Dialect::Alink => format!("/sys/{device}/thing/service/{identifier}"),
            Dialect::OneJson => format!("$sys/{device}/thing/service/{identifier}/invoke"),
        };
        let asked = plain_topic(asked).filter(|_| !identifier.contains('/'));
        let asked = asked.ok_or_else(|| ServiceError::Name(identifier.to_owned()))?;
        let make = |topic: Topic| {
            let payload = match service.dialect {
                Dialect::Alink => {
                    let method = quoted(&format!("thing.service.{identifier}"));
                    reply::request(&method, id, service.arguments)
                }
                Dialect::OneJson => {
                    let arguments = service.arguments;
                    format!(r#"{{"id":"{id}","version":"1.0","params":{arguments}}}"#)
                }
            };
            Message { qos: service.qos, ..Message::new(topic, payload, self.now_ms()) }
        };
        let noted = Asked::service(&service, id, self.now_ms());
        if wait == Some(false) {
            self.note_sent(&noted);
            self.send(make(asked), product_key, device_name, id).await;
            return Ok(Done { id, answer: None });
        }
        let (topic, answered_on) = match service.dialect {
            Dialect::Alink => self.remote_topics(product_key, device_name, id, Some(&asked))?,
            Dialect::OneJson => {
                let answered_on = plain_topic(format!("{asked}_reply"));
                (asked, answered_on.ok_or_else(|| ServiceError::Name(identifier.to_owned()))?)
            }
        };
        let message = make(topic);
        let patience = self.patience();
        let request = Request { id, message, answered_on, product_key, device_name, patience };
        let answer = self.call(request).await;
        self.note_done(&noted, &answer);
        Ok(Done { id, answer: Some(answer?) })
    }

    /// Asks a device to set properties; what becomes of it is told to rules. Returns the request's id.
    ///
    /// # Errors
    /// A [`ServiceError`], but none for a device that is offline.
    pub async fn set_properties(
        &self,
        product_key: &str,
        device_name: &str,
        items: &str,
        qos: QoS,
    ) -> Result<u64, ServiceError> {
        let given = members(items)?;
        if let Some(model) = self.model(product_key) {
            for (name, value) in &given {
                let property = settable(&model, name)?;
                property.data.check(name, value).map_err(ServiceError::Model)?;
            }
        }
        let id = self.calls().short_id();
        let message = self.set_request((product_key, device_name), id, items, qos)?;
        self.send(message, product_key, device_name, id).await;
        Ok(id)
    }

    /// The request to set properties.
    pub(super) fn set_request(
        &self,
        (product_key, device_name): (&str, &str),
        id: u64,
        items: &str,
        qos: QoS,
    ) -> Result<Message, ServiceError> {
        let topic =
            plain_topic(format!("/sys/{product_key}/{device_name}/thing/service/property/set"));
        let topic = topic.ok_or_else(|| ServiceError::Name(device_name.to_owned()))?;
        let payload = reply::request(r#""thing.service.property.set""#, id, items);
        let time_ms = self.now_ms();
        let (identifier, arguments) = (SET, items);
        self.note_sent(&Asked { product_key, device_name, identifier, arguments, id, time_ms });
        Ok(Message { qos, ..Message::new(topic, payload, time_ms) })
    }

    /// Sends bytes to a device and waits for the bytes that it answers: on the topic for that, or on
    /// one of the device's own. Returns the message's id, whatever becomes of it.
    pub async fn rrpc(
        &self,
        (product_key, device_name): (&str, &str),
        topic: Option<&Topic>,
        payload: Bytes,
        patience: Duration,
    ) -> (u64, Result<Bytes, CallError>) {
        let id = self.calls().long_id();
        let topics = match topic {
            None => self.system_topics(product_key, device_name, id),
            Some(own) => extended_topics(own, id),
        };
        // Names of devices that are known fit into topics.
        let Some((topic, answered_on)) = topics else { return (id, Err(CallError::Offline)) };
        let message = Message::new(topic, payload, self.now_ms());
        let request = Request { id, message, answered_on, product_key, device_name, patience };
        (id, self.call(request).await)
    }

    async fn call(&self, request: Request<'_>) -> Result<Bytes, CallError> {
        let downlink = self.downlink().ok_or(CallError::Offline)?;
        self.calls().call(downlink, request).await
    }

    /// Where a service that is waited for goes, and where its answer comes.
    fn remote_topics(
        &self,
        product_key: &str,
        device_name: &str,
        id: u64,
        asked: Option<&Topic>,
    ) -> Result<(Topic, Topic), ServiceError> {
        let extended = self.connection(product_key, device_name).is_some_and(|c| c.extended);
        let topics = match asked.filter(|_| extended) {
            Some(asked) => extended_topics(asked, id),
            None => self.system_topics(product_key, device_name, id),
        };
        topics.ok_or_else(|| ServiceError::Name(device_name.to_owned()))
    }

    fn system_topics(
        &self,
        product_key: &str,
        device_name: &str,
        id: u64,
    ) -> Option<(Topic, Topic)> {
        let topic =
            |way: &str| plain_topic(format!("/sys/{product_key}/{device_name}/rrpc/{way}/{id}"));
        Some((topic("request")?, topic("response")?))
    }

    /// Sends a request that nobody waits for, or tells rules why it was not sent.
    async fn send(&self, message: Message, product_key: &str, device_name: &str, id: u64) {
        let queued = match self.connection(product_key, device_name) {
            Some(_) => Some(self.publish_kept(&message).await),
            None => None,
        };
        let (code, text) = match queued {
            Some(Ok(true)) => return,
            Some(Ok(false)) => (429, "too many requests"),
            Some(Err(_)) => (500, "the server's store failed"),
            None if self.registry().knows_device(product_key, device_name)
                && !self.registry().is_active(product_key, device_name) =>
            {
                (9200, "device not actived")
            }
            None => (9201, "device offline"),
        };
        let who = self.who(product_key, device_name);
        let request_id = id.to_string();
        let topic = message.topic.as_str();
        let fate = Fate { request_id: &request_id, code, message: text, topic, data: "{}" };
        let now_ms = self.now_ms();
        if let Some((topic, payload)) = reply::downlink_reply(&who, &fate, now_ms) {
            self.tell_rules(Message::new(topic, payload, now_ms)).await;
        }
    }
}

/// A remote call on a topic of the device's own goes and comes on the same topic.
fn extended_topics(own: &Topic, id: u64) -> Option<(Topic, Topic)> {
    let slash = if own.as_str().starts_with('/') { "" } else { "/" };
    let topic = plain_topic(format!("/ext/rrpc/{id}{slash}{own}"))?;
    Some((topic.clone(), topic))
}

/// The property of that name, which must be one that can be set.
pub(super) fn settable<'m>(model: &'m Model, name: &str) -> Result<&'m Property, ServiceError> {
    match model.properties.get(name) {
        None => Err(ServiceError::Unknown(Misfit::unknown(name))),
        Some(property) if !property.writable => Err(ServiceError::ReadOnly(name.to_owned())),
        Some(property) => Ok(property),
    }
}

pub(super) fn members(text: &str) -> Result<Map<String, Value>, ServiceError> {
    object(text.as_bytes()).map_err(|problem| ServiceError::NotJson(problem.to_string()))
}
