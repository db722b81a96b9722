//! Runs the hosts of pools: watches what there is of them, and applies what there should be.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;

use futures::stream::{SelectAll, select_all};
use futures::{Stream, StreamExt as _};
use kube::ResourceExt as _;
use kube::api::ObjectMeta;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Config, Event, watcher};
use parking_lot::Mutex;
use ringfence_api::{HostPool, Name, POOL_LABEL, chain, condition};

use super::{Governed, Operator};
use crate::condition::Verdict;
use crate::error::Error;
use crate::index::newer;
use crate::pool::{self, HostSettings, Live, Part};
use crate::queue::Queue;

/// What there is of each pool, and which are to be looked at.
pub(super) struct Pools {
    namespace: String,
    settings: HostSettings,
    queue: Queue<Name>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Everything that was there at the start is in `live`.
    known: bool,
    live: HashMap<Name, Live>,
    /// Why a pool could not be brought to what it should be.
    troubles: HashMap<Name, String>,
}

impl Pools {
    pub(super) fn new(namespace: &str, settings: HostSettings) -> Self {
        Self {
            namespace: namespace.to_owned(),
            settings,
            queue: Queue::default(),
            state: Mutex::default(),
        }
    }

    pub(super) fn look_at(&self, pool: &Name) {
        self.queue.add(pool.clone());
    }

    /// Whether [`Pools::deployed`] can say anything yet.
    pub(super) fn known(&self) -> bool {
        self.state.lock().known
    }

    /// How far the Pods of a pool are. Nothing where somebody else runs its hosts.
    pub(super) fn deployed(&self, pool: &HostPool) -> Option<Verdict> {
        pool.spec.hosts.as_ref()?;
        let name: Name = pool.metadata.name.as_ref()?.parse().ok()?;
        let state = self.state.lock();
        if let Some(trouble) = state.troubles.get(&name) {
            let reason = "NotApplied";
            return Some(Verdict::no(condition::DEPLOYED, reason, trouble.clone()));
        }
        match state.live.get(&name) {
            Some(live) => pool::deployed(pool, live),
            None => pool::deployed(pool, &BTreeMap::new()),
        }
    }

    /// Takes in an object that was read. Returns its pool.
    fn put(&self, part: Part, object: DynamicObject) -> Option<Name> {
        let pool: Name = pool::pool_of(&object)?.parse().ok()?;
        let mut state = self.state.lock();
        let live = state.live.entry(pool.clone()).or_default();
        let key = (part, object.name_any());
        let known = live.get(&key);
        if known.is_none_or(|known| newer(&object.metadata, &known.metadata)) {
            live.insert(key, object);
        }
        Some(pool)
    }

    fn remove(&self, part: Part, name: &str, pool: &Name) {
        let mut state = self.state.lock();
        if let Some(live) = state.live.get_mut(pool) {
            live.remove(&(part, name.to_owned()));
            if live.is_empty() {
                state.live.remove(pool);
            }
        }
    }

    /// Forgets all objects of a part that are not in `listed`. Returns the pools that they were of.
    fn keep(&self, part: Part, listed: &HashSet<String>) -> Vec<Name> {
        let mut pools = Vec::new();
        for (pool, live) in &mut self.state.lock().live {
            let before = live.len();
            live.retain(|(of, name), _| *of != part || listed.contains(name));
            if live.len() != before {
                pools.push(pool.clone());
            }
        }
        pools
    }
}

type Events =
    SelectAll<Pin<Box<dyn Stream<Item = (Part, watcher::Result<Event<DynamicObject>>)> + Send>>>;

