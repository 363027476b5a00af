//! A registered device's row, held so that what belongs to it can be changed.

use sqlx::{AnyConnection, Row as _};

use rule::store::is_postgres;

/// The row of a device, which is not deleted before the change ends; `None` when there is none.
pub(super) async fn hold(
    change: &mut AnyConnection,
    (product_key, name): (&str, &str),
) -> Result<Option<i64>, sqlx::Error> {
    // Who deletes product or device waits before it has taken anything that is needed here.
    let find = match is_postgres(change) {
        true => {
            "SELECT d.id FROM devices d JOIN products p ON p.product_key = d.product_key
             WHERE d.product_key = $1 AND d.name = $2 FOR KEY SHARE OF p, d"
        }
        false => "SELECT d.id FROM devices d WHERE d.product_key = $1 AND d.name = $2",
    };
    let row = sqlx::query(find).bind(product_key).bind(name).fetch_optional(change).await?;
    row.map(|row| row.try_get(0)).transpose()
}
