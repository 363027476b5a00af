//! From a published message to the queues of those who subscribed to it, and to the retained ones.
//!
//! This path does not know the engine: a subscriber gets a message whatever the rules do.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use bytestring::ByteString;
use connectors::contract::{Headers, Message, QoS, Topic};

use super::codec::{Name, Properties, Value};
use super::core::Core;
use super::counters::add;
use super::journal::{Group, Journal};
use super::outbox::Outgoing;
use super::retained::Kept;
use super::session::{Pushed, Session, Wakers};
use super::trie::{Publisher, Target};

/// What became of a published message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    /// Sessions that it was queued for.
    pub queued: usize,
    /// Sessions that could not take it: queue full, or QoS 0 and the client absent.
    pub dropped: usize,
    /// It was to be retained, and there was no room.
    pub not_retained: bool,
    /// It was queued for nobody, because what sessions are to keep cannot be written at present.
    pub refused: bool,
    /// The group of changes that it is written with, when some of it is to survive the process.
    pub(super) group: Option<Group>,
}

impl Delivered {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            queued: self.queued + other.queued,
            dropped: self.dropped + other.dropped,
            not_retained: self.not_retained || other.not_retained,
            refused: self.refused || other.refused,
            group: self.group.max(other.group),
        }
    }
}

/// A message with what only MQTT knows of it.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    pub message: Message,
    /// What is passed on to MQTT 5 subscribers (MQTT 5.0 §3.3.2.3).
    pub properties: Properties,
    pub expires_ms: Option<u64>,
}

/// A message as it waits in queues; many queues share one.
#[derive(Debug)]
pub(super) struct Routed {
    pub topic: Topic,
    pub payload: Bytes,
    pub properties: Properties,
    pub expires_ms: Option<u64>,
    /// The publisher's QoS.
    pub qos: QoS,
    /// Bytes that it counts for in limits; at least 64.
    pub size: usize,
}

/// What a message counts for beside its topic, payload and properties, in bytes.
const OVERHEAD: usize = 64;

impl Publication {
    /// A message from inside the daemon; its properties become user properties.
    pub(super) fn from_message(message: Message) -> Self {
        let mut properties = Properties::default();
        let fits = |text: &ByteString| text.len() <= usize::from(u16::MAX);
        for (key, value) in message.properties.iter().flat_map(|list| list.iter()) {
            if fits(key) && fits(value) {
                properties.push(Name::User, Value::Pair(key.clone(), value.clone()));
            }
        }
        if let Some(headers) = &message.headers {
            for (name, text) in [
                (Name::ContentType, &headers.content_type),
                (Name::ResponseTopic, &headers.response_topic),
            ] {
                if let Some(text) = text.as_ref().filter(|text| fits(text)) {
                    properties.push(name, Value::Text(text.clone()));
                }
            }
            let data = headers.correlation_data.as_ref();
            if let Some(data) = data.filter(|data| data.len() <= usize::from(u16::MAX)) {
                properties.push(Name::CorrelationData, Value::Binary(data.clone()));
            }
        }
        Self { message, properties, expires_ms: None }
    }

    /// Takes over the properties of a PUBLISH or a will: those that are passed on, the expiry, and
    /// what the engine sees too: user properties, content type and what an answer needs.
    pub(super) fn new(mut message: Message, mut properties: Properties) -> Self {
        let mut expires_ms = None;
        if !properties.is_empty() {
            if let Some(seconds) = properties.number(Name::MessageExpiry) {
                expires_ms = Some(message.received_ms.saturating_add(u64::from(seconds) * 1_000));
            }
            properties.retain(|property| {
                matches!(
                    property.name,
                    Name::PayloadFormat
                        | Name::ContentType
                        | Name::ResponseTopic
                        | Name::CorrelationData
                        | Name::User
                )
            });
            let user: Vec<_> =
                properties.user().map(|(key, value)| (key.clone(), value.clone())).collect();
            if !user.is_empty() {
                message.properties = Some(user.into());
            }
            let headers = Headers {
                content_type: properties.text(Name::ContentType).cloned(),
                response_topic: properties.text(Name::ResponseTopic).cloned(),
                correlation_data: match properties.get(Name::CorrelationData) {
                    Some(Value::Binary(data)) => Some(data.clone()),
                    _ => None,
                },
            };
            if headers != Headers::default() {
                message.headers = Some(Arc::new(headers));
            }
        }
        Self { message, properties, expires_ms }
    }

    fn routed(&self) -> Routed {
        let Message { topic, payload, qos, .. } = &self.message;
        let properties = self.properties.clone();
        Routed::new(topic.clone(), payload.clone(), properties, self.expires_ms, *qos)
    }

    /// The same in memory of its own: a small message must not keep the buffer of up to 64 KiB that
    /// it was read with.
    fn copied(&self, core: &Core) -> Routed {
        let mut routed = self.routed();
        let text = ByteString::from(routed.topic.as_str());
        if let Ok(topic) = Topic::parse(text, core.topics) {
            routed.topic = topic;
        }
        routed.payload = Bytes::copy_from_slice(&routed.payload);
        routed.properties = routed.properties.copied();
        routed
    }
}

impl Routed {
    pub(super) fn new(
        topic: Topic,
        payload: Bytes,
        properties: Properties,
        expires_ms: Option<u64>,
        qos: QoS,
    ) -> Self {
        let size = OVERHEAD + topic.as_str().len() + payload.len() + properties.encoded_len();
        Self { topic, payload, properties, expires_ms, qos, size }
    }

