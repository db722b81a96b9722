//! The keys that are valid now, kept up with their file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;

use super::expiry::Expiry;
use super::identity::Identity;
use super::keys::{KEY_PREFIX, KeyError, KeyHash, KeysFile};

/// Time between two looks at the keys file: a removed key is refused that soon.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);
/// Bytes of the longest thing that is looked at as a key.
const LONGEST: usize = 256;

type Keys = HashMap<KeyHash, Kept>;

/// Whose key it is, and for how long.
#[derive(Debug)]
struct Kept {
    identity: Arc<Identity>,
    expires: Option<Expiry>,
}

/// The keys of a gateway.
#[derive(Debug)]
pub struct KeyRing {
    path: PathBuf,
    keys: RwLock<Keys>,
    seen: RwLock<Option<Stamp>>,
}

/// What tells one state of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl KeyRing {
    /// Reads the keys from their file.
    ///
    /// # Errors
    /// When the file cannot be read or is wrong: a gateway that would accept nobody, or somebody it
    /// should not, does not start.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        let seen = stamp(path);
        let keys = by_hash(KeysFile::load(path)?);
        Ok(Self {
            path: path.to_owned(),
            keys: RwLock::new(keys),
            seen: RwLock::new(seen),
        })
    }

    /// Whose key this is, as long as it is valid.
    ///
    /// The key is hashed first, and hashes are what is looked up: how long that takes tells something
    /// about the hash of a guess at most, from which no key can be made. The last comparison takes the
    /// same time wherever the hashes differ.
    pub(in crate::gateway) fn find(&self, key: &[u8]) -> Option<Arc<Identity>> {
        if key.len() > LONGEST || !key.starts_with(KEY_PREFIX.as_bytes()) {
            return None;
        }
        let hash = KeyHash::of(key);
        let keys = self.keys.read();
        let (known, kept) = keys.get_key_value(&hash)?;
        let now = SystemTime::now();
        let over = kept.expires.is_some_and(|expires| expires.is_over(now));
        (bool::from(known.0.ct_eq(&hash.0)) && !over).then(|| kept.identity.clone())
    }

    /// Reads the file again whenever it changes, until `stop`. A file that is wrong or gone changes
    /// nothing and is complained about, so that a slip in an editor locks nobody out.
    pub(in crate::gateway) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(FOLLOW_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let ring = self.clone();
            if tokio::task::spawn_blocking(move || ring.refresh())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// Reads the file if it changed; true when other keys are valid now.
    fn refresh(&self) -> bool {
        let now = stamp(&self.path);
        if now == *self.seen.read() {
            return false;
        }
        *self.seen.write() = now;
        match KeysFile::load(&self.path) {
            Ok(file) => {
                tracing::info!(keys = file.keys.len(), "the keys file was read again");
                *self.keys.write() = by_hash(file);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the keys stay as they were: repair the keys file");
                false
            }
        }
    }
}

fn by_hash(file: KeysFile) -> Keys {
    file.keys
        .into_iter()
        .map(|key| {
            let kept = Kept {
                identity: Arc::new(Identity::new(&key.name, key.role, key.tenants)),
                expires: key.expires,
            };
            (key.hash, kept)
        })
        .collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        modified: metadata.modified().ok(),
        length: metadata.len(),
        inode: metadata.ino(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::auth::{Role, TenantScope, generate};

    #[test]
    fn a_key_is_found_until_it_is_removed_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.yaml");
        let key = generate("ci", TenantScope::All, Role::Caller).unwrap();
        let mut file = KeysFile::default();
        file.add(key.entry).unwrap();
        file.save(&path).unwrap();
        let ring = KeyRing::open(&path).unwrap();
        assert_eq!(ring.find(key.secret.as_bytes()).unwrap().name(), "ci");
        assert!(ring.find(b"rf_wrong").is_none());
        assert!(
            ring.find(&key.secret.as_bytes()[KEY_PREFIX.len()..])
                .is_none()
        );

        std::fs::write(&path, "keys: nonsense").unwrap();
        assert!(!ring.refresh());
        assert!(
            ring.find(key.secret.as_bytes()).is_some(),
            "a wrong file changes nothing"
        );
        KeysFile::default().save(&path).unwrap();
        assert!(ring.refresh());
        assert!(ring.find(key.secret.as_bytes()).is_none());
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            KeyRing::open(&folder.path().join("none")),
            Err(KeyError::Read(..))
        ));
    }
}
