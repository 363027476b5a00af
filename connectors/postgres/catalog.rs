//! What the server's catalogue says about the columns of a table.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::values::Kind;

/// A column of a table.
#[derive(Debug, Clone)]
pub(super) struct Column {
    /// The type as the table declares it; for people.
    pub(super) shown: String,
    /// What values are cast to before they are assigned: the type below all domains, without its length.
    /// A cast to a length would cut, the assignment refuses.
    pub(super) cast: String,
    pub(super) kind: Kind,
    /// The database makes the values: a generated column, or an identity of which it always does.
    pub(super) generated: bool,
}

/// The columns by name.
pub(super) type Columns = HashMap<String, Column>;

/// A column's type, and below it the types that it is made of: what a domain is over, what an array
/// holds. `to_jsonb`, because servers before version 12 have no `attgenerated`.
const SQL: &str = "
    WITH RECURSIVE chain (place, depth, type, modifier) AS (
        SELECT attnum, 0, atttypid, atttypmod FROM pg_attribute
        WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
      UNION ALL
        SELECT place, depth + 1,
            CASE typtype WHEN 'd' THEN typbasetype ELSE typelem END,
            CASE WHEN typtype = 'd' AND modifier = -1 THEN typtypmod ELSE modifier END
        FROM chain JOIN pg_type ON oid = type
        WHERE typtype = 'd' OR (typelem <> 0 AND typlen = -1)
    )
    SELECT attname::text, format_type(type, modifier), format_type(type, -1), modifier,
        typtype::text, typelem <> 0 AND typlen = -1, typdelim::text,
        attidentity = 'a' OR coalesce(to_jsonb(pg_attribute)->>'attgenerated', '') <> ''
    FROM chain JOIN pg_type ON pg_type.oid = type
        JOIN pg_attribute ON attrelid = to_regclass($1) AND attnum = place
    ORDER BY place, depth";

/// One link of such a chain.
struct Link {
    column: String,
    shown: String,
    cast: String,
    modifier: i32,
    domain: bool,
    range: bool,
    array: bool,
    delimiter: char,
    generated: bool,
}

impl Link {
    fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let class: String = row.try_get(4)?;
        let delimiter: String = row.try_get(6)?;
        Ok(Self {
            column: row.try_get(0)?,
            shown: row.try_get(1)?,
            cast: row.try_get(2)?,
            modifier: row.try_get(3)?,
            domain: class == "d",
            range: matches!(class.as_str(), "r" | "m"),
            array: row.try_get(5)?,
            delimiter: delimiter.chars().next().unwrap_or(','),
            generated: row.try_get(7)?,
        })
    }
}

/// The columns of a table; none when there is no such table. `table` is quoted as in SQL.
///
/// # Errors
/// What the server or the connection says.
pub(super) async fn columns(
    connection: &mut PgConnection,
    table: &str,
) -> Result<Columns, sqlx::Error> {
    let rows = sqlx::query(SQL).bind(table).fetch_all(connection).await?;
    let links: Vec<Link> = rows.iter().map(Link::read).collect::<Result<_, _>>()?;
    let mut columns = Columns::new();
    for chain in links.chunk_by(|one, next| one.column == next.column) {
        let (Some(first), Some(base)) = (chain.first(), chain.iter().find(|link| !link.domain))
        else {
            continue;
        };
        let column = Column {
            shown: first.shown.clone(),
            cast: base.cast.clone(),
            kind: kind(chain),
            generated: first.generated,
        };
        columns.insert(first.column.clone(), column);
    }
    Ok(columns)
}

/// What the last type of a chain is, within the arrays before it.
fn kind(chain: &[Link]) -> Kind {
    let mut links = chain.iter().rev();
    let last = links.next().map_or(Kind::Other, plain);
    let arrays = links.filter(|link| link.array);
    arrays.fold(last, |kind, link| Kind::Array(Box::new(kind), link.delimiter))
}

fn plain(link: &Link) -> Kind {
    if link.range {
        return Kind::Range;
    }
    match link.cast.as_str() {
        "json" | "jsonb" => Kind::Json,
        "smallint" => Kind::Integer(16),
        "integer" => Kind::Integer(32),
        "bigint" => Kind::Integer(64),
        "numeric" => Kind::Numeric(limit(link.modifier)),
        // Cents, whatever `lc_monetary` says about other currencies.
        "money" => Kind::Numeric(Some((i64::MAX, 2))),
        "real" => Kind::Single,
        "double precision" => Kind::Double,
        "timestamp with time zone" | "timestamp without time zone" => Kind::Time,
        "date" => Kind::Date,
        "time with time zone" | "time without time zone" => Kind::Clock,
        "interval" => Kind::Interval,
        "bytea" => Kind::Bytes,
        _ => Kind::Other,
    }
}

/// Digits before and behind the decimal point of a `numeric(precision, scale)`: the precision is above
/// the lowest 16 bits of its modifier, the scale in the lowest 11, with a sign (numeric.c).
fn limit(modifier: i32) -> Option<(i64, i64)> {
    let packed = modifier.checked_sub(4).filter(|packed| *packed >= 0)?;
    let (precision, scale) = (packed >> 16 & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024);
    Some((i64::from(precision - scale), i64::from(scale)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_of_numeric_are_taken_apart() {
        // As `atttypmod` shows them: numeric, numeric(8,2), numeric(38,18), numeric(3,-2), numeric(2,5).
        let cases = [
            (-1, None),
            (524_294, Some((6, 2))),
            (2_490_390, Some((20, 18))),
            (198_658, Some((5, -2))),
            (131_081, Some((-3, 5))),
        ];
        for (modifier, want) in cases {
            assert_eq!(limit(modifier), want, "{modifier}");
        }
    }
}
