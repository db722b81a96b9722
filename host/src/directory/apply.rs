//! Control: the one way in which resources change, and the one place that reads them.
//!
//! ```text
//! validate (api) → resolve → store (durable) → directory (calls see it)
//! ```
//! Changes are made one after the other, so that what is stored and what runs never differ in order.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::StreamExt as _;
use parking_lot::RwLock;
use ringfence_api::{Digest, Kind, Manifest, Name, Problem, Resource, TenantName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Directory;
use super::ceilings::Ceilings;
use super::offers::Offers;
use super::resolve::{Resolved, Resolver, system_tenant};
use super::status::{Status, Unresolved};
use super::store::{Key, Store, StoreError, Stored};
use crate::artifact::{ArtifactError, Artifacts};
use crate::egress::Egress;
use crate::error::CallError;

/// Resources that one tenant may have.
pub const TENANT_RESOURCES: usize = 50_000;
/// Resources that are resolved at the same time: each may wait for a registry.
const RESOLVING: usize = 8;

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Created,
    /// It was changed.
    Configured,
    /// It was like this already.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// A change to one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The resource.
    pub key: Key,
    /// What happened to it.
    pub change: Change,
    /// Its generation after that.
    pub generation: u64,
}

/// Why resources were not changed. Then none was.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The manifests are wrong, or ask for what the host does not have.
    #[error("{}", .0.first().map_or_else(String::new, ToString::to_string))]
    Invalid(Vec<Problem>),
    /// They come from elsewhere.
    #[error("{key} comes from the manifest folder, file {file}: change or remove it there")]
    FromFolder {
        /// The resource.
        key: Key,
        /// The file.
        file: String,
    },
    /// There is no such resource.
    #[error("there is no {0}")]
    NotFound(Key),
    /// A tenant has too many.
    #[error("tenant {0} may have {TENANT_RESOURCES} resources: delete some first")]
    TooMany(TenantName),
    /// The tenant is the host's own.
    #[error("tenant {} belongs to the host: use another one", TenantName::SYSTEM)]
    SystemTenant,
    /// The state cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The built-in components cannot be used.
    #[error("the built-in components cannot be prepared")]
    BuiltIn(#[source] ArtifactError),
}

impl From<&ControlError> for CallError {
    fn from(error: &ControlError) -> Self {
        match error {
            ControlError::Invalid(_) | ControlError::FromFolder { .. } => {
                CallError::Invalid(error.to_string())
            }
            ControlError::NotFound(_) => CallError::NotFound(error.to_string()),
            ControlError::TooMany(_) => {
                CallError::limit("tenant-resources", TENANT_RESOURCES as u64)
            }
            ControlError::SystemTenant => {
                CallError::denied("tenants", TenantName::SYSTEM, "it belongs to the host")
            }
            ControlError::Store(_) | ControlError::BuiltIn(_) => {
                CallError::Unavailable("the host cannot keep its state".to_owned())
            }
        }
    }
}

/// A resource with its status.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// As it is kept.
    pub stored: Stored,
    /// What the host says about it.
    pub status: Status,
}

