//! Who may connect, and what for: devices of a registry, and users with passwords.

mod devices;
mod passwords;
