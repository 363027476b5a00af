//! Which files there are: whose, their names and sizes, and which of them are still being sent.
//!
//! A row is there before its first byte and gone after its last one. A file that is deleted or replaced,
//! or whose device is deleted, belongs to nobody from then on: its row says which bytes are to go.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Row as _};

use super::check::Check;
use crate::held::hold;
use rule::store::{StoreError, signed, unsigned};

/// A file of a device, or one that is to become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) name: String,
    /// In bytes; `None` for one that is being sent and whose size its device does not know.
    pub(super) size: Option<u64>,
    pub(super) complete: bool,
    pub(super) check: Option<Check>,
    /// What the device calls its request, so that it can repeat it.
    pub(super) init_uid: Option<String>,
    /// When it was complete, or asked for, in milliseconds since 1970.
    pub(super) created_ms: u64,
}

/// What a device has of files.
pub(super) struct Stock {
    /// Its entries of the name that is asked about.
    pub(super) same: Vec<Entry>,
    /// All of its entries.
    pub(super) entries: u64,
    /// Their bytes, each of unknown size as large as may be.
    pub(super) bytes: u64,
}

/// What is to become of a request to send a file.
pub(super) enum Plan {
    /// It goes on with one that was begun.
    Resume(Entry),
    /// A new one begins; others of its name that are not complete end.
    Begin(Entry),
}

/// The files in the database.
#[derive(Debug)]
pub(super) struct Catalogue {
    pool: AnyPool,
}

/// A device by its name.
type Name<'a> = (&'a str, &'a str);

impl Catalogue {
    pub(super) fn new(pool: AnyPool) -> Self {
        Self { pool }
    }

    /// Lets `plan` decide about a request to send a file, when the device is registered: it gets what the
    /// device has, with `largest` as the size of what has none yet. What it plans is done.
    pub(super) async fn begin<E: From<StoreError>>(
        &self,
        device: Name<'_>,
        (name, largest): (&str, u64),
        plan: impl FnOnce(&Stock) -> Result<Plan, E> + Send,
    ) -> Result<Option<Entry>, E> {
        let mut change = self.pool.begin().await.map_err(StoreError::from)?;
        let Some(device_id) = hold(&mut change, device).await.map_err(StoreError::from)? else {
            return Ok(None);
        };
        let stock = stock(&mut change, device_id, name, largest).await;
        let entry = match plan(&stock.map_err(StoreError::from)?)? {
            Plan::Resume(entry) => entry,
            Plan::Begin(entry) => {
                disown(&mut change, device_id, name, false).await.map_err(StoreError::from)?;
                insert(&mut change, device_id, &entry).await.map_err(StoreError::from)?;
                entry
            }
        };
        change.commit().await.map_err(StoreError::from)?;
        Ok(Some(entry))
    }

    /// The file of a device with that id, complete or not.
    pub(super) async fn find(
        &self,
        (product_key, device_name): Name<'_>,
        id: &str,
    ) -> Result<Option<Entry>, StoreError> {
        let row = sqlx::query(
            "SELECT f.* FROM device_files f JOIN devices d ON d.id = f.device_id
             WHERE f.file_id = $1 AND d.product_key = $2 AND d.name = $3",
        )
        .bind(id)
        .bind(product_key)
        .bind(device_name)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    /// A complete file with that id, whosesoever it is.
    pub(super) async fn complete(&self, id: &str) -> Result<Option<Entry>, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM device_files
             WHERE file_id = $1 AND complete = 1 AND device_id IS NOT NULL",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.as_ref().map(read).transpose()?)
    }

    /// At most so many complete files of a device, the newest first, after the first `offset`; and how
    /// many it has.
    pub(super) async fn list(
        &self,
        (product_key, device_name): Name<'_>,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<Entry>, u64), StoreError> {
        let rows = sqlx::query(
            "SELECT f.* FROM device_files f JOIN devices d ON d.id = f.device_id
             WHERE d.product_key = $1 AND d.name = $2 AND f.complete = 1
             ORDER BY f.created_ms DESC, f.id DESC LIMIT $3 OFFSET $4",
        )
        .bind(product_key)
        .bind(device_name)
        .bind(i64::from(limit))
        .bind(signed(offset))
        .fetch_all(&self.pool)
        .await?;
        let total = sqlx::query(
            "SELECT count(*) FROM device_files f JOIN devices d ON d.id = f.device_id
             WHERE d.product_key = $1 AND d.name = $2 AND f.complete = 1",
        )
        .bind(product_key)
        .bind(device_name)
        .fetch_one(&self.pool)
        .await?;
        let entries = rows.iter().map(read).collect::<Result<_, _>>()?;
        Ok((entries, unsigned(total.try_get(0)?)))
    }

