//! The book of all runs, and what follows from it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use ringfence_api::{Name, Run, TenantName, condition};
use tokio::time::Instant;

use super::known::{Known, removal};
use super::queue::Waiting;
use super::{
    Candidates, Ending, GRACE, RUNS_PER_HOST, RunKey, STEPS, Step, TELL_AFTER,
    TENANT_RUNS_PER_HOST, Targets,
};
use crate::condition::{Verdict, find};
use crate::key::WorkloadId;

/// Every run that there is.
#[derive(Debug, Default)]
pub struct Book {
    runs: HashMap<RunKey, Known>,
    /// To be looked at because something happened to them.
    look: BTreeSet<RunKey>,
    /// To be looked at when it is time.
    timers: BTreeSet<(Instant, RunKey)>,
    waiting: Waiting,
    /// What is bound to each host and not over.
    load: BTreeMap<Name, HashSet<RunKey>>,
    /// How many of these each tenant has.
    parts: HashMap<(Name, TenantName), usize>,
    /// Runs of a list that is under way.
    listing: HashSet<RunKey>,
    /// Everything that was there at the start is known.
    listed: bool,
    /// The last decision left something for the next one.
    more: Option<Instant>,
}

impl Book {
    /// A run is there, as the watch tells or as the API server answered a write.
    pub fn put(&mut self, run: &Run, now: Instant, wall: Timestamp) {
        let Some(key) = RunKey::of(run) else { return };
        match self.runs.get_mut(&key) {
            Some(known) if known.is_current(run) => return,
            Some(known) if known.is_same(run) => known.update(run),
            before => {
                let was_there = before.is_some();
                if was_there {
                    self.remove(&key);
                }
                let Some(known) = Known::new(run, &key.tenant, now, wall) else {
                    return;
                };
                self.runs.insert(key.clone(), known);
            }
        }
        let Some(known) = self.runs.get(&key) else {
            return;
        };
        // While a binding is on its way, its room is taken.
        if !known.busy || known.holds().is_some() || known.phase.is_final() {
            let at = known.holds().cloned();
            self.count(&key, at);
        }
        let Some(known) = self.runs.get(&key) else {
            return;
        };
        let at = match (known.phase.is_final(), &known.host) {
            (true, _) => removal(run, now, wall),
            (false, None) => known.deadline,
            (false, Some(_)) => known.deadline + GRACE,
        };
        self.set_timer(&key, Some(at));
        self.look.insert(key);
    }

    /// A run is gone.
    pub fn remove(&mut self, key: &RunKey) {
        self.set_timer(key, None);
        self.count(key, None);
        self.runs.remove(key);
        self.look.remove(key);
    }

    /// A list begins.
    pub fn list_begins(&mut self) {
        self.listing.clear();
    }

    /// A run of the list.
    pub fn list_has(&mut self, run: &Run, now: Instant, wall: Timestamp) {
        self.listing.extend(RunKey::of(run));
        self.put(run, now, wall);
    }

    /// The list is complete: what it did not have is gone.
    pub fn list_ends(&mut self) {
        let listing = std::mem::take(&mut self.listing);
        let gone: Vec<RunKey> = self
            .runs
            .keys()
            .filter(|key| !listing.contains(*key))
            .cloned()
            .collect();
        for key in gone {
            self.remove(&key);
        }
        self.listed = true;
    }

    /// Instances of an agent or tool changed, or it did.
    pub fn target_changed(&mut self, target: &WorkloadId) {
        // What its runs were told may be different now.
        let waiting: Vec<RunKey> = self.waiting.of(target).cloned().collect();
        if !waiting.is_empty() {
            self.look.extend(waiting);
            self.waiting.wake(target.clone());
        }
    }

    /// A host is lost, back, or gone.
    pub fn hosts_changed(&mut self) {
        self.look.extend(self.load.values().flatten().cloned());
        self.waiting.wake_all();
    }

    /// What is known of a run.
    pub fn get(&self, key: &RunKey) -> Option<&Known> {
        self.runs.get(key)
    }

