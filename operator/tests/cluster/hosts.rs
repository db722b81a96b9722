//! Hosts that only play their part towards the API server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::runtime::watcher::Config;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use ringfence_api::{
    ArtifactSource, Capability, Digest, HOST_LEASE_LABEL, Host, Instance, Name, condition,
};
use ringfence_test_cluster::ControlPlane;
use serde_json::json;
use tokio::net::TcpListener;

use crate::fixture::SYSTEM;

/// Images with this tag are not there.
pub(crate) const BROKEN: &str = ":broken";
/// How long a Lease of these hosts lasts.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

pub(crate) struct PlayedHost {
    pub(crate) name: String,
    freeze: Arc<AtomicBool>,
    mute: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    listener: Option<TcpListener>,
}

impl PlayedHost {
    /// A host of a pool that finds every component to ask for HTTP and clocks.
    pub(crate) async fn start(
        cluster: &ControlPlane,
        name: &str,
        pool: &str,
        instances: u32,
    ) -> Self {
        Self::start_skewed(cluster, name, pool, instances, SignedDuration::ZERO).await
    }

    /// The same, with a clock that is wrong by so much.
    pub(crate) async fn start_skewed(
        cluster: &ControlPlane,
        name: &str,
        pool: &str,
        instances: u32,
        skew: SignedDuration,
    ) -> Self {
        let client = cluster.client().await.unwrap();
        let freeze = Arc::new(AtomicBool::new(false));
        let mute = Arc::new(AtomicBool::new(false));
        renew(&client, name, skew).await;
        let host: Api<Host> = Api::namespaced(client.clone(), SYSTEM);
        let apply = PatchParams::apply("ringfence-host").force();
        let object = json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": "Host",
            "metadata": {"name": name}, "spec": {"pool": pool}
        });
        host.patch(name, &apply, &Patch::Apply(&object))
            .await
            .unwrap();
        let status = json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": "Host", "metadata": {"name": name},
            "status": {
                "allocatable": {"memoryBytes": 1_u64 << 34, "cpuMillis": 64_000, "instances": instances},
                "conditions": [ready("HostReady")]
            }
        });
        host.patch_status(name, &apply, &Patch::Apply(&status))
            .await
            .unwrap();
        let renewing = {
            let (client, name, freeze) = (client.clone(), name.to_owned(), freeze.clone());
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(LEASE / 4).await;
                    if !freeze.load(Ordering::Relaxed) {
                        renew(&client, &name, skew).await;
                    }
                }
            })
        };
        let running = tokio::spawn(run(client, name.to_owned(), freeze.clone(), mute.clone()));
        Self {
            name: name.to_owned(),
            freeze,
            mute,
            tasks: vec![renewing, running],
            listener: None,
        }
    }

    /// Listens somewhere, and says where.
    pub(crate) async fn listen(&mut self, cluster: &ControlPlane) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.listener = Some(listener);
        let hosts: Api<Host> = Api::namespaced(cluster.client().await.unwrap(), SYSTEM);
        let status = json!({"status": {"address": address.to_string()}});
        hosts
            .patch_status(&self.name, &PatchParams::default(), &Patch::Merge(&status))
            .await
            .unwrap();
    }

    /// Listens no more, where it did.
    pub(crate) fn close(&mut self) {
        drop(self.listener.take());
    }

    /// Says nothing more about its instances, though it lives.
    pub(crate) fn mute(&self) {
        self.mute.store(true, Ordering::Relaxed);
    }

    /// Goes on where it was.
    pub(crate) fn thaw(&self) {
        self.freeze.store(false, Ordering::Relaxed);
    }

    /// Does nothing any more, as a machine that hangs.
    pub(crate) fn freeze(&self) {
        self.freeze.store(true, Ordering::Relaxed);
    }
}

impl Drop for PlayedHost {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn image(instance: &Instance) -> String {
    match instance.spec.workload.component() {
        Some(ArtifactSource::Image(source)) => source.image.clone(),
        _ => "component".to_owned(),
    }
}

fn broken(image: &str) -> serde_json::Value {
    let mut said = ready("ArtifactMissing");
    said["status"] = "False".into();
    said["message"] = format!("{image} is not there").into();
    said
}

fn ready(reason: &str) -> serde_json::Value {
    json!({
        "type": "Ready", "status": "True", "reason": reason, "message": "",
        "lastTransitionTime": Timestamp::from_second(0).unwrap().to_string()
    })
}

async fn renew(client: &Client, name: &str, skew: SignedDuration) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), SYSTEM);
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(HOST_LEASE_LABEL.to_owned(), "true".to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(i32::try_from(LEASE.as_secs()).unwrap()),
            renew_time: Some(MicroTime(Timestamp::now() + skew)),
            ..LeaseSpec::default()
        }),
    };
    let apply = PatchParams::apply("ringfence-host").force();
    // While the API server is away a renewal fails, and the next one is tried.
    let _ = leases.patch(name, &apply, &Patch::Apply(&lease)).await;
}

/// Reports on the instances that are bound to the host.
async fn run(client: Client, name: String, freeze: Arc<AtomicBool>, mute: Arc<AtomicBool>) {
    let own = Config::default().fields(&format!("spec.hostName={name}"));
    let all: Api<Instance> = Api::all(client.clone());
    let mut bound = watcher(all, own)
        .default_backoff()
        .applied_objects()
        .boxed();
    loop {
        let Ok(Some(instance)) = bound.try_next().await else {
            continue;
        };
        if mute.load(Ordering::Relaxed)
            || freeze.load(Ordering::Relaxed)
            || instance.metadata.deletion_timestamp.is_some()
        {
            continue;
        }
        let image = image(&instance);
        let digest = Digest::of(image.as_bytes());
        let asked = BTreeSet::from([Capability::Http, Capability::Clocks]);
        let mut status = json!({"hostName": name, "artifact": {"digest": digest, "asked": asked}});
        let conditions = match &instance.spec.pinned {
            _ if image.ends_with(BROKEN) => vec![broken(&image)],
            Some(_) => vec![ready("Ready")],
            None => Vec::new(),
        };
        if image.ends_with(BROKEN) {
            status["artifact"] = serde_json::Value::Null;
        }
        status["conditions"] = json!(conditions);
        let status = json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": "Instance",
            "metadata": {"name": instance.name_any()}, "status": status
        });
        let known = instance.status.as_ref();
        let said = known.is_some_and(|known| {
            let lost = known
                .conditions
                .iter()
                .any(|c| c.reason == condition::HOST_LOST);
            known.host_name.as_ref().map(Name::as_str) == Some(&name)
                && known.conditions.len() >= conditions.len()
                && !lost
        });
        if said {
            continue;
        }
        let api: Api<Instance> =
            Api::namespaced(client.clone(), &instance.namespace().unwrap_or_default());
        let apply = PatchParams::apply("ringfence-host").force();
        let _ = api
            .patch_status(&instance.name_any(), &apply, &Patch::Apply(&status))
            .await;
    }
}
