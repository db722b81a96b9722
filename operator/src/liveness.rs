//! Which hosts are alive, by their Leases.
//!
//! As with leaders, no two clocks are compared: a host is lost when its Lease was not seen to change for
//! as long as the Lease says. Time in which no Lease at all was seen to be written does not count: then it is not
//! the hosts that are away, but the API server, or something that it asks before it writes.
//!
//! Silence alone proves nothing sooner than that: the host may be cut off from the API server, and go on. But a host
//! whose renewal is overdue, and where a connection is refused, has ended: its machine answers, and says that nothing
//! listens.
//!
//! Whoever hears nothing may be the one who is cut off. So neither is believed before the API server itself, asked
//! for it, has the Lease as it was.

use std::collections::HashMap;
use std::time::Duration;

use ringfence_api::Name;
use tokio::time::Instant;

use crate::leader::STEP_DOWN;

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

/// While Leases can be written, one is written this often at least: the leader renews its own every second, and gives
/// up when it could not for as long as this.
const SILENCE: Duration = STEP_DOWN;

/// Hosts and when their Leases run out.
#[derive(Debug)]
pub struct Liveness {
    leases: HashMap<Name, Seen>,
    /// When a Lease was last seen to be written, by whomever.
    heard: Instant,
    /// None can be written, as far as is known here.
    silent: bool,
}

/// A Lease as it was seen last.
#[derive(Debug)]
struct Seen {
    version: String,
    /// For how long it holds from its renewal.
    lasts: Duration,
    expires: Instant,
    state: State,
    /// It was seen to change: somebody renews it.
    renewed: bool,
}

impl Seen {
    /// When something is to be done about it if nothing changes. While it is `silent` none runs out.
    fn next(&self, silent: bool) -> Option<Instant> {
        match self.state {
            State::Fresh(until) => Some(until),
            State::Overdue => (!silent).then_some(self.expires),
            State::Expired | State::Lost => None,
        }
    }

