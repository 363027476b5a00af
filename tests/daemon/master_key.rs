//! The program with a master key: what it says, and who may read its files.

use std::path::Path;
use std::process::Command;

use crate::program;

const MASTER: &str = "0123456789abcdef0123456789abcdef";

/// Runs a verb; success, and what it wrote to both outputs.
fn run(folder: &Path, master: Option<&str>, args: &[&str]) -> (bool, String) {
    let mut command = Command::new(program());
    command.current_dir(folder).args(args).env_remove("TIDEGATE_MASTER_KEY");
    if let Some(master) = master {
        command.env("TIDEGATE_MASTER_KEY", master);
    }
    let output = command.output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).expect("UTF-8"))
}

#[test]
fn keys_need_the_master_key_that_they_were_made_with() {
    let folder = tempfile::tempdir().expect("folder");
    let folder = folder.path();
    std::fs::create_dir(folder.join("data")).expect("the folder of data");
    let (ok, made) = run(folder, Some(MASTER), &["keys", "create", "--role", "read"]);
    assert!(ok && made.contains("secret  "), "{made}");
    let secret =
        made.split("secret  ").nth(1).and_then(|rest| rest.lines().next()).expect("secret");
    for (master, said) in [
        (None, "set the environment variable TIDEGATE_MASTER_KEY"),
        (Some("0123456789abcdef0123456789abcdeX"), "is not the master key"),
        (Some("short"), "expected 16 characters or more"),
    ] {
        let (ok, text) = run(folder, master, &["keys", "list"]);
        assert!(!ok && text.contains(said), "{text}");
        assert!(!text.contains(MASTER) && !text.contains("abcdeX"), "{text}");
    }
    let (ok, listed) = run(folder, Some(MASTER), &["keys", "list"]);
    assert!(ok && listed.contains("read  valid") && !listed.contains(secret), "{listed}");
    for file in std::fs::read_dir(folder.join("data")).expect("data") {
        let path = file.expect("file").path();
        let bytes = std::fs::read(&path).expect("read");
        assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "{}", path.display());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = path.metadata().expect("metadata").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}", path.display());
        }
    }
}
