//! Follows the scheduler's advice: binds instances to hosts, moves those whose host is lost or drains,
//! makes room where the scheduler says so, and tells why where nothing fits.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::Resource as _;
use kube::runtime::events::EventType;
use ringfence_api::{Instance, Name, chain, condition};
use serde_json::json;
use tokio::time::Instant;

use super::{MOVING, Operator};
use crate::condition::{Verdict, find, holds};
use crate::error::Error;
use crate::index::{self, Change, Index};
use crate::key::InstanceKey;
use crate::queue::retry;
use crate::scheduler::{Decision, InstanceState, Pace};

/// Bindings that are written at the same time.
const WRITES: usize = 64;
/// An instance that fits nowhere is looked at again after this long at the earliest.
const STUCK: Duration = Duration::from_secs(1);
/// How often it is tried to say that an instance has a place.
const SAYINGS: u32 = 10;

/// Something to write.
enum Step {
    Bind(Name),
    Preempt(Name, Vec<InstanceKey>),
    /// Nowhere to go; and why.
    Stay(Verdict),
}

pub(super) async fn run(operator: Operator) {
    let mut binder = Binder {
        tried: HashMap::new(),
        failed: HashMap::new(),
        paces: BTreeMap::new(),
        moved: HashMap::new(),
    };
    loop {
        let (steps, stale) = {
            let mut index = operator.index.lock();
            let steps = binder.decide(&mut index);
            operator.metrics.unplaced(index.unplaced.len());
            (steps, binder.stale(&index))
        };
        let mut followed = futures::stream::iter(steps)
            .map(|(key, step)| follow(&operator, key, step))
            .buffer_unordered(WRITES);
        while let Some((key, done)) = followed.next().await {
            binder.followed(key, done);
        }
        drop(followed);
        // Nobody runs sooner for it, so it comes last.
        futures::stream::iter(stale)
            .for_each_concurrent(WRITES, |key| withdraw(&operator, key))
            .await;
        let again = binder.again();
        tokio::select! {
            () = operator.placing.notified() => {}
            () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
        }
    }
}

struct Binder {
    /// Instances that fitted nowhere, and when they were looked at.
    tried: HashMap<InstanceKey, Instant>,
    /// Instances for which something could not be written: how often, and when it is tried again.
    failed: HashMap<InstanceKey, (u32, Instant)>,
    /// How fast each pool's lost instances are moved.
    paces: BTreeMap<Name, Pace>,
    /// Instances that were ready on another host than theirs, and when that is taken back.
    moved: HashMap<InstanceKey, Instant>,
}

impl Binder {
    /// Decides over everything that has no place, the most important first.
    fn decide(&mut self, index: &mut Index) -> Vec<(InstanceKey, Step)> {
        let now = Instant::now();
        self.tried.retain(|_, at| now.duration_since(*at) < STUCK);
        self.failed.retain(|key, _| index.instance(key).is_some());
        let mut waiting: Vec<(InstanceKey, InstanceState)> = Vec::new();
        let displaced = self.displaced(index, now);
        for key in index.unplaced.iter().chain(&displaced) {
            if !self.tried.contains_key(key) && !self.is_put_off(key, now) {
                waiting.extend(index.to_place(key).map(|state| (key.clone(), state)));
            }
        }
        waiting.sort_by_key(|(key, state)| {
            (
                Reverse(state.placement.priority),
                state.created_ms,
                key.clone(),
            )
        });
        let mut steps = Vec::with_capacity(waiting.len());
        for (key, state) in waiting {
            let lost = index.cluster.host_of(&key).cloned();
            let step = match index.cluster.place(&key, &state) {
                Decision::Bind(host) => {
                    // Counted at once, so that the next one sees it; the write may still fail.
                    index.cluster.bind(key.clone(), &host, state);
                    index.unplaced.remove(&key);
                    Step::Bind(host)
                }
                Decision::Preempt { host, victims } => {
                    self.tried.insert(key.clone(), now);
                    Step::Preempt(host, victims)
                }
                Decision::Unschedulable(misfits) => {
                    self.tried.insert(key.clone(), now);
                    let verdict = match lost {
                        None => {
                            Verdict::no(condition::SCHEDULED, "Unschedulable", misfits.to_string())
                        }
                        Some(host) if index.host(&host).is_some_and(|view| view.is_alive()) => {
                            continue;
                        }
                        Some(host) => Verdict::unknown(
                            condition::READY,
                            condition::HOST_LOST,
                            format!("the host {host} is lost, and {misfits}"),
                        ),
                    };
                    Step::Stay(verdict)
                }
            };
            steps.push((key, step));
        }
        steps
    }

