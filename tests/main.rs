//! The one integration binary; `./scripts/test` starts the services that some of it uses.

mod api;
mod broker;
mod connectors;
mod daemon;
mod dlq;
mod docs;
mod durable;
mod engine;
mod faults;
mod fuzz;
mod gateway;
mod history;
mod reliability;
mod rules;
mod schema;
mod services;
mod tidy;
mod yaml;

/// The built program.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_tidegate")
}