    /// It has the whole of its time, from now.
    fn begin(&mut self, now: Instant) {
        self.expires = now + self.lasts + GRACE;
        self.state = State::Fresh(now + self.lasts * OVERDUE_PERCENT / 100);
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
    /// No hosts yet.
    pub fn new(now: Instant) -> Self {
        Self {
            leases: HashMap::new(),
            heard: now,
            silent: false,
        }
    }

    /// A Lease of somebody was written. Where that is the first for long, every host gets the whole time of its
    /// Lease once more to renew it.
    pub fn heard(&mut self, now: Instant) {
        if now.saturating_duration_since(self.heard) >= SILENCE {
            let living = self.leases.values_mut();
            let living = living.filter(|known| known.state != State::Lost);
            living.for_each(|known| known.begin(now));
        }
        self.heard = self.heard.max(now);
        self.silent = false;
    }

    /// A Lease was seen, in this version, that lasts this long from its renewal. True where that proves that
    /// its host lives and nothing did before: a Lease that is merely there may be that of a host long dead.
    pub fn seen(&mut self, host: Name, version: &str, lasts: Duration, now: Instant) -> bool {
        let known = self.leases.get(&host);
        if known.is_some_and(|known| known.version == version) {
            // Told again, as when a watch starts anew.
            return false;
        }
        let news = known.is_some_and(|known| known.state == State::Lost || !known.renewed);
        let renewed = known.is_some();
        if renewed {
            self.heard(now);
        }
        let mut seen = Seen {
            version: version.to_owned(),
            lasts,
            expires: now,
            state: State::Expired,
            renewed,
        };
        seen.begin(now);
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

    /// Hosts whose Lease has run out since the last time, as far as is known here. None while none can be written.
    pub fn expired(&mut self, now: Instant) -> Vec<Suspect> {
        self.silent = now.saturating_duration_since(self.heard) >= SILENCE;
        if self.silent {
            return Vec::new();
        }
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

    /// When the next Lease is overdue or runs out; not the latter while that depends on whether any can be written.
    pub fn next(&self) -> Option<Instant> {
        let next = |known: &Seen| known.next(self.silent);
        self.leases.values().filter_map(next).min()
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
        let mut hosts = Liveness::new(start);
        assert!(!hosts.seen(host(), "1", LASTS, start), "it may be old");
        assert!(hosts.seen(host(), "2", LASTS, start), "it is renewed");
        let soon = start + LASTS / 2;
        assert!(!hosts.seen(host(), "3", LASTS, soon));
        hosts.heard(start + LASTS);
        assert_eq!(hosts.expired(start + LASTS + GRACE), []);
        let late = soon + LASTS + GRACE;
        let overdue = soon + LASTS * 2 / 5;
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
        let mut hosts = Liveness::new(start);
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
        let late = start + LASTS + GRACE;
        let mut hosts = Liveness::new(start);
        hosts.seen(host(), "1", LASTS, start);
        hosts.seen(host(), "2", LASTS, start);
        hosts.heard(start + LASTS / 2);
        let suspects = hosts.expired(late);
        assert!(!hosts.seen(host(), "3", LASTS, late), "nobody said so");
        assert!(!hosts.lost(&suspects[0]), "who asked was too late");
        hosts.heard(late + LASTS / 2);
        assert_eq!(hosts.expired(late + LASTS + GRACE).len(), 1);
    }

    #[test]
    fn to_be_told_again_is_no_renewal() {
        let start = Instant::now();
        let mut hosts = Liveness::new(start);
        hosts.seen(host(), "1", LASTS, start);
        assert!(!hosts.seen(host(), "1", LASTS, start + LASTS));
        let late = start + LASTS + GRACE;
        hosts.heard(start + LASTS / 2);
        let suspects = hosts.expired(late);
        assert!(hosts.lost(&suspects[0]));
        assert!(!hosts.seen(host(), "1", LASTS, late), "dead as before");
        assert_eq!(hosts.next(), None);
    }

    #[test]
    fn nobody_is_lost_while_no_lease_can_be_written() {
        let start = Instant::now();
        let at = |tenths: u32| start + Duration::from_millis(100) * tenths;
        let [one, other] = ["a", "b"].map(Name::well_known);
        let mut hosts = Liveness::new(start);
        for (version, now) in [("1", at(0)), ("2", at(10))] {
            hosts.seen(one.clone(), version, LASTS, now);
            hosts.seen(other.clone(), version, LASTS, now);
        }
        let due = at(10) + LASTS + GRACE;
        assert_eq!(hosts.overdue(due).len(), 2);
        assert_eq!(hosts.next(), Some(due));
        assert_eq!(hosts.expired(due), []);
        assert_eq!(hosts.next(), None, "nobody can tell");
        assert_eq!(hosts.expired(at(9_000)), []);
        // It is over: one renews, and the other has the whole time to do so.
        assert!(!hosts.seen(one.clone(), "3", LASTS, at(9_000)));
        let due = at(9_000) + LASTS + GRACE;
        assert_eq!(hosts.overdue(at(9_020)).len(), 2);
        assert_eq!(hosts.next(), Some(due));
        hosts.heard(at(9_030));
        hosts.seen(one, "4", LASTS, at(9_030));
        let suspects = hosts.expired(due);
        assert_eq!(suspects.len(), 1);
        assert_eq!(suspects[0].host, other);
    }

    #[test]
    fn who_was_lost_before_stays_lost() {
        let start = Instant::now();
        let mut hosts = Liveness::new(start);
        hosts.seen(host(), "1", LASTS, start);
        hosts.heard(start + LASTS / 2);
        let suspects = hosts.expired(start + LASTS + GRACE);
        assert!(hosts.lost(&suspects[0]));
        hosts.heard(start + LASTS * 9);
        assert_eq!(hosts.next(), None);
        assert!(!hosts.lost(&suspects[0]));
    }
}
