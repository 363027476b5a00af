//! The vendor's request signature 1.0 (development guide §2.5): what is signed, with what, and within
//! which time.
//!
//! It knows no keys and no HTTP; the caller looks the key up. The newer form is in `acs3`, and that a
//! request works only once, `access` sees to.

pub mod acs3;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::{self, ApiError};
use crate::api::access::mac::{same, sha1};
use crate::api::access::{Stamp, WINDOW_MINUTES, is_near};
use crate::api::exchange::form::{Parameters, encode};

/// The text that is signed. `method` is the real HTTP method.
#[must_use]
pub fn string_to_sign(method: &str, parameters: &Parameters) -> String {
    let pairs: Vec<_> = parameters
        .iter()
        .filter(|(name, _)| *name != "Signature")
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    format!("{method}&%2F&{}", encode(&pairs.join("&")))
}

/// The signature of a text: Base64 of its HMAC-SHA1 with `secret&` as the key.
#[must_use]
pub fn sign(text: &str, secret: &str) -> String {
    STANDARD.encode(sha1(format!("{secret}&").as_bytes(), text))
}

/// What a signed request says about itself, before its signature is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim<'a> {
    /// Its key, nonce and time.
    pub stamp: Stamp<'a>,
    /// The signature that it carries.
    pub signature: &'a str,
}

impl<'a> Claim<'a> {
    /// Reads the parameters of a signature and checks the time.
    ///
    /// # Errors
    /// A parameter that is missing or wrong, or a time that is out of the window.
    pub fn read(parameters: &'a Parameters, now_ms: u64) -> Result<Self, ApiError> {
        let need = |name: &str| match parameters.get(name).map(String::as_str) {
            None | Some("") => Err(error::MISSING_PARAMETER.with(name)),
            Some(value) => Ok(value),
        };
        let (key_id, signature) = (need("AccessKeyId")?, need("Signature")?);
        let nonce = need("SignatureNonce")?;
        let time_ms = checked_time(need("Timestamp")?, now_ms)?;
        let claim = Self { stamp: Stamp { key_id, nonce, time_ms }, signature };
        if need("SignatureMethod")? != "HMAC-SHA1" {
            return Err(error::SIGNATURE_METHOD.plain());
        }
        // Some clients leave the version out; there is only one.
        if parameters.get("SignatureVersion").is_some_and(|version| version != "1.0") {
            return Err(error::INVALID_PARAMETER.with("SignatureVersion"));
        }
        Ok(claim)
    }

    /// Checks the signature of a text against the one that the server made of it.
    ///
    /// # Errors
    /// [`error::SIGNATURE_MISMATCH`], which shows the text that the server signs.
    pub fn verify(&self, text: &str, signature: &str) -> Result<(), ApiError> {
        match same(signature, self.signature) {
            true => Ok(()),
            false => Err(error::SIGNATURE_MISMATCH.with(text)),
        }
    }
}

/// When a request was made, if that is within the window around the server's time.
fn checked_time(text: &str, now_ms: u64) -> Result<u64, ApiError> {
    let time_ms = parse_time(text).ok_or_else(|| error::TIMESTAMP_FORMAT.plain())?;
    match is_near(time_ms, now_ms) {
        true => Ok(time_ms),
        false => Err(error::TIMESTAMP_EXPIRED.with(WINDOW_MINUTES)),
    }
}

