//! Which Secrets the admitted resources of each tenant refer to, counted, and what hosts may read of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use ringfence_api::{Instance, Model, Name, SecretRef, TenantName, condition};

use super::version::newer;
use super::{Dirty, Index};
use crate::condition::holds;
use crate::key::InstanceKey;

/// What refers to Secrets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Referrer {
    Model(Name),
    Instance(String),
}

/// What was seen of the permission to read a tenant's Secrets.
#[derive(Debug, Clone)]
pub enum SecretAccess {
    /// The Role is there, or gone.
    Role(Option<Arc<Role>>),
    /// The RoleBinding is there, or gone.
    Binding(Option<Arc<RoleBinding>>),
}

/// Of one tenant.
#[derive(Debug, Default)]
struct Tenant {
    referrers: HashMap<Referrer, BTreeSet<String>>,
    /// How many refer to each.
    secrets: BTreeMap<String, usize>,
    role: Option<Arc<Role>>,
    binding: Option<Arc<RoleBinding>>,
}

/// Of all tenants.
#[derive(Debug, Default)]
pub(super) struct SecretUse(HashMap<TenantName, Tenant>);

/// What the plan for a tenant's Secrets is made from.
#[derive(Debug, Default)]
pub struct SecretView {
    /// Names of Secrets that admitted resources refer to.
    pub secrets: BTreeSet<String>,
    /// The Role that is there.
    pub role: Option<Arc<Role>>,
    /// The RoleBinding that is there.
    pub binding: Option<Arc<RoleBinding>>,
}

impl SecretUse {
    /// Notes what something refers to now. True when other Secrets than before are referred to.
    fn set(&mut self, tenant: &TenantName, referrer: Referrer, now: BTreeSet<String>) -> bool {
        if now.is_empty() && !self.0.contains_key(tenant) {
            return false;
        }
        let known = self.0.entry(tenant.clone()).or_default();
        let before = match now.is_empty() {
            true => known.referrers.remove(&referrer),
            false => known.referrers.insert(referrer, now.clone()),
        };
        let before = before.unwrap_or_default();
        let mut changed = false;
        for added in now.difference(&before) {
            let count = known.secrets.entry(added.clone()).or_default();
            *count += 1;
            changed |= *count == 1;
        }
        for removed in before.difference(&now) {
            if let Some(count) = known.secrets.get_mut(removed) {
                *count -= 1;
                if *count == 0 {
                    known.secrets.remove(removed);
                    changed = true;
                }
            }
        }
        self.forget_if_empty(tenant);
        changed
    }

    fn forget_if_empty(&mut self, tenant: &TenantName) {
        let is_empty = |known: &Tenant| {
            known.referrers.is_empty() && known.role.is_none() && known.binding.is_none()
        };
        if self.0.get(tenant).is_some_and(is_empty) {
            self.0.remove(tenant);
        }
    }
}

impl Index {
    /// What the plan for a tenant's Secrets is made from.
    pub fn secrets(&self, tenant: &TenantName) -> SecretView {
        let Some(known) = self.secrets.0.get(tenant) else {
            return SecretView::default();
        };
        SecretView {
            secrets: known.secrets.keys().cloned().collect(),
            role: known.role.clone(),
            binding: known.binding.clone(),
        }
    }

    /// Whether a namespace is there.
    pub fn has_tenant(&self, tenant: &TenantName) -> bool {
        self.tenants.contains_key(tenant)
    }

    /// A model is about to be accepted, or refused. True when its tenant's hosts need other Secrets now.
    pub fn admit_model(&mut self, tenant: &TenantName, name: &Name, admitted: bool) -> bool {
        let model = self.models.get(&(tenant.clone(), name.clone()));
        let named = model
            .filter(|_| admitted)
            .map(|model| names(model.spec.secrets()));
        let referrer = Referrer::Model(name.clone());
        self.secrets
            .set(tenant, referrer, named.unwrap_or_default())
    }

    /// Takes in a model as it is now. One that is not decided about keeps what it had.
    pub(super) fn count_model(
        &mut self,
        tenant: &TenantName,
        name: &Name,
        model: &Model,
        dirty: &mut Dirty,
    ) {
        let status = model.status.as_ref();
        let decided =
            status.filter(|status| status.observed_generation == model.metadata.generation);
        if let Some(status) = decided
            && self.admit_model(tenant, name, holds(&status.conditions, condition::READY))
        {
            dirty.secrets.insert(tenant.clone());
        }
    }

