//! Setting one value in the text of a YAML file: comments, order and form of all else stay.
//!
//! The text is cut where the parser says that the value stands. Whether the result means what it
//! should, the caller finds out by reading it again: YAML has more forms than anybody foresees.

use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};
use serde_json::Value;

/// The longest line that is written when a value can also be broken into several, in characters.
const WIDTH: usize = 100;

/// Spaces that a level is indented by.
const STEP: usize = 2;

/// The map that is changed, as far as it was read.
#[derive(Debug, Default)]
struct Found {
    /// The map is written as `{…}`.
    flow: bool,
    /// The column of its first key, from 0.
    column: usize,
    /// Where its last value ends, as a place in the text.
    end: usize,
    /// The key that is to be set: where it ends, where its value starts and ends.
    entry: Option<Entry>,
}

#[derive(Debug)]
struct Entry {
    key_end: usize,
    /// `None` for a key that nothing follows.
    value: Option<Range<usize>>,
}

/// The text with `key` of the map at `path` (such as `rules[0].tests[1]`) set to a value. A key that
/// is missing becomes the last one of the map. `None` when the text has no such map.
#[must_use]
pub fn set(text: &str, path: &str, key: &str, value: &Value) -> Option<String> {
    let found = find(text, path, key)?;
    let indent = found.column + STEP;
    let Some(entry) = found.entry else {
        let (before, after) = text.split_at_checked(found.end)?;
        if found.flow {
            return Some(format!("{before}, {}{after}", entry_line(key, value)));
        }
        // What follows on the line is a comment of the value before.
        let (rest, after) = after.split_at(after.find(['\n', '\r']).unwrap_or(after.len()));
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        let spaces = " ".repeat(found.column);
        let written = written(value, found.column + key.len() + 2, indent, newline);
        return Some(format!("{before}{rest}{newline}{spaces}{}:{written}{after}", scalar(key)));
    };
    let colon = entry.key_end + text.get(entry.key_end..)?.find(':')? + 1;
    let value_at = entry.value.unwrap_or(colon..colon);
    let (before, after) = (text.get(..colon)?, text.get(value_at.end..)?);
    let gap = text.get(colon..value_at.start)?;
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let written = match gap.rfind('\n') {
        _ if found.flow => format!(" {}", flow(value)),
        // A comment between the key and its value stays, and the value stays below it.
        Some(end) if gap.contains('#') => {
            let comment = gap.get(..end)?.trim_end();
            format!("{comment}{newline}{}{}", " ".repeat(indent), flow(value))
        }
        _ => written(value, found.column + key.len() + 2, indent, newline),
    };
    Some(format!("{before}{written}{after}"))
}

/// `key: value` on one line.
fn entry_line(key: &str, value: &Value) -> String {
    format!("{}: {}", scalar(key), flow(value))
}

/// What follows `key:`: the value on the same line, or in lines of its own when it is long.
fn written(value: &Value, column: usize, indent: usize, newline: &str) -> String {
    let line = flow(value);
    let long = column + line.chars().count() > WIDTH;
    match value {
        Value::Array(items) if long && !items.is_empty() => {
            let spaces = " ".repeat(indent);
            let items = items.iter().map(|item| match item {
                Value::Object(map) if indent + STEP + flow(item).chars().count() > WIDTH => {
                    let below = indent + STEP;
                    let pairs: Vec<_> =
                        map.iter().map(|(key, value)| pair(key, value, below, newline)).collect();
                    let glue = format!("{newline}{}", " ".repeat(below));
                    format!("{newline}{spaces}- {}", pairs.join(&glue))
                }
                _ => format!("{newline}{spaces}- {}", flow(item)),
            });
            items.collect()
        }
        Value::Object(map) if long && !map.is_empty() => {
            let spaces = " ".repeat(indent);
            let pairs = map.iter().map(|(key, value)| {
                format!("{newline}{spaces}{}", pair(key, value, indent, newline))
            });
            pairs.collect()
        }
        _ => format!(" {line}"),
    }
}

