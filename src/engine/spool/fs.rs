//! The few things that the spool asks of a file system, and the real one.
//!
//! Everything durable goes through [`Fs`], so that tests can put a file system under the spool that
//! loses what was not synced. Nothing here knows what is in a file.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use contract::private;
use rule::store::private_folder;

/// The file that says which process has a folder.
const LOCK: &str = "lock";

/// An exclusive right to a folder; dropping it gives it back.
pub trait Lock: Send {}

/// One flat folder of files.
pub trait Fs: Send + Sync + 'static {
    /// Takes the folder for this process.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process has it.
    fn lock(&self) -> io::Result<Box<dyn Lock>>;

    /// The names of all files.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file that does not exist, with room for `bytes` reserved (and read as zeros) where the
    /// platform gives that. The name is durable only after [`Fs::sync_names`].
    ///
    /// # Errors
    /// What the system says, such as that there is no space.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Takes a name away; open files stay readable.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes creations, removals and renames durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_names(&self) -> io::Result<()>;

    /// A number that nobody can foretell.
    fn random(&self) -> u64;
}

/// An open file; all offsets are in bytes.
pub trait File: Send + Sync {
    /// Reads at most `into.len()` bytes; 0 at the end.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `from`, beyond the end too.
    ///
    /// # Errors
    /// What the system says; any part may have been written then.
    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<()>;

    /// Makes content and length durable (`fdatasync`).
    ///
    /// # Errors
    /// What the system says; after that nobody knows what is durable of what was written since the
    /// last success.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> io::Result<u64>;
}

/// A folder of the system.
#[derive(Debug)]
pub struct RealFs {
    folder: PathBuf,
}

impl RealFs {
    /// The folder, which is made when it does not exist.
    ///
    /// # Errors
    /// What the system says when it cannot be made.
    pub fn at(folder: &Path) -> io::Result<Self> {
        let missing = !folder.exists();
        private_folder(folder)?;
        if missing && let Some(parent) = folder.parent().filter(|path| path.is_dir()) {
            sync_folder(parent)?;
        }
        Ok(Self { folder: folder.to_owned() })
    }
}

/// Only Unix has folders that can be synced; elsewhere names are as durable as the system makes them.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

struct RealLock(#[expect(dead_code, reason = "the lock lasts as long as the open file")] fs::File);

impl Lock for RealLock {}

struct RealFile(fs::File);

impl Fs for RealFs {
    fn lock(&self) -> io::Result<Box<dyn Lock>> {
        let path = self.folder.join(LOCK);
        let file =
            private(OpenOptions::new().create(true).truncate(false).write(true)).open(path)?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(Box::new(RealLock(file)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            // A name that is no text is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn File>> {
        let path = self.folder.join(name);
        let file =
            private(OpenOptions::new().create_new(true).read(true).write(true)).open(&path)?;
        if let Err(error) = reserve(&file, bytes) {
            // Without its space the file is of no use; that it may stay is found at the next start.
            fs::remove_file(&path).ok();
            return Err(error);
        }
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).open(self.folder.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.folder.join(from), self.folder.join(to))
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_folder(&self.folder)
    }

    fn random(&self) -> u64 {
        uuid::Uuid::new_v4().as_u64_pair().1
    }
}

/// Reserves space, so that writing within it neither fails for want of space nor changes the length.
#[cfg(target_os = "linux")]
fn reserve(file: &fs::File, bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    if bytes == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        // The file system has no such thing; then space is found when it is written.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(_: &fs::File, _: u64) -> io::Result<()> {
    Ok(())
}

impl File for RealFile {
    #[cfg(unix)]
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, into, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.0, into, offset)
    }

    #[cfg(unix)]
    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.0, from, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, mut from: &[u8], mut offset: u64) -> io::Result<()> {
        while !from.is_empty() {
            let written = std::os::windows::fs::FileExt::seek_write(&self.0, from, offset)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            from = from.get(written..).unwrap_or_default();
            offset += written as u64;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
