//! Blobs: outputs that are too large for the object that they belong to, by digest, each tenant's apart.
//!
//! A blob is a file `TENANT/DIGEST`, whole or not there, whose modification time is when it expires.
//! Tenants share nothing: whether another one has the same bytes cannot be found out.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use ringfence_api::{Digest, TenantName};

use crate::error::CallError;

/// Bytes of one blob.
pub const BLOB_BYTES: u64 = 64 << 20;
/// Bytes of all blobs of a tenant.
pub const TENANT_BLOB_BYTES: u64 = 1 << 30;
/// Bytes of all blobs of a host.
pub const HOST_BLOB_BYTES: u64 = 8 << 30;
/// The longest that a blob is kept.
pub const BLOB_LIFE: Duration = Duration::from_secs(8 * 24 * 3_600);
/// How often expired blobs are looked for.
pub const SWEEP: Duration = Duration::from_secs(60);

/// Why a blob is not kept, or not found.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It does not fit.
    #[error("limit exceeded: {name} (at most {maximum})")]
    Full {
        /// The limit.
        name: &'static str,
        /// Its value.
        maximum: u64,
    },
    /// There is none, or none any more.
    #[error("no blob {0} (any more): it goes when the run that gave it does")]
    NotFound(Digest),
    /// The disk refuses.
    #[error("a blob cannot be read or written")]
    Io(#[from] io::Error),
}

impl From<BlobError> for CallError {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Full { name, maximum } => Self::limit(name, maximum),
            BlobError::NotFound(_) => Self::NotFound(error.to_string()),
            BlobError::Io(error) => {
                tracing::error!(%error, "blobs");
                Self::Unavailable("the host cannot keep or read blobs".to_owned())
            }
        }
    }
}

/// The blobs of a host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    /// Bytes by tenant. Held while files come and go.
    used: Mutex<HashMap<TenantName, u64>>,
}

impl Blobs {
    /// Opens the store, making its folder where needed, and removes what has expired.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let blobs = Self {
            inner: Arc::new(Inner {
                folder: folder.to_owned(),
                used: Mutex::default(),
            }),
        };
        blobs.inner.sweep(SystemTime::now())?;
        Ok(blobs)
    }

    /// Keeps these bytes for so long, [`BLOB_LIFE`] at most. Bytes that are there already are kept for the
    /// longer of both times.
    ///
    /// # Errors
    /// They do not fit, or the disk refuses.
    pub async fn put(
        &self,
        tenant: &TenantName,
        bytes: Bytes,
        life: Duration,
    ) -> Result<Digest, BlobError> {
        let (inner, tenant) = (self.inner.clone(), tenant.clone());
        blocking(move || {
            let expires = SystemTime::now() + life.min(BLOB_LIFE);
            inner.put(&tenant, &bytes, expires)
        })
        .await
    }

    /// The file of a blob, and its bytes.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], or the disk refuses.
    pub async fn get(&self, tenant: &TenantName, digest: Digest) -> Result<(File, u64), BlobError> {
        let (inner, tenant) = (self.inner.clone(), tenant.clone());
        blocking(move || inner.get(&tenant, &digest, SystemTime::now())).await
    }

    /// Removes what expires, for ever.
    pub async fn sweep_forever(self) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let inner = self.inner.clone();
            let done = blocking(move || Ok(inner.sweep(SystemTime::now())?)).await;
            if let Err(error) = done {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "expired blobs stay"
                );
            }
        }
    }

    /// Bytes of all blobs.
    pub fn bytes(&self) -> u64 {
        self.inner.used.lock().values().sum()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(BlobError::Io(io::Error::other(error))),
    }
}

impl Inner {
    fn path(&self, tenant: &TenantName, digest: &Digest) -> PathBuf {
        self.folder.join(tenant.as_str()).join(digest.hex())
    }

