//! Where the rollout of a revision is: in which step of its canary, standing still, failed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use ringfence_api::{OnFailure, PROMOTED_ANNOTATION, RolloutSpec, RolloutStatus, share};

use super::Object;
use super::amounts::{Aim, Bounds, Side};

/// Everything that the next state depends on.
pub(super) struct Situation<'a> {
    pub(super) spec: &'a RolloutSpec,
    pub(super) replicas: u32,
    /// What was remembered of this rollout.
    pub(super) before: Option<&'a RolloutStatus>,
    /// Whether the revision is the one that was complete last: then there is no rollout.
    pub(super) complete: bool,
    /// Whether it stood still when it was looked at last.
    pub(super) was_paused: bool,
    /// How many steps of the canary are over because somebody said so.
    pub(super) promoted: u32,
    /// Instances of the revision, and the others.
    pub(super) own: Side,
    pub(super) rest: Side,
    /// Whether all of its instances are ready, so that time alone is missing.
    pub(super) settles: bool,
    /// Whether instances of the last good revision can be made.
    pub(super) stable: bool,
    pub(super) now: Timestamp,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes over as fast as the bounds let it, or has done so.
    Takeover,
    /// It has part of the instances.
    Canary,
    /// It stands still because somebody said so.
    Paused,
    /// It stands still because it has failed.
    Halted,
    /// The last good revision runs again.
    RolledBack,
}

/// The next state.
#[derive(Debug, PartialEq)]
pub(super) struct Next {
    pub(super) phase: Phase,
    /// What to remember; none where there is no rollout.
    pub(super) status: Option<RolloutStatus>,
    /// What its instances weigh.
    pub(super) weight: Option<u32>,
    /// When to look again if nothing changes.
    pub(super) again: Option<Timestamp>,
}

impl Situation<'_> {
    /// The state that follows. `trouble` says what keeps its instances from becoming ready.
    pub(super) fn next(&self, trouble: impl FnOnce() -> String) -> Next {
        if self.complete {
            return Next::of(Phase::Takeover);
        }
        let mut status = self.carried();
        let mut again = None;
        if !self.stable && self.rest.total == 0 {
            // Nobody else could take the other calls.
            status.step = self.steps();
        }
        if !self.spec.paused && status.failed.is_none() {
            again = self.walk(&mut status);
        }
        let waits = status.step < self.steps() && status.step_since.is_some();
        let waits = waits || self.settles;
        let works = !self.spec.paused && !waits && self.own.available < self.replicas;
        if works && status.failed.is_none() {
            let deadline = i64::from(self.spec.progress_deadline());
            let due = later(&status.progressed_at, deadline);
            if self.now >= due {
                status.failed = Some(trouble());
            } else {
                again = Some(due);
            }
        }
        let phase = self.phase(&status);
        Next {
            phase,
            weight: self.weight(&status).filter(|_| phase != Phase::RolledBack),
            status: Some(status),
            again,
        }
    }

    fn steps(&self) -> u32 {
        u32::try_from(self.spec.steps().len()).unwrap_or(u32::MAX)
    }

    /// What was remembered, with what has happened since.
    fn carried(&self) -> RolloutStatus {
        let Some(before) = self.before else {
            return RolloutStatus {
                progressed_at: Time(self.now),
                available: self.own.available,
                step: 0,
                step_since: None,
                failed: None,
            };
        };
        let mut status = before.clone();
        if self.own.available > status.available {
            status.available = self.own.available;
            status.progressed_at = Time(self.now);
            if !self.rolls_back() {
                status.failed = None;
            }
        }
        if self.was_paused && !self.spec.paused {
            status.progressed_at = Time(self.now);
        }
        // Steps may have been taken away.
        status.step = status.step.min(self.steps());
        status
    }

    fn rolls_back(&self) -> bool {
        self.stable && self.spec.on_failure.unwrap_or_default() == OnFailure::Rollback
    }

    /// Goes through the steps of the canary as far as it is time. Says when to look again.
    fn walk(&self, status: &mut RolloutStatus) -> Option<Timestamp> {
        while let Some(step) = self.spec.steps().get(status.step as usize) {
            if status.step_since.is_none()
                && self.own.available >= share(self.replicas, step.weight)
            {
                status.step_since = Some(Time(self.now));
            }
            let pause = step.pause_seconds.map(i64::from);
            let until = match (&status.step_since, pause) {
                (Some(since), Some(pause)) => Some(later(since, pause)),
                _ => None,
            };
            let over = until.is_some_and(|until| self.now >= until);
            if !over && self.promoted <= status.step {
                return until;
            }
            status.step += 1;
            status.step_since = None;
            status.progressed_at = Time(self.now);
        }
        None
    }

    fn phase(&self, status: &RolloutStatus) -> Phase {
        if status.failed.is_some() && self.rolls_back() {
            Phase::RolledBack
        } else if self.spec.paused {
            Phase::Paused
        } else if status.failed.is_some() {
            Phase::Halted
        } else if status.step < self.steps() {
            Phase::Canary
        } else {
            Phase::Takeover
        }
    }

    /// The share of a step counts once its instances are available; until then that of the one before.
    fn weight(&self, status: &RolloutStatus) -> Option<u32> {
        let steps = self.spec.steps();
        let step = steps.get(status.step as usize)?;
        if status.step_since.is_some() {
            return Some(step.weight);
        }
        let before = (status.step as usize).checked_sub(1);
        Some(before.map_or(0, |before| steps[before].weight))
    }
}

impl Next {
    /// A state with nothing to remember.
    pub(super) fn of(phase: Phase) -> Self {
        Self {
            phase,
            status: None,
            weight: None,
            again: None,
        }
    }

    /// How many instances there should be of the revision that leads, and of the others.
    pub(super) fn aim(
        &self,
        spec: &RolloutSpec,
        bounds: Bounds,
        own: Side,
        rest: Side,
        fill: bool,
    ) -> Aim {
        let step = self
            .status
            .as_ref()
            .map_or(0, |status| status.step as usize);
        match (self.phase, spec.steps().get(step)) {
            (Phase::Canary, Some(step)) => {
                Aim::canary(bounds, share(bounds.replicas, step.weight), rest, fill)
            }
            (Phase::Paused, _) => Aim::frozen(bounds, own, rest, fill, false),
            (Phase::Halted, _) => Aim::frozen(bounds, own, rest, fill, true),
            (Phase::Takeover | Phase::RolledBack | Phase::Canary, _) => Aim::takeover(bounds),
        }
    }
}

/// How many steps of a revision's canary were promoted.
pub(super) fn promoted(object: &Object, revision: &str) -> u32 {
    let annotations = object.metadata().annotations.as_ref();
    let said = annotations.and_then(|all| all.get(PROMOTED_ANNOTATION));
    match said.and_then(|said| said.split_once('/')) {
        Some((of, "all")) if of == revision => u32::MAX,
        Some((of, step)) if of == revision => step.parse().unwrap_or(0),
        _ => 0,
    }
}

fn later(time: &Time, seconds: i64) -> Timestamp {
    // Past the end of time is far enough.
    time.0
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}
