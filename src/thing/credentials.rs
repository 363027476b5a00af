//! A device that a gateway names together with the proof that the device agrees.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::gateway::Named;
use registry::{SignMethod, Signed};

/// A device and what it has signed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Credentials {
    #[serde(flatten)]
    pub named: Named,
    sign: String,
    #[serde(alias = "signmethod", default)]
    sign_method: Option<String>,
    #[serde(default)]
    timestamp: Option<Box<RawValue>>,
    #[serde(default)]
    client_id: String,
    /// A text or a boolean, as clients like it.
    #[serde(default)]
    clean_session: Option<Box<RawValue>>,
}

impl Credentials {
    /// Whether the device has signed; `method` is for one that names none. A client id may have
    /// extensions after a bar: some clients sign them, others do not.
    pub(super) fn agrees(&self, secret: &str, method: Option<&str>) -> bool {
        let method = match self.sign_method.as_deref().or(method) {
            None => SignMethod::default(),
            Some(name) => match SignMethod::parse(name) {
                Some(method) => method,
                None => return false,
            },
        };
        let timestamp = self.timestamp.as_deref().and_then(written);
        let signed = |client_id| Signed {
            client_id,
            product_key: &self.named.product_key,
            device_name: &self.named.device_name,
            timestamp: timestamp.as_deref(),
            method,
        };
        let digits = self.sign.as_bytes();
        let bare = self.client_id.split('|').next().unwrap_or_default();
        signed(&self.client_id).is_proved(secret, digits)
            || (bare.len() < self.client_id.len() && signed(bare).is_proved(secret, digits))
    }

    /// The device takes calls on topics below `/ext/rrpc/` (`ext=1` in its client id).
    pub(super) fn extended(&self) -> bool {
        let extensions = self.client_id.split('|').nth(1).unwrap_or_default();
        extensions.split(',').any(|pair| pair.trim() == "ext=1")
    }

    /// The device wants nothing of what has waited for it.
    pub(super) fn starts_clean(&self) -> bool {
        let text = self.clean_session.as_deref().and_then(written);
        text.is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }
}

/// A text, or a number or boolean as it is written; `None` for null.
fn written(value: &RawValue) -> Option<String> {
    match value.get() {
        "null" => None,
        text if text.starts_with('"') => serde_json::from_str(text).ok(),
        other => Some(other.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_found() {
        // `clientId12345deviceNamedeviceproductKeypk` and, but for the last, `timestamp789`.
        for (client_id, timestamp, method, sign, agrees) in [
            ("12345", "\"789\"", "hmacSha1", "fafd82a3d602b37fb0fa8b7892f24a477f851a14", true),
            ("12345", "789", "hmacsha1", "FAFD82A3D602B37FB0FA8B7892F24A477F851A14", true),
            ("12345|ext=1|", "789", "hmacsha1", "fafd82a3d602b37fb0fa8b7892f24a477f851a14", true),
            ("12345", "788", "hmacsha1", "fafd82a3d602b37fb0fa8b7892f24a477f851a14", false),
            ("12345", "789", "none", "fafd82a3d602b37fb0fa8b7892f24a477f851a14", false),
            ("12345", "789", "hmacsha1", "", false),
            ("12345", "null", "hmacsha1", "3504e4df7ce4766d30f796ee973c9ce7fc5425cb", true),
        ] {
            let text = format!(
                r#"{{"productKey":"pk","deviceName":"device","clientId":"{client_id}","timestamp":{timestamp},"sign":"{sign}","signMethod":"{method}"}}"#
            );
            let credentials: Credentials = serde_json::from_str(&text).expect("credentials");
            assert_eq!(credentials.agrees("secret", None), agrees, "{text}");
            assert_eq!(credentials.extended(), client_id.contains("ext=1"));
        }
        let text = r#"{"productKey":"pk","deviceName":"device","clientId":"12345","timestamp":789,"sign":"14b198324fe55e1d3c88f2e705e201ee","cleanSession":"true"}"#;
        let credentials: Credentials = serde_json::from_str(text).expect("credentials");
        assert!(credentials.agrees("secret", None), "hmacMd5 is meant when none is named");
        assert!(!credentials.agrees("secret", Some("hmacSha256")), "or that of all");
        assert!(credentials.starts_clean() && !credentials.extended());
    }
}
