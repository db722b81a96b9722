//! Which revision of an agent or tool a run gets, while the newer one is a canary. Pure.

use std::sync::Arc;

use ringfence_api::{Kind, Name};

use super::Instance;
use crate::mediation::RunId;

/// A revision that gets part of the runs.
#[derive(Clone)]
pub struct Canary {
    /// Percent of the runs that it gets.
    pub weight: u32,
    /// What runs of it here.
    pub instance: Arc<Instance>,
}

/// Where in a hundred a run is, for one agent or tool. It is the same on every host and for every call of
/// the run, so that a run stays on the revision that it began on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Draw(u32);

impl Draw {
    /// The draw of a run. Those of different targets do not depend on each other.
    pub(crate) fn of(run: RunId, kind: Kind, name: &Name) -> Self {
        // FNV-1a, 64 bits: it has to be the same in every version of the host.
        let text = format!("{run}/{}/{name}", kind.as_str());
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        // The lower bits hardly depend on the first bytes.
        let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
        Self(u32::try_from(folded % 100).unwrap_or_default())
    }

    /// Whether the run is among these percent.
    pub(crate) fn is_within(self, percent: u32) -> bool {
        self.0 < percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(number: u32, name: &str) -> Draw {
        let run = format!("019ab000-0000-7000-8000-{number:012x}");
        Draw::of(
            RunId::parse(&run).unwrap(),
            Kind::Tool,
            &name.parse().unwrap(),
        )
    }

    #[test]
    fn a_share_of_the_runs_is_within_it() {
        const RUNS: u32 = 20_000;
        for percent in [0, 1, 10, 50, 99, 100] {
            let within = (0..RUNS).filter(|n| draw(*n, "search").is_within(percent));
            let within = u32::try_from(within.count()).unwrap();
            let expected = RUNS / 100 * percent;
            assert!(
                within.abs_diff(expected) <= RUNS / 200,
                "{within} instead of {expected}"
            );
        }
    }

    #[test]
    fn a_run_stays_where_it_is_and_targets_differ() {
        let same = (0..1_000)
            .filter(|n| draw(*n, "a") == draw(*n, "b"))
            .count();
        assert!(same < 50, "{same} of 1000");
        assert_eq!(draw(7, "a"), draw(7, "a"));
        // What was within a smaller share is within a larger one: a step forward takes nothing back.
        for n in 0..1_000 {
            assert!(!draw(n, "a").is_within(10) || draw(n, "a").is_within(50));
        }
    }
}
