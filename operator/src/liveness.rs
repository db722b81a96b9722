//! Which hosts are alive, by their Leases.
//!
//! As with leaders, no two clocks are compared: a host is lost when its Lease was not seen to change for
//! as long as the Lease says. Silence alone proves nothing sooner than that: the host may be cut off from the API
//! server, and go on. But a host whose renewal is overdue, and where a connection is refused, has ended: its machine
//! answers, and says that nothing listens.
//!
//! Whoever hears nothing may be the one who is cut off. So neither is believed before the API server itself, asked
//! for it, has the Lease as it was.

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

/// A host that may be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Its name.
    pub host: Name,
    /// How long its Lease still holds.
    pub left: Duration,
    /// The version of its Lease: with another one it is alive.
    version: String,
}

/// How far it has come with a Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is not overdue before this time.
    Fresh(Instant),
    /// It is overdue, and runs out at [`Seen::expires`].
    Overdue,
    /// It has run out, as far as is known here.
    Expired,
    /// Its host is lost.
    Lost,
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
    expires: Instant,
    state: State,
    /// It was seen to change: somebody renews it.
    renewed: bool,
}

impl Seen {
    /// When something is to be done about it if nothing changes.
    fn next(&self) -> Option<Instant> {
        match self.state {
            State::Fresh(until) => Some(until),
            State::Overdue => Some(self.expires),
            State::Expired | State::Lost => None,
        }
    }

    fn suspect(&self, host: &Name, now: Instant) -> Suspect {
        Suspect {
            host: host.clone(),
            left: self.expires.saturating_duration_since(now),
            version: self.version.clone(),
        }
    }
}

impl Liveness {
    /// A Lease was seen, in this version, that lasts this long from its renewal. True where that proves that
    /// its host lives and nothing did before: a Lease that is merely there may be that of a host long dead.
    pub fn seen(&mut self, host: Name, version: &str, lasts: Duration, now: Instant) -> bool {
        let known = self.leases.get(&host);
        if known.is_some_and(|known| known.version == version) {
            // Told again, as when a watch starts anew.
            return false;
        }
        let news = known.is_some_and(|known| known.state == State::Lost || !known.renewed);
        let seen = Seen {
            version: version.to_owned(),
            expires: now + lasts + GRACE,
            state: State::Fresh(now + lasts * OVERDUE_PERCENT / 100),
            renewed: known.is_some(),
        };
        self.leases.insert(host, seen);
        news
    }

    /// A Lease is gone: its host said goodbye. True where it was alive before.
    pub fn gone(&mut self, host: &Name) -> bool {
        let known = self.leases.remove(host);
        known.is_some_and(|known| known.state != State::Lost)
    }

    /// Hosts whose renewal is overdue since the last time.
    pub fn overdue(&mut self, now: Instant) -> Vec<Suspect> {
        self.advance(now, State::Overdue, |known| match known.state {
            State::Fresh(until) => Some(until),
            _ => None,
        })
    }

    /// Hosts whose Lease has run out since the last time, as far as is known here.
    pub fn expired(&mut self, now: Instant) -> Vec<Suspect> {
        self.advance(now, State::Expired, |known| match known.state {
            State::Fresh(_) | State::Overdue => Some(known.expires),
            _ => None,
        })
    }

    /// Those for which it is time, which come to another state by that.
    fn advance(
        &mut self,
        now: Instant,
        state: State,
        time: impl Fn(&Seen) -> Option<Instant>,
    ) -> Vec<Suspect> {
        let mut out = Vec::new();
        for (host, known) in &mut self.leases {
            if time(known).is_some_and(|at| at <= now) {
                known.state = state;
                out.push(known.suspect(host, now));
            }
        }
        out
    }

    /// A suspect has not renewed its Lease by now. True where it was alive before.
    pub fn lost(&mut self, suspect: &Suspect) -> bool {
        let Some(known) = self.leases.get_mut(&suspect.host) else {
            return false;
        };
        if known.version != suspect.version {
            return false;
        }
        std::mem::replace(&mut known.state, State::Lost) != State::Lost
    }

    /// When the next Lease is overdue or runs out.
    pub fn next(&self) -> Option<Instant> {
        self.leases.values().filter_map(Seen::next).min()
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
        assert_eq!(hosts.expired(start + LASTS + GRACE), []);
        let late = start + LASTS * 2 + GRACE;
        let overdue = start + LASTS + LASTS * 2 / 5;
        assert_eq!(hosts.next(), Some(overdue));
        assert_eq!(hosts.overdue(overdue).len(), 1);
        assert_eq!(hosts.next(), Some(late));
        let suspects = hosts.expired(late);
        assert_eq!(suspects[0].host, host());
        assert_eq!(hosts.expired(late), []);
        assert_eq!(hosts.next(), None);
        assert!(hosts.lost(&suspects[0]));
        assert!(!hosts.lost(&suspects[0]), "that was known");
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
        assert!(hosts.lost(&suspects[0]));
        assert_eq!(hosts.next(), None);
        assert_eq!(hosts.expired(start + LASTS * 2), []);
        assert!(hosts.seen(host(), "2", LASTS, overdue), "it is back");
    }

    #[test]
    fn a_host_that_has_renewed_its_lease_meanwhile_is_not_lost() {
        let start = Instant::now();
        let late = start + LASTS * 2;
        let mut hosts = Liveness::default();
        hosts.seen(host(), "1", LASTS, start);
        hosts.seen(host(), "2", LASTS, start);
        let suspects = hosts.expired(late);
        assert!(!hosts.seen(host(), "3", LASTS, late), "nobody said so");
        assert!(!hosts.lost(&suspects[0]), "who asked was too late");
        assert_eq!(hosts.expired(late + LASTS + GRACE).len(), 1);
    }

    #[test]
    fn to_be_told_again_is_no_renewal() {
        let start = Instant::now();
        let mut hosts = Liveness::default();
        hosts.seen(host(), "1", LASTS, start);
        assert!(!hosts.seen(host(), "1", LASTS, start + LASTS));
        let late = start + LASTS + GRACE;
        let suspects = hosts.expired(late);
        assert!(hosts.lost(&suspects[0]));
        assert!(!hosts.seen(host(), "1", LASTS, late), "dead as before");
        assert_eq!(hosts.next(), None);
    }
}
