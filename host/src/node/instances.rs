//! The instances that are bound to this host.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::ListParams;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use parking_lot::Mutex;
use ringfence_api::{
    ArtifactSource, Instance, InstanceSpec, Kind, Metadata, NAME_LABEL, Name, Pinned, TenantName,
    Workload,
};
use tokio::sync::Semaphore;

use super::secrets::Held;
use super::{Shared, report};
use crate::directory::status::Unresolved;
use crate::directory::{self, Canary};

/// Instances that are prepared at the same time. Compiling has limits of its own.
const PREPARING: usize = 16;
/// An instance that could not be prepared is tried again after this long.
const RETRY: Duration = Duration::from_secs(10);
/// How long an instance that was bound elsewhere is gone on with, at most.
const MOVE: Duration = Duration::from_secs(30);
/// How long the API server may take to say whether it still is one.
const ASK: Duration = Duration::from_secs(2);
/// How often it is looked whether an instance with Secrets is still wanted.
const LOOK: Duration = Duration::from_secs(5);

/// What an instance is known by: tenant and name of the object.
type Key = (TenantName, String);
/// What it runs under.
type Target = (TenantName, Kind, Name);

/// What runs here.
#[derive(Default)]
struct Running {
    /// The newest version of each instance that was seen.
    seen: HashMap<Key, Arc<Instance>>,
    /// What runs of each agent and tool, by instance: while one revision takes over from another there
    /// are two. A canary gets the runs that its weight says; of the others the newest generation is called.
    by_target: BTreeMap<Target, BTreeMap<String, Made>>,
}

/// What runs of an instance.
struct Made {
    instance: Arc<directory::Instance>,
    /// What the instance weighs.
    weight: Option<u32>,
}

/// Whether two versions of an instance are the same but for what they weigh, which changes nothing that runs.
fn same(one: &InstanceSpec, other: &InstanceSpec) -> bool {
    let weighed = |spec: &InstanceSpec| InstanceSpec {
        weight: None,
        ..spec.clone()
    };
    one == other || (one.weight != other.weight && weighed(one) == weighed(other))
}

/// Follows the instances of this host for ever.
pub(super) async fn follow(shared: Arc<Shared>) {
    let own = Config::default().fields(&format!("spec.hostName={}", shared.membership.name));
    let all: Api<Instance> = Api::all(shared.client.clone());
    let mut events = watcher(all, own).default_backoff().boxed();
    let running = Arc::new(Mutex::new(Running::default()));
    let preparing = Arc::new(Semaphore::new(PREPARING));
    let mut listing = HashSet::new();
    loop {
        match events.try_next().await {
            Ok(Some(Event::Apply(instance))) => {
                put(&shared, &running, &preparing, instance);
            }
            Ok(Some(Event::InitApply(instance))) => {
                listing.extend(key(&instance));
                put(&shared, &running, &preparing, instance);
            }
            // It is gone, or bound to another host now.
            Ok(Some(Event::Delete(instance))) => {
                if let Some(key) = key(&instance) {
                    give_up(&shared, &running, key);
                }
            }
            Ok(Some(Event::Init)) => listing.clear(),
            Ok(Some(Event::InitDone)) => {
                let known: Vec<Key> = running.lock().seen.keys().cloned().collect();
                for key in known.into_iter().filter(|key| !listing.contains(key)) {
                    give_up(&shared, &running, key);
                }
            }
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "the watch of instances broke; it starts again"),
        }
    }
}

fn key(instance: &Instance) -> Option<Key> {
    Some((instance.namespace()?.parse().ok()?, instance.name_any()))
}

fn target(instance: &Instance) -> Option<Target> {
    let kind = match instance.spec.workload {
        Workload::Agent(_) => Kind::Agent,
        Workload::Tool(_) => Kind::Tool,
    };
    let name = instance.labels().get(NAME_LABEL)?.parse().ok()?;
    Some((instance.namespace()?.parse().ok()?, kind, name))
}

