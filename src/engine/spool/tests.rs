//! The spool under crashes, failing disks and damaged files. The tests are named after their numbers in
//! the project's list of failure tests.

mod damage;
mod model;
mod order;
mod plain;

pub(crate) mod sim;
