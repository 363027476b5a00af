//! The properties of MQTT 5.0 §2.2.2: names, kinds, and the packets in which each may stand.
//!
//! One table holds these facts; decoding and encoding read it.

use bytes::Bytes;
use bytestring::ByteString;

use super::wire::{DecodeError, Reader, TEXT_MAX, put_binary, put_var, var_len};

/// The name of a property with its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of MQTT 5.0 §2.2.2.2")]
pub enum Name {
    PayloadFormat = 1,
    MessageExpiry = 2,
    ContentType = 3,
    ResponseTopic = 8,
    CorrelationData = 9,
    SubscriptionId = 11,
    SessionExpiry = 17,
    AssignedClientId = 18,
    ServerKeepAlive = 19,
    AuthMethod = 21,
    AuthData = 22,
    RequestProblem = 23,
    WillDelay = 24,
    RequestResponse = 25,
    ResponseInfo = 26,
    ServerReference = 28,
    ReasonString = 31,
    ReceiveMaximum = 33,
    TopicAliasMaximum = 34,
    TopicAlias = 35,
    MaximumQoS = 36,
    RetainAvailable = 37,
    User = 38,
    MaximumPacket = 39,
    WildcardAvailable = 40,
    SubscriptionIdAvailable = 41,
    SharedAvailable = 42,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// One byte.
    Byte(u8),
    /// Two bytes.
    Short(u16),
    /// Four bytes.
    Long(u32),
    /// A variable byte integer.
    Var(u32),
    /// UTF-8.
    Text(ByteString),
    /// Any bytes.
    Binary(Bytes),
    /// A user property.
    Pair(ByteString, ByteString),
}

/// A property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Its name.
    pub name: Name,
    /// Its value, of the kind that the name demands.
    pub value: Value,
}

/// The properties of a packet in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties(Vec<Property>);

/// Where properties can stand; one bit each in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Place {
    Connect = 1,
    ConnAck = 2,
    Publish = 4,
    Will = 8,
    Ack = 16,
    Subscribe = 32,
    SubAck = 64,
    Unsubscribe = 128,
    Disconnect = 256,
    Auth = 512,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// One byte that must be 0 or 1.
    Flag,
    Short,
    Long,
    Var,
    Text,
    Binary,
    Pair,
}

const CO: u16 = Place::Connect as u16;
const CA: u16 = Place::ConnAck as u16;
const PU: u16 = Place::Publish as u16;
const WI: u16 = Place::Will as u16;
const AK: u16 = Place::Ack as u16;
const SU: u16 = Place::Subscribe as u16;
const SA: u16 = Place::SubAck as u16;
const UN: u16 = Place::Unsubscribe as u16;
const DI: u16 = Place::Disconnect as u16;
const AU: u16 = Place::Auth as u16;
const ALL: u16 = CO | CA | PU | WI | AK | SU | SA | UN | DI | AU;

/// MQTT 5.0 §2.2.2.2, table 2-4, in the order of the identifiers.
const TABLE: [(Name, Kind, u16); 27] = [
    (Name::PayloadFormat, Kind::Flag, PU | WI),
    (Name::MessageExpiry, Kind::Long, PU | WI),
    (Name::ContentType, Kind::Text, PU | WI),
    (Name::ResponseTopic, Kind::Text, PU | WI),
    (Name::CorrelationData, Kind::Binary, PU | WI),
    (Name::SubscriptionId, Kind::Var, PU | SU),
    (Name::SessionExpiry, Kind::Long, CO | CA | DI),
    (Name::AssignedClientId, Kind::Text, CA),
    (Name::ServerKeepAlive, Kind::Short, CA),
    (Name::AuthMethod, Kind::Text, CO | CA | AU),
    (Name::AuthData, Kind::Binary, CO | CA | AU),
    (Name::RequestProblem, Kind::Flag, CO),
    (Name::WillDelay, Kind::Long, WI),
    (Name::RequestResponse, Kind::Flag, CO),
    (Name::ResponseInfo, Kind::Text, CA),
    (Name::ServerReference, Kind::Text, CA | DI),
    (Name::ReasonString, Kind::Text, CA | AK | SA | DI | AU),
    (Name::ReceiveMaximum, Kind::Short, CO | CA),
    (Name::TopicAliasMaximum, Kind::Short, CO | CA),
    (Name::TopicAlias, Kind::Short, PU),
    (Name::MaximumQoS, Kind::Flag, CA),
    (Name::RetainAvailable, Kind::Flag, CA),
    (Name::User, Kind::Pair, ALL),
    (Name::MaximumPacket, Kind::Long, CO | CA),
    (Name::WildcardAvailable, Kind::Flag, CA),
    (Name::SubscriptionIdAvailable, Kind::Flag, CA),
    (Name::SharedAvailable, Kind::Flag, CA),
];

