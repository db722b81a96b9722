//! Processor time of one sandbox.
//!
//! A guest runs only while the future of its call is polled, so the time spent inside polls is the
//! processor time it takes, waiting excluded. The epoch callback, which fires while the guest runs,
//! compares that time with the limit; without it a spinning guest would never let go of its poll.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Processor time of one sandbox. The future that runs the guest writes it, and the epoch callback,
/// on the same thread, reads it.
#[derive(Debug)]
pub(crate) struct CpuMeter {
    origin: Instant,
    /// Nanoseconds of all finished polls.
    used: AtomicU64,
    /// When the running poll began, in nanoseconds since `origin`.
    poll_began: AtomicU64,
}

impl CpuMeter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            used: AtomicU64::new(0),
            poll_began: AtomicU64::new(0),
        })
    }

    /// Time up to the end of the last poll.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// Time up to now, while a poll runs.
    pub(crate) fn used_within_poll(&self) -> Duration {
        let began = Duration::from_nanos(self.poll_began.load(Ordering::Relaxed));
        self.used() + self.origin.elapsed().saturating_sub(began)
    }

    fn nanos(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn enter(&self) -> u64 {
        let now = self.nanos();
        self.poll_began.store(now, Ordering::Relaxed);
        now
    }

    fn leave(&self, began: u64) {
        self.used
            .fetch_add(self.nanos().saturating_sub(began), Ordering::Relaxed);
    }
}

/// A future whose polls are charged to a meter.
pub(crate) struct Metered<F> {
    meter: Arc<CpuMeter>,
    inner: F,
}

impl<F> Metered<F> {
    pub(crate) fn new(meter: Arc<CpuMeter>, inner: F) -> Self {
        Self { meter, inner }
    }
}

impl<F: Future + Unpin> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let began = self.meter.enter();
        let result = Pin::new(&mut self.inner).poll(cx);
        self.meter.leave(began);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_is_free_and_working_is_not() {
        let meter = CpuMeter::new();
        let work = Box::pin(async {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            let until = Instant::now() + Duration::from_millis(20);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        });
        Metered::new(meter.clone(), work).await;
        assert!(meter.used() >= Duration::from_millis(20));
        assert!(meter.used() < Duration::from_secs(1800));
    }
}
