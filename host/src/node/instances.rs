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
    Instance, InstanceSpec, Kind, Metadata, NAME_LABEL, Name, Pinned, TenantName, Workload, chain,
};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::needs::Needs;
use super::{Shared, report};
use crate::directory::pull::UNAUTHORIZED;
use crate::directory::status::Unresolved;
use crate::directory::{self, Canary};

/// Instances that are prepared at the same time. Compiling has limits of its own.
const PREPARING: usize = 16;
/// An instance that could not be prepared is tried again after this long.
const RETRY: Duration = Duration::from_secs(10);
/// The longest wait after a registry refused a login: trying it over and over may lock it. Another Secret is tried at
/// once.
const LONGEST_RETRY: Duration = Duration::from_secs(300);
/// How long an instance that was bound elsewhere is gone on with, at most.
const MOVE: Duration = Duration::from_secs(30);
/// How long the API server may take to say whether it still is one.
const ASK: Duration = Duration::from_secs(2);

/// What an instance is known by: tenant and name of the object.
type Key = (TenantName, String);
/// What it runs under.
type Target = (TenantName, Kind, Name);

/// What runs here.
#[derive(Default)]
struct Running {
    /// The newest version of each instance that was seen.
    seen: HashMap<Key, Seen>,
    /// What runs of each agent and tool, by instance: while one revision takes over from another there
    /// are two. A canary gets the runs that its weight says; of the others the newest generation is called.
    by_target: BTreeMap<Target, BTreeMap<String, Made>>,
}

/// An instance that is bound to this host.
struct Seen {
    instance: Arc<Instance>,
    /// Ends what follows its needs, once it is another or gone.
    wanted: DropGuard,
    /// What it lacks, where it serves otherwise.
    trouble: Option<Unresolved>,
}

impl Running {
    /// Whether an instance serves here.
    fn has(&self, key: &Key, instance: &Instance) -> bool {
        let all = target(instance).and_then(|target| self.by_target.get(&target));
        all.is_some_and(|all| all.contains_key(&key.1))
    }
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
            Err(error) => tracing::warn!(
                error = chain(&error),
                "the watch of instances broke; it starts again"
            ),
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
    mut instance: Instance,
) {
    let Some(key) = key(&instance) else { return };
    // Who set which field is half of it, and of no use here.
    instance.metadata.managed_fields = None;
    let instance = Arc::new(instance);
    let over = CancellationToken::new();
    {
        let all = running;
        let mut running = all.lock();
        if let Some(seen) = running.seen.get_mut(&key)
            && same(&seen.instance.spec, &instance.spec)
        {
            let before = std::mem::replace(&mut seen.instance, instance.clone());
            // A change of status alone, most often the host's own, is nothing to do.
            if before.spec.weight != instance.spec.weight {
                reweigh(shared, &mut running, &key, &instance);
            }
            if report::said_lost(&instance) && running.has(&key, &instance) {
                tokio::spawn(here_again(shared.clone(), all.clone(), key));
            }
            return;
        }
        let seen = Seen {
            instance: instance.clone(),
            wanted: over.clone().drop_guard(),
            trouble: None,
        };
        running.seen.insert(key.clone(), seen);
    }
    let task = Task {
        shared: shared.clone(),
        running: running.clone(),
        preparing: preparing.clone(),
        key,
        instance,
    };
    tokio::spawn(async move {
        let needs = Needs::of(&task.shared, &task.key.0, &task.instance.spec);
        // The first part takes much more memory than the second, which goes on for as long as the instance does.
        let made = Box::pin(over.run_until_cancelled(task.make(needs))).await;
        if let Some(needs) = made.flatten().filter(|needs| !needs.is_empty()) {
            over.run_until_cancelled(task.keep(needs)).await;
        }
    });
}

