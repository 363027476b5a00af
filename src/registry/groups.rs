//! Groups of devices: a tree of at most three levels, and the tags of its groups.
//!
//! All of it stays in the database. Which device is in which group stands in `members`; names and
//! descriptions are checked by who asks.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row as _};

use super::codes::Chance;
use super::tags::{bind_tags, having};
use super::{Registry, RegistryError};
use rule::store::{StoreError, signed, unsigned};

/// Levels of groups: a group, a group in it, and one in that.
pub const GROUP_LEVELS_MAX: usize = 3;

/// Groups right below a group.
pub const SUB_GROUPS_MAX: u64 = 100;

/// Tags of a group.
pub const GROUP_TAGS_MAX: usize = 100;

/// A group of devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// 16 letters and digits.
    pub id: String,
    /// Unique over all groups.
    pub name: String,
    /// For people; may be empty.
    pub description: String,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

/// A group to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    /// As in [`Group::name`].
    pub name: String,
    /// As in [`Group::description`].
    pub description: String,
    /// The id of the group that it is in.
    pub super_id: Option<String>,
}

impl Registry {
    /// Makes a group without devices and tags.
    ///
    /// # Errors
    /// [`RegistryError::NoGroup`] for the one that it is to be in, [`RegistryError::GroupDepth`],
    /// [`RegistryError::Full`], [`RegistryError::NameTaken`], or what the database says.
    pub async fn create_group(&self, new: NewGroup, now_ms: u64) -> Result<Group, RegistryError> {
        let _change = self.changing().await;
        let taken = sqlx::query("SELECT id FROM device_groups WHERE name = $1").bind(&new.name);
        if taken.fetch_optional(self.pool()).await?.is_some() {
            return Err(RegistryError::NameTaken(new.name));
        }
        let all = count(self.pool(), sqlx::query("SELECT count(*) FROM device_groups")).await?;
        if all >= self.limits().groups {
            return Err(RegistryError::Full(all));
        }
        let above = match &new.super_id {
            Some(id) => Some(self.group_above(id).await?),
            None => None,
        };
        let group = Group {
            id: Chance::default().group_id(),
            name: new.name,
            description: new.description,
            created_ms: now_ms,
        };
        sqlx::query(
            "INSERT INTO device_groups (group_id, name, description, super_id, created_ms)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&group.id)
        .bind(&group.name)
        .bind(&group.description)
        .bind(above)
        .bind(signed(group.created_ms))
        .execute(self.pool())
        .await?;
        Ok(group)
    }

    /// The row of a group that has room for one more below it.
    async fn group_above(&self, id: &str) -> Result<i64, RegistryError> {
        let row = self.group_row(id).await?;
        let mut level = Some(row);
        for depth in 1.. {
            let Some(of) = level else { break };
            if depth >= GROUP_LEVELS_MAX {
                return Err(RegistryError::GroupDepth);
            }
            let above = sqlx::query("SELECT super_id FROM device_groups WHERE id = $1").bind(of);
            level = above.fetch_one(self.pool()).await?.try_get(0)?;
        }
        let below = sqlx::query("SELECT count(*) FROM device_groups WHERE super_id = $1").bind(row);
        match count(self.pool(), below).await? {
            have if have >= SUB_GROUPS_MAX => Err(RegistryError::Full(have)),
            _ => Ok(row),
        }
    }

    /// Gives a group another description.
    ///
    /// # Errors
    /// [`RegistryError::NoGroup`], or what the database says.
    pub async fn describe_group(&self, id: &str, description: &str) -> Result<(), RegistryError> {
        let _change = self.changing().await;
        let row = self.group_row(id).await?;
        sqlx::query("UPDATE device_groups SET description = $1 WHERE id = $2")
            .bind(description)
            .bind(row)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Deletes a group with its tags. Its devices stay, and are in one group less.
    ///
    /// # Errors
    /// [`RegistryError::NoGroup`], [`RegistryError::SubGroups`], or what the database says.
    pub async fn delete_group(&self, id: &str) -> Result<(), RegistryError> {
        let _change = self.changing().await;
        let row = self.group_row(id).await?;
        let below = sqlx::query("SELECT count(*) FROM device_groups WHERE super_id = $1").bind(row);
        let below = count(self.pool(), below).await?;
        if below > 0 {
            return Err(RegistryError::SubGroups(below));
        }
        sqlx::query("DELETE FROM device_groups WHERE id = $1")
            .bind(row)
            .execute(self.pool())
            .await?;
        self.forget_group(row);
        Ok(())
    }

    /// The group of that id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn group(&self, id: &str) -> Result<Option<Group>, StoreError> {
        let row = sqlx::query("SELECT * FROM device_groups WHERE group_id = $1")
            .bind(id)
            .fetch_optional(self.pool())
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// The group that a group is in; `None` for one of the first level.
    ///
    /// # Errors
    /// [`RegistryError::NoGroup`], or what the database says.
    pub async fn super_group(&self, id: &str) -> Result<Option<Group>, RegistryError> {
        let row = self.group_row(id).await?;
        let above = sqlx::query(
            "SELECT g.* FROM device_groups g JOIN device_groups s ON s.super_id = g.id
             WHERE s.id = $1",
        );
        let above = above.bind(row).fetch_optional(self.pool()).await?;
        Ok(above.as_ref().map(read).transpose()?)
    }

    /// At most `limit` groups, the newest first, after the first `offset`; and how many there are. Of
    /// all, or those whose names contain `name` in any case; of all levels, or those right below `above`.
    ///
    /// # Errors
    /// [`RegistryError::NoGroup`] for `above`, or what the database says.
    pub async fn groups(
        &self,
        name: Option<&str>,
        above: Option<&str>,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<Group>, u64), RegistryError> {
        let above = match above {
            Some(id) => self.group_row(id).await?,
            None => 0,
        };
        let pattern = format!("%{}%", escaped(&name.unwrap_or("").to_lowercase()));
        let condition = "(super_id = $1 OR $1 = 0) AND lower(name) LIKE $2 ESCAPE '!'";
        let page = format!(
            "SELECT * FROM device_groups WHERE {condition} ORDER BY id DESC LIMIT $3 OFFSET $4"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(page))
            .bind(above)
            .bind(&pattern)
            .bind(i64::from(limit))
            .bind(signed(offset))
            .fetch_all(self.pool())
            .await?;
        let total = format!("SELECT count(*) FROM device_groups WHERE {condition}");
        let total = sqlx::query(sqlx::AssertSqlSafe(total)).bind(above).bind(&pattern);
        let total = count(self.pool(), total).await?;
        Ok((rows.iter().map(read).collect::<Result<_, _>>()?, total))
    }

    /// Gives a group these tags in the place of those that it has.
    ///
    /// # Errors
    /// [`RegistryError::NoGroup`], or what the database says.
    pub async fn set_group_tags(
        &self,
        id: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), RegistryError> {
        let _change = self.changing().await;
        let row = self.group_row(id).await?;
        let mut change = self.pool().begin().await?;
        sqlx::query("DELETE FROM device_group_tags WHERE group_id = $1")
            .bind(row)
            .execute(&mut *change)
            .await?;
        for (key, value) in tags {
            sqlx::query("INSERT INTO device_group_tags (group_id, key, value) VALUES ($1, $2, $3)")
                .bind(row)
                .bind(key)
                .bind(value)
                .execute(&mut *change)
                .await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// The tags of a group, sorted by key.
    ///
    /// # Errors
    /// [`RegistryError::NoGroup`], or what the database says.
    pub async fn group_tags(&self, id: &str) -> Result<Vec<(String, String)>, RegistryError> {
        let row = self.group_row(id).await?;
        let rows = sqlx::query(
            "SELECT key, value FROM device_group_tags WHERE group_id = $1 ORDER BY key",
        )
        .bind(row)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// At most `limit` groups that have all of these tags, at least one, the newest first, after the first
    /// `offset`; and how many there are. A tag without a value counts whatever its value is.
    ///
    /// # Errors
    /// What the database says.
    pub async fn groups_with_tags(
        &self,
        tags: &[(String, Option<String>)],
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<Group>, u64), StoreError> {
        let conditions = having(tags.len(), "device_group_tags", "t.group_id = g.id", " AND ");
        let next = tags.len() * 2 + 1;
        let page = format!(
            "SELECT g.* FROM device_groups g WHERE {conditions} ORDER BY g.id DESC
             LIMIT ${next} OFFSET ${}",
            next + 1
        );
        let page = bind_tags(sqlx::query(sqlx::AssertSqlSafe(page)), tags);
        let page = page.bind(i64::from(limit)).bind(signed(offset));
        let rows = page.fetch_all(self.pool()).await?;
        let total = format!("SELECT count(*) FROM device_groups g WHERE {conditions}");
        let total = bind_tags(sqlx::query(sqlx::AssertSqlSafe(total)), tags);
        let total = count(self.pool(), total).await?;
        Ok((rows.iter().map(read).collect::<Result<_, _>>()?, total))
    }

    /// Fails when there is no group of that id.
    ///
    /// # Errors
    /// [`RegistryError::NoGroup`], or what the database says.
    pub async fn group_exists(&self, id: &str) -> Result<(), RegistryError> {
        self.group_row(id).await.map(drop)
    }

    /// The row of a group.
    pub(super) async fn group_row(&self, id: &str) -> Result<i64, RegistryError> {
        let row = sqlx::query("SELECT id FROM device_groups WHERE group_id = $1")
            .bind(id)
            .fetch_optional(self.pool())
            .await?;
        match row {
            Some(row) => Ok(row.try_get(0)?),
            None => Err(RegistryError::NoGroup(id.to_owned())),
        }
    }
}

/// What a query of one number says.
pub(super) async fn count(
    pool: &AnyPool,
    query: sqlx::query::Query<'_, sqlx::Any, sqlx::any::AnyArguments>,
) -> Result<u64, StoreError> {
    Ok(unsigned(query.fetch_one(pool).await?.try_get(0)?))
}

/// A text that stands for itself in a pattern of LIKE.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '%' | '_' | '!') {
            escaped.push('!');
        }
        escaped.push(c);
    }
    escaped
}

pub(super) fn read(row: &AnyRow) -> Result<Group, StoreError> {
    Ok(Group {
        id: row.try_get("group_id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        created_ms: unsigned(row.try_get("created_ms")?),
    })
}
