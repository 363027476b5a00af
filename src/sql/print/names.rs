//! How paths, keys and aliases are written so that they read back as the same.

use std::fmt::Write as _;

use crate::lex::is_keyword;
use crate::path::{self, Quoted, Step};
use crate::statement::MODIFIERS;

pub(super) fn in_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

pub(super) fn in_backticks(text: &str) -> String {
    format!("`{}`", text.replace('`', "``"))
}

/// A key or an alias: bare where it can be.
pub(super) fn key(text: &str) -> String {
    if is_bare(text) { text.to_owned() } else { in_backticks(text) }
}

/// True for a word that is a key wherever it stands.
fn is_bare(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && chars.all(|char| char.is_alphanumeric() || char == '_')
        && !is_keyword(text)
        // As the first word of an item they could be taken for what they are in SQL.
        && !MODIFIERS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// A path: bare, else in double quotes, else with its odd keys in backticks. Also the text that
/// counts as its name then.
pub(super) fn plain(steps: &[Step]) -> (String, String) {
    let bare = matches!(steps.first(), Some(Step::Key(_)))
        && steps.iter().all(|step| match step {
            Step::Key(key) => is_bare(key),
            Step::Index(_) => true,
        });
    let mut name = String::new();
    for step in steps {
        match step {
            Step::Key(key) if name.is_empty() => name.push_str(key),
            Step::Key(key) => write!(name, ".{key}").unwrap_or_default(),
            Step::Index(index) => write!(name, "[{index}]").unwrap_or_default(),
        }
    }
    if bare {
        return (name.clone(), name);
    }
    for text in [name.clone(), format!("${name}"), format!("$.{name}")] {
        if matches!(path::quoted(&text), Ok(Quoted::Path(found)) if found == steps) {
            return (in_quotes(&text), text);
        }
    }
    let (mut text, mut name) = (String::new(), String::new());
    let rest = match steps {
        [Step::Key(first), rest @ ..] => {
            text.push_str(&key(first));
            name.push_str(first);
            rest
        }
        all => {
            text.push_str("\"$\"");
            name.push('$');
            all
        }
    };
    extend(rest, &mut text, &mut name);
    (text, name)
}

/// A path that says that it starts at the document, where its first key means something else; also
/// the text that counts as its name.
pub(super) fn from_document(steps: &[Step]) -> (String, String) {
    let (mut text, mut name) = (String::from("\"$\""), String::from("$"));
    extend(steps, &mut text, &mut name);
    match path::quoted(&name) {
        Ok(Quoted::Path(found)) if found == steps => (in_quotes(&name), name),
        _ => (text, name),
    }
}

/// Appends steps to a path that has begun, and to its name.
pub(super) fn extend(steps: &[Step], text: &mut String, name: &mut String) {
    for step in steps {
        // Writing to a String cannot fail.
        match step {
            Step::Key(part) => {
                write!(text, ".{}", key(part)).unwrap_or_default();
                write!(name, ".{part}").unwrap_or_default();
            }
            Step::Index(index) => {
                write!(text, "[{index}]").unwrap_or_default();
                write!(name, "[{index}]").unwrap_or_default();
            }
        }
    }
}

/// `".a[0]"`.
pub(super) fn wrapped(steps: &[Step]) -> String {
    let (_, name) = plain(steps);
    let whole = format!(".{}", name.strip_prefix("$.").or(name.strip_prefix('$')).unwrap_or(&name));
    for text in [format!(".{name}"), whole] {
        if matches!(path::quoted(&text), Ok(Quoted::Wrapped(found)) if found == steps) {
            return in_quotes(&text);
        }
    }
    // Keys that came after the quotes: the first step was inside them.
    let (first, rest) = steps.split_at(steps.len().min(1));
    let mut text = match first {
        [Step::Key(key)] => in_quotes(&format!(".{key}")),
        [Step::Index(index)] => format!("\".[{index}]\""),
        _ => "\".\"".into(),
    };
    extend(rest, &mut text, &mut String::new());
    text
}
