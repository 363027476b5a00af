//! Files of devices: what a device is answered, what is kept, and what goes again.

use contract::{Batch, Ingress as _, Origin};
use rule::store::{Server, Store};
use serde_json::{Value, json};

use super::check::of_part;
use super::*;
use crate::Options;
use crate::alink::plain_topic;
use crate::tests::schema::Schema;
use crate::tests::{NOW_MS, Rig};

/// The payload of a part.
fn framed(head: &Value, bytes: &[u8]) -> Vec<u8> {
    let head = head.to_string();
    let length = u16::try_from(head.len()).expect("a short head");
    let sum = of_part(bytes).to_le_bytes();
    [&length.to_be_bytes(), head.as_bytes(), bytes, &sum].concat()
}

impl Rig {
    fn limited(bytes: u64, per_device: u64, total_bytes: u64) -> impl Future<Output = Self> {
        let limits = FileLimits { bytes, per_device, total_bytes, ..FileLimits::default() };
        Self::with(None, limits)
    }

    fn about(&self, device: &str, what: &str, payload: impl Into<Bytes>) -> Message {
        let topic = format!("/sys/{}/{device}/thing/file/upload/mqtt/{what}", self.pk);
        Message::new(plain_topic(topic).expect("topic"), payload, NOW_MS)
    }

    /// Has a device send a message about files; code and data of the answer.
    async fn says(&self, device: &str, what: &str, payload: impl Into<Bytes>) -> (u64, Value) {
        self.things.upload(&self.about(device, what, payload)).await;
        let (topic, told) = self.take(&self.got.devices).pop().expect("an answer");
        assert_eq!(topic, format!("/sys/PK/{device}/thing/file/upload/mqtt/{what}_reply"));
        (told["code"].as_u64().expect("a code"), told["data"].clone())
    }

    async fn init(&self, params: Value) -> (u64, Value) {
        self.says("dn", "init", json!({ "id": "1", "params": params }).to_string()).await
    }

    /// Begins an upload; its id.
    async fn begin(&self, name: &str, size: i64) -> String {
        let (code, data) = self.init(json!({ "fileName": name, "fileSize": size })).await;
        assert_eq!((code, &data["fileName"]), (200, &json!(name)), "{data}");
        data["uploadId"].as_str().expect("an id").to_owned()
    }

    async fn part(&self, id: &str, offset: u64, bytes: &[u8], last: bool) -> (u64, Value) {
        let params = json!({
            "uploadId": id, "offset": offset, "bSize": bytes.len(), "isComplete": last
        });
        self.says("dn", "send", framed(&json!({ "id": "2", "params": params }), bytes)).await
    }

    /// Sends a file in one part; its id.
    async fn file(&self, name: &str, bytes: &[u8]) -> String {
        let id = self.begin(name, i64::try_from(bytes.len()).expect("small")).await;
        let (code, data) = self.part(&id, 0, bytes, false).await;
        assert_eq!((code, &data["complete"]), (200, &json!(true)), "{data}");
        id
    }

    async fn names(&self) -> Vec<String> {
        let (files, total) = self.things.device_files(&self.pk, "dn", 200, 0).await.expect("read");
        assert_eq!(files.len() as u64, total);
        files.into_iter().map(|file| file.name).collect()
    }

    /// The files in the folder, once what nobody needs is gone.
    async fn kept(&self) -> Vec<String> {
        self.things.files().tidy(NOW_MS).await.expect("tidy");
        let folders = std::fs::read_dir(self.folder.path().join("files")).into_iter().flatten();
        let files = folders.flat_map(|folder| std::fs::read_dir(folder.expect("entry").path()));
        let files = files.flatten().map(|file| file.expect("entry").file_name());
        files.map(|name| name.into_string().expect("a name")).collect()
    }
}

