//! Files that are either complete or absent, whenever the process dies.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// Mode of a file that never changes again.
pub(super) const READ_ONLY: u32 = 0o444;
/// Mode of a file that is replaced as a whole.
pub(super) const PRIVATE: u32 = 0o600;

/// Creates a directory that only this user may enter, or takes away what others may do in it.
pub(super) fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// How long to wait for a lock. A host that was killed while it started a worker leaves, for a moment, a
/// process that has not become the worker yet and still holds the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Takes the lock file of a directory, so that two processes never write into it.
pub(super) fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) if Instant::now() > until => return Ok(None),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOCK_PATIENCE / 100),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// A file in `dir` that disappears unless it is [`persist`]ed.
pub(super) fn temporary(dir: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix("t").tempfile_in(dir)
}

/// Makes a temporary file durable and gives it its name in one step, replacing what was there.
pub(super) fn persist(file: NamedTempFile, to: &Path, mode: u32) -> io::Result<()> {
    file.as_file()
        .set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(to)?;
    sync_parent(to)
}

/// Writes a small file through a temporary one in `temp`.
pub(super) fn write(temp: &Path, to: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = temporary(temp)?;
    file.write_all(bytes)?;
    persist(file, to, mode)
}

/// Removes a file that may be absent; says whether it was there.
pub(super) fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A rename is durable once its directory is.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
