//! A schema of the PostgreSQL server, for one test.

use std::str::FromStr as _;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Executor as _};

use super::services::service;

/// A fresh schema, which is dropped with the value.
pub struct Schema {
    server: String,
    name: String,
}

impl Schema {
    /// `None` when there is no server; the test is skipped then.
    pub async fn new() -> Option<Self> {
        let server = service("PostgreSQL", "TIDEGATE_TEST_POSTGRES")?;
        let name = format!("store_{}", uuid::Uuid::new_v4().simple());
        run(&server, &format!("CREATE SCHEMA {name}")).await;
        Some(Self { server, name })
    }

    /// The URL with which everything happens in the schema.
    pub fn url(&self) -> String {
        let mark = if self.server.contains('?') { '&' } else { '?' };
        format!("{}{mark}options[search_path]={}", self.server, self.name)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // Dropped from within a runtime, which must not wait for itself.
        let drop = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let text = format!("DROP SCHEMA {name} CASCADE");
            runtime.expect("a runtime").block_on(run(&server, &text));
        });
        drop.join().ok();
    }
}

async fn run(server: &str, text: &str) {
    let mut connection = connect(server).await;
    connection.execute(sqlx::raw_sql(AssertSqlSafe(text.to_owned()))).await.expect("a statement");
}

/// A connection to a server.
pub async fn connect(url: &str) -> PgConnection {
    let options = PgConnectOptions::from_str(url).expect("a URL");
    options.connect().await.expect("the server")
}
