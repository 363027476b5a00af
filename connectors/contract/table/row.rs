//! One record as one row: which columns it has, and what goes into each.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::name::{Name, NameError, Names};
use crate::{ConfigError, DeliveryError, FailureKind, Field, Preview, Record, Template};

/// What goes into a column. Numbers, lists and objects are as they were written, so that no digit is
/// lost before the column's type is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cell<'a> {
    /// JSON's `null`, or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(&'a str),
    /// A text, without its quotes and escapes.
    Text(Cow<'a, str>),
    /// A list as JSON.
    List(&'a str),
    /// An object as JSON.
    Object(&'a str),
}

impl<'a> From<Field<'a>> for Cell<'a> {
    fn from(field: Field<'a>) -> Self {
        let json = field.json();
        match json.as_bytes().first() {
            None | Some(b'n') => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => Self::Text(field.text()),
            Some(b'[') => Self::List(json),
            Some(b'{') => Self::Object(json),
            Some(_) => Self::Number(json),
        }
    }
}

impl Cell<'_> {
    /// The value as JSON, numbers as they were written.
    #[must_use]
    pub fn json(&self) -> Cow<'_, str> {
        match self {
            Self::Null => "null".into(),
            Self::Bool(yes) => yes.to_string().into(),
            Self::Number(json) | Self::List(json) | Self::Object(json) => Cow::Borrowed(json),
            Self::Text(text) => Value::from(text.as_ref()).to_string().into(),
        }
    }

    /// The value as text: a text as it is, anything else as JSON.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            _ => self.json(),
        }
    }

    /// The value in an error: JSON, cut when it is long.
    #[must_use]
    pub fn shown(&self) -> String {
        const LONGEST: usize = 60;
        let json = self.json();
        match json.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}…", json.get(..end).unwrap_or_default()),
            None => json.into_owned(),
        }
    }
}

/// Column names to templates, as in the settings of a table sink.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ColumnTemplates(BTreeMap<String, Template>);

/// How records become rows.
#[derive(Debug)]
pub struct Layout {
    names: Names,
    columns: Option<Vec<(Name, Template)>>,
    rest: bool,
    key: Vec<Name>,
    left_out: AtomicU64,
}

/// One row: columns and values in the same order.
#[derive(Debug, Clone, PartialEq)]
pub struct Row<'a> {
    /// The columns, each once.
    pub columns: Vec<Name>,
    /// A value for each column.
    pub values: Vec<Cell<'a>>,
    /// Keys of the record that can't be columns.
    pub left_out: Vec<NameError>,
}

impl Layout {
    /// Checks the names of columns and key. With `rest`, keys of the record that are not among the
    /// columns become columns, too.
    ///
    /// # Errors
    /// A [`ConfigError`] at `columns`, `rest` or `key`.
    pub fn new(
        names: Names,
        columns: Option<ColumnTemplates>,
        rest: bool,
        key: &[String],
    ) -> Result<Self, ConfigError> {
        if rest && columns.is_none() {
            let text = "without `columns` each key of the record is a column already; leave `rest` out, or name `columns`";
            return Err(ConfigError::new("rest", text));
        }
        let name = |path: &str, text: &str| {
            names.column(text).map_err(|error| ConfigError::new(path, error.to_string()))
        };
        let columns = match columns {
            Some(ColumnTemplates(map)) if map.is_empty() => {
                return Err(ConfigError::new("columns", "name at least one column"));
            }
            Some(ColumnTemplates(map)) => Some(
                map.into_iter()
                    .map(|(column, template)| Ok((name("columns", &column)?, template)))
                    .collect::<Result<Vec<_>, ConfigError>>()?,
            ),
            None => None,
        };
        let mut known = names.known();
        if let Some((twice, _)) =
            columns.iter().flatten().find(|(name, _)| !known.add(name.as_str()))
        {
            let text = format!("{twice} is there twice: the database ignores upper and lower case");
            return Err(ConfigError::new("columns", text));
        }
        let key = key.iter().map(|text| name("key", text)).collect::<Result<Vec<_>, _>>()?;
        if let (Some(columns), false) = (&columns, rest)
            && let Some(missing) = key.iter().find(|k| !columns.iter().any(|(c, _)| c == *k))
        {
            return Err(ConfigError::new("key", format!("{missing} is not among the columns")));
        }
        Ok(Self { names, columns, rest, key, left_out: AtomicU64::new(0) })
    }