fn pair(key: &str, value: &Value, indent: usize, newline: &str) -> String {
    let key = scalar(key);
    let column = indent + key.chars().count() + 2;
    format!("{key}:{}", written(value, column, indent + STEP, newline))
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let pairs: Vec<_> = map.iter().map(|(key, value)| entry_line(key, value)).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

/// A text: plain where it can't be taken for anything else, otherwise in double quotes.
fn scalar(text: &str) -> String {
    let first =
        text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '_'));
    let rest =
        text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.'));
    let word = ["true", "false", "null"].iter().any(|word| text.eq_ignore_ascii_case(word));
    if first && rest && !word {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    for c in Value::from(text).to_string().chars() {
        // JSON leaves these as they are, YAML does not print them (YAML 1.2.2 §5.1).
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// A map or list that is open while events are read.
struct Open {
    path: String,
    /// For maps: the key that waits for its value. For lists: how many items there were.
    key: Option<(String, usize)>,
    items: usize,
    map: bool,
}

/// Reads the events of a text until the map was seen to its end.
fn find(text: &str, path: &str, key: &str) -> Option<Found> {
    let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
    let mut finder = Finder {
        text,
        path,
        key,
        lines: std::iter::once(0).chain(newlines).collect(),
        open: Vec::new(),
        found: None,
        value_start: 0,
        last_end: 0,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.ok()?;
        let done = match event {
            Event::MappingStart(..) => finder.start(true, span).map(|()| false)?,
            Event::SequenceStart(..) => finder.start(false, span).map(|()| false)?,
            Event::MappingEnd | Event::SequenceEnd => finder.end(span)?,
            Event::Scalar(ref name, style, ..) => {
                finder.scalar(name, style, span)?;
                false
            }
            _ => false,
        };
        if done {
            return finder.found;
        }
    }
    None
}

struct Finder<'a> {
    text: &'a str,
    path: &'a str,
    key: &'a str,
    /// Where each line starts.
    lines: Vec<usize>,
    open: Vec<Open>,
    found: Option<Found>,
    /// Where the value of the key that is to be set starts.
    value_start: usize,
    /// Where the last piece of text ended that is neither space nor comment.
    last_end: usize,
}

impl Finder<'_> {
    /// A place in the text. The parser ends a text without a last newline on a line of its own.
    fn offset(&self, mark: Marker) -> usize {
        let start = mark.line().checked_sub(1).and_then(|line| self.lines.get(line)).copied();
        let start = start.unwrap_or(self.text.len());
        let rest = self.text.get(start..).unwrap_or_default();
        rest.char_indices().nth(mark.col()).map_or(self.text.len(), |(at, _)| start + at)
    }

    fn start(&mut self, map: bool, span: Span) -> Option<()> {
        let at = self.offset(span.start);
        let here = path_of_next(&self.open);
        if map && here == self.path && self.found.is_none() {
            let flow = self.text.get(at..)?.starts_with('{');
            self.found = Some(Found { flow, column: span.start.col(), end: at, entry: None });
        } else if self.is_entry() {
            self.value_start = at;
        }
        self.open.push(Open { path: here, key: None, items: 0, map });
        Some(())
    }

    /// Answers true when it was the map that ended.
    fn end(&mut self, span: Span) -> Option<bool> {
        let closed = self.open.pop()?;
        // The span may begin before the bracket and reaches to the next token; that of a block has no
        // text at all.
        let rest = self.text.get(self.offset(span.start)..)?;
        let rest = rest.trim_start_matches([',', ' ', '\t', '\r', '\n']);
        if span.start != span.end && rest.starts_with(['}', ']']) {
            self.last_end = self.text.len() - rest.len() + 1;
        }
        if closed.map && closed.path == self.path {
            let found = self.found.as_mut()?;
            found.end = match found.flow {
                // Before the closing brace, behind the last value.
                true => {
                    let inside = self.text.get(..self.last_end.checked_sub(1)?)?;
                    inside.trim_end().trim_end_matches(',').len()
                }
                false => self.last_end,
            };
            return Some(true);
        }
        self.close(self.last_end);
        Some(false)
    }

    fn scalar(&mut self, name: &str, style: ScalarStyle, span: Span) -> Option<()> {
        let at = self.offset(span.start);
        let end = scalar_end(self.text, at, self.offset(span.end), style)?;
        if end > at {
            self.last_end = end;
        }
        if let Some(top) = self.open.last_mut().filter(|top| top.map && top.key.is_none()) {
            top.key = Some((name.to_owned(), end));
            if let Some(found) = self.found.as_mut().filter(|_| top.path == self.path) {
                found.column = if top.items == 0 { span.start.col() } else { found.column };
            }
            return Some(());
        }
        if self.is_entry() {
            let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
            // The parser says where the first line is; the `|` stands behind the key.
            self.value_start = if block { self.block_start()? } else { at };
        }
        self.close(end);
        Some(())
    }

    /// Where the `|` or `>` behind the key stands that waits for its value.
    fn block_start(&self) -> Option<usize> {
        let (_, key_end) = self.open.last()?.key.as_ref()?;
        Some(key_end + self.text.get(*key_end..)?.find(['|', '>'])?)
    }

    /// The next value is that of the key which is to be set.
    fn is_entry(&self) -> bool {
        let Some(top) = self.open.last() else { return false };
        let key = top.key.as_ref().is_some_and(|(name, _)| name == self.key);
        top.map && top.path == self.path && key
    }

    /// A value has ended.
    fn close(&mut self, end: usize) {
        let entry = self.is_entry();
        let Some(top) = self.open.last_mut() else { return };
        top.items += 1;
        let Some((_, key_end)) = top.key.take() else { return };
        if let Some(found) = self.found.as_mut().filter(|_| entry) {
            let start = self.value_start;
            let value = (start >= key_end && end > start).then_some(start..end);
            found.entry = Some(Entry { key_end, value });
        }
    }
}

