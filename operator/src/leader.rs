//! Leader election over a Lease, as client-go does it: who holds the Lease and renews it leads.
//!
//! Clocks of machines are never compared: a Lease has run out when it was not seen to change for as
//! long as it says, by the observer's own clock.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;

use crate::error::Error;

/// How long a Lease holds after its last renewal.
pub const LEASE: Duration = Duration::from_secs(5);
/// How often the leader renews it.
pub const RENEW: Duration = Duration::from_millis(1_000);
/// Without a renewal for this long the leader steps down, well before another may lead.
pub const STEP_DOWN: Duration = Duration::from_secs(3);
/// How often others look.
pub const LOOK: Duration = Duration::from_millis(500);

/// One candidate.
pub struct Candidate {
    api: Api<Lease>,
    name: String,
    identity: String,
    /// What was seen last, and when it was first seen so.
    seen: Option<(Option<String>, Instant)>,
}

impl Candidate {
    /// A candidate for the Lease `name` in `namespace`. Its identity has to be its own.
    pub fn new(client: Client, namespace: &str, name: &str, identity: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            identity: identity.to_owned(),
            seen: None,
        }
    }

    /// Waits until this candidate leads.
    pub async fn lead(&mut self) {
        loop {
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "the lease could not be looked at"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Leads until it cannot be sure of it any more.
    ///
    /// # Errors
    /// Always: [`Error::Deposed`].
    pub async fn hold(&mut self) -> Error {
        let mut renewed = Instant::now();
        while renewed.elapsed() < STEP_DOWN {
            tokio::time::sleep(RENEW).await;
            let left = STEP_DOWN.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => break,
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
                Err(_) => {}
            }
        }
        Error::Deposed(self.name.clone())
    }

    /// Gives the Lease back, so that another can lead at once.
    pub async fn resign(&mut self) {
        let Ok(Some(mut lease)) = self.api.get_opt(&self.name).await else {
            return;
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = None;
            let params = PostParams::default();
            if let Err(error) = self.api.replace(&self.name, &params, &lease).await {
                tracing::debug!(%error, "the lease was not given back; it runs out");
            }
        }
    }

    /// Takes or renews the Lease, if it is free or ours. False where another holds it.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let params = PostParams::default();
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.renewal(&LeaseSpec::default())),
            };
            return conflict_is_no(self.api.create(&params, &lease).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let version = lease.metadata.resource_version.clone();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let seen = match &self.seen {
            Some((known, at)) if *known == version => *at,
            _ => {
                let now = Instant::now();
                self.seen = Some((version, now));
                now
            }
        };
        let lasts = spec.lease_duration_seconds.unwrap_or_default();
        let lasts = Duration::from_secs(u64::try_from(lasts).unwrap_or_default());
        if !holder.is_empty() && holder != self.identity && seen.elapsed() < lasts {
            return Ok(false);
        }
        lease.spec = Some(self.renewal(&spec));
        conflict_is_no(self.api.replace(&self.name, &params, &lease).await)
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

/// Somebody else was faster.
fn conflict_is_no<T>(answer: kube::Result<T>) -> kube::Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
