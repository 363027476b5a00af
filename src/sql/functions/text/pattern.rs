//! Patterns: regular expressions in the syntax of the `regex` crate (no back-references and no
//! look-around), compiled within limits.
//!
//! A search takes time in proportion to the text, times the size of the program in the worst case:
//! `(a{1,50}){1,50}b` is a few bytes, and each byte of a text may have it look at thousands of places.
//! So a search is paid for before it starts. What a pattern that is a constant costs is told by what it
//! becomes: most become a small automaton, which takes one step for each byte whatever the program.
//!
//! Finding *all* matches may take more: a search that ends with a short match may have looked at the
//! whole rest first. [`Matches`] pays for that. The functions are in `regexp`.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use regex::{Captures, Match, Regex, RegexBuilder};
use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input, MatchErrorKind, MatchKind};
use regex_syntax::hir::{Hir, HirKind, Look};

use crate::functions::{Fault, Site};

/// What a pattern may be.
#[derive(Debug, Clone, Copy)]
pub(in crate::functions) struct Limits {
    /// Bytes of the pattern.
    pattern: usize,
    /// Bytes of the compiled program.
    program: usize,
    /// Parts of the program, when repetitions are written out.
    parts: u64,
    /// Whether it is worth to find out what the pattern becomes.
    kept: bool,
}

/// For a constant, which is compiled once.
pub(in crate::functions) const CONSTANT: Limits =
    Limits { pattern: 4096, program: 1024 * 1024, parts: u64::MAX, kept: true };

/// For one that each message compiles: it comes from devices.
pub(in crate::functions) const PER_MESSAGE: Limits =
    Limits { pattern: 512, program: 128 * 1024, parts: 1_000, kept: false };

/// Bytes of the cache of the lazy automaton, for each thread that uses a pattern.
const AUTOMATON: usize = 1024 * 1024;

/// Bytes that an automaton takes at most that counts as small: it stays in that cache as a whole.
const SMALL: usize = 512 * 1024;

/// How many steps of a small automaton there are at most.
const STEPS: usize = 200_000;

/// Units of work to compile a pattern that a message brings, and for each byte of it.
const COMPILE: u64 = 500_000;
const COMPILE_BYTE: u64 = 20_000;

/// Units for each byte of a text and each part of the program.
const PART: u64 = 100;

/// Units for each byte of a text that a small automaton reads.
const STEP: u64 = 10;

/// Units for each search.
const SEARCH: u64 = 1_000;

/// Units for the groups of a match, beyond the search.
const GROUPS: u64 = 220_000;

/// Whether a search that costs so little is paid by the worst case without a further look.
const LITTLE: u64 = 1_000_000;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Regexp {
    pub(in crate::functions) regex: Regex,
    /// How many bytes beyond its match a search looks at most.
    reach: usize,
    /// Parts of the program.
    parts: u64,
    /// Whether it becomes a small automaton, for any text and for one of ASCII alone; found out when it
    /// matters for the first time.
    small: Arc<[OnceLock<bool>; 2]>,
    /// It asks for the ends of words, for which the automaton serves only in ASCII.
    words: bool,
    kept: bool,
}

/// What it costs to compile a pattern and to search a short text, for a pattern that is compiled for
/// each value again.
///
/// # Errors
/// Why it is no pattern, or none for that.
pub(crate) fn regexp_price(pattern: &str) -> Result<u64, String> {
    let regexp = Regexp::new(pattern, PER_MESSAGE)?;
    Ok(compiling(pattern).saturating_add(regexp.parts * PART * 64))
}

/// Units of work to compile a pattern within [`PER_MESSAGE`].
fn compiling(pattern: &str) -> u64 {
    COMPILE + COMPILE_BYTE * pattern.len() as u64
}

impl Regexp {
    /// Compiles a pattern. The error is one line.
    pub(in crate::functions) fn new(pattern: &str, limits: Limits) -> Result<Self, String> {
        if pattern.len() > limits.pattern {
            return Err(format!("the pattern has more than {} bytes", limits.pattern));
        }
        Self::compile(pattern, limits)
    }

