//! Small files that are replaced as a whole: after a crash there is the old one or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use contract::private;

/// Puts what is written in the place of the file, which only its owner can read. Durable when it returns.
///
/// # Errors
/// What the system says; then the old file is still there.
pub(super) fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<()> {
    let new = path.with_extension("new");
    let file = private(OpenOptions::new().create(true).write(true).truncate(true)).open(&new)?;
    let mut out = BufWriter::new(&file);
    write(&mut out)?;
    out.flush()?;
    drop(out);
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