/// `2018-05-20T12:00:00Z` and nothing else.
fn parse_time(text: &str) -> Option<u64> {
    let shape = text.len() == 20 && text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T');
    let time: jiff::Timestamp = shape.then(|| text.parse().ok())??;
    u64::try_from(time.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::access::WINDOW_MS;
    use crate::api::exchange::form;

    const SEED: &str = "MessageContent=aGVsbG93b3JsZA%3D&Action=Pub&Timestamp=2017-10-02T09%3A39%3A41Z&SignatureVersion=1.0&ServiceCode=iot&Format=XML&Qos=0&SignatureNonce=0715a395-aedf-4a41-bab7-746b43d38d88&Version=2017-04-20&AccessKeyId=testid&SignatureMethod=HMAC-SHA1&RegionId=cn-shanghai&ProductKey=12345abcdeZ&TopicFullName=%2FproductKey%2Ftestdevice%2Fget";

    fn parameters(text: &str) -> Parameters {
        let mut parameters = Parameters::new();
        form::read(text.as_bytes(), &mut parameters).expect("form");
        parameters
    }

    fn signature(method: &str, parameters: &Parameters) -> String {
        sign(&string_to_sign(method, parameters), "testsecret")
    }

    /// Four independent signers agree on these values.
    #[test]
    fn published_vectors_hold() {
        let seed = parameters(SEED);
        let text = "GET&%2F&AccessKeyId%3Dtestid%26Action%3DPub%26Format%3DXML%26MessageContent%3DaGVsbG93b3JsZA%253D%26ProductKey%3D12345abcdeZ%26Qos%3D0%26RegionId%3Dcn-shanghai%26ServiceCode%3Diot%26SignatureMethod%3DHMAC-SHA1%26SignatureNonce%3D0715a395-aedf-4a41-bab7-746b43d38d88%26SignatureVersion%3D1.0%26Timestamp%3D2017-10-02T09%253A39%253A41Z%26TopicFullName%3D%252FproductKey%252Ftestdevice%252Fget%26Version%3D2017-04-20";
        assert_eq!(string_to_sign("GET", &seed), text);
        assert_eq!(signature("GET", &seed), "Y9eWn4nF8QPh3c4zAFkM/k/u7eA=");
        assert_eq!(signature("POST", &seed), "efr3PwqG3ANN5Vs4hsRnEZh2K2Q=");
        let mut odd = seed.clone();
        odd.insert("Name".into(), "规则_测试 *~'()!+".into());
        odd.insert("TopicFullName".into(), "/a b/+/#".into());
        odd.insert("Args".into(), r#"{"a":"é☃"}"#.into());
        assert_eq!(signature("POST", &odd), "utkcNWg/eii9PUulwXMZQTnPnrg=");
        // The value that is checked is never part of what is signed.
        odd.insert("Signature".into(), "x".into());
        assert_eq!(signature("POST", &odd), "utkcNWg/eii9PUulwXMZQTnPnrg=");
        let demo = parameters(
            "AccessKeyId=1234567890123456&Action=RegisterDevice&DeviceName=1533023037&Format=JSON&ProductKey=axxxUtgaRLB&RegionId=cn-shanghai&SignatureMethod=HMAC-SHA1&SignatureNonce=1533023037&SignatureVersion=1.0&Timestamp=2018-07-31T07%3A43%3A57Z&Version=2018-01-20",
        );
        let secret = "123456789012345678901234567890";
        assert_eq!(sign(&string_to_sign("GET", &demo), secret), "zqw+pTAEOU3GWZhpgGlXJJTTYAo=");
    }

    #[test]
    fn a_claim_names_what_is_wrong() {
        let now = 1_506_937_181_000;
        let mut seed = parameters(SEED);
        seed.insert("Signature".into(), "Y9eWn4nF8QPh3c4zAFkM/k/u7eA=".into());
        let claim = Claim::read(&seed, now).expect("claim");
        assert_eq!(claim.stamp.time_ms, now);
        let text = string_to_sign("GET", &seed);
        claim.verify(&text, &sign(&text, "testsecret")).expect("good signature");
        let wrong = claim.verify(&text, &sign(&text, "other")).expect_err("wrong secret");
        assert_eq!(wrong.message.matches(':').count(), 1);
        let code = |name: &str, value: &str, now| {
            let mut changed = seed.clone();
            changed.insert(name.into(), value.into());
            Claim::read(&changed, now).expect_err(name).code.into_owned()
        };
        assert_eq!(code("SignatureNonce", "", now), "MissingSignatureNonce");
        assert_eq!(code("SignatureMethod", "RSA", now), "InvalidSignatureMethod");
        assert_eq!(code("SignatureVersion", "2.0", now), "InvalidSignatureVersion");
        for bad in
            ["yesterday", "2017-10-02 09:39:41Z", "2017-10-02T09:39:41", "2017-13-02T09:39:41Z"]
        {
            assert_eq!(code("Timestamp", bad, now), "InvalidTimeStamp.Format");
        }
        assert_eq!(code("Qos", "0", now + WINDOW_MS + 1), "InvalidTimeStamp.Expired");
        assert_eq!(code("Qos", "0", now - WINDOW_MS - 1), "InvalidTimeStamp.Expired");
    }
}
