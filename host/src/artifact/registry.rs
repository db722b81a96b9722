//! Artifacts that come from a registry, or go to one.

use std::io;

use ringfence_api::{Digest, TenantName};

use super::inspect::Inspection;
use super::oci::{self, OciError, REGISTRY_WALL, RegistryAuth};
use super::{ArtifactError, ArtifactMeta, Artifacts, COMPILE_WALL, ImagePin, Stored, Upload};

impl Artifacts {
    /// Pulls an image and pins its name to what it means now.
    ///
    /// # Errors
    /// The registry fails or may not be used, or the component is refused.
    pub async fn pull(
        &self,
        tenant: &TenantName,
        image: &str,
        auth: Option<RegistryAuth>,
    ) -> Result<Stored, ArtifactError> {
        let inner = &self.0;
        let mut session = oci::Session::new(&inner.registries, image, auth)?;
        let most = inner.store.limits().artifact_bytes;
        let pull = async {
            let download = session.download(most).await?;
            let upload = Upload::new(download.reader)
                .with_length(download.size)
                .with_digest(download.digest);
            let stored = self.put(tenant, upload).await?;
            Ok::<_, ArtifactError>((stored, download.manifest))
        };
        // The worker has its own limit of time, so only the network counts here in practice.
        let wall = REGISTRY_WALL + COMPILE_WALL;
        let (stored, manifest) = tokio::time::timeout(wall, pull)
            .await
            .map_err(|_| late(image))??;
        let digest = stored.meta.digest;
        let pin = ImagePin {
            tenant: tenant.clone(),
            image: image.to_owned(),
            manifest,
        };
        self.blocking(move |inner| inner.store.pin(pin, &digest))
            .await??;
        let new = stored.new;
        self.stored(tenant, &digest, new).await
    }

    /// Pushes an artifact of the tenant to a registry; returns the digest of the manifest.
    ///
    /// # Errors
    /// The artifact is not the tenant's, or the registry fails or may not be used.
    pub async fn push(
        &self,
        tenant: &TenantName,
        digest: &Digest,
        image: &str,
        auth: Option<RegistryAuth>,
    ) -> Result<Digest, ArtifactError> {
        let stored = self.stored(tenant, digest, false).await?;
        let inner = &self.0;
        let mut session = oci::Session::new(&inner.registries, image, auth)?;
        let (exports, imports) = names(&stored.inspection);
        let ArtifactMeta {
            size, created_ms, ..
        } = stored.meta;
        let documents = oci::document(digest, size, created_ms, exports, imports)
            .map_err(|e| ArtifactError::io("describe an artifact")(io::Error::from(e)))?;
        let blob = inner.store.blob(digest);
        tokio::time::timeout(REGISTRY_WALL, session.upload(&blob, digest, &documents))
            .await
            .map_err(|_| late(image))??;
        Ok(documents.manifest_digest)
    }

    /// Makes sure that the tenant has the component `digest`, which `image` meant when somebody looked: the
    /// component itself is asked for, whatever the image means by now.
    ///
    /// # Errors
    /// The registry has it no longer, fails or may not be used; or the component is refused.
    pub async fn fetch(
        &self,
        tenant: &TenantName,
        image: &str,
        digest: &Digest,
        auth: Option<RegistryAuth>,
    ) -> Result<(), ArtifactError> {
        let inner = &self.0;
        if inner.store.get(tenant, digest).is_some() {
            return Ok(());
        }
        let mut session = oci::Session::new(&inner.registries, image, auth)?;
        let fetch = async {
            let upload = Upload::new(session.component(digest).await?).with_digest(*digest);
            self.put(tenant, upload).await
        };
        tokio::time::timeout(REGISTRY_WALL + COMPILE_WALL, fetch)
            .await
            .map_err(|_| late(image))?
            .map(drop)
    }

    /// What an image means now, by the registry and not by what was pulled before; the tenant has it then.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub async fn current(
        &self,
        tenant: &TenantName,
        image: &str,
        auth: Option<RegistryAuth>,
    ) -> Result<Digest, ArtifactError> {
        let inner = &self.0;
        let mut session = oci::Session::new(&inner.registries, image, auth.clone())?;
        let meaning = tokio::time::timeout(REGISTRY_WALL, session.meaning());
        let (manifest, digest) = meaning.await.map_err(|_| late(image))??;
        if inner.store.get(tenant, &digest).is_none() {
            return Ok(self.pull(tenant, image, auth).await?.meta.digest);
        }
        let pin = ImagePin {
            tenant: tenant.clone(),
            image: image.to_owned(),
            manifest,
        };
        self.blocking(move |inner| inner.store.pin(pin, &digest))
            .await??;
        Ok(digest)
    }
}

fn late(image: &str) -> ArtifactError {
    ArtifactError::Oci(OciError::Unreachable {
        registry: image.to_owned(),
        reason: "it takes too long".into(),
    })
}

/// The names of a component's exports and imports, as its image describes them.
fn names(inspection: &Inspection) -> (Vec<String>, Vec<String>) {
    (inspection.export_names(), inspection.import_names())
}
