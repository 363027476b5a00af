//! Functions of bytes: encodings, digests, compression, binary payloads, conversion.

pub(super) mod binary;
pub(super) mod codec;
pub(super) mod compress;
pub(super) mod convert;
pub(super) mod hash;
