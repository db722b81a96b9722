//! Content-addressed store of components in one directory.
//!
//! ```text
//! lock              held while a process has the store open
//! tmp/              everything unfinished; emptied when the store is opened
//! blobs/HEX.wasm    the component
//! blobs/HEX.json    what the inspection found
//! meta/HEX.json     size, owners, images: an artifact exists exactly if this file does
//! ```
//! Every file is written in `tmp/`, synced and renamed. `meta` is written last and removed first, so a
//! crash leaves at most files that nothing refers to; opening the store removes those.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use ringfence_api::{Digest, TenantName};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::error::ArtifactError;
use super::files;

/// Bytes of one artifact.
pub const ARTIFACT_BYTES: u64 = 64 << 20;
/// Bytes of all artifacts of one tenant, compiled code included.
pub const TENANT_BYTES: u64 = 8 << 30;
/// Bytes of all artifacts of a host, compiled code included.
pub const STORE_BYTES: u64 = 64 << 30;
/// Repositories and Secrets by which a tenant may read one artifact, as far as they are remembered.
pub const READS: usize = 64;

/// How much may be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Bytes of one artifact.
    pub artifact_bytes: u64,
    /// Bytes of all artifacts of one tenant, compiled code included. One that two tenants pushed is
    /// kept once and counts for both.
    pub tenant_bytes: u64,
    /// Bytes of all artifacts, compiled code included.
    pub store_bytes: u64,
}

impl Default for StoreLimits {
    fn default() -> Self {
        Self {
            artifact_bytes: ARTIFACT_BYTES,
            tenant_bytes: TENANT_BYTES,
            store_bytes: STORE_BYTES,
        }
    }
}

/// An image reference that a tenant pulled, pinned to what it meant then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImagePin {
    /// Who pulled it.
    pub tenant: TenantName,
    /// The reference as written.
    pub image: String,
    /// Digest of the manifest that it named.
    pub manifest: Digest,
}

/// A tenant has shown that it can read an artifact in a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRead {
    /// Who has.
    pub tenant: TenantName,
    /// The repository with its registry, `registry/repository`.
    pub repository: String,
    /// The Secret whose login it took; none where everybody may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// What is known about an artifact without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactMeta {
    /// Its identity.
    pub digest: Digest,
    /// Bytes of the component.
    pub size: u64,
    /// Milliseconds since 1970 when it was first stored.
    pub created_ms: u64,
    /// Tenants that pushed or pulled it; nobody else sees it.
    pub owners: BTreeSet<TenantName>,
    /// Images that were pinned to it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub images: BTreeSet<ImagePin>,
    /// Of the owners, those whose people put it here by an upload or a pull of their own: their resources may run
    /// it, whatever registries say.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub given: BTreeSet<TenantName>,
    /// Where the resources of owners were let read it, and with what.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub reads: BTreeSet<ImageRead>,
}

/// The store. All methods block on the disk.
pub(super) struct Store {
    root: PathBuf,
    limits: StoreLimits,
    index: Mutex<BTreeMap<Digest, Entry>>,
    _lock: File,
}

struct Entry {
    meta: ArtifactMeta,
    compiled_bytes: u64,
}

impl Entry {
    fn bytes(&self) -> u64 {
        self.meta.size.saturating_add(self.compiled_bytes)
    }
}

impl Store {
    /// Opens the store in `root`, creating it if need be, and removes what a crash left.
    pub(super) fn open(root: &Path, limits: StoreLimits) -> Result<Self, ArtifactError> {
        let fail = || ArtifactError::io("open the artifact store");
        files::private_dir(root).map_err(fail())?;
        let lock = files::lock(&root.join("lock"))
            .map_err(fail())?
            .ok_or_else(|| ArtifactError::Locked(root.to_owned()))?;
        for dir in ["tmp", "blobs", "meta"] {
            files::private_dir(&root.join(dir)).map_err(fail())?;
        }
        let store = Self {
            index: Mutex::new(BTreeMap::new()),
            root: root.to_owned(),
            limits,
            _lock: lock,
        };
        store.recover().map_err(fail())?;
        Ok(store)
    }

