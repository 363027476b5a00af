//! The HTTP interface: vendors' protocols, ingest, explanations, health and metrics.
//!
//! It compiles no rule and delivers no message: rules go to the engine through [`Rules`], messages
//! through the contract's `Ingress`.
//!
//! # Wings, each of which uses only those before it
//! - `access`: what any signed request must pass: time, signature, nonce, rate.
//! - `state`: what the interface needs from the daemon, and its own state while it runs.
//! - `exchange`: what all protocols have in common of one request: form, body, key, refusal.
//! - `aliyun`, `tencent`, `onenet`: one vendor each. None knows another, none knows a path.
//! - `http`: the listener, the paths, who answers on which, and what is Tidegate's own.
//!
//! A new operation goes to its family in `aliyun`; a new path or vendor gets a row in `http/routes`.

mod access;
mod aliyun;
mod exchange;
mod http;
mod onenet;
mod state;
mod tencent;

pub use access::link::Signer;
pub use access::nonces::{NONCES_MAX, Nonces};
pub use access::{Refused, Stamp};
pub use aliyun::known::KNOWN;
pub use aliyun::operation::{Operation, Parameter};
pub use aliyun::rules::running::restore;
pub use aliyun::table::operations;
pub use aliyun::wire::{error, signature};
pub use exchange::form;
pub use http::routes::router;
pub use http::server::serve;
pub use state::endpoint::{Destinations, ENDPOINT_TYPES, Endpoint, HOST_IS_WRITTEN, names_host};
pub use state::limits::ApiLimits;
pub use state::links::FileLinks;
pub use state::lora::{ClassMode, JoinPermission, JoinType};
pub use state::rules::{RuleProblem, Rules};
pub use state::spool::{CursorStatus, Dropped, Spool, SpoolStatus};
pub use state::{ApiState, Clock, Cut, CutOff, Metrics, PromiseText, Ready};
