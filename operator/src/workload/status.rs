//! The status of an agent or tool.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use ringfence_api::{
    AGENT_MISSING, CanaryStep, Grants, Instance, KIND_LABEL, LimitRefusal, NAME_LABEL, Name,
    Refusal, RolloutStatus, WorkloadStatus, agent_missing, condition,
};

use super::View;
use super::amounts::Bounds;
use super::rollout::Phase;
use super::target::{Refused, Target, is_living, is_ready};
use crate::condition::{Verdict, find};
use crate::index::{Named, named};

/// Reason of `Progressing` where somebody has paused the rollout.
pub(super) const PAUSED: &str = "RolloutPaused";
/// Reason of `Ready` where everything can be called.
pub(super) const READY: &str = "Ready";
/// Reason of `Ready` where something cannot be called yet and nothing is the matter with it.
pub(super) const PREPARING: &str = "Preparing";

/// Reason where the API server did not take what was to be written.
pub(super) const REFUSED: &str = "WriteRefused";

/// What there is once a plan was followed.
pub(super) struct Outcome<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) bounds: Bounds,
    /// The last good revision, where it is not the newest and may run.
    pub(super) stable: Option<&'a Target<'a>>,
    pub(super) phase: Phase,
    /// The rollout; none where there is none.
    pub(super) rollout: Option<&'a RolloutStatus>,
    pub(super) weight: Option<u32>,
    /// Instances that are made.
    pub(super) made: &'a [Instance],
    /// Instances that stay.
    pub(super) kept: &'a [&'a Arc<Instance>],
    /// Those of them that are available.
    pub(super) available: usize,
    pub(super) now: Timestamp,
}

/// The status where the newest revision may not run at all, and `stable` runs instead, if anything.
pub(super) fn refused(
    outcome: &Outcome<'_>,
    refused: &Refused,
    stable: Option<&Target<'_>>,
) -> WorkloadStatus {
    let Refused { reason, message } = refused;
    let serving = stable.map_or_else(String::new, |stable| {
        format!("; revision {} runs on", stable.revision)
    });
    let message = format!("{message}{serving}");
    let verdicts = vec![
        Verdict::no(condition::READY, *reason, message.clone()),
        outcome.is_available(),
        Verdict::no(condition::PROGRESSING, *reason, message),
    ];
    outcome.write(verdicts, WorkloadStatus::default())
}

/// The status where it may.
pub(super) fn of(outcome: &Outcome<'_>, newest: &Target<'_>) -> WorkloadStatus {
    let mut verdicts = vec![ready(outcome, newest)];
    let mut status = WorkloadStatus::default();
    if let Some(known) = &newest.known {
        let effective = known.effective(outcome.view);
        let limits = &newest.resolved.limits_refused;
        verdicts.push(asks_granted(&effective.refused, limits));
        if !outcome.view.object.is_mcp() {
            verdicts.push(targets_found(&effective.grants, outcome.view.missing));
        }
        status.digest = known.digest;
        status.asked = Some(known.asked.clone());
        status.effective_grants = Some(effective.grants);
        status.refused = effective.refused;
    }
    verdicts.push(outcome.is_available());
    verdicts.push(progressing(outcome, newest));
    let own = outcome.made.iter().filter(|i| newest.has(i)).count()
        + outcome.kept.iter().filter(|i| newest.has(i)).count();
    status.updated_replicas = count(own);
    status.rollout = outcome.rollout.cloned();
    if outcome.rollout.is_none() {
        status.current_revision = Some(newest.revision.clone());
    }
    outcome.write(verdicts, status)
}

fn count(instances: usize) -> u32 {
    u32::try_from(instances).unwrap_or(u32::MAX)
}

