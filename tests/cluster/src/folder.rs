//! The folder of a cluster, which vanishes with the process that made it, however that ends.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::Error;

/// The programs of the cluster are killed at the same moment, and one may still write: hence the second try.
/// What else is to be done stands in a script of the folder.
const REMOVE: &str = r#"cat; [ ! -f "$1/at-end.sh" ] || sh "$1/at-end.sh"; rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }"#;

/// A temporary folder. A shared control plane lives in a static and is never dropped, and a test binary may
/// be killed: a shell that waits for the end of its standard input removes the folder then.
#[derive(Debug)]
pub(crate) struct Folder {
    folder: TempDir,
    remover: Child,
}

impl Folder {
    /// Makes it, readable by this user only.
    pub(crate) fn new() -> Result<Self, Error> {
        let write = |source| Error::Write {
            path: std::env::temp_dir(),
            source,
        };
        let folder = tempfile::Builder::new()
            .prefix("ringfence-cluster-")
            .tempdir()
            .map_err(write)?;
        let remover = Command::new("sh")
            .args(["-c", REMOVE, "sh"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0) // what a terminal sends to end the tests is not for the remover
            .spawn()
            .map_err(|source| Error::Spawn {
                program: "sh",
                source,
            })?;
        Ok(Self { folder, remover })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file in it and returns its path.
    pub(crate) fn write(&self, name: &str, contents: &str) -> Result<PathBuf, Error> {
        let path = self.folder.path().join(name);
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, contents));
        written.map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        let _ = self.remover.wait();
    }
}
