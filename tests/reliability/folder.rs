//! R7: a data folder that can't be used: the daemon says why and ends, at once.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use super::amounts::{figure, optimised};
use super::process::{Ended, Site, usable};

const RULES: &str =
    "rules:\n  - name: nothing\n    sql: SELECT * FROM \"x\"\n    actions: [{ log: {} }]\n";

/// The longest that a refusal may take.
fn limit() -> Duration {
    Duration::from_secs(if optimised() { 1 } else { 5 })
}

/// Expects that no daemon starts, and that the log says why.
async fn refused(what: &str, site: &Site, prefix: &[&str], says: &[&str]) {
    let before = site.log().len();
    let result = site.try_start(prefix).await;
    let Err(Ended { code, took }) = result else { panic!("{what}: it started") };
    let log = site.log().get(before..).unwrap_or_default().to_lowercase();
    assert_eq!(code, Some(3), "{what}: {log}");
    assert!(says.iter().all(|part| log.contains(&part.to_lowercase())), "{what}: {log}");
    assert!(!log.contains("panicked"), "{what}: {log}");
    figure("R7", &format!("{what}: refused in ms"), took.as_millis());
    assert!(took <= limit(), "{what} took {took:?}");
}

#[tokio::test]
async fn r7_two_daemons_on_one_folder() {
    let site = Site::new("", RULES);
    let first = site.start().await;
    refused("two daemons", &site, &[], &["another daemon", "data"]).await;
    assert_eq!(first.get("/healthz").await.0, 200, "the first goes on");
    // What a kill leaves behind is no lock.
    first.kill().await;
    site.start().await.stop().await;
}

#[tokio::test]
async fn r7_a_folder_that_is_read_only() {
    let script = "mount -t tmpfs -o ro tmpfs data && exec \"$0\"";
    let probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "/mnt"];
    if !usable("R7, a read-only folder", &probe).await {
        return;
    }
    let site = Site::new("", RULES);
    std::fs::create_dir(site.path("data")).expect("data");
    refused("read-only", &site, &["unshare", "-rm", "sh", "-c", script], &["data", "read-only"])
        .await;
}

#[tokio::test]
async fn r7_a_folder_of_another_owner() {
    let site = Site::new("", RULES);
    let data = site.path("data");
    std::fs::create_dir(&data).expect("data");
    let mode = |path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("permissions");
    };
    // Root may do everything: somebody else tries, with a copy of the program that he may read.
    let root = std::fs::metadata(&data).expect("metadata").uid() == 0;
    let shared = site.path("program");
    mode(site.path("."), 0o755);
    mode(data.clone(), if root { 0o700 } else { 0o000 });
    if !root {
        refused("another owner", &site, &[], &["data", "permission denied"]).await;
        mode(data, 0o700);
        return;
    }
    std::fs::copy(crate::program(), &shared).expect("copied");
    mode(shared.clone(), 0o755);
    let somebody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let shared = shared.display().to_string();
    if !usable("R7, another owner", &[&somebody[..], &[&shared, "--version"]].concat()).await {
        return;
    }
    // The shell drops the path that is given to it and becomes the copy.
    let copy = [&somebody[..], &["sh", "-c", "exec ./program"]].concat();
    refused("another owner", &site, &copy, &["data", "permission denied"]).await;
}

#[tokio::test]
async fn r7_a_spool_of_a_later_format() {
    let site = Site::new("", RULES);
    site.start().await.stop().await;
    // Magic, then the version of the format; its checksum stands at the end of the header.
    let segments = std::fs::read_dir(site.path("data/spool")).expect("the spool's folder");
    let mut changed = 0;
    for path in segments.map(|entry| entry.expect("entry").path()) {
        let mut bytes = std::fs::read(&path).expect("segment");
        if bytes.starts_with(b"TGSPOOL\0") && bytes.len() >= 128 {
            bytes[8..12].copy_from_slice(&99_u32.to_le_bytes());
            let sum = crc32fast::hash(&bytes[..124]).to_le_bytes();
            bytes[124..128].copy_from_slice(&sum);
            std::fs::write(&path, bytes).expect("written");
            changed += 1;
        }
    }
    assert!(changed > 0, "a segment was found");
    refused("a later format", &site, &[], &["version", "99"]).await;
}
