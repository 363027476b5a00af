//! Desired properties: values that a device's properties are to have, kept until the device or the cloud
//! clears them.
//!
//! Each has a version: 0 without a value, 1 with its first one, and one more with each that follows.
//! What a device reports changes none of them, as at the vendor: the device reads what is desired, acts
//! on it and clears it, and names the version that it has seen, so that it never clears a newer value.

use std::collections::HashSet;

use contract::QoS;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sqlx::{AnyConnection, AnyPool, Row as _};

use super::alink::{Fields, NO_PARAMS, PROPERTIES_MAX, Refusal, quoted};
use super::held::hold;
use super::service::{ServiceError, members, settable};
use super::things::Things;
use super::values::{IDENTIFIER_BYTES, VALUE_BYTES, VALUES_MAX};
use rule::store::{StoreError, signed, unsigned};

/// Desired values that one request may set or ask for.
pub const DESIRED_AT_ONCE: usize = 10;

const TOO_MANY: Refusal =
    Refusal { code: 6106, message: "more than 200 properties in one message" };

/// A desired value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The property.
    pub identifier: String,
    /// JSON, as it was given.
    pub value: String,
    /// How often it was set since it was last without a value; from 1.
    pub version: u64,
    /// When it was set, in milliseconds since 1970.
    pub time_ms: u64,
}

/// What was made of a request to set desired values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The id of the message that a connected device was sent.
    pub id: u64,
    /// The properties of the request with their versions from now on, in its order.
    pub versions: Vec<(String, u64)>,
}

/// Why desired values were not set; none of a request was.
#[derive(Debug, thiserror::Error)]
pub enum DesiredError {
    /// The values are no JSON object, name what the model does not have, or do not fit.
    #[error(transparent)]
    Values(#[from] ServiceError),
    /// The request names no property.
    #[error("no property is named")]
    Nothing,
    /// The request names a property whose identifier is empty.
    #[error("an identifier is empty")]
    NoIdentifier,
    /// The request names too many properties, or the device would have too many values.
    #[error("{0}")]
    TooMany(String),
    /// A property or value that can't be kept.
    #[error("{0}")]
    Bounds(String),
    /// The versions are no object of whole numbers.
    #[error("the versions are no JSON object of whole numbers: {0}")]
    Versions(String),
    /// Somebody else has set or cleared it meanwhile.
    #[error("the version of `{identifier}` is {current}, not {given}: it was changed meanwhile")]
    Conflict {
        /// The property.
        identifier: String,
        /// The version that the request expects.
        given: u64,
        /// The version that it has.
        current: u64,
    },
    /// Nobody has registered it.
    #[error("there is no such device")]
    NoDevice,
    /// What the database says.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for DesiredError {
    fn from(problem: sqlx::Error) -> Self {
        Self::Store(problem.into())
    }
}

/// The desired values, in the database.
#[derive(Debug)]
pub(super) struct DesiredValues {
    pool: AnyPool,
    /// Held while values change, so that devices are told of changes in their order.
    change: tokio::sync::Mutex<()>,
}

impl DesiredValues {
    pub(super) fn new(pool: AnyPool) -> Self {
        Self { pool, change: tokio::sync::Mutex::default() }
    }

    /// Those of a registered device, by identifier.
    async fn of(&self, (product_key, name): (&str, &str)) -> Result<Vec<Desired>, StoreError> {
        let rows = sqlx::query(
            "SELECT v.identifier, v.value, v.version, v.time_ms FROM device_desired v
             JOIN devices d ON d.id = v.device_id
             WHERE d.product_key = $1 AND d.name = $2 ORDER BY v.identifier",
        )
        .bind(product_key)
        .bind(name)
        .fetch_all(&self.pool)
        .await?;
        let desired = |row: &sqlx::any::AnyRow| {
            Ok(Desired {
                identifier: row.try_get(0)?,
                value: row.try_get(1)?,
                version: unsigned(row.try_get(2)?),
                time_ms: unsigned(row.try_get(3)?),
            })
        };
        rows.iter().map(desired).collect()
    }

