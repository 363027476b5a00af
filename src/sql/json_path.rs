//! JSONPath: what may be written, what a search through a document costs, and the search itself.
//!
//! The library that searches notes the path of every value that it comes by as a text, and compiles
//! the pattern of `match` and `search` for every element: both are paid for here, before it starts.

use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, FnArg, JpQuery, Literal, Segment, Selector, Test,
    TestFunction,
};
use serde_json::Value as Json;

use super::functions::{Fault, regexp_price};
use super::work::Work;

/// The most bytes of a JSONPath: its parser recurses.
const BYTES: usize = 1024;

/// The most brackets and parentheses within each other in a JSONPath, for the same reason.
const BRACKETS: usize = 16;

/// The most `..` in one JSONPath: each multiplies what it visits by the depth of the document.
const DESCENTS: usize = 1;

/// The most commas outside of text in one JSONPath: `[0,0]` doubles what it visits.
const UNIONS: usize = 4;

/// Units of work for each byte of a document whose values are counted.
const SUM: u64 = 40;

/// Units for each value of the document that may be visited.
const VISIT: u64 = 1_500;

/// For each byte of the paths of these values.
const PLACE: u64 = 40;

/// For each byte of a filter and each value that it is asked about.
const FILTER: u64 = 400;

/// A JSONPath, compiled, and its text.
#[derive(Debug, Clone)]
pub struct JsonPath {
    pub(crate) text: String,
    query: JpQuery,
    /// How often a union may double what is visited.
    doublings: u32,
    /// Units of work for each value that is visited.
    visit: u64,
    /// Whether a filter compares each element with a list, which may be as long as the document.
    lists: bool,
}

impl JsonPath {
    /// Reads a JSONPath.
    ///
    /// # Errors
    /// Why it is none, or one that is refused for what it may cost; `None` for what the parser says.
    pub(crate) fn parse(text: &str) -> Result<Self, Option<String>> {
        let doublings = bounded(text).map_err(Some)?;
        let query = jsonpath_rust::parser::parse_json_path(text).map_err(|_| None)?;
        let mut calls = Calls::default();
        query.segments.iter().for_each(|segment| calls.segment(segment));
        let mut visit = VISIT;
        if calls.filters {
            visit += FILTER * text.len() as u64;
        }
        for pattern in calls.patterns {
            let constant = "`match` and `search` of a JSONPath take a pattern that is a constant";
            let pattern = pattern.ok_or_else(|| Some(constant.to_owned()))?;
            visit = visit.saturating_add(regexp_price(pattern).map_err(Some)?);
        }
        let lists = calls.lists;
        Ok(Self { text: text.to_owned(), query, doublings, visit, lists })
    }

    /// Pays for a search through a document whose text has so many bytes.
    ///
    /// # Errors
    /// `too_costly`.
    pub(crate) fn pay(&self, document: &Json, bytes: usize, work: &Work) -> Result<(), Fault> {
        work.pay(bytes as u64 * SUM)?;
        let mut sum = Sum::default();
        sum.add(document, 1);
        let mut visit = self.visit;
        if self.visit > VISIT {
            // A filter may look at all of a text, or of a list.
            visit = visit.saturating_add(if self.lists { bytes as u64 * VISIT } else { 0 });
        }
        let once = sum.values.saturating_mul(visit);
        let places = sum.places.saturating_mul(PLACE);
        let text = if self.visit > VISIT { bytes as u64 * self.visit / VISIT } else { 0 };
        let all = once.saturating_add(places).saturating_add(text);
        work.pay(all.saturating_mul(1 << self.doublings))
    }

    /// What it finds in a document.
    ///
    /// # Errors
    /// What the library says.
    pub(crate) fn find<'d>(&self, document: &'d Json) -> Result<Vec<&'d Json>, Fault> {
        let found = jsonpath_rust::query::js_path_process(&self.query, document)
            .map_err(|error| Fault::new("json_path", error.to_string()))?;
        Ok(found.into_iter().map(jsonpath_rust::query::QueryRef::val).collect())
    }
}

/// The values of a document, and the bytes of their paths.
#[derive(Default)]
struct Sum {
    values: u64,
    places: u64,
}

impl Sum {
    /// Adds a value whose path has so many bytes. As deep as documents may be.
    fn add(&mut self, value: &Json, place: u64) {
        self.values += 1;
        self.places = self.places.saturating_add(place);
        match value {
            // An index takes its digits and two brackets.
            Json::Array(all) => all.iter().for_each(|inner| self.add(inner, place + 6)),
            Json::Object(all) => {
                all.iter().for_each(|(key, inner)| self.add(inner, place + 4 + key.len() as u64));
            }
            _ => {}
        }
    }
}