/// Where a scalar ends. The parser's own end is that of the next token, comments included, for text
/// in quotes, and that of the next line for text in a block.
fn scalar_end(text: &str, at: usize, end: usize, style: ScalarStyle) -> Option<usize> {
    let quote = match style {
        ScalarStyle::SingleQuoted => '\'',
        ScalarStyle::DoubleQuoted => '"',
        _ => return Some(text.get(..end.max(at))?.trim_end().len().max(at)),
    };
    let mut chars = text.get(at + 1..)?.char_indices().peekable();
    while let Some((index, c)) = chars.next() {
        let doubled = c == quote && quote == '\'' && chars.peek().is_some_and(|(_, c)| *c == quote);
        if doubled || (c == '\\' && quote == '"') {
            chars.next();
        } else if c == quote {
            return Some(at + 1 + index + 1);
        }
    }
    None
}

fn path_of_next(open: &[Open]) -> String {
    match open.last() {
        None => String::new(),
        Some(Open { path, map: false, items, .. }) => format!("{path}[{items}]"),
        Some(Open { path, key, .. }) => {
            let key = key.as_ref().map_or("", |(key, _)| key);
            super::join(path, key)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::Document;

    fn read(text: &str) -> Value {
        Document::parse(Path::new("x.yaml"), text).expect("YAML").value().clone()
    }

    /// Sets `k` in the map at `path` and checks that nothing else has another value.
    fn sets(text: &str, path: &str, pointer: &str, value: &Value) -> String {
        let out = set(text, path, "k", value).expect("a map");
        let (mut want, mut got) = (read(text), read(&out));
        assert_eq!(got.pointer(pointer).and_then(|map| map.get("k")), Some(value), "{out}");
        for document in [&mut want, &mut got] {
            document.pointer_mut(pointer).and_then(Value::as_object_mut).expect("map").remove("k");
        }
        assert_eq!(want, got, "{out}");
        out
    }

    #[test]
    fn values_are_replaced_and_the_rest_stays() {
        let value = json!([{ "a": 1.5, "b": "x y" }]);
        let after = "k: [{ a: 1.5, b: \"x y\" }]";
        let cases = [
            ("k: [1, 2] # why\nb: 2\n", "# why\nb: 2\n"),
            ("k: {a: [1]}\n# c\nb: 2\n", "\n# c\nb: 2\n"),
            ("k:\n  - a: 1 # in it\n  - b\n# c\nb: 2\n", "\n# c\nb: 2\n"),
            ("k:\n- a\n- b\nb: 2\n", "\nb: 2\n"),
            ("k: |\n  text\n  more\n\nb: 2", "\n\nb: 2"),
            ("k: 'it''s' # c\nb: 2", " # c\nb: 2"),
            ("k: \"a\\n\"\nb: 2", "\nb: 2"),
            ("k: two words # c\nb: 2", " # c\nb: 2"),
            ("k:\nb: 2", "\nb: 2"),
            ("k: # c\nb: 2", " # c\nb: 2"),
            ("k: ~\nb: 温", "\nb: 温"),
            ("k: [1]\r\nb: 2\r\n", "\r\nb: 2\r\n"),
        ];
        for (text, rest) in cases {
            for (before, path, pointer) in
                [("", "", ""), ("x: 温度\r\n", "", ""), ("l:\n- 1\n- ", "l[1]", "/l/1")]
            {
                let indented = text.replace('\n', "\n  ");
                let text = if path.is_empty() { text.to_owned() } else { indented };
                let out = sets(&format!("{before}{text}"), path, pointer, &value);
                assert!(out.starts_with(&format!("{before}{after}")), "{out}");
                let rest =
                    if path.is_empty() { rest.to_owned() } else { rest.replace('\n', "\n  ") };
                assert!(out.ends_with(&rest), "{out:?} does not end with {rest:?}");
            }
        }
        let kept = sets("k: # the first\n  - 1\nb: 2\n", "", "", &value);
        assert_eq!(kept, "k: # the first\n  [{ a: 1.5, b: \"x y\" }]\nb: 2\n");
        let flow = sets("- { a: 1, k: [1, {}], b: 2 }", "[0]", "/0", &json!({}));
        assert_eq!(flow, "- { a: 1, k: {}, b: 2 }");
        let flow = sets("a: {b: {k: [1,\n 2]}}", "a.b", "/a/b", &json!(true));
        assert_eq!(flow, "a: {b: {k: true}}");
    }

    #[test]
    fn missing_keys_come_last() {
        let value = json!([]);
        let cases = [
            ("a: 1", "a: 1\nk: []"),
            ("a: 1 # one\n# end\n", "a: 1 # one\nk: []\n# end\n"),
            ("a:\n  - b: 1\n    c: |\n      text\n", "a:\n  - b: 1\n    c: |\n      text\nk: []\n"),
            ("a: 1\r\nb: {}\r\n", "a: 1\r\nb: {}\r\nk: []\r\n"),
            ("{ a: [1, 2] } # c", "{ a: [1, 2], k: [] } # c"),
            ("{ a: {b: 1}, }", "{ a: {b: 1}, k: [], }"),
        ];
        for (text, want) in cases {
            assert_eq!(sets(text, "", "", &value), want);
        }
        let list = "l:\n  - name: x # one\n    m: {t: 1}\n\n  # two\n  - name: y\nz: 1\n";
        assert_eq!(
            sets(list, "l[0]", "/l/0", &value),
            "l:\n  - name: x # one\n    m: {t: 1}\n    k: []\n\n  # two\n  - name: y\nz: 1\n"
        );
        assert_eq!(set("a: 1", "b", "k", &value), None);
        assert_eq!(set("[1", "", "k", &value), None);
    }

    #[test]
    fn long_values_get_lines_of_their_own() {
        let text = "t".repeat(60);
        let value = json!([{ "a": text, "b": { "c": text, "d": [text] } }, 1]);
        let out = sets("l:\n  - k: 1\n", "l[0]", "/l/0", &value);
        let want = format!(
            "l:\n  - k:\n      - a: {text}\n        b:\n          c: {text}\n          d: [{text}]\n      - 1\n"
        );
        assert_eq!(out, want);
    }

    #[test]
    fn any_text_is_read_back() {
        let texts = [
            "",
            "on",
            "true",
            "Null",
            "~",
            "1",
            "-",
            "- a",
            "a: b",
            "#",
            "a #b",
            "'",
            "\"",
            "\\",
            "/a/b",
            "a\nb",
            "\u{85}\u{2028}\u{feff}\u{0}\u{7f}",
            "温度",
            "😀",
            "{",
            "[",
            "*a",
            "&a",
            "!t",
            "%",
            "@",
            "`",
            "a,b",
            "a]",
            "0x1",
            ".inf",
            "=",
            "<<",
            "${env:X}",
        ];
        let value = json!(&texts[..]);
        sets("k: 1", "", "", &value);
        sets("{k: 1}", "", "", &value);
        let map: serde_json::Map<_, _> =
            texts.iter().map(|text| ((*text).to_owned(), json!(1))).collect();
        sets("k: 1", "", "", &Value::Object(map));
        sets("k: 1", "", "", &json!([1e300, -0.0, 1.0, u64::MAX, i64::MIN, null, [], {}]));
    }
}
