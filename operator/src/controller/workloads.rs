//! Agents and tools: follows their plans.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::runtime::events::EventType;
use kube::{Resource as _, ResourceExt as _};
use ringfence_api::{Agent, Instance, Tool, WorkloadStatus, chain, condition, head};
use tokio::time::Instant;

use super::{MOVING, Operator};
use crate::condition::find;
use crate::error::Error;
use crate::index::{self, Change};
use crate::key::{InstanceKey, WorkloadId};
use crate::workload::{Object, Plan, View, plan};

/// Agents and tools whose instances move, and when their status tells so.
pub(super) type Moving = HashMap<WorkloadId, Instant>;

/// Agents and tools of whose plans the API server did not take everything, and why.
pub(super) type Refused = HashMap<WorkloadId, String>;

/// The longest reason that is told.
const REFUSED_BYTES: usize = 1_024;

pub(super) async fn run(operator: Operator) {
    loop {
        let id = operator.workloads.next().await;
        match reconcile(&operator, &id).await {
            Ok(()) => operator.workloads.done(&id),
            Err(error) => {
                tracing::warn!(workload = %id, error = %chain(&error), "it is tried again");
                operator.metrics.failed();
                operator.workloads.failed(&id);
            }
        }
    }
}

async fn reconcile(operator: &Operator, id: &WorkloadId) -> Result<(), Error> {
    let Some((object, instances, plan)) = planned(operator, id) else {
        operator.moving.lock().remove(id);
        operator.refused.lock().remove(id);
        return Ok(());
    };
    operator.metrics.planned();
    if let Err(error) = follow(operator, id, &instances, &plan).await {
        if error.is_refusal() {
            say_refused(operator, id, &error).await;
        }
        return Err(error);
    }
    if operator.refused.lock().remove(id).is_some() {
        // The status of this plan still tells that it was refused.
        operator.workloads.add(id.clone());
        return Ok(());
    }
    if let Some(until) = moving(operator, id, &object, &plan) {
        operator.workloads.later(id.clone(), until);
        return Ok(());
    }
    write_status(operator, id, &object, &plan).await?;
    if let Some(at) = plan.again {
        let wait = at
            .duration_since(Timestamp::now())
            .max(SignedDuration::ZERO);
        // Past the end of time nothing has to be looked at.
        if let Ok(wait) = Duration::try_from(wait) {
            operator.workloads.later(id.clone(), Instant::now() + wait);
        }
    }
    Ok(())
}

/// Does everything that a plan says, but for its status.
async fn follow(
    operator: &Operator,
    id: &WorkloadId,
    instances: &[Arc<Instance>],
    plan: &Plan,
) -> Result<(), Error> {
    let writer = &operator.writer;
    let seen = |name: &String| {
        let mut all = instances.iter();
        all.find(|i| i.metadata.name.as_ref() == Some(name))
    };
    for name in &plan.delete {
        if let Some(seen) = seen(name) {
            writer.delete(seen).await?;
        }
        let key = InstanceKey {
            tenant: id.tenant.clone(),
            name: name.clone(),
        };
        operator.learn(Change::InstanceGone(key));
    }
    for instance in &plan.create {
        make(operator, instance).await?;
    }
    // What is both pinned and weighed comes again: weighed is what was pinned meanwhile.
    for (name, pinned) in &plan.pin {
        if let Some(seen) = seen(name) {
            let pinned = writer.pin(seen, pinned).await?;
            operator.learn(index::instance(pinned));
        }
    }
    for (name, weight) in &plan.weigh {
        if let Some(seen) = seen(name) {
            let weighed = writer.weigh(seen, *weight).await?;
            operator.learn(index::instance(weighed));
        }
    }
    // The status may call a revision the last good one only where the history has it.
    record(operator, id, plan).await
}

/// Tells people that the API server did not take what was planned, and why: it may be for them to mend.
async fn say_refused(operator: &Operator, id: &WorkloadId, error: &Error) {
    let why = head(chain(error), REFUSED_BYTES);
    operator.refused.lock().insert(id.clone(), why);
    let Some((object, _, plan)) = planned(operator, id) else {
        return;
    };
    if let Err(error) = write_status(operator, id, &object, &plan).await {
        tracing::warn!(workload = %id, error = %chain(&error), "its status cannot tell of it");
    }
}

/// Makes an instance, on a host where there is room for it: then binding it takes no request of its own.
async fn make(operator: &Operator, instance: &Instance) -> Result<(), Error> {
    let Some(key) = InstanceKey::of(instance) else {
        return Ok(());
    };
    let mut placed = instance.clone();
    placed.spec.host_name = operator.index.lock().reserve(&key, instance);
    match operator.writer.create(&placed).await {
        Ok(Some(made)) => {
            operator.learn(index::instance(made));
            Ok(())
        }
        other => {
            operator.index.lock().put_back(&key);
            other.map(drop)
        }
    }
}

