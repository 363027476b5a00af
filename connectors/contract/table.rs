//! Records as rows: what all table sinks share — names of columns, values, and groups of rows that
//! fit one statement. It writes no SQL but quoted names and knows no database.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{ConfigError, DeliveryError, FailureKind, Outcome, Preview, Record, Template};

/// The longest name of a table or column, in bytes; PostgreSQL cuts what is longer.
pub const NAME_MAX: usize = 63;

/// The most columns that a sink adds to a table that it made.
pub const COLUMNS_MAX: usize = 200;

/// A name of a table or column that is safe to quote: a letter or `_`, then letters, digits, `_`
/// or `$`. Letters of any script are allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// A text is no name of a table or column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` can't be a name in a table: at most {NAME_MAX} bytes, a letter or `_` first, then letters, digits, `_` or `$`"
)]
pub struct NameError(String);

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// A [`NameError`] that shows the text and what is allowed.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut chars = text.chars();
        let first = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_');
        let rest = chars.all(|c| c.is_alphanumeric() || c == '_' || c == '$');
        if first && rest && text.len() <= NAME_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError(text.chars().take(NAME_MAX).collect()))
        }
    }

    /// The name without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes the name in double quotes, as SQL takes it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// Names, quoted and joined with commas.
#[must_use]
pub fn list(names: &[Name]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Column names to templates, as in the settings of a table sink.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ColumnTemplates(BTreeMap<String, Template>);

/// How records become rows.
#[derive(Debug, Clone)]
pub struct Layout {
    columns: Option<Vec<(Name, Template)>>,
    rest: bool,
    key: Vec<Name>,
}

/// One row: columns and values in the same order.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The columns, each once.
    pub columns: Vec<Name>,
    /// A value for each column; a missing one is `Null`.
    pub values: Vec<Value>,
}

