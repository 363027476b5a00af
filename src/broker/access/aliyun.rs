//! How one vendor's devices say in CONNECT who they are (Alibaba Cloud IoT).
//!
//! The user name is `{device name}&{product key}`; the client identifier says how the password, a
//! signature with the device's secret, is made.

use contract::Device;

use registry::{SignMethod, Signed};

/// What the client identifier of a device says: `{id}|{name}={value},…|`, the extensions in any order
/// and with blanks around them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim<'a> {
    /// What the device calls itself; only the signature is made of it.
    id: &'a str,
    /// There are extensions.
    pub extended: bool,
    /// `None` for one that nobody knows.
    method: Option<SignMethod>,
    timestamp: Option<&'a str>,
    /// `ext=1`.
    pub rrpc_ext: bool,
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
            method: Some(SignMethod::default()),
            timestamp: None,
            rrpc_ext: false,
        };
        for pair in extensions.unwrap_or("").split(',') {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let value = value.trim();
            match name.trim() {
                "signmethod" => claim.method = SignMethod::parse(value),
                "timestamp" => claim.timestamp = Some(value),
                "ext" => claim.rrpc_ext = value == "1",
                _ => {}
            }
        }
        claim
    }

    /// True when the password is the signature that the secret makes.
    pub(super) fn proves(&self, device: &Device, secret: &str, password: &[u8]) -> bool {
        let Some(method) = self.method else { return false };
        let signed = Signed {
            client_id: self.id,
            product_key: &device.product_key,
            device_name: &device.device_name,
            timestamp: self.timestamp,
            method,
        };
        signed.is_proved(secret, password)
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
        assert!(!Claim::parse("1|signmethod=none|").proves(&device, "secret", b""));
    }

    #[test]
    fn extensions_are_a_set() {
        let claim = Claim::parse("a1Pk&dev|securemode=2,ext=1,lan=Python,_v=1.2.13|");
        assert_eq!((claim.id, claim.extended, claim.rrpc_ext), ("a1Pk&dev", true, true));
        assert_eq!((claim.method, claim.timestamp), (Some(SignMethod::HmacMd5), None));
        let plain = Claim::parse("just-a-name");
        assert_eq!((plain.id, plain.extended, plain.rrpc_ext), ("just-a-name", false, false));
        assert!(!Claim::parse("x|ext=0|").rrpc_ext);
    }
}
