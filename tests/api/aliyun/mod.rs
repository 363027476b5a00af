//! The protocol of Alibaba Cloud IoT: around operations (`gateway`, `acs3`, `keys`, `hostile`), operations
//! by what is asked and answered (`scenario`, `model`), what scenarios can't show (`rules`, `registry`,
//! `groups`, `things`, `files`, `store_fails`, `gone`), and the vendor's own clients (`sdk`, and `drive`,
//! which has them play the scenarios); and docs/api (`pages`).

mod acs3;
mod drive;
mod files;
mod gateway;
mod gone;
mod groups;
mod history;
mod hostile;
mod keys;
mod model;
mod pages;
mod registry;
mod rules;
mod scenario;
mod sdk;
mod store_fails;
mod things;
