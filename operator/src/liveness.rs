//! Which hosts are alive, by their Leases.
//!
//! As with leaders, no two clocks are compared: a host is lost when its Lease was not seen to change for
//! as long as the Lease says.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ringfence_api::Name;
use tokio::time::Instant;

/// A Lease counts as run out this much later than it says: a renewal may be on its way.
const GRACE: Duration = Duration::from_millis(500);

/// Hosts and when their Leases run out.
#[derive(Debug, Default)]
pub struct Liveness {
    expires: HashMap<Name, Instant>,
    lost: HashSet<Name>,
}

impl Liveness {
    /// A Lease was renewed and lasts this long. True where the host was lost before.
    pub fn renewed(&mut self, host: Name, lasts: Duration, now: Instant) -> bool {
        self.expires.insert(host.clone(), now + lasts + GRACE);
        self.lost.remove(&host)
    }

    /// A Lease is gone: its host said goodbye. True where it was alive before.
    pub fn gone(&mut self, host: &Name) -> bool {
        self.expires.remove(host).is_some() && self.lost.insert(host.clone())
    }

    /// Hosts whose Lease has run out since the last time.
    pub fn expired(&mut self, now: Instant) -> Vec<Name> {
        let out = self.expires.extract_if(|_, at| *at <= now);
        let out: Vec<Name> = out.map(|(host, _)| host).collect();
        self.lost.extend(out.iter().cloned());
        out
    }

    /// When the next Lease runs out.
    pub fn next(&self) -> Option<Instant> {
        self.expires.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_is_not_renewed_runs_out_once() {
        let start = Instant::now();
        let lasts = Duration::from_secs(4);
        let host = || Name::well_known("h");
        let mut hosts = Liveness::default();
        assert!(!hosts.renewed(host(), lasts, start));
        assert!(!hosts.renewed(host(), lasts, start + lasts));
        assert_eq!(hosts.expired(start + lasts + GRACE), Vec::<Name>::new());
        let late = start + lasts * 2 + GRACE;
        assert_eq!(hosts.next(), Some(late));
        assert_eq!(hosts.expired(late), [host()]);
        assert_eq!(hosts.expired(late), Vec::<Name>::new());
        assert!(hosts.renewed(host(), lasts, late), "it is back");
        assert!(hosts.gone(&host()));
        assert!(!hosts.gone(&host()));
    }
}
