//! Clocks for guests that were not granted `clocks`: they stand still.
//!
//! A clock is a side channel and makes runs differ, so it is a capability. WASI has no way to refuse
//! a clock, so the wall clock reads the Unix epoch and the monotonic clock one second (Go's runtime gives
//! up on zero). Waiting still works: a wait is a difference of two readings.

use std::time::Duration;

use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

pub(crate) struct StoppedClock;

impl HostWallClock for StoppedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        1_000_000_000
    }

    fn now(&self) -> u64 {
        1_000_000_000
    }
}
