//! Artifacts: the bytes of components, stored by digest, checked and compiled in a jailed process,
//! mapped when they are first called.
//!
//! ```text
//! put, pull → store::Store (temporary file) → compile::Compiler → worker process (jail)
//!           ← inspection, compiled code   → aot::Cache, then store::Store commits
//! prepare   → prepared::Recent → aot::Cache (verified) → load → Prepared
//! ```
//! A refused artifact leaves nothing behind: everything is in temporary files until the worker has
//! accepted it.

mod aot;
mod compile;
mod error;
mod files;
pub mod inspect;
mod jail;
mod load;
pub mod oci;
mod prepared;
mod registry;
mod store;
mod upload;
pub mod worker;

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use ringfence_api::{ArtifactSource, Digest, ImageSource, TenantName};
use tokio::sync::Semaphore;

pub use compile::{
    COMPILE_CONCURRENCY, COMPILE_CPU, COMPILE_MEMORY_BYTES, COMPILE_PER_TENANT, COMPILE_QUEUE,
    COMPILE_WALL, COMPILED_BYTES, CompileError, CompileLimits, Launcher,
};
pub use error::ArtifactError;
use inspect::Inspection;
use oci::{PullLogin, RegistrySettings};
use prepared::Recent;
pub use prepared::{LOADED_COMPONENTS, Prepared};
pub use store::{
    ARTIFACT_BYTES, ArtifactMeta, ImagePin, ImageRead, READS, STORE_BYTES, StoreLimits,
    TENANT_BYTES,
};
pub use upload::{UPLOAD_IDLE, UPLOADS, Upload};

use crate::engine::Engine;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::CacheResult;

/// What can be set.
#[derive(Debug, Clone)]
pub struct ArtifactSettings {
    /// How to start a compile worker.
    pub launcher: Launcher,
    /// How much may be stored.
    pub store: StoreLimits,
    /// What compiling may cost.
    pub compile: CompileLimits,
    /// Which registries may be used.
    pub registries: RegistrySettings,
    /// Components that stay mapped after use.
    pub loaded: usize,
    /// The counters that looks into the cache and the compiler feed.
    pub metrics: Arc<Metrics>,
}

impl ArtifactSettings {
    /// The defaults, with this way to start a compile worker.
    pub fn new(launcher: Launcher) -> Self {
        Self {
            launcher,
            store: StoreLimits::default(),
            compile: CompileLimits::default(),
            registries: RegistrySettings::default(),
            loaded: LOADED_COMPONENTS,
            metrics: Arc::default(),
        }
    }
}

/// What a stored artifact is.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its metadata, as its tenant sees it.
    pub meta: ArtifactMeta,
    /// What it exports, imports and would need.
    pub inspection: Arc<Inspection>,
    /// Whether it was not there before, for anybody.
    pub new: bool,
}

/// The artifacts of a host. Cheap to clone.
#[derive(Clone)]
pub struct Artifacts(Arc<Inner>);

struct Inner {
    engine: Engine,
    store: store::Store,
    cache: aot::Cache,
    compiler: compile::Compiler,
    registries: Arc<RegistrySettings>,
    loaded: Recent<Prepared>,
    uploads: Semaphore,
    metrics: Arc<Metrics>,
    flights: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

impl std::fmt::Debug for Artifacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Artifacts").finish_non_exhaustive()
    }
}

impl Artifacts {
    /// Opens the artifacts in `directory`, which belongs to this process alone, and removes what a
    /// crash or a former engine left. Blocks on the disk.
    ///
    /// # Errors
    /// Another process has it open, or the disk fails.
    pub fn open(
        directory: &Path,
        engine: Engine,
        settings: ArtifactSettings,
    ) -> Result<Self, ArtifactError> {
        let store = store::Store::open(directory, settings.store)?;
        let known = store.digests();
        let (cache, sizes) = aot::Cache::open(&directory.join("aot"), engine.hash(), &known)
            .map_err(ArtifactError::io("open the compiled cache"))?;
        for (digest, bytes) in sizes {
            store.set_compiled_bytes(&digest, bytes);
        }
        Ok(Self(Arc::new(Inner {
            engine,
            store,
            cache,
            compiler: compile::Compiler::new(
                settings.launcher,
                settings.compile,
                settings.metrics.clone(),
            ),
            registries: Arc::new(settings.registries),
            loaded: Recent::new(settings.loaded),
            uploads: Semaphore::new(UPLOADS),
            metrics: settings.metrics,
            flights: Mutex::default(),
        })))
    }

