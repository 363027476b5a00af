//! The program with its store in PostgreSQL: one daemon for a database, keys beside it, and what it says
//! when it can't have the database.

use std::path::Path;
use std::process::{Command, Output};

use sqlx::Executor as _;

use super::Daemon;
use crate::program;
use crate::schema::{Schema, connect};

fn run(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.current_dir(folder).args(args).env("STORE_PASSWORD", "hunter2");
    command.env_remove("TIDEGATE_MASTER_KEY").output().expect("it runs")
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

/// A folder with a configuration whose store is there.
fn folder_for(url: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    let config = format!(
        "listen: {{ mqtt: \"127.0.0.1:0\", http: \"127.0.0.1:0\" }}\nstore: {{ postgres: \"{url}\" }}\n"
    );
    std::fs::write(folder.path().join("tidegate.yaml"), config).expect("configuration");
    folder
}

#[tokio::test]
async fn a_database_in_postgres_is_one_daemons() {
    let Some(schema) = Schema::new().await else { return };
    let daemon = Daemon::in_folder(folder_for(&schema.url()));
    let data = daemon.folder.path().join("data");
    assert!(data.join("access-key").exists() && !data.join("tidegate.db").exists());

    let made = run(daemon.folder.path(), &["keys", "create", "--role", "read"]);
    assert!(made.status.success(), "{}", text_of(&made));
    let elsewhere = folder_for(&schema.url());
    let listed = text_of(&run(elsewhere.path(), &["keys", "list"]));
    assert!(listed.contains("admin  valid") && listed.contains("read  valid"), "{listed}");

    let second = run(elsewhere.path(), &[]);
    let said = text_of(&second);
    assert_eq!(second.status.code(), Some(3), "{said}");
    assert!(said.starts_with("error: another daemon uses the store postgres://"), "{said}");

    let gone = folder_for(&schema.url().replace("/postgres?", "/no_such_database?"));
    let nowhere = run(gone.path(), &[]);
    let said = text_of(&nowhere);
    assert_eq!(nowhere.status.code(), Some(3), "{said}");
    assert!(said.contains("database \"no_such_database\" does not exist; check"), "{said}");

    drop(daemon);
    let third = Daemon::in_folder(folder_for(&schema.url()));
    // The keys are there already: nobody is given another.
    assert!(!third.folder.path().join("data/access-key").exists());
    drop(third);

    let newer = "UPDATE store_version SET version = 99";
    connect(&schema.url()).await.execute(sqlx::raw_sql(newer)).await.expect("a statement");
    let refused = run(elsewhere.path(), &[]);
    let said = text_of(&refused);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("has version 99") && said.contains("postgres://127.0.0.1"), "{said}");
}

#[test]
fn a_database_that_is_not_there_is_named_without_the_password() {
    let folder = folder_for("postgres://who:${env:STORE_PASSWORD}@127.0.0.1:1/plant");
    for (args, code) in [(&[][..], 3), (&["keys", "list"], 1)] {
        let refused = run(folder.path(), args);
        let said = text_of(&refused);
        assert_eq!(refused.status.code(), Some(code), "{said}");
        assert!(said.contains("cannot reach the store postgres://127.0.0.1:1/plant"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let folder = folder_for("postgres://who@127.0.0.1:1/plant?passwort=${env:STORE_PASSWORD}");
    let refused = run(folder.path(), &["check"]);
    let said = text_of(&refused);
    assert!(!refused.status.success() && said.contains("tidegate.yaml:2:"), "{said}");
    assert!(said.contains("store.postgres") || said.contains("parameter"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}
