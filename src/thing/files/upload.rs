//! What devices say to send a file: `thing/file/upload/mqtt/init`, `send` and `cancel`.
//!
//! `init` and `cancel` are messages of the device protocol. `send` is two bytes with the length of such a
//! message, the message, the bytes of a part, and two bytes with the part's checksum. The codes and their
//! meanings are those of the vendor's C SDK.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use contract::Message;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::catalogue::{Entry, Plan, Stock};
use super::check::{Check, Sums, of_part};
use super::{FileLimits, count};
use crate::alink::{Address, Post};
use crate::reply;
use crate::things::Things;
use rule::store::StoreError;

/// What the topics of these messages have after the device.
pub(crate) const TAIL: &str = "thing/file/upload/mqtt/";

/// Bytes of a part; only the last one of a file may have less.
const PART: std::ops::RangeInclusive<usize> = 256..=128 << 10;

/// Characters of a file's name.
const NAME_MAX: usize = 100;

/// Characters of what a device calls its request.
const UID_MAX: usize = 64;

/// Bytes of a file that are read at once to check it.
const READ: usize = 256 << 10;

/// Why a message is refused, and what the answer has beside that.
struct Refused {
    code: u32,
    message: Cow<'static, str>,
    data: Value,
}

fn refused(code: u32, message: impl Into<Cow<'static, str>>, data: &Value) -> Refused {
    Refused { code, message: message.into(), data: data.clone() }
}

impl From<StoreError> for Refused {
    fn from(problem: StoreError) -> Self {
        tracing::error!(%problem, "a file of a device could not be kept");
        refused(500, "the server's store failed", &Value::Null)
    }
}

const UNREADABLE: u32 = 400;
const PARAMETER: u32 = 460;
const FAILED: u32 = 500;
const FILE_TOO_LARGE: u32 = 78_117;
const PART_TOO_LARGE: u32 = 78_118;
const OFFSET: u32 = 78_119;
const PART_TOO_SMALL: u32 = 78_120;
const PART_DAMAGED: u32 = 78_121;
const NO_UPLOAD: u32 = 78_122;
const NAME_TAKEN: u32 = 78_123;
const COMPLETE_ALREADY: u32 = 78_124;
const FILE_DAMAGED: u32 = 78_125;

/// A request to send a file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Init {
    file_name: String,
    file_size: i64,
    #[serde(default)]
    conflict_strategy: Strategy,
    #[serde(default)]
    fic_mode: Option<String>,
    #[serde(default)]
    fic_value: Option<String>,
    #[serde(default)]
    init_uid: Option<String>,
    #[serde(default)]
    extra_params: Option<Extra>,
}

/// What becomes of a file of the same name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Strategy {
    /// It is replaced.
    #[default]
    Overwrite,
    /// One that is not complete goes on; one that is stays.
    Append,
    /// One that is complete stays.
    Reject,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extra {
    #[serde(default)]
    oss_owner_type: Option<String>,
}

/// What a device says of a part.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Send {
    upload_id: String,
    offset: u64,
    b_size: u64,
    #[serde(default)]
    is_complete: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cancel {
    upload_id: String,
}

/// Product key and device name in a topic of these messages.
pub(super) fn device_of(topic: &str) -> &str {
    topic.split("/thing/").next().unwrap_or(topic)
}

/// The message in a part, and the bytes after it.
fn parted(payload: &Bytes) -> Option<(Bytes, Bytes)> {
    let [high, low, rest @ ..] = payload.as_ref() else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    (length <= rest.len()).then(|| (payload.slice(2..2 + length), payload.slice(2 + length..)))
}

fn parameters<T: DeserializeOwned>(post: Option<&Post<'_>>) -> Result<T, Refused> {
    let post = post.ok_or_else(|| refused(UNREADABLE, "the message is no JSON", &Value::Null))?;
    let params = post.params.map_or("null", |params| params.get());
    serde_json::from_str(params)
        .map_err(|problem| refused(PARAMETER, format!("params: {problem}"), &Value::Null))
}

