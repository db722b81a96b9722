//! Artifacts that come from a registry, or go to one.
//!
//! Components are kept once for all tenants, but each of them has to show by itself that it may have one: by its
//! bytes, which it uploads or a registry gives it. What a resource names has to be readable for that very resource,
//! too: what was let read once, by everybody or with the login of a Secret, is noted, and everything else asks the
//! registry. Otherwise what runs would depend on what somebody else had pulled to the same host.

use std::io;

use futures::future::BoxFuture;
use ringfence_api::{Digest, TenantName};

use super::inspect::Inspection;
use super::oci::{self, Login, OciError, PullLogin, REGISTRY_WALL};
use super::{
    ArtifactError, ArtifactMeta, Artifacts, COMPILE_WALL, ImagePin, ImageRead, Stored, Upload,
};

/// What a registry gave, to whom.
struct Given<T> {
    session: oci::Session,
    what: T,
    /// The Secret whose login it took.
    secret: Option<String>,
}

impl Artifacts {
    /// Pulls an image for somebody who asks for it, and pins its name to what it means now.
    ///
    /// # Errors
    /// The registry fails or may not be used, or the component is refused.
    pub async fn pull(
        &self,
        tenant: &TenantName,
        image: &str,
        login: Option<Login>,
    ) -> Result<Stored, ArtifactError> {
        let pull = async {
            let mut session = oci::Session::new(&self.0.registries, image, login)?;
            let manifest = session.manifest().await?;
            self.download(tenant, image, session, manifest).await
        };
        let stored = in_time(image, pull).await?;
        self.give(tenant, &stored).await?;
        Ok(stored)
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
        login: Option<Login>,
    ) -> Result<Digest, ArtifactError> {
        let stored = self.stored(tenant, digest, false).await?;
        let inner = &self.0;
        let mut session = oci::Session::new(&inner.registries, image, login)?;
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

    /// Makes sure that the tenant has the component `digest`, which `image` meant when somebody looked, and that it
    /// may be run with these logins: the component itself is asked for, whatever the image means by now.
    ///
    /// # Errors
    /// The registry has it no longer, fails or may not be used; or the component is refused.
    pub async fn fetch(
        &self,
        tenant: &TenantName,
        image: &str,
        digest: &Digest,
        logins: &[PullLogin],
    ) -> Result<(), ArtifactError> {
        let store = &self.0.store;
        let repository = repository(image)?;
        let secrets: Vec<&str> = logins.iter().map(|login| &*login.secret).collect();
        if store.may_run(tenant, digest, &repository, &secrets) {
            return Ok(());
        }
        let wanted = *digest;
        let fetch = async {
            if store.get(tenant, digest).is_some() {
                // The tenant has its bytes. Whether this resource may have them is the registry's to say.
                let asked = self.ask(image, logins, |session| readable(session, wanted));
                return Ok(asked.await?.secret);
            }
            let asked = self.ask(image, logins, |session| component(session, wanted));
            let given = asked.await?;
            let upload = Upload::new(given.what).with_digest(wanted);
            self.keep(tenant, upload).await?;
            Ok(given.secret)
        };
        let secret = in_time(image, fetch).await?;
        self.note_read(tenant, repository, secret, wanted).await
    }

    /// What an image means now, by the registry and not by what was pulled before; the tenant has it then, and may
    /// run it with these logins.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub async fn current(
        &self,
        tenant: &TenantName,
        image: &str,
        logins: &[PullLogin],
    ) -> Result<Digest, ArtifactError> {
        let repository = repository(image)?;
        let find = async {
            let Given {
                session,
                what: manifest,
                secret,
            } = self.ask(image, logins, manifest).await?;
            let digest = session.component_of(&manifest)?;
            if self.0.store.get(tenant, &digest).is_none() {
                self.download(tenant, image, session, manifest).await?;
            } else {
                self.pin(tenant, image, manifest.digest, digest).await?;
            }
            Ok((digest, secret))
        };
        let (digest, secret) = in_time(image, find).await?;
        self.note_read(tenant, repository, secret, digest).await?;
        Ok(digest)
    }