    /// The columns that identify a row; empty when rows are only added.
    #[must_use]
    pub fn key(&self) -> &[Name] {
        &self.key
    }

    /// True when the settings name that column; else a record has brought it.
    #[must_use]
    pub fn names(&self, column: &Name) -> bool {
        self.key.contains(column) || self.columns.iter().flatten().any(|(name, _)| name == column)
    }

    /// Keys of records that were left out since the start, because they can't be columns.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// Counts the keys that a row lacks, and tells about the first one.
    pub(super) fn count_left_out(&self, record: &Record, row: &Row<'_>) {
        let Some(error) = row.left_out.first() else { return };
        let count = row.left_out.len() as u64;
        if self.left_out.fetch_add(count, Ordering::Relaxed) == 0 {
            tracing::warn!(
                rule = %record.rule,
                topic = record.message().topic.as_str(),
                "a key of a record is left out of its row: {error}. Further ones are only counted in tidegate_action_keys_left_out_total",
            );
        }
    }

    /// The row of a record. Keys that can't be columns are left out.
    ///
    /// # Errors
    /// Why the record can't become a row: it is binary, empty, lacks a key, or has two keys for one
    /// column.
    pub fn row<'r>(&self, record: &'r Record) -> Result<Row<'r>, DeliveryError> {
        let mut row = Row { columns: Vec::new(), values: Vec::new(), left_out: Vec::new() };
        for (name, template) in self.columns.iter().flatten() {
            if !template.fits(record.body) {
                return Err(poison("a binary result has no keys for columns".to_owned()));
            }
            row.columns.push(name.clone());
            row.values.push(template.value(record));
        }
        if self.rest || self.columns.is_none() {
            self.add_fields(&mut row, record)?;
        }
        if row.columns.is_empty() {
            return Err(poison(match row.left_out.first() {
                Some(error) => format!("no key of the record can be a column: {error}"),
                None => "only a JSON object with at least one key becomes a row; name `columns` for other results".to_owned(),
            }));
        }
        match self.key.iter().find(|key| row.get(key).is_none_or(|cell| *cell == Cell::Null)) {
            Some(key) => Err(poison(format!("the key column {key} is missing or null"))),
            None => Ok(row),
        }
    }

    /// Adds the keys of a record that are no columns yet.
    fn add_fields<'r>(&self, row: &mut Row<'r>, record: &'r Record) -> Result<(), DeliveryError> {
        let mut named = self.names.known();
        for column in &row.columns {
            named.add(column.as_str());
        }
        let mut brought = self.names.known();
        for (key, field) in record.fields() {
            let name = match self.names.column(&key) {
                Ok(name) => name,
                Err(error) => {
                    row.left_out.push(error);
                    continue;
                }
            };
            if named.has(&key) {
                continue;
            }
            if !brought.add(&key) {
                let text = format!(
                    "two keys of the record are the column {name}: the database ignores upper and lower case; select one of them, or give it another name with AS"
                );
                return Err(poison(text));
            }
            row.columns.push(name);
            row.values.push(Cell::from(field));
        }
        Ok(())
    }
}

pub(super) fn poison(text: String) -> DeliveryError {
    DeliveryError::new(FailureKind::Rejected, text)
}

impl Row<'_> {
    /// The row as a dry run shows it: `table` and `row`, a map of columns to values; `left_out` says
    /// which keys can't be columns.
    #[must_use]
    pub fn preview(&self, table: &str) -> Preview {
        let columns = self.columns.iter().map(|name| name.as_str().to_owned());
        let values = self.values.iter().map(|cell| super::super::tree(cell.json().as_bytes()));
        let row: Map<_, _> = columns.zip(values.map(Result::unwrap_or_default)).collect();
        let preview = Preview::new().with("table", table).with("row", row);
        if self.left_out.is_empty() {
            return preview;
        }
        let left_out: Vec<_> = self.left_out.iter().map(ToString::to_string).collect();
        preview.with("left_out", left_out)
    }

    /// The value of a column.
    #[must_use]
    pub fn get(&self, column: &Name) -> Option<&Cell<'_>> {
        self.columns.iter().position(|c| c == column).and_then(|at| self.values.get(at))
    }
}
