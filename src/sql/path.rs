//! Paths into a document: what may stand in double quotes.
//!
//! Bare paths are put together from tokens in `statement`.

use super::json_path::JsonPath;

/// A way from the document's root to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// From the root; none is the document itself.
    pub steps: Vec<Step>,
    /// As it was written, without quotes.
    pub text: String,
    /// True when the steps start at an element of UNNEST, not at the document.
    pub element: bool,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// A key of an object.
    Key(String),
    /// An index of an array; a negative one counts from the end.
    Index(i64),
}

/// What a text in double quotes names.
#[derive(Debug)]
pub(crate) enum Quoted {
    /// One value.
    Path(Vec<Step>),
    /// One value, to be put into an array.
    Wrapped(Vec<Step>),
    /// Any number of values.
    JsonPath(Box<JsonPath>),
}

/// Reads what stands between double quotes.
///
/// # Errors
/// What is wrong, and a hint.
pub(crate) fn quoted(text: &str) -> Result<Quoted, (String, &'static str)> {
    const HINT: &str = "write a path such as \"a.b[0]\"; backticks name a key with any characters";
    if let Some(rest) = text.strip_prefix('$') {
        if rest.is_empty() {
            return Ok(Quoted::Path(Vec::new()));
        }
        if rest.starts_with(['.', '[']) {
            let plain = !rest.contains(['*', '?', '@', '(', ')', ':', ',', '\'', '"', ' ']);
            if plain && let Some(steps) = steps(rest.strip_prefix('.').unwrap_or(rest)) {
                return Ok(Quoted::Path(steps));
            }
            return match JsonPath::parse(text) {
                Ok(path) => Ok(Quoted::JsonPath(Box::new(path))),
                Err(None) => {
                    let hint = "JSONPath is `$.a[*].b`, `$.a[0:2]`, `$..b` or `$.a[?(@.b > 1)]`";
                    Err((format!("`{text}` is no JSONPath"), hint))
                }
                Err(Some(message)) => Err((
                    message,
                    "select the surroundings by a plain path, or narrow the JSONPath down",
                )),
            };
        }
    }
    if let Some(rest) = text.strip_prefix('.') {
        return match steps(rest) {
            Some(found) => Ok(Quoted::Wrapped(found)),
            None => Err((format!("`{text}` is no path"), HINT)),
        };
    }
    match steps(text) {
        Some(found) => Ok(Quoted::Path(found)),
        None if text.contains("[*]") || text.contains("[?") => Err((
            format!("`{text}` is no path"),
            "a JSONPath with wildcards or filters starts with `$`",
        )),
        None => Err((format!("`{text}` is no path"), HINT)),
    }
}

/// Reads `a.b[0].c`; `None` when it is something else.
fn steps(text: &str) -> Option<Vec<Step>> {
    let mut found = Vec::new();
    for (at, part) in text.split('.').enumerate() {
        let (key, mut rest) = match part.find('[') {
            Some(open) => part.split_at(open),
            None => (part, ""),
        };
        if !key.is_empty() {
            found.push(Step::Key(key.to_owned()));
        } else if at > 0 || rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            found.push(Step::Index(self::index(index)?));
            rest = after;
        }
        if key.contains(']') {
            return None;
        }
    }
    Some(found)
}

/// Reads an index: digits, with a minus before them when it counts from the end.
pub(crate) fn index(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    // `-0` would be an index that no array has.
    text.parse().ok().filter(|_| plain && text != "-0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match quoted(text) {
            Ok(Quoted::Path(steps)) => show(&steps),
            Ok(Quoted::Wrapped(steps)) => format!("[{}]", show(&steps)),
            Ok(Quoted::JsonPath(_)) => "jsonpath".into(),
            Err((message, _)) => message,
        }
    }

    fn show(steps: &[Step]) -> String {
        let one = |step: &Step| match step {
            Step::Key(key) => format!("/{key}"),
            Step::Index(index) => format!("#{index}"),
        };
        steps.iter().map(one).collect()
    }

    #[test]
    fn paths_are_read() {
        for (text, want) in [
            ("a", "/a"),
            ("a.b.c", "/a/b/c"),
            ("a[0]", "/a#0"),
            ("a[-1].b[2][3]", "/a#-1/b#2#3"),
            ("a-b", "/a-b"),
            ("a b", "/a b"),
            ("温度.值", "/温度/值"),
            ("$.a[0]", "/a#0"),
            ("$[0].a", "#0/a"),
            ("[0].a", "#0/a"),
            ("$", ""),
            ("$type", "/$type"),
            (".a[1].v", "[/a#1/v]"),
            ("$.a[*].b", "jsonpath"),
            ("$..b", "jsonpath"),
            ("$.a[0:2]", "jsonpath"),
            ("$.a[?(@.b > 1)]", "jsonpath"),
            ("$.a['b']", "jsonpath"),
            ("$.a[?(@.b == '*?:,..')].c[*]", "jsonpath"),
            ("$..a..b", "a JSONPath has at most 1 `..`"),
            ("$[0,0,0][0,0,0,0]", "a JSONPath has at most 4 commas"),
            ("$.a[?($.a[*])]", "a filter of a JSONPath has no wildcards, slices or filters"),
            ("", "`` is no path"),
            ("a..b", "`a..b` is no path"),
            ("a.", "`a.` is no path"),
            ("a[", "`a[` is no path"),
            ("a[x]", "`a[x]` is no path"),
            ("a[-0]", "`a[-0]` is no path"),
            ("a[*]", "`a[*]` is no path"),
            ("a]b", "`a]b` is no path"),
            ("$.a[", "`$.a[` is no JSONPath"),
        ] {
            assert_eq!(read(text), want, "{text}");
        }
    }
}
