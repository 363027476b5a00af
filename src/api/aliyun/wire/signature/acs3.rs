//! The signature of newer clients, ACS3-HMAC-SHA256: what it says and what is signed.
//!
//! It knows no keys; time, nonce and comparison are those of every signature.

use std::fmt::Write as _;

pub use axum::http::HeaderMap;
use axum::http::header;
use sha2::{Digest as _, Sha256};

use super::{Claim, checked_time};
use crate::api::access::Stamp;
use crate::api::access::mac::sha256;
use crate::api::aliyun::wire::error::{self, ApiError};
use crate::api::exchange::form::{Parameters, encode};

/// The one algorithm, as the header names it.
const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// What all algorithms of this form start with.
const FAMILY: &str = "ACS3-";

/// What names the operation; a request may do without when its parameters do.
pub const ACTION: &str = "x-acs-action";
/// The version that goes with [`ACTION`].
pub const VERSION: &str = "x-acs-version";
/// When the request was made.
const DATE: &str = "x-acs-date";
/// A text that no other request has.
const NONCE: &str = "x-acs-signature-nonce";

/// Headers that mean something; a request whose signature leaves one of them out could be changed on
/// its way.
const MEANINGFUL: [&str; 5] = [ACTION, VERSION, DATE, NONCE, "host"];

/// The most headers that a signature may list.
const SIGNED_MAX: usize = 64;

/// The header of a request that is signed in this way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization<'a> {
    key_id: &'a str,
    signature: &'a str,
    /// As the client wrote them: this text is signed too.
    signed: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads the header; `None` when the request is not signed in this way.
    ///
    /// # Errors
    /// [`error::SIGNATURE_METHOD`] for another algorithm of the same form,
    /// [`error::INCOMPLETE_SIGNATURE`] when something is missing.
    pub fn read(headers: &'a HeaderMap) -> Result<Option<Self>, ApiError> {
        let text = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(text) = text.filter(|text| text.starts_with(FAMILY)) else { return Ok(None) };
        let (algorithm, rest) = text.split_once(' ').unwrap_or((text, ""));
        if algorithm != ALGORITHM {
            return Err(error::SIGNATURE_METHOD.plain());
        }
        let field = |name: &str| {
            let mut fields = rest.split(',').filter_map(|field| field.trim().split_once('='));
            let value = fields.find(|(key, _)| *key == name).map_or("", |(_, value)| value);
            match value {
                "" => Err(error::INCOMPLETE_SIGNATURE.with(format!("Authorization has no {name}"))),
                value => Ok(value),
            }
        };
        let read = Self {
            key_id: field("Credential")?,
            signature: field("Signature")?,
            signed: field("SignedHeaders")?,
        };
        let unsigned = |name: &&&str| headers.contains_key(**name) && !read.signs(name);
        if let Some(name) = MEANINGFUL.iter().find(unsigned) {
            let text = format!("SignedHeaders leaves out {name}");
            return Err(error::INCOMPLETE_SIGNATURE.with(text));
        }
        if read.signed.split(';').count() > SIGNED_MAX {
            let text = format!("SignedHeaders has more than {SIGNED_MAX} names");
            return Err(error::INCOMPLETE_SIGNATURE.with(text));
        }
        Ok(Some(read))
    }

    fn signs(&self, name: &str) -> bool {
        self.signed.split(';').any(|signed| signed == name)
    }

    /// What the request says about itself; checks the time.
    ///
    /// # Errors
    /// A header that is missing or wrong, or a time that is out of the window.
    pub fn claim(&self, headers: &'a HeaderMap, now_ms: u64) -> Result<Claim<'a>, ApiError> {
        let need = |name: &str| match headers.get(name).and_then(|value| value.to_str().ok()) {
            None | Some("") => {
                Err(error::INCOMPLETE_SIGNATURE.with(format!("there is no header {name}")))
            }
            Some(value) => Ok(value),
        };
        let (key_id, nonce) = (self.key_id, need(NONCE)?);
        let time_ms = checked_time(need(DATE)?, now_ms)?;
        Ok(Claim { stamp: Stamp { key_id, nonce, time_ms }, signature: self.signature })
    }

    /// The text that is signed. Only parameters of the query are in it as such; those of the body are
    /// in the hash of the body, which is computed and never believed.
    #[must_use]
    pub fn string_to_sign(
        &self,
        method: &str,
        query: &Parameters,
        headers: &HeaderMap,
        body: &[u8],
    ) -> String {
        let pairs: Vec<_> = query
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let mut hash = Sha256::new();
        hash.update(format!("{method}\n/\n{}\n", pairs.join("&")));
        for name in self.signed.split(';') {
            hash.update(name);
            hash.update(":");
            for (at, value) in headers.get_all(name).iter().enumerate() {
                if at > 0 {
                    hash.update(",");
                }
                hash.update(value.as_bytes().trim_ascii());
            }
            hash.update("\n");
        }
        hash.update(format!("\n{}\n{}", self.signed, hex::encode(Sha256::digest(body))));
        let mut text = String::from(ALGORITHM);
        // Writing to a String can't fail.
        write!(text, "\n{}", hex::encode(hash.finalize())).ok();
        text
    }
}