impl Layout {
    /// Checks the names of columns and key. With `rest`, keys of the record that are not among the
    /// columns become columns, too.
    ///
    /// # Errors
    /// A [`ConfigError`] at `columns`, `rest` or `key`.
    pub fn new(
        columns: Option<ColumnTemplates>,
        rest: bool,
        key: &[String],
    ) -> Result<Self, ConfigError> {
        if rest && columns.is_none() {
            let text = "without `columns` each key of the record is a column already; leave `rest` out, or name `columns`";
            return Err(ConfigError::new("rest", text));
        }
        let name = |path: &str, text: &str| {
            Name::parse(text).map_err(|error| ConfigError::new(path, error.to_string()))
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
        let key = key.iter().map(|text| name("key", text)).collect::<Result<Vec<_>, _>>()?;
        if let (Some(columns), false) = (&columns, rest)
            && let Some(missing) = key.iter().find(|k| !columns.iter().any(|(c, _)| c == *k))
        {
            return Err(ConfigError::new("key", format!("{missing} is not among the columns")));
        }
        Ok(Self { columns, rest, key })
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

    /// The row of a record.
    ///
    /// # Errors
    /// Why the record can't become a row: it is binary, empty, lacks a key, or has a key that is no
    /// column name.
    pub fn row(&self, record: &Record) -> Result<Row, DeliveryError> {
        let mut row = Row { columns: Vec::new(), values: Vec::new() };
        for (name, template) in self.columns.iter().flatten() {
            if !template.fits(record.body) {
                return Err(poison("a binary result has no keys for columns".to_owned()));
            }
            row.columns.push(name.clone());
            row.values.push(template.value(record));
        }
        if self.rest || self.columns.is_none() {
            row.add_fields(record)?;
        }
        if row.columns.is_empty() {
            let text = "only a JSON object with at least one key becomes a row; name `columns` for other results";
            return Err(poison(text.to_owned()));
        }
        match self.key.iter().find(|key| row.get(key).is_none_or(Value::is_null)) {
            Some(key) => Err(poison(format!("the key column {key} is missing or null"))),
            None => Ok(row),
        }
    }
}

fn poison(text: String) -> DeliveryError {
    DeliveryError::new(FailureKind::Rejected, text)
}

impl Row {
    /// Adds the keys of a record that are no columns yet.
    fn add_fields(&mut self, record: &Record) -> Result<(), DeliveryError> {
        let named = self.columns.len();
        for (key, value) in record.fields() {
            // The keys of a JSON object are unique by themselves.
            if self.columns.iter().take(named).any(|column| column.as_str() == key) {
                continue;
            }
            self.columns.push(Name::parse(&key).map_err(|error| poison(error.to_string()))?);
            self.values.push(value);
        }
        Ok(())
    }

    /// The row as a dry run shows it: `table` and `row`, a map of columns to values.
    #[must_use]
    pub fn preview(&self, table: &str) -> Preview {
        let columns = self.columns.iter().map(|name| name.as_str().to_owned());
        let row: serde_json::Map<_, _> = columns.zip(self.values.iter().cloned()).collect();
        Preview::new().with("table", table).with("row", row)
    }

    /// The value of a column.
    #[must_use]
    pub fn get(&self, column: &Name) -> Option<&Value> {
        self.columns.iter().position(|c| c == column).and_then(|at| self.values.get(at))
    }
}

/// Rows that follow each other and have the same columns, with the positions of their records.
#[derive(Debug)]
pub struct Group {
    /// At least one row; each with the same columns.
    pub rows: Vec<(usize, Row)>,
}

impl Group {
    /// The columns of all rows.
    #[must_use]
    pub fn columns(&self) -> &[Name] {
        self.rows.first().map_or(&[], |(_, row)| &row.columns)
    }
}

/// Makes rows of records, in order. A record that can't become one gets its outcome at once; the
/// others have `None` until their group was written. A group has at most `rows_max` rows.
#[must_use]
pub fn groups(
    layout: &Layout,
    records: &[Record],
    rows_max: usize,
) -> (Vec<Option<Outcome>>, Vec<Group>) {
    let mut outcomes = Vec::with_capacity(records.len());
    let mut groups: Vec<Group> = Vec::new();
    for (at, record) in records.iter().enumerate() {
        match layout.row(record) {
            Err(error) => outcomes.push(Some(Outcome::from_error(error))),
            Ok(row) => {
                outcomes.push(None);
                match groups.last_mut() {
                    Some(group)
                        if group.rows.len() < rows_max && group.columns() == row.columns =>
                    {
                        group.rows.push((at, row));
                    }
                    _ => groups.push(Group { rows: vec![(at, row)] }),
                }
            }
        }
    }
    (outcomes, groups)
}

/// The rows to write when the last one of each key wins: a statement may not change a row twice.
#[must_use]
pub fn last_of_each_key<'a>(rows: &'a [(usize, Row)], key: &[Name]) -> Vec<&'a Row> {
    if key.is_empty() {
        return rows.iter().map(|(_, row)| row).collect();
    }
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<&Row> = Vec::with_capacity(rows.len());
    for (_, row) in rows.iter().rev() {
        let values: Vec<_> = key.iter().map(|k| row.get(k).map(ToString::to_string)).collect();
        if seen.insert(values) {
            kept.push(row);
        }
    }
    kept.reverse();
    kept
}

/// Writes rows to one table. [`write_all`] finds the rows that are to blame when it fails.
#[async_trait::async_trait]
pub trait Writer: Sync {
    /// Writes all rows of all groups, or none.
    ///
    /// # Errors
    /// Why none was written.
    async fn write(&self, groups: &[Group]) -> Result<(), Refusal>;
}

/// Why no row was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A failure; when rows are rejected, any one of them may be to blame.
    #[error("{0}")]
    Rows(#[from] DeliveryError),
    /// The records have brought columns that the table can't have: all rows of a group are to blame,
    /// and nobody's configuration.
    #[error("{0}")]
    Columns(DeliveryError),
}

impl Refusal {
    fn into_outcome(self) -> Outcome {
        match self {
            Self::Rows(error) => Outcome::from_error(error),
            Self::Columns(error) => Outcome::Poison(error),
        }
    }
}

