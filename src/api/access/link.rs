//! Links that let whoever has them read one thing for a time: signed, and good until the time they name.
//!
//! What is read, and under which path, others say.

use super::mac::{same, sha256};

/// Signs links and knows its own again.
#[derive(Clone)]
pub struct Signer(Box<[u8]>);

/// Leaves the key out.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer with that secret.
    #[must_use]
    pub fn new(secret: &str) -> Self {
        Self(secret.as_bytes().into())
    }

    /// The signature of a link to a thing until that time, in seconds since 1970: 64 hexadecimal digits.
    #[must_use]
    pub fn sign(&self, thing: &str, expires_s: u64) -> String {
        // The length tells apart what else could read the same.
        hex::encode(sha256(&self.0, &format!("{}\n{thing}\n{expires_s}", thing.len())))
    }

    /// Whether a link is one of its own and still good.
    #[must_use]
    pub fn admits(&self, thing: &str, expires_s: u64, signature: &str, now_ms: u64) -> bool {
        same(&self.sign(thing, expires_s), signature) && now_ms / 1000 <= expires_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_good_for_one_thing_and_for_a_time() {
        let signer = Signer::new("secret");
        let signature = signer.sign("a", 7);
        assert!(signer.admits("a", 7, &signature, 7_999));
        assert!(!signer.admits("a", 7, &signature, 8_000));
        assert!(!signer.admits("a", 8, &signature, 0));
        assert!(!signer.admits("b", 7, &signature, 0));
        assert!(!signer.admits("a", 7, "", 0));
        assert!(!Signer::new("other").admits("a", 7, &signature, 0));
        assert_eq!(format!("{signer:?}"), "Signer { .. }");
    }
}
