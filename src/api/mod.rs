//! The HTTP interface: the vendor's RPC protocol, ingest, explanations, health and metrics.
//!
//! It compiles no rule and delivers no message: rules go to the engine through [`Rules`], messages
//! through the contract's `Ingress`.

mod actions;
mod call;
mod destination;
mod device_batches;
mod device_tags;
mod devices;
pub mod error;
mod explain;
pub mod form;
mod ingest;
mod known;
mod messages;
mod nonces;
mod onenet;
mod operation;
mod pages;
mod product_topics;
mod products;
mod properties;
mod rate;
mod registered;
mod rpc;
mod rules;
mod running;
mod server;
mod services;
mod shadows;
pub mod signature;
mod spool;
mod target;
mod tencent;
mod tencent_cloud;
mod topic_routes;
mod topics;
mod xml;

use std::sync::Arc;
use std::time::Duration;

use connectors::contract::{Ingress, TopicLimits};

pub use destination::{Destinations, ENDPOINT_TYPES, Endpoint, HOST_IS_WRITTEN, names_host};
pub use known::KNOWN;
pub use nonces::{NONCES_MAX, Nonces};
pub use operation::{Operation, Parameter, operations};
pub use rules::restore;
pub use server::{router, serve};
pub use spool::{CursorStatus, Dropped, Spool, SpoolStatus};

use crate::registry::Registry;
use crate::rule::store::{AccessKey, Store};
use crate::rule::{DataType, Rule};
use crate::sql;
use crate::thing::Things;
use crate::web::Pages;

/// The rules that run, as the API sees them. The engine implements it.
pub trait Rules: Send + Sync + 'static {
    /// Compiles a rule and builds its actions without keeping anything. A rule without a statement
    /// or without actions is fine as far as it goes.
    ///
    /// # Errors
    /// What is wrong.
    fn check(&self, rule: &Rule) -> Result<(), RuleProblem>;

    /// Runs a rule from now on. It takes the place of the rule with the same owner id, whatever that
    /// one was called, so that a rule that is renamed never runs twice.
    ///
    /// # Errors
    /// What is wrong; the rule that ran before still runs.
    fn put(&self, rule: Rule) -> Result<(), RuleProblem>;

    /// Stops running the rule of the API that has that name, if there is one.
    fn remove(&self, name: &str);

    /// True when a rule from a file has that name.
    fn name_taken_by_file(&self, name: &str) -> bool;

    /// The rule with that name, whoever owns it, if there is one that runs or could.
    fn rule(&self, name: &str) -> Option<Arc<Rule>>;

    /// How statements are compiled.
    fn options(&self, data_type: DataType) -> sql::Options;
}

/// Why a rule can't run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RuleProblem {
    /// What is wrong, where (line and column for SQL), and what was expected.
    pub message: String,
    /// True when the statement is to blame, false for an action.
    pub sql: bool,
}

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
    /// Its connection, when it has one.
    Connection,
    /// And all that is kept for it: another device may get its name.
    Session,
}

/// Cuts off the session of that name.
pub type CutOff = Arc<dyn Fn(&str, Cut) + Send + Sync>;

/// The account that everything belongs to, where the protocol asks for one (`uid`, `CreateUserId`).
pub const ACCOUNT: &str = "1000000000000000";

/// The same as a number, which clients expect in some places.
pub const ACCOUNT_ID: u64 = 1_000_000_000_000_000;

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
    /// What the vendor's destinations are here.
    pub destinations: Destinations,
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

/// The limits of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLimits {
    /// Rules of the API.
    pub rules: u64,
    /// Actions of one rule, without its error action.
    pub actions: usize,
    /// Bytes in the body of a signed request.
    pub body: usize,
    /// Bytes in the payload of an ingested message.
    pub payload: usize,
    /// Topics of ingested messages and of rules.
    pub topics: TopicLimits,
    /// From the first byte of a request, or the end of the one before, to the end of its headers; a
    /// fifth of it for connections that are made while more than half of them are in use.
    pub header_wait: Duration,
    /// From the end of the headers to the end of the body.
    pub body_wait: Duration,
    /// For the engine's answer to an ingested message.
    pub accept_wait: Duration,
    /// For requests that are under way when the daemon stops.
    pub stop_wait: Duration,
    /// Open connections; further ones wait in the system's queue.
    pub connections: usize,
    /// Those of one address; further ones are closed.
    pub connections_per_address: usize,
    /// Signed requests of one access key per second; 0 is any number.
    pub requests_per_second: u32,
    /// Signed requests of one access key at once.
    pub burst: u32,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            rules: 1000,
            actions: 10,
            body: 1 << 20,
            payload: 1 << 20,
            topics: TopicLimits::default(),
            header_wait: Duration::from_secs(10),
            body_wait: Duration::from_secs(30),
            accept_wait: Duration::from_secs(30),
            stop_wait: Duration::from_secs(10),
            connections: 1024,
            connections_per_address: 512,
            requests_per_second: 5000,
            burst: 10_000,
        }
    }
}

/// The state of the interface while it runs.
struct Api {
    state: ApiState,
    rates: rate::Rates,
    /// Held while rules or actions change, so that store and engine agree.
    change: tokio::sync::Mutex<()>,
    /// Statements that may be explained at the same time.
    explaining: Arc<tokio::sync::Semaphore>,
}

impl Api {
    fn new(state: ApiState) -> Self {
        let rates = rate::Rates::new(state.limits.requests_per_second, state.limits.burst);
        let explaining = Arc::new(tokio::sync::Semaphore::new(explain::AT_ONCE));
        Self { state, rates, change: tokio::sync::Mutex::default(), explaining }
    }

    fn now_ms(&self) -> u64 {
        (self.state.clock)()
    }

    /// The key of that id, unless it was revoked.
    async fn key(&self, id: &str) -> Result<Option<AccessKey>, crate::rule::store::StoreError> {
        if let Some(key) = self.state.keys.iter().find(|key| key.id == id) {
            return Ok(Some(key.clone()));
        }
        Ok(self.state.store.key(id).await?.filter(|key| key.revoked_ms.is_none()))
    }
}
