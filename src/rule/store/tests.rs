//! The store against real files.

use super::*;

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

#[tokio::test]
async fn rules_survive_and_ids_are_never_used_again() {
    let folder = Folder::new();
    let store = Store::open(&folder.0).await.unwrap();
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

    let store = Store::open(&folder.0).await.unwrap();
    let second = store.insert_rule(&rule("second")).await.unwrap();
    assert_eq!(second, 100_001);
    let action = StoredAction { rule_id: second, ..action };
    assert_eq!(store.insert_action(&action).await.unwrap(), 100_001);
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

#[tokio::test]
async fn keys_are_made_once_shown_never_and_revoked_for_good() {
    let folder = Folder::new();
    let store = Store::open(&folder.0).await.unwrap();
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

#[tokio::test]
async fn a_store_of_a_newer_program_is_left_alone() {
    let folder = Folder::new();
    let store = Store::open(&folder.0).await.unwrap();
    sqlx::raw_sql("PRAGMA user_version = 99").execute(&store.pool).await.unwrap();
    store.close().await;
    let error = Store::open(&folder.0).await.unwrap_err().to_string();
    assert!(error.contains("version 99"), "{error}");
}

/// Every byte of every file in the folder of a store.
fn bytes_of(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

#[tokio::test]
async fn secrets_are_encrypted_once_there_is_a_master_key() {
    const MASTER: &str = "a master key of some length";
    let folder = Folder::new();
    let store = Store::open(&folder.0).await.unwrap();
    let plain = store.create_key(Role::Admin, 1).await.unwrap();
    store.close().await;
    assert!(holds(&bytes_of(&folder.0), &plain.secret));

    let open = async |master| Store::open_with(&folder.0, master).await;
    let short = open(Some("short")).await.unwrap_err();
    assert!(matches!(short, StoreError::ShortMasterKey));
    let store = open(Some(MASTER)).await.unwrap();
    let made = store.create_key(Role::Read, 2).await.unwrap();
    assert_eq!(store.key(&plain.id).await.unwrap(), Some(plain.clone()));
    // Also while it is open: the journal has no trace of it either.
    for secret in [&plain.secret, &made.secret, &MASTER.to_owned()] {
        assert!(!holds(&bytes_of(&folder.0), secret));
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
