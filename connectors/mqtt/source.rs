//! The `mqtt` source: subscribes to an external broker and acknowledges a message only after the
//! engine has accepted it, in order. What the broker keeps meanwhile is bounded by the receive
//! maximum; sessions and shared subscriptions are the broker's.

use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use futures_util::future::{BoxFuture, ready};
use rumqttc::mqttbytes::v5::{Publish, RetainForwardRule, SubscribeReasonCode};
use rumqttc::{
    AckMode, AsyncClient, Event, EventLoop, ManualAck, MqttOptions, Packet, PersistedAckMode,
    PersistedSession, SessionStore, SessionStoreError, SessionStoreKey, SubscribeFilterInput,
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::connection::ExternalBroker;
use crate::contract::{
    Batch, ConfigError, Device, Env, Headers, InFlight, Ingress, Message, Origin, QoS, Reconnect,
    Shutdown, Source, SourceConfig, SourceError, Topic, TopicFilter, TopicLimits, device_pair,
    now_ms,
};

/// QoS 1 messages that the broker sends before the first of them is acknowledged.
const RECEIVE_MAX: u16 = 500;

/// Messages in one batch.
const BATCH_MAX: usize = 250;

/// Messages between the socket and the engine; more wait in the socket.
const QUEUE_MAX: usize = RECEIVE_MAX as usize;

/// Room for an acknowledgement of each message, and for what else the client sends.
const REQUESTS_MAX: usize = RECEIVE_MAX as usize + 16;

/// Room in a packet for topic and properties beside the payload, in bytes.
const PACKET_REST: usize = 128 * 1024;

/// How long the broker keeps a session: with a client id from the configuration, and with a random
/// one, which only has to survive a broken connection. In seconds.
const SESSION_LASTING: u32 = 86_400;
const SESSION_SHORT: u32 = 60;

/// How long a stop waits for batches that the engine still holds, and for the broker.
const STOP_WAIT: Duration = Duration::from_secs(2);

/// Subscribes to topics of an external broker.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MqttSourceSettings {
    /// The name of an `mqtt` connection.
    connection: String,
    /// The topic filters to subscribe to.
    filters: Vec<String>,
    /// The quality of service: 0, or 1 for messages that are not lost when the daemon stops.
    #[serde(default = "at_least_once")]
    #[schemars(extend("enum" = [0, 1]))]
    qos: QoS,
    /// A group whose members share the messages (`$share/GROUP/FILTER`).
    share: Option<String>,
    /// The product key of all messages; without it, it is read from the topic.
    product_key: Option<String>,
    /// The device of all messages; goes with `product_key`.
    device_name: Option<String>,
}

fn at_least_once() -> QoS {
    QoS::AtLeastOnce
}

impl SourceConfig for MqttSourceSettings {
    const NAME: &'static str = "mqtt";
    const SUMMARY: &'static str = "Subscribes to topics of an external MQTT broker.";
    const EXAMPLE: &'static str = r##"{ connection: floor, filters: ["/#"], qos: 1 }"##;

    fn build(self, name: &str, env: &Env) -> Result<Box<dyn Source>, ConfigError> {
        if self.qos == QoS::ExactlyOnce {
            let text = "expected 0 or 1: QoS 1 loses nothing, and rules work at least once";
            return Err(ConfigError::new("qos", text));
        }
        if self.filters.is_empty() {
            return Err(ConfigError::new("filters", "name at least one topic filter"));
        }
        let filters = self
            .filters
            .iter()
            .map(|text| TopicFilter::parse(text.as_str(), env.topic_limits))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ConfigError::new("filters", error.to_string()))?;
        let plain = |group: &str| !group.is_empty() && !group.contains(['/', '+', '#']);
        if self.share.as_deref().is_some_and(|group| !plain(group)) {
            let text = "the name of a group has characters, but not `/`, `+` or `#`";
            return Err(ConfigError::new("share", text));
        }
        let device = device_pair(self.product_key, self.device_name)?;
        let device = device.map(|(product_key, device_name)| {
            Arc::new(Device { product_key: product_key.into(), device_name: device_name.into() })
        });
        Ok(Box::new(MqttSource {
            broker: env.connections.get(&self.connection, "mqtt")?,
            name: name.to_owned(),
            filters,
            qos: self.qos,
            share: self.share,
            device,
            origin: Arc::new(Origin { source: Some(name.into()), ..Origin::default() }),
            limits: env.topic_limits,
            payload_max: env.payload_max,
        }))
    }
}