    /// Stores a component for a tenant: reads it, has it inspected and compiled, and keeps it only if
    /// both succeed.
    ///
    /// # Errors
    /// See [`ArtifactError`]; a refused component leaves nothing behind.
    pub async fn put(&self, tenant: &TenantName, upload: Upload) -> Result<Stored, ArtifactError> {
        let stored = self.keep(tenant, upload).await?;
        self.give(tenant, &stored).await?;
        Ok(stored)
    }

    /// Notes that somebody put an artifact here for the tenant.
    async fn give(&self, tenant: &TenantName, stored: &Stored) -> Result<(), ArtifactError> {
        let (tenant, digest) = (tenant.clone(), stored.meta.digest);
        self.blocking(move |inner| inner.store.give(&tenant, &digest))
            .await?
    }

    /// As [`Self::put`], for a resource that may run it only as long as its registry lets it.
    async fn keep(&self, tenant: &TenantName, upload: Upload) -> Result<Stored, ArtifactError> {
        let inner = &self.0;
        let _turn = inner
            .uploads
            .try_acquire()
            .map_err(|_| ArtifactError::Busy)?;
        let limits = inner.store.limits();
        let (mine, all) = inner.store.usage(tenant);
        for (whose, used, maximum) in [
            ("this tenant", mine, limits.tenant_bytes),
            ("this host", all, limits.store_bytes),
        ] {
            // Early, before anything is read; the commit checks again with the real sizes.
            if used >= maximum {
                return Err(ArtifactError::Quota { whose, maximum });
            }
        }
        let received =
            upload::receive(upload, &inner.store.temp_dir(), limits.artifact_bytes).await?;
        let digest = received.digest;
        let flight = inner.flight(&digest);
        let _flight = flight.lock().await;
        // What a disk has damaged is stored anew, whoever uses it.
        let new = !self
            .blocking(move |inner| inner.store.is_whole(&digest))
            .await?;
        if new {
            let output = inner
                .compiler
                .compile(
                    Some(tenant),
                    received.file.path(),
                    limits.artifact_bytes,
                    &inner.store.temp_dir(),
                )
                .await
                .map_err(refused)?;
            inner.same(&output, &digest)?;
            let tenant = tenant.clone();
            self.blocking(move |inner| {
                inner.commit(&tenant, received, output)?;
                inner.fits(&tenant, &digest)
            })
            .await??;
        } else {
            let tenant = tenant.clone();
            self.blocking(move |inner| inner.store.adopt(&tenant, &digest))
                .await??;
        }
        self.stored(tenant, &digest, new).await
    }

    /// Makes sure that the tenant has what a resource names and may run it, and says which digest that is: an
    /// image is pulled the first time and means the same digest from then on. `logins` are tried one after the
    /// other.
    ///
    /// # Errors
    /// The digest is not the tenant's, or the image cannot be pulled.
    pub async fn resolve(
        &self,
        tenant: &TenantName,
        source: &ArtifactSource,
        logins: &[PullLogin],
    ) -> Result<Digest, ArtifactError> {
        match source {
            // What a resource pulled by its image is there for images, which show that they may be read.
            ArtifactSource::Digest(digest) => match self.0.store.is_given(tenant, digest) {
                true => Ok(*digest),
                false => Err(ArtifactError::NotFound(*digest)),
            },
            ArtifactSource::Image(ImageSource { image, .. }) => {
                match self.0.store.pinned(tenant, image) {
                    Some(digest) => {
                        self.fetch(tenant, image, &digest, logins).await?;
                        Ok(digest)
                    }
                    None => self.current(tenant, image, logins).await,
                }
            }
        }
    }

    /// Components that can be run without compiling, whoever has them, the newest first.
    pub fn newest(&self, most: usize) -> Vec<Digest> {
        self.0.store.newest(most)
    }

    /// The tenant's artifacts, newest first.
    pub fn list(&self, tenant: &TenantName) -> Vec<ArtifactMeta> {
        self.0.store.list(tenant)
    }

    /// The metadata of one of the tenant's artifacts.
    pub fn get(&self, tenant: &TenantName, digest: &Digest) -> Option<ArtifactMeta> {
        self.0.store.get(tenant, digest)
    }

    /// Bytes that the tenant stores, compiled code included, and bytes that all store.
    pub fn usage(&self, tenant: &TenantName) -> (u64, u64) {
        self.0.store.usage(tenant)
    }

