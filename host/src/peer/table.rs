//! Who is ready where: one watch of `Instance` objects for each tenant that is called here, from its first
//! call until nobody has called it for a while.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use parking_lot::{Mutex, RwLock};
use ringfence_api::{Instance, TenantName};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use super::replicas::Replicas;
use crate::error::CallError;

/// Tenants that are followed at once. Where there are more, the one that was called longest ago makes room.
pub(crate) const TENANTS: usize = 1_000;
/// A tenant that was not called for so long is followed no more.
pub(crate) const TENANT_IDLE: Duration = Duration::from_secs(600);
/// How long the first call of a tenant waits for the list of its instances.
pub(crate) const FIRST_LIST: Duration = Duration::from_secs(5);
/// Calls of one tenant that this host has sent to others and that are not over; further ones are refused.
pub(crate) const ROUTED_CONCURRENCY: usize = 512;

/// The tenants that are followed.
pub(crate) struct Table {
    client: Client,
    tenants: Mutex<HashMap<TenantName, Arc<Tenant>>>,
    /// Tenants that made room and were not told yet.
    evicted: Mutex<Vec<TenantName>>,
}

/// One tenant that is followed.
pub(crate) struct Tenant {
    pub(crate) name: TenantName,
    replicas: RwLock<Replicas>,
    changes: watch::Sender<u64>,
    listed: watch::Sender<bool>,
    used: Mutex<Instant>,
    /// Permits for calls that are sent to other hosts.
    pub(crate) gate: Arc<Semaphore>,
    /// Whether the functions of its tools were found out once; false until somebody asks.
    pub(crate) described: watch::Sender<bool>,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    /// The watch.
    follow: Option<AbortOnDropHandle<()>>,
    /// What finds out the functions of its tools.
    describe: Option<AbortOnDropHandle<()>>,
}

impl Tenant {
    fn new(name: TenantName) -> Self {
        Self {
            name,
            replicas: RwLock::default(),
            changes: watch::Sender::new(0),
            listed: watch::Sender::new(false),
            used: Mutex::new(Instant::now()),
            gate: Arc::new(Semaphore::new(ROUTED_CONCURRENCY)),
            described: watch::Sender::new(false),
            tasks: Mutex::default(),
        }
    }

    /// Shows all instances.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Replicas) -> T) -> T {
        at(&self.replicas.read())
    }

    /// Whether the list has come.
    pub(crate) fn is_listed(&self) -> bool {
        *self.listed.borrow()
    }

    /// Tells when anything changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Lets `task` run beside the watch, if none does.
    pub(crate) fn describe_by(&self, task: impl FnOnce() -> tokio::task::JoinHandle<()>) {
        let mut tasks = self.tasks.lock();
        if tasks.describe.is_none() {
            tasks.describe = Some(AbortOnDropHandle::new(task()));
        }
    }

    fn touch(&self) {
        *self.used.lock() = Instant::now();
    }

    fn idle(&self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.used.lock())
    }

    /// Whether calls of it are on their way to other hosts.
    fn is_busy(&self) -> bool {
        self.gate.available_permits() < ROUTED_CONCURRENCY
    }

    fn edit(&self, edit: impl FnOnce(&mut Replicas) -> bool) {
        if edit(&mut self.replicas.write()) {
            self.changes.send_modify(|revision| *revision += 1);
        }
    }

    /// Takes note of one event of the watch.
    fn take(&self, event: Event<Instance>, listing: &mut HashSet<String>) {
        match event {
            Event::Apply(instance) => self.edit(|replicas| replicas.put(&instance)),
            Event::InitApply(instance) => {
                listing.insert(instance.name_any());
                self.edit(|replicas| replicas.put(&instance));
            }
            Event::Delete(instance) => self.edit(|replicas| replicas.remove(&instance.name_any())),
            Event::Init => listing.clear(),
            Event::InitDone => {
                self.edit(|replicas| replicas.retain(|name| listing.contains(name)));
                listing.clear();
                self.listed.send_replace(true);
            }
        }
    }
}