    /// The properties of the PUBLISH to a subscriber: what was published, what is left of the
    /// expiry at `now_ms`, and the identifiers of the subscriptions.
    pub(super) fn properties_for(&self, ids: &[u32], now_ms: u64) -> Cow<'_, Properties> {
        if ids.is_empty() && self.expires_ms.is_none() {
            return Cow::Borrowed(&self.properties);
        }
        let mut properties = self.properties.clone();
        if let Some(at) = self.expires_ms {
            let left = at.saturating_sub(now_ms).div_ceil(1_000);
            let left = u32::try_from(left).unwrap_or(u32::MAX);
            properties.push(Name::MessageExpiry, Value::Long(left));
        }
        for &id in ids {
            properties.push(Name::SubscriptionId, Value::Var(id));
        }
        Cow::Owned(properties)
    }
}

impl Core {
    /// Queues a message for all who subscribed to its topic, and keeps it when it is retained.
    /// Never waits. The caller wakes the `wakers` after the last message of a batch.
    pub(super) fn route(
        &self,
        publication: &Publication,
        from: Publisher,
        wakers: &mut Wakers,
    ) -> Delivered {
        self.route_to(publication, from, None, wakers)
    }

    /// The same, and to one session whether it has subscribed or not, once.
    fn route_to(
        &self,
        publication: &Publication,
        from: Publisher,
        addressee: Option<Arc<Session>>,
        wakers: &mut Wakers,
    ) -> Delivered {
        let mut delivered = Delivered::default();
        let message = &publication.message;
        let mut targets =
            self.trie.read().unwrap_or_else(PoisonError::into_inner).matches(&message.topic, from);
        if let Some(session) = addressee
            && targets.iter().all(|target| target.session.number != session.number)
        {
            targets.push(Target::without_subscription(session));
        }
        if self.must_refuse(message, &targets) {
            delivered.refused = true;
            return delivered;
        }
        if message.retain {
            let (kept, group) = self.keep(publication);
            delivered.not_retained = kept == Kept::Full;
            delivered.group = group.filter(|_| message.qos.is_acknowledged());
        }
        let (mut shared, mut copied) = (None, None);
        for target in targets {
            let qos = target.qos.min(message.qos);
            let needs_copy = qos.is_acknowledged() || target.session.is_backlogged();
            let routed = if needs_copy {
                copied.get_or_insert_with(|| Arc::new(publication.copied(self)))
            } else {
                shared.get_or_insert_with(|| Arc::new(publication.routed()))
            };
            let outgoing = Outgoing {
                routed: Arc::clone(routed),
                qos,
                retain: message.retain && target.retain_as_published,
                ids: target.ids,
                shared: target.shared,
            };
            match target.session.push(outgoing, self, wakers) {
                Pushed::Queued(group) => {
                    delivered.queued += 1;
                    delivered.group = delivered.group.max(group);
                }
                Pushed::Dropped => delivered.dropped += 1,
            }
        }
        delivered
    }

    /// True when the message would be promised to somebody, and that cannot be written at present. It
    /// comes again, and would be queued again.
    fn must_refuse(&self, message: &Message, targets: &[Target]) -> bool {
        let failing = self.journal.as_ref().is_some_and(Journal::is_failing);
        let kept = |target: &Target| target.qos.is_acknowledged() && target.session.is_kept();
        failing && message.qos.is_acknowledged() && (message.retain || targets.iter().any(kept))
    }

    /// Routes one message of the daemon's own and wakes who got it.
    pub(super) fn route_now(&self, publication: &Publication) -> Delivered {
        let mut wakers = Wakers::new();
        let delivered = self.route(publication, Publisher::NOBODY, &mut wakers);
        for waker in wakers {
            waker.wake();
        }
        delivered
    }

    /// Routes a message that the daemon publishes, also to the client that the topic is for.
    pub(super) fn route_downlink(&self, publication: &Publication) -> Delivered {
        let addressee = self.hooks.acl.addressee(&publication.message.topic);
        let session = addressee.and_then(|id| self.lock_sessions().by_client.get(&id).cloned());
        let mut wakers = Wakers::new();
        let delivered = self.route_to(publication, Publisher::NOBODY, session, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        delivered
    }

    /// Gives messages of a session that has ended to another member of their shared subscription each
    /// (MQTT 5.0 §4.8.2).
    pub(super) fn hand_on(&self, back: Vec<Outgoing>) {
        let mut wakers = Wakers::new();
        for outgoing in back {
            let trie = self.trie.read().unwrap_or_else(PoisonError::into_inner);
            let member = outgoing.shared.as_ref().and_then(|wanted| trie.member(wanted));
            drop(trie);
            let Some((session, qos)) = member else {
                add(&self.counters.dropped_session, 1);
                continue;
            };
            let outgoing = Outgoing { qos: qos.min(outgoing.routed.qos), ..outgoing };
            session.push(outgoing, self, &mut wakers);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Keeps a retained message, or forgets the topic's when the payload is empty.
    fn keep(&self, publication: &Publication) -> (Kept, Option<Group>) {
        let message = &publication.message;
        let fresh = (!message.payload.is_empty()).then(|| Arc::new(publication.copied(self)));
        let mut retained = self.retained.write().unwrap_or_else(PoisonError::into_inner);
        let kept = match fresh {
            None => {
                retained.clear(&message.topic);
                Kept::Yes
            }
            Some(fresh) => retained.keep(fresh, &self.limits, message.received_ms),
        };
        let note = |journal: &Journal| journal.note_retained(&self.counters);
        let group = self.journal.as_ref().map(note);
        self.counters.retained.store(retained.len() as u64, std::sync::atomic::Ordering::Relaxed);
        drop(retained);
        if kept == Kept::Full {
            add(&self.counters.refused_retained, 1);
        }
        (kept, group)
    }
}
