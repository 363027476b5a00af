//! Parameters on the wire: form decoding, and the one encoding that signatures are made of.
//!
//! It knows nothing of which parameters there are.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// Everything but the unreserved characters of RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The most parameters of one request: a list of 1000 objects with four fields each, and others.
const PARAMETERS_MAX: usize = 5000;

/// Parameters, sorted by the bytes of their names, as signatures need them.
pub type Parameters = BTreeMap<String, String>;

/// Why parameters can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// A name or value is not UTF-8 after decoding.
    #[error("parameter {0} is not UTF-8")]
    NotUtf8(String),
    /// There are too many.
    #[error("there are more than {PARAMETERS_MAX} parameters")]
    TooMany,
}

/// Adds the parameters of a query or form body. What is there already stays: the first of several
/// equal names counts, for the signature and for the operation alike.
///
/// # Errors
/// [`FormError`].
pub fn read(text: &[u8], into: &mut Parameters) -> Result<(), FormError> {
    for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        let name = decode(name)?;
        let value = decode(value).map_err(|_| FormError::NotUtf8(name.clone()))?;
        into.entry(name).or_insert(value);
        if into.len() > PARAMETERS_MAX {
            return Err(FormError::TooMany);
        }
    }
    Ok(())
}

fn decode(text: &[u8]) -> Result<String, FormError> {
    let spaced: Vec<u8> =
        text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    match percent_decode(&spaced).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(FormError::NotUtf8(String::from_utf8_lossy(text).into_owned())),
    }
}

/// Encodes a text as RFC 3986 has it: everything but `A-Za-z0-9-_.~` as `%XX` of its UTF-8.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_and_encoded_again() {
        let mut parameters = Parameters::new();
        read(b"b=x+y%2Bz&a=%e6%b8%a9&empty=&bare&&b=later", &mut parameters).expect("form");
        let pairs: Vec<_> = parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("a", "温"), ("b", "x y+z"), ("bare", ""), ("empty", "")]);
        assert_eq!(encode("x y+z*~'温"), "x%20y%2Bz%2A~%27%E6%B8%A9");
        assert_eq!(read(b"a=%ff", &mut Parameters::new()), Err(FormError::NotUtf8("a".into())));
        let many: String = (0..5001).map(|n| format!("k{n}=&")).collect();
        assert_eq!(read(many.as_bytes(), &mut Parameters::new()), Err(FormError::TooMany));
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_is_read_again(
            pairs in proptest::collection::btree_map(".{1,8}", ".{0,20}", 0..8)
        ) {
            let text: Vec<_> =
                pairs.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
            let mut read_back = Parameters::new();
            read(text.join("&").as_bytes(), &mut read_back).expect("form");
            proptest::prop_assert_eq!(read_back, pairs);
        }
    }
}
