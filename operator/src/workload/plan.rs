//! What has to be made, pinned, weighed and deleted, so that an agent or tool is as it should be.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use ringfence_api::{Instance, Pinned, WorkloadStatus, condition};

use super::View;
use super::amounts::{Bounds, Change, Side, amounts};
use super::history::{History, Records};
use super::revision::still_allowed;
use super::rollout::{Next, Phase, Situation, promoted};
use super::status::{self, Outcome};
use super::target::{Target, available_at, is_living, is_ready, name};
use crate::condition::find;

/// What has to be done, in this order.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Instances to delete, by name.
    pub delete: Vec<String>,
    /// Instances to make.
    pub create: Vec<Instance>,
    /// Instances to pin, by name.
    pub pin: Vec<(String, Pinned)>,
    /// Instances whose weight changes, by name.
    pub weigh: Vec<(String, Option<u32>)>,
    /// What is to be done about the history.
    pub records: Records,
    /// The status that should be there.
    pub status: WorkloadStatus,
    /// When to look again if nothing changes.
    pub again: Option<Timestamp>,
}

impl Plan {
    /// Whether there is nothing to do but to tell that instances which were all ready `before` are being placed
    /// and prepared again.
    pub fn only_moves(&self, before: &WorkloadStatus) -> bool {
        let nothing = self.delete.is_empty()
            && self.create.is_empty()
            && self.pin.is_empty()
            && self.weigh.is_empty()
            && self.records.is_empty();
        let says = |status: &WorkloadStatus, value, reason| {
            find(&status.conditions, condition::READY)
                .is_some_and(|said| (said.status.as_str(), said.reason.as_str()) == (value, reason))
        };
        nothing
            && before.observed_generation == self.status.observed_generation
            && says(before, "True", status::READY)
            && says(&self.status, "False", status::PREPARING)
    }
}

/// Plans what an agent or tool needs. It changes nothing where nothing is to be changed: the plan of
/// what a plan leads to is empty.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan {
    let object = view.object;
    let revision = object.revision();
    let history = History::new(object, view.history);
    let current = object.status().and_then(|s| s.current_revision.as_deref());
    // What to fall back to. Nothing where the spec says what ran last.
    let earlier = current.filter(|current| *current != revision);
    let earlier = earlier.and_then(|current| history.at(current));
    let stable = earlier.as_ref().and_then(|object| {
        let view = View { object, ..*view };
        Target::new(view).ok()
    });
    match (Target::new(*view), stable) {
        (Ok(newest), stable) => Planner::new(view, &newest, stable.as_ref(), now).plan(&history),
        (Err(refused), Some(stable)) => {
            let mut planner = Planner::new(view, &stable, None, now);
            let next = Next::of(Phase::RolledBack);
            planner.steer(&stable, &next);
            planner.plan.status = status::refused(&planner.outcome(&next), &refused, Some(&stable));
            planner.plan.again = planner.again(None);
            planner.plan
        }
        // Nothing that ran before may run, and what is meant cannot.
        (Err(refused), None) => {
            let mut planner = Planner::nothing(view, now);
            let next = Next::of(Phase::Halted);
            planner.plan.status = status::refused(&planner.outcome(&next), &refused, None);
            planner.plan
        }
    }
}

/// Which of several instances goes first: those of the last good revision last, then those of the highest
/// number first.
type Rank = (bool, Reverse<u32>);

