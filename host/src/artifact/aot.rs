//! Cache of compiled code: `aot/<engine hash>/<digest>.cwasm`, and beside each file a `.sum` with its
//! length and CRC-32.
//!
//! The name is the key: another engine (wasmtime's version, settings, target) has another directory,
//! and those of former engines are removed when the cache is opened. A file is written once.
//!
//! The checksum is there for disks and torn writes, not for attackers: who can change the file can
//! change its `.sum` as well, and is kept out by the directory's mode. So it is the fast CRC-32 and
//! not a cryptographic hash, which would cost more than the rest of the first call. It is computed at
//! each mapping, which is once per component and process unless it is evicted in between.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ringfence_api::Digest;

use super::compile::Output;
use super::files;
use super::store::digest_of;

/// The cache of one engine. All methods block on the disk.
pub(super) struct Cache {
    dir: PathBuf,
}

/// A file that was whole a moment ago.
pub(super) struct Verified {
    path: PathBuf,
    /// Bytes of the file.
    pub size: u64,
}

impl Verified {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Cache {
    /// Opens the cache in `root` for the engine with this hash. Compiled code of other engines and of
    /// artifacts that are not in `known` is removed; the sizes of the rest are returned.
    pub(super) fn open(
        root: &Path,
        engine: &str,
        known: &BTreeSet<Digest>,
    ) -> io::Result<(Self, Vec<(Digest, u64)>)> {
        files::private_dir(root)?;
        let dir = root.join(engine);
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            if path != dir {
                fs::remove_dir_all(&path)?;
            }
        }
        files::private_dir(&dir)?;
        let mut sizes = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            match digest_of(&path).filter(|digest| known.contains(digest)) {
                Some(digest) if path.extension().is_some_and(|e| e == "cwasm") => {
                    sizes.push((digest, fs::metadata(&path)?.len()));
                }
                Some(_) => {}
                None => fs::remove_file(&path)?,
            }
        }
        Ok((Self { dir }, sizes))
    }

    fn code(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex()).with_extension("cwasm")
    }

    fn sum(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.hex()).with_extension("sum")
    }

    /// Puts a worker's output into its place. `temp` is on the same file system.
    pub(super) fn insert(&self, output: Output, temp: &Path) -> io::Result<()> {
        let Output { code, compiled } = output;
        let sum = format!("{} {:08x}\n", compiled.size, compiled.checksum);
        // First the sum: if only one of the two is replaced, they disagree and it is compiled again.
        files::write(
            temp,
            &self.sum(&compiled.digest),
            sum.as_bytes(),
            files::READ_ONLY,
        )?;
        files::persist(code, &self.code(&compiled.digest), files::READ_ONLY)
    }

    /// The compiled code, if it is there and whole. What is damaged is removed.
    pub(super) fn verified(&self, digest: &Digest) -> Option<Verified> {
        let path = self.code(digest);
        match check(&path, &self.sum(digest)) {
            Ok(size) => Some(Verified { path, size }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%digest, %error, "compiled code is damaged and will be compiled again");
                let _ = self.remove(digest);
                None
            }
        }
    }

    /// Removes the compiled code of an artifact, if there is any.
    pub(super) fn remove(&self, digest: &Digest) -> io::Result<()> {
        files::remove(&self.code(digest))?;
        files::remove(&self.sum(digest)).map(|_| ())
    }
}

/// Compares the file with its sum; returns its length.
fn check(code: &Path, sum: &Path) -> io::Result<u64> {
    let mut file = File::open(code)?;
    let sum = fs::read_to_string(sum)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut size = 0;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
    if sum.trim_end() == format!("{size} {:08x}", hasher.finalize()) {
        Ok(size)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the checksum does not match",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(cache: &Cache, digest: &Digest, bytes: &[u8]) {
        fs::write(cache.code(digest), bytes).unwrap();
        let sum = format!("{} {:08x}\n", bytes.len(), crc32fast::hash(bytes));
        fs::write(cache.sum(digest), sum).unwrap();
    }

    #[test]
    fn only_whole_files_of_this_engine_and_of_known_artifacts_are_kept() {
        let root = tempfile::tempdir().unwrap();
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let known = BTreeSet::from([one]);
        let (old, _) = Cache::open(root.path(), "e1", &known).unwrap();
        place(&old, &one, b"code");
        let (cache, sizes) = Cache::open(root.path(), "e2", &known).unwrap();
        assert!(sizes.is_empty() && !root.path().join("e1").exists());
        place(&cache, &one, b"code");
        place(&cache, &two, b"code");
        let (cache, sizes) = Cache::open(root.path(), "e2", &known).unwrap();
        assert_eq!(sizes, [(one, 4)]);
        assert_eq!(cache.verified(&one).unwrap().size, 4);
        assert!(cache.verified(&two).is_none());
    }

    #[test]
    fn every_damaged_byte_is_noticed_and_the_file_removed() {
        let root = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"1");
        let (cache, _) = Cache::open(root.path(), "e", &BTreeSet::new()).unwrap();
        for at in 0..4 {
            place(&cache, &digest, b"code");
            let mut bytes = *b"code";
            bytes[at] ^= 1;
            fs::write(cache.code(&digest), bytes).unwrap();
            assert!(cache.verified(&digest).is_none());
            assert_eq!(fs::read_dir(root.path().join("e")).unwrap().count(), 0);
        }
        place(&cache, &digest, b"code");
        fs::write(cache.code(&digest), b"cod").unwrap();
        assert!(cache.verified(&digest).is_none());
    }
}
