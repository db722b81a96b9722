//! What an instance needs before it can be called: the Secrets that it takes to pull its component, and beside its
//! component its Secrets and the models that it was granted.

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
    /// Until the component is here.
    pull: Option<Held>,
    secrets: Held,
    models: HeldModels,
}

impl Needs {
    pub(super) fn of(shared: &Shared, tenant: &TenantName, spec: &InstanceSpec) -> Self {
        let granted = spec.pinned.iter().flat_map(|pinned| &pinned.grants.models);
        let names: Vec<&Name> = granted.map(|grant| &grant.name).collect();
        let pull = spec.pull_secrets();
        let pull = pull.iter().map(|(one, field)| (one, field.clone()));
        Self {
            pull: Some(shared.secrets.hold(tenant, pull.collect())),
            secrets: shared.secrets.hold(tenant, spec.secrets()),
            models: shared.models.hold(tenant, names.into_iter()),
        }
    }

    /// Why the component cannot be pulled now.
    pub(super) fn pull_trouble(&self) -> Option<Unresolved> {
        self.pull.as_ref().and_then(Held::trouble)
    }

    /// The component is here: what runs does not depend on what it took to pull it.
    pub(super) fn pulled(&mut self) {
        self.pull = None;
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
        self.secrets.are_followed() && self.pull.as_ref().is_none_or(Held::are_followed)
    }

    /// Waits until all can be had, but not for long.
    pub(super) async fn wait(&mut self) {
        self.secrets.follow_rest();
        if let Some(pull) = &mut self.pull {
            pull.follow_rest();
        }
        let there = async {
            while self.pull_trouble().is_some() || self.trouble().is_some() {
                self.changed().await;
            }
        };
        drop(tokio::time::timeout(PATIENCE, there).await);
    }

    /// Waits until something of it is another than when this was asked last.
    pub(super) async fn changed(&mut self) {
        let pull = async {
            match &mut self.pull {
                Some(pull) => pull.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = pull => {}
            () = self.secrets.changed() => {}
            () = self.models.changed() => {}
        }
    }
}
