//! Leader election over a Lease, as client-go does it: who holds the Lease and renews it leads.
//!
//! Clocks of machines are never compared: a Lease has run out when it was not seen to change for as
//! long as it says, by the observer's own clock. Its holder counts from before it asked for the renewal, so
//! that it stops before anybody else may begin, however long the answer took.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use ringfence_api::chain;
use tokio::time::{Instant, sleep, timeout};

use crate::error::Error;
use crate::pulse::Pulse;
use crate::term::Term;

/// How long a Lease holds after its last renewal.
pub const LEASE: Duration = Duration::from_secs(5);
/// How often the leader renews it.
pub const RENEW: Duration = Duration::from_millis(1_000);
/// Without a renewal for this long the leader steps down, well before another may lead.
pub const STEP_DOWN: Duration = Duration::from_secs(4);
/// How often others look.
pub const LOOK: Duration = Duration::from_millis(500);
/// A renewal that failed is tried again after this long.
const RETRY: Duration = Duration::from_millis(200);
/// How long others wait for an answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How long the leader waits for an answer at least; else half of the time that is left, so that one that is
/// lost leaves time for another try.
const SHORTEST: Duration = Duration::from_millis(250);

/// What is the matter where there is no answer in time.
const NO_ANSWER: &str =
    "no answer: is the API server too busy, or a webhook that it asks about Leases?";

/// One candidate.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    term: Term,
    pulse: Pulse,
    /// What was seen last, and when it was first seen so.
    seen: Option<(Option<String>, Instant)>,
    /// The Lease as this candidate has written it last: renewed as it is, without looking.
    held: Option<Lease>,
}

/// How an attempt at the Lease ended.
enum Attempt {
    Held,
    /// Another one holds it: who, where that is known.
    Lost(String),
}

