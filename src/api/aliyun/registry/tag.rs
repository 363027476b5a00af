//! The form of tags, be it those of devices, products or groups, and the tags that a search names.
//!
//! Who has a tag, the registry knows.

use std::ops::RangeInclusive;

use crate::api::aliyun::wire::call::Call;
use crate::api::aliyun::wire::error::{self, ApiError, ErrorCode};

/// Characters of a value; one that is not ASCII counts 2.
const VALUE_WIDTH: usize = 128;

/// Tags that one search may name.
const SEARCH_MAX: usize = 10;

/// Checks a key: letters, digits and `.`.
///
/// # Errors
/// What is wrong.
pub(super) fn check_key(key: &str, length: RangeInclusive<usize>) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.';
    if length.contains(&key.len()) && key.chars().all(fits) {
        return Ok(());
    }
    let (least, most) = length.into_inner();
    Err(format!("`{key}`; expected {least} to {most} letters, digits and `.`"))
}

/// Checks a value: letters of any script, digits and these marks.
///
/// # Errors
/// What is wrong.
pub(super) fn check_value(value: &str, marks: &str) -> Result<(), String> {
    let fits = |c: char| c.is_alphanumeric() || marks.contains(c);
    if let Some(bad) = value.chars().find(|c| !fits(*c)) {
        return Err(format!(
            "{bad:?} is not allowed in a value; letters, digits and `{marks}` are"
        ));
    }
    let width: usize = value.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
    if (1..=VALUE_WIDTH).contains(&width) {
        return Ok(());
    }
    Err(format!("a value has {width} characters; expected 1 to {VALUE_WIDTH}"))
}

/// The tags that a search names as `name.1.TagKey`, `name.1.TagValue`, …: a tag without a value counts
/// whatever its value is.
///
/// # Errors
/// `no_key` when a tag has no key, or there is none; [`error::FORMAT`] for more than ten.
pub(super) fn wanted(
    call: &Call,
    name: &str,
    no_key: &'static ErrorCode,
) -> Result<Vec<(String, Option<String>)>, ApiError> {
    let mut tags = Vec::new();
    for tag in call.objects(name)? {
        let key = tag.get("TagKey").copied().unwrap_or("");
        if key.is_empty() {
            return Err(no_key.with(format!("{name}.N.TagKey is empty")));
        }
        let value = tag.get("TagValue").filter(|value| !value.is_empty());
        tags.push((key.to_owned(), value.map(|value| (*value).to_owned())));
    }
    if tags.is_empty() {
        return Err(no_key.with(format!("no tag is given: {name}.1.TagKey, {name}.2.TagKey, …")));
    }
    // No database has such a text in a table.
    let nul = |(key, value): &(String, Option<String>)| {
        key.contains('\0') || value.as_ref().is_some_and(|value| value.contains('\0'))
    };
    if tags.iter().any(nul) {
        return Err(error::FORMAT.with(format!("{name}: no tag has a character NUL")));
    }
    if tags.len() > SEARCH_MAX {
        let text = format!("{} tags are given, at most {SEARCH_MAX} are allowed", tags.len());
        return Err(error::FORMAT.with(text));
    }
    Ok(tags)
}
