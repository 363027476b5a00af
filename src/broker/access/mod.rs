//! Who may connect, publish and subscribe when the daemon runs: devices of the registry and users of the
//! configuration, as the broker's [hooks](super::hooks).
//!
//! [`DeviceAccess`] decides. How each vendor's devices prove who they are is in `aliyun` and `tencent`, which
//! topics are a device's own in `device_topics`; users with their filters are in `users`, the hashes of
//! their passwords in `password_hash`, and checking many at once in `passwords`. `status` writes what
//! is told when a device comes or goes, `notices` what a gateway is told of its sub-devices.
//!
//! It uses the hooks and the registry. It sees no message, no session and no socket, and nothing else of
//! the broker knows it: `cli::daemon` passes it in.

mod aliyun;
mod device_topics;
mod devices;
mod notices;
mod password_hash;
mod passwords;
mod status;
mod tencent;
mod users;

pub use devices::{DeviceAccess, Proof};
pub use password_hash::PasswordHash;
pub use status::StatusMessages;
pub use users::{User, Users};