/// The signature of a text: its HMAC-SHA256 with the secret as the key, in hexadecimal digits.
#[must_use]
pub fn sign(text: &str, secret: &str) -> String {
    hex::encode(sha256(secret.as_bytes(), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::exchange::form;

    /// What clients sign, in the order in which they list it.
    const HEADERS: &[(&str, &str)] = &[
        ("accept", "application/json"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("host", "127.0.0.1:8080"),
        ("user-agent", "a  test "),
        ("x-acs-action", "GetRule"),
        ("x-acs-content-sha256", ""),
        ("x-acs-date", "2023-10-26T10:22:32Z"),
        ("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d"),
        ("x-acs-version", "2018-01-20"),
    ];
    const NOW_MS: u64 = 1_698_315_752_000;

    fn headers(body: &[u8], signed: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in HEADERS {
            headers.insert(*name, value.parse().expect("a value"));
        }
        let hash = hex::encode(Sha256::digest(body));
        headers.insert("x-acs-content-sha256", hash.parse().expect("a value"));
        let text = format!("{ALGORITHM} Credential=testid,SignedHeaders={signed},Signature=f00");
        headers.insert(header::AUTHORIZATION, text.parse().expect("a value"));
        headers
    }

    fn signature(query: &str, body: &[u8], signed: &str) -> String {
        let headers = headers(body, signed);
        let mut parameters = Parameters::new();
        form::read(query.as_bytes(), &mut parameters).expect("form");
        let read = Authorization::read(&headers).expect("complete").expect("in this form");
        let claim = read.claim(&headers, NOW_MS).expect("a claim");
        assert_eq!((claim.stamp.key_id, claim.signature), ("testid", "f00"));
        assert_eq!(claim.stamp.time_ms, NOW_MS);
        sign(&read.string_to_sign("POST", &parameters, &headers, body), "testsecret")
    }

    /// Values of two of the vendor's signers, which agree.
    #[test]
    fn signatures_are_those_of_the_vendors_clients() {
        let all: Vec<_> = HEADERS.iter().map(|(name, _)| *name).collect();
        let bare = all.join(";").replace("content-type;", "");
        assert_eq!(
            signature("RuleId=1000&IotInstanceId=iot+cn", b"", &bare),
            "64bad2457a8c92a31f1e4ee943f1992506fe4be8e426d1fa7e7cdc2b4c072996"
        );
        assert_eq!(
            signature(
                "Select=a%2bb%26c%3dd&Name=规则_测试%20*~'()!%2B&Empty=",
                b"MessageContent=aGk%3D&Qos=1",
                &all.join(";")
            ),
            "e71bfa1679201055d4f5f3f992d782a5a704c7d4f0fa740bea7e2f5153e53307"
        );
    }

    #[test]
    fn what_is_incomplete_is_refused() {
        let read = |text: &str| {
            let mut headers = headers(b"", "host");
            headers.insert(header::AUTHORIZATION, text.parse().expect("a value"));
            Authorization::read(&headers).map(|found| found.is_some()).map_err(|e| e.code)
        };
        assert_eq!(read("Bearer x"), Ok(false));
        assert_eq!(read("ACS3-HMAC-SM3 Credential=a"), Err("InvalidSignatureMethod".into()));
        let incomplete = Err("IncompleteSignature".into());
        let all = "x-acs-action;x-acs-version;x-acs-date;x-acs-signature-nonce";
        for bad in [
            "ACS3-HMAC-SHA256".to_owned(),
            "ACS3-HMAC-SHA256 Credential=,SignedHeaders=a,Signature=b".to_owned(),
            format!("ACS3-HMAC-SHA256 Credential=a,SignedHeaders={all},Signature=b"),
            format!(
                "ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host;{all}{},Signature=b",
                ";x".repeat(64)
            ),
        ] {
            assert_eq!(read(&bad), incomplete, "{bad}");
        }
        let good = format!("ACS3-HMAC-SHA256 Credential=a, SignedHeaders=host;{all}, Signature=b");
        assert_eq!(read(&good), Ok(true));
        let mut late = headers(b"", &format!("host;{all}"));
        late.remove(NONCE);
        let read = Authorization::read(&late).expect("complete").expect("in this form");
        let code = read.claim(&late, NOW_MS).expect_err("no nonce").code;
        assert_eq!(code, "IncompleteSignature");
    }
}