/// Until when the status stays as it is, because what was ready only moves.
fn moving(operator: &Operator, id: &WorkloadId, object: &Object, plan: &Plan) -> Option<Instant> {
    let mut moving = operator.moving.lock();
    if !object
        .status()
        .is_some_and(|before| plan.only_moves(before))
    {
        moving.remove(id);
        return None;
    }
    let now = Instant::now();
    let until = *moving.entry(id.clone()).or_insert(now + MOVING);
    if until <= now {
        moving.remove(id);
        return None;
    }
    Some(until)
}

/// Keeps the history.
async fn record(operator: &Operator, id: &WorkloadId, plan: &Plan) -> Result<(), Error> {
    let tenant = id.tenant.as_str();
    let writer = &operator.writer;
    // What this very plan led to needs no second look.
    let learn = |entry| operator.index.lock().apply(entry);
    if let Some(entry) = &plan.records.make
        && let Some(made) = writer.record(entry).await?
    {
        index::revision(made).map(learn);
    }
    if let Some((name, number)) = &plan.records.renumber {
        let history = operator.index.lock().history_of(id);
        let seen = history.iter().find(|entry| entry.name_any() == *name);
        let seen = seen.and_then(|entry| entry.metadata.resource_version.as_deref());
        index::revision(writer.renumber(tenant, name, *number, seen).await?).map(learn);
    }
    for name in &plan.records.forget {
        writer.forget(tenant, name).await?;
        learn(Change::RevisionGone(id.clone(), name.clone()));
    }
    Ok(())
}

fn planned(operator: &Operator, id: &WorkloadId) -> Option<(Object, Vec<Arc<Instance>>, Plan)> {
    let index = operator.index.lock();
    let object = index.workload(id)?.clone();
    if object.metadata().deletion_timestamp.is_some() {
        // Its instances go with it: they name it as their owner.
        return None;
    }
    let instances = index.instances_of(id);
    let history = index.history_of(id);
    let ceilings = index.ceilings_of(&id.tenant);
    let missing = index.missing(id);
    drop(index);
    let refused = operator.refused.lock().get(id).cloned();
    let view = View {
        object: &object,
        ceilings: &ceilings,
        instances: &instances,
        history: &history,
        missing: &missing,
        refused: refused.as_deref(),
    };
    let plan = plan(&view, Timestamp::now());
    Some((object, instances, plan))
}

async fn write_status(
    operator: &Operator,
    id: &WorkloadId,
    object: &Object,
    plan: &Plan,
) -> Result<(), Error> {
    if object.status() == Some(&plan.status) {
        return Ok(());
    }
    let (tenant, seen) = (id.tenant.as_str(), object.metadata());
    let writer = &operator.writer;
    let change = match object {
        Object::Agent(_) => {
            let api = writer.namespaced::<Agent>(tenant);
            let written = writer.status(&api, "Agent", seen, &plan.status).await?;
            written.and_then(index::agent)
        }
        Object::Tool(_) => {
            let api = writer.namespaced::<Tool>(tenant);
            let written = writer.status(&api, "Tool", seen, &plan.status).await?;
            written.and_then(index::tool)
        }
    };
    if let Some(change) = change {
        // What this very plan led to needs no second look, but by those that name it.
        let mut dirty = operator.index.lock().apply(change);
        dirty.workloads.remove(id);
        operator.look_at(dirty);
    }
    tell(operator, object, &plan.status).await;
    Ok(())
}

/// Tells of conditions that changed.
async fn tell(operator: &Operator, object: &Object, status: &WorkloadStatus) {
    let before = object.status().map_or(&[][..], |status| &status.conditions);
    for kind in [
        condition::READY,
        condition::ASKS_GRANTED,
        condition::PROGRESSING,
    ] {
        let Some(now) = find(&status.conditions, kind) else {
            continue;
        };
        let was = find(before, kind);
        let same = was.is_some_and(|was| (&was.status, &was.reason) == (&now.status, &now.reason));
        // A first "everything is granted" and the steps on the way to ready are no news.
        let dull = match kind {
            // Ready says so too.
            condition::PROGRESSING => {
                now.status == "True" && now.reason != "CanaryStep"
                    || find(&status.conditions, condition::READY)
                        .is_some_and(|ready| ready.reason == now.reason)
            }
            kind => was.is_none() && (now.status == "True") == (kind == condition::ASKS_GRANTED),
        };
        if same || dull || now.reason == "Preparing" {
            continue;
        }
        let type_ = match now.status.as_str() {
            "True" => EventType::Normal,
            _ => EventType::Warning,
        };
        let about = match object {
            Object::Agent(agent) => agent.object_ref(&()),
            Object::Tool(tool) => tool.object_ref(&()),
        };
        operator
            .tell(about, type_, &now.reason, now.message.clone())
            .await;
    }
}