    /// Instances to move now.
    fn displaced(&mut self, index: &Index, now: Instant) -> Vec<InstanceKey> {
        let mut by_pool: BTreeMap<Name, Vec<InstanceKey>> = BTreeMap::new();
        let displaced = index.displaced().into_iter();
        for (host, key) in displaced.filter(|(_, key)| !self.is_put_off(key, now)) {
            if let Some(view) = index.host(&host) {
                by_pool
                    .entry(view.host.spec.pool.clone())
                    .or_default()
                    .push(key);
            }
        }
        let mut moving = Vec::new();
        for (pool, mut keys) in by_pool {
            let (hosts, lost) = index.losses(&pool);
            let pace = self
                .paces
                .entry(pool)
                .or_insert_with(|| Pace::new(now.into_std()));
            let granted = pace.take(now.into_std(), keys.len(), hosts, lost);
            keys.truncate(granted);
            moving.extend(keys);
        }
        moving
    }

    /// Instances that have looked ready for too long because of what was said where they were before.
    fn stale(&mut self, index: &Index) -> Vec<InstanceKey> {
        let now = Instant::now();
        self.moved.retain(|key, _| index.moved.contains(key));
        for key in &index.moved {
            if !self.moved.contains_key(key) {
                self.moved.insert(key.clone(), now + MOVING);
            }
        }
        let mut stale = Vec::new();
        for (key, at) in &mut self.moved {
            if *at <= now {
                stale.push(key.clone());
                // Should that fail, it is tried again.
                *at = now + MOVING;
            }
        }
        stale
    }

    /// Takes down whether a step could be followed. One that could not is put off, longer each time.
    fn followed(&mut self, key: InstanceKey, done: bool) {
        if done {
            self.failed.remove(&key);
            return;
        }
        let (failures, again) = self.failed.entry(key).or_insert((0, Instant::now()));
        *again = Instant::now() + retry(*failures);
        *failures += 1;
    }

    fn is_put_off(&self, key: &InstanceKey, now: Instant) -> bool {
        self.failed.get(key).is_some_and(|(_, again)| now < *again)
    }

    /// When to look again if nothing changes.
    fn again(&self) -> Option<Instant> {
        let now = Instant::now();
        let put_off = self.failed.values().map(|(_, again)| *again);
        let put_off = put_off.filter(|again| now < *again).min();
        let stuck = self.tried.values().min().map(|at| *at + STUCK);
        let paced = (!self.paces.is_empty()).then(|| Instant::now() + Pace::AGAIN);
        let stale = self.moved.values().min().copied();
        stuck
            .into_iter()
            .chain(paced)
            .chain(stale)
            .chain(put_off)
            .min()
    }
}

/// Follows a step. Whether that was possible.
async fn follow(operator: &Operator, key: InstanceKey, step: Step) -> (InstanceKey, bool) {
    let instance = operator.index.lock().instance(&key).cloned();
    let Some(instance) = instance else {
        return (key, true);
    };
    let done = match step {
        Step::Bind(host) => bind(operator, &key, &instance, &host).await,
        Step::Preempt(host, victims) => preempt(operator, &key, &host, &victims).await,
        Step::Stay(verdict) => say(operator, &key, &instance, verdict).await,
    };
    if let Err(error) = &done {
        tracing::warn!(instance = %key, error = %chain(error), "not placed; it is tried again");
    }
    (key, done.is_ok())
}

async fn bind(
    operator: &Operator,
    key: &InstanceKey,
    instance: &Instance,
    host: &Name,
) -> Result<(), Error> {
    let binding = async {
        // What this host said before it lost the instance would count again once it is bound to it.
        let seen = match is_said_ready(instance) && spoke(instance, host) {
            false => Cow::Borrowed(instance),
            true => match unsay(operator, instance, host).await? {
                Some(unsaid) => Cow::Owned(unsaid),
                None => return Ok(None),
            },
        };
        operator.writer.bind(&seen, host).await.map(Some)
    };
    match binding.await {
        Ok(None) => {
            operator.index.lock().put_back(key);
            Ok(())
        }
        Ok(Some(bound)) => {
            let conditions = conditions(&bound).to_vec();
            operator.learn(index::instance(bound.clone()));
            // Most are placed at once; only who was told otherwise is told that it is over.
            if find(&conditions, condition::SCHEDULED).is_some() {
                return scheduled(operator, key, bound, host).await;
            }
            Ok(())
        }
        Err(error) => {
            // What changed meanwhile comes by the watch.
            operator.index.lock().put_back(key);
            match error.code() {
                Some(404) => Ok(()),
                _ => Err(error),
            }
        }
    }
}

