//! The data directory: one folder that holds everything a host must not lose, used by one host at a
//! time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// File whose lock says that a host uses the directory; it holds the host's process id.
const LOCK: &str = "lock";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Another host uses it.
    #[error(
        "the data directory {} is in use by another host{}: stop that host, or choose another \
         directory with --data-dir",
        .path.display(), .process.map_or_else(String::new, |id| format!(" (process {id})"))
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Process of the other host, where known.
        process: Option<u32>,
    },
    /// The file system refuses.
    #[error("the data directory {} cannot be used", .path.display())]
    Io {
        /// The directory, or a file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A data directory that this process holds. The lock goes with the process, however it ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory where needed, readable by its owner only, and locks it.
    ///
    /// # Errors
    /// Another host holds it, or the file system refuses.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| DataError::Io { path, source }
        };
        create_private(path).map_err(io(path))?;
        let file = path.join(LOCK);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&file)
            .map_err(io(&file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let process = lock
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| text.trim().parse().ok());
                return Err(DataError::InUse {
                    path: path.to_owned(),
                    process,
                });
            }
            Err(TryLockError::Error(source)) => return Err(io(&file)(source)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(io(&file))?;
        let path = path.canonicalize().map_err(io(path))?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a directory that only its owner may enter. One that is there already keeps its permissions.
fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let held = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err();
        assert!(
            matches!(error, DataError::InUse { process: Some(id), .. } if id == std::process::id()),
            "{error}"
        );
        drop(held);
        DataDir::open(&path).unwrap();
    }
}
