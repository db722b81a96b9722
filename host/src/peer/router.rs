//! Sends calls where their targets run.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfence_api::{Kind, Name, TenantName};
use tokio_util::task::AbortOnDropHandle;

use super::choose::{Candidate, choose};
use super::client::PeerClient;
use super::hosts::Hosts;
use super::outgoing::{Offered, Outgoing};
use super::protocol::wire::Refusal;
use super::replicas::{Share, Target};
use super::table::{ROUTED_CONCURRENCY, Table, Tenant};
use super::tls::PeerTls;
use crate::directory::{Cluster, Directory, Instance};
use crate::error::CallError;
use crate::limits::name;
use crate::mediation::{Call, CallContext, Inner, Reply, RunId, missing};
use crate::telemetry::Metrics;

/// How long a call waits for its target to be ready somewhere, while the target moves.
pub(crate) const MOVE: Duration = Duration::from_secs(15);
/// A call that no host took looks again after so long, even where no news came.
const AGAIN: Duration = Duration::from_millis(500);
/// How often idle tenants and hosts that are gone are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// The way to other hosts of the cluster.
pub(crate) struct Router {
    pub(super) own: Name,
    pub(super) table: Table,
    pub(super) hosts: Arc<Hosts>,
    pub(super) client: PeerClient,
    pub(super) directory: Arc<Directory>,
    pub(super) metrics: Arc<Metrics>,
}

/// Where a call may go now.
enum Place {
    /// This host runs the target.
    Here(Arc<Instance>),
    /// That host does.
    There(Name, SocketAddr),
    /// No host that has not refused yet is ready. Whether there is any instance at all.
    Nowhere { exists: bool },
}

impl Router {
    /// The way of the host `own` to others. It follows the `Host` objects of `api` for as long as it lives.
    pub(crate) fn start(
        own: Name,
        client: kube::Client,
        api: kube::Api<ringfence_api::Host>,
        tls: PeerTls,
        directory: Arc<Directory>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let hosts = Arc::new(Hosts::default());
        let router = Arc::new(Self {
            own,
            table: Table::new(client),
            hosts: hosts.clone(),
            client: PeerClient::new(tls, metrics.clone()),
            directory,
            metrics,
        });
        tokio::spawn(sweep(
            Arc::downgrade(&router),
            AbortOnDropHandle::new(tokio::spawn(async move { hosts.follow(api).await })),
        ));
        router
    }

    /// Whether this host does a call that it could do: it does unless the run falls to a revision that only
    /// others run, or it leaves.
    pub(crate) fn keeps(&self, instance: &Arc<Instance>, run: RunId) -> bool {
        // Where the list is not here yet, it comes while this call is done.
        let Some(tenant) = self.table.peek(&instance.tenant) else {
            return true;
        };
        let target = (instance.kind, instance.name.clone());
        let here = Some(instance.clone());
        !matches!(
            self.place(&tenant, &target, run, here, &HashSet::new()),
            Place::There(..)
        )
    }

    /// Waits until an instance that this host has given up is ready elsewhere, or gone, but not longer than
    /// that.
    pub(crate) async fn moved(&self, tenant: &TenantName, instance: &str, most: Duration) {
        let Ok(tenant) = self.table.tenant(tenant).await else {
            return;
        };
        let mut news = tenant.changes();
        let elsewhere = news.wait_for(|_| {
            tenant.look(|replicas| {
                let replica = replicas.instance(instance);
                replica
                    .is_none_or(|replica| replica.ready && replica.host.as_ref() != Some(&self.own))
            })
        });
        // After that it is given up all the same.
        drop(tokio::time::timeout(most, elsewhere).await);
    }

    /// Whether a tenant has an agent or tool anywhere.
    pub(crate) async fn has(&self, tenant: &TenantName, kind: Kind, name: &Name) -> bool {
        let target = (kind, name.clone());
        match self.table.tenant(tenant).await {
            Ok(tenant) => tenant.look(|replicas| !replicas.of(&target).is_empty()),
            // The call itself says what is wrong.
            Err(_) => true,
        }
    }

    fn place(
        &self,
        tenant: &Tenant,
        target: &Target,
        run: RunId,
        here: Option<Arc<Instance>>,
        refused: &HashSet<Name>,
    ) -> Place {
        let mut candidates = Vec::new();
        let mut hosts = Vec::new();
        let mut exists = here.is_some();
        let share = tenant.look(|replicas| Share::of(replicas.of(target), target, run));
        if let Some(instance) = &here {
            let own = self.hosts.get(&self.own);
            candidates.push(Candidate {
                meant: share.means(instance.generation),
                local: true,
                draining: own.is_some_and(|own| own.draining),
                ejected: false,
                refused: false,
                in_flight: 0,
            });
            hosts.push(None);
        }
        tenant.look(|replicas| {
            for replica in replicas.of(target) {
                exists = true;
                let Some(host) = replica.callable().filter(|host| **host != self.own) else {
                    continue;
                };
                let peer = self.hosts.get(host);
                let Some((peer, address)) = peer.and_then(|peer| Some((peer, peer.address?)))
                else {
                    continue;
                };
                let (in_flight, ejected) = self.client.state(host);
                candidates.push(Candidate {
                    meant: share.means(replica.generation),
                    local: false,
                    draining: peer.draining,
                    ejected: ejected || peer.lost,
                    refused: refused.contains(host),
                    in_flight,
                });
                hosts.push(Some((host.clone(), address)));
            }
        });
        let chosen = choose(&candidates, |most| rand::random_range(0..most));
        match (
            chosen.and_then(|index| hosts.swap_remove(index)),
            chosen,
            here,
        ) {
            (Some((host, address)), _, _) => Place::There(host, address),
            (None, Some(_), Some(instance)) => Place::Here(instance),
            _ => Place::Nowhere { exists },
        }
    }