fn put(
    shared: &Arc<Shared>,
    running: &Arc<Mutex<Running>>,
    preparing: &Arc<Semaphore>,
    instance: Instance,
) {
    let Some(key) = key(&instance) else { return };
    let instance = Arc::new(instance);
    let before = running.lock().seen.insert(key.clone(), instance.clone());
    if let Some(before) = before
        && same(&before.spec, &instance.spec)
    {
        // A change of status alone, most often the host's own, is nothing to do.
        if before.spec.weight != instance.spec.weight {
            reweigh(shared, running, &key, &instance);
        }
        return;
    }
    let (shared, running, preparing) = (shared.clone(), running.clone(), preparing.clone());
    tokio::spawn(async move {
        let mut held = shared.secrets.hold(&key.0, instance.spec.secrets());
        loop {
            // Without a permit: one that waits for a Secret keeps nobody else waiting.
            let secrets = held.wait().await;
            let Ok(permit) = preparing.acquire().await else {
                return;
            };
            let done = prepare(&shared, &running, &key, &instance, secrets).await;
            drop(permit);
            if done {
                break;
            }
            drop(tokio::time::timeout(RETRY, held.changed()).await);
        }
        if !held.is_empty() {
            keep(&shared, &running, &key, &instance, held).await;
        }
    });
}

/// Whether an instance is still wanted as it was seen.
fn current(running: &Mutex<Running>, key: &Key, instance: &Instance) -> bool {
    let running = running.lock();
    running
        .seen
        .get(key)
        .is_some_and(|now| same(&now.spec, &instance.spec))
}

/// Does what there is to do for an instance. False where it is worth another try.
async fn prepare(
    shared: &Shared,
    running: &Mutex<Running>,
    key: &Key,
    instance: &Arc<Instance>,
    secrets: Result<(), Unresolved>,
) -> bool {
    if !current(running, key, instance) {
        return true;
    }
    match &instance.spec.pinned {
        None => match find(shared, &key.0, instance).await {
            Ok(artifact) => report::found(shared, instance, artifact).await,
            Err(why) => {
                report::trouble(shared, instance, &why).await;
                false
            }
        },
        Some(pinned) => match frozen(shared, instance, pinned).await {
            Ok(made) => match secrets {
                Ok(()) => {
                    if !publish(shared, running, key, instance, made) {
                        return true;
                    }
                    report::ready(shared, instance).await
                }
                Err(why) => {
                    report::trouble(shared, instance, &why).await;
                    false
                }
            },
            Err(why) => {
                report::trouble(shared, instance, &why).await;
                false
            }
        },
    }
}

/// Follows the Secrets of an instance that serves, for as long as it is wanted, and says when one of them
/// cannot be had any more, or can again.
async fn keep(
    shared: &Shared,
    running: &Mutex<Running>,
    key: &Key,
    instance: &Instance,
    mut held: Held,
) {
    let mut told = false;
    loop {
        let seen = running.lock().seen.get(key).cloned();
        let Some(now) = seen.filter(|now| now.spec == instance.spec) else {
            return;
        };
        let trouble = held.trouble();
        if trouble.is_some() != told {
            match &trouble {
                Some(why) => report::trouble(shared, &now, why).await,
                None => drop(report::recovered(shared, &now).await),
            }
            told = trouble.is_some();
        }
        // Whether it is still wanted is looked at now and then only: what is followed for a while longer than
        // it has to be does no harm.
        drop(tokio::time::timeout(LOOK, held.changed()).await);
    }
}

async fn find(
    shared: &Shared,
    tenant: &TenantName,
    instance: &Instance,
) -> Result<ringfence_api::ArtifactStatus, Unresolved> {
    let source: Option<&ArtifactSource> = match &instance.spec.workload {
        Workload::Agent(spec) => spec.component.as_ref(),
        Workload::Tool(spec) => spec.component.as_ref(),
    };
    let Some(source) = source else {
        return Err(Unresolved::new(
            "NotPinned",
            "spec.pinned",
            "it has no component to find out about, and is not pinned: is the operator of another version?",
        ));
    };
    let (digest, inspection) = shared.resolver.find(tenant, source).await?;
    Ok(ringfence_api::ArtifactStatus {
        digest,
        asked: inspection.needs(),
    })
}

async fn frozen(
    shared: &Shared,
    instance: &Instance,
    pinned: &Pinned,
) -> Result<Arc<directory::Instance>, Unresolved> {
    let Some((namespace, _, name)) = target(instance) else {
        let message = format!("the label {NAME_LABEL} does not name what it is an instance of");
        return Err(Unresolved::new("NotLabelled", "metadata.labels", message));
    };
    let metadata = Metadata {
        name,
        namespace,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    };
    let generation = u64::try_from(instance.spec.generation).unwrap_or_default();
    let spec = &instance.spec;
    shared
        .resolver
        .frozen(
            &metadata,
            generation,
            &spec.workload,
            pinned,
            &spec.max_limits,
        )
        .await
}