    /// Downloads what a manifest names, and pins the image to it.
    async fn download(
        &self,
        tenant: &TenantName,
        image: &str,
        mut session: oci::Session,
        manifest: oci::Manifest,
    ) -> Result<Stored, ArtifactError> {
        let most = self.0.store.limits().artifact_bytes;
        let download = session.download(manifest, most).await?;
        let upload = Upload::new(download.reader)
            .with_length(download.size)
            .with_digest(download.digest);
        let stored = self.keep(tenant, upload).await?;
        let digest = stored.meta.digest;
        self.pin(tenant, image, download.manifest, digest).await?;
        let new = stored.new;
        self.stored(tenant, &digest, new).await
    }

    /// Asks a registry with each login until one is let in; without any, as everybody.
    async fn ask<T>(
        &self,
        image: &str,
        logins: &[PullLogin],
        ask: impl for<'s> Fn(&'s mut oci::Session) -> BoxFuture<'s, Result<T, OciError>>,
    ) -> Result<Given<T>, ArtifactError> {
        let registries = &self.0.registries;
        if logins.is_empty() {
            let mut session = oci::Session::new(registries, image, None)?;
            let what = ask(&mut session).await?;
            return Ok(Given {
                session,
                what,
                secret: None,
            });
        }
        let mut refused = None;
        for PullLogin { secret, login } in logins {
            let mut session = oci::Session::new(registries, image, Some(login.clone()))?;
            match ask(&mut session).await {
                Ok(what) => {
                    let secret = session.took_login().then(|| secret.clone());
                    return Ok(Given {
                        session,
                        what,
                        secret,
                    });
                }
                // Some registries hide from a login what it may not read.
                Err(error @ (OciError::Unauthorized { .. } | OciError::NotFound(_))) => {
                    refused = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let nobody = || OciError::Credentials("there are none".into());
        Err(refused.unwrap_or_else(nobody).into())
    }

    async fn pin(
        &self,
        tenant: &TenantName,
        image: &str,
        manifest: Digest,
        digest: Digest,
    ) -> Result<(), ArtifactError> {
        let pin = ImagePin {
            tenant: tenant.clone(),
            image: image.to_owned(),
            manifest,
        };
        self.blocking(move |inner| inner.store.pin(pin, &digest))
            .await?
    }

    async fn note_read(
        &self,
        tenant: &TenantName,
        repository: String,
        secret: Option<String>,
        digest: Digest,
    ) -> Result<(), ArtifactError> {
        let read = ImageRead {
            tenant: tenant.clone(),
            repository,
            secret,
        };
        self.blocking(move |inner| inner.store.note_read(read, &digest))
            .await?
    }
}

fn manifest(session: &mut oci::Session) -> BoxFuture<'_, Result<oci::Manifest, OciError>> {
    Box::pin(session.manifest())
}

fn readable(session: &mut oci::Session, digest: Digest) -> BoxFuture<'_, Result<(), OciError>> {
    Box::pin(async move { session.may_read(&digest).await })
}

fn component(
    session: &mut oci::Session,
    digest: Digest,
) -> BoxFuture<'_, Result<oci::Reader, OciError>> {
    Box::pin(async move { session.component(&digest).await })
}

fn repository(image: &str) -> Result<String, OciError> {
    let reference = oci::reference(image)?;
    let (registry, repository) = (reference.registry(), reference.repository());
    Ok(format!("{registry}/{repository}"))
}

/// The worker has its own limit of time, so only the network counts here in practice.
async fn in_time<T>(
    image: &str,
    work: impl Future<Output = Result<T, ArtifactError>>,
) -> Result<T, ArtifactError> {
    tokio::time::timeout(REGISTRY_WALL + COMPILE_WALL, work)
        .await
        .map_err(|_| late(image))?
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