    /// Sets values, or clears those that are null, if `expected` are the versions at present. The caller
    /// holds `change`.
    async fn set(
        &self,
        device: (&str, &str),
        items: &Map<String, Value>,
        expected: &[(String, u64)],
        now_ms: u64,
    ) -> Result<Vec<(String, u64)>, DesiredError> {
        let mut change = self.pool.begin().await?;
        let id = hold(&mut change, device).await?.ok_or(DesiredError::NoDevice)?;
        for (identifier, given) in expected {
            let current = version(&mut change, id, identifier).await?;
            if current != *given {
                let (identifier, given) = (identifier.clone(), *given);
                return Err(DesiredError::Conflict { identifier, given, current });
            }
        }
        let mut versions = Vec::with_capacity(items.len());
        for (identifier, value) in items {
            let version = match value {
                Value::Null => {
                    clear(&mut change, id, identifier, None).await?;
                    0
                }
                value => put(&mut change, id, identifier, &value.to_string(), now_ms).await?,
            };
            versions.push((identifier.clone(), version));
        }
        let kept: i64 = sqlx::query("SELECT count(*) FROM device_desired WHERE device_id = $1")
            .bind(id)
            .fetch_one(&mut *change)
            .await?
            .try_get(0)?;
        if kept > VALUES_MAX {
            let text = format!("a device has at most {VALUES_MAX} desired values");
            return Err(DesiredError::TooMany(text));
        }
        change.commit().await?;
        Ok(versions)
    }
}

async fn version(
    change: &mut AnyConnection,
    device_id: i64,
    identifier: &str,
) -> Result<u64, sqlx::Error> {
    let row =
        sqlx::query("SELECT version FROM device_desired WHERE device_id = $1 AND identifier = $2")
            .bind(device_id)
            .bind(identifier)
            .fetch_optional(change)
            .await?;
    row.map_or(Ok(0), |row| row.try_get(0).map(unsigned))
}

/// Keeps a value; its version.
async fn put(
    change: &mut AnyConnection,
    device_id: i64,
    identifier: &str,
    value: &str,
    now_ms: u64,
) -> Result<u64, sqlx::Error> {
    let row = sqlx::query(
        "INSERT INTO device_desired (device_id, identifier, value, version, time_ms)
         VALUES ($1, $2, $3, 1, $4)
         ON CONFLICT (device_id, identifier) DO UPDATE
         SET value = excluded.value, time_ms = excluded.time_ms,
             version = device_desired.version + 1
         RETURNING version",
    )
    .bind(device_id)
    .bind(identifier)
    .bind(value)
    .bind(signed(now_ms))
    .fetch_one(change)
    .await?;
    row.try_get(0).map(unsigned)
}

/// Clears a value; one of another version stays.
async fn clear(
    change: &mut AnyConnection,
    device_id: i64,
    identifier: &str,
    version: Option<u64>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DELETE FROM device_desired
         WHERE device_id = $1 AND identifier = $2 AND (version = $3 OR $3 = 0)",
    )
    .bind(device_id)
    .bind(identifier)
    .bind(version.map_or(0, signed))
    .execute(change)
    .await
    .map(drop)
}

/// What a device says of a value that it has dealt with.
#[derive(Deserialize)]
struct Dealt {
    /// The version that it has seen.
    #[serde(default)]
    version: Option<u64>,
}

impl Things {
    /// Sets desired values of a registered device; `null` clears one. A device that is connected is sent
    /// them at once; one that is not asks when it is. `versions` is a JSON object with versions that must
    /// be those at present.
    ///
    /// # Errors
    /// A [`DesiredError`]; nothing has changed.
    pub async fn desire(
        &self,
        product_key: &str,
        device_name: &str,
        items: &str,
        versions: &str,
    ) -> Result<Granted, DesiredError> {
        let device = (product_key, device_name);
        let items = self.checked(product_key, items)?;
        let expected = expected(versions)?;
        let id = self.calls().short_id();
        let values = self.desired_values();
        let _change = values.change.lock().await;
        let versions = values.set(device, &items, &expected, self.now_ms()).await?;
        let told: Map<String, Value> =
            items.into_iter().filter(|(_, value)| !value.is_null()).collect();
        if !told.is_empty() && self.connection(product_key, device_name).is_some() {
            let told = Value::Object(told).to_string();
            let request = self.set_request(device, id, &told, QoS::AtLeastOnce)?;
            // A device that can't take it now finds it when it asks.
            let _queued = self.publish(&request);
        }
        Ok(Granted { id, versions })
    }

    /// The desired values of a registered device, by identifier.
    ///
    /// # Errors
    /// What the database says.
    pub async fn desired(
        &self,
        product_key: &str,
        device_name: &str,
    ) -> Result<Vec<Desired>, StoreError> {
        self.desired_values().of((product_key, device_name)).await
    }