/// Says that an instance has a place, to who was told otherwise. Its host, which has it now, may write at the same
/// time: then it is said again about what the host has made of it.
async fn scheduled(
    operator: &Operator,
    key: &InstanceKey,
    mut bound: Instance,
    host: &Name,
) -> Result<(), Error> {
    let message = format!("it is bound to the host {host}");
    let verdict = Verdict::yes(condition::SCHEDULED, "Scheduled", message);
    for _ in 0..SAYINGS {
        match say(operator, key, &bound, verdict.clone()).await {
            Err(error) if error.code() == Some(409) => {}
            said => return said,
        }
        tokio::time::sleep(crate::queue::FIRST_RETRY).await;
        match operator.index.lock().instance(key) {
            Some(now) if now.spec.host_name.as_ref() == Some(host) => {
                bound = Instance::clone(now);
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Takes back what the host said where an instance was before: it is ready where it is now when that host
/// says so, which it may have done already.
async fn withdraw(operator: &Operator, key: InstanceKey) {
    let instance = {
        let index = operator.index.lock();
        let instance = index.instance(&key).cloned();
        instance.filter(|_| index.moved.contains(&key))
    };
    let Some(instance) = instance else { return };
    let Some(host) = &instance.spec.host_name else {
        return;
    };
    match unsay(operator, &instance, host).await {
        Ok(_) => {}
        // The host was faster.
        Err(error) if error.code() == Some(409) => {}
        Err(error) => {
            tracing::warn!(instance = %key, error = %chain(&error), "it looks ready until its host speaks");
        }
    }
}

/// Takes back that an instance is ready, which moves to this host. None where it is gone.
async fn unsay(
    operator: &Operator,
    instance: &Instance,
    host: &Name,
) -> Result<Option<Instance>, Error> {
    let message = format!("it was moved, and is being prepared on the host {host}");
    let verdict = Verdict::no(condition::READY, "Moved", message);
    let generation = instance.metadata.generation;
    let condition = verdict.since(conditions(instance), generation, Timestamp::now());
    let tenant = instance.metadata.namespace.as_deref().unwrap_or_default();
    let api = operator.writer.namespaced::<Instance>(tenant);
    let status = json!({"conditions": [condition]});
    let written = operator
        .writer
        .status(&api, "Instance", &instance.metadata, &status)
        .await?;
    if let Some(written) = &written {
        operator.learn(index::instance(written.clone()));
    }
    Ok(written)
}

fn is_said_ready(instance: &Instance) -> bool {
    holds(conditions(instance), condition::READY)
}

/// Whether it was this host that said last how it is with an instance.
fn spoke(instance: &Instance, host: &Name) -> bool {
    let status = instance.status.as_ref();
    status.and_then(|status| status.host_name.as_ref()) == Some(host)
}

/// Deletes what is less important. What it was made from makes it again, and it waits for a place.
async fn preempt(
    operator: &Operator,
    key: &InstanceKey,
    host: &Name,
    victims: &[InstanceKey],
) -> Result<(), Error> {
    for victim in victims {
        let instance = operator.index.lock().instance(victim).cloned();
        let Some(instance) = instance else { continue };
        operator.writer.delete(&instance).await?;
        operator.learn(Change::InstanceGone(victim.clone()));
        let note = format!("it made room on the host {host} for {key}, which is more important");
        let about: ObjectReference = instance.object_ref(&());
        operator
            .tell(about, EventType::Warning, "Preempted", note)
            .await;
    }
    Ok(())
}

/// Writes what the operator has to say about an instance, unless it is said already.
async fn say(
    operator: &Operator,
    key: &InstanceKey,
    instance: &Instance,
    verdict: Verdict,
) -> Result<(), Error> {
    let before = conditions(instance);
    let said = find(before, verdict.kind)
        .is_some_and(|said| (&*said.reason, &said.message) == (&*verdict.reason, &verdict.message));
    if said {
        return Ok(());
    }
    let condition = verdict.since(before, instance.metadata.generation, Timestamp::now());
    let api = operator.writer.namespaced::<Instance>(key.tenant.as_str());
    let status = json!({"conditions": [condition]});
    let written = operator
        .writer
        .status(&api, "Instance", &instance.metadata, &status)
        .await?;
    if let Some(written) = written {
        operator.learn(index::instance(written));
    }
    Ok(())
}

fn conditions(instance: &Instance) -> &[Condition] {
    instance
        .status
        .as_ref()
        .map_or(&[], |status| &status.conditions)
}
