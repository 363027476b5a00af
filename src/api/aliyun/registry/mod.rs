//! The operations on what is registered: products with their topic classes and thing models, devices
//! with their tags, in batches, in groups and behind gateways, and the routes between topics.
//!
//! What is kept stands in [`crate::registry`]. Each file has one family of operations; they share who
//! is meant (`named`), what the registry refuses (`refusal`), the form of tags (`tag`), and what is told
//! when a device changes (`lifecycle`).

pub mod device_batches;
pub mod device_groups;
pub mod device_tags;
pub mod device_topology;
pub mod devices;
pub mod group_members;
mod lifecycle;
pub mod lora;
mod named;
pub mod product_models;
pub mod product_tags;
pub mod product_topics;
pub mod products;
mod refusal;
mod tag;
pub mod topic_routes;