    /// Compiles a pattern that a message brings.
    ///
    /// # Errors
    /// `too_costly`, or `pattern`.
    pub(in crate::functions) fn brought(
        pattern: &str,
        site: &Site<'_>,
        compile: fn(&str, Limits) -> Result<Self, String>,
    ) -> Result<Self, Fault> {
        site.pay(compiling(pattern.get(..PER_MESSAGE.pattern).unwrap_or(pattern)))?;
        compile(pattern, PER_MESSAGE).map_err(|message| Fault::new("pattern", message))
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
        let parts = parts(&tree);
        if parts > limits.parts {
            let most = limits.parts;
            return Err(format!(
                "the pattern has {parts} parts with its repetitions written out, and one that a \
                 message brings at most {most}; use smaller counts"
            ));
        }
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
        let looks = tree.properties().look_set();
        let words = [
            Look::WordUnicode,
            Look::WordUnicodeNegate,
            Look::WordStartUnicode,
            Look::WordEndUnicode,
            Look::WordStartHalfUnicode,
            Look::WordEndHalfUnicode,
        ];
        let words = words.into_iter().any(|look| looks.contains(look));
        let (reach, small, kept) = (reach(&tree), Arc::default(), limits.kept);
        Ok(Self { regex, reach, parts, small, words, kept })
    }

    /// A pattern of LIKE without regard to case.
    pub(in crate::functions) fn like(pattern: &str, limits: Limits) -> Result<Self, String> {
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

    /// Whether something of the pattern is in a text.
    ///
    /// # Errors
    /// `too_costly`.
    pub(in crate::functions) fn is_match(
        &self,
        text: &str,
        site: &Site<'_>,
    ) -> Result<bool, Fault> {
        self.pay(text, site)?;
        Ok(self.regex.is_match(text))
    }

    /// The first match in a text.
    ///
    /// # Errors
    /// `too_costly`.
    pub(in crate::functions) fn find<'t>(
        &self,
        text: &'t str,
        site: &Site<'_>,
    ) -> Result<Option<Match<'t>>, Fault> {
        self.pay(text, site)?;
        Ok(self.regex.find(text))
    }

    /// All matches in a text, without overlaps.
    ///
    /// # Errors
    /// `too_costly`, here and with each match.
    pub(in crate::functions) fn find_all<'r, 't>(
        &'r self,
        text: &'t str,
        site: &'r Site<'_>,
    ) -> Result<Matches<'r, 't>, Fault> {
        self.pay(text, site)?;
        let step = self.step(text, self.reach.min(text.len()) as u64 + 1);
        Ok(Matches { all: self.regex.find_iter(text), text, step, reach: self.reach, site })
    }

    /// What the groups have taken in a match that was found in that text.
    ///
    /// # Errors
    /// `too_costly`.
    pub(in crate::functions) fn groups<'t>(
        &self,
        text: &'t str,
        matched: &Match<'t>,
        site: &Site<'_>,
    ) -> Result<Option<Captures<'t>>, Fault> {
        // The match is found again, and gone through by the whole program with its groups.
        let beyond = (text.len() - matched.end()).min(self.reach) as u64;
        let slots = self.regex.captures_len() as u64;
        let inside = self.parts.saturating_mul(PART + PART / 4 * slots);
        let inside = inside.saturating_mul(matched.len() as u64 + 1);
        let again = beyond.saturating_mul(self.step(text, 1));
        site.pay(inside.saturating_add(again).saturating_add(GROUPS))?;
        Ok(self.regex.captures_at(text, matched.start()))
    }

    /// Pays for a search through a text.
    fn pay(&self, text: &str, site: &Site<'_>) -> Result<(), Fault> {
        let bytes = text.len() as u64 + 1;
        site.pay(bytes.saturating_mul(self.step(text, 1)).saturating_add(SEARCH))
    }

    /// Units of work for each byte of a text that may be gone through so many times.
    fn step(&self, text: &str, times: u64) -> u64 {
        let worst = self.parts.saturating_mul(PART);
        let all = worst.saturating_mul(text.len() as u64).saturating_mul(times);
        let little = all <= LITTLE;
        let ascii = text.is_ascii();
        if little || !self.kept || (self.words && !ascii) {
            return worst;
        }
        let [any, plain] = &*self.small;
        let small = || is_small(self.regex.as_str(), ascii).unwrap_or(false);
        if *(if ascii { plain } else { any }).get_or_init(small) { STEP } else { worst }
    }
}

/// The matches of a pattern in a text.
pub(in crate::functions) struct Matches<'r, 't> {
    all: regex::Matches<'r, 't>,
    text: &'t str,
    /// Units of work for each byte that is looked at.
    step: u64,
    reach: usize,
    site: &'r Site<'r>,
}