    /// Does a call on the host that suits best. Another one is asked only where nothing has begun.
    pub(crate) async fn route<S: Inner>(
        self: Arc<Self>,
        call: Call,
        inner: S,
    ) -> Result<Reply, CallError> {
        let context = call.context.clone();
        let routed = self.offer(call, inner);
        context.bound(routed).await
    }

    async fn offer<S: Inner>(&self, mut call: Call, mut inner: S) -> Result<Reply, CallError> {
        let Some((kind, name)) = call.request.workload() else {
            return inner.call(call).await;
        };
        let target: Target = (kind, name.clone());
        let tenant = self.table.tenant(&call.context.tenant).await?;
        let gate = tenant.gate.clone();
        let mut permit = if call.context.waits {
            gate.acquire_owned().await.ok()
        } else {
            gate.try_acquire_owned().ok()
        };
        if permit.is_none() {
            let most = ROUTED_CONCURRENCY as u64;
            return Err(CallError::limit(name::ROUTED_CONCURRENCY, most));
        }
        let began = Instant::now();
        let mut refused = HashSet::new();
        let mut full: Option<CallError> = None;
        let mut outgoing: Option<Outgoing> = None;
        loop {
            // Before the look, so that no news is missed.
            let mut news = tenant.changes();
            let run = call.context.run;
            let here = self
                .directory
                .instance_for(&tenant.name, kind, &target.1, run);
            match self.place(&tenant, &target, run, here, &refused) {
                Place::Here(instance) => {
                    if let Some(outgoing) = outgoing {
                        outgoing.restore(&mut call.request);
                    }
                    call.callee = Some(instance);
                    return inner.call(call).await;
                }
                Place::There(host, address) => {
                    let ready = match &outgoing {
                        Some(outgoing) => outgoing,
                        None => outgoing.insert(Outgoing::new(&call.context, &mut call.request)?),
                    };
                    let offered = ready
                        .offer(&self.client, &host, address, &call.context, &mut permit)
                        .await;
                    match offered {
                        Offered::Done(result) => {
                            self.done(&call.context, host, &result, began);
                            return result;
                        }
                        Offered::Refused(Refusal::Busy(error)) => {
                            self.metrics.peer.call("refused", began.elapsed());
                            full = Some(error);
                        }
                        Offered::Refused(refusal) => {
                            tracing::debug!(%host, %refusal, "a call goes elsewhere");
                            self.metrics.peer.call("refused", began.elapsed());
                        }
                        Offered::Unreachable(error) => {
                            tracing::debug!(%error, "a call goes elsewhere");
                            self.metrics.peer.call("unreachable", began.elapsed());
                        }
                    }
                    refused.insert(host);
                }
                Place::Nowhere { exists: false } => {
                    return Err(missing(&tenant.name, kind, &target.1));
                }
                Place::Nowhere { exists: true } => {
                    let left = match full.take() {
                        // Only who came to wait waits for room.
                        Some(full) if !call.context.waits => return Err(full),
                        Some(_) => AGAIN,
                        None => MOVE.saturating_sub(began.elapsed()),
                    };
                    if left.is_zero() {
                        let what = kind.as_str().to_lowercase();
                        return Err(CallError::Unavailable(format!(
                            "{what} {} is not ready on any host: try again later",
                            target.1
                        )));
                    }
                    // What comes of it is seen above.
                    drop(tokio::time::timeout(left.min(AGAIN), news.changed()).await);
                    refused.clear();
                }
            }
        }
    }

    fn done(
        &self,
        context: &CallContext,
        host: Name,
        result: &Result<Reply, CallError>,
        began: Instant,
    ) {
        let outcome = match result {
            Err(CallError::UnknownOutcome(_)) => "unknown",
            _ => "answered",
        };
        self.metrics.peer.call(outcome, began.elapsed());
        // It is set once: another attempt comes only where nothing has begun.
        drop(context.spent.host.set(host));
    }
}

/// Ends what nobody needs any more, until the router is gone.
async fn sweep(router: std::sync::Weak<Router>, _hosts: AbortOnDropHandle<()>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        let Some(router) = router.upgrade() else {
            return;
        };
        for tenant in router.table.sweep(Instant::now()) {
            router.directory.put_cluster(&tenant, Cluster::default());
        }
        router
            .client
            .retain(|host| router.hosts.get(host).is_some());
        router.metrics.peer.tenants(router.table.len());
    }
}