    /// Components that are mapped at this moment.
    pub fn loaded(&self) -> usize {
        self.0.loaded.len()
    }

    /// What the inspection found, for whoever may see the artifact ([`Artifacts::get`]).
    ///
    /// # Errors
    /// There is no such artifact, or the disk fails.
    pub async fn inspect(&self, digest: &Digest) -> Result<Arc<Inspection>, ArtifactError> {
        if let Some(prepared) = self.0.loaded.get(digest) {
            return Ok(Arc::clone(&prepared.inspection));
        }
        let digest = *digest;
        self.blocking(move |inner| inner.inspection(&digest))
            .await?
    }

    /// Takes the artifact from the tenant; the last owner's deletion removes it (`true`). `in_use` says
    /// whether one of the tenant's resources still names it.
    ///
    /// # Errors
    /// It is not the tenant's, or in use.
    pub async fn delete(
        &self,
        tenant: &TenantName,
        digest: &Digest,
        in_use: impl FnOnce() -> bool,
    ) -> Result<bool, ArtifactError> {
        let flight = self.0.flight(digest);
        let _flight = flight.lock().await;
        if self.0.store.get(tenant, digest).is_none() {
            return Err(ArtifactError::NotFound(*digest));
        }
        if in_use() {
            return Err(ArtifactError::InUse(*digest));
        }
        let (tenant, digest) = (tenant.clone(), *digest);
        self.blocking(move |inner| {
            let gone = inner.store.release(&tenant, &digest)?;
            if gone {
                inner.loaded.remove(&digest);
                inner
                    .cache
                    .remove(&digest)
                    .map_err(ArtifactError::io("delete compiled code"))?;
            }
            Ok(gone)
        })
        .await?
    }

    /// The component, ready to be instantiated: mapped now if it was not, compiled again if its
    /// compiled code is missing, damaged or of another engine. Concurrent calls share the work.
    ///
    /// # Errors
    /// There is no such artifact, its bytes are damaged, or it cannot be compiled.
    pub async fn prepare(&self, digest: &Digest) -> Result<Arc<Prepared>, ArtifactError> {
        let inner = &self.0;
        if let Some(prepared) = inner.loaded.get(digest) {
            inner.metrics.artifact_cache(CacheResult::Memory);
            return Ok(prepared);
        }
        let flight = inner.flight(digest);
        let _flight = flight.lock().await;
        if let Some(prepared) = inner.loaded.get(digest) {
            inner.metrics.artifact_cache(CacheResult::Memory);
            return Ok(prepared);
        }
        let digest = *digest;
        match self.blocking(move |inner| inner.load(&digest)).await? {
            Ok(Some(prepared)) => {
                inner.metrics.artifact_cache(CacheResult::Disk);
                return Ok(prepared);
            }
            Ok(None) => {}
            Err(ArtifactError::Load { source, .. }) => {
                tracing::warn!(%digest, error = %source, "compiled code does not load; compiling again");
            }
            Err(other) => return Err(other),
        }
        let prepared = self.compile_again(digest).await;
        inner.metrics.artifact_cache(match &prepared {
            Ok(_) => CacheResult::Compiled,
            Err(_) => CacheResult::Failed,
        });
        prepared
    }

    /// Compiles what is stored, and maps it.
    async fn compile_again(&self, digest: Digest) -> Result<Arc<Prepared>, ArtifactError> {
        let inner = &self.0;
        let output = inner
            .compiler
            .compile(
                None,
                &inner.store.blob(&digest),
                inner.store.limits().artifact_bytes.max(ARTIFACT_BYTES),
                &inner.store.temp_dir(),
            )
            .await?;
        if output.compiled.digest != digest {
            return Err(ArtifactError::Damaged(digest));
        }
        inner.same(&output, &digest)?;
        self.blocking(move |inner| {
            let bytes = output.compiled.size;
            inner
                .cache
                .insert(output, &inner.store.temp_dir())
                .map_err(ArtifactError::io("store compiled code"))?;
            inner.store.set_compiled_bytes(&digest, bytes);
            inner.load(&digest)?.ok_or(ArtifactError::Damaged(digest))
        })
        .await?
    }