/// Delivers records as rows: in one piece when all is well; when rows are refused, in halves until
/// only the bad rows are left. One bad row of n costs at most 2·⌈log₂ n⌉ writes beyond the first.
/// After a failure that can heal nothing further is tried.
pub async fn write_all(
    writer: &dyn Writer,
    layout: &Layout,
    records: &[Record],
    rows_max: usize,
) -> Vec<Outcome> {
    let (mut outcomes, groups) = groups(layout, records, rows_max);
    let mut work = if groups.is_empty() { Vec::new() } else { vec![groups] };
    let mut later: Option<Outcome> = None;
    while let Some(mut piece) = work.pop() {
        let outcome = match &later {
            Some(outcome) => outcome.clone(),
            None => match writer.write(&piece).await {
                Ok(()) => Outcome::Ok,
                Err(refusal) => {
                    if let Some(rest) = split(&mut piece, &refusal) {
                        work.push(rest);
                        work.push(piece);
                        continue;
                    }
                    refusal.into_outcome()
                }
            },
        };
        // What follows must not overtake what is tried again.
        if matches!(outcome, Outcome::Retry(_) | Outcome::Misconfigured(_)) {
            later = Some(outcome.clone());
        }
        for (at, _) in piece.iter().flat_map(|group| &group.rows) {
            outcomes[*at] = Some(outcome.clone());
        }
    }
    let forgotten = || {
        Outcome::Retry(DeliveryError::new(FailureKind::Unreachable, "the record was not written"))
    };
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(forgotten)).collect()
}

