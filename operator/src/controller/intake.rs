//! Takes in what the watches tell, and notices when Leases of hosts run out.

use ringfence_api::Name;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Governed, Operator};
use crate::index::Change;
use crate::liveness::Liveness;
use crate::watch::{Seen, WATCHES};

pub(super) async fn run(
    operator: Operator,
    mut seen: mpsc::Receiver<Seen>,
    listed: watch::Sender<bool>,
) {
    let mut liveness = Liveness::default();
    let mut lists = 0;
    loop {
        let expiry = liveness.next();
        let told = tokio::select! {
            told = seen.recv() => match told {
                Some(told) => told,
                None => return,
            },
            () = sleep_until(expiry.unwrap_or_else(Instant::now)), if expiry.is_some() => {
                for host in liveness.expired(Instant::now()) {
                    tracing::warn!(%host, "the host's lease ran out");
                    alive(&operator, host, false);
                }
                continue;
            }
        };
        match told {
            Seen::Change(change) => operator.learn(change),
            Seen::Lease(host, version, lasts) => {
                if liveness.seen(host.clone(), &version, lasts, Instant::now()) {
                    tracing::info!(%host, "the host renews its lease");
                    alive(&operator, host, true);
                }
            }
            Seen::LeaseGone(host) => {
                if liveness.gone(&host) {
                    alive(&operator, host, false);
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

fn alive(operator: &Operator, host: Name, alive: bool) {
    operator.learn(Change::Alive(host.clone(), alive));
    operator.governed.add(Governed::Host(host));
}