impl Things {
    /// Does what a message asks for and answers the device.
    pub(super) async fn upload(&self, message: &Message) {
        let topic = message.topic.as_str();
        let Some(address) = Address::below("/sys/", topic) else { return };
        let device = (address.product_key, address.device_name);
        let _kept = self.files().removing.read().await;
        let parts = match address.tail.strip_prefix(TAIL) {
            Some("send") => parted(&message.payload),
            _ => Some((message.payload.clone(), Bytes::new())),
        };
        let (head, bytes) = parts.unwrap_or_default();
        let post = Post::parse(&head);
        let done = match address.tail.strip_prefix(TAIL) {
            Some("init") => self.begin(device, post.as_ref()).await,
            Some("send") => self.take_part(device, post.as_ref(), bytes).await,
            _ => self.cancel(device, post.as_ref()).await,
        };
        if post.as_ref().is_some_and(|post| !post.wants_reply()) {
            return;
        }
        let (code, text, data) = match &done {
            Ok(data) => (200, "success", data),
            Err(Refused { code, message, data }) => (*code, &**message, data),
        };
        match code {
            200 => {}
            FAILED => count(&self.files().counters.failed),
            _ => count(&self.files().counters.refused),
        }
        let data = if data.is_null() { "{}".to_owned() } else { data.to_string() };
        let outcome = reply::Outcome { code, message: text, data: &data };
        let (topic, tail) = (&message.topic, address.tail);
        let told = reply::answer_with(post.as_ref(), topic, tail, &outcome, self.now_ms());
        if let Some(told) = told {
            // A device that is gone asks again.
            let _queued = self.publish(&told);
        }
    }

    async fn begin(&self, device: (&str, &str), post: Option<&Post<'_>>) -> Result<Value, Refused> {
        let asked: Init = parameters(post)?;
        let named = json!({ "fileName": asked.file_name });
        let wanted = self.wanted(&asked).map_err(|(code, text)| refused(code, text, &named))?;
        let files = self.files();
        let limits = files.limits;
        let plan = |stock: &Stock| {
            let same = &stock.same;
            if same.iter().any(|entry| entry.complete)
                && asked.conflict_strategy != Strategy::Overwrite
            {
                let text = format!("there is a file `{}` already", asked.file_name);
                return Err(refused(NAME_TAKEN, text, &named));
            }
            let begun =
                same.iter().find(|entry| !entry.complete && may_resume(entry, &asked, &wanted));
            if let Some(begun) = begun {
                return Ok(Plan::Resume(begun.clone()));
            }
            has_room(stock, &wanted, &limits).map_err(|text| refused(PARAMETER, text, &named))?;
            if files.entries.load(Ordering::Relaxed) >= limits.total {
                let text = "the server has no room for more files";
                return Err(refused(PARAMETER, text, &named));
            }
            Ok(Plan::Begin(wanted.clone()))
        };
        let of = (asked.file_name.as_str(), limits.bytes);
        let begun = files.catalogue.begin(device, of, plan).await?;
        let begun = begun
            .ok_or_else(|| refused(PARAMETER, "only registered devices have files", &named))?;
        if begun.id == wanted.id {
            files.entries.fetch_add(1, Ordering::Relaxed);
            // What it takes the place of.
            files.nobodys.notify_one();
        }
        let mut data = json!({ "fileName": begun.name, "uploadId": begun.id });
        let offset = self.length(&begun.id).await?;
        if offset > 0 || asked.conflict_strategy == Strategy::Append {
            data["offset"] = offset.into();
        }
        if let Some((mode, value)) = begun.check.as_ref().map(Check::parts) {
            data["ficMode"] = mode.into();
            data["ficValue"] = value.into();
        }
        Ok(data)
    }

    /// The entry for a request to send a file.
    fn wanted(&self, asked: &Init) -> Result<Entry, (u32, String)> {
        let wrong = |text: &str| (PARAMETER, text.to_owned());
        if !is_name(&asked.file_name) {
            return Err(wrong(
                "fileName: expected at most 100 letters, digits, `_` and `.`, and a letter or digit first",
            ));
        }
        let size = match asked.file_size {
            -1 => None,
            size => Some(u64::try_from(size).ok().filter(|size| *size > 0).ok_or_else(|| {
                wrong("fileSize: expected bytes, 1 or more, or -1 when that is not known")
            })?),
        };
        let most = self.files().limits.bytes;
        if size.is_some_and(|size| size > most) {
            return Err((FILE_TOO_LARGE, format!("a file has at most {most} bytes")));
        }
        if size.is_some_and(|size| self.has_no_room(size)) {
            return Err(wrong("the server has no room for a file of that size"));
        }
        let check = match (filled(&asked.fic_mode), filled(&asked.fic_value)) {
            (None, None) => None,
            _ if size.is_none() => {
                return Err(wrong("ficMode and ficValue need a fileSize that is known"));
            }
            (Some(mode), Some(value)) => Some(Check::read(mode, value).ok_or_else(|| {
                wrong(
                    "ficMode: expected crc64 with 16 or md5 with 32 hexadecimal digits as ficValue",
                )
            })?),
            _ => return Err(wrong("ficMode and ficValue come together")),
        };
        let owner = asked.extra_params.as_ref().and_then(|extra| extra.oss_owner_type.as_deref());
        if owner.is_some_and(|owner| !matches!(owner, "" | "iot-platform")) {
            return Err(wrong(
                "ossOwnerType: expected iot-platform; there are no buckets of users",
            ));
        }
        if asked.init_uid.as_ref().is_some_and(|uid| uid.len() > UID_MAX || uid.contains('\0')) {
            return Err(wrong("initUid: expected at most 64 characters"));
        }
        Ok(Entry {
            id: uuid::Uuid::new_v4().simple().to_string(),
            name: asked.file_name.clone(),
            size,
            complete: false,
            check,
            init_uid: filled(&asked.init_uid).map(str::to_owned),
            created_ms: self.now_ms(),
        })
    }

