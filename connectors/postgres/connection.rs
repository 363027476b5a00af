//! The connection to a database: a pool that opens connections when they are needed, and what the
//! server's errors mean. Tables belong to the sink.

use std::str::FromStr as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgPool, PgPoolOptions, Postgres};

use crate::contract::{
    AnyConnection, ConfigError, ConnectionConfig, DeliveryError, Env, FailureKind, Secret,
};

/// Connections to one database at most.
const CONNECTIONS_MAX: u32 = 8;

/// How long a delivery waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A database for `postgres` actions: either `url`, or `host` and what goes with it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostgresSettings {
    /// All in one: `postgres://user:password@host:5432/database?sslmode=require`.
    url: Option<Secret>,
    /// The server's name or address.
    host: Option<String>,
    /// The server's port; 5432 without it.
    port: Option<u16>,
    /// The role to log in as.
    user: Option<String>,
    /// The role's password.
    password: Option<Secret>,
    /// The database; without it the one that is named like the role.
    database: Option<String>,
}

impl ConnectionConfig for PostgresSettings {
    const NAME: &'static str = "postgres";
    const SUMMARY: &'static str = "A PostgreSQL database.";
    const EXAMPLE: &'static str =
        r#"{ host: "127.0.0.1", port: 5432, user: tidegate, password: "secret", database: plant }"#;

    fn open(self, _: &Env) -> Result<AnyConnection, ConfigError> {
        let options = match (&self.url, &self.host) {
            (Some(url), None) => {
                let parts = [self.port.is_some(), self.user.is_some(), self.database.is_some()];
                if parts.contains(&true) || self.password.is_some() {
                    return Err(ConfigError::new(
                        "url",
                        "put everything into `url`, or use `host`",
                    ));
                }
                // The library's error could repeat the password.
                PgConnectOptions::from_str(url.expose()).map_err(|_| {
                    ConfigError::new(
                        "url",
                        "expected `postgres://user:password@host:5432/database`",
                    )
                })?
            }
            (None, Some(host)) => {
                let mut options = PgConnectOptions::new_without_pgpass().host(host);
                options = options.port(self.port.unwrap_or(5432));
                if let Some(user) = &self.user {
                    options = options.username(user);
                }
                if let Some(password) = &self.password {
                    options = options.password(password.expose());
                }
                if let Some(database) = &self.database {
                    options = options.database(database);
                }
                options
            }
            _ => return Err(ConfigError::new("", "name either `url` or `host`")),
        };
        let shown = format!(
            "{}:{}/{}",
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or_else(|| options.get_username())
        );
        let options = options.application_name("tidegate");
        Ok(Arc::new(Database { options, shown, pool: OnceLock::new() }))
    }
}

pub(super) struct Database {
    options: PgConnectOptions,
    /// Host, port and database for error texts.
    pub(super) shown: String,
    pool: OnceLock<PgPool>,
}

impl Database {
    pub(super) async fn acquire(
        &self,
    ) -> Result<sqlx::pool::PoolConnection<Postgres>, DeliveryError> {
        let pool = self.pool.get_or_init(|| {
            PgPoolOptions::new()
                .max_connections(CONNECTIONS_MAX)
                .acquire_timeout(CONNECT_TIMEOUT)
                .after_connect(|connection, _| Box::pin(wait_for_the_disk(connection)))
                .connect_lazy_with(self.options.clone())
        });
        pool.acquire().await.map_err(|error| self.failure(error))
    }

    pub(super) fn failure(&self, error: sqlx::Error) -> DeliveryError {
        let (kind, text) = match &error {
            sqlx::Error::Database(inner) => {
                let code = inner.code().unwrap_or_default();
                let server = inner.try_downcast_ref::<PgDatabaseError>();
                let of_row = server.is_some_and(|error| {
                    // Rows that a policy or a view forbids come with the code of a missing privilege.
                    error.routine() == Some("ExecWithCheckOptions")
                        || is_of_a_value(&code, error.position().is_some())
                });
                let kind = if of_row { FailureKind::Rejected } else { kind_of(&code) };
                (kind, format!("{} ({code})", inner.message()))
            }
            sqlx::Error::PoolTimedOut => {
                let text = format!("no connection within {CONNECT_TIMEOUT:?}");
                (FailureKind::Unreachable, text)
            }
            sqlx::Error::Configuration(_) => (FailureKind::Misconfigured, error.to_string()),
            sqlx::Error::Encode(_) => (FailureKind::Rejected, error.to_string()),
            _ => (FailureKind::Unreachable, error.to_string()),
        };
        DeliveryError::new(kind, format!("postgres {}: {text}", self.shown))
    }

