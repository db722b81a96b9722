//! Which hosts failed lately. A host that fails is left alone for a time that doubles with each further
//! failure, and is tried again afterwards. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// Calls in a row whose answer never came, after which a host is left alone. One connection that cannot be
/// made is enough: nobody listens there.
pub(crate) const FAILURES: u32 = 3;
/// How long it is left alone at first.
pub(crate) const EJECTED_FIRST: Duration = Duration::from_secs(1);
/// How long at most.
pub(crate) const EJECTED_MOST: Duration = Duration::from_secs(30);

/// What happened with a call to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It answered, if only with a refusal.
    Answered,
    /// It could not be connected to.
    Unreachable,
    /// The connection broke, or nothing came in time.
    Broke,
}

/// What is known about one host.
#[derive(Debug, Default)]
pub(crate) struct Health {
    failures: u32,
    /// How many times it was ejected since it answered last.
    ejections: u32,
    until: Option<Instant>,
}

impl Health {
    /// Takes note. True when the host is ejected by it.
    pub(crate) fn note(&mut self, sign: Sign, now: Instant) -> bool {
        match sign {
            Sign::Answered => {
                *self = Self::default();
                return false;
            }
            Sign::Unreachable => self.failures = FAILURES,
            Sign::Broke => self.failures = self.failures.saturating_add(1),
        }
        // Calls that were on their way when it was ejected do not make it worse.
        if self.failures < FAILURES || self.is_ejected(now) {
            return false;
        }
        let doubled = EJECTED_FIRST.saturating_mul(1 << self.ejections.min(16));
        self.ejections = self.ejections.saturating_add(1);
        self.until = Some(now + doubled.min(EJECTED_MOST));
        true
    }

    /// Whether it is left alone.
    pub(crate) fn is_ejected(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_nobody_reaches_is_left_alone_for_ever_longer_but_not_for_ever() {
        let mut health = Health::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert!(health.note(Sign::Unreachable, now));
            assert!(!health.note(Sign::Unreachable, now), "it is already");
            let mut wait = Duration::ZERO;
            while health.is_ejected(now + wait) {
                wait += Duration::from_secs(1);
            }
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(!health.note(Sign::Answered, now));
        assert!(health.note(Sign::Unreachable, now));
        assert!(!health.is_ejected(now + EJECTED_FIRST), "it starts anew");
    }

    #[test]
    fn single_calls_that_break_do_not_eject() {
        let mut health = Health::default();
        let now = Instant::now();
        for _ in 0..10 {
            assert!(!health.note(Sign::Broke, now));
            assert!(!health.note(Sign::Broke, now));
            assert!(!health.note(Sign::Answered, now));
        }
        for ejects in [false, false, true] {
            assert_eq!(health.note(Sign::Broke, now), ejects);
        }
    }
}
