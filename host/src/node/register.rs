//! The host's own objects: its `Host` and its Lease.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use ringfence_api::{API_VERSION, HOST_LEASE_LABEL, Host, Instance, POOL_USED_ANNOTATION, chain};
use serde_json::json;

use super::peers::advertised;
use super::state::State;
use super::{FIELD_MANAGER, Shared};

/// How long a Lease holds after its last renewal: after that the host counts as lost.
const LEASE: Duration = Duration::from_secs(10);
/// How often it is renewed.
const RENEW: Duration = Duration::from_millis(2_500);
/// How long the API server may take: one that gives no answer leaves time for further tries.
const ANSWER: Duration = Duration::from_millis(2_500);
/// How long instances have to move elsewhere before the host ends.
const DRAIN: Duration = Duration::from_secs(30);
/// How often a draining host looks whether they have.
const LOOK: Duration = Duration::from_millis(250);

fn apply() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

/// Makes the Lease, then the `Host`: a host without a Lease would count as lost.
pub(super) async fn register(
    shared: &Shared,
    address: SocketAddr,
    peers: Option<SocketAddr>,
    journal: &str,
) -> kube::Result<State> {
    renewal(shared).await?;
    spec(shared, false).await?;
    let address = advertised(address, shared.membership.advertise);
    let mut state = State::new(address, peers, journal);
    state.tell(shared).await?;
    Ok(state)
}

async fn spec(shared: &Shared, draining: bool) -> kube::Result<()> {
    let member = &shared.membership;
    let host = json!({
        "apiVersion": API_VERSION, "kind": "Host",
        "metadata": {"name": member.name, "ownerReferences": member.owner.as_slice()},
        "spec": {"pool": member.pool, "zone": member.zone, "draining": draining},
    });
    let hosts: Api<Host> = Api::namespaced(shared.client.clone(), &member.namespace);
    hosts
        .patch(member.name.as_str(), &apply(), &Patch::Apply(&host))
        .await?;
    Ok(())
}

async fn renewal(shared: &Shared) -> kube::Result<()> {
    let member = &shared.membership;
    let mut lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": member.name,
            "labels": {HOST_LEASE_LABEL: "true"},
            "ownerReferences": member.owner.as_slice(),
        },
        "spec": {
            "holderIdentity": member.name,
            "leaseDurationSeconds": LEASE.as_secs(),
            "renewTime": MicroTime(Timestamp::now()),
        },
    });
    // It is written anyway, and often enough for what scales by it.
    if let Some(used) = shared.load.average() {
        lease["metadata"]["annotations"] = json!({POOL_USED_ANNOTATION: used.to_string()});
    }
    let leases: Api<Lease> = Api::namespaced(shared.lease.clone(), &member.namespace);
    leases
        .patch(member.name.as_str(), &apply(), &Patch::Apply(&lease))
        .await?;
    Ok(())
}

/// Renews the Lease for ever. A renewal that fails is tried again; the host serves on meanwhile.
pub(super) async fn renew(shared: std::sync::Arc<Shared>) {
    let mut ticks = tokio::time::interval(RENEW);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match tokio::time::timeout(ANSWER, renewal(&shared)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "the lease could not be renewed")
            }
            Err(_) => tracing::warn!("the lease could not be renewed: no answer"),
        }
    }
}

/// Asks for its instances to be moved, and waits for that, but not for ever.
pub(super) async fn drain(shared: &Shared) {
    if let Err(error) = spec(shared, true).await {
        tracing::warn!(error = chain(&error), "the host cannot say that it drains");
        return;
    }
    let own = ListParams::default()
        .fields(&format!("spec.hostName={}", shared.membership.name))
        .limit(1);
    let all: Api<Instance> = Api::all(shared.client.clone());
    let moved = async {
        // What is bound elsewhere has to be ready there, too.
        while !matches!(all.list_metadata(&own).await, Ok(list) if list.items.is_empty())
            || !shared.moving.is_empty()
        {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(DRAIN, moved).await.is_err() {
        tracing::warn!(
            "some instances found no other host; they are bound elsewhere when there is one"
        );
    }
}

/// Removes its objects, so that nobody waits for the Lease to run out.
pub(super) async fn goodbye(shared: &Shared) {
    let member = &shared.membership;
    let params = DeleteParams::default();
    let hosts: Api<Host> = Api::namespaced(shared.client.clone(), &member.namespace);
    let leases: Api<Lease> = Api::namespaced(shared.client.clone(), &member.namespace);
    if let Err(error) = hosts.delete(member.name.as_str(), &params).await {
        tracing::warn!(error = chain(&error), "the Host was not removed");
    }
    if let Err(error) = leases.delete(member.name.as_str(), &params).await {
        tracing::warn!(
            error = chain(&error),
            "the lease was not removed; it runs out"
        );
    }
}
