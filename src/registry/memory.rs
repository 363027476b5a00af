//! The part of the registry that is asked with every message, and who is in which group, which is counted
//! together with who is connected.
//!
//! A device takes its name, its id and some bytes; secrets, times and nicknames stay in the database.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use contract::Topic;

use super::Product;

type Map<V> = HashMap<Box<str>, V, foldhash::fast::RandomState>;

/// What is in memory.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub products: Map<Shelf>,
    /// Where messages on a topic are published again.
    pub routes: Map<Arc<[Topic]>>,
    /// Over all products.
    pub devices: u64,
}

/// A product and its devices.
#[derive(Debug)]
pub(super) struct Shelf {
    pub product: Arc<Product>,
    pub devices: Map<Known>,
    /// The tags of those that have any.
    pub tags: Map<BTreeMap<Box<str>, Box<str>>>,
    /// The rows of the groups of those that are in any.
    pub groups: Map<Vec<i64>>,
    /// The gateways of those that are attached to one.
    pub gateways: Map<Arc<contract::Device>>,
}

/// A device.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub iot_id: Box<str>,
    pub disabled: bool,
    /// It has connected once.
    pub active: bool,
    pub online: bool,
    /// The number of the connection that it came over last.
    pub connection: u64,
}

/// How a device is doing, as the vendor calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceStatus {
    /// Connected.
    Online,
    /// Not connected.
    Offline,
    /// Never connected yet.
    Unactive,
    /// Not allowed to connect.
    Disabled,
}

impl DeviceStatus {
    /// The vendor's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "ONLINE",
            Self::Offline => "OFFLINE",
            Self::Unactive => "UNACTIVE",
            Self::Disabled => "DISABLE",
        }
    }
}

impl Known {
    pub(super) fn status(&self) -> DeviceStatus {
        match self {
            Self { disabled: true, .. } => DeviceStatus::Disabled,
            Self { online: true, .. } => DeviceStatus::Online,
            Self { active: false, .. } => DeviceStatus::Unactive,
            _ => DeviceStatus::Offline,
        }
    }
}

impl Shelf {
    /// A product without devices.
    pub(super) fn new(product: Arc<Product>) -> Self {
        let (devices, tags, groups) = (Map::default(), Map::default(), Map::default());
        Self { product, devices, tags, groups, gateways: Map::default() }
    }
}

impl Memory {
    pub(super) fn known(&self, product_key: &str, device_name: &str) -> Option<&Known> {
        self.products.get(product_key)?.devices.get(device_name)
    }

    pub(super) fn known_mut(&mut self, product_key: &str, name: &str) -> Option<&mut Known> {
        self.products.get_mut(product_key)?.devices.get_mut(name)
    }

    /// Changes a product for all who ask from now on.
    pub(super) fn change(&mut self, product_key: &str, change: impl FnOnce(&mut Product)) {
        if let Some(shelf) = self.products.get_mut(product_key) {
            let mut product = Product::clone(&shelf.product);
            change(&mut product);
            shelf.product = Arc::new(product);
        }
    }
}