struct MqttSource {
    broker: Arc<ExternalBroker>,
    name: String,
    filters: Vec<TopicFilter>,
    qos: QoS,
    share: Option<String>,
    device: Option<Arc<Device>>,
    origin: Arc<Origin>,
    limits: TopicLimits,
    payload_max: usize,
}

#[async_trait::async_trait]
impl Source for MqttSource {
    async fn run(
        self: Box<Self>,
        ingress: Arc<dyn Ingress>,
        mut shutdown: Shutdown,
    ) -> Result<(), SourceError> {
        let mut reconnect = Reconnect::default();
        while !shutdown.is_stopped() {
            let mut connected = false;
            let reason = self.session(&*ingress, shutdown.clone(), &mut connected).await;
            let Err(reason) = reason else { break };
            if shutdown.is_stopped() {
                break;
            }
            if reconnect.failed(connected) {
                tracing::warn!(
                    source = self.name,
                    "reading from MQTT failed, trying again: {reason}"
                );
            }
            reconnect.pause(&mut shutdown).await;
        }
        Ok(())
    }
}

impl MqttSource {
    fn options(&self) -> MqttOptions {
        let mut options = self.broker.options(&self.name);
        let expiry = if self.broker.lasting { SESSION_LASTING } else { SESSION_SHORT };
        let packet_max = u32::try_from(self.payload_max + PACKET_REST).unwrap_or(u32::MAX);
        options
            .set_clean_start(false)
            .set_session_expiry_interval(Some(expiry))
            .set_receive_maximum(Some(RECEIVE_MAX))
            .set_max_packet_size(Some(packet_max))
            .set_ack_mode(AckMode::Manual)
            .set_session_store(NothingSent);
        options
    }

    /// One connection, from connecting to its end: `Ok` after a stop, else why it ended.
    async fn session(
        &self,
        ingress: &dyn Ingress,
        shutdown: Shutdown,
        connected: &mut bool,
    ) -> Result<(), String> {
        let (client, events) = AsyncClient::builder(self.options()).capacity(REQUESTS_MAX).build();
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        // Neither half is dropped before the session ends: polling the client must not be cut off.
        tokio::select! {
            broken = self.drive(&client, events, sender, connected) => Err(broken),
            ended = self.pump(&client, receiver, ingress, shutdown) => ended,
        }
    }