/// The resources of a host. Shared behind an `Arc`.
pub struct Control {
    store: Store,
    resolver: Resolver,
    directory: Arc<Directory>,
    artifacts: Artifacts,
    unresolved: RwLock<HashMap<Key, Unresolved>>,
    ceilings: RwLock<Ceilings>,
    /// Held while resources change.
    pub(super) changing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Control {
    /// Opens the state in `file` and makes run what is in it. A resource that cannot run (any more)
    /// is kept, and its status says why. Blocks on the disk for a moment.
    ///
    /// # Errors
    /// The state cannot be read, or the built-in components cannot be prepared.
    pub async fn open(
        file: &Path,
        directory: Arc<Directory>,
        artifacts: Artifacts,
        egress: Egress,
        offers: Offers,
    ) -> Result<Self, ControlError> {
        let store = Store::open(file)?;
        let resolver = Resolver::new(artifacts.clone(), egress, offers)
            .await
            .map_err(ControlError::BuiltIn)?;
        let control = Self {
            store,
            resolver,
            directory,
            artifacts,
            unresolved: RwLock::default(),
            ceilings: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
        };
        let all = control.store.list(None, None).await?;
        // Before anything that they bound.
        control.ceilings.write().clone_from(&ceilings_of(&all));
        control.start(all).await?;
        Ok(control)
    }

    /// Creates or changes resources: all of them, or none. With `dry_run` it only says what would
    /// happen.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn apply(
        &self,
        manifests: Vec<Manifest>,
        dry_run: bool,
    ) -> Result<Vec<Changed>, ControlError> {
        let _changing = self.changing.lock().await;
        let plan = self.plan(manifests, None).await?;
        self.room(&plan).await?;
        let mut put = Vec::new();
        let mut changed = Vec::with_capacity(plan.len());
        for Step { stored, change } in plan {
            let key = Key::of(&stored.manifest);
            changed.push(Changed {
                key: key.clone(),
                change,
                generation: stored.generation,
            });
            // Applying again is how one says "try again".
            if change != Change::Unchanged || self.unresolved.read().contains_key(&key) {
                put.push(stored);
            }
        }
        let resolved = self.resolve_all(put).await;
        let problems: Vec<Problem> = resolved.iter().filter_map(problem).collect();
        if !problems.is_empty() {
            return Err(ControlError::Invalid(problems));
        }
        if !dry_run {
            let stored = resolved.iter().map(|(stored, _)| stored.clone()).collect();
            self.store.write(stored, Vec::new()).await?;
            self.publish(resolved);
            self.follow_ceilings().await?;
        }
        Ok(changed)
    }