    fn recover(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.temp_dir())? {
            fs::remove_file(entry?.path())?;
        }
        let mut index = self.index.lock();
        for entry in fs::read_dir(self.root.join("meta"))? {
            let path = entry?.path();
            let meta = fs::read(&path).and_then(|bytes| {
                serde_json::from_slice::<ArtifactMeta>(&bytes).map_err(io::Error::from)
            });
            match meta {
                Ok(meta) if self.complete(&meta) => {
                    let compiled_bytes = 0;
                    index.insert(
                        meta.digest,
                        Entry {
                            meta,
                            compiled_bytes,
                        },
                    );
                }
                // Only a damaged disk or foreign hands get here: keep the host running without it.
                Ok(_) | Err(_) => {
                    tracing::warn!(file = %path.display(), "dropping an incomplete artifact");
                    fs::remove_file(&path)?;
                }
            }
        }
        for entry in fs::read_dir(self.root.join("blobs"))? {
            let path = entry?.path();
            if !digest_of(&path).is_some_and(|digest| index.contains_key(&digest)) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn complete(&self, meta: &ArtifactMeta) -> bool {
        fs::metadata(self.blob(&meta.digest)).is_ok_and(|m| m.len() == meta.size)
            && self.inspected(&meta.digest)
    }

    fn inspected(&self, digest: &Digest) -> bool {
        fs::read(self.inspection(digest))
            .is_ok_and(|json| serde_json::from_slice::<serde::de::IgnoredAny>(&json).is_ok())
    }

    /// Whether what is stored under a digest is what was stored. Reads all of it.
    pub(super) fn is_whole(&self, digest: &Digest) -> bool {
        self.contains(digest)
            && self.inspected(digest)
            && fs::read(self.blob(digest)).is_ok_and(|bytes| Digest::of(&bytes) == *digest)
    }

    pub(super) fn temp_dir(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.root
            .join("blobs")
            .join(digest.hex())
            .with_extension("wasm")
    }

    pub(super) fn inspection(&self, digest: &Digest) -> PathBuf {
        self.root
            .join("blobs")
            .join(digest.hex())
            .with_extension("json")
    }

    fn meta(&self, digest: &Digest) -> PathBuf {
        self.root
            .join("meta")
            .join(digest.hex())
            .with_extension("json")
    }

    pub(super) fn limits(&self) -> StoreLimits {
        self.limits
    }

    /// Whether the digest is stored, for whomever.
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.index.lock().contains_key(digest)
    }

    /// Every stored digest.
    pub(super) fn digests(&self) -> BTreeSet<Digest> {
        self.index.lock().keys().copied().collect()
    }

    /// Stored digests, the newest first, not more than `most`.
    pub(super) fn newest(&self, most: usize) -> Vec<Digest> {
        let index = self.index.lock();
        let metas = index.values().map(|entry| &entry.meta);
        let mut all: Vec<_> = metas.map(|meta| (meta.created_ms, meta.digest)).collect();
        drop(index);
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.into_iter()
            .take(most)
            .map(|(_, digest)| digest)
            .collect()
    }

    /// What the tenant may see of it.
    pub(super) fn get(&self, tenant: &TenantName, digest: &Digest) -> Option<ArtifactMeta> {
        let index = self.index.lock();
        let meta = &index.get(digest)?.meta;
        meta.owners
            .contains(tenant)
            .then(|| for_tenant(tenant, meta))
    }

    /// What the tenant may see of all, newest first.
    pub(super) fn list(&self, tenant: &TenantName) -> Vec<ArtifactMeta> {
        let index = self.index.lock();
        let mine = index.values().filter(|e| e.meta.owners.contains(tenant));
        let mut list: Vec<_> = mine.map(|e| for_tenant(tenant, &e.meta)).collect();
        list.sort_by_key(|meta| std::cmp::Reverse((meta.created_ms, meta.digest)));
        list
    }

    /// The digest to which the tenant pinned this image.
    pub(super) fn pinned(&self, tenant: &TenantName, image: &str) -> Option<Digest> {
        let index = self.index.lock();
        let pins = index.values().find(|entry| {
            let mut images = entry.meta.images.iter();
            images.any(|pin| pin.tenant == *tenant && pin.image == image)
        });
        pins.map(|entry| entry.meta.digest)
    }

    /// Bytes that the tenant and the whole store hold.
    pub(super) fn usage(&self, tenant: &TenantName) -> (u64, u64) {
        let index = self.index.lock();
        usage(&index, tenant)
    }

