//! Takes in what the watches tell, and notices when hosts end or their Leases run out.

use std::net::SocketAddr;

use ringfence_api::Name;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Governed, Operator};
use crate::index::Change;
use crate::liveness::{Life, Liveness, Suspect};
use crate::probe;
use crate::watch::{Seen, WATCHES};

pub(super) async fn run(
    operator: Operator,
    mut seen: mpsc::Receiver<Seen>,
    listed: watch::Sender<bool>,
) {
    let mut liveness = Liveness::default();
    // Ends with this, which is when nobody asks any more.
    let mut probes: JoinSet<Option<Suspect>> = JoinSet::new();
    let mut lists = 0;
    loop {
        let expiry = liveness.next();
        let told = tokio::select! {
            told = seen.recv() => match told {
                Some(told) => told,
                None => return,
            },
            () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {
                let now = Instant::now();
                for suspect in liveness.overdue(now) {
                    if let Some(address) = address(&operator, &suspect.host) {
                        probes.spawn(ended(suspect, address));
                    }
                }
                for host in liveness.expired(now) {
                    tracing::warn!(%host, "the host's lease ran out");
                    found(&operator, host, Life::Silent);
                }
                continue;
            }
            Some(probed) = probes.join_next(), if !probes.is_empty() => {
                if let Ok(Some(suspect)) = probed && liveness.refused(&suspect) {
                    tracing::warn!(host = %suspect.host, "the host has ended");
                    found(&operator, suspect.host, Life::Down);
                }
                continue;
            }
        };
        match told {
            Seen::Change(change) => operator.learn(change),
            Seen::Lease(host, version, lasts) => {
                if liveness.seen(host.clone(), &version, lasts, Instant::now()) {
                    tracing::info!(%host, "the host renews its lease");
                    found(&operator, host, Life::Alive);
                }
            }
            Seen::LeaseGone(host) => {
                if liveness.gone(&host) {
                    found(&operator, host, Life::Silent);
                }
            }
            Seen::Listed => {
                lists += 1;
                if lists == WATCHES {
                    let _ = listed.send(true);
                }
            }
        }
    }
}

/// Where a host listens, as it says.
fn address(operator: &Operator, host: &Name) -> Option<SocketAddr> {
    let view = operator.index.lock().host(host)?;
    view.host.status.as_ref()?.address.as_ref()?.parse().ok()
}

async fn ended(suspect: Suspect, address: SocketAddr) -> Option<Suspect> {
    probe::ended(address, suspect.left).await.then_some(suspect)
}

fn found(operator: &Operator, host: Name, life: Life) {
    operator.learn(Change::Life(host.clone(), life));
    operator.governed.add(Governed::Host(host));
}
