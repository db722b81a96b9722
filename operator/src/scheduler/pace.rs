//! How fast instances of lost hosts are bound elsewhere.
//!
//! One host that is lost is replaced at once. Where most of a pool seems lost, the fault is more likely
//! on our side of the network, and moving everything to the few that are left would take them down
//! too: then it goes slowly, as the node lifecycle controller of Kubernetes does.

use std::time::{Duration, Instant};

/// Share of a pool, in percent, from which a loss counts as a disruption of the whole pool.
const DISRUPTED_PERCENT: usize = 55;
/// Hosts below which a pool is too small to tell.
const SMALL_POOL: usize = 3;
/// Instances that are rebound per second while a pool is disrupted.
const DISRUPTED_PER_SECOND: u32 = 20;

/// A token bucket for one pool.
#[derive(Debug)]
pub struct Pace {
    tokens: f64,
    since: Instant,
}

impl Pace {
    /// A pace that starts at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            tokens: 0.0,
            since: now,
        }
    }

    /// How many of `wanted` rebindings may be made now, in a pool of `hosts` of which `lost` are.
    pub fn take(&mut self, now: Instant, wanted: usize, hosts: usize, lost: usize) -> usize {
        let elapsed = now.saturating_duration_since(self.since);
        self.since = now;
        if !is_disrupted(hosts, lost) {
            self.tokens = 0.0;
            return wanted;
        }
        let rate = f64::from(DISRUPTED_PER_SECOND);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * rate).min(rate);
        // Between 0 and a second's worth.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let granted = wanted.min(self.tokens as usize);
        #[allow(clippy::cast_precision_loss)]
        {
            self.tokens -= granted as f64;
        }
        granted
    }

    /// When to ask again where not everything was granted.
    pub const AGAIN: Duration = Duration::from_millis(250);
}

fn is_disrupted(hosts: usize, lost: usize) -> bool {
    hosts >= SMALL_POOL && lost * 100 >= hosts * DISRUPTED_PERCENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_host_is_replaced_at_once() {
        let now = Instant::now();
        assert_eq!(Pace::new(now).take(now, 1_000, 10, 1), 1_000);
    }

    #[test]
    fn a_lost_pool_does_not_stampede() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut moved = pace.take(start, 10_000, 10, 6);
        for quarter in 1..=40 {
            moved += pace.take(start + Pace::AGAIN * quarter, 10_000, 10, 6);
        }
        let seconds = 10;
        assert_eq!(moved, seconds * DISRUPTED_PER_SECOND as usize);
    }

    #[test]
    fn a_pause_does_not_save_up_more_than_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(
            pace.take(later, 10_000, 10, 10),
            DISRUPTED_PER_SECOND as usize
        );
    }
}
