//! Which host runs which instance. Pure: it holds what is known of hosts and instances, and decides;
//! somebody else watches and writes.
//!
//! An instance is placed in two steps, as a Pod is: [`filter`] leaves the hosts that may run it,
//! [`score`] picks the best of them. Where none is left for want of room alone, [`preempt`] looks for
//! instances of lower priority that could make room.

mod filter;
mod host;
mod pace;
mod preempt;
mod score;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use ringfence_api::{Digest, EffectivePlacement, Name, Resources};

use crate::key::{InstanceKey, WorkloadId};

pub use filter::{Misfit, Misfits};
pub use host::{Availability, HostState};
pub use pace::Pace;

/// What the scheduler knows of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceState {
    /// What it is an instance of: those of one workload are spread.
    pub workload: WorkloadId,
    /// Where it may run.
    pub placement: EffectivePlacement,
    /// What it takes.
    pub requests: Resources,
    /// Its component, where it is known.
    pub digest: Option<Digest>,
    /// When it was made, in milliseconds since 1970: the youngest gives way first.
    pub created_ms: i64,
}

/// Where an instance should go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// To this host.
    Bind(Name),
    /// To this host, once these instances of lower priority are gone from it.
    Preempt {
        /// The host.
        host: Name,
        /// What has to go, in the order of their names.
        victims: Vec<InstanceKey>,
    },
    /// Nowhere now.
    Unschedulable(Misfits),
}

/// Everything that placing depends on.
#[derive(Debug, Default)]
pub struct Cluster {
    hosts: BTreeMap<Name, HostState>,
    /// Instances that have a host, and which.
    bound: HashMap<InstanceKey, (Name, InstanceState)>,
    /// Where the instances of each workload are.
    spread: HashMap<WorkloadId, Spread>,
}

/// Where the instances of one workload are.
#[derive(Debug, Default)]
struct Spread {
    hosts: BTreeMap<Name, u32>,
    zones: BTreeMap<Option<String>, u32>,
}

impl Spread {
    fn add(&mut self, host: &Name, zone: &Option<String>) {
        *self.hosts.entry(host.clone()).or_default() += 1;
        *self.zones.entry(zone.clone()).or_default() += 1;
    }

    fn remove(&mut self, host: &Name, zone: &Option<String>) {
        fn less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
            if let Some(count) = counts.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(key);
                }
            }
        }
        less(&mut self.hosts, host);
        less(&mut self.zones, zone);
    }
}
impl Cluster {
    /// Adds a host, or takes over what has changed of it.
    pub fn put_host(&mut self, name: Name, availability: Availability) {
        if let Some(known) = self.hosts.get_mut(&name)
            && known.availability.zone == availability.zone
        {
            known.availability = availability;
            return;
        }
        // Instances are counted by zone.
        let moved = self.remove_host(&name);
        self.hosts
            .insert(name.clone(), HostState::new(&name, availability));
        for (key, instance) in moved {
            self.bind(key, &name, instance);
        }
    }

    /// Forgets a host, and returns what ran there.
    pub fn remove_host(&mut self, name: &Name) -> Vec<(InstanceKey, InstanceState)> {
        let orphans = self.on_host(name);
        for (key, _) in &orphans {
            self.unbind(key);
        }
        self.hosts.remove(name);
        orphans
    }

    /// A host.
    pub fn host(&self, name: &Name) -> Option<&HostState> {
        self.hosts.get(name)
    }

    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = (&Name, &HostState)> {
        self.hosts.iter()
    }

    /// Instances that are bound to a host.
    pub fn on_host(&self, name: &Name) -> Vec<(InstanceKey, InstanceState)> {
        let keys = self
            .hosts
            .get(name)
            .into_iter()
            .flat_map(HostState::instances);
        keys.filter_map(|key| {
            let (_, instance) = self.bound.get(key)?;
            Some((key.clone(), instance.clone()))
        })
        .collect()
    }

    /// Where an instance is.
    pub fn host_of(&self, key: &InstanceKey) -> Option<&Name> {
        self.bound.get(key).map(|(host, _)| host)
    }

    /// Counts an instance to a host. Where the host is not known (yet), the instance is counted to
    /// nobody.
    pub fn bind(&mut self, key: InstanceKey, host: &Name, instance: InstanceState) {
        self.unbind(&key);
        let Some(state) = self.hosts.get_mut(host) else {
            return;
        };
        state.add(key.clone(), &instance);
        let spread = self.spread.entry(instance.workload.clone()).or_default();
        spread.add(host, &state.availability.zone);
        self.bound.insert(key, (host.clone(), instance));
    }

    /// Counts an instance to nobody.
    pub fn unbind(&mut self, key: &InstanceKey) {
        let Some((host, instance)) = self.bound.remove(key) else {
            return;
        };
        let Some(state) = self.hosts.get_mut(&host) else {
            return;
        };
        state.remove(key, &instance);
        if let Some(spread) = self.spread.get_mut(&instance.workload) {
            spread.remove(&host, &state.availability.zone);
            if spread.hosts.is_empty() {
                self.spread.remove(&instance.workload);
            }
        }
    }

    /// Where an instance should go. Nothing is changed: who follows the advice says so with
    /// [`Cluster::bind`].
    pub fn place(&self, key: &InstanceKey, instance: &InstanceState) -> Decision {
        let mut misfits = Misfits::default();
        let mut best: Option<(score::Score, &Name)> = None;
        let spread = self.spread.get(&instance.workload);
        let hash = score::hash(key);

        for (name, host) in &self.hosts {
            match filter::fits(host, instance) {
                Err(misfit) => misfits.count(misfit),
                Ok(()) => {
                    let score = score::score(hash, name, host, instance, spread);
                    if best.as_ref().is_none_or(|(other, _)| score > *other) {
                        best = Some((score, name));
                    }
                }
            }
        }
        if let Some((_, host)) = best {
            return Decision::Bind(host.clone());
        }
        match preempt::choose(self, instance) {
            Some((host, victims)) => Decision::Preempt { host, victims },
            None => Decision::Unschedulable(misfits),
        }
    }
}
