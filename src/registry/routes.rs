//! The topic route table: from which topic messages are published again on which others.
//!
//! The messages themselves are published elsewhere.

use contract::Topic;
use sqlx::{AnyPool, Row as _};

use super::devices::no_device;
use super::{Registry, RegistryError};
use rule::store::StoreError;

/// Destinations of one source.
pub const DESTINATIONS_MAX: usize = 100;

/// A topic and the device that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The whole topic.
    pub topic: Topic,
    /// The product key in it.
    pub product_key: String,
    /// The device name in it.
    pub device_name: String,
}

impl Route {
    /// The device of a topic of the form `/{product key}/{device name}/…`; `None` for any other,
    /// those of the system included.
    #[must_use]
    pub fn of(topic: Topic) -> Option<Self> {
        let mut levels = topic.as_str().strip_prefix('/')?.split('/');
        let (product_key, device_name) = (levels.next()?.to_owned(), levels.next()?.to_owned());
        let rest = levels.clone().next().is_some() && levels.all(|level| !level.is_empty());
        let own = matches!(&*product_key, "sys" | "as" | "ext" | "shadow" | "ota" | "broadcast");
        let usable = rest && !own && !product_key.is_empty() && !device_name.is_empty();
        usable.then_some(Self { topic, product_key, device_name })
    }
}

impl Registry {
    /// Adds destinations to a source; those that it has already stay.
    ///
    /// # Errors
    /// [`RegistryError::NoDevice`], [`RegistryError::Full`] when the source would have more than
    /// [`DESTINATIONS_MAX`], or what the database says.
    pub async fn add_routes(
        &self,
        source: &Route,
        destinations: &[Route],
    ) -> Result<(), RegistryError> {
        let _change = self.changing().await;
        let from = self.device_row(source).await?;
        let have = self.destinations(source.topic.as_str()).await?;
        let more = destinations.iter().filter(|to| !have.iter().any(|h| h == to.topic.as_str()));
        if have.len() + more.count() > DESTINATIONS_MAX {
            return Err(RegistryError::Full(have.len() as u64));
        }
        let mut rows = Vec::with_capacity(destinations.len());
        for to in destinations {
            rows.push((to, self.device_row(to).await?));
        }
        let mut change = self.pool().begin().await?;
        for (to, to_device) in rows {
            sqlx::query(
                "INSERT INTO topic_routes (source, source_device, destination, destination_device)
                 VALUES ($1, $2, $3, $4) ON CONFLICT (source, destination) DO NOTHING",
            )
            .bind(source.topic.as_str())
            .bind(from)
            .bind(to.topic.as_str())
            .bind(to_device)
            .execute(&mut *change)
            .await?;
        }
        change.commit().await?;
        self.reload_routes().await?;
        Ok(())
    }

    /// Deletes destinations of a source. Returns those that it did not have.
    ///
    /// # Errors
    /// What the database says.
    pub async fn delete_routes(
        &self,
        source: &str,
        destinations: &[String],
    ) -> Result<Vec<String>, StoreError> {
        let _change = self.changing().await;
        let mut missing = Vec::new();
        let mut change = self.pool().begin().await?;
        for to in destinations {
            let done =
                sqlx::query("DELETE FROM topic_routes WHERE source = $1 AND destination = $2")
                    .bind(source)
                    .bind(to)
                    .execute(&mut *change)
                    .await?;
            if done.rows_affected() == 0 {
                missing.push(to.clone());
            }
        }
        change.commit().await?;
        self.reload_routes().await?;
        Ok(missing)
    }

    /// Where messages on a topic are published again, sorted.
    ///
    /// # Errors
    /// What the database says.
    pub async fn destinations(&self, source: &str) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT destination FROM topic_routes WHERE source = $1 ORDER BY destination",
        )
        .bind(source)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// At most `limit` topics whose messages are published again on a topic, sorted.
    ///
    /// # Errors
    /// What the database says.
    pub async fn sources(&self, destination: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT source FROM topic_routes WHERE destination = $1 ORDER BY source LIMIT $2",
        )
        .bind(destination)
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// Puts in force what the database has.
    async fn reload_routes(&self) -> Result<(), StoreError> {
        let pairs = all(self.pool()).await?;
        self.set_routes(pairs);
        Ok(())
    }

    async fn device_row(&self, route: &Route) -> Result<i64, RegistryError> {
        let row = sqlx::query("SELECT id FROM devices WHERE product_key = $1 AND name = $2")
            .bind(&route.product_key)
            .bind(&route.device_name)
            .fetch_optional(self.pool())
            .await?;
        match row {
            Some(row) => Ok(row.try_get(0)?),
            None => Err(no_device(&route.product_key, &route.device_name)),
        }
    }
}

/// All pairs of source and destination, sorted.
pub(super) async fn all(pool: &AnyPool) -> Result<Vec<(String, String)>, StoreError> {
    let rows =
        sqlx::query("SELECT source, destination FROM topic_routes ORDER BY source, destination")
            .fetch_all(pool)
            .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::TopicLimits;

    #[test]
    fn custom_topics_belong_to_a_device() {
        let route = |text: &str| {
            let topic = Topic::parse(text, TopicLimits::default()).expect("topic");
            Route::of(topic).map(|route| (route.product_key, route.device_name))
        };
        assert_eq!(route("/pk/dn/user/x"), Some(("pk".to_owned(), "dn".to_owned())));
        for bad in ["/sys/pk/dn/x", "/pk/dn", "/pk/dn/", "pk/dn/x", "/pk//x", "//dn/x", "/pk/dn//x"]
        {
            assert_eq!(route(bad), None, "{bad}");
        }
    }
}
