//! The store against real files, and the same against PostgreSQL where there is one.

use std::path::PathBuf;

use schema::Schema;

use super::*;
use crate::DataType;

#[path = "../../../tests/schema.rs"]
mod schema;
#[path = "../../../tests/services.rs"]
mod services;

/// Where a store is, and a folder for what else it writes.
struct Home {
    folder: Folder,
    schema: Option<Schema>,
}

impl Home {
    fn file() -> Self {
        Self { folder: Folder::new(), schema: None }
    }

    /// `None` when there is no server.
    async fn postgres() -> Option<Self> {
        let schema = Some(Schema::new().await?);
        let folder = Folder::new();
        std::fs::create_dir_all(&folder.0).unwrap();
        Some(Self { folder, schema })
    }

    fn server(&self) -> Option<Server> {
        self.schema.as_ref().map(|schema| Server::parse(&schema.url()).unwrap())
    }

    async fn open_with(&self, master: Option<&str>) -> Result<Store, StoreError> {
        match self.server() {
            None => Store::open_with(&self.folder.0, master).await,
            Some(server) => Store::open_postgres(&server, master).await,
        }
    }

    async fn open(&self) -> Store {
        self.open_with(None).await.unwrap()
    }

    /// All that is kept of a store's access keys, as far as one can look: the bytes of the files, or the
    /// rows.
    async fn bytes(&self, store: &Store) -> Vec<u8> {
        if self.schema.is_none() {
            return bytes_of(&self.folder.0);
        }
        let rows = sqlx::query("SELECT secret FROM access_keys").fetch_all(&store.pool).await;
        rows.unwrap().iter().flat_map(|row| row.get::<String, _>(0).into_bytes()).collect()
    }
}

/// Each test runs on a file and, under a name of its own, on PostgreSQL.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod in_a_file {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Home::file()).await;
            })*
        }
        mod in_postgres {
            $(#[tokio::test]
            async fn $name() {
                if let Some(home) = super::Home::postgres().await {
                    super::$name(home).await;
                }
            })*
        }
    };
}

on_both! {
    rules_survive_and_ids_are_never_used_again
    an_action_is_there_with_consent_only
    keys_are_made_once_shown_never_and_revoked_for_good
    a_store_of_a_newer_program_is_left_alone
    a_store_of_an_older_program_keeps_what_it_has
    secrets_are_encrypted_once_there_is_a_master_key
}

/// A folder that is deleted with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("tidegate-store-{}", uuid::Uuid::new_v4())))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn rule(name: &str) -> StoredRule {
    StoredRule {
        id: 0,
        name: name.to_owned(),
        description: "描述".to_owned(),
        data_type: DataType::Binary,
        product_key: Some("a1Pk".to_owned()),
        short_topic: Some("+/user/#".to_owned()),
        topic_type: Some(1),
        select: Some("*".to_owned()),
        filter: None,
        running: true,
        created_ms: 1,
        modified_ms: 2,
    }
}