/// A plan in the making.
struct Planner<'a> {
    view: &'a View<'a>,
    newest: Option<&'a Target<'a>>,
    stable: Option<&'a Target<'a>>,
    bounds: Bounds,
    now: Timestamp,
    /// Instances that may stay.
    kept: Vec<&'a Arc<Instance>>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(
        view: &'a View<'a>,
        newest: &'a Target<'a>,
        stable: Option<&'a Target<'a>>,
        now: Timestamp,
    ) -> Self {
        let mut planner = Self::nothing(view, now);
        let may_stay = |instance: &Instance| {
            newest.has(instance)
                || stable.is_some_and(|stable| stable.has(instance))
                || still_allowed(view, &newest.resolved, instance)
        };
        let living = view.instances.iter().filter(|i| is_living(i));
        let (kept, gone): (Vec<_>, Vec<_>) = living.partition(|i| may_stay(i));
        planner.plan.delete = gone.into_iter().map(|i| name(i)).collect();
        planner.kept = kept;
        planner.newest = Some(newest);
        planner.stable = stable;
        planner
    }

    /// The plan that deletes everything.
    fn nothing(view: &'a View<'a>, now: Timestamp) -> Self {
        let replicas = view.object.replicas();
        let (surge, unavailable) = view.object.rollout().bounds(replicas);
        let living = view.instances.iter().filter(|i| is_living(i));
        Self {
            view,
            newest: None,
            stable: None,
            bounds: Bounds {
                replicas,
                surge,
                unavailable,
            },
            now,
            kept: Vec::new(),
            plan: Plan {
                delete: living.map(|i| name(i)).collect(),
                ..Plan::default()
            },
        }
    }

    fn plan(mut self, history: &History<'_>) -> Plan {
        let Some(newest) = self.newest else {
            return self.plan;
        };
        let object = self.view.object;
        let before = object.status();
        let current = before.and_then(|status| status.current_revision.as_deref());
        let mut next = self.situation(newest, before, current).next(|| {
            let (ready, wanted) = status::ready_of(newest, self.bounds.replicas);
            let why = status::trouble_of(newest).map_or_else(
                || "they were still being placed and prepared".to_owned(),
                |(_, message)| message,
            );
            format!("{ready} of {wanted} instances were ready: {why}")
        });
        let lead = match (next.phase, self.stable) {
            (Phase::RolledBack, Some(stable)) => stable,
            _ => newest,
        };
        let left = self.steer(lead, &next);
        let whole = Side {
            total: self.bounds.replicas,
            available: self.bounds.replicas,
        };
        let leads = std::ptr::eq(lead, newest);
        if leads && next.phase == Phase::Takeover && left == (whole, Side::default()) {
            next.status = None;
            next.again = None;
        }
        let complete = next.status.is_none();
        let failed = next.status.as_ref().is_some_and(|s| s.failed.is_some());
        if (complete && newest.known.is_some()) || failed {
            let kept: Vec<&str> = [Some(newest.revision.as_str()), current.filter(|_| failed)]
                .into_iter()
                .flatten()
                .collect();
            self.plan.records = history.records(newest.known.as_ref(), &newest.revision, &kept);
        }
        self.plan.status = status::of(&self.outcome(&next), newest);
        self.plan.again = self.again(next.again);
        self.plan
    }

    fn situation<'s>(
        &'s self,
        newest: &Target<'_>,
        before: Option<&'s WorkloadStatus>,
        current: Option<&str>,
    ) -> Situation<'s> {
        let same = before.filter(|s| s.update_revision.as_ref() == Some(&newest.revision));
        let said = before.and_then(|s| find(&s.conditions, condition::PROGRESSING));
        let (own, rest) = self.sides(newest);
        Situation {
            spec: self.view.object.rollout(),
            replicas: self.bounds.replicas,
            before: same.and_then(|status| status.rollout.as_ref()),
            complete: current == Some(newest.revision.as_str()),
            was_paused: said.is_some_and(|said| said.reason == status::PAUSED),
            promoted: promoted(self.view.object, &newest.revision),
            own,
            rest,
            settles: own.total > 0 && self.are_ready(newest),
            stable: self.stable.is_some(),
            now: self.now,
        }
    }

    fn is_available(&self, instance: &Instance) -> bool {
        let wait = self.view.object.rollout().min_ready();
        available_at(instance, wait).is_some_and(|at| at <= self.now)
    }

    /// Whether every instance that there is of a revision is ready.
    fn are_ready(&self, of: &Target<'_>) -> bool {
        let mut own = self.kept.iter().filter(|instance| of.has(instance));
        own.all(|instance| is_ready(instance))
    }

    fn sides(&self, lead: &Target<'_>) -> (Side, Side) {
        let (mut own, mut rest) = (Side::default(), Side::default());
        for instance in &self.kept {
            let side = if lead.has(instance) {
                &mut own
            } else {
                &mut rest
            };
            side.total += 1;
            side.available += u32::from(self.is_available(instance));
        }
        (own, rest)
    }

    /// Plans the next step towards what `lead` should have. Says what there is after it, counting nothing
    /// that is made.
    fn steer(&mut self, lead: &'a Target<'a>, next: &Next) -> (Side, Side) {
        let (own, rest) = self.sides(lead);
        let fill = self.stable.filter(|stable| !std::ptr::eq(*stable, lead));
        let spec = self.view.object.rollout();
        let aim = next.aim(spec, self.bounds, own, rest, fill.is_some());
        let (of_own, of_rest) = amounts(self.bounds, own, rest, aim);
        self.drop(of_own, |instance| {
            lead.ordinal(instance)
                .map(|ordinal| (true, Reverse(ordinal)))
        });
        self.drop(of_rest, |instance| {
            let is_stable = fill.is_some_and(|stable| stable.has(instance));
            (!lead.has(instance)).then_some((is_stable, Reverse(0)))
        });
        self.settle(lead, next.weight);
        let made = lead.make(of_own.make, next.weight);
        self.plan.create.extend(made);
        if let Some(stable) = fill {
            let pinned = stable.pinned();
            self.pin(stable, pinned.as_ref());
            self.plan.create.extend(stable.make(of_rest.make, None));
        }
        let after = |side: Side, change: Change| Side {
            total: side.total - change.drop_missing - change.drop_available,
            available: side.available - change.drop_available,
        };
        (after(own, of_own), after(rest, of_rest))
    }

    /// Deletes as many as it says of those that `rank` takes, the lowest rank first.
    fn drop(&mut self, change: Change, rank: impl Fn(&Instance) -> Option<Rank>) {
        for (available, count) in [(false, change.drop_missing), (true, change.drop_available)] {
            let mut ranked: Vec<(Rank, String)> = self
                .kept
                .iter()
                .filter(|instance| self.is_available(instance) == available)
                .filter_map(|instance| Some((rank(instance)?, name(instance))))
                .collect();
            ranked.sort();
            let gone = ranked.into_iter().take(count as usize);
            let gone: BTreeSet<String> = gone.map(|(_, name)| name).collect();
            self.kept.retain(|instance| !gone.contains(&name(instance)));
            self.plan.delete.extend(gone);
        }
    }

    /// Pins and weighs what there is of the revision that leads.
    fn settle(&mut self, lead: &Target<'_>, weight: Option<u32>) {
        let pinned = lead.pinned();
        self.pin(lead, pinned.as_ref());
        let own = self.kept.iter().filter(|instance| lead.has(instance));
        let weigh = own
            .filter(|instance| instance.spec.weight != weight)
            .map(|instance| (name(instance), weight));
        self.plan.weigh.extend(weigh);
    }

    fn pin(&mut self, target: &Target<'_>, pinned: Option<&Pinned>) {
        let Some(pinned) = pinned else { return };
        let own = self.kept.iter().filter(|instance| target.has(instance));
        let pin = own
            .filter(|instance| instance.spec.pinned.is_none())
            .map(|instance| (name(instance), pinned.clone()));
        self.plan.pin.extend(pin);
    }

    /// What there is once the plan was followed.
    fn outcome<'n>(&'n self, next: &'n Next) -> Outcome<'n> {
        Outcome {
            view: self.view,
            bounds: self.bounds,
            stable: self.stable,
            phase: next.phase,
            rollout: next.status.as_ref(),
            weight: next.weight,
            made: match self.view.refused {
                None => &self.plan.create,
                // It was not made, or not all of it.
                Some(_) => &[],
            },
            kept: &self.kept,
            available: self.kept.iter().filter(|i| self.is_available(i)).count(),
            now: self.now,
        }
    }

    /// When something changes by itself: an instance counts as available, a step or a deadline is over.
    fn again(&self, next: Option<Timestamp>) -> Option<Timestamp> {
        let wait = self.view.object.rollout().min_ready();
        let counts = self.kept.iter().filter_map(|i| available_at(i, wait));
        counts.chain(next).filter(|at| *at > self.now).min()
    }
}
