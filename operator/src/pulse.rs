//! Whether Leases can be written at all.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

/// When a Lease of the cluster was last seen to be written, by whomever. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<watch::Sender<Instant>>);

impl Default for Pulse {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Instant::now())))
    }
}

impl Pulse {
    /// One was written.
    pub(crate) fn beat(&self) {
        self.0.send_replace(Instant::now());
    }

    /// Tells when one was.
    pub(crate) fn listen(&self) -> watch::Receiver<Instant> {
        self.0.subscribe()
    }
}
