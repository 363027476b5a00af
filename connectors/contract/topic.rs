//! Topic names and topic filters, validated once where they enter.
//!
//! The rules are those of MQTT 5.0 §4.7. Nothing here slices text by bytes: topics are UTF-8 and
//! often Chinese.

use std::fmt;

use bytestring::ByteString;

/// The most that a topic may hold, in bytes of UTF-8 and in levels (parts between slashes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicLimits {
    /// Bytes of UTF-8.
    pub bytes: usize,
    /// Parts between slashes; a leading slash starts an empty part, which is not counted.
    pub levels: usize,
}

impl Default for TopicLimits {
    fn default() -> Self {
        Self { bytes: 256, levels: 16 }
    }
}

/// Why a text is no topic or no topic filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// The text is empty.
    #[error("a topic has at least one character")]
    Empty,
    /// The text is longer than allowed.
    #[error("the topic has {got} bytes, at most {most} are allowed")]
    TooLong {
        /// Bytes of the text.
        got: usize,
        /// The limit.
        most: usize,
    },
    /// The text has too many levels.
    #[error("the topic has {got} levels, at most {most} are allowed")]
    TooDeep {
        /// Levels of the text.
        got: usize,
        /// The limit.
        most: usize,
    },
    /// A character that a topic may not hold.
    #[error("a topic may not contain {0:?}")]
    Character(char),
    /// `+` or `#` that is only a part of a level.
    #[error("`{0}` must stand alone between two slashes")]
    PartialWildcard(char),
    /// `#` before the last level.
    #[error("`#` is only allowed as the last level")]
    HashNotLast,
}

/// The name of a topic: what a message is published to. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(ByteString);

impl Topic {
    /// Checks a topic name against MQTT 5.0 §4.7.1 and §4.7.3 and the given limits.
    ///
    /// # Errors
    /// A [`TopicError`] that names what is wrong.
    pub fn parse(text: impl Into<ByteString>, limits: TopicLimits) -> Result<Self, TopicError> {
        let text = text.into();
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > limits.bytes {
            return Err(TopicError::TooLong { got: text.len(), most: limits.bytes });
        }
        let mut slashes = 0;
        let mut before = 0;
        for &byte in text.as_bytes() {
            match byte {
                b'+' | b'#' => return Err(TopicError::Character(char::from(byte))),
                0..=0x1f | 0x7f => return Err(TopicError::Character(char::from(byte))),
                // U+0080 to U+009F in UTF-8: the second byte is the number of the character.
                0x80..=0x9f if before == 0xc2 => {
                    return Err(TopicError::Character(char::from(byte)));
                }
                b'/' => slashes += 1,
                _ => {}
            }
            before = byte;
        }
        let levels = slashes + usize::from(!text.starts_with('/'));
        if levels > limits.levels {
            return Err(TopicError::TooDeep { got: levels, most: limits.levels });
        }
        Ok(Self(text))
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The parts of the topic without the empty part before a leading slash.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        let text: &str = &self.0;
        text.strip_prefix('/').unwrap_or(text).split('/')
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A topic filter: a topic in which `+` stands for one level and a last `#` for all that follow.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(ByteString);

impl TopicFilter {
    /// Checks a topic filter against MQTT 5.0 §4.7.1.
    ///
    /// # Errors
    /// A [`TopicError`] that names what is wrong.
    pub fn parse(text: impl Into<ByteString>, limits: TopicLimits) -> Result<Self, TopicError> {
        let text = text.into();
        Self::check(&text, limits)?;
        Ok(Self(text))
    }

    /// As [`TopicFilter::parse`], without keeping the text.
    ///
    /// # Errors
    /// A [`TopicError`] that names what is wrong.
    pub fn check(text: &str, limits: TopicLimits) -> Result<(), TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > limits.bytes {
            return Err(TopicError::TooLong { got: text.len(), most: limits.bytes });
        }
        if let Some(bad) = text.chars().find(|c| c.is_control()) {
            return Err(TopicError::Character(bad));
        }
        let mut levels = 0;
        let mut parts = text.split('/').peekable();
        while let Some(part) = parts.next() {
            levels += 1;
            if part.len() > 1
                && let Some(bad) = part.chars().find(|c| matches!(c, '+' | '#'))
            {
                return Err(TopicError::PartialWildcard(bad));
            }
            if part == "#" && parts.peek().is_some() {
                return Err(TopicError::HashNotLast);
            }
        }
        let levels = levels - usize::from(text.starts_with('/'));
        if levels > limits.levels {
            return Err(TopicError::TooDeep { got: levels, most: limits.levels });
        }
        Ok(())
    }

    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when the filter holds no wildcard.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.0.split('/').any(|part| part == "+" || part == "#")
    }

    /// True when the filter matches the topic. A topic that starts with `$` is not matched by a
    /// leading wildcard (MQTT-4.7.2-1); `a/#` matches `a` too (MQTT 5.0 §4.7.1.2).
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        Self::text_matches(&self.0, &topic.0)
    }

    /// As [`TopicFilter::matches`] for the texts of a filter and a topic that have been checked.
    #[must_use]
    pub fn text_matches(filter: &str, topic: &str) -> bool {
        let mut filter = filter.split('/');
        let mut name = topic.split('/');
        let mut first = true;
        loop {
            match (filter.next(), name.next()) {
                (Some("#"), rest) => return !(first && rest.is_some_and(|p| p.starts_with('$'))),
                (Some("+"), Some(part)) => {
                    if first && part.starts_with('$') {
                        return false;
                    }
                }
                (Some(want), Some(part)) if want == part => {}
                (None, None) => return true,
                _ => return false,
            }
            first = false;
        }
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(text: &str) -> Topic {
        Topic::parse(text, TopicLimits::default()).expect("test topic")
    }

    #[test]
    fn filters_match_as_mqtt_says() {
        let cases = [
            ("a/b", "a/b", true),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "/a", true),
            ("+", "/a", false),
            ("/+", "/a", true),
            ("+/+", "/a", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("车间/+/温度", "车间/1/温度", true),
            ("a/+/c", "a//c", true),
        ];
        for (filter, name, want) in cases {
            let parsed = TopicFilter::parse(filter, TopicLimits::default()).expect("filter");
            assert_eq!(parsed.matches(&topic(name)), want, "{filter} against {name}");
        }
    }

    #[test]
    fn bad_topics_say_why() {
        let limits = TopicLimits { bytes: 20, levels: 3 };
        let name = |text: &str| Topic::parse(text, limits).expect_err("bad topic");
        assert_eq!(name(""), TopicError::Empty);
        assert_eq!(name("a/+"), TopicError::Character('+'));
        assert_eq!(name("a\0b"), TopicError::Character('\0'));
        assert_eq!(name("a\u{9b}b"), TopicError::Character('\u{9b}'));
        assert!(Topic::parse("§\u{a0}ß", limits).is_ok());
        assert_eq!(name("/a/b/c/d"), TopicError::TooDeep { got: 4, most: 3 });
        assert_eq!(name(&"x".repeat(21)), TopicError::TooLong { got: 21, most: 20 });
        let filter = |text: &str| TopicFilter::parse(text, limits).expect_err("bad filter");
        assert_eq!(filter("a/#/b"), TopicError::HashNotLast);
        assert_eq!(filter("a/b#"), TopicError::PartialWildcard('#'));
        assert_eq!(filter("a\u{9b}b"), TopicError::Character('\u{9b}'));
    }
}
