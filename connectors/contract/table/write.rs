//! Rows in groups that fit one statement, and how those that a database refuses are found.

use std::collections::HashSet;

use super::name::Name;
use super::row::{Layout, Row};
use crate::contract::{DeliveryError, FailureKind, Outcome, Record};

/// Rows that follow each other and have the same columns, with the positions of their records.
#[derive(Debug)]
pub struct Group<'a> {
    /// At least one row; each with the same columns.
    pub rows: Vec<(usize, Row<'a>)>,
}

impl Group<'_> {
    /// The columns of all rows.
    #[must_use]
    pub fn columns(&self) -> &[Name] {
        self.rows.first().map_or(&[], |(_, row)| &row.columns)
    }
}

/// Makes rows of records, in order. A record that can't become one gets its outcome at once; the
/// others have `None` until their group was written. A group has at most `rows_max` rows.
#[must_use]
pub fn groups<'r>(
    layout: &Layout,
    records: &'r [Record],
    rows_max: usize,
) -> (Vec<Option<Outcome>>, Vec<Group<'r>>) {
    let mut outcomes = Vec::with_capacity(records.len());
    let mut groups: Vec<Group<'r>> = Vec::new();
    for (at, record) in records.iter().enumerate() {
        match layout.row(record) {
            Err(error) => outcomes.push(Some(Outcome::from_error(error))),
            Ok(row) => {
                layout.count_left_out(record, &row);
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

/// Which of the rows to write when the last one of each key wins: a statement may not change a row
/// twice.
#[must_use]
pub fn last_of_each_key(rows: &[(usize, Row<'_>)], key: &[Name]) -> Vec<bool> {
    let mut kept = vec![true; rows.len()];
    if key.is_empty() {
        return kept;
    }
    let mut seen = HashSet::new();
    for ((_, row), kept) in rows.iter().zip(&mut kept).rev() {
        let values: Vec<_> = key.iter().map(|k| row.get(k)).collect();
        *kept = seen.insert(values);
    }
    kept
}

/// Writes rows to one table. [`write_all`] finds the rows that are to blame when it fails.
#[async_trait::async_trait]
pub trait Writer: Sync {
    /// Writes all rows of all groups, or none.
    ///
    /// # Errors
    /// Why none was written.
    async fn write(&self, groups: &[Group<'_>]) -> Result<(), Refusal>;
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
    /// Rows with a value that its column can't hold, by the positions of their records; the others may
    /// still be written.
    #[error("{} of the rows do not fit the table", .0.len())]
    Values(Vec<(usize, DeliveryError)>),
}

impl Refusal {
    /// What it means for a row that is not named in it.
    fn into_outcome(self) -> Outcome {
        match self {
            Self::Rows(error) => Outcome::from_error(error),
            Self::Columns(error) => Outcome::Poison(error),
            Self::Values(_) => not_written(),
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
                Err(Refusal::Values(bad)) if take_out(&mut piece, &bad) => {
                    for (at, error) in bad {
                        outcomes[at] = Some(Outcome::from_error(error));
                    }
                    if !piece.is_empty() {
                        work.push(piece);
                    }
                    continue;
                }
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
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(not_written)).collect()
}

fn not_written() -> Outcome {
    Outcome::Retry(DeliveryError::new(FailureKind::Unreachable, "the record was not written"))
}

/// Takes the rows of these positions out of a piece; false when it has none of them.
fn take_out(piece: &mut Vec<Group<'_>>, bad: &[(usize, DeliveryError)]) -> bool {
    let rows = |piece: &Vec<Group<'_>>| piece.iter().map(|group| group.rows.len()).sum::<usize>();
    let before = rows(piece);
    let bad: HashSet<usize> = bad.iter().map(|(at, _)| *at).collect();
    for group in piece.iter_mut() {
        group.rows.retain(|(at, _)| !bad.contains(at));
    }
    piece.retain(|group| !group.rows.is_empty());
    rows(piece) < before
}

/// Cuts a piece that was refused in two and returns the later half: at its middle row when any row
/// can be to blame; between groups when a whole group is, since its rows have the same columns.
fn split<'r>(piece: &mut Vec<Group<'r>>, refusal: &Refusal) -> Option<Vec<Group<'r>>> {
    let by_row = match refusal {
        Refusal::Values(_) => return None,
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
    use crate::contract::table::{Cell, ColumnTemplates, Names, list};
    use crate::contract::{Body, Message, Topic, TopicLimits};

    const NAMES: Names = Names { max: 63, reserved: &["ctid"], ignores_case: false };

    fn layout(key: &[&str]) -> Layout {
        let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
        Layout::new(NAMES, None, false, &key).expect("layout")
    }

    fn records(texts: &[&'static str]) -> Vec<Record> {
        let topic = Topic::parse("t", TopicLimits::default()).expect("topic");
        let batch: Arc<[Message]> = vec![Message::new(topic, "", 0)].into();
        let record = |text: &&'static str| {
            Record::new(batch.clone(), 0, "rule".into(), Body::Json, (*text).into())
        };
        texts.iter().map(record).collect()
    }

    #[test]
    fn rows_with_the_same_columns_share_a_statement() {
        let layout = layout(&[]);
        let texts = [r#"{"a":1}"#, r#"{"a":2}"#, "[]", r#"{"a":1,"b":2}"#, r#"{"ctid":1}"#];
        let records = records(&texts);
        let (outcomes, groups) = groups(&layout, &records, 500);
        let positions: Vec<Vec<usize>> =
            groups.iter().map(|g| g.rows.iter().map(|(at, _)| *at).collect()).collect();
        assert_eq!(positions, [vec![0, 1], vec![3]]);
        assert!(matches!(outcomes[2], Some(Outcome::Poison(_))));
        assert!(matches!(outcomes[4], Some(Outcome::Poison(_))));
    }

    #[test]
    fn only_the_keys_that_cant_be_columns_are_left_out() {
        let layout = layout(&[]);
        let long = format!(r#"{{"a b":1,"{}":2,"x\u0000y":3,"":4,"new-col":5}}"#, "x".repeat(64));
        let records = records(&[long.leak()]);
        let (_, groups) = groups(&layout, &records, 500);
        assert_eq!(list(groups[0].columns()), r#""a b", "new-col""#);
        assert_eq!(layout.left_out(), 3);
        let shown = groups[0].rows[0].1.preview("t").into_parts();
        assert_eq!(shown["row"], serde_json::json!({ "a b": 1, "new-col": 5 }));
        assert!(shown["left_out"][0].as_str().is_some_and(|text| text.contains("64 bytes")));
    }

    #[test]
    fn a_database_that_ignores_case_has_one_column_for_two_keys() {
        let names = Names { ignores_case: true, ..NAMES };
        let layout = Layout::new(names, None, false, &[]).expect("layout");
        let records = records(&[r#"{"T":1,"t":2}"#, r#"{"T":1}"#]);
        let error = layout.row(&records[0]).expect_err("twice").message;
        assert!(error.contains(r#""t""#), "{error}");
        let columns = || serde_json::from_str::<ColumnTemplates>(r#"{"t":"${T}"}"#).ok();
        let named = Layout::new(names, columns(), true, &[]).expect("layout");
        assert_eq!(named.row(&records[0]).expect("row").values, [Cell::Number("1")]);
        let twice = serde_json::from_str(r#"{"t":"x","T":"y"}"#).ok();
        assert_eq!(Layout::new(names, twice, false, &[]).expect_err("twice").path, "columns");
    }

    #[test]
    fn the_rest_follows_the_named_columns() {
        let columns = || serde_json::from_str(r#"{"id":"${d}","a":"x"}"#).ok();
        let layout = Layout::new(NAMES, columns(), true, &["b".to_owned()]).expect("layout");
        let texts = [r#"{"d":1,"a":2,"b":3.10}"#, r#"{"d":1}"#];
        let records = records(&texts);
        let row = layout.row(&records[0]).expect("row");
        assert_eq!(list(&row.columns), r#""a", "id", "d", "b""#);
        let number = Cell::Number;
        assert_eq!(row.values, [Cell::Text("x".into()), number("1"), number("1"), number("3.10")]);
        assert!(layout.row(&records[1]).expect_err("no key").message.contains("\"b\""));
        let wrong = |columns, rest, key: &str| {
            Layout::new(NAMES, columns, rest, &[key.to_owned()]).expect_err("refused").path
        };
        assert_eq!(wrong(None, true, "b"), "rest");
        assert_eq!(wrong(columns(), false, "b"), "key");
        assert_eq!(wrong(columns(), true, "b\0"), "key");
    }

    #[test]
    fn the_last_row_of_a_key_wins() {
        let layout = layout(&["a"]);
        let texts = [r#"{"a":1,"b":1}"#, r#"{"a":2,"b":1}"#, r#"{"a":1,"b":2}"#, r#"{"a":null}"#];
        let records = records(&texts);
        let (outcomes, groups) = groups(&layout, &records, 500);
        assert_eq!(last_of_each_key(&groups[0].rows, layout.key()), [false, true, true]);
        assert_eq!(last_of_each_key(&groups[0].rows, &[]), [true; 3]);
        assert!(matches!(outcomes[3], Some(Outcome::Poison(_))));
    }

    /// Refuses rows as a database would, and counts what it was asked.
    struct Picky {
        asked: std::sync::atomic::AtomicUsize,
        refuse: fn(&Row<'_>) -> Option<Refusal>,
    }

    #[async_trait::async_trait]
    impl Writer for Picky {
        async fn write(&self, groups: &[Group<'_>]) -> Result<(), Refusal> {
            self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut rows = groups.iter().flat_map(|group| &group.rows);
            rows.find_map(|(_, row)| (self.refuse)(row)).map_or(Ok(()), Err)
        }
    }

    fn refused(kind: FailureKind) -> DeliveryError {
        DeliveryError::new(kind, "refused")
    }

    fn bad(row: &Row<'_>) -> Option<Refusal> {
        let poison = Refusal::Rows(refused(FailureKind::Rejected));
        row.values.contains(&Cell::Text("bad".into())).then_some(poison)
    }

    async fn written(
        records: &[Record],
        refuse: fn(&Row<'_>) -> Option<Refusal>,
    ) -> (usize, Vec<Outcome>) {
        let layout = layout(&[]);
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

    /// Refuses all rows that hold `bad` at once, as a sink does that knows the columns.
    struct Knowing(std::sync::atomic::AtomicUsize);

    #[async_trait::async_trait]
    impl Writer for Knowing {
        async fn write(&self, groups: &[Group<'_>]) -> Result<(), Refusal> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let rows = groups.iter().flat_map(|group| &group.rows);
            let bad: Vec<_> = rows
                .filter(|(_, row)| bad(row).is_some())
                .map(|(at, _)| (*at, refused(FailureKind::Rejected)))
                .collect();
            if bad.is_empty() { Ok(()) } else { Err(Refusal::Values(bad)) }
        }
    }

    #[tokio::test]
    async fn rows_that_do_not_fit_cost_one_more_write() {
        let texts = [r#"{"a":1}"#, r#"{"a":"bad"}"#, r#"{"b":"bad"}"#, r#"{"a":2}"#];
        let writer = Knowing(0.into());
        let outcomes = write_all(&writer, &layout(&[]), &records(&texts), 500).await;
        let poison: Vec<bool> =
            outcomes.iter().map(|outcome| matches!(outcome, Outcome::Poison(_))).collect();
        assert_eq!(poison, [false, true, true, false]);
        assert_eq!(outcomes[3], Outcome::Ok);
        assert_eq!(writer.0.into_inner(), 2);
        let only_bad =
            write_all(&Knowing(0.into()), &layout(&[]), &records(&texts[1..2]), 500).await;
        assert!(matches!(only_bad[..], [Outcome::Poison(_)]));
    }

    #[tokio::test]
    async fn what_follows_a_row_that_is_tried_again_is_not_written() {
        let texts = [r#"{"a":1}"#, r#"{"b":1}"#, r#"{"a":2}"#, r#"{"a":3}"#];
        let records = records(&texts);
        let down = |row: &Row<'_>| {
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
        let foreign = |row: &Row<'_>| {
            let brought = row.columns[0].as_str() == "b";
            brought.then(|| Refusal::Columns(refused(FailureKind::Misconfigured)))
        };
        let (_, outcomes) = written(&records, foreign).await;
        assert!(matches!(outcomes[1], Outcome::Poison(_)), "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Ok).count(), 3);
    }
}
