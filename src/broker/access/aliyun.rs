//! How one vendor's devices say in CONNECT who they are (Alibaba Cloud IoT).
//!
//! The user name is `{device name}&{product key}`; the client identifier says how the password, a
//! signature with the device's secret, is made.

use contract::Device;
use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::Md5;
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// What the client identifier of a device says: `{id}|{name}={value},…|`, the extensions in any order
/// and with blanks around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    /// What the device calls itself; only the signature is made of it.
    id: &'a str,
    /// There are extensions.
    pub extended: bool,
    method: Method<'a>,
    timestamp: Option<&'a str>,
    /// `ext=1`.
    pub rrpc_ext: bool,
}

/// What the signature is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method<'a> {
    Md5,
    Sha1,
    Sha256,
    Unknown(&'a str),
}

impl<'a> Claim<'a> {
    pub(super) fn parse(client_id: &'a str) -> Self {
        let (id, extensions) = match client_id.split_once('|') {
            Some((id, rest)) => (id, Some(rest.split('|').next().unwrap_or(rest))),
            None => (client_id, None),
        };
        let mut claim = Self {
            id,
            extended: extensions.is_some(),
            method: Method::Md5,
            timestamp: None,
            rrpc_ext: false,
        };
        for pair in extensions.unwrap_or("").split(',') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let value = value.trim();
            match name.trim() {
                "signmethod" => claim.method = Method::parse(value),
                "timestamp" => claim.timestamp = Some(value),
                "ext" => claim.rrpc_ext = value == "1",
                _ => {}
            }
        }
        claim
    }

    /// True when the password is the signature, as hexadecimal digits of either case. The time it
    /// takes does not tell how much of it is right; how old the timestamp is does not matter.
    pub(super) fn proves(&self, device: &Device, secret: &str, password: &[u8]) -> bool {
        let Some(want) = self.signature(device, secret) else { return false };
        let Ok(have) = hex::decode(password) else { return false };
        want.ct_eq(&have).into()
    }

    fn signature(&self, device: &Device, secret: &str) -> Option<Vec<u8>> {
        let mut content = format!(
            "clientId{}deviceName{}productKey{}",
            self.id, device.device_name, device.product_key
        );
        if let Some(timestamp) = self.timestamp {
            content.push_str("timestamp");
            content.push_str(timestamp);
        }
        let (key, content) = (secret.as_bytes(), content.as_bytes());
        match self.method {
            Method::Md5 => {
                let mac = Hmac::<Md5>::new_from_slice(key).ok()?;
                Some(mac.chain_update(content).finalize().into_bytes().to_vec())
            }
            Method::Sha1 => {
                let mac = Hmac::<Sha1>::new_from_slice(key).ok()?;
                Some(mac.chain_update(content).finalize().into_bytes().to_vec())
            }
            Method::Sha256 => {
                let mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
                Some(mac.chain_update(content).finalize().into_bytes().to_vec())
            }
            Method::Unknown(_) => None,
        }
    }
}

impl<'a> Method<'a> {
    fn parse(text: &'a str) -> Self {
        match text {
            _ if text.eq_ignore_ascii_case("hmacmd5") => Self::Md5,
            _ if text.eq_ignore_ascii_case("hmacsha1") => Self::Sha1,
            _ if text.eq_ignore_ascii_case("hmacsha256") => Self::Sha256,
            other => Self::Unknown(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content `clientId12345deviceNamedeviceproductKeypk[timestamp789]`, key `secret`.
    #[test]
    fn signatures_are_the_vendors() {
        let device = Device { product_key: "pk".into(), device_name: "device".into() };
        for (client_id, password) in [
            (
                "12345|securemode=3,signmethod=hmacsha1,timestamp=789|",
                "fafd82a3d602b37fb0fa8b7892f24a477f851a14",
            ),
            (
                "12345|timestamp=789,signmethod=hmacsha1,securemode=3|",
                "FAFD82A3D602B37FB0FA8B7892F24A477F851A14",
            ),
            (
                "12345|securemode=3,\n signmethod = hmacsha1 ,\n timestamp= 789 |",
                "fafd82a3d602b37fb0fa8b7892f24a477f851a14",
            ),
            ("12345|securemode=3,timestamp=789|", "14b198324fe55e1d3c88f2e705e201ee"),
            (
                "12345|signmethod=hmacmd5,timestamp=789,ext=1,_ss=1|",
                "14b198324fe55e1d3c88f2e705e201ee",
            ),
            (
                "12345|signmethod=hmacsha256,timestamp=789|",
                "6074a46a91b1ebb2cc4ea42790ad0e80202c9843859fc292e57c4eb19fad9e57",
            ),
            ("12345|signmethod=hmacsha1|", "3504e4df7ce4766d30f796ee973c9ce7fc5425cb"),
        ] {
            let claim = Claim::parse(client_id);
            assert!(claim.proves(&device, "secret", password.as_bytes()), "{client_id}");
            assert!(!claim.proves(&device, "other", password.as_bytes()), "{client_id}");
            assert!(!claim.proves(&device, "secret", &password.as_bytes()[1..]), "{client_id}");
        }
        let claim = Claim::parse("12345|signmethod=hmacsha256|");
        let text = hex::encode(claim.signature(&device, "secret").expect("signature"));
        assert!(text.starts_with("c8cb3dcb") && text.ends_with("1090"), "{text}");
        assert!(!Claim::parse("1|signmethod=none|").proves(&device, "secret", b""));
        assert!(!claim.proves(&device, "secret", b""));
        assert!(!claim.proves(&device, "secret", b"not hexadecimal"));
    }

    #[test]
    fn extensions_are_a_set() {
        let claim = Claim::parse("a1Pk&dev|securemode=2,ext=1,lan=Python,_v=1.2.13|");
        assert_eq!((claim.id, claim.extended, claim.rrpc_ext), ("a1Pk&dev", true, true));
        assert_eq!((claim.method, claim.timestamp), (Method::Md5, None));
        let plain = Claim::parse("just-a-name");
        assert_eq!((plain.id, plain.extended, plain.rrpc_ext), ("just-a-name", false, false));
        assert!(!Claim::parse("x|ext=0|").rrpc_ext);
    }
}