#[tokio::test]
async fn a_file_comes_in_parts_and_is_read_again() {
    let rig = Rig::new(None).await;
    let bytes: Vec<u8> = (0..1_000_u32).map(|n| (n % 251) as u8).collect();
    let mut sums = check::Sums::default();
    sums.add(&bytes);
    let check = check::Check::read("crc64", "0000000000000000").expect("a checksum");
    let (_, own) = sums.compare(&check);
    let asked = json!({
        "fileName": "abc.bin", "fileSize": 1_000, "conflictStrategy": "overwrite",
        "ficMode": "crc64", "ficValue": own.to_uppercase(), "initUid": "u1"
    });
    let (code, data) = rig.init(asked.clone()).await;
    assert_eq!((code, &data["ficMode"]), (200, &json!("crc64")));
    let id = data["uploadId"].as_str().expect("an id").to_owned();
    let (code, data) = rig.part(&id, 0, &bytes[..600], false).await;
    assert_eq!((code, data), (200, json!({ "uploadId": id, "offset": 0, "bSize": 600 })));
    assert_eq!(rig.names().await, [""; 0], "half of it is no file");
    assert_eq!(rig.things.file(&id).await.expect("read"), None);
    // An answer was lost: the part comes again, and the request too.
    assert_eq!(rig.part(&id, 0, &bytes[..600], false).await.0, 200);
    let (_, again) = rig.init(asked).await;
    assert_eq!((&again["uploadId"], &again["offset"]), (&json!(id), &json!(600)));
    let (code, data) = rig.part(&id, 600, &bytes[600..], false).await;
    let want = json!({
        "uploadId": id, "offset": 600, "bSize": 400, "ficMode": "crc64",
        "ficValueClient": own.to_uppercase(), "ficValueServer": own, "complete": true
    });
    assert_eq!((code, data), (200, want));
    assert_eq!(rig.part(&id, 600, &bytes[600..], false).await.0, 78_124);
    let (files, total) = rig.things.device_files(&rig.pk, "dn", 10, 0).await.expect("read");
    let want =
        StoredFile { id: id.clone(), name: "abc.bin".into(), size: 1_000, created_ms: NOW_MS };
    assert_eq!((&files[..], total), (&[want][..], 1));
    assert_eq!(rig.things.read_file(&id, 0, 2_000).await.expect("read"), bytes);
    assert_eq!(rig.things.device_file(&rig.pk, "other", &id).await.expect("read"), None);
    assert!(!rig.things.delete_device_file(&rig.pk, "other", &id).await.expect("not its own"));
    assert_eq!(rig.things.counts().files.bytes, 1_000);
    assert!(rig.things.delete_device_file(&rig.pk, "dn", &id).await.expect("deleted"));
    assert!(!rig.things.delete_device_file(&rig.pk, "dn", &id).await.expect("once"));
    assert_eq!(rig.kept().await, [""; 0]);
    assert_eq!(rig.things.counts().files.bytes, 0);
    rig.things.read_file(&id, 0, 1).await.expect_err("deleted");
}

#[tokio::test]
async fn a_file_whose_size_nobody_knows_ends_when_its_device_says_so() {
    let rig = Rig::limited(1_000, 10, 10_000).await;
    let id = rig.begin("record.pcm", -1).await;
    assert_eq!(rig.part(&id, 0, &[1; 300], false).await.0, 200);
    assert_eq!(rig.part(&id, 300, &[2; 300], false).await.0, 200);
    let (code, data) = rig.part(&id, 600, &[], true).await;
    assert_eq!((code, &data["complete"]), (200, &json!(true)));
    assert_eq!(rig.things.file(&id).await.expect("read").expect("a file").size, 600);
    let id = rig.begin("empty", -1).await;
    assert_eq!(rig.part(&id, 0, &[], true).await.0, 460);
    assert_eq!(rig.part(&id, 0, &[], true).await.0, 78_122, "it is gone");
    let id = rig.begin("large", -1).await;
    assert_eq!(rig.part(&id, 0, &[0; 700], false).await.0, 200);
    assert_eq!(rig.part(&id, 700, &[0; 301], true).await.0, 78_117);
    assert_eq!(rig.part(&id, 700, &[0; 300], true).await.0, 78_122, "it is gone");
    assert_eq!(rig.kept().await.len(), 1);
}