/// Lets calls see what was prepared. False where it is not wanted any more.
fn publish(
    shared: &Shared,
    running: &Mutex<Running>,
    key: &Key,
    instance: &Instance,
    made: Arc<directory::Instance>,
) -> bool {
    let Some(target) = target(instance) else {
        return false;
    };
    let mut running = running.lock();
    let now = running.seen.get(key);
    let Some(now) = now.filter(|now| same(&now.spec, &instance.spec)) else {
        return false;
    };
    let made = Made {
        instance: made,
        weight: now.spec.weight,
    };
    let all = running.by_target.entry(target).or_default();
    all.insert(key.1.clone(), made);
    show(shared, all);
    true
}

/// Takes in what an instance weighs now. One that does not run yet is weighed when it does.
fn reweigh(shared: &Shared, running: &Mutex<Running>, key: &Key, instance: &Instance) {
    let Some(target) = target(instance) else {
        return;
    };
    let mut running = running.lock();
    let Some(all) = running.by_target.get_mut(&target) else {
        return;
    };
    if let Some(made) = all.get_mut(&key.1) {
        made.weight = instance.spec.weight;
        show(shared, all);
    }
}

/// Lets calls see what runs of an agent or tool: the newest of all that have no weight, and the newest of
/// those that have one. Where only a canary runs here, it is called whatever it weighs.
fn show(shared: &Shared, all: &BTreeMap<String, Made>) {
    let newest = |canary: bool| {
        all.values()
            .filter(|made| made.weight.is_some() == canary)
            .max_by_key(|made| made.instance.generation)
    };
    let directory = shared.host.directory();
    match (newest(false), newest(true)) {
        (Some(whole), canary) => {
            let canary = canary.map(|made| Canary {
                weight: made.weight.unwrap_or_default(),
                instance: made.instance.clone(),
            });
            directory.put_revisions(whole.instance.clone(), canary);
        }
        (None, Some(alone)) => directory.put_revisions(alone.instance.clone(), None),
        (None, None) => {}
    }
}

/// Lets go of an instance that is not bound to this host any more. Where it still is one, and only moves, this
/// host goes on with it until the other one has it ready.
fn give_up(shared: &Arc<Shared>, running: &Arc<Mutex<Running>>, key: Key) {
    let Some(instance) = running.lock().seen.remove(&key) else {
        return;
    };
    let Some(router) = shared.host.router() else {
        remove(shared, running, &key, &instance);
        return;
    };
    let (shared, running, router) = (shared.clone(), running.clone(), router.clone());
    let moving = shared.moving.token();
    tokio::spawn(async move {
        if exists(&shared, &instance).await {
            router.moved(&key.0, &key.1, MOVE).await;
        }
        remove(&shared, &running, &key, &instance);
        drop(moving);
    });
}

/// Whether it is still an instance. Where that cannot be found out, it is taken for gone: what was deleted
/// may have lost its right to exist.
async fn exists(shared: &Shared, instance: &Instance) -> bool {
    let namespace = instance.namespace().unwrap_or_default();
    let api: Api<Instance> = Api::namespaced(shared.client.clone(), &namespace);
    let same = ListParams::default().fields(&format!("metadata.name={}", instance.name_any()));
    let found = tokio::time::timeout(ASK, api.list_metadata(&same)).await;
    let Ok(Ok(found)) = found else {
        return false;
    };
    found.items.iter().any(|found| {
        found.metadata.uid == instance.metadata.uid && found.metadata.deletion_timestamp.is_none()
    })
}

fn remove(shared: &Shared, running: &Mutex<Running>, key: &Key, instance: &Instance) {
    let mut running = running.lock();
    // It may have come back meanwhile.
    if running.seen.contains_key(key) {
        return;
    }
    let Some(target) = target(instance) else {
        return;
    };
    let Some(all) = running.by_target.get_mut(&target) else {
        return;
    };
    all.remove(&key.1);
    if all.is_empty() {
        running.by_target.remove(&target);
        let (tenant, kind, name) = target;
        shared.host.directory().remove(&tenant, kind, &name);
    } else {
        show(shared, all);
    }
}
