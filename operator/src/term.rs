//! For how long an operator may write.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Whether this operator leads, and until when it may be sure of it. Cheap to clone; all clones are the same.
///
/// It runs out by the clock and not by a task that would have to run first: an operator that was frozen, and
/// goes on after another has taken over, begins nothing any more. What it had begun carries the version or the
/// identity of what it is about, and is refused where another has changed that.
#[derive(Debug, Clone, Default)]
pub struct Term(Arc<Mutex<Option<Instant>>>);

impl Term {
    /// It leads until then.
    pub(crate) fn until(&self, end: Instant) {
        *self.0.lock() = Some(end);
    }

    /// It leads no longer.
    pub(crate) fn end(&self) {
        *self.0.lock() = None;
    }

    /// For how long it leads if nothing else happens.
    pub(crate) fn left(&self) -> Duration {
        let end = *self.0.lock();
        end.map_or(Duration::ZERO, |end| {
            end.saturating_duration_since(Instant::now())
        })
    }

    /// Whether it leads.
    pub(crate) fn holds(&self) -> bool {
        !self.left().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_runs_out_by_itself() {
        let term = Term::default();
        assert!(!term.holds(), "nobody leads who has not begun to");
        term.until(Instant::now() + Duration::from_secs(4));
        let same = term.clone();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(same.left(), Duration::from_secs(1));
        assert!(same.holds());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!same.holds());
        term.until(Instant::now() + Duration::from_secs(4));
        assert!(same.holds());
        same.end();
        assert!(!term.holds());
    }
}