#[tokio::test]
async fn a_request_that_is_wrong_changes_nothing() {
    let rig = Rig::limited(300_000, 10, 1_000_000).await;
    let named = |name: &str| json!({ "fileName": name, "fileSize": 1 });
    let with = |key: &str, value: Value| {
        let mut params = json!({ "fileName": "a", "fileSize": 300 });
        params[key] = value;
        params
    };
    let hex = "0".repeat(16);
    for (params, code) in [
        (named("../etc/passwd"), 460),
        (named(".hidden"), 460),
        (named("_a"), 460),
        (named(""), 460),
        (named("a b"), 460),
        (named("名"), 460),
        (named(&"a".repeat(101)), 460),
        (with("fileSize", json!(0)), 460),
        (with("fileSize", json!(-2)), 460),
        (with("fileSize", json!("many")), 460),
        (with("fileSize", json!(300_001)), 78_117),
        (with("conflictStrategy", json!("rename")), 460),
        (with("ficMode", json!("crc64")), 460),
        (with("ficValue", json!(hex)), 460),
        (with("extraParams", json!({ "ossOwnerType": "device-user" })), 460),
        (with("initUid", json!("u".repeat(65))), 460),
        (json!({ "fileName": "a", "fileSize": -1, "ficMode": "crc64", "ficValue": hex }), 460),
        (json!({ "fileName": "a", "fileSize": 1, "ficMode": "sha1", "ficValue": hex }), 460),
        (json!([]), 460),
    ] {
        assert_eq!(rig.init(params.clone()).await.0, code, "{params}");
    }
    assert_eq!(rig.says("dn", "init", "no JSON").await.0, 400);
    assert_eq!(rig.kept().await, [""; 0]);
}

#[tokio::test]
async fn a_part_that_does_not_fit_changes_nothing() {
    let rig = Rig::limited(300_000, 10, 1_000_000).await;
    let id = rig.begin("a", 200_000).await;
    for (payload, code) in [
        (&b""[..], 400),
        (b"\x00", 400),
        (b"\xff\xff{}", 400),
        (b"\x00\x02{}", 460),
        (b"\x00\x02[]\x00\x00", 460),
        (b"\x00\x02x]\x00\x00", 400),
    ] {
        assert_eq!(rig.says("dn", "send", payload.to_vec()).await.0, code, "{payload:?}");
    }
    let part = |offset: u64, size: usize| {
        let params = json!({ "uploadId": id, "offset": offset, "bSize": size });
        json!({ "id": "2", "params": params })
    };
    let send = async |head: Value, bytes: &[u8]| rig.says("dn", "send", framed(&head, bytes)).await;
    assert_eq!(send(part(0, 300), &[0; 299]).await.0, 460, "bSize is not that of the part");
    assert_eq!(send(part(0, 255), &[0; 255]).await.0, 78_120);
    assert_eq!(send(part(0, 131_073), &[0; 131_073]).await.0, 78_118);
    assert_eq!(send(part(199_999, 300), &[0; 300]).await.0, 460, "beyond the end");
    assert_eq!(send(part(u64::MAX, 300), &[0; 300]).await.0, 460);
    assert_eq!(send(part(1, 300), &[0; 300]).await.0, 78_119, "a gap");
    let mut damaged = framed(&part(0, 300), &[0; 300]);
    *damaged.last_mut().expect("a byte") ^= 1;
    let (code, data) = rig.says("dn", "send", damaged).await;
    assert_eq!((code, &data["bSize"]), (78_121, &json!(300)), "devices look for their part");
    assert_eq!(send(part(0, 300), &[1; 300]).await.0, 200);
    assert_eq!(send(part(100, 300), &[2; 300]).await.0, 78_119, "it overlaps with other bytes");
    assert_eq!(send(part(100, 300), &[1; 300]).await.0, 200, "and here with the same");
    let elsewhere = json!({ "id": "2", "params": { "uploadId": "x", "offset": 0, "bSize": 300 } });
    assert_eq!(send(elsewhere, &[0; 300]).await.0, 78_122);
    let head = part(400, 300);
    assert_eq!(rig.says("other", "send", framed(&head, &[0; 300])).await.0, 78_122, "not its own");
    assert_eq!(rig.things.counts().files.bytes, 400);
    let cancel = json!({ "params": { "uploadId": id } }).to_string();
    assert_eq!(rig.says("other", "cancel", cancel.clone()).await.0, 78_122);
    assert_eq!(rig.says("dn", "cancel", cancel.clone()).await, (200, json!({ "uploadId": id })));
    assert_eq!(rig.says("dn", "cancel", cancel).await.0, 78_122);
    assert_eq!(rig.kept().await, [""; 0]);
    assert!(rig.things.counts().files.refused > 10);
}

