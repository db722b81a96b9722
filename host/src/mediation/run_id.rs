//! Identifiers of runs.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use uuid::{Builder, Uuid};

/// Bits of the counter that orders what begins within the same millisecond.
const COUNTER_BITS: u32 = 12;

/// Milliseconds since the Unix epoch and the counter of the newest identifier.
static NEWEST: AtomicU64 = AtomicU64::new(0);

/// Identifies a run: one execution of an agent, model or tool that somebody outside started. Version 7
/// of RFC 9562, so runs sort by their start; those of one host do so within a millisecond too (section
/// 6.2, method 1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl RunId {
    /// A fresh one.
    #[expect(clippy::new_without_default, reason = "every value is different")]
    pub fn new() -> Self {
        let tick = tick(SystemTime::now());
        // From the generator of this thread, which the operating system seeds: `Uuid::now_v7` asks the
        // operating system every time, which takes as long as a tenth of a call.
        let mut bytes: [u8; 10] = rand::random();
        let counter = tick & ((1 << COUNTER_BITS) - 1);
        let [.., high, low] = counter.to_be_bytes();
        [bytes[0], bytes[1]] = [high, low];
        Self(Builder::from_unix_timestamp_millis(tick >> COUNTER_BITS, &bytes).into_uuid())
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::parse_str(text).ok().map(Self)
    }
}

/// The time in milliseconds, then the counter: later than every earlier one, also where the clock was
/// set back or a millisecond had more beginnings than the counter counts.
fn tick(now: SystemTime) -> u64 {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX) << COUNTER_BITS;
    let next = |newest: u64| now.max(newest + 1);
    let newest = NEWEST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |newest| {
        Some(next(newest))
    });
    // It always updates, so either arm holds what was there before.
    let (Ok(newest) | Err(newest)) = newest;
    next(newest)
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::thread;

    use super::*;

    #[test]
    fn they_sort_by_their_start_and_say_when_it_was() {
        let before = SystemTime::now();
        let runs: Vec<RunId> = (0..10_000).map(|_| RunId::new()).collect();
        assert!(runs.is_sorted_by(|a, b| a < b));
        let (seconds, nanos) = runs[0].0.get_timestamp().unwrap().to_unix();
        let began = std::time::Duration::new(seconds, nanos);
        let before = before.duration_since(UNIX_EPOCH).unwrap();
        assert!(
            before.abs_diff(began).as_secs() < 60,
            "{before:?} {began:?}"
        );
        assert_eq!(runs[0].0.get_version_num(), 7);
        assert_eq!(RunId::parse(&runs[0].to_string()), Some(runs[0]));
    }

    #[test]
    fn threads_make_different_ones() {
        let make = || (0..1000).map(|_| RunId::new()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..8).map(|_| thread::spawn(make)).collect();
        let all: HashSet<RunId> = threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect();
        assert_eq!(all.len(), 8000);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_bring_old_ones_again() {
        let now = tick(SystemTime::now());
        assert!(tick(UNIX_EPOCH) > now);
    }
}