    fn put(
        &self,
        tenant: &TenantName,
        bytes: &[u8],
        expires: SystemTime,
    ) -> Result<Digest, BlobError> {
        let size = bytes.len() as u64;
        let full = |name, maximum| Err(BlobError::Full { name, maximum });
        if size > BLOB_BYTES {
            return full("blob-bytes", BLOB_BYTES);
        }
        let digest = Digest::of(bytes);
        let path = self.path(tenant, &digest);
        let mut used = self.used.lock();
        if let Ok(file) = File::options().write(true).open(&path) {
            let before = file.metadata()?.modified()?;
            file.set_modified(before.max(expires))?;
            return Ok(digest);
        }
        let of_tenant = used.get(tenant).copied().unwrap_or_default();
        if of_tenant + size > TENANT_BLOB_BYTES {
            return full("tenant-blob-bytes", TENANT_BLOB_BYTES);
        }
        if used.values().sum::<u64>() + size > HOST_BLOB_BYTES {
            return full("host-blob-bytes", HOST_BLOB_BYTES);
        }
        let folder = self.folder.join(tenant.as_str());
        fs::create_dir_all(&folder)?;
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.write_all(bytes)?;
        file.as_file().set_modified(expires)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        used.insert(tenant.clone(), of_tenant + size);
        Ok(digest)
    }

    fn get(
        &self,
        tenant: &TenantName,
        digest: &Digest,
        now: SystemTime,
    ) -> Result<(File, u64), BlobError> {
        let file = match File::open(self.path(tenant, digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(BlobError::NotFound(*digest));
            }
            file => file?,
        };
        let metadata = file.metadata()?;
        if metadata.modified()? <= now {
            return Err(BlobError::NotFound(*digest));
        }
        Ok((file, metadata.len()))
    }

    /// Removes what has expired and what was never finished, and counts the rest anew.
    fn sweep(&self, now: SystemTime) -> io::Result<()> {
        let mut used = self.used.lock();
        let mut counted = HashMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let folder = entry?.path();
            let name = folder.file_name().and_then(|name| name.to_str());
            let Some(tenant) = name.and_then(|name| name.parse::<TenantName>().ok()) else {
                continue;
            };
            let mut bytes = 0;
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                let whole = entry
                    .file_name()
                    .to_str()
                    .is_some_and(|name| name.len() == 64);
                if whole && metadata.modified()? > now {
                    bytes += metadata.len();
                } else {
                    fs::remove_file(entry.path())?;
                }
            }
            if bytes > 0 {
                counted.insert(tenant, bytes);
            } else {
                // A folder that something was put into meanwhile is not empty: the lock is held.
                fs::remove_dir(&folder)?;
            }
        }
        *used = counted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn tenant(name: &str) -> TenantName {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn a_blob_is_its_tenants_alone_and_survives_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let digest = blobs.put(&tenant("a"), "hello".into(), HOUR).await.unwrap();
        assert_eq!(digest, Digest::of(b"hello"));
        drop(blobs);
        let blobs = Blobs::open(folder.path()).unwrap();
        assert_eq!(blobs.bytes(), 5);
        let (mut file, size) = blobs.get(&tenant("a"), digest).await.unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), size), ("hello", 5));
        let other = blobs.get(&tenant("b"), digest).await;
        assert!(matches!(other, Err(BlobError::NotFound(_))), "{other:?}");
    }

    #[tokio::test]
    async fn what_has_expired_is_gone_and_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let digest = blobs.put(&tenant("a"), "x".into(), HOUR).await.unwrap();
        blobs.put(&tenant("a"), "x".into(), HOUR * 3).await.unwrap();
        let later = SystemTime::now() + HOUR * 2;
        blobs.inner.sweep(later).unwrap();
        assert!(
            blobs.inner.get(&tenant("a"), &digest, later).is_ok(),
            "the longer time counts"
        );
        let late = later + HOUR * 2;
        assert!(blobs.inner.get(&tenant("a"), &digest, late).is_err());
        fs::write(folder.path().join("a/.tmp1"), "half").unwrap();
        blobs.inner.sweep(late).unwrap();
        assert_eq!(blobs.bytes(), 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn bounds_hold() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let large = Bytes::from(vec![0; usize::try_from(BLOB_BYTES).unwrap() + 1]);
        let refused = blobs.put(&tenant("a"), large, HOUR).await.unwrap_err();
        assert!(refused.to_string().contains("blob-bytes"), "{refused}");
        let full = |tenant: &str, bytes| {
            blobs
                .inner
                .used
                .lock()
                .insert(tenant.parse().unwrap(), bytes)
        };
        full("a", TENANT_BLOB_BYTES);
        let refused = blobs.put(&tenant("a"), "x".into(), HOUR).await.unwrap_err();
        assert!(
            refused.to_string().contains("tenant-blob-bytes"),
            "{refused}"
        );
        full("b", HOST_BLOB_BYTES);
        let refused = blobs.put(&tenant("c"), "x".into(), HOUR).await.unwrap_err();
        assert!(refused.to_string().contains("host-blob-bytes"), "{refused}");
    }
}
