//! Which hosts are alive, by their Leases.
//!
//! As with leaders, no two clocks are compared: a host is lost when its Lease was not seen to change for
//! as long as the Lease says.

use std::collections::HashMap;
use std::time::Duration;

use ringfence_api::Name;
use tokio::time::Instant;

/// A Lease counts as run out this much later than it says: a renewal may be on its way.
const GRACE: Duration = Duration::from_millis(500);

/// Hosts and when their Leases run out.
#[derive(Debug, Default)]
pub struct Liveness {
    leases: HashMap<Name, Seen>,
}

/// A Lease as it was seen last.
#[derive(Debug)]
struct Seen {
    version: String,
    /// None where it has run out.
    expires: Option<Instant>,
    /// It was seen to change: somebody renews it.
    renewed: bool,
}

impl Liveness {
    /// A Lease was seen, in this version, that lasts this long from its renewal. True where that proves that
    /// its host lives and nothing did before: a Lease that is merely there may be that of a host long dead.
    pub fn seen(&mut self, host: Name, version: &str, lasts: Duration, now: Instant) -> bool {
        let expires = Some(now + lasts + GRACE);
        let Some(known) = self.leases.get_mut(&host) else {
            let seen = Seen {
                version: version.to_owned(),
                expires,
                renewed: false,
            };
            self.leases.insert(host, seen);
            return false;
        };
        if known.version == version {
            // Told again, as when a watch starts anew.
            return false;
        }
        let news = known.expires.is_none() || !known.renewed;
        *known = Seen {
            version: version.to_owned(),
            expires,
            renewed: true,
        };
        news
    }

    /// A Lease is gone: its host said goodbye. True where it was alive before.
    pub fn gone(&mut self, host: &Name) -> bool {
        let known = self.leases.remove(host);
        known.is_some_and(|known| known.expires.is_some())
    }

    /// Hosts whose Lease has run out since the last time.
    pub fn expired(&mut self, now: Instant) -> Vec<Name> {
        let mut out = Vec::new();
        for (host, known) in &mut self.leases {
            if known.expires.is_some_and(|at| at <= now) {
                known.expires = None;
                out.push(host.clone());
            }
        }
        out
    }

    /// When the next Lease runs out.
    pub fn next(&self) -> Option<Instant> {
        self.leases.values().filter_map(|known| known.expires).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTS: Duration = Duration::from_secs(4);

    fn host() -> Name {
        Name::well_known("h")
    }

    #[test]
    fn a_lease_that_is_not_renewed_runs_out_once() {
        let start = Instant::now();
        let mut hosts = Liveness::default();
        assert!(!hosts.seen(host(), "1", LASTS, start), "it may be old");
        assert!(hosts.seen(host(), "2", LASTS, start), "it is renewed");
        assert!(!hosts.seen(host(), "3", LASTS, start + LASTS));
        assert_eq!(hosts.expired(start + LASTS + GRACE), Vec::<Name>::new());
        let late = start + LASTS * 2 + GRACE;
        assert_eq!(hosts.next(), Some(late));
        assert_eq!(hosts.expired(late), [host()]);
        assert_eq!(hosts.expired(late), Vec::<Name>::new());
        assert_eq!(hosts.next(), None);
        assert!(hosts.seen(host(), "4", LASTS, late), "it is back");
        assert!(hosts.gone(&host()));
        assert!(!hosts.gone(&host()));
    }

    #[test]
    fn to_be_told_again_is_no_renewal() {
        let start = Instant::now();
        let mut hosts = Liveness::default();
        hosts.seen(host(), "1", LASTS, start);
        assert!(!hosts.seen(host(), "1", LASTS, start + LASTS));
        let late = start + LASTS + GRACE;
        assert_eq!(hosts.expired(late), [host()]);
        assert!(!hosts.seen(host(), "1", LASTS, late), "dead as before");
        assert_eq!(hosts.next(), None);
    }
}
