//! How another vendor's devices say in CONNECT who they are (Tencent Cloud IoT Explorer).
//!
//! The user name is `{product}{device};{application};{connection};{time}`, the password
//! `{signature};hmacsha1` or `…;hmacsha256`: of the user name, with the bytes that the device's secret
//! is in Base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::Device;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use registry::{check_device_name, is_product_key};

/// What such a user name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    username: &'a str,
    /// Product and device, one behind the other.
    names: &'a str,
}

impl<'a> Claim<'a> {
    /// Reads a user name; `None` when it has another form.
    pub(super) fn parse(username: &'a str) -> Option<Self> {
        let mut parts = username.split(';');
        let names = parts.next().filter(|names| names.is_ascii())?;
        let rest = [parts.next()?, parts.next()?, parts.next()?];
        let is_whole = parts.next().is_none() && rest.iter().all(|part| !part.is_empty());
        is_whole.then_some(Self { username, names })
    }

    /// The devices that this can be: there is no mark between product and device.
    pub(super) fn devices(self) -> impl Iterator<Item = Device> + use<'a> {
        let names = self.names;
        (1..names.len())
            .filter_map(|at| names.split_at_checked(at))
            .take_while(|(key, _)| is_product_key(key))
            .filter(|(_, name)| check_device_name(name).is_ok())
            .map(|(key, name)| Device { product_key: key.into(), device_name: name.into() })
    }

    /// True when the password is the signature, as hexadecimal digits of either case. The time it
    /// takes does not tell how much of it is right; how old the user name is does not matter.
    pub(super) fn proves(self, secret: &str, password: &[u8]) -> bool {
        self.has_proof(secret, password).unwrap_or(false)
    }

    fn has_proof(self, secret: &str, password: &[u8]) -> Option<bool> {
        let (digits, method) = std::str::from_utf8(password).ok()?.split_once(';')?;
        let have = hex::decode(digits).ok()?;
        let (key, text) = (STANDARD.decode(secret).ok()?, self.username.as_bytes());
        let want = match method {
            "hmacsha1" => Hmac::<Sha1>::new_from_slice(&key)
                .ok()?
                .chain_update(text)
                .finalize()
                .into_bytes()
                .to_vec(),
            "hmacsha256" => Hmac::<Sha256>::new_from_slice(&key)
                .ok()?
                .chain_update(text)
                .finalize()
                .into_bytes()
                .to_vec(),
            _ => return None,
        };
        Some(want.ct_eq(&have).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2l4dGVlbiBieXRlcyBvZg==";
    const SHA1: &str = "29bb6e41a6f816a673c15836f89da52bf405c62e";
    const SHA256: &str = "4EB83BD22466F2ADDFA7C9F5905109064B60D7EA8EE5A809F811918EB837A139";
    const USER: &str = "A1B2C3D4E5sensor1;21010406;x7Kp2;1700000000000";

    #[test]
    fn signatures_are_the_vendors() {
        let claim = Claim::parse(USER).expect("a user name");
        for (password, proves) in [
            ("SHA1;hmacsha1", true),
            ("SHA256;hmacsha256", true),
            ("SHA256;hmacsha1", false),
            ("SHA1;hmacmd5", false),
            ("SHA1", false),
            (";hmacsha1", false),
            ("", false),
        ] {
            let password = password.replace("SHA256", SHA256).replace("SHA1", SHA1);
            assert_eq!(claim.proves(SECRET, password.as_bytes()), proves, "{password}");
            assert!(!claim.proves("b3RoZXI=", password.as_bytes()), "{password}");
            assert!(!claim.proves("no Base64", password.as_bytes()), "{password}");
        }
    }

    #[test]
    fn product_and_device_are_not_divided() {
        let devices: Vec<_> = Claim::parse(USER).expect("a user name").devices().collect();
        let is = |key: &str, name: &str| {
            devices.iter().any(|d| &*d.product_key == key && &*d.device_name == name)
        };
        assert!(is("A1B2C3D4E5", "sensor1") && is("A", "1B2C3D4E5sensor1"));
        assert_eq!(devices.len(), 13);
        for other in ["", ";", "a;b", "a;b;c", "a;b;c;d;e", "a;;c;d", "\u{e4}b;b;c;d", "dev1&a1Pk"]
        {
            assert_eq!(Claim::parse(other), None, "{other}");
        }
        assert_eq!(Claim::parse("ab;b;c;d").expect("a user name").devices().count(), 0);
    }
}