async fn rules_survive_and_ids_are_never_used_again(home: Home) {
    let store = home.open().await;
    let first = store.insert_rule(&rule("first")).await.unwrap();
    assert_eq!(first, 100_000);
    let action = StoredAction {
        id: 0,
        rule_id: first,
        kind: "ONS".to_owned(),
        configuration: r#"{"a": 1.10}"#.to_owned(),
        error: false,
    };
    assert_eq!(store.insert_action(&action).await.unwrap(), 100_000);
    store.insert_rule(&rule("first")).await.unwrap_err();
    store.delete_rule(first).await.unwrap();
    assert_eq!(store.action(100_000).await.unwrap(), None);
    store.delete_rule(first).await.unwrap_err();
    store.insert_action(&action).await.unwrap_err();
    store.close().await;
    store.rule(1).await.unwrap_err();

    let store = home.open().await;
    // PostgreSQL has used up the ids of what it refused.
    let refused = u64::from(home.schema.is_some());
    let second = store.insert_rule(&rule("second")).await.unwrap();
    assert_eq!(second, 100_001 + refused);
    let action = StoredAction { rule_id: second, ..action };
    assert_eq!(store.insert_action(&action).await.unwrap(), 100_001 + refused);
    let mut want = StoredRule { id: second, ..rule("second") };
    assert_eq!(store.rule(second).await.unwrap(), Some(want.clone()));
    assert_eq!(store.running_rules().await.unwrap(), [want.clone()]);
    assert_eq!(store.running_actions().await.unwrap(), store.actions(second).await.unwrap());
    want.running = false;
    want.filter = Some("a > 1".to_owned());
    store.update_rule(&want).await.unwrap();
    assert_eq!(store.rule_named("second").await.unwrap(), Some(want));
    assert_eq!(store.running_rules().await.unwrap(), []);
    assert_eq!(store.running_actions().await.unwrap(), []);
    assert_eq!(store.actions(second).await.unwrap()[0].configuration, r#"{"a": 1.10}"#);
}

async fn an_action_is_there_with_consent_only(home: Home) {
    let store = home.open().await;
    let rule_id = store.insert_rule(&rule("one")).await.unwrap();
    let (kind, configuration) = ("FC".to_owned(), "{}".to_owned());
    let action = StoredAction { id: 0, rule_id, kind, configuration, error: true };
    let mut told = 0;
    let refused = store.insert_action_if(&action, |id| {
        told = id;
        Err("no")
    });
    assert_eq!(refused.await.unwrap(), Err("no"));
    assert_eq!(store.action(told).await.unwrap(), None);
    let id = store.insert_action_if(&action, |_| Ok::<_, ()>(())).await.unwrap().unwrap();
    let kept = store.actions(rule_id).await.unwrap();
    assert_eq!(kept, [StoredAction { id, ..action }]);
    assert_eq!(store.rule_count().await.unwrap(), 1);
    assert_eq!(store.rules(10, 0).await.unwrap()[0].topic_type, Some(1));
    store.delete_action(id).await.unwrap();
    store.delete_action(id).await.unwrap_err();
    store.close().await;
}

async fn keys_are_made_once_shown_never_and_revoked_for_good(home: Home) {
    let folder = &home.folder;
    let store = home.open().await;
    let (first, path) = store.first_key(&folder.0, 5).await.unwrap().expect("the first key");
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        written,
        format!(
            "TIDEGATE_ACCESS_KEY_ID={}\nTIDEGATE_ACCESS_KEY_SECRET={}\n",
            first.id, first.secret
        )
    );
    assert_eq!(first.role, Role::Admin);
    assert_eq!((first.id.len(), first.secret.len()), (22, 40));
    assert_eq!(store.first_key(&folder.0, 6).await.unwrap(), None);
    let second = store.create_key(Role::Read, 7).await.unwrap();
    assert_ne!(first.secret, second.secret);
    assert!(!format!("{first:?}").contains(&first.secret));
    assert!(store.revoke_key(&first.id, 8).await.unwrap());
    assert!(!store.revoke_key(&first.id, 9).await.unwrap());
    let kept = store.key(&first.id).await.unwrap().expect("kept");
    assert_eq!((kept.secret, kept.revoked_ms), (first.secret, Some(8)));
    assert_eq!(store.keys().await.unwrap().len(), 2);
    assert_eq!(store.key("none\0").await.unwrap(), None);
    // A store whose only keys are revoked does not hand out a new one by itself.
    store.revoke_key(&second.id, 9).await.unwrap();
    assert_eq!(store.first_key(&folder.0, 10).await.unwrap(), None);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for name in std::fs::read_dir(&folder.0).unwrap() {
            let mode = name.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
    }
}

async fn a_store_of_a_newer_program_is_left_alone(home: Home) {
    let store = home.open().await;
    let newer = match home.schema {
        None => "PRAGMA user_version = 99",
        Some(_) => "UPDATE store_version SET version = 99",
    };
    sqlx::raw_sql(newer).execute(&store.pool).await.unwrap();
    store.close().await;
    let error = home.open_with(None).await.unwrap_err().to_string();
    assert!(error.contains("version 99"), "{error}");
}

/// Statements that fill the tables of each step, which the step after it finds.
const FILLED: &[&str] = &[
    "INSERT INTO access_keys (id, secret, role, created_ms) VALUES ('old', 'secret', 'read', 1)",
    "INSERT INTO settings (name, value) VALUES ('old', 'kept')",
    "INSERT INTO products (product_key, name, description, node_type, data_format, senior, auth_type,
     validate_type, secret, created_ms) VALUES ('a1Old', 'old', '', 0, 1, 1, 'secret', 1, 'x', 1)",
];

/// Makes a store as a program did that knew no more than these steps, with something in it.
async fn fill_older(home: &Home, steps: &[steps::Step]) {
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(FILLED.join(";")));
    let Some(server) = home.server() else {
        let path = home.folder.0.join(FILE);
        create_private(&home.folder.0, &path).unwrap();
        let pool = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_with(durable(&path)).await.unwrap();
        let steps: Vec<_> = steps.iter().map(|step| step.sqlite).collect();
        migrate(&pool, &path, &steps).await.unwrap();
        rows.execute(&pool).await.unwrap();
        pool.close().await;
        return;
    };
    let mut connection = server.connect().await.unwrap();
    postgres::migrate(&mut connection, &server, steps).await.unwrap();
    rows.execute(&mut connection).await.unwrap();
}

