//! What the operator keeps of a run: not what it is told, nor what it gave.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use ringfence_api::{Name, Run, RunPhase, TenantName};
use tokio::time::Instant;

use super::{LONGEST_RETRY, RETRY};
use crate::key::{WorkloadId, WorkloadKind};

/// A run.
#[derive(Debug, Clone)]
pub struct Known {
    /// Identity of the object.
    pub uid: String,
    /// Version of the object: what is written is written on top of it, or not at all.
    pub version: String,
    /// Generation of its spec.
    pub generation: Option<i64>,
    /// Conditions that it has.
    pub conditions: Vec<Condition>,
    pub(super) target: WorkloadId,
    pub(super) phase: RunPhase,
    pub(super) host: Option<Name>,
    pub(super) cancel: bool,
    pub(super) deleting: bool,
    /// When it was seen first, by a clock that nobody sets.
    pub(super) seen: Instant,
    /// When its time is over.
    pub(super) deadline: Instant,
    /// A write is on its way.
    pub(super) busy: bool,
    /// Writes that failed since it was seen to change, and when the next may be tried.
    pub(super) failures: u32,
    pub(super) put_off: Option<Instant>,
    /// It stands in the queue of its target.
    pub(super) queued: bool,
    pub(super) timer: Option<Instant>,
    /// The host whose room it takes.
    pub(super) counted: Option<Name>,
}

impl Known {
    /// A run that was not seen before. None for one that means nothing, which admission refuses.
    pub(super) fn new(
        run: &Run,
        tenant: &TenantName,
        now: Instant,
        wall: Timestamp,
    ) -> Option<Self> {
        let (kind, name) = match (&run.spec.agent, &run.spec.tool) {
            (Some(agent), None) => (WorkloadKind::Agent, &agent.name),
            (None, Some(tool)) => (WorkloadKind::Tool, &tool.name),
            _ => return None,
        };
        let timeout = Duration::from_secs(run.spec.timeout_seconds.into());
        let created = run.metadata.creation_timestamp.as_ref();
        // Another clock than this one wrote it, in whole seconds: a run that is not a second old is new.
        let age = created.map_or(Duration::ZERO, |created| since(wall, created.0));
        let age = age.saturating_sub(Duration::from_secs(1));
        let mut known = Self {
            uid: String::new(),
            version: String::new(),
            generation: None,
            conditions: Vec::new(),
            target: WorkloadId {
                tenant: tenant.clone(),
                kind,
                name: name.clone(),
            },
            phase: RunPhase::Pending,
            host: None,
            cancel: false,
            deleting: false,
            seen: now,
            deadline: now + timeout.saturating_sub(age),
            busy: false,
            failures: 0,
            put_off: None,
            queued: false,
            timer: None,
            counted: None,
        };
        known.update(run);
        Some(known)
    }

    /// Takes a newer version in.
    pub(super) fn update(&mut self, run: &Run) {
        let metadata = &run.metadata;
        self.uid = metadata.uid.clone().unwrap_or_default();
        // What failed may have failed because it was another.
        (self.failures, self.put_off) = (0, None);
        self.version = metadata.resource_version.clone().unwrap_or_default();
        self.generation = metadata.generation;
        self.deleting = metadata.deletion_timestamp.is_some();
        self.cancel = run.spec.cancel;
        let status = run.status.as_ref();
        self.phase = status.map(|status| status.phase).unwrap_or_default();
        self.host = status.and_then(|status| status.host_name.clone());
        self.conditions = status.map(|s| s.conditions.clone()).unwrap_or_default();
    }

    /// Whether `run` is this object, and not newer than what is known.
    pub(super) fn is_current(&self, run: &Run) -> bool {
        let version = |text: &str| text.parse::<u64>().ok();
        let seen = run.metadata.resource_version.as_deref().unwrap_or_default();
        self.is_same(run)
            && match (version(seen), version(&self.version)) {
                (Some(seen), Some(known)) => seen <= known,
                _ => false,
            }
    }

    /// Whether `run` is this object, and not another one of its name.
    pub(super) fn is_same(&self, run: &Run) -> bool {
        run.metadata.uid.as_deref() == Some(&self.uid)
    }

    /// Whether it is there to be bound.
    pub(super) fn waits(&self) -> bool {
        !self.phase.is_final() && self.host.is_none() && !self.deleting && !self.cancel
    }

    /// Takes down that a write failed. When the next may be tried.
    pub(super) fn failed(&mut self, now: Instant) -> Instant {
        let wait = RETRY.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        let at = now + wait.min(LONGEST_RETRY);
        self.put_off = Some(at);
        at
    }

    /// Whether it takes room on a host.
    pub(super) fn holds(&self) -> Option<&Name> {
        match self.phase.is_final() {
            true => None,
            false => self.host.as_ref(),
        }
    }
}

/// When a run that has ended is to be removed.
pub(super) fn removal(run: &Run, now: Instant, wall: Timestamp) -> Instant {
    let ttl = Duration::from_secs(run.spec.ttl_seconds_after_finished.into());
    let ended = run.status.as_ref().and_then(|s| s.finished_at.as_ref());
    let age = ended.map_or(Duration::ZERO, |ended| since(wall, ended.0));
    now + ttl.saturating_sub(age)
}

/// Time between the two; none where the clocks disagree about their order.
fn since(now: Timestamp, then: Timestamp) -> Duration {
    let millis = now.as_millisecond().saturating_sub(then.as_millisecond());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
