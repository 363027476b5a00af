//! Calls of services on their way into the history of a device.
//!
//! A call that nobody waits for is noted before it goes out, so that its answer finds it.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::things::Things;
use super::{CallError, Service};
use history::Called;

/// The service that setting properties is, as the vendor calls it.
pub(super) const SET: &str = "set";

/// A call as it was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub product_key: &'a str,
    pub device_name: &'a str,
    pub identifier: &'a str,
    pub arguments: &'a str,
    pub id: u64,
    pub time_ms: u64,
}

impl<'a> Asked<'a> {
    pub(super) fn service(service: &Service<'a>, id: u64, time_ms: u64) -> Self {
        let Service { product_key, device_name, identifier, arguments, .. } = *service;
        Self { product_key, device_name, identifier, arguments, id, time_ms }
    }
}

impl Things {
    /// Notes a call that nobody waits for, if the device is there to take it.
    pub(super) fn note_sent(&self, asked: &Asked<'_>) {
        if self.connection(asked.product_key, asked.device_name).is_some() {
            self.note(asked, None);
        }
    }

    /// Notes a call that somebody has waited for, unless it was never made.
    pub(super) fn note_done(&self, asked: &Asked<'_>, answer: &Result<Bytes, CallError>) {
        match answer {
            Ok(answer) => self.note(asked, Some(&String::from_utf8_lossy(answer))),
            Err(CallError::Timeout | CallError::HalfOpen) => self.note(asked, None),
            Err(CallError::Offline | CallError::Busy) => {}
        }
    }

    fn note(&self, asked: &Asked<'_>, output: Option<&str>) {
        let Asked { product_key, device_name, identifier, arguments, id, time_ms } = *asked;
        if !self.history().is_on() {
            return;
        }
        let Some(device) = self.registry().iot_id(product_key, device_name) else { return };
        // Whoever asks has seen to it that they are JSON.
        let Ok(input) = serde_json::from_str::<&RawValue>(arguments) else { return };
        self.history().called(&Called {
            device: (&*device).into(),
            identifier: identifier.into(),
            id,
            time_ms,
            input: Some(input),
            output: output.map(Into::into),
        });
    }
}