/// What a program kept that knew only some of the steps.
async fn a_store_of_an_older_program_keeps_what_it_has(first: Home) {
    for known in FILLED.len()..steps::STEPS.len() {
        let home = match first.schema {
            None => Home::file(),
            Some(_) => Home::postgres().await.expect("it was there"),
        };
        fill_older(&home, &steps::STEPS[..known]).await;
        let store = home.open().await;
        assert_eq!(store.keys().await.unwrap()[0].secret, "secret");
        for kept in [
            "SELECT value FROM settings WHERE name = 'old' AND value = 'kept'",
            "SELECT product_key FROM products WHERE name = 'old' AND created_ms = 1",
        ] {
            let rows = sqlx::query(kept).fetch_all(&store.pool).await.unwrap();
            assert_eq!(rows.len(), 1, "{known}: {kept}");
        }
        // What came since is there, and empty.
        let tables = [
            "product_tags",
            "device_groups",
            "device_group_members",
            "device_desired",
            "lora_nodes",
        ];
        for table in tables {
            let rows = sqlx::query(sqlx::AssertSqlSafe(format!("SELECT 1 FROM {table}")));
            assert!(rows.fetch_all(&store.pool).await.unwrap().is_empty(), "{known}: {table}");
        }
        store.close().await;
    }
}

/// Every byte of every file in the folder of a store.
fn bytes_of(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

async fn secrets_are_encrypted_once_there_is_a_master_key(home: Home) {
    const MASTER: &str = "a master key of some length";
    let store = home.open().await;
    let plain = store.create_key(Role::Admin, 1).await.unwrap();
    assert!(holds(&home.bytes(&store).await, &plain.secret));
    store.close().await;

    let open = async |master| home.open_with(master).await;
    let short = open(Some("short")).await.unwrap_err();
    assert!(matches!(short, StoreError::ShortMasterKey));
    let store = open(Some(MASTER)).await.unwrap();
    let made = store.create_key(Role::Read, 2).await.unwrap();
    assert_eq!(store.key(&plain.id).await.unwrap(), Some(plain.clone()));
    // Also while it is open: the journal has no trace of it either.
    for secret in [&plain.secret, &made.secret, &MASTER.to_owned()] {
        assert!(!holds(&home.bytes(&store).await, secret));
    }
    store.close().await;

    let missing = open(None).await.unwrap_err().to_string();
    assert!(missing.contains("set the environment variable TIDEGATE_MASTER_KEY"), "{missing}");
    let wrong = open(Some("another master key")).await.unwrap_err();
    assert!(matches!(wrong, StoreError::WrongMasterKey { .. }));
    assert!(!wrong.to_string().contains("another master key"));
    let store = open(Some(MASTER)).await.unwrap();
    assert_eq!(store.keys().await.unwrap(), [plain.clone(), made.clone()]);

    // A secret can't be given to another key.
    let swap = "UPDATE access_keys SET secret = (SELECT secret FROM access_keys WHERE id = $1)";
    sqlx::query(swap).bind(&made.id).execute(&store.pool).await.unwrap();
    assert_eq!(store.key(&made.id).await.unwrap(), Some(made));
    let damaged = store.key(&plain.id).await.unwrap_err();
    assert!(matches!(damaged, StoreError::DamagedSecret(id) if id == plain.id));
}

#[tokio::test]
async fn a_database_has_one_daemon_and_a_lost_claim_is_taken_again() {
    let Some(home) = Home::postgres().await else { return };
    let server = home.server().unwrap();
    let claim = server.claim().await.unwrap();
    let refused = server.claim().await.unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
    // Who is no daemon may still come, and so may a daemon once the first is gone.
    home.open().await.close().await;
    drop(claim);
    let mut held = server.take().await.unwrap();
    let first = held.process;
    assert!(!held.renew(&server).await.unwrap());
    server.end(first).await.unwrap();
    assert!(held.renew(&server).await.unwrap());
    assert_ne!(held.process, first);
    // Another daemon is faster.
    server.end(held.process).await.unwrap();
    let other = server.claim().await.unwrap();
    let lost = held.renew(&server).await.unwrap_err();
    assert!(matches!(lost, StoreError::InUse { .. }), "{lost}");
    drop(other);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    let server = Server::parse("postgres://who:hunter2@127.0.0.1:1/plant").unwrap();
    let error = Store::open_postgres(&server, None).await.unwrap_err().to_string();
    assert!(error.contains("postgres://127.0.0.1:1/plant"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