    fn has_no_room(&self, bytes: u64) -> bool {
        let used = self.files().used.load(Ordering::Relaxed);
        used.saturating_add(bytes) > self.files().limits.total_bytes
    }

    async fn take_part(
        &self,
        device: (&str, &str),
        post: Option<&Post<'_>>,
        bytes: Bytes,
    ) -> Result<Value, Refused> {
        let asked: Send = parameters(post)?;
        let Send { upload_id, offset, b_size, is_complete } = &asked;
        let mut data = json!({ "uploadId": upload_id, "offset": offset, "bSize": b_size });
        let part =
            checked_part(&bytes, *b_size).map_err(|(code, text)| refused(code, text, &data))?;
        let entry = self.files().catalogue.find(device, upload_id).await?;
        let no_upload = || refused(NO_UPLOAD, "there is no such upload; begin with init", &data);
        let entry = entry.ok_or_else(no_upload)?;
        if entry.complete {
            return Err(refused(COMPLETE_ALREADY, "the file is complete already", &data));
        }
        let end = offset.saturating_add(*b_size);
        let last = match entry.size {
            Some(size) => end == size,
            None => *is_complete == Some(true),
        };
        if let Some(size) = entry.size.filter(|size| end > *size) {
            let text = format!("the part ends at {end}, the file at {size}");
            return Err(refused(PARAMETER, text, &data));
        }
        if part.len() < *PART.start() && !last {
            let text = "only the last part may have less than 256 bytes";
            return Err(refused(PART_TOO_SMALL, text, &data));
        }
        if end > self.files().limits.bytes {
            self.drop_upload(device, upload_id).await?;
            let most = self.files().limits.bytes;
            return Err(refused(FILE_TOO_LARGE, format!("a file has at most {most} bytes"), &data));
        }
        let length = self.append(upload_id, *offset, part, &data).await?;
        if last && length == end {
            self.complete(device, &entry, length, &mut data).await?;
        }
        Ok(data)
    }

    /// Keeps a part; bytes that are there already must be the same. The length of the file then.
    async fn append(
        &self,
        id: &str,
        offset: u64,
        part: Bytes,
        data: &Value,
    ) -> Result<u64, Refused> {
        let files = self.files();
        let failed = |problem: std::io::Error| {
            tracing::error!(%problem, "a part of a file could not be kept");
            files.note(Some(problem.to_string()));
            refused(FAILED, "the part could not be kept", data)
        };
        let length = self.length(id).await?;
        let elsewhere = || {
            let text = format!("the file has {length} bytes so far; go on there");
            refused(OFFSET, text, data)
        };
        let known = length.checked_sub(offset).ok_or_else(elsewhere)?;
        // A device that has missed an answer sends a part again.
        let known = usize::try_from(known).unwrap_or(usize::MAX).min(part.len());
        if known > 0 {
            let kept = files.place.read(id, offset, known).await.map_err(failed)?;
            if part.get(..known) != Some(&kept) {
                return Err(elsewhere());
            }
        }
        let new = part.slice(known..);
        if new.is_empty() {
            return Ok(length);
        }
        let bytes = new.len() as u64;
        if self.has_no_room(bytes) {
            return Err(refused(PARAMETER, "the server has no room for more files", data));
        }
        files.used.fetch_add(bytes, Ordering::Relaxed);
        if let Err(problem) = files.place.append(id, length, new).await {
            files.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(failed(problem));
        }
        files.note(None);
        Ok(length + bytes)
    }

