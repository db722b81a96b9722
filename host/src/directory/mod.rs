//! The directory: which instances and models each tenant has right now.
//!
//! It holds resolved state only, in memory; what users applied is kept in [`store`], and turned into
//! instances by [`resolve`].

pub mod apply;
mod ceilings;
pub mod folder;
mod instance;
mod listing;
pub mod offers;
pub(crate) mod pull;
pub mod resolve;
mod share;
pub mod status;
pub mod store;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::RwLock;
use ringfence_api::{Kind, Name, TenantName};
use tokio::sync::{Semaphore, watch};

pub use instance::{Instance, Model, Provider};
pub use listing::FunctionSummary;
pub use share::Canary;
pub(crate) use share::Draw;

use crate::error::CallError;
use crate::mediation::RunId;

/// Calls of one tenant that may run at the same time.
pub const TENANT_CONCURRENCY: usize = 512;

/// Everything that one tenant has. Cheap to clone; a clone does not change.
#[derive(Clone, Default)]
pub struct TenantView {
    /// Its tools by name.
    pub tools: Arc<BTreeMap<Name, Arc<Instance>>>,
    /// Its agents by name.
    pub agents: Arc<BTreeMap<Name, Arc<Instance>>>,
    /// Its models by name.
    pub models: Arc<BTreeMap<Name, Arc<Model>>>,
    /// Newer revisions of some agents and tools, which part of the runs get.
    pub canaries: Arc<BTreeMap<(Kind, Name), Canary>>,
    /// What it has on all hosts of the cluster, as far as somebody here has asked; nothing without one.
    pub cluster: Arc<Cluster>,
}

/// What a tenant has on all hosts of a cluster. What runs here is among it.
#[derive(Debug, Default, PartialEq)]
pub struct Cluster {
    /// Its tools by name.
    pub tools: BTreeMap<Name, Arc<ClusterTool>>,
    /// Its agents by name, with their descriptions.
    pub agents: BTreeMap<Name, Arc<str>>,
}

/// A tool that runs somewhere in the cluster.
#[derive(Debug, PartialEq)]
pub struct ClusterTool {
    /// What it does.
    pub description: Arc<str>,
    /// The functions that it offers.
    pub functions: Arc<[FunctionSummary]>,
}

impl TenantView {
    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
            && self.agents.is_empty()
            && self.models.is_empty()
            && self.cluster.tools.is_empty()
            && self.cluster.agents.is_empty()
    }

    /// Description and functions of each tool, wherever it runs, by name.
    pub fn all_tools(&self) -> BTreeMap<Name, (Arc<str>, Arc<[FunctionSummary]>)> {
        let elsewhere = self.cluster.tools.iter().map(|(name, tool)| {
            (
                name.clone(),
                (tool.description.clone(), tool.functions.clone()),
            )
        });
        let here = self.tools.iter().map(|(name, tool)| {
            let shown = (tool.description.clone(), tool.functions());
            (name.clone(), shown)
        });
        elsewhere.chain(here).collect()
    }

    /// Description and functions of one tool, wherever it runs.
    pub fn any_tool(&self, name: &Name) -> Option<(Arc<str>, Arc<[FunctionSummary]>)> {
        match self.tools.get(name) {
            Some(tool) => Some((tool.description.clone(), tool.functions())),
            None => {
                let tool = self.cluster.tools.get(name)?;
                Some((tool.description.clone(), tool.functions.clone()))
            }
        }
    }

    /// The description of each agent, wherever it runs, by name.
    pub fn all_agents(&self) -> BTreeMap<Name, Arc<str>> {
        let elsewhere = self.cluster.agents.iter();
        let here = self
            .agents
            .iter()
            .map(|(name, agent)| (name, &agent.description));
        elsewhere
            .chain(here)
            .map(|(name, description)| (name.clone(), description.clone()))
            .collect()
    }

    /// The instance of an agent or tool that a run gets: where there is nothing but a canary, that.
    pub fn pick(&self, kind: Kind, name: &Name, run: RunId) -> Option<&Arc<Instance>> {
        let all = match kind {
            Kind::Agent => &self.agents,
            Kind::Tool => &self.tools,
            Kind::Model | Kind::Ceiling => return None,
        };
        let whole = all.get(name);
        if self.canaries.is_empty() {
            return whole;
        }
        let canary = self.canaries.get(&(kind, name.clone()));
        let drawn = canary
            .filter(|canary| whole.is_none() || Draw::of(run, kind, name).is_within(canary.weight));
        drawn.map(|canary| &canary.instance).or(whole)
    }
}

