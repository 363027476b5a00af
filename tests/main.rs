//! The one integration binary; `./scripts/test` starts the services that some of it uses.

mod broker;
mod connectors;
mod services;
mod sql;
