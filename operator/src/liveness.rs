//! Which hosts are alive, by their Leases.
//!
//! As with leaders, no two clocks are compared: a host is lost when its Lease was not seen to change for
//! as long as the Lease says. Silence alone proves nothing sooner than that: the host may be cut off from the API
//! server, and go on. But a host whose renewal is overdue, and where a connection is refused, has ended: its machine
//! answers, and says that nothing listens. It is lost at once.

use std::collections::HashMap;
use std::time::Duration;

use ringfence_api::Name;
use tokio::time::Instant;

/// A Lease counts as run out this much later than it says: a renewal may be on its way.
const GRACE: Duration = Duration::from_millis(500);
/// Part of a Lease's time, in percent, after which its renewal is overdue. Hosts renew theirs in a quarter of it.
const OVERDUE_PERCENT: u32 = 40;

/// How a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It renews its Lease.
    Alive,
    /// Its Lease has run out.
    Silent,
    /// Its Lease is not renewed, and nothing listens where it did.
    Down,
}

/// A host that may have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Its name.
    pub host: Name,
    /// How long its Lease still holds.
    pub left: Duration,
    /// The version of its Lease: with another one it is alive.
    version: String,
}

/// Hosts and when their Leases run out.
#[derive(Debug, Default)]
pub struct Liveness {
    leases: HashMap<Name, Seen>,
}

/// A Lease as it was seen last.
#[derive(Debug)]
struct Seen {
    version: String,
    /// None where it has run out, or the host is down.
    expires: Option<Instant>,
    /// When its renewal is overdue; none once that was told.
    overdue: Option<Instant>,
    /// It was seen to change: somebody renews it.
    renewed: bool,
}

impl Liveness {
    /// A Lease was seen, in this version, that lasts this long from its renewal. True where that proves that
    /// its host lives and nothing did before: a Lease that is merely there may be that of a host long dead.
    pub fn seen(&mut self, host: Name, version: &str, lasts: Duration, now: Instant) -> bool {
        let expires = Some(now + lasts + GRACE);
        let overdue = Some(now + lasts * OVERDUE_PERCENT / 100);
        let Some(known) = self.leases.get_mut(&host) else {
            let seen = Seen {
                version: version.to_owned(),
                expires,
                overdue,
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
            overdue,
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

    /// Hosts whose renewal is overdue since the last time.
    pub fn overdue(&mut self, now: Instant) -> Vec<Suspect> {
        let mut out = Vec::new();
        for (host, known) in &mut self.leases {
            if let Some(expires) = known.expires
                && known.overdue.is_some_and(|at| at <= now)
            {
                known.overdue = None;
                out.push(Suspect {
                    host: host.clone(),
                    left: expires.saturating_duration_since(now),
                    version: known.version.clone(),
                });
            }
        }
        out
    }

    /// Whether it is still unknown how it is with a suspect.
    pub fn doubts(&self, suspect: &Suspect) -> bool {
        let known = self.leases.get(&suspect.host);
        known.is_some_and(|known| known.version == suspect.version && known.expires.is_some())
    }

    /// Nothing listens where a suspect did. True where it was alive before.
    pub fn refused(&mut self, suspect: &Suspect) -> bool {
        let doubts = self.doubts(suspect);
        if doubts && let Some(known) = self.leases.get_mut(&suspect.host) {
            known.expires = None;
        }
        doubts
    }

    /// When the next Lease is overdue or runs out.
    pub fn next(&self) -> Option<Instant> {
        let running = self.leases.values().filter_map(|known| {
            let expires = known.expires?;
            Some(known.overdue.map_or(expires, |at| at.min(expires)))
        });
        running.min()
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
        let overdue = start + LASTS + LASTS * 2 / 5;
        assert_eq!(hosts.next(), Some(overdue));
        assert_eq!(hosts.overdue(overdue).len(), 1);
        assert_eq!(hosts.next(), Some(late));
        assert_eq!(hosts.expired(late), [host()]);
        assert_eq!(hosts.expired(late), Vec::<Name>::new());
        assert_eq!(hosts.next(), None);
        assert!(hosts.seen(host(), "4", LASTS, late), "it is back");
        assert!(hosts.gone(&host()));
        assert!(!hosts.gone(&host()));
    }

    #[test]
    fn a_host_that_has_ended_is_lost_before_its_lease_is() {
        let start = Instant::now();
        let mut hosts = Liveness::default();
        hosts.seen(host(), "1", LASTS, start);
        let overdue = start + LASTS * 2 / 5;
        assert_eq!(hosts.overdue(overdue - GRACE), []);
        let suspects = hosts.overdue(overdue);
        assert_eq!(suspects[0].left, LASTS * 3 / 5 + GRACE);
        assert_eq!(hosts.overdue(overdue), [], "it was told");
        assert!(hosts.refused(&suspects[0]));
        assert!(!hosts.refused(&suspects[0]), "that was known");
        assert_eq!(hosts.next(), None);
        assert_eq!(hosts.expired(start + LASTS * 2), Vec::<Name>::new());
        assert!(hosts.seen(host(), "2", LASTS, overdue), "it is back");
    }

    #[test]
    fn a_host_that_renews_is_no_suspect_any_more() {
        let start = Instant::now();
        let mut hosts = Liveness::default();
        hosts.seen(host(), "1", LASTS, start);
        let suspects = hosts.overdue(start + LASTS / 2);
        assert!(hosts.doubts(&suspects[0]));
        hosts.seen(host(), "2", LASTS, start + LASTS / 2);
        assert!(!hosts.doubts(&suspects[0]));
        assert!(!hosts.refused(&suspects[0]), "who asked was too late");
        assert_eq!(hosts.expired(start + LASTS), Vec::<Name>::new());
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