    /// The failure of a statement that was sent: without the server's word it may have been done.
    pub(super) fn failure_after_sending(&self, error: sqlx::Error) -> DeliveryError {
        let lost = matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_));
        let mut failure = self.failure(error);
        if lost {
            failure.kind = FailureKind::Unknown;
        }
        failure
    }
}

/// Has commits wait for the server's disk where the server, the database or the role is set not to: what
/// counts as delivered survives its crash. Other settings stay, such as waiting for standbys.
async fn wait_for_the_disk(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    const SQL: &str = "SELECT set_config('synchronous_commit', 'local', false) \
         WHERE current_setting('synchronous_commit') = 'off'";
    sqlx::query(SQL).persistent(false).execute(connection).await.map(drop)
}

/// True for what the reading of a value says with a code for faults of the statement: `tsquery`, `regclass` and
/// their like read names and have a syntax of their own. No place of the statement is to blame then.
fn is_of_a_value(code: &str, has_place: bool) -> bool {
    !has_place
        && matches!(code, "42601" | "42602" | "42622" | "42703" | "42704" | "42883" | "42P01")
}

/// What an SQLSTATE means (PostgreSQL documentation, appendix A).
fn kind_of(code: &str) -> FailureKind {
    let class = code.get(..2).unwrap_or("");
    match (code, class) {
        ("42501", _) | (_, "28") => FailureKind::Denied,
        // Data, constraints, a row twice in one statement, program limits, triggers and functions that
        // refuse; and what extensions say of a value that they cannot read (PostGIS), since it is the code
        // of whoever names none.
        ("XX000", _)
        | (_, "09" | "20" | "21" | "22" | "23" | "27" | "2F" | "38" | "39" | "44" | "54" | "P0") => {
            FailureKind::Rejected
        }
        // Serialization and deadlock, resources, locks.
        (_, "40" | "53" | "55") => FailureKind::Busy,
        // No such table, column, type, database or schema.
        (_, "42" | "3D" | "3F" | "0A") => FailureKind::Misconfigured,
        // Operator intervention (shutdown), system and internal errors, what only some servers have.
        ("", _) | (_, "57" | "58" | "72" | "F0" | "HV" | "XX") => FailureKind::Unreachable,
        // Classes that begin so are left to those who write triggers (ISO 9075-2, 24.1).
        _ if class.starts_with(|c: char| matches!(c, '5'..='9' | 'I'..='Z')) => {
            FailureKind::Rejected
        }
        // What many of them raise by habit from other databases.
        (_, "45") => FailureKind::Rejected,
        // Connection, state of the transaction, a standby.
        _ => FailureKind::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r15_states_mean_what_the_engine_can_do() {
        let cases: [(FailureKind, &[&str]); 5] = [
            (
                FailureKind::Rejected,
                &[
                    "09000", "20000", "21000", "22001", "22003", "22021", "22P02", "23502",
                    "23503", "23505", "23514", "27000", "2F002", "38000", "39000", "44000",
                    "45000", "54011", "XX000", "P0001", "TG001", "U0001", "99999",
                ],
            ),
            (FailureKind::Busy, &["40001", "40P01", "53100", "53200", "53300", "55P03", "55006"]),
            (
                FailureKind::Unreachable,
                &[
                    "08000", "08003", "08006", "25006", "26000", "57014", "57P01", "57P02",
                    "57P03", "58030", "XX001", "", "01000", "03000", "08P01", "0B000", "0F001",
                    "0L000", "0P000", "0Z000", "24000", "25001", "2B000", "2D000", "34000",
                    "3B000", "57014", "72000", "F0000", "HV000",
                ],
            ),
            (
                FailureKind::Misconfigured,
                &["0A000", "42883", "3D000", "3F000", "42601", "42703", "42804", "42P01", "42P10"],
            ),
            (FailureKind::Denied, &["28000", "28P01", "42501"]),
        ];
        for (kind, codes) in cases {
            for code in codes {
                assert_eq!(kind_of(code), kind, "{code}");
            }
        }
    }
}