    /// Stores a new artifact whose bytes have this digest, or puts them in the place of damaged ones and
    /// adds an owner.
    /// `compiled_bytes` is the size of its compiled code, which somebody else keeps.
    pub(super) fn commit(
        &self,
        tenant: &TenantName,
        digest: Digest,
        blob: NamedTempFile,
        inspection: &[u8],
        compiled_bytes: u64,
    ) -> Result<(), ArtifactError> {
        let fail = || ArtifactError::io("store an artifact");
        let size = blob.as_file().metadata().map_err(fail())?.len();
        let mut index = self.index.lock();
        if index.contains_key(&digest) {
            files::persist(blob, &self.blob(&digest), files::READ_ONLY)
                .and_then(|()| {
                    let to = self.inspection(&digest);
                    files::write(&self.temp_dir(), &to, inspection, files::READ_ONLY)
                })
                .map_err(fail())?;
            drop(index);
            return self.adopt(tenant, &digest).map(|_| ());
        }
        self.within_quota(&index, tenant, size.saturating_add(compiled_bytes), true)?;
        let meta = ArtifactMeta {
            digest,
            size,
            created_ms: now_ms(),
            owners: BTreeSet::from([tenant.clone()]),
            images: BTreeSet::new(),
            given: BTreeSet::new(),
            reads: BTreeSet::new(),
        };
        let stored = files::persist(blob, &self.blob(&digest), files::READ_ONLY)
            .and_then(|()| {
                let to = self.inspection(&digest);
                files::write(&self.temp_dir(), &to, inspection, files::READ_ONLY)
            })
            .and_then(|()| self.write_meta(&meta));
        if let Err(error) = stored {
            // Without `meta` it does not exist; give the space back at once if the disk lets us.
            let _ = files::remove(&self.meta(&digest));
            let _ = files::remove(&self.blob(&digest));
            let _ = files::remove(&self.inspection(&digest));
            return Err(fail()(error));
        }
        index.insert(
            digest,
            Entry {
                meta,
                compiled_bytes,
            },
        );
        Ok(())
    }

    /// Makes the tenant an owner of a stored artifact. `false` if there is none.
    pub(super) fn adopt(
        &self,
        tenant: &TenantName,
        digest: &Digest,
    ) -> Result<bool, ArtifactError> {
        let mut index = self.index.lock();
        let Some(entry) = index.get(digest) else {
            return Ok(false);
        };
        if entry.meta.owners.contains(tenant) {
            return Ok(true);
        }
        self.within_quota(&index, tenant, entry.bytes(), false)?;
        self.change(&mut index, digest, |meta| {
            meta.owners.insert(tenant.clone());
        })
    }

    /// Remembers what an image meant; the tenant's older meaning of it is dropped.
    pub(super) fn pin(&self, pin: ImagePin, digest: &Digest) -> Result<(), ArtifactError> {
        let mut index = self.index.lock();
        let same = |other: &ImagePin| other.tenant == pin.tenant && other.image == pin.image;
        let older = index.values().filter(|e| e.meta.images.iter().any(same));
        let older: Vec<Digest> = older.map(|e| e.meta.digest).collect();
        for old in older {
            self.change(&mut index, &old, |meta| meta.images.retain(|p| !same(p)))?;
        }
        let found = self.change(&mut index, digest, |meta| {
            meta.images.insert(pin.clone());
        })?;
        if found {
            Ok(())
        } else {
            Err(ArtifactError::NotFound(*digest))
        }
    }

    /// Notes that people of the tenant put an artifact here.
    pub(super) fn give(&self, tenant: &TenantName, digest: &Digest) -> Result<(), ArtifactError> {
        let mut index = self.index.lock();
        let given = |entry: &Entry| entry.meta.given.contains(tenant);
        if index.get(digest).is_some_and(given) {
            return Ok(());
        }
        let found = self.change(&mut index, digest, |meta| {
            meta.given.insert(tenant.clone());
        })?;
        found.then_some(()).ok_or(ArtifactError::NotFound(*digest))
    }

    /// Whether people of the tenant put an artifact here.
    pub(super) fn is_given(&self, tenant: &TenantName, digest: &Digest) -> bool {
        let index = self.index.lock();
        let meta = index.get(digest).map(|entry| &entry.meta);
        meta.is_some_and(|meta| meta.owners.contains(tenant) && meta.given.contains(tenant))
    }

    /// Notes that a tenant may read an artifact.
    pub(super) fn note_read(&self, read: ImageRead, digest: &Digest) -> Result<(), ArtifactError> {
        let mut index = self.index.lock();
        let noted = |entry: &Entry| entry.meta.reads.contains(&read);
        if index.get(digest).is_some_and(noted) {
            return Ok(());
        }
        let found = self.change(&mut index, digest, |meta| {
            let of_tenant = |other: &&ImageRead| other.tenant == read.tenant;
            if meta.reads.iter().filter(of_tenant).count() >= READS
                && let Some(first) = meta.reads.iter().find(of_tenant).cloned()
            {
                // Whoever needs it asks the registry once more.
                meta.reads.remove(&first);
            }
            meta.reads.insert(read.clone());
        })?;
        found.then_some(()).ok_or(ArtifactError::NotFound(*digest))
    }