impl Outcome<'_> {
    fn write(&self, verdicts: Vec<Verdict>, status: WorkloadStatus) -> WorkloadStatus {
        let object = self.view.object;
        let before = object.status();
        let conditions = before.map_or(&[][..], |status| &status.conditions);
        let generation = object.metadata().generation;
        let name = object.metadata().name.as_deref().unwrap_or_default();
        let current = status.current_revision;
        WorkloadStatus {
            observed_generation: generation,
            conditions: verdicts
                .into_iter()
                .map(|verdict| verdict.since(conditions, generation, self.now))
                .collect(),
            replicas: count(self.kept.len() + self.made.len()),
            ready_replicas: count(self.kept.iter().filter(|i| is_ready(i)).count()),
            available_replicas: count(self.available),
            current_revision: current.or_else(|| before?.current_revision.clone()),
            update_revision: Some(object.revision()),
            selector: Some(format!(
                "{KIND_LABEL}={},{NAME_LABEL}={name}",
                object.kind().as_str()
            )),
            ..status
        }
    }

    fn is_available(&self) -> Verdict {
        let least = self.bounds.replicas - self.bounds.unavailable;
        match self.available >= least as usize {
            true => Verdict::yes(
                condition::AVAILABLE,
                "MinimumReplicasAvailable",
                "enough instances can be called",
            ),
            false => Verdict::no(
                condition::AVAILABLE,
                "MinimumReplicasUnavailable",
                format!("fewer than {least} instances can be called"),
            ),
        }
    }

    /// The step of the canary that it is in, and its number from 1.
    fn step(&self) -> Option<(usize, CanaryStep)> {
        let step = self.rollout?.step as usize;
        let steps = self.view.object.rollout().steps();
        steps.get(step).map(|found| (step + 1, *found))
    }
}

fn progressing(outcome: &Outcome<'_>, newest: &Target<'_>) -> Verdict {
    let revision = &newest.revision;
    let object = outcome.view.object;
    if let (Some(why), Phase::Takeover | Phase::Canary) = (outcome.view.refused, outcome.phase) {
        return Verdict::no(condition::PROGRESSING, REFUSED, why);
    }
    let yes = |reason, message| Verdict::yes(condition::PROGRESSING, reason, message);
    let no = |reason, message| Verdict::no(condition::PROGRESSING, reason, message);
    let Some(rollout) = outcome.rollout else {
        let others = outcome.kept.iter().any(|i| !newest.has(i));
        return match others {
            false => yes("NewRevisionAvailable", format!("revision {revision} runs")),
            true => yes("RevisionUpdated", format!("revision {revision} takes over")),
        };
    };
    let failed = || {
        let why = rollout.failed.as_deref().unwrap_or_default();
        let seconds = object.rollout().progress_deadline();
        format!("revision {revision} made no progress within {seconds} s: {why}")
    };
    match outcome.phase {
        Phase::RolledBack => {
            let serves = outcome.stable.map_or("", |stable| &stable.revision);
            no(
                "RolledBack",
                format!(
                    "{}; revision {serves} runs again: change the spec, or try again with \
                     'ringfence rollout restart'",
                    failed()
                ),
            )
        }
        Phase::Halted => no("ProgressDeadlineExceeded", failed()),
        Phase::Paused => Verdict::unknown(
            condition::PROGRESSING,
            PAUSED,
            format!("the rollout of revision {revision} is paused"),
        ),
        Phase::Canary => yes("CanaryStep", canary(outcome, revision)),
        Phase::Takeover => yes("RevisionUpdated", format!("revision {revision} takes over")),
    }
}

fn canary(outcome: &Outcome<'_>, revision: &str) -> String {
    let weight = outcome.weight.unwrap_or(0);
    let steps = outcome.view.object.rollout().steps().len();
    let serves = outcome.rollout.is_some_and(|r| r.step_since.is_some());
    let Some((number, step)) = outcome.step() else {
        return format!("revision {revision} gets {weight} percent of the runs");
    };
    let until = match (serves, step.pause_seconds) {
        (false, _) => format!(
            "until its instances for {} percent are available",
            step.weight
        ),
        (true, Some(seconds)) => format!("for {seconds} s"),
        (true, None) => "until 'ringfence rollout promote'".to_owned(),
    };
    format!(
        "step {number} of {steps}: revision {revision} gets {weight} percent of the runs {until}"
    )
}

