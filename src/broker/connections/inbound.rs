//! What the packets of a client mean: messages, subscriptions, acknowledgements, the goodbye.
//!
//! Nothing here waits: what has to wait is left in the connection's state.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use bytestring::ByteString;
use contract::{Ack, AckWhen, Batch, Message, QoS, Topic, TopicError};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::{Close, Connection, NOT_KEPT};
use super::owed::{Answer, AnswerKind, Decision, Owed};
use crate::codec::{
    self, AckKind, DecodeError, Disconnect, Name, Packet, Properties, Publish, Reason, SubAck,
    Subscribe, SubscribeTo, Unsubscribe, Version,
};
use crate::counters::add;
use crate::sessions::{
    Acked, Group, Leave, Publication, Publisher, Receipt, Terms, Wakers, Wanted,
};

/// What one read has led to beside the state of the connection.
#[derive(Default)]
struct Round {
    wakers: Wakers,
    /// What the client says about messages that it got.
    acknowledged: SmallVec<[Acked; 16]>,
    packets: usize,
    /// Messages for the engine, and the bytes of their payloads.
    received: usize,
    payload_bytes: usize,
    /// The last group of changes that something of it is written with.
    group: Option<Group>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Connection<IO> {
    /// Takes the complete packets of what was read and keeps the rest. Messages before an error are
    /// taken all the same.
    pub(super) fn absorb(&mut self, input: BytesMut) -> Result<(), Close> {
        let chunk = input.freeze();
        let most = self.core.limits().packet_bytes as usize;
        let mut round = Round::default();
        let mut at = 0;
        self.needed = 0;
        let outcome = loop {
            let left = chunk.get(at..).unwrap_or_default();
            let len = match codec::frame_len(left, most) {
                Ok(Some(len)) => len,
                Ok(None) => break Ok(()),
                Err(error) => break Err(self.broken(error)),
            };
            if len > left.len() {
                self.needed = len;
                break Ok(());
            }
            let outcome = codec::decode_in(&chunk, at, at + len, self.version)
                .map_err(|error| self.broken(error))
                .and_then(|packet| self.handle(packet, &mut round));
            at += len;
            round.packets += 1;
            if outcome.is_err() {
                break outcome;
            }
        };
        let mut chunk = chunk;
        chunk.advance(at);
        if outcome.is_ok() && !chunk.is_empty() {
            self.input.extend_from_slice(&chunk);
        }
        self.close_round(round);
        outcome
    }

    fn close_round(&mut self, round: Round) {
        for waker in round.wakers {
            waker.wake();
        }
        if !round.acknowledged.is_empty() {
            let (generation, mut unknown) = (self.generation, Vec::new());
            self.session.acknowledge(
                generation,
                &round.acknowledged,
                self.core.shared(),
                &mut unknown,
            );
            for packet_id in unknown {
                self.answer(AckKind::PubRel, packet_id, Reason::PACKET_ID_NOT_FOUND);
            }
        }
        let answers = std::mem::take(&mut self.answers);
        let messages = std::mem::take(&mut self.batch);
        add(&self.core.counters().packets_received, round.packets);
        if round.received > 0 {
            add(&self.core.counters().messages_received, round.received);
            add(&self.core.counters().payload_bytes_received, round.payload_bytes);
        }
        if answers.is_empty() {
            if !messages.is_empty() {
                self.offer(Batch::unacknowledged(messages));
            }
            return;
        }
        let (batch, accepted) = match messages.is_empty() {
            true => (None, None),
            false => {
                let (batch, accepted) = Batch::awaited(messages);
                (Some(batch), Some(accepted))
            }
        };
        let decision = accepted.map(|accepted| Box::pin(accepted.wait()) as Decision);
        let repeated = std::mem::take(&mut self.repeated);
        let stored = self.until_stored(round.group);
        let (packets, is_sub_ack) = (Vec::new(), false);
        self.owed.push_back(Owed { decision, stored, repeated, answers, packets, is_sub_ack });
        if let Some(batch) = batch {
            self.offer(batch);
        }
    }

    fn broken(&self, error: DecodeError) -> Close {
        let note = match error {
            DecodeError::Malformed(note) | DecodeError::Protocol(note) => note,
            DecodeError::TooLarge { .. } => "the packet is larger than allowed",
            _ => "the packet cannot be read",
        };
        self.wrong(error.reason(), note)
    }

    fn wrong(&self, reason: Reason, note: &'static str) -> Close {
        add(&self.core.counters().protocol_errors, 1);
        Close::Broker(reason, note)
    }

    fn handle(&mut self, packet: Packet, round: &mut Round) -> Result<(), Close> {
        match packet {
            Packet::Publish(publish) => self.publish(publish, round),
            Packet::PubAck(ack) => {
                round.acknowledged.push(Acked::Ack(ack.packet_id));
                Ok(())
            }
            Packet::PubRec(ack) => {
                round.acknowledged.push(Acked::Received(ack.packet_id, ack.reason));
                Ok(())
            }
            Packet::PubComp(ack) => {
                round.acknowledged.push(Acked::Complete(ack.packet_id));
                Ok(())
            }
            Packet::PubRel(ack) => {
                self.unreleased = self.unreleased.saturating_sub(1);
                match self.session.release(self.generation, ack.packet_id, self.core.shared()) {
                    None => {
                        let reason = Reason::PACKET_ID_NOT_FOUND;
                        self.answer(AckKind::PubComp, ack.packet_id, reason);
                    }
                    // Before, the identifier might stand for the old message again after a crash.
                    Some(group) => {
                        let (reason, properties) = (Reason::SUCCESS, Properties::default());
                        let done = codec::Ack { packet_id: ack.packet_id, reason, properties };
                        self.answer_stored(group, &Packet::PubComp(done));
                    }
                }
                Ok(())
            }
            Packet::Subscribe(subscribe) => self.subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe),
            Packet::PingReq => {
                self.say(&Packet::PingResp);
                Ok(())
            }
            Packet::Disconnect(end) => Err(self.goodbye(&end)),
            _ => Err(self.wrong(Reason::PROTOCOL_ERROR, "a client may not send this packet now")),
        }
    }

