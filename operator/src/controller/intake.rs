//! Takes in what the watches tell, and notices when hosts end or their Leases run out.

use std::net::SocketAddr;
use std::time::Duration;

use ringfence_api::Name;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::doubt::{self, Settled};
use super::{Governed, Operator};
use crate::index::Change;
use crate::liveness::{Life, Liveness};
use crate::watch::{Seen, WATCHES};

pub(super) async fn run(
    operator: Operator,
    mut seen: mpsc::Receiver<Seen>,
    mut pulse: watch::Receiver<Instant>,
    listed: watch::Sender<bool>,
) {
    let mut liveness = Liveness::new(Instant::now());
    let mut doubts: JoinSet<Option<Settled>> = JoinSet::new();
    let permits = doubt::permits();
    let mut lists = 0;
    loop {
        let expiry = liveness.next();
        let told = tokio::select! {
            told = seen.recv() => match told {
                Some(told) => told,
                None => return,
            },
            Ok(()) = pulse.changed() => {
                liveness.heard(*pulse.borrow_and_update());
                continue;
            }
            () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {
                let now = Instant::now();
                for suspect in liveness.overdue(now) {
                    if let Some(address) = address(&operator, &suspect.host) {
                        doubts.spawn(doubt::ended(operator.clone(), permits.clone(), suspect, address));
                    }
                }
                for suspect in liveness.expired(now) {
                    doubts.spawn(doubt::silent(operator.clone(), permits.clone(), suspect));
                }
                continue;
            }
            Some(settled) = doubts.join_next(), if !doubts.is_empty() => {
                if let Ok(Some(settled)) = settled {
                    take_in(&operator, &mut liveness, settled);
                }
                continue;
            }
        };
        match told {
            Seen::Change(change) => operator.learn(change),
            Seen::Lease(host, version, lasts, used) => {
                operator.loads.said(&host, used, lasts, Instant::now());
                renewed(&operator, &mut liveness, host, &version, lasts);
            }
            Seen::LeaseGone(host) => {
                operator.loads.gone(&host);
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

fn renewed(
    operator: &Operator,
    liveness: &mut Liveness,
    host: Name,
    version: &str,
    lasts: Duration,
) {
    if liveness.seen(host.clone(), version, lasts, Instant::now()) {
        tracing::info!(%host, "the host renews its lease");
        found(operator, host, Life::Alive);
    }
}

/// Believes what was found out, unless it is known better by now.
fn take_in(operator: &Operator, liveness: &mut Liveness, settled: Settled) {
    let Settled {
        suspect,
        life,
        lease,
    } = settled;
    let host = suspect.host.clone();
    match lease {
        None if liveness.gone(&host) => found(operator, host, Life::Silent),
        None => {}
        Some((version, lasts)) => {
            renewed(operator, liveness, host, &version, lasts);
            if liveness.lost(&suspect) {
                match life {
                    Life::Down => tracing::warn!(host = %suspect.host, "the host has ended"),
                    _ => tracing::warn!(host = %suspect.host, "the host's lease ran out"),
                }
                found(operator, suspect.host, life);
            }
        }
    }
}

fn found(operator: &Operator, host: Name, life: Life) {
    operator.learn(Change::Life(host.clone(), life));
    operator.governed.add(Governed::Host(host));
}
