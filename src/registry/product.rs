//! What is known of a product.
//!
//! How it is kept stands beside.

use std::sync::Arc;

/// What devices of a product may do on topics of one form below `/{product key}/{device name}/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicClass {
    /// From 10000 up, unique over all products.
    pub id: u64,
    /// What follows the device name, such as `user/update`.
    pub short_name: String,
    /// What the device may do.
    pub operation: TopicOperation,
    /// For people; may be empty.
    pub description: String,
}

/// What a device may do on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicOperation {
    /// Publish: 0 in answers, `PUB` in requests.
    Publish,
    /// Subscribe: 1 and `SUB`.
    Subscribe,
    /// Both: 2 and `ALL`.
    Both,
}

impl TopicOperation {
    /// The name in requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "PUB",
            Self::Subscribe => "SUB",
            Self::Both => "ALL",
        }
    }

    /// The operation of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Publish, Self::Subscribe, Self::Both].into_iter().find(|one| one.name() == text)
    }

    /// The number in answers and in the database.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Publish => 0,
            Self::Subscribe => 1,
            Self::Both => 2,
        }
    }

    /// The operation of that number; any other is the least right.
    pub(super) fn numbered(number: i64) -> Self {
        match number {
            1 => Self::Subscribe,
            2 => Self::Both,
            _ => Self::Publish,
        }
    }

    /// True when it includes publishing.
    #[must_use]
    pub fn publishes(self) -> bool {
        self != Self::Subscribe
    }

    /// True when it includes subscribing.
    #[must_use]
    pub fn subscribes(self) -> bool {
        self != Self::Publish
    }
}

/// A product: a kind of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// 11 characters that start with `a1`.
    pub key: String,
    /// Unique.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// 0 device, 1 gateway.
    pub node_type: u8,
    /// 0 any bytes (`CUSTOM_FORMAT`), 1 the platform's JSON (`ALINK_FORMAT`).
    pub data_format: u8,
    /// `iothub_senior`, with a thing model, or `iothub`, without.
    pub senior: bool,
    /// The category of its devices.
    pub category_key: Option<String>,
    /// How its devices prove who they are: `secret`.
    pub auth_type: String,
    /// `WIFI`, `CELLULAR`, `ETHERNET`, `LORA` or `OTHER`.
    pub net_type: Option<String>,
    /// How its devices speak to a gateway.
    pub protocol_type: Option<String>,
    /// 1 values are checked weakly, 2 not at all.
    pub validate_type: u8,
    /// The secret that all its devices could share.
    pub secret: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// The thing model, as it was imported.
    pub tsl: Option<Arc<str>>,
    /// What its devices may do on topics of their own, the oldest first.
    pub topics: Vec<TopicClass>,
}

/// What a product is made of; the rest is made up for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProduct {
    /// As in [`Product::name`].
    pub name: String,
    /// As in [`Product::description`].
    pub description: String,
    /// As in [`Product::node_type`].
    pub node_type: u8,
    /// As in [`Product::data_format`].
    pub data_format: u8,
    /// As in [`Product::senior`].
    pub senior: bool,
    /// As in [`Product::category_key`].
    pub category_key: Option<String>,
    /// As in [`Product::net_type`].
    pub net_type: Option<String>,
    /// As in [`Product::protocol_type`].
    pub protocol_type: Option<String>,
    /// As in [`Product::validate_type`].
    pub validate_type: u8,
}

impl NewProduct {
    /// A senior product of that name whose devices are no gateways and send JSON.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            node_type: 0,
            data_format: 1,
            senior: true,
            category_key: None,
            net_type: None,
            protocol_type: None,
            validate_type: 1,
        }
    }
}
