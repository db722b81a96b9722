//! Ceilings and tenants: which bounds which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringfence_api::{Ceiling, Name, TenantName, labels_of_name};

use super::version::newer;
use super::{Dirty, Index};

impl Index {
    /// The ceilings of a tenant, by name.
    pub fn ceilings_of(&self, tenant: &TenantName) -> Vec<(Name, Arc<Ceiling>)> {
        let unlabelled;
        let labels = match self.tenants.get(tenant) {
            Some(labels) => labels,
            // Its namespace was not seen yet: its name is known all the same.
            None => {
                unlabelled = labels_of_name(tenant);
                &unlabelled
            }
        };
        self.ceilings
            .iter()
            .filter(|(_, ceiling)| ceiling.spec.tenants.selects(labels))
            .map(|(name, ceiling)| (name.clone(), ceiling.clone()))
            .collect()
    }

    /// A ceiling, and how many tenants it bounds.
    pub fn ceiling(&self, name: &Name) -> Option<(Arc<Ceiling>, u32)> {
        let ceiling = self.ceilings.get(name)?;
        let bounded = self.selected(ceiling).count();
        Some((ceiling.clone(), u32::try_from(bounded).unwrap_or(u32::MAX)))
    }

    pub(super) fn put_ceiling(&mut self, ceiling: Arc<Ceiling>, dirty: &mut Dirty) {
        let Some(name) = ceiling
            .metadata
            .name
            .as_ref()
            .and_then(|name| name.parse().ok())
        else {
            return;
        };
        let before = self.ceilings.get(&name).cloned();
        if let Some(before) = &before
            && !newer(&ceiling.metadata, &before.metadata)
        {
            return;
        }
        let same = before
            .as_ref()
            .is_some_and(|before| before.spec == ceiling.spec);
        self.ceilings.insert(name.clone(), ceiling.clone());
        dirty.ceilings.insert(name);
        if same {
            return;
        }
        let tenants: BTreeSet<TenantName> = [Some(ceiling), before]
            .iter()
            .flatten()
            .flat_map(|ceiling| self.selected(ceiling).cloned())
            .collect();
        self.touch(tenants.iter(), dirty);
    }

    pub(super) fn remove_ceiling(&mut self, name: &Name, dirty: &mut Dirty) {
        if let Some(ceiling) = self.ceilings.remove(name) {
            let tenants: Vec<TenantName> = self.selected(&ceiling).cloned().collect();
            self.touch(tenants.iter(), dirty);
        }
    }

    pub(super) fn put_tenant(
        &mut self,
        tenant: TenantName,
        labels: BTreeMap<String, String>,
        dirty: &mut Dirty,
    ) {
        if self.tenants.get(&tenant) == Some(&labels) {
            return;
        }
        dirty.ceilings.extend(self.ceilings.keys().cloned());
        self.touch([&tenant].into_iter(), dirty);
        self.tenants.insert(tenant, labels);
    }

    fn selected<'a>(&'a self, ceiling: &'a Ceiling) -> impl Iterator<Item = &'a TenantName> {
        let selector = &ceiling.spec.tenants;
        let all = self.tenants.iter();
        all.filter(|(_, labels)| selector.selects(labels))
            .map(|(tenant, _)| tenant)
    }

    fn touch<'a>(&self, tenants: impl Iterator<Item = &'a TenantName>, dirty: &mut Dirty) {
        for tenant in tenants {
            let ids = self.of_tenant.get(tenant).into_iter().flatten();
            dirty.workloads.extend(ids.cloned());
            // The models of one tenant are few, and keys sort by tenant.
            let first = (tenant.clone(), Name::well_known("0"));
            let own = self.models.range(first..).map(|(key, _)| key);
            let own = own.take_while(|(of, _)| of == tenant);
            dirty.models.extend(own.cloned());
        }
    }
}