impl<'t> Matches<'_, 't> {
    /// The next one. What the search may have seen behind it is paid.
    ///
    /// # Errors
    /// `too_costly`.
    pub(in crate::functions) fn next(&mut self) -> Result<Option<Match<'t>>, Fault> {
        let Some(found) = self.all.next() else { return Ok(None) };
        let beyond = (self.text.len() - found.end()).min(self.reach) as u64;
        self.site.pay(beyond.saturating_mul(self.step).saturating_add(SEARCH))?;
        Ok(Some(found))
    }
}

/// The parts of a program: its characters and what branches, with repetitions written out.
fn parts(tree: &Hir) -> u64 {
    match tree.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Capture(capture) => parts(&capture.sub).saturating_add(2),
        HirKind::Concat(all) => all.iter().fold(0, |sum: u64, one| sum.saturating_add(parts(one))),
        HirKind::Alternation(all) => {
            all.iter().fold(1, |sum: u64, one| sum.saturating_add(parts(one)).saturating_add(1))
        }
        HirKind::Repetition(repetition) => {
            let copies = repetition.max.unwrap_or(repetition.min).max(1);
            parts(&repetition.sub).saturating_add(2).saturating_mul(copies.into())
        }
    }
}

/// Whether a pattern becomes automata, one for each direction, that stay small whatever the text, or
/// whatever the text in ASCII.
/// `None` when they cannot be built.
fn is_small(pattern: &str, ascii: bool) -> Option<bool> {
    let mut left = STEPS;
    for reverse in [false, true] {
        let kind = if reverse { MatchKind::All } else { MatchKind::LeftmostFirst };
        let program = thompson::Config::new()
            .reverse(reverse)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(CONSTANT.program));
        let dfa = DFA::builder()
            .configure(
                DFA::config().match_kind(kind).unicode_word_boundary(true).cache_capacity(SMALL),
            )
            .thompson(program)
            .build(pattern)
            .ok()?;
        if !fits(&dfa, ascii, &mut left)? {
            return Some(false);
        }
    }
    Some(true)
}

/// Builds all of an automaton, as long as it is small and steps are left.
fn fits(dfa: &DFA, ascii: bool, left: &mut usize) -> Option<bool> {
    let last = if ascii { 0x7f } else { 0xff };
    let mut cache: Cache = dfa.create_cache();
    let mut known: HashSet<LazyStateID, foldhash::fast::RandomState> = HashSet::default();
    let mut open = Vec::new();
    // What stands before the place where a search starts: nothing, a letter, something else, a line.
    for before in ["", "a", " ", "\n", "\r", "\u{e9}"] {
        for anchored in [Anchored::No, Anchored::Yes] {
            let start = before.len();
            let input = Input::new(before).range(start..start).anchored(anchored);
            match dfa.start_state_forward(&mut cache, &input) {
                Ok(state) => open.push(state),
                // There the automaton is not asked.
                Err(error) if matches!(error.kind(), MatchErrorKind::Quit { .. }) => {}
                Err(_) => return None,
            }
        }
    }
    while let Some(state) = open.pop() {
        if state.is_dead() || state.is_quit() || !known.insert(state) {
            continue;
        }
        for unit in dfa.byte_classes().representatives(0..=last) {
            *left = match left.checked_sub(1) {
                Some(left) => left,
                None => return Some(false),
            };
            open.push(dfa.next_state(&mut cache, state, unit.as_u8()?).ok()?);
            if cache.clear_count() > 0 {
                return Some(false);
            }
        }
        dfa.next_eoi_state(&mut cache, state).ok()?;
    }
    Some(cache.clear_count() == 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_patterns_become() {
        for (pattern, parts, small) in [
            ("abc", 3, true),
            (r"\d{4}-\d{2}", 19, true),
            (r"\w+@\w+", 7, true),
            ("error|warning|fatal", 21, true),
            (r"\bpump\b", 6, true),
            ("(?i)valve (on|off)", 15, true),
            ("^(a+)+$", 9, true),
            ("(a{1,50}){1,50}b", 7_701, false),
            ("(a|b)*a(a|b){20}", 106, false),
        ] {
            let regexp = Regexp::new(pattern, CONSTANT).expect(pattern);
            assert_eq!((regexp.parts, is_small(pattern, true)), (parts, Some(small)), "{pattern}");
        }
    }

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