    /// Makes a file that was sent complete, in the place of one of its name; false when it is not there
    /// any more.
    pub(super) async fn finish(
        &self,
        device: Name<'_>,
        entry: &Entry,
        size: u64,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let mut change = self.pool.begin().await?;
        let Some(device_id) = hold(&mut change, device).await? else { return Ok(false) };
        disown(&mut change, device_id, &entry.name, true).await?;
        let done = sqlx::query(
            "UPDATE device_files SET complete = 1, size = $1, created_ms = $2
             WHERE file_id = $3 AND device_id = $4 AND complete = 0",
        )
        .bind(signed(size))
        .bind(signed(now_ms))
        .bind(&entry.id)
        .bind(device_id)
        .execute(&mut *change)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        change.commit().await?;
        Ok(true)
    }

    /// Takes a file from its device; false when it has no such one.
    pub(super) async fn give_up(
        &self,
        (product_key, device_name): Name<'_>,
        id: &str,
        complete: bool,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE device_files SET device_id = NULL
             WHERE file_id = $1 AND complete = $2 AND device_id =
             (SELECT id FROM devices WHERE product_key = $3 AND name = $4)",
        )
        .bind(id)
        .bind(i64::from(complete))
        .bind(product_key)
        .bind(device_name)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Ends what was begun before that time and never completed.
    pub(super) async fn expire(&self, before_ms: u64) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE device_files SET device_id = NULL
             WHERE complete = 0 AND created_ms < $1 AND device_id IS NOT NULL",
        )
        .bind(signed(before_ms))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// At most so many files that belong to nobody.
    pub(super) async fn nobodys(&self, limit: u32) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query("SELECT file_id FROM device_files WHERE device_id IS NULL LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// Forgets a file that belongs to nobody and whose bytes are gone.
    pub(super) async fn forget(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM device_files WHERE file_id = $1 AND device_id IS NULL")
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// How many entries there are.
    pub(super) async fn entries(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT count(*) FROM device_files").fetch_one(&self.pool).await?;
        Ok(unsigned(row.try_get(0)?))
    }

    /// The bytes of all complete files, and the ids of all others.
    pub(super) async fn all(&self) -> Result<(u64, Vec<String>), StoreError> {
        let sum = sqlx::query(
            "SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM device_files WHERE complete = 1",
        );
        let sum = sum.fetch_one(&self.pool).await?.try_get(0)?;
        let rows = sqlx::query("SELECT file_id FROM device_files WHERE complete = 0")
            .fetch_all(&self.pool)
            .await?;
        let ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        Ok((unsigned(sum), ids))
    }
}

async fn stock(
    change: &mut AnyConnection,
    device_id: i64,
    name: &str,
    largest: u64,
) -> Result<Stock, sqlx::Error> {
    let same = sqlx::query("SELECT * FROM device_files WHERE device_id = $1 AND name = $2")
        .bind(device_id)
        .bind(name)
        .fetch_all(&mut *change)
        .await?;
    let all = sqlx::query(
        "SELECT count(*), CAST(coalesce(sum(coalesce(size, $2)), 0) AS BIGINT)
         FROM device_files WHERE device_id = $1",
    )
    .bind(device_id)
    .bind(signed(largest))
    .fetch_one(change)
    .await?;
    Ok(Stock {
        same: same.iter().map(read).collect::<Result<_, _>>()?,
        entries: unsigned(all.try_get(0)?),
        bytes: unsigned(all.try_get(1)?),
    })
}

/// Takes a device's file of that name from it.
async fn disown(
    change: &mut AnyConnection,
    device_id: i64,
    name: &str,
    complete: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE device_files SET device_id = NULL
         WHERE device_id = $1 AND name = $2 AND complete = $3",
    )
    .bind(device_id)
    .bind(name)
    .bind(i64::from(complete))
    .execute(change)
    .await
    .map(drop)
}

async fn insert(
    change: &mut AnyConnection,
    device_id: i64,
    entry: &Entry,
) -> Result<(), sqlx::Error> {
    let (mode, value) = entry.check.as_ref().map(Check::parts).unzip();
    sqlx::query(
        "INSERT INTO device_files
         (device_id, file_id, name, size, complete, check_mode, check_value, init_uid, created_ms)
         VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8)",
    )
    .bind(device_id)
    .bind(&entry.id)
    .bind(&entry.name)
    .bind(entry.size.map(signed))
    .bind(mode)
    .bind(value)
    .bind(&entry.init_uid)
    .bind(signed(entry.created_ms))
    .execute(change)
    .await
    .map(drop)
}

fn read(row: &AnyRow) -> Result<Entry, sqlx::Error> {
    let mode: Option<String> = row.try_get("check_mode")?;
    let value: Option<String> = row.try_get("check_value")?;
    Ok(Entry {
        id: row.try_get("file_id")?,
        name: row.try_get("name")?,
        size: row.try_get::<Option<i64>, _>("size")?.map(unsigned),
        complete: row.try_get::<i64, _>("complete")? == 1,
        check: mode.zip(value).and_then(|(mode, value)| Check::read(&mode, &value)),
        init_uid: row.try_get("init_uid")?,
        created_ms: unsigned(row.try_get("created_ms")?),
    })
}
