//! What hosts say of their load.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use ringfence_api::{Name, PoolUsed};
use tokio::time::Instant;

/// What each host said last, and until when that counts. Cheap to clone; all clones are the same.
///
/// What a host says comes with its Lease, and counts for as long as the Lease does by the operator's own clock.
/// Nothing is known of a host whose Lease has run out.
#[derive(Debug, Clone, Default)]
pub struct Loads(Arc<Mutex<HashMap<Name, Said>>>);

#[derive(Debug, Clone, Copy)]
struct Said {
    used: PoolUsed,
    at: Instant,
    until: Instant,
}

impl Loads {
    /// A host has renewed its Lease, for this long, and with it has said how busy it is, unless it did not.
    pub(crate) fn said(&self, host: &Name, used: Option<PoolUsed>, lasts: Duration, now: Instant) {
        let mut all = self.0.lock();
        match used {
            Some(used) => {
                let until = now + lasts;
                let said = Said {
                    used,
                    at: now,
                    until,
                };
                all.insert(host.clone(), said);
            }
            None => drop(all.remove(host)),
        }
    }

    /// A host has no Lease any more.
    pub(crate) fn gone(&self, host: &Name) {
        self.0.lock().remove(host);
    }

    /// How busy a host is, and how long ago it said so. None where that is not known (any more).
    pub(super) fn of(&self, host: &Name, now: Instant) -> Option<(PoolUsed, Duration)> {
        let said = *self.0.lock().get(host)?;
        let age = now.saturating_duration_since(said.at);
        (now < said.until).then_some((said.used, age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(10);

    #[test]
    fn it_counts_for_as_long_as_the_lease() {
        let (loads, host, start) = (Loads::default(), Name::well_known("a"), Instant::now());
        let used = PoolUsed::from_thousandths(1_500);
        assert_eq!(loads.of(&host, start), None);
        loads.said(&host, Some(used), LASTS, start);
        let later = start + Duration::from_secs(3);
        assert_eq!(loads.of(&host, later), Some((used, later - start)));
        assert_eq!(loads.of(&host, start + LASTS), None, "its Lease ran out");

        loads.said(&host, Some(used), LASTS, start + LASTS);
        assert!(loads.of(&host, start + LASTS).is_some(), "it is back");
        loads.said(&host, None, LASTS, start + LASTS);
        assert_eq!(loads.of(&host, start + LASTS), None, "it says nothing");

        loads.said(&host, Some(used), LASTS, start);
        loads.gone(&host);
        assert_eq!(loads.of(&host, start), None);
    }
}