    /// The values in a request, which the product's model allows.
    fn checked(&self, product_key: &str, items: &str) -> Result<Map<String, Value>, DesiredError> {
        let given = members(items)?;
        if given.is_empty() {
            return Err(DesiredError::Nothing);
        }
        if given.len() > DESIRED_AT_ONCE {
            let text = format!("{} properties, at most {DESIRED_AT_ONCE}", given.len());
            return Err(DesiredError::TooMany(text));
        }
        let written: Fields<'_> =
            serde_json::from_str(items).map_err(|e| ServiceError::NotJson(e.to_string()))?;
        if written.0.len() != given.len() {
            return Err(DesiredError::Bounds("a property is named twice".to_owned()));
        }
        let model = self.model(product_key);
        for (name, value) in &given {
            if name.is_empty() {
                return Err(DesiredError::NoIdentifier);
            }
            if name.len() > IDENTIFIER_BYTES || name.contains('\0') {
                let text = format!("`{name}` is no identifier of a property");
                return Err(DesiredError::Bounds(text));
            }
            let bytes = value.to_string().len();
            if bytes > VALUE_BYTES {
                let text =
                    format!("the value of `{name}` has {bytes} bytes, at most {VALUE_BYTES}");
                return Err(DesiredError::Bounds(text));
            }
            if let Some(model) = &model {
                let property = settable(model, name)?;
                if !value.is_null() {
                    property.data.check(name, value).map_err(ServiceError::Model)?;
                }
            }
        }
        Ok(given)
    }

    /// What a device asks for: identifiers. The data of the answer.
    pub(super) async fn desired_for_device(
        &self,
        device: (&str, &str),
        params: &str,
    ) -> Result<String, Refusal> {
        let asked: HashSet<String> = serde_json::from_str(params).map_err(|_| NO_PARAMS)?;
        if asked.len() > PROPERTIES_MAX {
            return Err(TOO_MANY);
        }
        let desired = self.desired_values().of(device).await?;
        let shown = desired.iter().filter(|one| asked.contains(&one.identifier)).map(|one| {
            let (name, value, version) = (quoted(&one.identifier), &one.value, one.version);
            format!(r#"{name}:{{"value":{value},"version":{version}}}"#)
        });
        Ok(format!("{{{}}}", shown.collect::<Vec<_>>().join(",")))
    }

    /// Clears what a device has dealt with: an object of identifiers, each perhaps with the version that
    /// it has seen. One that is newer stays.
    pub(super) async fn dealt_with(
        &self,
        device: (&str, &str),
        params: &str,
    ) -> Result<String, Refusal> {
        let Fields(dealt) = serde_json::from_str(params).map_err(|_| NO_PARAMS)?;
        if dealt.len() > PROPERTIES_MAX {
            return Err(TOO_MANY);
        }
        let read = |value: &RawValue| serde_json::from_str::<Dealt>(value.get());
        let dealt: Vec<_> = dealt
            .into_iter()
            .map(|(name, value)| read(value).map(|Dealt { version }| (name, version)))
            .collect::<Result<_, _>>()
            .map_err(|_| NO_PARAMS)?;
        let values = self.desired_values();
        let _change = values.change.lock().await;
        let cleared = async {
            let mut change = values.pool.begin().await?;
            if let Some(id) = hold(&mut change, device).await? {
                for (name, version) in dealt {
                    // No value has version 0: there is nothing to clear.
                    if version != Some(0) {
                        clear(&mut change, id, &name, version).await?;
                    }
                }
            }
            change.commit().await
        };
        cleared.await.map_err(StoreError::from)?;
        Ok("{}".to_owned())
    }
}

/// The versions that a request expects.
fn expected(versions: &str) -> Result<Vec<(String, u64)>, DesiredError> {
    let wrong = |text: String| DesiredError::Versions(text);
    let given = contract::object(versions.as_bytes());
    let given = given.map_err(|problem| wrong(problem.to_string()))?;
    if given.len() > DESIRED_AT_ONCE {
        return Err(wrong(format!("{} properties, at most {DESIRED_AT_ONCE}", given.len())));
    }
    let version = |(name, value): (String, Value)| match value.as_u64() {
        Some(version) => Ok((name, version)),
        None => Err(wrong(format!("`{name}` is {value}"))),
    };
    given.into_iter().map(version).collect()
}

#[cfg(test)]
mod tests;