    /// Whether a tenant has an artifact and has shown that it may read it in a repository: as everybody, or with a
    /// login of one of these Secrets.
    pub(super) fn may_run(
        &self,
        tenant: &TenantName,
        digest: &Digest,
        repository: &str,
        secrets: &[&str],
    ) -> bool {
        let index = self.index.lock();
        let Some(meta) = index.get(digest).map(|entry| &entry.meta) else {
            return false;
        };
        let shows = |read: &ImageRead| {
            let with = read.secret.as_deref();
            read.tenant == *tenant
                && read.repository == repository
                && with.is_none_or(|secret| secrets.contains(&secret))
        };
        meta.owners.contains(tenant)
            && (meta.given.contains(tenant) || meta.reads.iter().any(shows))
    }

    /// Takes the tenant off the owners; without any, the artifact is gone (`true`).
    pub(super) fn release(
        &self,
        tenant: &TenantName,
        digest: &Digest,
    ) -> Result<bool, ArtifactError> {
        let mut index = self.index.lock();
        let owners = index.get(digest).map(|entry| &entry.meta.owners);
        let Some(owners) = owners.filter(|owners| owners.contains(tenant)) else {
            return Err(ArtifactError::NotFound(*digest));
        };
        if owners.len() > 1 {
            return self
                .change(&mut index, digest, |meta| {
                    meta.owners.remove(tenant);
                    meta.images.retain(|pin| pin.tenant != *tenant);
                    meta.given.remove(tenant);
                    meta.reads.retain(|read| read.tenant != *tenant);
                })
                .map(|_| false);
        }
        let fail = || ArtifactError::io("delete an artifact");
        files::remove(&self.meta(digest)).map_err(fail())?;
        index.remove(digest);
        files::remove(&self.blob(digest)).map_err(fail())?;
        files::remove(&self.inspection(digest)).map_err(fail())?;
        Ok(true)
    }

    /// Counts compiled code for its artifact.
    pub(super) fn set_compiled_bytes(&self, digest: &Digest, bytes: u64) {
        if let Some(entry) = self.index.lock().get_mut(digest) {
            entry.compiled_bytes = bytes;
        }
    }

    fn within_quota(
        &self,
        index: &BTreeMap<Digest, Entry>,
        tenant: &TenantName,
        bytes: u64,
        new: bool,
    ) -> Result<(), ArtifactError> {
        let (mine, all) = usage(index, tenant);
        for (whose, used, maximum, counts) in [
            ("this tenant", mine, self.limits.tenant_bytes, true),
            ("this host", all, self.limits.store_bytes, new),
        ] {
            if counts && used.saturating_add(bytes) > maximum {
                return Err(ArtifactError::Quota { whose, maximum });
            }
        }
        Ok(())
    }

    fn change(
        &self,
        index: &mut BTreeMap<Digest, Entry>,
        digest: &Digest,
        change: impl FnOnce(&mut ArtifactMeta),
    ) -> Result<bool, ArtifactError> {
        let Some(entry) = index.get_mut(digest) else {
            return Ok(false);
        };
        let mut meta = entry.meta.clone();
        change(&mut meta);
        self.write_meta(&meta)
            .map_err(ArtifactError::io("update an artifact"))?;
        entry.meta = meta;
        Ok(true)
    }

    fn write_meta(&self, meta: &ArtifactMeta) -> io::Result<()> {
        let json = serde_json::to_vec(meta)?;
        files::write(
            &self.temp_dir(),
            &self.meta(&meta.digest),
            &json,
            files::PRIVATE,
        )
    }
}

fn usage(index: &BTreeMap<Digest, Entry>, tenant: &TenantName) -> (u64, u64) {
    index
        .values()
        .fold((0, 0), |(mine, all): (u64, u64), entry| {
            let bytes = entry.bytes();
            let owned = entry.meta.owners.contains(tenant);
            (
                mine.saturating_add(if owned { bytes } else { 0 }),
                all.saturating_add(bytes),
            )
        })
}

/// Without the other tenants' names and images.
fn for_tenant(tenant: &TenantName, meta: &ArtifactMeta) -> ArtifactMeta {
    let mut meta = meta.clone();
    meta.owners.retain(|owner| owner == tenant);
    meta.images.retain(|pin| pin.tenant == *tenant);
    meta.given.retain(|owner| owner == tenant);
    meta.reads.retain(|read| read.tenant == *tenant);
    meta
}

/// The digest in the name of a file of ours.
pub(super) fn digest_of(path: &Path) -> Option<Digest> {
    format!("sha256:{}", path.file_stem()?.to_str()?)
        .parse()
        .ok()
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
