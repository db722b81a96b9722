//! Scores: which of the hosts that may run an instance should.

use std::cmp::Reverse;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use ringfence_api::{Name, Resources};

use super::{HostState, InstanceState};

/// How good a host is for an instance; the highest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    /// Spread first: two instances on one host fail together, whatever else speaks for it.
    apart: Apart,
    /// The rest, weighed.
    points: u32,
    /// Ties fall differently for every instance, so that hosts fill evenly; and the same every time, so
    /// that two schedulers agree.
    tie: u64,
}

/// Fewer instances of the workload are better, on the host before in the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Apart(Reverse<u32>, Reverse<u32>);

/// Points of a host that has the component prepared: as much as being empty and not full.
const CACHED: u32 = 100;
/// Points of an empty host; a full one has none.
const IDLE: u32 = 100;

pub(super) fn score(
    instance_hash: u64,
    name: &Name,
    host: &HostState,
    instance: &InstanceState,
    spread: Option<&super::Spread>,
) -> Score {
    let (here, zone) = spread.map_or((0, 0), |spread| {
        let zone = spread.zones.get(&host.availability.zone);
        (
            spread.hosts.get(name).copied().unwrap_or(0),
            zone.copied().unwrap_or(0),
        )
    });
    let cached = instance
        .digest
        .is_some_and(|digest| host.availability.artifacts.contains(&digest));
    Score {
        apart: Apart(Reverse(here), Reverse(zone)),
        points: if cached { CACHED } else { 0 } + idle(host.used, host.availability.allocatable),
        tie: mix(instance_hash ^ host.hash),
    }
}

/// A hash that is the same in every process.
pub(super) fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit depends on every other.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// How empty a host is, by whatever it has least of.
fn idle(used: Resources, all: Resources) -> u32 {
    let free = |used: u64, all: u64| match all {
        0 => 0,
        all => u64::from(IDLE) * all.saturating_sub(used) / all,
    };
    let least = free(used.memory_bytes, all.memory_bytes)
        .min(free(used.cpu_millis, all.cpu_millis))
        .min(free(used.instances.into(), all.instances.into()));
    u32::try_from(least).unwrap_or(IDLE)
}