/// The calls in the filters of a JSONPath.
#[derive(Default)]
struct Calls<'q> {
    /// There is a filter.
    filters: bool,
    /// The patterns of `match` and `search`; `None` for one that is no constant.
    patterns: Vec<Option<&'q str>>,
    /// There is a call that goes through a list.
    lists: bool,
}

impl<'q> Calls<'q> {
    fn segment(&mut self, segment: &'q Segment) {
        match segment {
            Segment::Descendant(inner) => self.segment(inner),
            Segment::Selector(selector) => self.selector(selector),
            Segment::Selectors(all) => all.iter().for_each(|selector| self.selector(selector)),
        }
    }

    fn selector(&mut self, selector: &'q Selector) {
        if let Selector::Filter(filter) = selector {
            self.filters = true;
            self.filter(filter);
        }
    }

    fn filter(&mut self, filter: &'q Filter) {
        match filter {
            Filter::Or(all) | Filter::And(all) => all.iter().for_each(|filter| self.filter(filter)),
            Filter::Atom(FilterAtom::Filter { expr, .. }) => self.filter(expr),
            Filter::Atom(FilterAtom::Test { expr, .. }) => self.test(expr),
            Filter::Atom(FilterAtom::Comparison(comparison)) => {
                let (Comparison::Eq(a, b)
                | Comparison::Ne(a, b)
                | Comparison::Gt(a, b)
                | Comparison::Gte(a, b)
                | Comparison::Lt(a, b)
                | Comparison::Lte(a, b)) = &**comparison;
                for side in [a, b] {
                    if let Comparable::Function(function) = side {
                        self.function(function);
                    }
                }
            }
        }
    }

    fn test(&mut self, test: &'q Test) {
        match test {
            Test::RelQuery(segments) => segments.iter().for_each(|segment| self.segment(segment)),
            Test::AbsQuery(query) => {
                query.segments.iter().for_each(|segment| self.segment(segment));
            }
            Test::Function(function) => self.function(function),
        }
    }

    fn function(&mut self, function: &'q TestFunction) {
        match function {
            TestFunction::Custom(_, arguments) => {
                self.lists = true;
                arguments.iter().for_each(|argument| self.argument(argument));
            }
            TestFunction::Length(argument) => self.argument(argument),
            TestFunction::Value(argument) | TestFunction::Count(argument) => {
                self.argument(argument);
            }
            TestFunction::Search(text, pattern) | TestFunction::Match(text, pattern) => {
                self.argument(text);
                self.patterns.push(match pattern {
                    FnArg::Literal(Literal::String(pattern)) => Some(pattern),
                    _ => None,
                });
            }
        }
    }

    fn argument(&mut self, argument: &'q FnArg) {
        match argument {
            FnArg::Literal(_) => {}
            FnArg::Test(test) => self.test(test),
            FnArg::Filter(filter) => self.filter(filter),
        }
    }
}

/// Holds a JSONPath against what no budget can bound: its parser recurses, and a path of a few bytes
/// could multiply what it visits again and again. Says how often it may double it.
fn bounded(text: &str) -> Result<u32, String> {
    if text.len() > BYTES {
        return Err(format!("a JSONPath has at most {BYTES} bytes"));
    }
    let (mut depth, mut commas, mut descents) = (0_usize, 0, 0);
    let mut quote = None;
    // The depth of the bracket in which a filter stands.
    let mut filter = None;
    let mut before = b' ';
    for byte in text.bytes() {
        match (byte, quote) {
            (_, Some(open)) if byte == open && before != b'\\' => quote = None,
            (b'\'' | b'"', None) => quote = Some(byte),
            (b'(' | b'[', None) => depth += 1,
            (b')' | b']', None) => {
                depth = depth.saturating_sub(1);
                filter = filter.filter(|open| depth >= *open);
            }
            (b'?', None) if filter.is_none() => filter = Some(depth),
            (b'?' | b'*' | b':', None) if filter.is_some() => {
                return Err("a filter of a JSONPath has no wildcards, slices or filters".into());
            }
            (b',', None) => commas += 1,
            (b'.', None) if before == b'.' => descents += 1,
            _ => {}
        }
        if depth > BRACKETS {
            return Err(format!("a JSONPath has at most {BRACKETS} levels of brackets"));
        }
        before = byte;
    }
    if descents > DESCENTS {
        return Err(format!("a JSONPath has at most {DESCENTS} `..`"));
    }
    if commas > UNIONS {
        return Err(format!("a JSONPath has at most {UNIONS} commas"));
    }
    Ok(u32::try_from(commas).unwrap_or(0))
}