struct Tenant {
    view: TenantView,
    gate: Arc<Semaphore>,
    changes: watch::Sender<u64>,
}

impl Tenant {
    fn new() -> Self {
        Self {
            view: TenantView::default(),
            gate: Arc::new(Semaphore::new(TENANT_CONCURRENCY)),
            changes: watch::Sender::new(0),
        }
    }

    /// Whether it has anything, calls of it run, or somebody waits for news of it.
    fn is_used(&self) -> bool {
        !self.view.is_empty()
            || self.gate.available_permits() < TENANT_CONCURRENCY
            || self.changes.receiver_count() > 0
    }
}

/// Instances and models of all tenants.
#[derive(Default)]
pub struct Directory {
    tenants: RwLock<HashMap<TenantName, Tenant>>,
}

impl Directory {
    /// What a tenant has now. A tenant that nobody has used is empty.
    pub fn view(&self, tenant: &TenantName) -> TenantView {
        self.tenants
            .read()
            .get(tenant)
            .map(|entry| entry.view.clone())
            .unwrap_or_default()
    }

    /// The tenants that have anything.
    pub fn tenants(&self) -> Vec<TenantName> {
        let tenants = self.tenants.read();
        let mut names: Vec<_> = tenants
            .iter()
            .filter(|(_, entry)| !entry.view.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        names.sort();
        names
    }

    /// A tool.
    ///
    /// # Errors
    /// `not-found`.
    pub fn tool(&self, tenant: &TenantName, name: &Name) -> Result<Arc<Instance>, CallError> {
        self.find(tenant, |view| view.tools.get(name).cloned(), "tool", name)
    }

    /// An agent.
    ///
    /// # Errors
    /// `not-found`.
    pub fn agent(&self, tenant: &TenantName, name: &Name) -> Result<Arc<Instance>, CallError> {
        self.find(tenant, |view| view.agents.get(name).cloned(), "agent", name)
    }

    /// A model.
    ///
    /// # Errors
    /// `not-found`.
    pub fn model(&self, tenant: &TenantName, name: &Name) -> Result<Arc<Model>, CallError> {
        self.find(tenant, |view| view.models.get(name).cloned(), "model", name)
    }

    /// An agent or a tool.
    pub fn instance(&self, tenant: &TenantName, kind: Kind, name: &Name) -> Option<Arc<Instance>> {
        let tenants = self.tenants.read();
        let view = &tenants.get(tenant)?.view;
        match kind {
            Kind::Agent => view.agents.get(name).cloned(),
            Kind::Tool => view.tools.get(name).cloned(),
            Kind::Model | Kind::Ceiling => None,
        }
    }

    /// The instance of an agent or tool that a run gets.
    pub fn instance_for(
        &self,
        tenant: &TenantName,
        kind: Kind,
        name: &Name,
        run: RunId,
    ) -> Option<Arc<Instance>> {
        let tenants = self.tenants.read();
        tenants.get(tenant)?.view.pick(kind, name, run).cloned()
    }

    fn find<T>(
        &self,
        tenant: &TenantName,
        pick: impl FnOnce(&TenantView) -> Option<T>,
        what: &str,
        name: &Name,
    ) -> Result<T, CallError> {
        self.tenants
            .read()
            .get(tenant)
            .and_then(|entry| pick(&entry.view))
            .ok_or_else(|| CallError::NotFound(format!("no {what} {name} in tenant {tenant}")))
    }

    /// The permits for calls of a tenant.
    pub fn gate(&self, tenant: &TenantName) -> Arc<Semaphore> {
        // A tenant that has nothing is not remembered: whoever may enter every tenant could otherwise
        // fill the map with names.
        match self.tenants.read().get(tenant) {
            Some(entry) => entry.gate.clone(),
            None => Arc::new(Semaphore::new(TENANT_CONCURRENCY)),
        }
    }

    /// Tells when the tenant's tools, agents or models change: the value is a revision that only grows.
    pub fn changes(&self, tenant: &TenantName) -> watch::Receiver<u64> {
        if let Some(entry) = self.tenants.read().get(tenant) {
            return entry.changes.subscribe();
        }
        let mut tenants = self.tenants.write();
        // Whoever may enter every tenant may ask for any name: what nobody holds any more makes room.
        tenants.retain(|_, entry| entry.is_used());
        tenants
            .entry(tenant.clone())
            .or_insert_with(Tenant::new)
            .changes
            .subscribe()
    }

    /// Announces a change that the directory itself cannot see, such as a new function of an MCP server.
    pub fn announce(&self, tenant: &TenantName) {
        if let Some(entry) = self.tenants.read().get(tenant) {
            entry.changes.send_modify(|revision| *revision += 1);
        }
    }

    /// Adds an agent or tool, or puts it in the place of the one of that name.
    pub fn put_instance(&self, instance: Arc<Instance>) {
        self.put_revisions(instance, None);
    }

    /// Says what runs of an agent or tool: what most runs get, and the canary that some get instead.
    pub fn put_revisions(&self, whole: Arc<Instance>, canary: Option<Canary>) {
        let tenant = whole.tenant.clone();
        let key = (whole.kind, whole.name.clone());
        self.change(&tenant, |view| {
            let map = match whole.kind {
                Kind::Agent => &mut view.agents,
                _ => &mut view.tools,
            };
            Arc::make_mut(map).insert(whole.name.clone(), whole);
            match canary {
                Some(canary) => drop(Arc::make_mut(&mut view.canaries).insert(key, canary)),
                None if view.canaries.contains_key(&key) => {
                    Arc::make_mut(&mut view.canaries).remove(&key);
                }
                None => {}
            }
        });
    }

    /// Adds a model, or puts it in the place of the one of that name.
    pub fn put_model(&self, tenant: &TenantName, name: Name, model: Arc<Model>) {
        self.change(tenant, |view| {
            Arc::make_mut(&mut view.models).insert(name, model);
        });
    }

    /// Says what the tenant has on all hosts.
    pub(crate) fn put_cluster(&self, tenant: &TenantName, cluster: Cluster) {
        if *self.view(tenant).cluster != cluster {
            self.change(tenant, |view| view.cluster = Arc::new(cluster));
        }
    }

    /// Removes a resource. Calls that run keep what they hold.
    pub fn remove(&self, tenant: &TenantName, kind: Kind, name: &Name) {
        self.change(tenant, |view| {
            match kind {
                Kind::Agent => drop(Arc::make_mut(&mut view.agents).remove(name)),
                Kind::Tool => drop(Arc::make_mut(&mut view.tools).remove(name)),
                Kind::Model => drop(Arc::make_mut(&mut view.models).remove(name)),
                // It is nothing that could be called.
                Kind::Ceiling => {}
            }
            if !view.canaries.is_empty() {
                Arc::make_mut(&mut view.canaries).remove(&(kind, name.clone()));
            }
        });
    }

    fn change(&self, tenant: &TenantName, edit: impl FnOnce(&mut TenantView)) {
        let mut tenants = self.tenants.write();
        let entry = tenants.entry(tenant.clone()).or_insert_with(Tenant::new);
        edit(&mut entry.view);
        entry.changes.send_modify(|revision| *revision += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nobody_holds_are_not_kept() {
        let directory = Directory::default();
        let held = directory.changes(&"held".parse().unwrap());
        for n in 0..1000 {
            drop(directory.changes(&format!("t{n}").parse().unwrap()));
        }
        // The one that is held, and the last that was asked for.
        assert_eq!(directory.tenants.read().len(), 2);
        assert!(directory.tenants().is_empty());
        directory.announce(&"held".parse().unwrap());
        assert!(held.has_changed().unwrap());
    }
}
