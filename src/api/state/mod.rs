//! What the interface needs from the daemon, and its own state while it runs.
//!
//! It knows no protocol: those stand on it, and each reads here the rules, the registry, the things,
//! the keys and the limits that it needs.

pub mod endpoint;
pub mod limits;
pub mod links;
pub mod lora;
pub mod rules;
pub mod spool;

use std::sync::Arc;

use connectors::contract::Ingress;
use tokio::sync::{Mutex, Semaphore};

use self::endpoint::Destinations;
use self::limits::{ApiLimits, EXPLAINED_AT_ONCE};
use self::links::FileLinks;
use self::lora::JoinPermission;
use self::rules::Rules;
use self::spool::Spool;
use crate::api::access::nonces::Nonces;
use crate::api::access::rate::Rates;
use crate::api::access::{Refused, Stamp};
use crate::registry::Registry;
use crate::rule::store::{AccessKey, Store, StoreError};
use crate::thing::Things;
use crate::web::Pages;

/// Milliseconds since 1970, from whatever clock the daemon uses.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy)]
pub struct PromiseText {
    /// In some words.
    pub short: &'static str,
    /// In one sentence.
    pub full: &'static str,
}

/// Why the daemon is not ready; empty when it is.
pub type Ready = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// The metrics in Prometheus' text format.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What ends of a device in the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Its connection, when it has one, or its login over its gateway's.
    Connection,
    /// And all that is kept for it: another device may get its name.
    Session,
    /// Only its login over its gateway's connection.
    Login,
}

/// Cuts off the session of that name.
pub type CutOff = Arc<dyn Fn(&str, Cut) + Send + Sync>;

/// What the interface needs from the daemon.
#[derive(Clone)]
pub struct ApiState {
    /// Rules of the API and access keys.
    pub store: Store,
    /// Products and devices.
    pub registry: Registry,
    /// For devices that may not be connected any more.
    pub cut: CutOff,
    /// The rules that run.
    pub rules: Arc<dyn Rules>,
    /// Where `/ingest` puts messages.
    pub ingress: Arc<dyn Ingress>,
    /// What devices are asked, and what is known of their state.
    pub things: Things,
    /// Links to files of devices.
    pub file_links: FileLinks,
    /// What the vendor's destinations are here.
    pub destinations: Destinations,
    /// Permissions to join a LoRaWAN network.
    pub join_permissions: Vec<JoinPermission>,
    /// Access keys of the configuration, beside those in the store.
    pub keys: Vec<AccessKey>,
    /// The nonces that were used.
    pub nonces: Arc<Nonces>,
    /// Whether `/ingest`, `/spool`, `/metrics` and the details of `/readyz` need an access key: yes
    /// unless the listener is on loopback. `/` always needs a signature.
    pub require_key: bool,
    /// Whether `/metrics` and the details of `/readyz` need none in any case.
    pub open_details: bool,
    /// Which web pages may send requests.
    pub pages: Pages,
    /// For timestamps of requests, rules and messages.
    pub clock: Clock,
    /// For `/readyz`.
    pub ready: Ready,
    /// For `/readyz`, too: rules whose actions do not work at present. The daemon stays ready: its
    /// devices must not be turned away because a destination is down.
    pub abnormal: Ready,
    /// What an acknowledgement means at present; for `/readyz`.
    pub promise: PromiseText,
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/spool`.
    pub spool: Spool,
    /// Sizes, counts and waits.
    pub limits: ApiLimits,
}

/// The state of the interface while it runs.
pub(crate) struct Api {
    pub(crate) state: ApiState,
    rates: Rates,
    /// Held while rules or actions change, so that store and engine agree.
    pub(crate) change: Mutex<()>,
    /// Statements that may be explained at the same time.
    pub(crate) explaining: Arc<Semaphore>,
}

impl Api {
    pub(crate) fn new(state: ApiState) -> Self {
        let rates = Rates::new(state.limits.requests_per_second, state.limits.burst);
        let explaining = Arc::new(Semaphore::new(EXPLAINED_AT_ONCE));
        Self { state, rates, change: Mutex::default(), explaining }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        (self.state.clock)()
    }

    /// The key of that id, unless it was revoked.
    pub(crate) async fn key(&self, id: &str) -> Result<Option<AccessKey>, StoreError> {
        if let Some(key) = self.state.keys.iter().find(|key| key.id == id) {
            return Ok(Some(key.clone()));
        }
        Ok(self.state.store.key(id).await?.filter(|key| key.revoked_ms.is_none()))
    }

    /// Lets a request pass whose signature is good: once, and within its key's rate. One that is too
    /// much uses up no nonce.
    pub(crate) fn admit(&self, stamp: &Stamp<'_>, now_ms: u64) -> Result<(), Refused> {
        self.admit_repeatable(stamp.key_id, now_ms)?;
        self.state.nonces.claim(stamp, now_ms)
    }

    /// The same for a request that carries no nonce.
    pub(crate) fn admit_repeatable(&self, key_id: &str, now_ms: u64) -> Result<(), Refused> {
        self.rates.take(key_id, now_ms)
    }
}
