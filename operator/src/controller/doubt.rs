//! Hosts that may be lost: what there is to find out before that is believed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::ListParams;
use ringfence_api::chain;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Operator;
use crate::liveness::{Life, Suspect};
use crate::probe;
use crate::watch;

/// Leases that are asked for at the same time.
const ASKED: usize = 16;
/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// It is asked again after this long.
const AGAIN: Duration = Duration::from_secs(1);

/// Who may ask.
pub(super) fn permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ASKED))
}

/// What was found out about a suspect.
pub(super) struct Settled {
    pub(super) suspect: Suspect,
    /// How it is with it, if its Lease is as it was.
    pub(super) life: Life,
    /// The version of its Lease, and how long that lasts; none where there is none.
    pub(super) lease: Option<(String, Duration)>,
}

/// Finds out whether a host has ended, for as long as its Lease still holds. None where it has not.
pub(super) async fn ended(
    operator: Operator,
    permits: Arc<Semaphore>,
    suspect: Suspect,
    address: SocketAddr,
) -> Option<Settled> {
    if !probe::ended(address, suspect.left).await {
        return None;
    }
    tracing::debug!(host = %suspect.host, %address, "it refuses connections");
    settle(operator, &permits, suspect, Life::Down).await
}

/// Asks the API server whether a Lease that seems to have run out was renewed.
pub(super) async fn silent(
    operator: Operator,
    permits: Arc<Semaphore>,
    suspect: Suspect,
) -> Option<Settled> {
    settle(operator, &permits, suspect, Life::Silent).await
}

/// Asks until there is an answer: without one, it is the operator that is cut off.
async fn settle(
    operator: Operator,
    permits: &Semaphore,
    suspect: Suspect,
    life: Life,
) -> Option<Settled> {
    let leases: Api<Lease> = Api::namespaced(operator.client.clone(), &operator.namespace);
    // Without a version the answer is what there is now, not what a cache remembers.
    let its = ListParams::default().fields(&format!("metadata.name={}", suspect.host));
    loop {
        let permit = permits.acquire().await.ok()?;
        let answer = timeout(ANSWER, leases.list(&its)).await;
        drop(permit);
        match answer {
            Ok(Ok(found)) => {
                let lease = found.items.into_iter().find_map(watch::renewal);
                return Some(Settled {
                    suspect,
                    life,
                    lease: lease.map(|(_, version, lasts)| (version, lasts)),
                });
            }
            Ok(Err(error)) => {
                tracing::warn!(host = %suspect.host, error = %chain(&error), "whether it is lost cannot be found out yet");
            }
            Err(_) => {
                tracing::warn!(host = %suspect.host, "whether it is lost cannot be found out yet: no answer");
            }
        }
        sleep(AGAIN).await;
    }
}
