//! Which devices have logged in over a gateway's connection, as the connection itself asks with every
//! message on a topic that is not its own.
//!
//! Who logs whom in is decided elsewhere; a connection of a device that is no gateway has nothing here
//! but an empty slot.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytestring::ByteString;
use contract::Device;
use smallvec::SmallVec;

/// Devices by their name; those of several products may have the same.
type ByName = HashMap<ByteString, SmallVec<[Arc<Device>; 1]>, foldhash::fast::RandomState>;

/// The sub-devices of one connection.
#[derive(Debug, Default)]
pub struct SubDevices {
    list: OnceLock<Box<List>>,
}

#[derive(Debug, Default)]
struct List {
    count: AtomicUsize,
    by_name: RwLock<ByName>,
}

impl SubDevices {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.get().map_or(0, |list| list.count.load(Ordering::Acquire))
    }

    /// True while there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The device of that product and name, while it is logged in.
    #[must_use]
    pub fn find(&self, product_key: &str, device_name: &str) -> Option<Arc<Device>> {
        let list = self.list.get().filter(|list| list.count.load(Ordering::Acquire) > 0)?;
        let by_name = list.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let mut named = by_name.get(device_name)?.iter();
        named.find(|device| *device.product_key == *product_key).cloned()
    }

    pub(super) fn insert(&self, device: &Arc<Device>) {
        let list = self.list.get_or_init(Box::default);
        let mut by_name = list.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let named = by_name.entry(device.device_name.clone()).or_default();
        if !named.contains(device) {
            named.push(Arc::clone(device));
            list.count.fetch_add(1, Ordering::Release);
        }
    }

    pub(super) fn remove(&self, device: &Device) {
        let Some(list) = self.list.get() else { return };
        let mut by_name = list.by_name.write().unwrap_or_else(PoisonError::into_inner);
        let Some(named) = by_name.get_mut(&device.device_name) else { return };
        let before = named.len();
        named.retain(|known| **known != *device);
        list.count.fetch_sub(before - named.len(), Ordering::Release);
        if named.is_empty() {
            by_name.remove(&device.device_name);
        }
    }

    pub(super) fn take(&self) -> Vec<Arc<Device>> {
        let Some(list) = self.list.get() else { return Vec::new() };
        let mut by_name = list.by_name.write().unwrap_or_else(PoisonError::into_inner);
        list.count.store(0, Ordering::Release);
        std::mem::take(&mut *by_name).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_found_by_both_of_their_names() {
        let device = |product_key: &'static str, device_name: &'static str| {
            let (product_key, device_name) = (product_key.into(), device_name.into());
            Arc::new(Device { product_key, device_name })
        };
        let known = SubDevices::default();
        assert!(known.is_empty() && known.find("p1", "meter").is_none());
        for _ in 0..2 {
            known.insert(&device("p1", "meter"));
            known.insert(&device("p2", "meter"));
            known.insert(&device("p1", "lamp"));
        }
        assert_eq!(known.len(), 3);
        assert_eq!(known.find("p2", "meter"), Some(device("p2", "meter")));
        assert_eq!(known.find("p2", "lamp"), None);
        known.remove(&device("p2", "meter"));
        known.remove(&device("p2", "meter"));
        assert_eq!((known.len(), known.find("p2", "meter")), (2, None));
        assert_eq!(known.find("p1", "meter"), Some(device("p1", "meter")));
        assert_eq!((known.take().len(), known.len(), known.take().len()), (2, 0, 0));
    }
}
