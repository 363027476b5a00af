//! Where the bytes of files are kept: a folder; another place is another [`Place`].
//!
//! It knows neither devices nor names, only ids of our own making: no name of a device ever becomes part
//! of a path.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use contract::private;

/// A place that keeps bytes by id. An id has 32 lower-case hexadecimal digits.
#[async_trait::async_trait]
pub trait Place: std::fmt::Debug + Send + Sync + 'static {
    /// The bytes that are kept under an id; 0 when nothing is.
    async fn length(&self, id: &str) -> io::Result<u64>;

    /// Adds bytes at the end, which is at `offset`. When it returns they survive a power cut; when it
    /// fails, nothing was added.
    async fn append(&self, id: &str, offset: u64, bytes: Bytes) -> io::Result<()>;

    /// Some bytes from an offset on: at most so many, fewer only at the end.
    async fn read(&self, id: &str, offset: u64, most: usize) -> io::Result<Bytes>;

    /// Forgets what is kept under an id; nothing happens when nothing is.
    async fn remove(&self, id: &str) -> io::Result<()>;
}

/// A folder, with a folder in it for each first byte of an id. Only the owner of the process looks in.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// That folder, which is made with the first file.
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    fn path(&self, id: &str) -> io::Result<PathBuf> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match id.get(..2) {
            Some(first) if id.len() == 32 && id.bytes().all(digit) => {
                Ok(self.0.join(first).join(id))
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no id of a file")),
        }
    }

    async fn with<T: Send + 'static>(
        &self,
        id: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let path = self.path(id)?;
        tokio::task::spawn_blocking(move || work(&path)).await.map_err(io::Error::other)?
    }
}

#[async_trait::async_trait]
impl Place for Folder {
    async fn length(&self, id: &str) -> io::Result<u64> {
        self.with(id, |path| match std::fs::metadata(path) {
            Ok(found) => Ok(found.len()),
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(problem) => Err(problem),
        })
        .await
    }

    async fn append(&self, id: &str, offset: u64, bytes: Bytes) -> io::Result<()> {
        self.with(id, move |path| {
            let mut file = match OpenOptions::new().write(true).open(path) {
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => create(path)?,
                other => other?,
            };
            let written = file
                .seek(SeekFrom::Start(offset))
                .and_then(|_| file.write_all(&bytes))
                .and_then(|()| file.sync_all());
            if written.is_err() {
                // What half a write has left would stand for the bytes of another.
                file.set_len(offset).and_then(|()| file.sync_all()).ok();
            }
            written
        })
        .await
    }

    async fn read(&self, id: &str, offset: u64, most: usize) -> io::Result<Bytes> {
        self.with(id, move |path| {
            let file = File::open(path)?;
            let left = file.metadata()?.len().saturating_sub(offset);
            let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(most)];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes.into())
        })
        .await
    }

    async fn remove(&self, id: &str) -> io::Result<()> {
        self.with(id, |path| match std::fs::remove_file(path) {
            Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(problem),
            _ => Ok(()),
        })
        .await
    }
}

/// Makes a file, and the folders that it needs; all of them survive a power cut.
fn create(path: &Path) -> io::Result<File> {
    let folder = path.parent().unwrap_or(path);
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = private(OpenOptions::new().create(true).write(true).truncate(false)).open(path)?;
    // The folder of this first byte, that of all files, and that in which it stands.
    for folder in path.ancestors().skip(1).take(3) {
        if !folder.as_os_str().is_empty() {
            File::open(folder)?.sync_all()?;
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_are_kept_by_ids_only() {
        let folder = tempfile::tempdir().expect("folder");
        let place = Folder::new(folder.path().join("data/files"));
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(place.length(id).await.expect("nothing"), 0);
        place.remove(id).await.expect("nothing");
        place.append(id, 0, Bytes::from_static(b"abc")).await.expect("kept");
        place.append(id, 3, Bytes::from_static(b"def")).await.expect("kept");
        assert_eq!(place.length(id).await.expect("length"), 6);
        assert_eq!(place.read(id, 2, 3).await.expect("read"), "cde");
        assert_eq!(place.read(id, 4, 100).await.expect("read"), "ef");
        assert_eq!(place.read(id, 9, 100).await.expect("read"), "");
        place.remove(id).await.expect("gone");
        place.read(id, 0, 1).await.expect_err("nothing");
        for bad in ["", "..", "../../../../etc/passwd", "0123456789ABCDEF0123456789ABCDEF", "é"] {
            assert!(place.length(bad).await.is_err(), "{bad}");
        }
    }
}
