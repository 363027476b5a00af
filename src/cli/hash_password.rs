//! `tidegate hash-password`: what stands in the configuration in the place of a user's password.
//!
//! The password itself is written nowhere.

use std::io::Read as _;

use super::{Outcome, refused, say, usage};
use crate::broker::PasswordHash;

/// Bytes of a password at most: what CONNECT can carry.
const PASSWORD_MAX: u64 = 65_535;

/// Reads the password up to the first line break: whoever types it ends the line.
pub(super) fn run() -> Outcome {
    let mut input = Vec::new();
    std::io::stdin().lock().take(PASSWORD_MAX).read_to_end(&mut input).map_err(refused)?;
    let password = input.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    if password.is_empty() {
        return Err(usage(anyhow::anyhow!(
            "expected a password on standard input, as in `printf %s secret | tidegate hash-password`"
        )));
    }
    say(format_args!("{}", PasswordHash::of(password)));
    Ok(())
}
