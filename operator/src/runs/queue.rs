//! Runs that wait for a host, by agent or tool: one after the other within each, and in turns between them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use ringfence_api::{Name, TenantName};

use super::RunKey;
use crate::key::WorkloadId;

/// Everything that waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queues: HashMap<WorkloadId, VecDeque<RunKey>>,
    /// Agents and tools whose runs are to be looked at.
    awake: BTreeSet<WorkloadId>,
    /// Agents and tools that found a host full, in turns; by tenant those that found only the part full that
    /// their tenant may have of it.
    full: BTreeMap<(Name, Option<TenantName>), VecDeque<WorkloadId>>,
    count: usize,
}

impl Waiting {
    pub(super) fn push(&mut self, target: &WorkloadId, key: RunKey) {
        self.queues
            .entry(target.clone())
            .or_default()
            .push_back(key);
        self.awake.insert(target.clone());
        self.count += 1;
    }

    pub(super) fn push_front(&mut self, target: &WorkloadId, key: RunKey) {
        self.queues
            .entry(target.clone())
            .or_default()
            .push_front(key);
        self.count += 1;
    }

    /// The run that waits longest for this target.
    pub(super) fn pop(&mut self, target: &WorkloadId) -> Option<RunKey> {
        let queue = self.queues.get_mut(target)?;
        let first = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(target);
        }
        self.count -= usize::from(first.is_some());
        first
    }

    /// Runs of a target, in their order.
    pub(super) fn of(&self, target: &WorkloadId) -> impl Iterator<Item = &RunKey> {
        self.queues.get(target).into_iter().flatten()
    }

    /// How many stand in queues; those that were dealt with meanwhile included until their turn.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn wake(&mut self, target: WorkloadId) {
        if self.queues.contains_key(&target) {
            self.awake.insert(target);
        }
    }

    pub(super) fn wake_all(&mut self) {
        self.awake.extend(self.queues.keys().cloned());
        self.full.clear();
    }

    /// There is room on a host again, or in a tenant's part of it: the next in turn is looked at.
    pub(super) fn room(&mut self, host: &Name, tenant: Option<&TenantName>) {
        let place = (host.clone(), tenant.cloned());
        let Some(turns) = self.full.get_mut(&place) else {
            return;
        };
        while let Some(target) = turns.pop_front() {
            if self.queues.contains_key(&target) {
                self.awake.insert(target);
                return;
            }
        }
        self.full.remove(&place);
    }

    /// A target found a host full, or its tenant's part of it.
    pub(super) fn stuck(&mut self, target: &WorkloadId, host: &Name, part: bool) {
        let tenant = part.then(|| target.tenant.clone());
        let turns = self.full.entry((host.clone(), tenant)).or_default();
        if !turns.contains(target) {
            turns.push_back(target.clone());
        }
    }

    /// Those to be looked at now.
    pub(super) fn take_awake(&mut self) -> VecDeque<WorkloadId> {
        std::mem::take(&mut self.awake).into_iter().collect()
    }
}