    /// Makes a file of what was sent, if it is whole.
    async fn complete(
        &self,
        device: (&str, &str),
        entry: &Entry,
        length: u64,
        data: &mut Value,
    ) -> Result<(), Refused> {
        if length == 0 {
            self.drop_upload(device, &entry.id).await?;
            return Err(refused(PARAMETER, "a file has at least one byte", data));
        }
        if let Some(check) = &entry.check {
            let (whole, own) = self.sums(&entry.id, length, data).await?.compare(check);
            let (mode, value) = check.parts();
            data["ficMode"] = mode.into();
            data["ficValueClient"] = value.into();
            data["ficValueServer"] = own.into();
            if !whole {
                self.drop_upload(device, &entry.id).await?;
                let text = "the file is not what ficValue says; it was deleted";
                return Err(refused(FILE_DAMAGED, text, data));
            }
        }
        if !self.files().catalogue.finish(device, entry, length, self.now_ms()).await? {
            return Err(refused(NO_UPLOAD, "there is no such upload; begin with init", data));
        }
        count(&self.files().counters.completed);
        self.files().nobodys.notify_one();
        data["complete"] = true.into();
        Ok(())
    }

    async fn sums(&self, id: &str, length: u64, data: &Value) -> Result<Sums, Refused> {
        let (mut sums, mut at) = (Sums::default(), 0);
        while at < length {
            let bytes = self.files().place.read(id, at, READ).await;
            let bytes = bytes
                .ok()
                .filter(|bytes| !bytes.is_empty())
                .ok_or_else(|| refused(FAILED, "what was kept of the file can't be read", data))?;
            sums.add(&bytes);
            at += bytes.len() as u64;
        }
        Ok(sums)
    }

    async fn cancel(
        &self,
        device: (&str, &str),
        post: Option<&Post<'_>>,
    ) -> Result<Value, Refused> {
        let Cancel { upload_id } = parameters(post)?;
        let data = json!({ "uploadId": upload_id });
        match self.drop_upload(device, &upload_id).await? {
            true => Ok(data),
            false => Err(refused(NO_UPLOAD, "there is no such upload", &data)),
        }
    }

    async fn drop_upload(&self, device: (&str, &str), id: &str) -> Result<bool, StoreError> {
        let dropped = self.files().catalogue.give_up(device, id, false).await?;
        self.files().nobodys.notify_one();
        Ok(dropped)
    }

    async fn length(&self, id: &str) -> Result<u64, Refused> {
        let length = self.files().place.length(id).await;
        length.map_err(|problem| {
            tracing::error!(%problem, "what is kept of a file can't be read");
            refused(FAILED, "what was kept of the file can't be read", &Value::Null)
        })
    }
}

/// Whether a device may have one more file. What of its name is not complete makes room; what is complete
/// stays until the new one is.
fn has_room(stock: &Stock, wanted: &Entry, limits: &FileLimits) -> Result<(), String> {
    let others = stock.entries.saturating_sub(stock.same.len() as u64);
    if others >= limits.per_device {
        return Err(format!("the device has {others} files, which is the limit"));
    }
    let size = |entry: &Entry| entry.size.unwrap_or(limits.bytes);
    let ending: u64 = stock.same.iter().filter(|entry| !entry.complete).map(size).sum();
    let bytes = stock.bytes.saturating_sub(ending).saturating_add(size(wanted));
    match bytes > limits.device_bytes {
        true => Err(format!(
            "the device's files would have {bytes} bytes, at most {} are allowed",
            limits.device_bytes
        )),
        false => Ok(()),
    }
}

/// Whether a request goes on with an upload that was begun: it is the same request, or says that it does.
fn may_resume(begun: &Entry, asked: &Init, wanted: &Entry) -> bool {
    let same = begun.size == wanted.size && begun.check == wanted.check;
    let again = begun.init_uid.is_some() && begun.init_uid == wanted.init_uid;
    same && (again || asked.conflict_strategy == Strategy::Append)
}

/// A text that is there and not empty.
fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    name.len() <= NAME_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(fits)
}

/// The bytes of a part without their checksum.
fn checked_part(bytes: &Bytes, size: u64) -> Result<Bytes, (u32, String)> {
    if size > *PART.end() as u64 {
        return Err((PART_TOO_LARGE, format!("a part has at most {} bytes", PART.end())));
    }
    let Some((part, &[low, high])) = bytes.split_last_chunk::<2>() else {
        return Err((UNREADABLE, "the part has no checksum".to_owned()));
    };
    if part.len() as u64 != size {
        let text = format!("bSize is {size}, the part has {} bytes", part.len());
        return Err((PARAMETER, text));
    }
    if of_part(part) != u16::from_le_bytes([low, high]) {
        return Err((PART_DAMAGED, "the part is not what its checksum says".to_owned()));
    }
    Ok(bytes.slice(..part.len()))
}
