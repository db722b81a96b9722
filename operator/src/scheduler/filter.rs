//! Filters: which hosts may run an instance.

use std::fmt;

use ringfence_api::{Isolation, Resources};

use super::{HostState, InstanceState};

/// Why a host may not run an instance. Ordered by how the filters are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misfit {
    /// It belongs to another pool.
    Pool,
    /// It is not ready, or its Lease has run out.
    NotReady,
    /// It is cordoned or draining.
    Unschedulable,
    /// Its pool does not take the tenant's trust class.
    TrustClass,
    /// It runs another tenant's instances, and one of the two does not share.
    Isolation,
    /// It has little memory left.
    MemoryPressure,
    /// Too little of its memory is free.
    Memory,
    /// Too little of its processor time is free.
    Cpu,
    /// It has as many instances as it takes.
    Instances,
}

impl Misfit {
    const ALL: [Misfit; 9] = [
        Self::Pool,
        Self::NotReady,
        Self::Unschedulable,
        Self::TrustClass,
        Self::Isolation,
        Self::MemoryPressure,
        Self::Memory,
        Self::Cpu,
        Self::Instances,
    ];

    fn text(self) -> &'static str {
        match self {
            Self::Pool => "in another pool",
            Self::NotReady => "not ready",
            Self::Unschedulable => "cordoned or draining",
            Self::TrustClass => "of a pool that does not take the tenant's trust class",
            Self::Isolation => "taken by another tenant",
            Self::MemoryPressure => "short of memory",
            Self::Memory => "with too little memory free",
            Self::Cpu => "with too little processor time free",
            Self::Instances => "full",
        }
    }

    /// Whether fewer instances on the host would help.
    pub(super) fn is_room(self) -> bool {
        matches!(self, Self::Memory | Self::Cpu | Self::Instances)
    }
}

/// How many hosts were left out, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Misfits([u32; Misfit::ALL.len()]);

impl Misfits {
    pub(super) fn count(&mut self, misfit: Misfit) {
        self.0[misfit as usize] += 1;
    }

    /// Hosts that were left out for a reason.
    pub fn of(&self, misfit: Misfit) -> u32 {
        self.0[misfit as usize]
    }

    /// Hosts that were looked at.
    pub fn hosts(&self) -> u32 {
        self.0.iter().sum()
    }
}

impl fmt::Display for Misfits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hosts() == 0 {
            return f.write_str("there are no hosts");
        }
        write!(f, "none of {} hosts can run it: ", self.hosts())?;
        let mut first = true;
        for misfit in Misfit::ALL {
            let count = self.of(misfit);
            if count > 0 {
                let separator = if first { "" } else { ", " };
                write!(f, "{separator}{count} {}", misfit.text())?;
                first = false;
            }
        }
        Ok(())
    }
}

/// Whether a host may run an instance as things are.
pub(super) fn fits(host: &HostState, instance: &InstanceState) -> Result<(), Misfit> {
    admits(host, instance)?;
    room(host.used, host.availability.allocatable, instance.requests)
}

/// Everything but room.
pub(super) fn admits(host: &HostState, instance: &InstanceState) -> Result<(), Misfit> {
    let offered = &host.availability;
    if offered.pool != instance.placement.pool {
        return Err(Misfit::Pool);
    }
    if !offered.ready {
        return Err(Misfit::NotReady);
    }
    if offered.unschedulable {
        return Err(Misfit::Unschedulable);
    }
    if !offered
        .trust_classes
        .contains(&instance.placement.trust_class)
    {
        return Err(Misfit::TrustClass);
    }
    let alone = offered.isolation == Isolation::Dedicated
        || instance.placement.isolation == Isolation::Dedicated;
    // A host may run instances of very many tenants: most of the time none of them matters.
    if alone || host.dedicated > 0 {
        let own = host.tenants.get(&instance.workload.tenant);
        let others = host.tenants.len() > usize::from(own.is_some());
        let claimed = host.dedicated > own.map_or(0, |own| own.dedicated);
        if others && alone || claimed {
            return Err(Misfit::Isolation);
        }
    }
    if offered.memory_pressure {
        return Err(Misfit::MemoryPressure);
    }
    Ok(())
}

/// Whether there is room for `asked` beside `used`.
pub(super) fn room(used: Resources, all: Resources, asked: Resources) -> Result<(), Misfit> {
    let over = |used: u64, asked: u64, all: u64| used.saturating_add(asked) > all;
    if over(used.memory_bytes, asked.memory_bytes, all.memory_bytes) {
        return Err(Misfit::Memory);
    }
    if over(used.cpu_millis, asked.cpu_millis, all.cpu_millis) {
        return Err(Misfit::Cpu);
    }
    if used.instances >= all.instances {
        return Err(Misfit::Instances);
    }
    Ok(())
}