    /// Removes a resource. Calls that run are finished.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub async fn delete(&self, key: &Key) -> Result<(), ControlError> {
        let _changing = self.changing.lock().await;
        let stored = self.store.get(key).await?;
        let stored = stored.ok_or_else(|| ControlError::NotFound(key.clone()))?;
        if let Some(file) = stored.file {
            return Err(ControlError::FromFolder {
                key: key.clone(),
                file,
            });
        }
        self.store.write(Vec::new(), vec![key.clone()]).await?;
        self.withdraw(key);
        if key.kind == Kind::Ceiling {
            self.follow_ceilings().await?;
        }
        Ok(())
    }

    /// Lets the ceilings that are kept be in force, and everything that may do something else under them
    /// than before be resolved anew.
    ///
    /// # Errors
    /// The state cannot be read or written.
    pub(super) async fn follow_ceilings(&self) -> Result<(), ControlError> {
        let system = system_tenant();
        let kept = self.store.list(Some(system), Some(Kind::Ceiling)).await?;
        let now = ceilings_of(&kept);
        let before = std::mem::replace(&mut *self.ceilings.write(), now.clone());
        if before == now {
            return Ok(());
        }
        let mut all = self.store.list(None, None).await?;
        all.retain(|stored| {
            let tenant = &stored.manifest.metadata.namespace;
            !before.same_for(&now, tenant, &stored.manifest.resource)
        });
        self.start(all).await
    }

    /// One resource with its status.
    ///
    /// # Errors
    /// There is none, or the state cannot be read.
    pub async fn get(&self, key: &Key) -> Result<View, ControlError> {
        let stored = self.store.get(key).await?;
        Ok(self.view(stored.ok_or_else(|| ControlError::NotFound(key.clone()))?))
    }

    /// The resources of a tenant, of one kind or of all, by kind and name.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn list(
        &self,
        tenant: &TenantName,
        kind: Option<Kind>,
    ) -> Result<Vec<View>, ControlError> {
        let stored = self.store.list(Some(tenant.clone()), kind).await?;
        Ok(stored.into_iter().map(|stored| self.view(stored)).collect())
    }

    /// Takes an artifact from a tenant, unless one of its resources runs it.
    ///
    /// # Errors
    /// As [`Artifacts::delete`].
    pub async fn delete_artifact(
        &self,
        tenant: &TenantName,
        digest: &Digest,
    ) -> Result<(), ArtifactDeleteError> {
        let _changing = self.changing.lock().await;
        let user = self.store.uses(tenant, digest).await?;
        self.artifacts
            .delete(tenant, digest, || user.is_some())
            .await?;
        Ok(())
    }

    /// Tries again to make run what does not: after an upload, or after a while.
    ///
    /// # Errors
    /// The state cannot be read or written.
    pub async fn retry(&self, tenant: Option<&TenantName>) -> Result<(), ControlError> {
        let _changing = self.changing.lock().await;
        let keys: Vec<Key> = self
            .unresolved
            .read()
            .keys()
            .filter(|key| tenant.is_none_or(|tenant| key.tenant == *tenant))
            .cloned()
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        let stored = self.store.find(keys).await?;
        self.start(stored.into_iter().flatten().collect()).await
    }

    /// Resolves and publishes what is stored already; pins that are new are kept.
    async fn start(&self, all: Vec<Stored>) -> Result<(), ControlError> {
        let before: HashMap<Key, Option<Digest>> = all
            .iter()
            .map(|stored| (Key::of(&stored.manifest), stored.digest))
            .collect();
        let resolved = self.resolve_all(all).await;
        let pinned: Vec<Stored> = resolved
            .iter()
            .filter(|(stored, _)| before.get(&Key::of(&stored.manifest)) != Some(&stored.digest))
            .map(|(stored, _)| stored.clone())
            .collect();
        if !pinned.is_empty() {
            self.store.write(pinned, Vec::new()).await?;
        }
        self.publish(resolved);
        Ok(())
    }

    /// What each manifest would do. `file` is the file of the manifest folder that it comes from.
    pub(super) async fn plan(
        &self,
        manifests: Vec<Manifest>,
        file: Option<&str>,
    ) -> Result<Vec<Step>, ControlError> {
        let is_foreign =
            |m: &Manifest| m.kind().is_of_tenants() && m.metadata.namespace.is_system();
        if manifests.iter().any(is_foreign) {
            return Err(ControlError::SystemTenant);
        }
        let keys: Vec<Key> = manifests.iter().map(Key::of).collect();
        let found = self.store.find(keys.clone()).await?;
        let now = now_ms();
        let mut steps = Vec::with_capacity(manifests.len());
        for ((manifest, key), old) in manifests.into_iter().zip(keys).zip(found) {
            let Some(old) = old else {
                let stored = Stored {
                    manifest,
                    generation: 1,
                    digest: None,
                    file: file.map(ToOwned::to_owned),
                    created_ms: now,
                    updated_ms: now,
                };
                steps.push(Step {
                    stored,
                    change: Change::Created,
                });
                continue;
            };
            if let (Some(other), None) = (&old.file, file) {
                return Err(ControlError::FromFolder {
                    key,
                    file: other.clone(),
                });
            }
            let same_spec = old.manifest.resource == manifest.resource;
            let same = same_spec && old.manifest == manifest && old.file.as_deref() == file;
            let stored = match same {
                true => old,
                false => Stored {
                    manifest,
                    generation: old.generation + u64::from(!same_spec),
                    // Another spec is another pin; the same one keeps what it runs.
                    digest: old.digest.filter(|_| same_spec),
                    file: file.map(ToOwned::to_owned),
                    created_ms: old.created_ms,
                    updated_ms: now,
                },
            };
            let change = if same {
                Change::Unchanged
            } else {
                Change::Configured
            };
            steps.push(Step { stored, change });
        }
        Ok(steps)
    }

    async fn room(&self, plan: &[Step]) -> Result<(), ControlError> {
        let mut created: HashMap<&TenantName, usize> = HashMap::new();
        for step in plan.iter().filter(|step| step.change == Change::Created) {
            *created
                .entry(&step.stored.manifest.metadata.namespace)
                .or_default() += 1;
        }
        for (tenant, new) in created {
            if self.store.count(tenant).await? + new > TENANT_RESOURCES {
                return Err(ControlError::TooMany(tenant.clone()));
            }
        }
        Ok(())
    }

    pub(super) async fn resolve_all(&self, all: Vec<Stored>) -> Vec<Attempt> {
        let ceilings = &self.ceilings.read().clone();
        futures::stream::iter(all)
            .map(|mut stored| async move {
                let attempt = self.resolver.resolve(&mut stored, ceilings).await;
                (stored, attempt)
            })
            .buffered(RESOLVING)
            .collect()
            .await
    }

    /// Lets calls see what was resolved, and statuses what was not.
    pub(super) fn publish(&self, attempts: Vec<Attempt>) {
        let mut unresolved = self.unresolved.write();
        let mut ready = Vec::with_capacity(attempts.len());
        for (stored, attempt) in attempts {
            let key = Key::of(&stored.manifest);
            match attempt {
                Ok(resolved) => {
                    unresolved.remove(&key);
                    ready.push((key, resolved));
                }
                Err(why) => {
                    tracing::warn!(resource = %key, reason = why.reason, "not ready: {why}");
                    // What ran under this name before is not what was asked for now.
                    self.directory.remove(&key.tenant, key.kind, &key.name);
                    unresolved.insert(key, why);
                }
            }
        }
        drop(unresolved);
        for (key, resolved) in ready {
            match resolved {
                Resolved::Instance(instance) => self.directory.put_instance(instance),
                Resolved::Model(model) => self.directory.put_model(&key.tenant, key.name, model),
                // See `follow_ceilings`.
                Resolved::Ceiling => {}
            }
        }
    }

    /// Lets calls no longer see a resource.
    pub(super) fn withdraw(&self, key: &Key) {
        self.unresolved.write().remove(key);
        self.directory.remove(&key.tenant, key.kind, &key.name);
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    fn view(&self, stored: Stored) -> View {
        let key = Key::of(&stored.manifest);
        let view = self.directory.view(&key.tenant);
        let instance = match key.kind {
            Kind::Agent => view.agents.get(&key.name),
            Kind::Tool => view.tools.get(&key.name),
            Kind::Model | Kind::Ceiling => None,
        };
        let ceilings = self.ceilings.read().clone();
        let status = match instance {
            Some(instance) => {
                let unresolved = self.unresolved.read();
                let refused = |model: &Name| {
                    let key = Key {
                        kind: Kind::Model,
                        name: model.clone(),
                        ..key.clone()
                    };
                    unresolved.get(&key).map(ToString::to_string)
                };
                let ceilings = ceilings.of(&key.tenant);
                Status::instance(&stored, instance, &view, &ceilings, refused)
            }
            None if key.kind == Kind::Ceiling => {
                let tenants = self.directory.tenants();
                let bounded = |tenant: &&TenantName| {
                    let mut of = ceilings.of(tenant).into_iter();
                    of.any(|ceiling| *ceiling.name == key.name)
                };
                Status::ceiling(&stored, tenants.iter().filter(bounded).count())
            }
            None if key.kind == Kind::Model && view.models.contains_key(&key.name) => {
                Status::model(&stored)
            }
            None => Status::unresolved(&stored, self.unresolved.read().get(&key)),
        };
        View { stored, status }
    }
}

fn ceilings_of(all: &[Stored]) -> Ceilings {
    let mut ceilings = Ceilings::default();
    for stored in all {
        if let Resource::Ceiling(spec) = &stored.manifest.resource {
            ceilings.with(stored.manifest.metadata.name.clone(), (**spec).clone());
        }
    }
    ceilings
}

/// Why an artifact was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactDeleteError {
    /// The artifacts refuse.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The state cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What one manifest would do.
pub(super) struct Step {
    pub(super) stored: Stored,
    pub(super) change: Change,
}

/// A resource and what became of it.
pub(super) type Attempt = (Stored, Result<Resolved, Unresolved>);

/// What the author of a manifest is told when it cannot run.
pub(super) fn problem((stored, attempt): &Attempt) -> Option<Problem> {
    let why = attempt.as_ref().err()?;
    Some(Problem {
        resource: Some(stored.manifest.to_string()),
        ..Problem::new(why.field.clone(), why.message.clone())
    })
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