#[tokio::test]
async fn a_file_that_is_not_what_its_device_has_said_goes() {
    let rig = Rig::new(None).await;
    let wrong =
        json!({ "fileName": "a", "fileSize": 3, "ficMode": "md5", "ficValue": "0".repeat(32) });
    let (_, data) = rig.init(wrong).await;
    let id = data["uploadId"].as_str().expect("an id");
    let (code, data) = rig.part(id, 0, b"abc", false).await;
    assert_eq!(
        (code, &data["ficValueServer"]),
        (78_125, &json!("900150983cd24fb0d6963f7d28e17f72"))
    );
    assert_eq!(rig.names().await, [""; 0]);
    assert_eq!(rig.kept().await, [""; 0]);
}

#[tokio::test]
async fn a_name_that_is_taken_is_replaced_continued_or_refused() {
    let rig = Rig::new(None).await;
    let asked = |strategy: &str, size: u64| json!({ "fileName": "a", "fileSize": size, "conflictStrategy": strategy });
    let id_of = |data: &Value| data["uploadId"].as_str().expect("an id").to_owned();
    let (_, data) = rig.init(asked("append", 600)).await;
    assert_eq!(data["offset"], 0);
    let first = id_of(&data);
    rig.part(&first, 0, &[1; 300], false).await;
    let (_, data) = rig.init(asked("append", 600)).await;
    assert_eq!((id_of(&data), &data["offset"]), (first.clone(), &json!(300)));
    // Of another size it is another file.
    let (_, data) = rig.init(asked("append", 300)).await;
    let second = id_of(&data);
    assert_ne!(second, first);
    assert_eq!(rig.part(&first, 300, &[1; 300], false).await.0, 78_122);
    rig.part(&second, 0, &[2; 300], false).await;
    for strategy in ["append", "reject"] {
        let (code, data) = rig.init(asked(strategy, 300)).await;
        assert_eq!((code, &data["fileName"]), (78_123, &json!("a")));
    }
    // The old one stays until the new one is complete.
    let (_, data) = rig.init(asked("overwrite", 300)).await;
    let third = id_of(&data);
    assert_eq!(rig.things.read_file(&second, 0, 1).await.expect("read"), [2].as_slice());
    rig.part(&third, 0, &[3; 300], false).await;
    assert_eq!(rig.names().await, ["a"]);
    assert_eq!(rig.kept().await, [third]);
    assert_eq!(rig.things.counts().files.bytes, 300);
}

