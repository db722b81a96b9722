//! Hosts, their pools, and whether they are alive.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

use ringfence_api::{
    DEFAULT_TRUST_CLASS, Host, HostPool, HostPoolSpec, Isolation, Name, condition,
};

use super::version::newer;
use super::{Dirty, Index};
use crate::condition::holds;
use crate::key::InstanceKey;
use crate::liveness::Life;
use crate::scheduler::Availability;

static DEFAULT_CLASSES: LazyLock<Arc<[Name]>> =
    LazyLock::new(|| Arc::new([Name::well_known(DEFAULT_TRUST_CLASS)]));

/// Hosts and pools.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    hosts: BTreeMap<Name, Known>,
    pools: BTreeMap<Name, Arc<HostPool>>,
}

#[derive(Debug)]
struct Known {
    host: Arc<Host>,
    life: Life,
}

/// A host as other parts of the operator see it.
#[derive(Debug, Clone)]
pub struct HostView {
    /// The object.
    pub host: Arc<Host>,
    /// Whether it is alive.
    pub life: Life,
}

impl HostView {
    /// Whether it is not lost.
    pub fn is_alive(&self) -> bool {
        self.life == Life::Alive
    }
}

impl Known {
    fn is_alive(&self) -> bool {
        self.life == Life::Alive
    }
}

impl Hosts {
    pub(super) fn knows(&self, name: &Name) -> bool {
        self.hosts.contains_key(name)
    }

    fn availability(&self, known: &Known) -> Availability {
        let Host { spec, status, .. } = &*known.host;
        let status = status.clone().unwrap_or_default();
        let pool = self.pools.get(&spec.pool).map(|pool| &pool.spec);
        let classes = pool.and_then(|pool: &HostPoolSpec| pool.trust_classes.as_ref());
        Availability {
            pool: spec.pool.clone(),
            zone: spec.zone.clone(),
            ready: known.is_alive() && holds(&status.conditions, condition::READY),
            unschedulable: spec.unschedulable || spec.draining,
            memory_pressure: holds(&status.conditions, condition::MEMORY_PRESSURE),
            allocatable: status.allocatable,
            trust_classes: classes.map_or_else(
                || DEFAULT_CLASSES.clone(),
                |classes| classes.as_slice().into(),
            ),
            isolation: pool.map_or(Isolation::default(), |pool| pool.isolation),
            artifacts: Arc::new(status.artifacts.into_iter().collect::<HashSet<_>>()),
        }
    }
}

impl Index {
    /// A host.
    pub fn host(&self, name: &Name) -> Option<HostView> {
        self.hosts.hosts.get(name).map(|known| HostView {
            host: known.host.clone(),
            life: known.life,
        })
    }

    /// All hosts by name.
    pub fn hosts(&self) -> impl Iterator<Item = (&Name, HostView)> {
        self.hosts.hosts.iter().map(|(name, known)| {
            let view = HostView {
                host: known.host.clone(),
                life: known.life,
            };
            (name, view)
        })
    }

    /// A pool, how many hosts it has, and how many of them take instances.
    pub fn pool(&self, name: &Name) -> Option<(Arc<HostPool>, u32, u32)> {
        let pool = self.hosts.pools.get(name)?;
        let of_pool = || {
            self.cluster
                .hosts()
                .map(|(_, host)| host.availability())
                .filter(|offered| offered.pool == *name)
        };
        let count = |hosts: usize| u32::try_from(hosts).unwrap_or(u32::MAX);
        let taking = of_pool().filter(|offered| offered.ready && !offered.unschedulable);
        Some((
            pool.clone(),
            count(of_pool().count()),
            count(taking.count()),
        ))
    }

    /// Instances whose host is lost, draining, or gone.
    pub fn displaced(&self) -> Vec<(Name, InstanceKey)> {
        self.leaving()
            .flat_map(|name| {
                let here = self.cluster.on_host(name);
                here.into_iter().map(|(key, _)| (name.clone(), key))
            })
            .collect()
    }

    /// Whether there is any.
    pub(super) fn has_displaced(&self) -> bool {
        let mut hosts = self.leaving().filter_map(|name| self.cluster.host(name));
        hosts.any(|host| host.instances().next().is_some())
    }

