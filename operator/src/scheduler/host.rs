//! What the scheduler knows of a host.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use ringfence_api::{Digest, Isolation, Name, Resources, TenantName};

use super::{InstanceState, score};
use crate::key::InstanceKey;

/// What a host offers, by its own object, its pool and its Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// Its pool.
    pub pool: Name,
    /// Its zone.
    pub zone: Option<String>,
    /// It is alive and says that it is ready.
    pub ready: bool,
    /// It is cordoned or draining.
    pub unschedulable: bool,
    /// It has little memory left.
    pub memory_pressure: bool,
    /// What its instances may use.
    pub allocatable: Resources,
    /// Trust classes that its pool takes.
    pub trust_classes: Arc<[Name]>,
    /// Whether its pool gives each host to one tenant.
    pub isolation: Isolation,
    /// Components that it has prepared.
    pub artifacts: Arc<HashSet<Digest>>,
}

/// A host, and what runs there.
#[derive(Debug)]
pub struct HostState {
    pub(super) availability: Availability,
    pub(super) used: Resources,
    instances: BTreeSet<InstanceKey>,
    pub(super) tenants: BTreeMap<TenantName, Occupancy>,
    /// Instances, of whichever tenant, that share the host with no other tenant.
    pub(super) dedicated: u32,
    /// Of its name: ties between hosts are broken by it.
    pub(super) hash: u64,
}

/// Instances of one tenant on one host.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Occupancy {
    pub(super) instances: u32,
    /// Those that share the host with no other tenant.
    pub(super) dedicated: u32,
}

impl HostState {
    pub(super) fn new(name: &Name, availability: Availability) -> Self {
        Self {
            availability,
            used: Resources::default(),
            instances: BTreeSet::new(),
            tenants: BTreeMap::new(),
            dedicated: 0,
            hash: score::hash(name.as_str()),
        }
    }

    /// What it offers.
    pub fn availability(&self) -> &Availability {
        &self.availability
    }

    /// What its instances use.
    pub fn used(&self) -> Resources {
        self.used
    }

    /// Its instances.
    pub fn instances(&self) -> impl Iterator<Item = &InstanceKey> {
        self.instances.iter()
    }

    /// Tenants that have instances there.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantName> {
        self.tenants.keys()
    }

    pub(super) fn add(&mut self, key: InstanceKey, instance: &InstanceState) {
        self.used.memory_bytes += instance.requests.memory_bytes;
        self.used.cpu_millis += instance.requests.cpu_millis;
        self.used.instances += 1;
        let occupancy = self.tenants.entry(key.tenant.clone()).or_default();
        occupancy.instances += 1;
        occupancy.dedicated += dedicated(instance);
        self.dedicated += dedicated(instance);
        self.instances.insert(key);
    }

    pub(super) fn remove(&mut self, key: &InstanceKey, instance: &InstanceState) {
        if !self.instances.remove(key) {
            return;
        }
        self.dedicated -= dedicated(instance);
        self.used.memory_bytes -= instance.requests.memory_bytes;
        self.used.cpu_millis -= instance.requests.cpu_millis;
        self.used.instances -= 1;
        if let Some(occupancy) = self.tenants.get_mut(&key.tenant) {
            occupancy.instances -= 1;
            occupancy.dedicated -= dedicated(instance);
            if occupancy.instances == 0 {
                self.tenants.remove(&key.tenant);
            }
        }
    }
}

fn dedicated(instance: &InstanceState) -> u32 {
    u32::from(instance.placement.isolation == Isolation::Dedicated)
}
