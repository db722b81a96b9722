//! How busy the host is, for what scales its pool: sandboxes in use, averaged so that a moment decides nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ringfence_api::{POOL_USED_SECONDS, PoolUsed};
use tokio::time::MissedTickBehavior;

use super::Shared;

/// How often the host looks.
const EVERY: Duration = Duration::from_millis(500);
/// As many looks as fit into the time of the average.
const LOOKS: usize = POOL_USED_SECONDS as usize * 1_000 / EVERY.as_millis() as usize;

/// What was seen lately, the newest last.
#[derive(Debug, Default)]
pub(super) struct Load(Mutex<VecDeque<u64>>);

impl Load {
    fn saw(&self, used: u64) {
        let mut seen = self.0.lock();
        if seen.len() == LOOKS {
            seen.pop_front();
        }
        seen.push_back(used);
    }

    /// Sandboxes in use, on average over the last seconds. None before the first look.
    pub(super) fn average(&self) -> Option<PoolUsed> {
        let seen = self.0.lock();
        let looks = u64::try_from(seen.len()).ok()?;
        let thousandths = seen.iter().sum::<u64>().saturating_mul(1_000);
        let average = thousandths.checked_div(looks)?;
        let average = u32::try_from(average).unwrap_or(u32::MAX);
        Some(PoolUsed::from_thousandths(average))
    }
}

/// Looks for ever.
pub(super) async fn follow(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(EVERY);
    // A host that could not look for a while does not make up for it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        shared.load.saw(shared.host.sandboxes_used());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn average(load: &Load) -> Option<String> {
        load.average().map(|used| used.to_string())
    }

    #[test]
    fn nothing_is_said_before_anything_was_seen() {
        assert_eq!(average(&Load::default()), None);
    }

    #[test]
    fn it_is_the_average_of_the_last_seconds_only() {
        let load = Load::default();
        load.saw(1);
        load.saw(2);
        assert_eq!(average(&load).as_deref(), Some("1500m"));
        (0..LOOKS).for_each(|_| load.saw(4));
        assert_eq!(average(&load).as_deref(), Some("4000m"));
        load.saw(0);
        assert_eq!(average(&load).as_deref(), Some("3800m"));
    }
}
