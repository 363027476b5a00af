//! Patterns: regular expressions in the syntax of the `regex` crate (no back-references and no
//! look-around), compiled within limits. One search is linear in the text.
//!
//! Finding *all* matches is not always: a search that ends with a short match may have looked at the
//! whole rest first. [`Work`] bounds that. The functions are in `regexp`.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

use crate::sql::functions::Fault;

/// What a pattern may be.
#[derive(Debug, Clone, Copy)]
pub(in crate::sql::functions) struct Limits {
    /// Bytes of the pattern.
    pattern: usize,
    /// Bytes of the compiled program.
    program: usize,
}

/// For a constant, which is compiled once.
pub(in crate::sql::functions) const CONSTANT: Limits =
    Limits { pattern: 4096, program: 1024 * 1024 };

/// For one that each message compiles: it comes from devices.
pub(in crate::sql::functions) const PER_MESSAGE: Limits =
    Limits { pattern: 512, program: 256 * 1024 };

/// Bytes of the cache of the lazy automaton, for each thread that uses a pattern.
const AUTOMATON: usize = 1024 * 1024;

/// How many bytes the searches of one call may have looked at in the worst case: texts of up to 8 KiB
/// never reach it.
const WORK: usize = 32 * 1024 * 1024;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Regexp {
    pub(in crate::sql::functions) regex: Regex,
    /// How many bytes beyond its match a search looks at most.
    reach: usize,
}

impl Regexp {
    /// Compiles a pattern. The error is one line.
    pub(in crate::sql::functions) fn new(pattern: &str, limits: Limits) -> Result<Self, String> {
        if pattern.len() > limits.pattern {
            return Err(format!("the pattern has more than {} bytes", limits.pattern));
        }
        Self::compile(pattern, limits)
    }

    fn compile(pattern: &str, limits: Limits) -> Result<Self, String> {
        let tree = regex_syntax::parse(pattern).map_err(|error| {
            let (what, at) = match &error {
                regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start),
                regex_syntax::Error::Translate(error) => {
                    (error.kind().to_string(), error.span().start)
                }
                _ => return "it cannot be read".to_owned(),
            };
            format!("{what}, at character {} of the pattern", at.column)
        })?;
        let regex = RegexBuilder::new(pattern)
            .size_limit(limits.program)
            .dfa_size_limit(AUTOMATON)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(limit) => {
                    format!(
                        "the pattern takes more than {limit} bytes compiled; use smaller counts"
                    )
                }
                // The parser above has refused everything else.
                other => other.to_string().lines().last().unwrap_or_default().to_owned(),
            })?;
        Ok(Self { reach: reach(&tree), regex })
    }

    /// A pattern of LIKE without regard to case.
    pub(in crate::sql::functions) fn like(pattern: &str, limits: Limits) -> Result<Self, String> {
        if pattern.len() > limits.pattern {
            return Err(format!("the pattern has more than {} bytes", limits.pattern));
        }
        let mut source = String::from("(?is)^");
        let mut literal = String::new();
        let mut chars = pattern.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '%' => {
                    source.push_str(&regex::escape(&literal));
                    literal.clear();
                    // `%%` is `%`.
                    if !source.ends_with(".*") {
                        source.push_str(".*");
                    }
                }
                '\\' => {
                    literal.push(chars.next_if(|next| matches!(next, '%' | '\\')).unwrap_or('\\'));
                }
                other => literal.push(other),
            }
        }
        source.push_str(&regex::escape(&literal));
        source.push('$');
        Self::compile(&source, limits)
    }

    /// How much the matches in a text may cost.
    pub(in crate::sql::functions) fn work(&self) -> Work {
        Work { left: WORK, reach: self.reach }
    }
}

/// How far beyond the end of a match a search can be alive: as long as the longest match, or, when
/// something is repeated, the repetitions that one start needs and one more.
fn reach(tree: &Hir) -> usize {
    if let Some(length) = tree.properties().maximum_len() {
        return length;
    }
    match tree.kind() {
        HirKind::Capture(capture) => reach(&capture.sub),
        HirKind::Repetition(repetition) => match repetition.sub.properties().maximum_len() {
            Some(length) => {
                let least = usize::try_from(repetition.min).unwrap_or(usize::MAX);
                length.saturating_mul(least.saturating_add(1))
            }
            None => usize::MAX,
        },
        _ => usize::MAX,
    }
}

/// What is left of [`WORK`] in a call.
pub(in crate::sql::functions) struct Work {
    left: usize,
    reach: usize,
}

impl Work {
    /// Pays for what the search may have seen behind a match, in a text with so many bytes left.
    ///
    /// # Errors
    /// `too_costly` when nothing is left.
    pub(in crate::sql::functions) fn pay(&mut self, rest: usize) -> Result<(), Fault> {
        match self.left.checked_sub(rest.min(self.reach)) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Fault::new(
                "too_costly",
                "the pattern matches too often in a text this long; shorten the text, or use a \
                 pattern whose matches have a greatest length",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_searches_look() {
        for (pattern, want) in [
            ("abc", 3),
            (r"[0-9]+", 2),
            (r"([0-9]{3,})", 4),
            (r"(?:ab|c)*", 2),
            (r"\d+", 8),
            (r"a{2,9}b?", 10),
            (r"a(.*b)?", usize::MAX),
            (r"\s*,\s*", usize::MAX),
            (r"(a+)+", usize::MAX),
        ] {
            let regexp = Regexp::new(pattern, CONSTANT).expect(pattern);
            assert_eq!(regexp.reach, want, "{pattern}");
        }
    }
}