impl Table {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            tenants: Mutex::default(),
            evicted: Mutex::default(),
        }
    }

    /// A tenant if its list is here. Where it is not, it is asked for.
    pub(crate) fn peek(&self, name: &TenantName) -> Option<Arc<Tenant>> {
        let tenant = self.follow(name);
        tenant.is_listed().then_some(tenant)
    }

    /// A tenant with its list.
    ///
    /// # Errors
    /// `unavailable` where the list does not come in [`FIRST_LIST`].
    pub(crate) async fn tenant(&self, name: &TenantName) -> Result<Arc<Tenant>, CallError> {
        let tenant = self.follow(name);
        if tenant.is_listed() {
            return Ok(tenant);
        }
        let mut listed = tenant.listed.subscribe();
        match tokio::time::timeout(FIRST_LIST, listed.wait_for(|listed| *listed)).await {
            Ok(Ok(_)) => Ok(tenant),
            _ => Err(CallError::Unavailable(
                "the cluster does not tell what runs where: try again later".to_owned(),
            )),
        }
    }

    /// A tenant with these instances and no watch.
    #[cfg(test)]
    pub(crate) fn seed(&self, name: TenantName, replicas: Replicas) {
        let mut tenants = self.tenants.lock();
        let tenant = tenants
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Tenant::new(name)));
        tenant.edit(|known| {
            *known = replicas;
            true
        });
        tenant.listed.send_replace(true);
    }

    /// Changes the instances of a tenant.
    #[cfg(test)]
    pub(crate) fn edit(&self, name: &TenantName, edit: impl FnOnce(&mut Replicas) -> bool) {
        self.follow(name).edit(edit);
    }

    fn follow(&self, name: &TenantName) -> Arc<Tenant> {
        let mut tenants = self.tenants.lock();
        if let Some(tenant) = tenants.get(name) {
            tenant.touch();
            return tenant.clone();
        }
        if tenants.len() >= TENANTS {
            let now = Instant::now();
            let longest = tenants
                .iter()
                .max_by_key(|(_, tenant)| (!tenant.is_busy(), tenant.idle(now)))
                .map(|(name, _)| name.clone());
            if let Some(longest) = longest {
                tenants.remove(&longest);
                self.evicted.lock().push(longest);
            }
        }
        let tenant = Arc::new(Tenant::new(name.clone()));
        let task = tokio::spawn(follow(self.client.clone(), Arc::downgrade(&tenant)));
        tenant.tasks.lock().follow = Some(AbortOnDropHandle::new(task));
        tenants.insert(name.clone(), tenant.clone());
        tenant
    }

    /// How many tenants are followed.
    pub(crate) fn len(&self) -> usize {
        self.tenants.lock().len()
    }

    /// Ends the watches of tenants that nobody has called for a while, and tells which are followed no more.
    pub(crate) fn sweep(&self, now: Instant) -> Vec<TenantName> {
        let mut tenants = self.tenants.lock();
        let idle: Vec<_> = tenants
            .iter()
            .filter(|(_, tenant)| tenant.idle(now) >= TENANT_IDLE && !tenant.is_busy())
            .map(|(name, _)| name.clone())
            .collect();
        for name in &idle {
            tenants.remove(name);
        }
        let evicted = std::mem::take(&mut *self.evicted.lock());
        let gone = evicted
            .into_iter()
            .filter(|name| !tenants.contains_key(name));
        gone.chain(idle).collect()
    }
}

/// Follows the instances of a tenant until it is forgotten.
async fn follow(client: Client, tenant: std::sync::Weak<Tenant>) {
    let Some(name) = tenant.upgrade().map(|tenant| tenant.name.clone()) else {
        return;
    };
    let api: Api<Instance> = Api::namespaced(client, name.as_str());
    let mut events = watcher(api, Config::default()).default_backoff().boxed();
    let mut listing = HashSet::new();
    loop {
        let event = events.try_next().await;
        let Some(tenant) = tenant.upgrade() else {
            return;
        };
        match event {
            Ok(Some(event)) => tenant.take(event, &mut listing),
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(tenant = %name, %error, "the watch of a tenant broke; it starts again");
            }
        }
    }
}