    fn publish(&mut self, publish: Publish, round: &mut Round) -> Result<(), Close> {
        let Publish { qos, retain, topic, packet_id, payload, topic_alias, properties, .. } =
            publish;
        if qos > 0 {
            self.count_open()?;
        }
        self.check_properties(&properties)?;
        // First of all: the client takes its alias for noted, whatever becomes of the message.
        let Ok(topic) = self.topic_of(topic, topic_alias)? else {
            return self.refuse_topic(qos, packet_id);
        };
        let refusal = if payload.len() > self.core.payload_max {
            Some((&self.core.counters().refused_payload, Reason::QUOTA_EXCEEDED))
        } else if !self.core.may_publish(&self.identity, &topic) {
            Some((&self.core.counters().refused_acl, Reason::NOT_AUTHORIZED))
        } else {
            None
        };
        let mut is_routed = false;
        // The identifier and what subscribers get: never one of them without the other.
        let core = (qos == 2).then(|| Arc::clone(&self.core));
        let whole = core.as_ref().and_then(|core| core.shared().whole());
        if qos == 2 {
            let refused = refusal.is_some();
            let (receipt, group) =
                self.session.receive(self.generation, packet_id, refused, self.core.shared());
            round.group = round.group.max(group);
            match receipt {
                Receipt::New => {}
                Receipt::Routed => is_routed = true,
                receipt => {
                    // The first time it may not have come as far as the disk.
                    round.group = round.group.max(self.core.shared().latest());
                    self.answer_again(packet_id, receipt);
                    return Ok(());
                }
            }
        }
        if let Some((counter, reason)) = refusal {
            add(counter, 1);
            tracing::debug!(client = &*self.identity.client_id, %topic, ?reason, "a message is refused");
            self.object(reason, &topic, &payload);
            // MQTT-3.3.5-2 of MQTT 3.1.1: acknowledge or close. A closed client would only repeat.
            self.owe(qos, packet_id, reason, false);
            return Ok(());
        }
        let publication = self.publication(qos, retain, topic, payload, properties);
        let mut reason = Reason::SUCCESS;
        if !is_routed {
            let echoes = self.core.hooks.acl.echoes(&self.identity, &publication.message.topic);
            let from = Publisher { session: self.session.number, echoes };
            let delivered = self.core.sessions.route(&publication, from, &mut round.wakers);
            if delivered.refused {
                if qos == 2 {
                    self.session.forget(std::iter::once(packet_id), self.core.shared());
                }
                return Err(NOT_KEPT);
            }
            round.group = round.group.max(delivered.group);
            if delivered.not_retained {
                reason = Reason::QUOTA_EXCEEDED;
            }
        }
        drop(whole);
        self.owe(qos, packet_id, reason, true);
        round.payload_bytes += publication.message.payload.len();
        self.batch.push(publication.message);
        round.received += 1;
        Ok(())
    }

    /// Tells the client, as a message, that it may not publish there.
    fn object(&self, reason: Reason, topic: &Topic, payload: &[u8]) {
        if reason != Reason::NOT_AUTHORIZED {
            return;
        }
        if let Some(told) = self.core.hooks.acl.objection(&self.identity, topic, payload) {
            let client = &self.identity.client_id;
            // A client that does not read is told nothing more once its queue is full.
            let told = Publication::from_message(told);
            let _queued = self.core.sessions.route_downlink(&told, Some(client));
        }
    }

