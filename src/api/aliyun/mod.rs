//! The protocol of Alibaba Cloud IoT: one path, operations by name, signed parameters, answers in JSON or
//! XML.
//!
//! `rpc` takes a request, has it pass, and finds its operation in `table`. The operations stand in
//! families, each beside what it does: `rules`, `registry`, `things`. All of them are written with
//! `operation` (what one is) and `wire` (parameters, answers, codes). `known` has the names of all
//! operations of the vendor's guide, those that are not offered, too.
//!
//! A new operation is a row in `OPERATIONS` of its family's file and a function below it; its codes are
//! rows in `wire/error`, and what it answers is a scenario in `tests/api/aliyun/scenarios`.
//!
//! No operation compiles a rule, keeps a device or asks one: rooms of their own do.

pub mod known;
pub mod operation;
mod registry;
pub mod rpc;
pub mod rules;
pub mod table;
mod things;
pub mod wire;