impl Properties {
    /// True without any property.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All properties in order.
    pub fn iter(&self) -> impl Iterator<Item = &Property> {
        self.0.iter()
    }

    /// Adds a property at the end; `value` must be of the kind that the name demands.
    pub fn push(&mut self, name: Name, value: Value) {
        self.0.push(Property { name, value });
    }

    /// Adds a property and returns the list, to build one in an expression.
    #[must_use]
    pub fn with(mut self, name: Name, value: Value) -> Self {
        self.push(name, value);
        self
    }

    /// Keeps the properties for which `keep` is true.
    pub fn retain(&mut self, keep: impl FnMut(&Property) -> bool) {
        self.0.retain(keep);
    }

    /// The first value of that name.
    #[must_use]
    pub fn get(&self, name: Name) -> Option<&Value> {
        self.0.iter().find(|property| property.name == name).map(|property| &property.value)
    }

    /// A value that is a number.
    #[must_use]
    pub fn number(&self, name: Name) -> Option<u32> {
        match *self.get(name)? {
            Value::Byte(value) => Some(u32::from(value)),
            Value::Short(value) => Some(u32::from(value)),
            Value::Long(value) | Value::Var(value) => Some(value),
            _ => None,
        }
    }

    /// A value that is text.
    #[must_use]
    pub fn text(&self, name: Name) -> Option<&ByteString> {
        match self.get(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The user properties in order.
    pub fn user(&self) -> impl Iterator<Item = (&ByteString, &ByteString)> {
        self.0.iter().filter_map(|property| match &property.value {
            Value::Pair(key, value) => Some((key, value)),
            _ => None,
        })
    }

    /// The same properties in memory of their own, so that they do not keep what they were read from.
    #[must_use]
    pub fn copied(&self) -> Self {
        let copy = |property: &Property| Property {
            name: property.name,
            value: match &property.value {
                Value::Text(text) => Value::Text(ByteString::from(&**text)),
                Value::Binary(bytes) => Value::Binary(Bytes::copy_from_slice(bytes)),
                Value::Pair(key, value) => {
                    Value::Pair(ByteString::from(&**key), ByteString::from(&**value))
                }
                number => number.clone(),
            },
        };
        Self(self.0.iter().map(copy).collect())
    }

    /// Bytes of all properties on the wire, without the length before them.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.0.iter().map(|property| 1 + value_len(&property.value)).sum()
    }

    /// The properties as they stand in a PUBLISH of MQTT 5.0, with their length before them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_var(&mut out, u32::try_from(self.encoded_len()).unwrap_or(u32::MAX));
        self.encode(&mut out);
        out
    }