    /// Serves the socket; returns why the connection ended.
    async fn drive(
        &self,
        client: &AsyncClient,
        mut events: EventLoop,
        messages: mpsc::Sender<Publish>,
        connected: &mut bool,
    ) -> String {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    if let Err(error) = client.try_subscribe_many(self.subscriptions()) {
                        return format!("can't subscribe: {error}");
                    }
                }
                Ok(Event::Incoming(Packet::SubAck(answer))) => {
                    let refused = |code: &&SubscribeReasonCode| {
                        !matches!(code, SubscribeReasonCode::Success(_))
                    };
                    if let Some(code) = answer.return_codes.iter().find(refused) {
                        return format!("the broker refuses a subscription: {code:?}");
                    }
                    *connected = true;
                    tracing::info!(source = self.name, broker = self.broker.shown, "subscribed");
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    // Nobody receives after a stop; the broker sends what is not acknowledged again.
                    messages.send(publish).await.ok();
                }
                Ok(_) => {}
                Err(error) => return self.broker.failure(&error).message,
            }
        }
    }

    fn subscriptions(&self) -> Vec<SubscribeFilterInput> {
        let qos = match self.qos {
            QoS::AtMostOnce => rumqttc::QoS::AtMostOnce,
            QoS::AtLeastOnce | QoS::ExactlyOnce => rumqttc::QoS::AtLeastOnce,
        };
        let input = |filter: &TopicFilter| {
            let text = match &self.share {
                Some(group) => format!("$share/{group}/{filter}"),
                None => filter.to_string(),
            };
            // A session that continues has had the retained messages already.
            SubscribeFilterInput::new(text, qos)
                .retain_forward_rule(RetainForwardRule::OnNewSubscribe)
        };
        self.filters.iter().map(input).collect()
    }

    /// Hands messages to the engine and acknowledges what it has accepted.
    async fn pump(
        &self,
        client: &AsyncClient,
        mut messages: mpsc::Receiver<Publish>,
        ingress: &dyn Ingress,
        mut shutdown: Shutdown,
    ) -> Result<(), String> {
        let mut held = InFlight::default();
        let mut arrived = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                biased;
                () = shutdown.wait() => break,
                Some((accepted, acks)) = held.next(), if !held.is_empty() => {
                    // Unacknowledged messages come again only over a new connection.
                    accepted.map_err(|error| error.to_string())?;
                    acknowledge(client, acks)?;
                }
                // Bounds QoS 0, too, which no receive maximum does.
                _ = messages.recv_many(&mut arrived, BATCH_MAX), if !held.is_full() => {
                    let (batch, acks) = self.batch(client, &mut arrived);
                    if batch.is_empty() {
                        held.push_skipped(acks);
                        continue;
                    }
                    let (batch, wait) = Batch::awaited(batch);
                    held.push(wait, acks);
                    tokio::select! {
                        () = shutdown.wait() => break,
                        () = ingress.submit(batch) => {}
                    }
                }
            }
        }
        messages.close();
        let settle = async {
            while let Some((Ok(()), acks)) = held.next().await {
                acknowledge(client, acks).ok();
            }
            client.disconnect_with_timeout(STOP_WAIT).await.ok();
            // The other half ends the session when the broker has closed the connection.
            std::future::pending::<()>().await;
        };
        tokio::time::timeout(STOP_WAIT, settle).await.ok();
        Ok(())
    }

    fn batch(
        &self,
        client: &AsyncClient,
        arrived: &mut Vec<Publish>,
    ) -> (Vec<Message>, Vec<ManualAck>) {
        let mut messages = Vec::with_capacity(arrived.len());
        let mut acks = Vec::with_capacity(arrived.len());
        for publish in arrived.drain(..) {
            acks.extend(client.prepare_ack(&publish));
            match self.message(publish) {
                Ok(message) => messages.extend(message),
                Err(reason) => {
                    tracing::warn!(source = self.name, "skipped an MQTT message: {reason}");
                }
            }
        }
        (messages, acks)
    }

    /// The message; `None` when it is left over from filters that the session had before.
    fn message(&self, publish: Publish) -> Result<Option<Message>, String> {
        let topic = ByteString::try_from(publish.topic)
            .map_err(|_| "its topic is no UTF-8".to_owned())
            .and_then(|text| Topic::parse(text, self.limits).map_err(|error| error.to_string()))?;
        if publish.payload.len() > self.payload_max {
            return Err(format!(
                "its payload on `{topic}` has {} bytes, at most {} are taken",
                publish.payload.len(),
                self.payload_max
            ));
        }
        if !self.filters.iter().any(|filter| filter.matches(&topic)) {
            return Ok(None);
        }
        let mut given = publish.properties.unwrap_or_default();
        let user = std::mem::take(&mut given.user_properties);
        let pair = |(name, value): (String, String)| (name.into(), value.into());
        let properties = (!user.is_empty()).then(|| user.into_iter().map(pair).collect());
        let headers = Headers {
            content_type: given.content_type.map(Into::into),
            response_topic: given.response_topic.map(Into::into),
            correlation_data: given.correlation_data,
        };
        Ok(Some(Message {
            device: self.device.clone(),
            qos: match publish.qos {
                rumqttc::QoS::AtMostOnce => QoS::AtMostOnce,
                _ => QoS::AtLeastOnce,
            },
            retain: publish.retain,
            properties,
            headers: (headers != Headers::default()).then(|| Arc::new(headers)),
            origin: self.origin.clone(),
            ..Message::new(topic, publish.payload, now_ms())
        }))
    }
}

/// Queues acknowledgements in order; there is room for one of each message that the broker may send.
fn acknowledge(client: &AsyncClient, acks: Vec<ManualAck>) -> Result<(), String> {
    for ack in acks {
        client.try_manual_ack(ack).map_err(|error| format!("can't acknowledge: {error}"))?;
    }
    Ok(())
}

/// The client's memory of what it has sent itself. A source sends nothing that a session would have
/// to continue, so that a session which only the broker remembers can be resumed by any client.
#[derive(Debug)]
struct NothingSent;

type Stored<'a, T> = BoxFuture<'a, Result<T, SessionStoreError>>;

impl SessionStore for NothingSent {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Stored<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: None,
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(ready(Ok(Some(session))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Stored<'a, ()> {
        Box::pin(ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Stored<'a, ()> {
        Box::pin(ready(Ok(())))
    }
}
