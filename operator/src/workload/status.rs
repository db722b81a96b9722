//! The status of an agent or tool.

use k8s_openapi::jiff::Timestamp;
use ringfence_api::{
    Instance, KIND_LABEL, LimitRefusal, NAME_LABEL, Refusal, WorkloadStatus, condition,
};

use super::View;
use super::plan::is_ready;
use super::revision::{Known, Resolved};
use crate::condition::{Verdict, find};

/// Refusals that are written into a message; the field `refused` has all of them.
const TOLD: usize = 5;

/// The status where there may be no instance at all.
pub(super) fn refused(
    view: &View<'_>,
    reason: &'static str,
    message: &str,
    now: Timestamp,
) -> WorkloadStatus {
    let verdict = Verdict::no(condition::READY, reason, message);
    write(view, vec![verdict], now, WorkloadStatus::default())
}

pub(super) fn of(
    view: &View<'_>,
    resolved: &Resolved,
    known: Option<&Known>,
    now: Timestamp,
) -> WorkloadStatus {
    let mut verdicts = vec![ready(view, resolved)];
    let mut status = WorkloadStatus::default();
    if let Some(known) = known {
        let effective = known.effective(view);
        verdicts.push(asks_granted(&effective.refused, &resolved.limits_refused));
        status.digest = known.digest;
        status.asked = Some(known.asked.clone());
        status.effective_grants = Some(effective.grants);
        status.refused = effective.refused;
    }
    write(view, verdicts, now, status)
}

fn write(
    view: &View<'_>,
    verdicts: Vec<Verdict>,
    now: Timestamp,
    status: WorkloadStatus,
) -> WorkloadStatus {
    let object = view.object;
    let before = object.status().map_or(&[][..], |status| &status.conditions);
    let generation = object.metadata().generation;
    let living = || {
        view.instances
            .iter()
            .filter(|i| i.metadata.deletion_timestamp.is_none())
    };
    let count = |instances: usize| u32::try_from(instances).unwrap_or(u32::MAX);
    let name = object.metadata().name.as_deref().unwrap_or_default();
    WorkloadStatus {
        observed_generation: generation,
        conditions: verdicts
            .into_iter()
            .map(|verdict| verdict.since(before, generation, now))
            .collect(),
        replicas: count(living().count()),
        ready_replicas: count(living().filter(|i| is_ready(i)).count()),
        selector: Some(format!(
            "{KIND_LABEL}={},{NAME_LABEL}={name}",
            object.kind().as_str()
        )),
        ..status
    }
}

fn ready(view: &View<'_>, resolved: &Resolved) -> Verdict {
    let wanted = view.object.replicas() as usize;
    let own = || {
        view.instances
            .iter()
            .filter(|i| i.metadata.deletion_timestamp.is_none() && resolved.has(i))
    };
    let ready = own().filter(|i| is_ready(i)).count();
    if ready >= wanted {
        return Verdict::yes(condition::READY, "Ready", "it can be called");
    }
    // What is the matter with the first that is stuck is most likely the matter with all.
    let stuck = own().filter(|i| !is_ready(i)).find_map(|i| trouble(i));
    let (reason, message) =
        stuck.unwrap_or_else(|| ("Preparing", "they are being placed and prepared".into()));
    let earlier = view
        .instances
        .iter()
        .any(|i| !resolved.has(i) && is_ready(i));
    let serving = if earlier {
        "; an earlier revision can be called meanwhile"
    } else {
        ""
    };
    Verdict::no(
        condition::READY,
        reason,
        format!("{ready} of {wanted} instances are ready: {message}{serving}"),
    )
}

/// What keeps an instance from becoming ready. The steps on the way there are no trouble: telling each
/// would be a write for each.
fn trouble(instance: &Instance) -> Option<(&'static str, String)> {
    let status = instance.status.as_ref()?;
    let says = |kind| find(&status.conditions, kind).filter(|said| said.status == "False");
    if instance.spec.host_name.is_none() {
        let unscheduled = says(condition::SCHEDULED)?;
        return Some(("Unschedulable", unscheduled.message.clone()));
    }
    let trouble = says(condition::READY).filter(|_| status.host_name == instance.spec.host_name)?;
    Some(("NotReady", trouble.message.clone()))
}

fn asks_granted(refused: &[Refusal], limits: &[LimitRefusal]) -> Verdict {
    if refused.is_empty() && limits.is_empty() {
        return Verdict::yes(
            condition::ASKS_GRANTED,
            "Granted",
            "everything that it asks for is granted",
        );
    }
    let limits = limits.iter().map(|limit| {
        format!(
            "limits.{} {} instead of {} (ceiling {})",
            limit.field, limit.given, limit.asked, limit.ceiling
        )
    });
    let all: Vec<String> = refused
        .iter()
        .map(ToString::to_string)
        .chain(limits)
        .collect();
    let more = match all.len().saturating_sub(TOLD) {
        0 => String::new(),
        more => format!(" and {more} more, see status.refused"),
    };
    let ceiling = refused.iter().any(|refusal| refusal.ceiling.is_some());
    let reason = if ceiling || refused.is_empty() {
        "RefusedByCeiling"
    } else {
        "AskedNotGranted"
    };
    Verdict::no(
        condition::ASKS_GRANTED,
        reason,
        format!("not given: {}{more}", all[..all.len().min(TOLD)].join(", ")),
    )
}