    /// Reads what [`Properties::to_bytes`] has written.
    ///
    /// # Errors
    /// A [`DecodeError`] that names what is wrong.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, DecodeError> {
        Self::decode(&mut Reader::of(bytes), Place::Publish)
    }

    /// Writes the properties without the length before them.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for property in &self.0 {
            out.push(property.name as u8);
            match &property.value {
                Value::Byte(value) => out.push(*value),
                Value::Short(value) => out.extend_from_slice(&value.to_be_bytes()),
                Value::Long(value) => out.extend_from_slice(&value.to_be_bytes()),
                Value::Var(value) => put_var(out, *value),
                Value::Text(text) => put_binary(out, text.as_bytes()),
                Value::Binary(bytes) => put_binary(out, bytes),
                Value::Pair(key, value) => {
                    put_binary(out, key.as_bytes());
                    put_binary(out, value.as_bytes());
                }
            }
        }
    }

    /// Reads the length and the properties that follow it.
    pub(super) fn decode(from: &mut Reader<'_>, place: Place) -> Result<Self, DecodeError> {
        let mut list = Vec::new();
        Self::each(from, place, |property| list.push(property))?;
        Ok(Self(list))
    }

    /// The properties of a PUBLISH, and apart from them its topic alias, which takes no memory.
    pub(super) fn of_publish(from: &mut Reader<'_>) -> Result<(Self, Option<u16>), DecodeError> {
        let (mut list, mut alias) = (Vec::new(), None);
        Self::each(from, Place::Publish, |property| match property {
            Property { name: Name::TopicAlias, value: Value::Short(number) } => {
                alias = Some(number)
            }
            other => list.push(other),
        })?;
        Ok((Self(list), alias))
    }

    fn each(
        from: &mut Reader<'_>,
        place: Place,
        mut take: impl FnMut(Property),
    ) -> Result<(), DecodeError> {
        let len = from.var()?;
        let mut part = from.part(len as usize)?;
        let mut seen = 0_u64;
        while !part.is_empty() {
            let property = Property::decode(&mut part, place)?;
            let bit = 1_u64 << property.name as u8;
            let repeats = property.name == Name::User
                || (property.name == Name::SubscriptionId && place == Place::Publish);
            if seen & bit != 0 && !repeats {
                return Err(DecodeError::Protocol("a property stands twice"));
            }
            seen |= bit;
            take(property);
        }
        Ok(())
    }
}

impl Property {
    fn decode(from: &mut Reader<'_>, place: Place) -> Result<Self, DecodeError> {
        // Identifiers are variable byte integers, but all that exist fit in one byte.
        let id = from.byte()?;
        let Some(&(name, kind, places)) = TABLE.iter().find(|(name, ..)| *name as u8 == id) else {
            return Err(DecodeError::Malformed("unknown property"));
        };
        if places & place as u16 == 0 {
            return Err(DecodeError::Protocol("a property that this packet may not have"));
        }
        let value = match kind {
            Kind::Flag => Value::Byte(from.byte()?),
            Kind::Short => Value::Short(from.short()?),
            Kind::Long => Value::Long(from.long()?),
            Kind::Var => Value::Var(from.var()?),
            Kind::Text => Value::Text(from.text()?),
            Kind::Binary => Value::Binary(from.binary()?),
            Kind::Pair => Value::Pair(from.text()?, from.text()?),
        };
        match (name, &value) {
            (_, Value::Byte(2..)) => Err(DecodeError::Protocol("a property must be 0 or 1")),
            (Name::ReceiveMaximum, Value::Short(0))
            | (Name::MaximumPacket, Value::Long(0))
            | (Name::SubscriptionId, Value::Var(0)) => {
                Err(DecodeError::Protocol("a property must not be 0"))
            }
            _ => Ok(Self { name, value }),
        }
    }
}

fn value_len(value: &Value) -> usize {
    match value {
        Value::Byte(_) => 1,
        Value::Short(_) => 2,
        Value::Long(_) => 4,
        Value::Var(value) => var_len(*value as usize),
        Value::Text(text) => 2 + text.len().min(TEXT_MAX),
        Value::Binary(bytes) => 2 + bytes.len().min(TEXT_MAX),
        Value::Pair(key, value) => 4 + key.len().min(TEXT_MAX) + value.len().min(TEXT_MAX),
    }
}