/// Works for ever.
pub(super) async fn run(operator: Operator, pools: Arc<Pools>) {
    let mut events = watch(&operator, &pools);
    let mut listing: HashMap<Part, HashSet<String>> = HashMap::new();
    let mut listed: HashSet<Part> = HashSet::new();
    loop {
        // Before all is known, what is missing could be taken for gone.
        let known = pools.known();
        let (part, event) = tokio::select! {
            event = events.next() => match event {
                Some(event) => event,
                None => return,
            },
            name = pools.queue.next(), if known => {
                work(&operator, &pools, &name).await;
                continue;
            }
        };
        let changed = match event {
            Ok(Event::Init) => {
                listing.insert(part, HashSet::new());
                Vec::new()
            }
            Ok(Event::InitApply(object)) => {
                listing.entry(part).or_default().insert(object.name_any());
                pools.put(part, object).into_iter().collect()
            }
            Ok(Event::InitDone) => {
                listed.insert(part);
                pools.state.lock().known = listed.len() == Part::ALL.len();
                pools.keep(part, &listing.remove(&part).unwrap_or_default())
            }
            Ok(Event::Apply(object)) => pools.put(part, object).into_iter().collect(),
            Ok(Event::Delete(object)) => {
                let pool = pool::pool_of(&object).and_then(|pool| pool.parse().ok());
                pool.iter()
                    .for_each(|pool| pools.remove(part, &object.name_any(), pool));
                pool.into_iter().collect()
            }
            Err(error) => {
                tracing::warn!(?part, error = %chain(&error), "a watch broke; it starts again");
                Vec::new()
            }
        };
        for pool in changed {
            operator.governed.add(Governed::Pool(pool.clone()));
            pools.queue.add(pool);
        }
    }
}

fn watch(operator: &Operator, pools: &Pools) -> Events {
    select_all(Part::ALL.map(|part| {
        let resource = part.resource();
        let api = operator.writer.dynamic(&pools.namespace, &resource);
        let events = watcher(api, Config::default().labels(POOL_LABEL)).default_backoff();
        Box::pin(events.map(move |event| (part, event))) as Pin<Box<_>>
    }))
}

async fn work(operator: &Operator, pools: &Pools, name: &Name) {
    let done = bring(operator, pools, name).await;
    if done.as_ref().err().and_then(Error::code) == Some(409) {
        // Something has changed since it was planned, most often how far the Pods are: planned anew with that.
        pools.queue.failed(name);
        return;
    }
    let trouble = done.as_ref().err().map(|error| chain(error));
    {
        let mut state = pools.state.lock();
        match &trouble {
            Some(trouble) => state.troubles.insert(name.clone(), trouble.clone()),
            None => state.troubles.remove(name),
        };
    }
    operator.governed.add(Governed::Pool(name.clone()));
    match trouble {
        None => pools.queue.done(name),
        Some(error) => {
            tracing::warn!(pool = %name, %error, "its hosts are not as they should be; it is tried again");
            pools.queue.failed(name);
        }
    }
}

/// Brings a pool to what it should be.
async fn bring(operator: &Operator, pools: &Pools, name: &Name) -> Result<(), Error> {
    let Some((pool, ..)) = operator.index.lock().pool(name) else {
        // What it owned goes with it.
        return Ok(());
    };
    if pool.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let (apply, delete) = {
        let state = pools.state.lock();
        let none = Live::new();
        let live = state.live.get(name).unwrap_or(&none);
        let plan = pool::plan(&pool, &pools.namespace, &pools.settings, live);
        // Applied to what it was planned from, and to nothing newer: how many hosts there are is taken from there.
        let apply = plan.apply.into_iter().map(|(part, object)| {
            let seen = seen(live, part, &object);
            (part, object, seen)
        });
        (apply.collect::<Vec<_>>(), plan.delete)
    };
    let api = |part: Part| {
        let resource = part.resource();
        (
            operator.writer.dynamic(&pools.namespace, &resource),
            resource.kind,
        )
    };
    for (part, object, seen) in apply {
        let (api, kind) = api(part);
        let applied = operator
            .writer
            .apply(&api, &kind, object, seen.as_ref())
            .await?;
        pools.put(part, applied);
    }
    for (part, object_name, uid) in delete {
        let (api, kind) = api(part);
        operator
            .writer
            .remove(&api, &kind, &object_name, uid)
            .await?;
    }
    Ok(())
}

/// What there is of an object that is to be applied.
fn seen(live: &Live, part: Part, object: &serde_json::Value) -> Option<ObjectMeta> {
    let name = object["metadata"]["name"].as_str()?;
    let there = live.get(&(part, name.to_owned()))?;
    Some(there.metadata.clone())
}
