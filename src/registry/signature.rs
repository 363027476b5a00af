//! What a device signs with its secret to prove who it is, in CONNECT and through a gateway.
//!
//! Where the parts of it come from is known elsewhere. How old the timestamp is does not matter.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// What a signature is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignMethod {
    /// The one that is meant when none is named.
    #[default]
    HmacMd5,
    /// HMAC with SHA-1.
    HmacSha1,
    /// HMAC with SHA-256.
    HmacSha256,
}

impl SignMethod {
    /// The method of that name, in letters of either case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if is("hmacmd5") => Some(Self::HmacMd5),
            () if is("hmacsha1") => Some(Self::HmacSha1),
            () if is("hmacsha256") => Some(Self::HmacSha256),
            () => None,
        }
    }
}

/// What a device has signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'a> {
    /// What it calls itself.
    pub client_id: &'a str,
    /// Its product.
    pub product_key: &'a str,
    /// Its name.
    pub device_name: &'a str,
    /// As it is written, when there is one.
    pub timestamp: Option<&'a str>,
    /// With what.
    pub method: SignMethod,
}

impl Signed<'_> {
    /// True when `digits` is the signature that this secret makes, as hexadecimal digits of either case.
    /// The time it takes does not tell how much of it is right.
    #[must_use]
    pub fn is_proved(&self, secret: &str, digits: &[u8]) -> bool {
        let Ok(have) = hex::decode(digits) else { return false };
        let want = match self.method {
            SignMethod::HmacMd5 => self.mac::<Hmac<Md5>>(secret),
            SignMethod::HmacSha1 => self.mac::<Hmac<Sha1>>(secret),
            SignMethod::HmacSha256 => self.mac::<Hmac<Sha256>>(secret),
        };
        want.ct_eq(&have).into()
    }

    /// Names and values, sorted by name, without anything between them.
    fn mac<M: Mac + KeyInit>(&self, secret: &str) -> Vec<u8> {
        let mut mac = <M as KeyInit>::new_from_slice(secret.as_bytes())
            .expect("invariant: HMAC takes keys of any length");
        for (name, value) in [
            ("clientId", self.client_id),
            ("deviceName", self.device_name),
            ("productKey", self.product_key),
        ] {
            mac.update(name.as_bytes());
            mac.update(value.as_bytes());
        }
        if let Some(timestamp) = self.timestamp {
            mac.update(b"timestamp");
            mac.update(timestamp.as_bytes());
        }
        mac.finalize().into_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content `clientId12345deviceNamedeviceproductKeypk[timestamp789]`, key `secret`.
    #[test]
    fn signatures_are_the_vendors() {
        let (product_key, device_name) = ("pk", "device");
        for (method, timestamp, digits) in [
            ("hmacsha1", Some("789"), "fafd82a3d602b37fb0fa8b7892f24a477f851a14"),
            ("hmacSha1", Some("789"), "FAFD82A3D602B37FB0FA8B7892F24A477F851A14"),
            ("hmacMd5", Some("789"), "14b198324fe55e1d3c88f2e705e201ee"),
            (
                "hmacSha256",
                Some("789"),
                "6074a46a91b1ebb2cc4ea42790ad0e80202c9843859fc292e57c4eb19fad9e57",
            ),
            ("hmacsha1", None, "3504e4df7ce4766d30f796ee973c9ce7fc5425cb"),
        ] {
            let method = SignMethod::parse(method).expect("a method");
            let signed = Signed { client_id: "12345", product_key, device_name, timestamp, method };
            assert!(signed.is_proved("secret", digits.as_bytes()), "{digits}");
            assert!(!signed.is_proved("other", digits.as_bytes()), "{digits}");
            assert!(!signed.is_proved("secret", &digits.as_bytes()[1..]), "{digits}");
            assert!(!signed.is_proved("secret", &digits.as_bytes()[2..]), "{digits}");
            assert!(!signed.is_proved("secret", b"not hexadecimal"));
            assert!(!signed.is_proved("secret", b""));
        }
        assert_eq!(SignMethod::parse("none"), None);
    }
}
