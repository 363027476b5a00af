//! Keyed hashes that signatures are made of, and how two signatures are compared.
//!
//! What is hashed, and how the bytes are written, each protocol says.

use hmac::digest::Output;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// True when two texts are equal; how long it takes tells nothing about where they differ.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

/// HMAC-SHA1 of a text.
#[must_use]
pub fn sha1(key: &[u8], text: &str) -> [u8; 20] {
    hash::<Hmac<Sha1>>(key, text).into()
}

/// HMAC-SHA256 of a text.
#[must_use]
pub fn sha256(key: &[u8], text: &str) -> [u8; 32] {
    hash::<Hmac<Sha256>>(key, text).into()
}

fn hash<M: Mac + KeyInit>(key: &[u8], text: &str) -> Output<M> {
    let mut mac =
        <M as KeyInit>::new_from_slice(key).expect("invariant: HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes()
}