/// How many instances of a revision can be called, and how many should.
pub(super) fn ready_of(newest: &Target<'_>, replicas: u32) -> (usize, u32) {
    let all = newest.view.instances.iter();
    let ready = all.filter(|i| newest.has(i) && is_ready(i)).count();
    (ready, replicas)
}

/// What keeps instances of a revision from becoming ready. What is the matter with the first that is stuck
/// is most likely the matter with all.
pub(super) fn trouble_of(newest: &Target<'_>) -> Option<(Cow<'static, str>, String)> {
    let all = newest.view.instances.iter();
    let mut stuck = all.filter(|i| is_living(i) && newest.has(i) && !is_ready(i));
    let refused = newest.view.refused;
    let refused = refused.map(|why| (REFUSED.into(), why.to_owned()));
    stuck.find_map(|i| trouble(i)).or(refused)
}

fn ready(outcome: &Outcome<'_>, newest: &Target<'_>) -> Verdict {
    let (ready, wanted) = ready_of(newest, outcome.bounds.replicas);
    let rolled_back = outcome.phase == Phase::RolledBack;
    let missing = |agent: &&Name| {
        outcome
            .view
            .missing
            .contains(&Named::Agent((*agent).clone()))
    };
    if ready >= wanted as usize && !rolled_back {
        if let Some(agent) = outcome.view.object.agent().filter(missing) {
            return Verdict::no(condition::READY, AGENT_MISSING, agent_missing(agent));
        }
        return Verdict::yes(condition::READY, READY, "it can be called");
    }
    if rolled_back {
        let verdict = progressing(outcome, newest);
        return Verdict::no(condition::READY, verdict.reason, verdict.message);
    }
    let (reason, message) = trouble_of(newest).unwrap_or_else(|| match outcome.phase {
        Phase::Paused => (PAUSED.into(), "the rollout is paused".to_owned()),
        Phase::Canary => ("CanaryStep".into(), canary(outcome, &newest.revision)),
        _ => (
            PREPARING.into(),
            "they are being placed and prepared".to_owned(),
        ),
    });
    let mut kept = outcome.kept.iter();
    let serving = match kept.any(|i| !newest.has(i) && is_ready(i)) {
        true => "; an earlier revision can be called meanwhile",
        false => "",
    };
    Verdict::no(
        condition::READY,
        reason,
        format!("{ready} of {wanted} instances are ready: {message}{serving}"),
    )
}

/// What keeps an instance from becoming ready. The steps on the way there are no trouble: telling each
/// would be a write for each.
fn trouble(instance: &Instance) -> Option<(Cow<'static, str>, String)> {
    let status = instance.status.as_ref()?;
    let says = |kind| find(&status.conditions, kind).filter(|said| said.status == "False");
    if instance.spec.host_name.is_none() {
        let unscheduled = says(condition::SCHEDULED)?;
        return Some(("Unschedulable".into(), unscheduled.message.clone()));
    }
    let trouble = says(condition::READY).filter(|_| status.host_name == instance.spec.host_name)?;
    Some((trouble.reason.clone().into(), trouble.message.clone()))
}

/// Which functions a tool has only its hosts know.
fn targets_found(grants: &Grants, missing: &BTreeSet<Named>) -> Verdict {
    let missing: Vec<String> = named(grants)
        .filter(|named| missing.contains(named))
        .map(|named| named.to_string())
        .collect();
    let said = ringfence_api::targets_found(&missing);
    let mut verdict = Verdict::yes(condition::TARGETS_FOUND, said.reason, said.message);
    verdict.holds = Some(said.found);
    verdict
}

fn asks_granted(refused: &[Refusal], limits: &[LimitRefusal]) -> Verdict {
    let asks = ringfence_api::asks_granted(refused, limits);
    let mut verdict = Verdict::yes(condition::ASKS_GRANTED, asks.reason, asks.message);
    verdict.holds = Some(asks.granted);
    verdict
}
