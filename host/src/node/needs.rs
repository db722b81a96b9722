//! What an instance needs beside its component before it can be called: its Secrets, and the models that it was
//! granted.

use std::time::Duration;

use ringfence_api::{InstanceSpec, Name, TenantName};

use super::Shared;
use super::known_models::HeldModels;
use super::secrets::Held;
use crate::directory::status::Unresolved;

/// How long a new instance waits before it says what it lacks: the permission to read a Secret is made while it
/// starts, and a model that is applied with it may come a moment later.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one instance needs, followed until it is dropped.
pub(super) struct Needs {
    secrets: Held,
    models: HeldModels,
}

impl Needs {
    pub(super) fn of(shared: &Shared, tenant: &TenantName, spec: &InstanceSpec) -> Self {
        let granted = spec.pinned.iter().flat_map(|pinned| &pinned.grants.models);
        let names: Vec<&Name> = granted.map(|grant| &grant.name).collect();
        Self {
            secrets: shared.secrets.hold(tenant, spec.secrets()),
            models: shared.models.hold(tenant, names.into_iter()),
        }
    }

    /// Whether it is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.models.is_empty()
    }

    /// What of it cannot be had now, and why.
    pub(super) fn trouble(&self) -> Option<Unresolved> {
        self.secrets.trouble().or_else(|| self.models.trouble())
    }

    /// Whether all of it is followed, so that [`Self::changed`] tells of every change.
    pub(super) fn tells(&self) -> bool {
        self.secrets.are_followed()
    }

    /// Waits until all can be had, but not for long.
    pub(super) async fn wait(&mut self) {
        self.secrets.follow_rest();
        let there = async {
            while self.trouble().is_some() {
                self.changed().await;
            }
        };
        drop(tokio::time::timeout(PATIENCE, there).await);
    }

    /// Waits until something of it is another than when this was asked last.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            () = self.secrets.changed() => {}
            () = self.models.changed() => {}
        }
    }
}