    pub(super) fn forget_model(&mut self, tenant: &TenantName, name: &Name, dirty: &mut Dirty) {
        let referrer = Referrer::Model(name.clone());
        if self.secrets.set(tenant, referrer, BTreeSet::new()) {
            dirty.secrets.insert(tenant.clone());
        }
    }

    /// Takes in an instance: what is not pinned refers only to what it takes to pull its component.
    pub(super) fn count_secrets(
        &mut self,
        key: &InstanceKey,
        instance: Option<&Instance>,
        dirty: &mut Dirty,
    ) {
        let living = instance.filter(|i| i.metadata.deletion_timestamp.is_none());
        let named = living.map(|instance| {
            let mut named = names(instance.spec.secrets());
            let pull = instance.spec.pull_secrets();
            named.extend(names(pull.iter().map(|(one, field)| (one, field.clone()))));
            named
        });
        let referrer = Referrer::Instance(key.name.clone());
        if self
            .secrets
            .set(&key.tenant, referrer, named.unwrap_or_default())
        {
            dirty.secrets.insert(key.tenant.clone());
        }
    }

    pub(super) fn put_access(
        &mut self,
        tenant: TenantName,
        access: SecretAccess,
        dirty: &mut Dirty,
    ) {
        let known = self.secrets.0.entry(tenant.clone()).or_default();
        match access {
            SecretAccess::Role(Some(role)) => {
                let before = known.role.as_ref();
                if before.is_none_or(|before| newer(&role.metadata, &before.metadata)) {
                    known.role = Some(role);
                }
            }
            SecretAccess::Binding(Some(binding)) => {
                let before = known.binding.as_ref();
                if before.is_none_or(|before| newer(&binding.metadata, &before.metadata)) {
                    known.binding = Some(binding);
                }
            }
            SecretAccess::Role(None) => known.role = None,
            SecretAccess::Binding(None) => known.binding = None,
        }
        self.secrets.forget_if_empty(&tenant);
        dirty.secrets.insert(tenant);
    }
}

fn names<'a>(references: impl IntoIterator<Item = (&'a SecretRef, String)>) -> BTreeSet<String> {
    let secrets = references.into_iter().filter_map(|(one, _)| one.secret());
    secrets.map(|secret| secret.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(all: &mut SecretUse, referrer: &str, now: &[&str]) -> bool {
        let now = now.iter().map(|name| (*name).to_owned()).collect();
        let referrer = Referrer::Instance(referrer.to_owned());
        all.set(&TenantName::default(), referrer, now)
    }

    #[test]
    fn a_secret_counts_until_nothing_refers_to_it() {
        let mut all = SecretUse::default();
        assert!(!set(&mut all, "none", &[]));
        assert!(set(&mut all, "one", &["a", "b"]));
        assert!(!set(&mut all, "two", &["a"]));
        assert!(!set(&mut all, "one", &["a", "b"]));
        assert!(set(&mut all, "one", &["a"]));
        assert!(!set(&mut all, "one", &[]));
        assert!(set(&mut all, "two", &[]));
        assert!(
            all.0.is_empty(),
            "nothing is kept of what refers to nothing"
        );
    }

    #[test]
    fn what_it_takes_to_pull_a_component_counts_before_it_is_pinned() {
        let spec = |pinned: serde_json::Value| {
            let instance = serde_json::json!({
                "apiVersion": "ringfence.dev/v1alpha1", "kind": "Instance", "metadata": {"name": "x"},
                "spec": {
                    "workload": {"tool": {
                        "component": {"image": "r/a:1", "imagePullSecrets": [{"name": "pull"}]},
                        "grants": {"http": [{"host": "a.test", "headers": [
                            {"name": "x", "valueFrom": {"secret": {"name": "granted", "key": "k"}}},
                        ]}]},
                    }},
                    "generation": 1, "requests": {},
                    "placement": {"pool": "p", "trustClass": "default"}, "pinned": pinned,
                },
            });
            serde_json::from_value::<Instance>(instance).unwrap()
        };
        let named = |instance: &Instance| {
            let mut index = Index::default();
            let tenant = TenantName::default();
            let key = InstanceKey {
                tenant: tenant.clone(),
                name: "x".into(),
            };
            index.count_secrets(&key, Some(instance), &mut Dirty::default());
            let names: Vec<String> = index.secrets(&tenant).secrets.into_iter().collect();
            names
        };
        assert_eq!(named(&spec(serde_json::Value::Null)), ["pull"]);
        let grants = serde_json::json!({"grants": {"http": [{"host": "a.test", "headers": [
            {"name": "x", "valueFrom": {"secret": {"name": "granted", "key": "k"}}},
        ]}]}});
        assert_eq!(named(&spec(grants)), ["granted", "pull"]);
    }
}
