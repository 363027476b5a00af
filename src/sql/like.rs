//! Patterns of LIKE: `%` is any text, everything else stands for itself.

use memchr::memmem;

/// Units of work for each byte of a text that is searched.
const SEARCH: u64 = 20;

/// Units for each text between two `%`: its search has to be prepared.
const PART: u64 = 1_000;

/// A compiled pattern. `Any` is for patterns with text between two `%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    Exactly(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    /// Text at the start, then texts in this order, then text at the end.
    Any(Vec<String>),
}

impl Pattern {
    /// Compiles a pattern in which `\%` is a percent sign and `\\` a backslash.
    pub(crate) fn new(text: &str) -> Self {
        let mut parts = vec![String::new()];
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            let last = parts.last_mut().expect("invariant: parts is never empty");
            match (char, chars.as_str().chars().next()) {
                ('\\', Some(next @ ('%' | '\\'))) => {
                    chars.next();
                    last.push(next);
                }
                // `%%` is `%`.
                ('%', Some('%')) => {}
                ('%', _) => parts.push(String::new()),
                _ => last.push(char),
            }
        }
        let mut empty = parts.iter().map(String::is_empty);
        let shape = (parts.len(), empty.next() == Some(true), empty.next_back() == Some(true));
        match shape {
            (1, ..) => Self::Exactly(parts.swap_remove(0)),
            (2, false, true) => Self::Prefix(parts.swap_remove(0)),
            (2, true, false) => Self::Suffix(parts.swap_remove(1)),
            (2, true, true) => Self::Contains(String::new()),
            (3, true, true) => Self::Contains(parts.swap_remove(1)),
            _ => Self::Any(parts),
        }
    }

    /// The pattern as text that compiles to the same.
    pub(crate) fn text(&self) -> String {
        let escaped = |text: &String| text.replace('\\', "\\\\").replace('%', "\\%");
        match self {
            Self::Exactly(text) => escaped(text),
            Self::Prefix(text) => format!("{}%", escaped(text)),
            Self::Suffix(text) => format!("%{}", escaped(text)),
            Self::Contains(text) if text.is_empty() => "%".into(),
            Self::Contains(text) => format!("%{}%", escaped(text)),
            Self::Any(parts) => parts.iter().map(escaped).collect::<Vec<_>>().join("%"),
        }
    }

    /// What searching a text of so many bytes costs, in units of work.
    pub(crate) fn price(&self, bytes: usize) -> u64 {
        match self {
            // Never more than the pattern is looked at, and that is part of the statement.
            Self::Exactly(_) | Self::Prefix(_) | Self::Suffix(_) => 0,
            Self::Contains(_) => SEARCH * bytes as u64,
            Self::Any(parts) => SEARCH * bytes as u64 + PART * parts.len() as u64,
        }
    }

    /// What compiling a pattern costs that a message brings.
    pub(crate) fn reading(text: &str) -> u64 {
        PART.saturating_mul(text.len() as u64)
    }

    /// True when all of the text matches.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Exactly(want) => text == want.as_bytes(),
            Self::Prefix(want) => text.starts_with(want.as_bytes()),
            Self::Suffix(want) => text.ends_with(want.as_bytes()),
            Self::Contains(want) => memmem::find(text, want.as_bytes()).is_some(),
            Self::Any(parts) => any(parts, text),
        }
    }
}

fn any(parts: &[String], text: &[u8]) -> bool {
    let [first, middle @ .., last] = parts else { return false };
    let Some(mut rest) =
        text.strip_prefix(first.as_bytes()).and_then(|rest| rest.strip_suffix(last.as_bytes()))
    else {
        return false;
    };
    for want in middle {
        // The first place leaves the most for those that follow.
        let Some(at) = memmem::find(rest, want.as_bytes()) else { return false };
        rest = rest.get(at + want.len()..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_documented() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("abc", "abc", true),
            ("a%", "abc", true),
            ("a%", "ba", false),
            ("%c", "abc", true),
            ("%b%", "abc", true),
            ("%", "", true),
            ("%%", "x", true),
            ("a%c", "ac", true),
            ("a%c", "abbc", true),
            ("ab%bc", "abc", false),
            ("a%b%c", "axbxc", true),
            ("a%b%c", "acb", false),
            ("%a%a%", "aba", true),
            ("%a%a%", "ab", false),
            ("a_c", "abc", false),
            ("a_c", "a_c", true),
            (r"100\%", "100%", true),
            (r"100\%", "100x", false),
            (r"a\\%", r"a\b", true),
            (r"a\b", r"a\b", true),
            ("温%", "温度", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(text.as_bytes()),
                want,
                "{text} LIKE {pattern}"
            );
        }
    }
}