    /// Hosts that are lost or draining.
    fn leaving(&self) -> impl Iterator<Item = &Name> {
        let hosts = self.hosts.hosts.iter();
        hosts
            .filter(|(_, known)| !known.is_alive() || known.host.spec.draining)
            .map(|(name, _)| name)
    }

    /// How many hosts a pool has, and how many of them are lost.
    pub fn losses(&self, pool: &Name) -> (usize, usize) {
        let hosts = self.hosts.hosts.values();
        let of_pool = hosts.filter(|known| known.host.spec.pool == *pool);
        let lost = of_pool.clone().filter(|known| !known.is_alive()).count();
        (of_pool.count(), lost)
    }

    pub(super) fn put_pool(&mut self, pool: Arc<HostPool>, dirty: &mut Dirty) {
        let Some(name) = pool
            .metadata
            .name
            .as_ref()
            .and_then(|name| name.parse().ok())
        else {
            return;
        };
        let before = self.hosts.pools.get(&name);
        if before.is_some_and(|before| !newer(&pool.metadata, &before.metadata)) {
            return;
        }
        self.hosts.pools.insert(Name::clone(&name), pool);
        self.refresh_pool(&name, dirty);
    }

    pub(super) fn remove_pool(&mut self, name: &Name, dirty: &mut Dirty) {
        if self.hosts.pools.remove(name).is_some() {
            self.refresh_pool(name, dirty);
        }
    }

    fn refresh_pool(&mut self, pool: &Name, dirty: &mut Dirty) {
        let members: Vec<Name> = self
            .hosts
            .hosts
            .iter()
            .filter(|(_, known)| known.host.spec.pool == *pool)
            .map(|(name, _)| name.clone())
            .collect();
        for name in &members {
            self.refresh(name, dirty);
        }
        dirty.pools.insert(pool.clone());
    }

    pub(super) fn put_host(&mut self, host: Arc<Host>, dirty: &mut Dirty) {
        let Some(name) = host
            .metadata
            .name
            .as_ref()
            .and_then(|name| name.parse().ok())
        else {
            return;
        };
        let name: Name = name;
        match self.hosts.hosts.get_mut(&name) {
            Some(known) => {
                if !newer(&host.metadata, &known.host.metadata) {
                    return;
                }
                if known.host.spec.pool != host.spec.pool {
                    dirty.pools.insert(known.host.spec.pool.clone());
                }
                known.host = host;
            }
            None => {
                // Alive until its Lease says otherwise: a host makes its Lease first.
                let known = Known {
                    host,
                    life: Life::Alive,
                };
                self.hosts.hosts.insert(name.clone(), known);
            }
        }
        self.refresh(&name, dirty);
        self.reclaim(&name);
    }

    /// Instances that named a host before it was known are counted to it now.
    fn reclaim(&mut self, name: &Name) {
        let here: Vec<InstanceKey> = self
            .unplaced
            .iter()
            .filter(|key| {
                let instance = self.instances.get(*key);
                instance.is_some_and(|i| i.spec.host_name.as_ref() == Some(name))
            })
            .cloned()
            .collect();
        for key in here {
            if let Some(state) = self.to_place(&key) {
                self.unplaced.remove(&key);
                self.cluster.bind(key, name, state);
            }
        }
    }

    pub(super) fn remove_host(&mut self, name: &Name, dirty: &mut Dirty) {
        let Some(known) = self.hosts.hosts.remove(name) else {
            return;
        };
        dirty.pools.insert(known.host.spec.pool.clone());
        for (key, _) in self.cluster.remove_host(name) {
            self.unplaced.insert(key);
        }
        dirty.placing = true;
    }

    pub(super) fn set_life(&mut self, name: &Name, life: Life, dirty: &mut Dirty) {
        let Some(known) = self.hosts.hosts.get_mut(name) else {
            return;
        };
        if known.life != life {
            known.life = life;
            self.refresh(name, dirty);
        }
    }

    fn refresh(&mut self, name: &Name, dirty: &mut Dirty) {
        let Some(known) = self.hosts.hosts.get(name) else {
            return;
        };
        let offered = self.hosts.availability(known);
        dirty.pools.insert(offered.pool.clone());
        let before = self.cluster.host(name).map(|host| host.availability());
        if before != Some(&offered) {
            self.cluster.put_host(name.clone(), offered);
            dirty.placing = true;
        }
    }
}
