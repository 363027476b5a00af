//! What names and keys may look like (development guide §2.7 and §2.8).
//!
//! Whether a name is taken is asked elsewhere.

use std::ops::RangeInclusive;

/// Characters of the name of a product or group, and of a device's nickname; a CJK character counts 2.
const TITLE_WIDTH: RangeInclusive<usize> = 4..=30;
const NICKNAME_WIDTH: RangeInclusive<usize> = 4..=32;

/// Characters of the name of a device.
const DEVICE_NAME: RangeInclusive<usize> = 4..=32;

/// Characters of a product key, and of the id of a device: room for those of other platforms.
const PRODUCT_KEY_MAX: usize = 20;
const IOT_ID: RangeInclusive<usize> = 8..=64;

/// Characters of the id of a group: room for those of the vendor's later platform.
const GROUP_ID_MAX: usize = 32;

/// Checks the name of a product.
///
/// # Errors
/// What is wrong.
pub fn check_product_name(name: &str) -> Result<(), String> {
    title(name, TITLE_WIDTH)
}

/// Checks the name of a group.
///
/// # Errors
/// What is wrong.
pub fn check_group_name(name: &str) -> Result<(), String> {
    title(name, TITLE_WIDTH)
}

/// Checks what is looked for in the names of groups: whether it could be a part of one.
///
/// # Errors
/// What is wrong.
pub fn check_group_name_part(part: &str) -> Result<(), String> {
    title(part, 0..=*TITLE_WIDTH.end())
}

/// Checks the nickname of a device.
///
/// # Errors
/// What is wrong.
pub fn check_nickname(name: &str) -> Result<(), String> {
    title(name, NICKNAME_WIDTH)
}

/// Checks the name of a device.
///
/// # Errors
/// What is wrong.
pub fn check_device_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@' | '.' | ':');
    if let Some(bad) = name.chars().find(|c| !fits(*c)) {
        return Err(format!(
            "{bad:?} is not allowed; letters, digits, `-`, `_`, `@`, `.` and `:` are"
        ));
    }
    in_range(name.len(), DEVICE_NAME)
}

/// True when a text could be the key of a product.
#[must_use]
pub fn is_product_key(text: &str) -> bool {
    (1..=PRODUCT_KEY_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// True when a text could be the id of a group.
#[must_use]
pub fn is_group_id(text: &str) -> bool {
    (1..=GROUP_ID_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// True when a text could be the id of a device.
#[must_use]
pub fn is_iot_id(text: &str) -> bool {
    IOT_ID.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Letters, digits, `_`, and Chinese, Japanese and Korean characters, which count 2.
fn title(name: &str, width: RangeInclusive<usize>) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || is_cjk(c);
    if let Some(bad) = name.chars().find(|c| !fits(*c)) {
        return Err(format!("{bad:?} is not allowed; letters, digits, `_` and CJK are"));
    }
    in_range(name.chars().map(|c| if is_cjk(c) { 2 } else { 1 }).sum(), width)
}

fn in_range(length: usize, range: RangeInclusive<usize>) -> Result<(), String> {
    if range.contains(&length) {
        return Ok(());
    }
    Err(format!("it has {length} characters, expected {} to {}", range.start(), range.end()))
}

fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{3005}' | '\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_measured() {
        for good in ["dev1", "a-b_c@d.e:f", &"x".repeat(32)] {
            assert_eq!(check_device_name(good), Ok(()), "{good}");
        }
        for bad in ["", "dev", "设备一号", "a b c", "a/b/c", "a+b+c", &"x".repeat(33)] {
            assert!(check_device_name(bad).is_err(), "{bad}");
        }
        for good in ["Test", "产品", "产品_1", &"x".repeat(30), &"品".repeat(15)] {
            assert_eq!(check_product_name(good), Ok(()), "{good}");
        }
        for bad in ["Tes", "品a", "a-bcd", "a bcd", &"x".repeat(31), &"品".repeat(16)] {
            assert!(check_product_name(bad).is_err(), "{bad}");
        }
        assert_eq!(check_nickname(&"x".repeat(32)), Ok(()));
        assert!(check_nickname("a.b.c").is_err());
        assert!(is_product_key("a1FlqIQ0abc") && !is_product_key("a1/x") && !is_product_key(""));
        assert!(is_iot_id("CqXL5h5ysRTA4NxjABjj0010fa0000") && !is_iot_id("a b c d e f"));
    }
}