    /// One more message that is to be answered.
    fn count_open(&mut self) -> Result<(), Close> {
        self.unacknowledged += 1;
        let window = usize::from(self.core.limits().receive_max.max(1));
        match self.unacknowledged + self.unreleased > window && self.version.is_5() {
            true => Err(self.wrong(Reason::RECEIVE_MAXIMUM, "more than the receive maximum")),
            false => Ok(()),
        }
    }

    /// A message of the client with what only MQTT knows of it.
    fn publication(
        &self,
        qos: u8,
        retain: bool,
        topic: Topic,
        payload: Bytes,
        properties: Properties,
    ) -> Publication {
        let device = self.core.hooks.acl.publisher(&self.identity, &topic);
        let message = Message {
            topic,
            payload,
            id: 0,
            received_ms: self.core.now_ms(),
            device,
            qos: QoS::try_from(qos).unwrap_or(QoS::ExactlyOnce),
            retain,
            properties: None,
            headers: None,
            origin: Arc::clone(&self.origin),
            hops: 0,
            position: None,
        };
        Publication::new(message, properties)
    }

    /// Remembers what a message is to be answered with. `asked`: the engine has it.
    fn owe(&mut self, qos: u8, packet_id: u16, reason: Reason, asked: bool) {
        let kind = match (qos, asked) {
            (0, _) => return,
            (1, _) => AnswerKind::Once,
            (_, true) => AnswerKind::ExactlyOnce,
            (_, false) => AnswerKind::Again,
        };
        self.answers.push(Answer { kind, packet_id, reason });
    }

    /// Answers a message of QoS 2 that was taken before.
    fn answer_again(&mut self, packet_id: u16, receipt: Receipt) {
        if receipt == Receipt::Stale {
            // Another connection has the session: nothing is answered here any more.
            return;
        }
        let of_this_read = |answer: &Answer| {
            answer.kind == AnswerKind::ExactlyOnce && answer.packet_id == packet_id
        };
        if receipt == Receipt::Undecided && !self.answers.iter().any(of_this_read) {
            self.repeated.push(packet_id);
        }
        self.owe(2, packet_id, Reason::SUCCESS, false);
    }

    /// The topic that a PUBLISH is for; `Ok(Err(_))` when it is no topic name.
    fn topic_of(
        &mut self,
        text: ByteString,
        alias: Option<u16>,
    ) -> Result<Result<Topic, TopicError>, Close> {
        if text.is_empty() && alias.is_none() && self.version.is_5() {
            return Err(self.wrong(Reason::PROTOCOL_ERROR, "neither a topic nor a topic alias"));
        }
        let most = self.core.limits().topic_aliases;
        let found = self.aliases.topic(text, alias, most, self.core.topics());
        found.map_err(|(reason, note)| self.wrong(reason, note))
    }

    /// What a client may not say in PUBLISH (MQTT 5.0 §3.3.2.3).
    fn check_properties(&self, properties: &Properties) -> Result<(), Close> {
        if properties.is_empty() {
            return Ok(());
        }
        if properties.get(Name::SubscriptionId).is_some() {
            let note = "only the broker sends subscription identifiers in PUBLISH";
            return Err(self.wrong(Reason::PROTOCOL_ERROR, note));
        }
        let reply = properties.text(Name::ResponseTopic);
        if reply.is_some_and(|topic| topic.is_empty() || topic.contains(['+', '#'])) {
            return Err(self.wrong(Reason::PROTOCOL_ERROR, "the response topic is no topic name"));
        }
        Ok(())
    }

    /// A topic name that is not acceptable: refused where the protocol can say so, else the end.
    fn refuse_topic(&mut self, qos: u8, packet_id: u16) -> Result<(), Close> {
        add(&self.core.counters().refused_topic, 1);
        if qos > 0 && self.version.is_5() {
            self.owe(qos, packet_id, Reason::TOPIC_INVALID, false);
            return Ok(());
        }
        Err(Close::Broker(Reason::TOPIC_INVALID, "the topic name is not acceptable"))
    }

    fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), Close> {
        let id = subscribe.properties.number(Name::SubscriptionId);
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let mut stored = None;
        for (at, to) in subscribe.filters.iter().enumerate() {
            let outcome = match at < self.core.limits().filters_per_packet {
                true => self.subscribe_to(to, id)?,
                false => Err(Reason::QUOTA_EXCEEDED),
            };
            if let Err(reason) = &outcome {
                let (client, filter) = (&*self.identity.client_id, &*to.filter);
                tracing::debug!(client, filter, ?reason, "a subscription is refused");
            }
            reasons.push(match (outcome, self.version) {
                (Ok((qos, group)), _) => {
                    stored = stored.max(group);
                    Reason(qos.level())
                }
                (Err(reason), Version::V5) => reason,
                (Err(_), Version::V311) => Reason::UNSPECIFIED,
                // MQTT 3.1 §3.9 has no refusal: the client is told that all is well and gets nothing.
                (Err(_), Version::V31) => Reason(to.qos),
            });
        }
        let packet_id = subscribe.packet_id;
        let ack = SubAck { packet_id, reasons, properties: Properties::default() };
        self.answer_stored(stored, &Packet::SubAck(ack));
        Ok(())
    }

    /// Writes a packet once what it confirms is on disk.
    fn answer_stored(&mut self, group: Option<Group>, packet: &Packet) {
        let Some(stored) = self.until_stored(group) else {
            return self.say(packet);
        };
        let mut packets = Vec::new();
        codec::encode(packet, self.version, &mut packets);
        let is_sub_ack = matches!(packet, Packet::SubAck(_));
        self.unconfirmed += usize::from(is_sub_ack);
        self.owed.push_back(Owed::packets(packets, is_sub_ack, stored));
    }

    /// `None` when there is nothing to wait for.
    fn until_stored(&self, group: Option<Group>) -> Option<Decision> {
        let group = group.filter(|_| self.core.ack == AckWhen::Durable)?;
        let (mut ack, stored) = Ack::pair();
        self.core.shared().hold(Some(group), &mut ack);
        ack.accept();
        Some(Box::pin(stored.wait()))
    }

    /// One topic filter: the granted QoS and what it is written with, or why not.
    fn subscribe_to(
        &self,
        to: &SubscribeTo,
        id: Option<u32>,
    ) -> Result<Result<(QoS, Option<Group>), Reason>, Close> {
        let Ok(wanted) = Wanted::parse(&to.filter, self.core.topics()) else {
            return Ok(Err(Reason::FILTER_INVALID));
        };
        if wanted.group.is_some() && to.no_local {
            let note = "a shared subscription cannot be No Local (MQTT-3.8.3-4)";
            return Err(self.wrong(Reason::PROTOCOL_ERROR, note));
        }
        if !self.core.hooks.acl.subscribe(&self.identity, &wanted.filter) {
            return Ok(Err(Reason::NOT_AUTHORIZED));
        }
        let qos = QoS::try_from(to.qos).unwrap_or(QoS::ExactlyOnce);
        let (no_local, retain_as_published) = (to.no_local, to.retain_as_published);
        let terms = Terms { qos, id, no_local, retain_as_published };
        let subscribed = self.core.sessions.subscribe(
            &self.session,
            self.generation,
            &to.filter,
            &wanted,
            terms,
        );
        let (is_new, group) = match subscribed {
            Ok(subscribed) => subscribed,
            Err(reason) => return Ok(Err(reason)),
        };
        let wants_retained = match to.retain_handling {
            0 => true,
            1 => is_new,
            _ => false,
        };
        let mut group = group;
        if wants_retained && wanted.group.is_none() {
            // They come once: they are as safe as the subscription. They are written after SUBACK, which
            // is in the buffer before the queue is looked at again.
            group = group.max(self.core.sessions.push_retained(&self.session, &wanted, terms));
        }
        Ok(Ok((qos, group)))
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), Close> {
        let mut stored = None;
        let end = |filter: &ByteString| match self.core.sessions.unsubscribe(
            &self.session,
            self.generation,
            filter,
        ) {
            Some(group) => {
                stored = stored.max(group);
                Reason::SUCCESS
            }
            None => Reason::NO_SUBSCRIPTION_EXISTED,
        };
        let ack = SubAck {
            packet_id: unsubscribe.packet_id,
            reasons: unsubscribe.filters.iter().map(end).collect(),
            properties: Properties::default(),
        };
        self.answer_stored(stored, &Packet::UnsubAck(ack));
        Ok(())
    }

    fn goodbye(&self, end: &Disconnect) -> Close {
        let wanted = end.properties.number(Name::SessionExpiry);
        if wanted.is_some_and(|seconds| seconds > 0) && !self.may_raise_expiry {
            let note = "DISCONNECT cannot keep a session that CONNECT did not keep";
            return self.wrong(Reason::PROTOCOL_ERROR, note);
        }
        let most = self.core.limits().session_expiry_s;
        Close::Goodbye {
            reason: end.reason,
            leave: Leave {
                // Only a normal disconnection makes the will void (MQTT 5.0 §3.14.4).
                will_is_void: end.reason == Reason::SUCCESS,
                expiry_s: wanted.map(|seconds| seconds.min(most)),
            },
        }
    }
}