impl Candidate {
    /// A candidate for the Lease `name` in `namespace`. Its identity has to be its own. While it leads, `term`
    /// says so; `pulse` beats whenever the Lease was written, by this candidate or another.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        identity: &str,
        term: Term,
        pulse: Pulse,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            term,
            pulse,
            seen: None,
            held: None,
        }
    }

    /// Waits until this candidate leads.
    pub async fn lead(&mut self) {
        let mut told = None;
        loop {
            let asked = Instant::now();
            match timeout(ANSWER, self.attempt(false)).await {
                Ok(Ok(Attempt::Held)) => {
                    self.term.until(asked + STEP_DOWN);
                    return;
                }
                Ok(Ok(Attempt::Lost(_))) => told = None,
                Ok(Err(error)) => waits(&mut told, chain(&error)),
                Err(_) => waits(&mut told, NO_ANSWER.to_owned()),
            }
            sleep(LOOK).await;
        }
    }

    /// Leads until it cannot be sure of it any more.
    ///
    /// # Errors
    /// Always: [`Error::Deposed`] or [`Error::NotRenewed`].
    pub async fn hold(&mut self) -> Error {
        let mut wait = RENEW;
        let mut trouble = None;
        loop {
            sleep(wait.min(self.term.left())).await;
            let left = self.term.left();
            if left.is_zero() {
                return Error::NotRenewed {
                    lease: self.name.clone(),
                    after: STEP_DOWN,
                    source: trouble,
                };
            }
            let asked = Instant::now();
            let patience = (left / 2).max(SHORTEST).min(left);
            wait = match timeout(patience, self.attempt(true)).await {
                Ok(Ok(Attempt::Held)) => {
                    self.term.until(asked + STEP_DOWN);
                    trouble = None;
                    RENEW
                }
                Ok(Ok(Attempt::Lost(holder))) => {
                    self.term.end();
                    return Error::Deposed {
                        lease: self.name.clone(),
                        holder,
                    };
                }
                Ok(Err(error)) => {
                    tracing::warn!(
                        error = chain(&error),
                        "the lease could not be renewed; it is tried again"
                    );
                    trouble = Some(Box::new(error));
                    RETRY
                }
                Err(_) => {
                    let waited_ms = patience.as_millis();
                    tracing::warn!(
                        waited_ms,
                        error = NO_ANSWER,
                        "the lease could not be renewed; it is tried again"
                    );
                    Duration::ZERO
                }
            };
        }
    }

    /// Gives the Lease back, so that another can lead at once.
    pub async fn resign(&mut self) {
        self.term.end();
        if !matches!(timeout(ANSWER, self.give_back()).await, Ok(Ok(()))) {
            tracing::debug!("the lease was not given back; it runs out");
        }
    }

    async fn give_back(&mut self) -> kube::Result<()> {
        let known = self.held.take();
        // A renewal may have been under way when it was to end.
        let read = match known {
            Some(lease) => Some(lease),
            None => self.api.get_opt(&self.name).await?,
        };
        let Some(mut lease) = read else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = None;
            let params = PostParams::default();
            self.api.replace(&self.name, &params, &lease).await?;
        }
        Ok(())
    }

    /// Takes or renews the Lease, if it is free or ours. Who leads never takes what another one has had since,
    /// not even where that one is gone: what it knows may be older than what the other one did.
    async fn attempt(&mut self, leads: bool) -> kube::Result<Attempt> {
        // Should the answer get lost, nobody knows whether it was written: then it is looked at first.
        if let Some(lease) = self.held.take()
            && self.write(lease).await?
        {
            return Ok(Attempt::Held);
        }
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            return self.make().await;
        };
        let spec = lease.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.clone());
        let holder = holder.unwrap_or_default();
        let is_ours = holder == self.identity;
        if !is_ours && (leads || !self.is_free(&lease, &holder)) {
            return Ok(Attempt::Lost(holder));
        }
        match self.write(lease).await? {
            true => Ok(Attempt::Held),
            // Somebody was faster.
            false => Ok(Attempt::Lost(String::new())),
        }
    }

    /// Whether nobody holds it, or it was not seen to change for as long as it lasts.
    fn is_free(&mut self, lease: &Lease, holder: &str) -> bool {
        let version = &lease.metadata.resource_version;
        let since = match &self.seen {
            Some((known, since)) if known == version => *since,
            known => {
                let now = Instant::now();
                if known.is_some() {
                    self.pulse.beat();
                }
                self.seen = Some((version.clone(), now));
                now
            }
        };
        let spec = lease.spec.as_ref();
        let lasts = spec.and_then(|spec| spec.lease_duration_seconds);
        let lasts = u64::try_from(lasts.unwrap_or_default()).unwrap_or_default();
        holder.is_empty() || since.elapsed() >= Duration::from_secs(lasts)
    }

    async fn make(&mut self) -> kube::Result<Attempt> {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(self.renewal(&LeaseSpec::default())),
        };
        let made = self.api.create(&PostParams::default(), &lease).await;
        Ok(match conflict_is_none(made)? {
            Some(lease) => {
                self.held = Some(lease);
                self.pulse.beat();
                Attempt::Held
            }
            None => Attempt::Lost(String::new()),
        })
    }

    /// Writes the Lease as ours. False where somebody else has changed it since it was read.
    async fn write(&mut self, mut lease: Lease) -> kube::Result<bool> {
        let before = lease.spec.take().unwrap_or_default();
        lease.spec = Some(self.renewal(&before));
        let params = PostParams::default();
        let written = self.api.replace(&self.name, &params, &lease).await;
        self.held = conflict_is_none(written)?;
        if self.held.is_some() {
            self.pulse.beat();
        }
        Ok(self.held.is_some())
    }

    fn renewal(&self, before: &LeaseSpec) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = before.holder_identity.as_deref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: match ours {
                true => before.acquire_time.clone(),
                false => Some(now.clone()),
            },
            renew_time: Some(now),
            lease_transitions: Some(transitions + i32::from(!ours)),
            ..LeaseSpec::default()
        }
    }
}

/// Says why nobody can lead, once for each reason: it is tried twice a second.
fn waits(told: &mut Option<String>, error: String) {
    if told.as_ref() != Some(&error) {
        tracing::warn!(
            error,
            "the lease can be neither read nor taken; it is tried again"
        );
        *told = Some(error);
    }
}

/// Somebody else was faster, or it is gone.
fn conflict_is_none<T>(answer: kube::Result<T>) -> kube::Result<Option<T>> {
    match answer {
        Ok(written) => Ok(Some(written)),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
        Err(error) => Err(error),
    }
}