    async fn stored(
        &self,
        tenant: &TenantName,
        digest: &Digest,
        new: bool,
    ) -> Result<Stored, ArtifactError> {
        let meta = self.0.store.get(tenant, digest);
        let meta = meta.ok_or(ArtifactError::NotFound(*digest))?;
        let inspection = self.inspect(digest).await?;
        Ok(Stored {
            meta,
            inspection,
            new,
        })
    }

    /// Runs disk work where it may block. It is finished even if the caller goes away.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> Result<T, ArtifactError> {
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .map_err(|e| ArtifactError::io("work on the disk")(io::Error::other(e)))
    }
}

impl Inner {
    /// The lock of those who work on this digest.
    fn flight(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(digest).and_then(Weak::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::default();
        flights.insert(*digest, Arc::downgrade(&flight));
        flight
    }

    /// The worker has to be the same program as this one and to have read the same bytes.
    fn same(&self, output: &compile::Output, digest: &Digest) -> Result<(), ArtifactError> {
        if output.compiled.engine != self.engine.hash() {
            let reason = "it is of another version than the host; restart the host".to_owned();
            return Err(CompileError::Worker(reason).into());
        }
        if output.compiled.digest != *digest {
            return Err(ArtifactError::DigestMismatch {
                expected: *digest,
                actual: output.compiled.digest,
            });
        }
        Ok(())
    }

    fn commit(
        &self,
        tenant: &TenantName,
        received: upload::Received,
        output: compile::Output,
    ) -> Result<(), ArtifactError> {
        let digest = received.digest;
        let bytes = output.compiled.size;
        let inspection = serde_json::to_vec(&output.compiled.inspection)
            .map_err(|e| ArtifactError::io("store an artifact")(io::Error::from(e)))?;
        // Compiled code first: the artifact exists once the store has committed, and not before.
        self.cache
            .insert(output, &self.store.temp_dir())
            .map_err(ArtifactError::io("store compiled code"))?;
        let stored = self
            .store
            .commit(tenant, digest, received.file, &inspection, bytes);
        if stored.is_err() {
            // Over quota, or the disk is full: take back what nothing refers to.
            let _ = self.cache.remove(&digest);
        }
        stored
    }

    /// Maps what was just committed, and takes it back when it asks for more memory, tables or instances
    /// than any sandbox has: it could never run.
    fn fits(&self, tenant: &TenantName, digest: &Digest) -> Result<(), ArtifactError> {
        let Err(error) = self.map(digest) else {
            return Ok(());
        };
        self.store.release(tenant, digest)?;
        self.cache
            .remove(digest)
            .map_err(ArtifactError::io("delete compiled code"))?;
        Err(match error {
            // Our own worker of this very version compiled it, so that the reason is the component's.
            ArtifactError::Load { source, .. } => ArtifactError::Refused(source.to_string()),
            other => other,
        })
    }

    fn inspection(&self, digest: &Digest) -> Result<Arc<Inspection>, ArtifactError> {
        if !self.store.contains(digest) {
            return Err(ArtifactError::NotFound(*digest));
        }
        let fail = || ArtifactError::io("read an inspection");
        let json = std::fs::read(self.store.inspection(digest)).map_err(fail())?;
        let inspection = serde_json::from_slice(&json).map_err(|e| fail()(io::Error::from(e)))?;
        Ok(Arc::new(inspection))
    }

    /// Maps the compiled code, if it is there and whole.
    fn load(&self, digest: &Digest) -> Result<Option<Arc<Prepared>>, ArtifactError> {
        let prepared = self.map(digest)?;
        if let Some(prepared) = &prepared {
            self.loaded.insert(*digest, Arc::clone(prepared));
        }
        Ok(prepared)
    }

    /// As [`Self::load`], without keeping it.
    fn map(&self, digest: &Digest) -> Result<Option<Arc<Prepared>>, ArtifactError> {
        let inspection = self.inspection(digest)?;
        let Some(file) = self.cache.verified(digest) else {
            return Ok(None);
        };
        let component = load::load(&self.engine, &file).map_err(|e| ArtifactError::Load {
            digest: *digest,
            source: e.into_boxed_dyn_error(),
        })?;
        tracing::debug!(%digest, bytes = file.size, "mapped a component");
        Ok(Some(Arc::new(Prepared {
            digest: *digest,
            component,
            inspection,
        })))
    }
}

/// The reason for the author stands for itself, without the compiler around it.
fn refused(error: CompileError) -> ArtifactError {
    match error {
        CompileError::Refused(reason) => ArtifactError::Refused(reason),
        other => ArtifactError::Compile(other),
    }
}