/// Cuts a piece that was refused in two and returns the later half: at its middle row when any row
/// can be to blame; between groups when a whole group is, since its rows have the same columns.
fn split(piece: &mut Vec<Group>, refusal: &Refusal) -> Option<Vec<Group>> {
    let by_row = match refusal {
        Refusal::Columns(_) => false,
        Refusal::Rows(error) => match error.kind {
            FailureKind::Rejected => true,
            FailureKind::Misconfigured | FailureKind::Denied => false,
            _ => return None,
        },
    };
    if !by_row {
        return (piece.len() > 1).then(|| piece.split_off(piece.len() / 2));
    }
    let rows: usize = piece.iter().map(|group| group.rows.len()).sum();
    let mut left = rows / 2;
    if left == 0 {
        return None;
    }
    let mut rest = Vec::new();
    for mut group in std::mem::take(piece) {
        let stay = left.min(group.rows.len());
        left -= stay;
        let move_on = group.rows.split_off(stay);
        if !group.rows.is_empty() {
            piece.push(group);
        }
        if !move_on.is_empty() {
            rest.push(Group { rows: move_on });
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::contract::{Body, Message, Topic, TopicLimits};

    fn records(texts: &[&'static str]) -> Vec<Record> {
        let topic = Topic::parse("t", TopicLimits::default()).expect("topic");
        let batch: Arc<[Message]> = vec![Message::new(topic, "", 0)].into();
        let record = |text: &&'static str| {
            Record::new(batch.clone(), 0, "rule".into(), Body::Json, (*text).into())
        };
        texts.iter().map(record).collect()
    }

    #[test]
    fn names_can_be_quoted_safely() {
        for good in ["a", "_a1", "温度", "a$b", "deviceName"] {
            assert_eq!(Name::parse(good).map(|n| n.to_string()), Ok(format!("\"{good}\"")));
        }
        for bad in ["", "1a", "a b", "a\"b", "a-b", "a.b", "a;drop", &"x".repeat(64)] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rows_with_the_same_columns_share_a_statement() {
        let layout = Layout::new(None, false, &[]).expect("layout");
        let texts = [r#"{"a":1}"#, r#"{"a":2}"#, "[]", r#"{"a":1,"b":2}"#, r#"{"a;":1}"#];
        let (outcomes, groups) = groups(&layout, &records(&texts), 500);
        let positions: Vec<Vec<usize>> =
            groups.iter().map(|g| g.rows.iter().map(|(at, _)| *at).collect()).collect();
        assert_eq!(positions, [vec![0, 1], vec![3]]);
        assert!(matches!(outcomes[2], Some(Outcome::Poison(_))));
        assert!(matches!(outcomes[4], Some(Outcome::Poison(_))));
    }

    #[test]
    fn the_rest_follows_the_named_columns() {
        let columns = || serde_json::from_str(r#"{"id":"${d}","a":"x"}"#).ok();
        let layout = Layout::new(columns(), true, &["b".to_owned()]).expect("layout");
        let texts = [r#"{"d":1,"a":2,"b":3}"#, r#"{"d":1}"#, r#"{"b":3,"c;":1}"#];
        let records = records(&texts);
        let row = layout.row(&records[0]).expect("row");
        assert_eq!(list(&row.columns), r#""a", "id", "d", "b""#);
        assert_eq!(Value::from(row.values), serde_json::json!(["x", 1, 1, 3]));
        assert!(layout.row(&records[1]).expect_err("no key").message.contains("\"b\""));
        assert!(layout.row(&records[2]).expect_err("no name").message.contains("`c;`"));
        assert_eq!(Layout::new(None, true, &[]).expect_err("no columns").path, "rest");
        assert_eq!(Layout::new(columns(), false, &["b".to_owned()]).expect_err("b").path, "key");
    }

    #[test]
    fn the_last_row_of_a_key_wins() {
        let layout = Layout::new(None, false, &["a".to_owned()]).expect("layout");
        let texts = [r#"{"a":1,"b":1}"#, r#"{"a":2,"b":1}"#, r#"{"a":1,"b":2}"#, r#"{"a":null}"#];
        let (outcomes, groups) = groups(&layout, &records(&texts), 500);
        let kept = last_of_each_key(&groups[0].rows, layout.key());
        let values: Vec<_> = kept.iter().map(|row| row.values.clone()).collect();
        assert_eq!(values, [[2, 1], [1, 2]].map(|row| row.map(Value::from).to_vec()));
        assert!(matches!(outcomes[3], Some(Outcome::Poison(_))));
    }

    /// Refuses rows as a database would, and counts what it was asked.
    struct Picky {
        asked: std::sync::atomic::AtomicUsize,
        refuse: fn(&Row) -> Option<Refusal>,
    }

    #[async_trait::async_trait]
    impl Writer for Picky {
        async fn write(&self, groups: &[Group]) -> Result<(), Refusal> {
            self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut rows = groups.iter().flat_map(|group| &group.rows);
            rows.find_map(|(_, row)| (self.refuse)(row)).map_or(Ok(()), Err)
        }
    }

    fn refused(kind: FailureKind) -> DeliveryError {
        DeliveryError::new(kind, "refused")
    }

    fn bad(row: &Row) -> Option<Refusal> {
        let poison = Refusal::Rows(refused(FailureKind::Rejected));
        row.values.contains(&Value::from("bad")).then_some(poison)
    }

    async fn written(
        records: &[Record],
        refuse: fn(&Row) -> Option<Refusal>,
    ) -> (usize, Vec<Outcome>) {
        let layout = Layout::new(None, false, &[]).expect("layout");
        let picky = Picky { asked: 0.into(), refuse };
        let outcomes = write_all(&picky, &layout, records, 500).await;
        (picky.asked.into_inner(), outcomes)
    }

    #[tokio::test]
    async fn r14_one_bad_row_is_found_within_the_bound() {
        for n in [1_usize, 2, 3, 5, 8, 31, 100, 500] {
            for place in [0, n / 3, n / 2, n - 1] {
                // Every third row has other columns: groups are cut like rows.
                for mixed in [false, true] {
                    let text = |at: usize| match (at == place, mixed && at.is_multiple_of(3)) {
                        (true, _) => r#"{"a":"bad"}"#,
                        (false, true) => r#"{"a":1,"b":2}"#,
                        (false, false) => r#"{"a":1}"#,
                    };
                    let texts: Vec<_> = (0..n).map(text).collect();
                    let (asked, outcomes) = written(&records(&texts), bad).await;
                    let levels = n.next_power_of_two().trailing_zeros() as usize;
                    assert!(asked <= 1 + 2 * levels, "{n} rows, {place}: {asked} writes");
                    for (at, outcome) in outcomes.iter().enumerate() {
                        let poison = matches!(outcome, Outcome::Poison(_));
                        assert_eq!(poison, at == place, "{n} rows: {at}");
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn what_follows_a_row_that_is_tried_again_is_not_written() {
        let texts = [r#"{"a":1}"#, r#"{"b":1}"#, r#"{"a":2}"#, r#"{"a":3}"#];
        let records = records(&texts);
        let down = |row: &Row| {
            let kind = match row.columns[0].as_str() {
                "b" => FailureKind::Misconfigured,
                _ => return None,
            };
            Some(Refusal::Rows(refused(kind)))
        };
        let (_, outcomes) = written(&records, down).await;
        assert_eq!(outcomes[0], Outcome::Ok);
        assert!(
            outcomes[1..].iter().all(|o| matches!(o, Outcome::Misconfigured(_))),
            "{outcomes:?}"
        );
        let foreign = |row: &Row| {
            let brought = row.columns[0].as_str() == "b";
            brought.then(|| Refusal::Columns(refused(FailureKind::Misconfigured)))
        };
        let (_, outcomes) = written(&records, foreign).await;
        assert!(matches!(outcomes[1], Outcome::Poison(_)), "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Ok).count(), 3);
    }
}