    /// Runs that wait for a host.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Runs that are bound and not over.
    pub fn bound(&self) -> usize {
        self.load.values().map(HashSet::len).sum()
    }

    /// A write was not made: it is decided anew, later each time, or once the run is seen to have changed.
    pub fn failed(&mut self, key: &RunKey, now: Instant) {
        let Some(known) = self.runs.get_mut(key) else {
            return;
        };
        known.busy = false;
        let (host, again) = (known.holds().cloned(), known.failed(now));
        self.count(key, host);
        self.set_timer(key, Some(again));
    }

    /// A write was answered.
    pub fn done(&mut self, key: &RunKey) {
        if let Some(known) = self.runs.get_mut(key) {
            known.busy = false;
            self.look.insert(key.clone());
        }
    }

    /// When to decide again if nothing happens.
    pub fn next(&self) -> Option<Instant> {
        self.more.or_else(|| self.timers.first().map(|(at, _)| *at))
    }

    /// Decides over everything that has to be looked at. What is decided is taken to be written until
    /// [`Book::done`] or [`Book::failed`].
    pub fn decide(&mut self, targets: &impl Targets, now: Instant) -> Vec<(RunKey, Step)> {
        let mut steps = Vec::new();
        if !self.listed {
            return steps;
        }
        self.more = None;
        let mut candidates = HashMap::new();
        while let Some((at, key)) = self.timers.first().cloned()
            && at <= now
        {
            self.set_timer(&key, None);
            self.look.insert(key);
        }
        for key in std::mem::take(&mut self.look) {
            if let Some(step) = self.look(targets, &mut candidates, &key, now) {
                if let Some(known) = self.runs.get_mut(&key) {
                    known.busy = true;
                }
                steps.push((key, step));
            }
        }
        self.place(targets, &mut candidates, now, &mut steps);
        steps
    }

    /// What has to be done for one run, but for binding it.
    fn look(
        &mut self,
        targets: &impl Targets,
        candidates: &mut HashMap<WorkloadId, Candidates>,
        key: &RunKey,
        now: Instant,
    ) -> Option<Step> {
        let known = self.runs.get(key)?;
        if known.busy || known.deleting {
            return None;
        }
        if let Some(at) = known.put_off.filter(|at| now < *at) {
            self.set_timer(key, Some(at));
            return None;
        }
        if known.phase.is_final() {
            // Its timer is taken away when it is time.
            return known.timer.is_none().then_some(Step::Remove);
        }
        if let Some(host) = &known.host {
            if !targets.alive(host) {
                let why =
                    format!("the host {host} is lost: whether the run took place is not known");
                return Some(Step::End(Ending::Unknown(why)));
            }
            if now >= known.deadline + GRACE {
                let why = format!("the host {host} has not said how it ended, long after its time");
                return Some(Step::End(Ending::Unknown(why)));
            }
            let at = known.deadline + GRACE;
            self.set_timer(key, Some(at));
            return None;
        }
        if known.cancel {
            return Some(Step::End(Ending::Canceled));
        }
        let (target, seen, deadline) = (known.target.clone(), known.seen, known.deadline);
        let found = candidates
            .entry(target.clone())
            .or_insert_with(|| targets.candidates(&target));
        if now >= deadline {
            let why = match found {
                Candidates::Hosts(_) => "every host with a ready instance was busy".to_owned(),
                Candidates::None(why) => why.clone(),
            };
            return Some(Step::End(Ending::TimedOut(format!(
                "its time was over before it could begin: {why}"
            ))));
        }
        let mut wake = deadline;
        let mut say = None;
        if let Candidates::None(why) = found {
            let verdict = Verdict::no(condition::BOUND, "NoReadyInstance", why.clone());
            let said = find(&known.conditions, condition::BOUND).is_some_and(|said| {
                said.reason == verdict.reason && said.message == verdict.message
            });
            if !said && now >= seen + TELL_AFTER {
                say = Some(Step::Say(verdict));
            } else if !said {
                wake = wake.min(seen + TELL_AFTER);
            }
        }
        let known = self.runs.get_mut(key)?;
        if !known.queued {
            known.queued = true;
            self.waiting.push(&target, key.clone());
        }
        self.set_timer(key, Some(wake));
        say
    }

