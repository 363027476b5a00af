//! An action of a device, which is a service here.
//!
//! How a device is asked is not known.

use connectors::contract::QoS;

use crate::api::state::Api;
use crate::thing::{Dialect, Done, Service, ServiceError};

/// An action that a device is to do.
pub(super) struct Act<'a> {
    pub(super) product_key: &'a str,
    pub(super) device_name: &'a str,
    pub(super) action: &'a str,
    /// A JSON object as text.
    pub(super) input: &'a str,
    pub(super) wait: bool,
}

/// Why it was not done.
pub(super) enum Undone {
    NoProduct,
    NoDevice,
    Refused(ServiceError),
}

impl Act<'_> {
    pub(super) async fn carry_out(&self, api: &Api) -> Result<Done, Undone> {
        let Act { product_key, device_name, action, input, wait } = *self;
        if !api.state.things.knows_product(product_key) {
            return Err(Undone::NoProduct);
        }
        if !api.state.things.knows(product_key, device_name) {
            return Err(Undone::NoDevice);
        }
        let service = Service {
            product_key,
            device_name,
            identifier: action,
            arguments: input,
            wait: Some(wait),
            dialect: Dialect::Alink,
            qos: QoS::AtMostOnce,
        };
        api.state.things.invoke(service).await.map_err(Undone::Refused)
    }
}
