//! Names of tables and columns. They are always quoted, so that any text is one that the database
//! itself can keep.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// A name of a table or column that the database can keep.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Why a text is no name of a table or column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing.
    #[error("an empty text can't be a name in a table")]
    Empty,
    /// A NUL ends a statement.
    #[error("`{}` can't be a name in a table: it holds a NUL character", .0.escape_debug())]
    Nul(String),
    /// The database would cut it, or refuse it.
    #[error(
        "`{start}…` can't be a name in a table: it has {bytes} bytes, at most {max} are allowed"
    )]
    Long {
        /// Its beginning.
        start: String,
        /// How long it is.
        bytes: usize,
        /// The longest name.
        max: usize,
    },
    /// Every table has that column already, for the database's own use.
    #[error("`{0}` can't be a name in a table: the database uses it for itself")]
    Reserved(String),
    /// More parts than there are levels, or a quote that is not closed.
    #[error("expected {0}; a part that holds a dot stands in double quotes")]
    Parts(&'static str),
}

/// What a database takes as names.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The longest one in bytes.
    pub max: usize,
    /// Columns that every table has.
    pub reserved: &'static [&'static str],
    /// Whether `a` and `A` are the same column.
    pub ignores_case: bool,
}

impl Name {
    /// The name without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes the name in double quotes, as SQL takes it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// Names, quoted and joined with commas.
#[must_use]
pub fn list(names: &[Name]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Names {
    /// Checks the name of a column.
    ///
    /// # Errors
    /// A [`NameError`] that shows the text and what is wrong with it.
    pub fn column(&self, text: &str) -> Result<Name, NameError> {
        if self.reserved.contains(&text) {
            return Err(NameError::Reserved(text.to_owned()));
        }
        self.name(text)
    }

    fn name(&self, text: &str) -> Result<Name, NameError> {
        let start = || text.chars().take(32).collect();
        match text.len() {
            0 => Err(NameError::Empty),
            _ if text.contains('\0') => Err(NameError::Nul(start())),
            bytes if bytes > self.max => {
                Err(NameError::Long { start: start(), bytes, max: self.max })
            }
            _ => Ok(Name(text.to_owned())),
        }
    }

    /// The parts of the name of a table: as they stand between dots, or in double quotes, within which
    /// a quote is written twice. At most `most` parts; `form` says which, such as `schema.table`.
    ///
    /// # Errors
    /// A [`NameError`] about the form or one of the parts.
    pub fn table(
        &self,
        text: &str,
        most: usize,
        form: &'static str,
    ) -> Result<Vec<Name>, NameError> {
        let wrong = || NameError::Parts(form);
        let (mut names, mut rest) = (Vec::new(), text);
        loop {
            let (part, after) = part(rest).ok_or_else(wrong)?;
            names.push(self.name(&part)?);
            match after {
                Some(after) if names.len() < most => rest = after,
                Some(_) => return Err(wrong()),
                None => return Ok(names),
            }
        }
    }

    /// A set of names in which the database finds a column.
    pub(super) fn known(&self) -> Known {
        Known { names: HashSet::new(), ignores_case: self.ignores_case }
    }
}

/// The first part of a dotted text, and what follows its dot when there is one. `None` when a quote is
/// not closed or something else than a dot follows it.
fn part(text: &str) -> Option<(String, Option<&str>)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        return Some(match text.split_once('.') {
            Some((part, after)) => (part.to_owned(), Some(after)),
            None => (text.to_owned(), None),
        });
    };
    let mut part = String::new();
    loop {
        let (inside, after) = rest.split_once('"')?;
        part.push_str(inside);
        match after.strip_prefix('"') {
            Some(after) => {
                part.push('"');
                rest = after;
            }
            None if after.is_empty() => return Some((part, None)),
            None => return Some((part, Some(after.strip_prefix('.')?))),
        }
    }
}

/// What follows the values of an INSERT so that a row takes the place of the one with the same key;
/// nothing without a key.
#[must_use]
pub fn upsert<'n>(key: &[Name], columns: impl Iterator<Item = &'n Name>) -> String {
    if key.is_empty() {
        return String::new();
    }
    let others = columns.filter(|column| !key.contains(column));
    let set: Vec<_> = others.map(|column| format!("{column} = excluded.{column}")).collect();
    let action = match set.is_empty() {
        true => "NOTHING".to_owned(),
        false => format!("UPDATE SET {}", set.join(", ")),
    };
    format!(" ON CONFLICT ({}) DO {action}", list(key))
}

/// Names that were seen.
pub(super) struct Known {
    names: HashSet<String>,
    ignores_case: bool,
}

impl Known {
    /// Adds a name; false when the database knows it by now.
    pub(super) fn add(&mut self, name: &str) -> bool {
        self.names.insert(self.folded(name).into_owned())
    }

    /// True when it was added.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(self.folded(name).as_ref())
    }

    fn folded<'n>(&self, name: &'n str) -> Cow<'n, str> {
        if self.ignores_case { name.to_ascii_lowercase().into() } else { name.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names = Names { max: 63, reserved: &["ctid"], ignores_case: false };

    #[test]
    fn any_text_that_can_be_kept_is_quoted() {
        let cases = [
            ("a", "\"a\""),
            ("温度", "\"温度\""),
            ("Dev Name", "\"Dev Name\""),
            ("seq-len", "\"seq-len\""),
            ("1a", "\"1a\""),
            ("a\"b", "\"a\"\"b\""),
            ("a;drop table t--", "\"a;drop table t--\""),
            ("$1 ? :a", "\"$1 ? :a\""),
        ];
        for (text, quoted) in cases {
            assert_eq!(NAMES.column(text).map(|name| name.to_string()), Ok(quoted.to_owned()));
        }
        let long = "温".repeat(22);
        for (text, part) in
            [("", "empty"), ("a\0b", "NUL"), (long.as_str(), "66 bytes"), ("ctid", "itself")]
        {
            let error = NAMES.column(text).expect_err(text).to_string();
            assert!(error.contains(part) && !error.contains('\0'), "{error}");
        }
    }

    #[test]
    fn tables_are_named_with_or_without_quotes() {
        let shown = |text| NAMES.table(text, 2, "`schema.table`").map(|names| list(&names));
        for (text, quoted) in [
            ("alerts", r#""alerts""#),
            ("public.alerts", r#""public", "alerts""#),
            ("Plant A.Alerts", r#""Plant A", "Alerts""#),
            (r#""Plant A"."Alerts""#, r#""Plant A", "Alerts""#),
            (r#""a.b".c"#, r#""a.b", "c""#),
            (r#""a""b""#, r#""a""b""#),
            (r#"a"b"#, r#""a""b""#),
        ] {
            assert_eq!(shown(text), Ok(quoted.to_owned()), "{text}");
        }
        for wrong in ["a.b.c", r#""a"#, r#""a"b"#, "a.", "", ".a", r#""""#] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_row_takes_the_place_of_the_one_with_its_key() {
        let names = |texts: &[&str]| -> Vec<Name> {
            texts.iter().map(|text| NAMES.column(text).expect("a name")).collect()
        };
        for (key, columns, wanted) in [
            (&[][..], &["a"][..], ""),
            (&["a"], &["a"], r#" ON CONFLICT ("a") DO NOTHING"#),
            (
                &["a"],
                &["a", "b", "c"],
                r#" ON CONFLICT ("a") DO UPDATE SET "b" = excluded."b", "c" = excluded."c""#,
            ),
        ] {
            assert_eq!(upsert(&names(key), names(columns).iter()), wanted);
        }
    }
}