    /// Binds what waits, in turns between agents and tools.
    fn place(
        &mut self,
        targets: &impl Targets,
        candidates: &mut HashMap<WorkloadId, Candidates>,
        now: Instant,
        steps: &mut Vec<(RunKey, Step)>,
    ) {
        let mut turns = self.waiting.take_awake();
        while let Some(target) = turns.pop_front() {
            if steps.len() >= STEPS {
                self.waiting.wake(target);
                turns
                    .into_iter()
                    .for_each(|target| self.waiting.wake(target));
                self.more = Some(now);
                return;
            }
            let found = candidates
                .entry(target.clone())
                .or_insert_with(|| targets.candidates(&target));
            // Until instances of it change.
            let Candidates::Hosts(hosts) = found else {
                continue;
            };
            let Some(key) = self.waiting.pop(&target) else {
                continue;
            };
            let Some(known) = self.runs.get_mut(&key) else {
                turns.push_back(target);
                continue;
            };
            if !known.waits() || known.busy {
                known.queued = false;
                if known.busy {
                    self.look.insert(key);
                }
                turns.push_back(target);
                continue;
            }
            let load = |host: &Name| self.load.get(host).map_or(0, HashSet::len);
            let full = |host: &Name| load(host) >= RUNS_PER_HOST;
            let part = |host: &Name| {
                let place = (host.clone(), target.tenant.clone());
                self.parts.get(&place).copied().unwrap_or_default()
            };
            let roomy = hosts
                .iter()
                .filter(|(host, _)| !full(host) && part(host) < TENANT_RUNS_PER_HOST);
            let Some((host, journal)) = roomy.min_by_key(|(host, _)| (load(host), host.clone()))
            else {
                let hosts: Vec<(Name, bool)> = hosts
                    .iter()
                    .map(|(host, _)| (host.clone(), !full(host)))
                    .collect();
                for (host, part) in hosts {
                    self.waiting.stuck(&target, &host, part);
                    if part {
                        // The room that it cannot have is the next one's.
                        self.waiting.room(&host, None);
                    }
                }
                self.waiting.push_front(&target, key);
                turns.extend(self.waiting.take_awake());
                continue;
            };
            let left = known.deadline.saturating_duration_since(now);
            (known.queued, known.busy) = (false, true);
            let (host, journal) = (host.clone(), journal.clone());
            self.count(&key, Some(host.clone()));
            steps.push((key, Step::Bind(host, journal, left)));
            turns.push_back(target);
        }
    }

    /// Counts a run to the host whose room it takes, if any.
    fn count(&mut self, key: &RunKey, at: Option<Name>) {
        let Some(known) = self.runs.get_mut(key) else {
            return;
        };
        if known.counted == at {
            return;
        }
        let before = std::mem::replace(&mut known.counted, at.clone());
        if let Some(host) = before
            && let Some(here) = self.load.get_mut(&host)
        {
            here.remove(key);
            if here.is_empty() {
                self.load.remove(&host);
            }
            let place = (host.clone(), key.tenant.clone());
            if let Some(part) = self.parts.get_mut(&place) {
                *part = part.saturating_sub(1);
                if *part == 0 {
                    self.parts.remove(&place);
                }
            }
            self.waiting.room(&host, Some(&key.tenant));
            self.waiting.room(&host, None);
        }
        if let Some(host) = at {
            *self
                .parts
                .entry((host.clone(), key.tenant.clone()))
                .or_default() += 1;
            self.load.entry(host).or_default().insert(key.clone());
        }
    }

    fn set_timer(&mut self, key: &RunKey, at: Option<Instant>) {
        let Some(known) = self.runs.get_mut(key) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut known.timer, at) {
            self.timers.remove(&(before, key.clone()));
        }
        if let Some(at) = at {
            self.timers.insert((at, key.clone()));
        }
    }
}

/// Milliseconds of a time that is left.
pub fn millis(left: Duration) -> u64 {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
}