#[tokio::test]
async fn there_are_only_so_many_of_so_many_bytes() {
    let rig = Rig::limited(500, 2, 1_000).await;
    rig.file("a", &[0; 500]).await;
    let b = rig.begin("b", -1).await;
    let (code, _) = rig.init(json!({ "fileName": "c", "fileSize": 1 })).await;
    assert_eq!(code, 460, "the device has two");
    rig.file("a", &[1; 500]).await;
    assert_eq!(rig.kept().await.len(), 1);
    assert_eq!(rig.part(&b, 0, &[0; 400], false).await.0, 200);
    let (code, _) = rig.init(json!({ "fileName": "a", "fileSize": 101 })).await;
    assert_eq!(code, 460, "no room");
    rig.file("a", &[2; 100]).await;
    assert_eq!(rig.kept().await.len(), 2);
    let (code, _) = rig.says("nobody", "init", r#"{"params":{"fileName":"a","fileSize":1}}"#).await;
    assert_eq!(code, 460, "nobody has registered it");
}

#[tokio::test]
async fn a_device_has_only_so_many_bytes_and_all_have_only_so_many_files() {
    let limits = FileLimits { bytes: 500, device_bytes: 1_200, total: 3, ..FileLimits::default() };
    let rig = Rig::with(None, limits).await;
    rig.file("a", &[0; 400]).await;
    // What nobody knows the size of counts as the largest, until it is known or goes.
    let b = rig.begin("b", -1).await;
    let ask = async |name: &str, size: i64| {
        rig.init(json!({ "fileName": name, "fileSize": size })).await.0
    };
    assert_eq!(ask("c", 301).await, 460, "400 and 500 and 301");
    assert_eq!(ask("b", 500).await, 200, "it takes the place of the other");
    assert_eq!(rig.part(&b, 0, &[0; 300], true).await.0, 78_122);
    rig.things.files().tidy(NOW_MS).await.expect("tidy");
    assert_eq!(ask("c", 300).await, 200);
    assert_eq!(ask("a", 1).await, 460, "the old one stays until the new one is complete");
    assert_eq!(rig.things.counts().files.entries, 3);
    let (code, _) = rig.says("other", "init", r#"{"params":{"fileName":"a","fileSize":1}}"#).await;
    assert_eq!(code, 460, "there are three");
    let id = rig.things.device_files(&rig.pk, "dn", 1, 0).await.expect("read").0[0].id.clone();
    assert!(rig.things.delete_device_file(&rig.pk, "dn", &id).await.expect("deleted"));
    rig.things.files().tidy(NOW_MS).await.expect("tidy");
    assert_eq!(rig.things.counts().files.entries, 2);
    let (code, _) = rig.says("other", "init", r#"{"params":{"fileName":"a","fileSize":1}}"#).await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart_and_goes_with_its_device() {
    let mut rig = Rig::new(None).await;
    rig.file("whole", &[1; 300]).await;
    let half = rig.begin("half", 600).await;
    rig.part(&half, 0, &[2; 300], false).await;
    let files = FileOptions::folder(rig.folder.path().join("files"), FileLimits::default());
    let options = Options { strict: true, files, ..Options::default() };
    let clock: crate::Clock = Arc::new(|| NOW_MS + UNFINISHED_MS);
    let again = Things::open(&rig.store, rig.registry.clone(), rig.got.clone(), clock, options);
    let again = again.await.expect("opened");
    assert_eq!((again.counts().files.bytes, again.counts().files.entries), (600, 2));
    again.connect(rig.got.clone());
    rig.things = again;
    assert_eq!(rig.part(&half, 300, &[2; 300], false).await.1["complete"], true);
    assert_eq!(rig.names().await, ["half", "whole"], "the newest first");
    rig.begin("late", 600).await;
    rig.things.files().tidy(NOW_MS + UNFINISHED_MS).await.expect("tidy");
    let unfinished = rig.things.files().catalogue.all().await.expect("read").1;
    assert_eq!(unfinished.len(), 1);
    rig.things.files().tidy(NOW_MS + 2 * UNFINISHED_MS + 1).await.expect("tidy");
    assert_eq!(rig.things.files().catalogue.all().await.expect("read"), (600 + 300, Vec::new()));
    rig.registry.delete_device(&rig.pk, "dn").await.expect("deleted");
    assert_eq!(rig.kept().await, [""; 0]);
    assert_eq!(rig.things.counts().files.bytes, 0);
}

#[tokio::test]
async fn who_sends_waits_until_a_part_is_kept_and_rules_do_not_see_it() {
    let rig = Rig::new(None).await;
    let mut message = rig.about("dn", "init", r#"{"params":{"fileName":"a","fileSize":1}}"#);
    let origin = Origin { source: Some("mqtt".into()), ..Origin::default() };
    message.origin = Arc::new(origin);
    let other = Message::new(plain_topic("/PK/dn/user/data".into()).expect("topic"), "1", NOW_MS);
    let offer = |messages: &[&Message]| {
        let (batch, kept) = Batch::awaited(messages.iter().map(|one| (*one).clone()).collect());
        (rig.forwarder.try_submit(batch), Box::pin(kept.wait()))
    };
    let (taken, mut only) = offer(&[&message]);
    taken.expect("room");
    let (taken, both) = offer(&[&message, &other]);
    taken.expect("room");
    assert_eq!(rig.take(&rig.got.rules), [("/PK/dn/user/data".to_owned(), json!(1))]);
    assert!(tokio::time::timeout(Duration::ZERO, &mut only).await.is_err(), "nothing is kept yet");
    // The engine has no room: the batch comes back as it was.
    *rig.got.full.lock().expect("lock") = true;
    let (back, _) = offer(&[&message, &other]);
    assert_eq!(back.expect_err("no room").messages.len(), 2);
    *rig.got.full.lock().expect("lock") = false;
    let (stop, stopped) = contract::shutdown();
    stop.stop();
    rig.things.keep_files(stopped).await;
    assert_eq!((only.await, both.await), (Ok(()), Ok(())));
    assert_eq!(rig.take(&rig.got.devices).len(), 2);
    // Nobody works any more: who sends has to send again. What can never be taken is not held up.
    let (taken, refused) = offer(&[&message]);
    taken.expect("room");
    assert_eq!(refused.await, Err(contract::Nacked));
    let long = Message { payload: vec![0; MESSAGE_BYTES + 1].into(), ..message.clone() };
    let (taken, dropped) = offer(&[&long]);
    taken.expect("room");
    assert_eq!(dropped.await, Ok(()));
    assert_eq!(rig.things.counts().files.dropped, 2);
}

#[tokio::test]
async fn files_are_in_postgres_as_in_a_file() {
    let Some(schema) = Schema::new().await else { return };
    let server = Server::parse(&schema.url()).expect("a server");
    let store = Store::open_postgres(&server, None).await.expect("a store");
    let rig = Rig::at(store, None, FileLimits::default()).await;
    let first = rig.file("a", &[1; 300]).await;
    rig.file("b", &[2; 300]).await;
    let half = rig.begin("c", -1).await;
    rig.part(&half, 0, &[3; 300], false).await;
    rig.file("a", &[4; 300]).await;
    assert_eq!(rig.names().await, ["a", "b"]);
    assert_eq!(rig.kept().await.len(), 3);
    assert_eq!(rig.things.file(&first).await.expect("read"), None);
    let (bytes, unfinished) = rig.things.files().catalogue.all().await.expect("read");
    assert_eq!((bytes, unfinished), (600, vec![half]));
    rig.registry.delete_device(&rig.pk, "dn").await.expect("deleted");
    assert_eq!(rig.kept().await, [""; 0]);
    rig.store.close().await;
}

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Parts come again, too early, damaged or altered; each is answered as it must be, and the file is what
/// its device has.
#[tokio::test]
async fn whatever_comes_the_file_is_what_its_device_has() {
    let rig = Rig::new(None).await;
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let file: Vec<u8> = (0..600 + dice.below(3_000)).map(|_| dice.below(256) as u8).collect();
        let size = i64::try_from(file.len()).expect("small");
        let id = rig.begin("file", size).await;
        let mut kept = 0;
        let mut last = 0;
        while kept < file.len() {
            let part = |from: usize, most: usize| &file[from..file.len().min(from + most)];
            let next = part(kept, 256 + dice.below(400) as usize);
            let (at, bytes, want) = match dice.below(6) {
                // Again, perhaps with more: what is there stays, what is new is kept.
                0 if kept > 0 => (last, part(last, 256 + dice.below(800) as usize).to_vec(), 200),
                // Too early.
                1 if kept + 300 < file.len() => (kept + 1, part(kept + 1, 256).to_vec(), 78_119),
                // The same place with other bytes.
                2 if kept > last + 256 => (last, vec![!file[last]; 256], 78_119),
                _ => (kept, next.to_vec(), 200),
            };
            let end = at + bytes.len();
            if bytes.len() < 256 && end < file.len() {
                continue;
            }
            let params = json!({ "uploadId": id, "offset": at, "bSize": bytes.len() });
            let mut payload = framed(&json!({ "id": "2", "params": params }), &bytes);
            let damaged = dice.below(8) == 0;
            if damaged {
                *payload.last_mut().expect("a byte") ^= 0x55;
            }
            let (code, data) = rig.says("dn", "send", payload).await;
            assert_eq!(code, if damaged { 78_121 } else { want }, "seed {seed}: {data}");
            if code == 200 {
                last = if end > kept { kept } else { last };
                kept = kept.max(end);
                assert_eq!(data["complete"] == true, kept == file.len(), "seed {seed}");
            }
        }
        assert_eq!(rig.things.read_file(&id, 0, file.len() + 1).await.expect("read"), file);
        assert_eq!(rig.names().await, ["file"]);
    }
    assert_eq!(rig.kept().await.len(), 1, "each has replaced the one before");
}
