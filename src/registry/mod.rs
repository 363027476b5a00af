//! What is known of devices before they say a word: products, devices, tags, groups, gateways, topic
//! classes, routes.
//!
//! All of it is durable in the store's database; in memory is what is asked for with every message, and
//! who is in which group. Nothing here speaks a protocol, and no message passes through.

mod applies;
mod codes;
mod devices;
mod error;
mod groups;
mod hold;
mod lora;
mod members;
mod memory;
mod names;
mod presence;
mod product;
mod product_tags;
mod products;
mod routes;
mod signature;
mod tags;
mod topics;
mod topology;

pub use applies::{Apply, ApplyName, ApplyStatus, NAMES_MAX as APPLY_NAMES_MAX};
pub use devices::{Device, DeviceRef, NewDevice};
pub use error::RegistryError;
pub use groups::{GROUP_LEVELS_MAX, GROUP_TAGS_MAX, Group, NewGroup, SUB_GROUPS_MAX};
pub use hold::{Activity, Limits, Registry};
pub use lora::Node;
pub use members::{Crowd, GROUPS_OF_DEVICE_MAX, Joined, Left};
pub use memory::DeviceStatus;
pub use names::{
    check_device_name, check_group_name, check_group_name_part, check_nickname, check_product_name,
    is_group_id, is_iot_id, is_product_key,
};
pub use presence::FLUSH_EVERY;
pub use product::{NewProduct, Product, TopicClass, TopicOperation};
pub use product_tags::PRODUCT_TAGS_MAX;
pub use products::Gone;
pub use routes::{DESTINATIONS_MAX, Route};
pub use signature::{SignMethod, Signed};
pub use tags::{Found, TAG_BYTES_MAX, TAGS_MAX};
pub use topics::{CLASSES_MAX, check_short_name};
pub use topology::SUB_DEVICES_MAX;

/// The client identifier that the broker keeps the session of a device under, whatever the device
/// sends: so there is one connection per device.
#[must_use]
pub fn session_id(product_key: &str, device_name: &str) -> String {
    format!("{device_name}&{product_key}")
}