/// Says anew how an instance is that serves here, where this host was taken for lost meanwhile: nothing about it has
/// changed, so nobody else would.
async fn here_again(shared: Arc<Shared>, running: Arc<Mutex<Running>>, key: Key) {
    loop {
        let seen = {
            let running = running.lock();
            let seen = running.seen.get(&key);
            seen.map(|seen| (seen.instance.clone(), seen.trouble.clone()))
        };
        let Some((now, trouble)) = seen.filter(|(now, _)| report::said_lost(now)) else {
            return;
        };
        let said = match &trouble {
            Some(why) => report::trouble(&shared, &now, why).await,
            None => report::recovered(&shared, &now).await,
        };
        if said {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What is done for one version of an instance.
struct Task {
    shared: Arc<Shared>,
    running: Arc<Mutex<Running>>,
    preparing: Arc<Semaphore>,
    key: Key,
    instance: Arc<Instance>,
}

/// How a try to prepare an instance went.
enum Prepared {
    /// There is nothing more to do, or it is not wanted any more.
    Done,
    /// It waits for something that it needs, which was said.
    Lacks,
    /// It is worth another try.
    Failed,
    /// The registry lets it have nothing, which was said.
    Refused,
}

impl Task {
    /// Prepares the instance until that has worked. Gives back what has to be followed from then on.
    async fn make(&self, mut needs: Needs) -> Option<Needs> {
        let mut told = None;
        let mut wait = RETRY;
        loop {
            // Without a permit: one that waits for a Secret or a model keeps nobody else waiting.
            needs.wait().await;
            let permit = self.preparing.acquire().await.ok()?;
            let prepared = self.prepare(&needs, &mut told).await;
            drop(permit);
            match prepared {
                Prepared::Done => {
                    needs.pulled();
                    return Some(needs);
                }
                Prepared::Lacks if needs.tells() => needs.changed().await,
                Prepared::Refused => match tokio::time::timeout(wait, needs.changed()).await {
                    Ok(()) => wait = RETRY,
                    Err(_) => wait = (wait * 2).min(LONGEST_RETRY),
                },
                Prepared::Lacks | Prepared::Failed => {
                    drop(tokio::time::timeout(RETRY, needs.changed()).await);
                }
            }
        }
    }

    /// Does what there is to do for an instance. `told` is the trouble that was said last.
    async fn prepare(&self, needs: &Needs, told: &mut Option<Unresolved>) -> Prepared {
        let Self {
            shared,
            running,
            key,
            instance,
            ..
        } = self;
        if self.current().is_none() {
            return Prepared::Done;
        }
        let (why, otherwise) = match (needs.pull_trouble(), &instance.spec.pinned) {
            (Some(why), _) => (why, Prepared::Lacks),
            (None, None) => match find(shared, &key.0, instance).await {
                Ok(artifact) => return report::found(shared, instance, artifact).await.into(),
                Err(why) => Prepared::after(why),
            },
            (None, Some(pinned)) => match frozen(shared, instance, pinned).await {
                Ok(made) => match needs.trouble() {
                    None if publish(shared, running, key, instance, made) => {
                        let said = match told {
                            None => report::ready(shared, instance).await,
                            Some(_) => report::recovered(shared, instance).await,
                        };
                        return said.into();
                    }
                    None => return Prepared::Done,
                    Some(why) => (why, Prepared::Lacks),
                },
                Err(why) => Prepared::after(why),
            },
        };
        if told.as_ref() != Some(&why) {
            if !report::trouble(shared, instance, &why).await {
                return Prepared::Failed;
            }
            *told = Some(why);
        }
        otherwise
    }

    /// Follows what an instance that serves needs, for as long as it is wanted, and says when something of it
    /// cannot be had any more, or can again.
    async fn keep(&self, mut needs: Needs) {
        let mut told = None;
        loop {
            let trouble = needs.trouble();
            if trouble != told {
                match self.say(trouble.as_ref()).await {
                    true => {
                        self.note(trouble.clone());
                        told = trouble;
                    }
                    false => {
                        drop(tokio::time::timeout(RETRY, needs.changed()).await);
                        continue;
                    }
                }
            }
            needs.changed().await;
        }
    }

    /// Says what is the matter with an instance that serves, or nothing any more. Not of one that moves: that is
    /// for its new host to say. False where that could not be told.
    async fn say(&self, trouble: Option<&Unresolved>) -> bool {
        // What many need may come and go for all of them at once.
        let _permit = self.preparing.acquire().await;
        let Some(now) = self.current() else {
            return true;
        };
        let shared = &self.shared;
        // On the heap, since it is seldom there: there is one of these tasks for each instance.
        match trouble {
            Some(why) => Box::pin(report::trouble(shared, &now, why)).await,
            None => Box::pin(report::recovered(shared, &now)).await,
        }
    }

    /// Takes down what is the matter with the instance now.
    fn note(&self, trouble: Option<Unresolved>) {
        if let Some(seen) = self.running.lock().seen.get_mut(&self.key) {
            seen.trouble = trouble;
        }
    }

    /// The instance as it was seen last, where it is still wanted as it was prepared.
    fn current(&self) -> Option<Arc<Instance>> {
        let running = self.running.lock();
        let now = &running.seen.get(&self.key)?.instance;
        same(&now.spec, &self.instance.spec).then(|| now.clone())
    }
}

impl Prepared {
    /// Where something failed.
    fn after(why: Unresolved) -> (Unresolved, Self) {
        match why.reason {
            UNAUTHORIZED => (why, Self::Refused),
            _ => (why, Self::Failed),
        }
    }
}

impl From<bool> for Prepared {
    fn from(said: bool) -> Self {
        match said {
            true => Self::Done,
            false => Self::Failed,
        }
    }
}

async fn find(
    shared: &Shared,
    tenant: &TenantName,
    instance: &Instance,
) -> Result<ringfence_api::ArtifactStatus, Unresolved> {
    let Some(source) = instance.spec.workload.component() else {
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
    let now = running.seen.get(key).map(|seen| &seen.instance.spec);
    let Some(now) = now.filter(|now| same(now, &instance.spec)) else {
        return false;
    };
    let made = Made {
        instance: made,
        weight: now.weight,
    };
    let all = running.by_target.entry(target).or_default();
    all.insert(key.1.clone(), made);
    show(shared, all);
    true
}

/// Takes in what an instance weighs now. One that does not run yet is weighed when it does.
fn reweigh(shared: &Shared, running: &mut Running, key: &Key, instance: &Instance) {
    let Some(target) = target(instance) else {
        return;
    };
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
    let Some(Seen {
        instance, wanted, ..
    }) = running.lock().seen.remove(&key)
    else {
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
        // It needs its Secrets for as long as it serves.
        drop((wanted, moving));
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
