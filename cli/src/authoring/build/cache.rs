//! The folder where languages' tools from package registries are installed, each at a pinned version.
//!
//! It may vanish at any time and be shared by builds that run at once: an installation happens under
//! a file lock, and counts only once its marker is written.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::authoring::error::{AuthoringError, Result};

/// Environment variable that moves the folder.
pub(super) const VARIABLE: &str = "RINGFENCE_CACHE";

const MARKER: &str = ".installed";

/// `$RINGFENCE_CACHE`, or `ringfence` in the user's cache folder.
pub(super) fn folder() -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        return std::path::absolute(&folder)
            .map_err(AuthoringError::io("find", Path::new(&folder)));
    }
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    home.map(|home| home.join(".cache/ringfence"))
        .ok_or_else(|| {
            AuthoringError::project(
                "~",
                format!("there is no home folder to install tools in; set {VARIABLE} to a folder"),
            )
        })
}

/// The folder `NAME` in the cache, installed by `install` unless an installation with the same `key`
/// is there. What an earlier, broken or different installation left is removed first.
pub(super) fn installed(
    name: &str,
    key: &str,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    installed_in(&folder()?, name, key, install)
}

/// Like [`installed`], for a folder of the project's own.
pub(super) fn installed_in(
    parent: &Path,
    name: &str,
    key: &str,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = parent.join(name);
    let marker = folder.join(MARKER);
    let done = || fs::read_to_string(&marker).is_ok_and(|present| present == key);
    if done() {
        return Ok(folder);
    }
    fs::create_dir_all(parent).map_err(AuthoringError::io("create", parent))?;
    let lock_path = parent.join(format!("{name}.lock"));
    let lock = File::create(&lock_path).map_err(AuthoringError::io("create", &lock_path))?;
    lock.lock()
        .map_err(AuthoringError::io("lock", &lock_path))?;
    if !done() {
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(AuthoringError::io("remove", &folder))?;
        }
        fs::create_dir_all(&folder).map_err(AuthoringError::io("create", &folder))?;
        install(&folder)?;
        fs::write(&marker, key).map_err(AuthoringError::io("write", &marker))?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn an_installation_is_made_once_for_each_key() {
        let parent = tempfile::tempdir().unwrap();
        let count = Cell::new(0);
        let install = |key| {
            installed_in(parent.path(), "tools", key, |_| {
                count.set(count.get() + 1);
                Ok(())
            })
        };
        install("one").unwrap();
        install("one").unwrap();
        assert_eq!(count.get(), 1);
        install("two").unwrap();
        assert_eq!(count.get(), 2);
    }

    #[test]
    fn a_failed_installation_does_not_count_and_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let failed = installed_in(parent.path(), "tools", "key", |folder| {
            fs::write(folder.join("half"), "").unwrap();
            Err(AuthoringError::project(folder, "interrupted"))
        });
        assert!(failed.is_err());
        let folder = installed_in(parent.path(), "tools", "key", |folder| {
            assert!(!folder.join("half").exists());
            Ok(())
        });
        assert!(folder.unwrap().join(MARKER).exists());
    }
}
