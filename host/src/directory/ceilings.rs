//! The ceilings of a host of its own: which tenants they bound, and what changes with them.
//!
//! Tenants have no namespace object here. The one label that each has is that which Kubernetes gives to
//! every namespace: `kubernetes.io/metadata.name`, its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringfence_api::{
    Capability, CeilingSpec, Grants, LimitsSpec, Name, NamedCeiling, Resource, TenantName,
    effective_grants, effective_limits, labels_of_name,
};

/// All ceilings by name. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Ceilings(Arc<BTreeMap<Name, Arc<CeilingSpec>>>);

/// The most that a resource can come to under its ceilings, whatever its component asks for.
#[derive(Debug, PartialEq)]
struct Most {
    grants: Grants,
    limits: LimitsSpec,
    /// Of a model.
    not_allowed: Option<String>,
}

impl Ceilings {
    /// Those that bound a tenant, by name.
    pub(crate) fn of(&self, tenant: &TenantName) -> Vec<NamedCeiling<'_>> {
        let labels = labels_of_name(tenant);
        let all = self.0.iter();
        all.filter(|(_, spec)| spec.tenants.selects(&labels))
            .map(|(name, spec)| NamedCeiling { name, spec })
            .collect()
    }

    /// With one more, or another in the place of the one of that name.
    pub(crate) fn with(&mut self, name: Name, spec: CeilingSpec) {
        Arc::make_mut(&mut self.0).insert(name, Arc::new(spec));
    }

    /// Whether a resource may do the same under both.
    pub(crate) fn same_for(&self, other: &Self, tenant: &TenantName, resource: &Resource) -> bool {
        most(resource, &self.of(tenant)) == most(resource, &other.of(tenant))
    }
}

fn most(resource: &Resource, ceilings: &[NamedCeiling<'_>]) -> Most {
    let bounded = |granted: &Grants, limits: &LimitsSpec| Most {
        grants: effective_grants(&Capability::ALL.into(), granted, ceilings).grants,
        limits: effective_limits(limits, ceilings).0,
        not_allowed: None,
    };
    match resource {
        Resource::Agent(spec) => bounded(&spec.component_grants(), &spec.limits),
        Resource::Tool(spec) => bounded(&spec.provider_grants(), &spec.limits),
        Resource::Model(spec) => Most {
            not_allowed: spec.not_allowed(ceilings),
            ..bounded(&Grants::default(), &LimitsSpec::default())
        },
        Resource::Ceiling(_) => bounded(&Grants::default(), &LimitsSpec::default()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tenant_is_selected_by_its_name() {
        let spec: CeilingSpec = serde_json::from_value(json!({
            "tenants": {"matchLabels": {"kubernetes.io/metadata.name": "low"}}, "allow": {}
        }))
        .unwrap();
        let mut ceilings = Ceilings::default();
        ceilings.with("c".parse().unwrap(), spec);
        let (low, high) = ("low".parse().unwrap(), "high".parse().unwrap());
        assert_eq!((ceilings.of(&low).len(), ceilings.of(&high).len()), (1, 0));
        let tool = serde_json::from_value(json!({
            "component": {"image": "r.test/t:1"}, "grants": {"clocks": true}
        }))
        .unwrap();
        let tool = Resource::Tool(tool);
        let none = Ceilings::default();
        assert!(
            !ceilings.same_for(&none, &low, &tool),
            "it loses its clocks"
        );
        assert!(ceilings.same_for(&none, &high, &tool));
    }
}
