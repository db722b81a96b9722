//! What the operator knows of the cluster: everything that was watched, indexed by what asks for it, so
//! that no event needs a look through everything.
//!
//! Watches feed it, and so does what the operator itself wrote, as the API server answered: an older
//! version never takes the place of a newer one.

mod ceilings;
mod history;
mod hosts;
mod placing;
mod references;
mod secrets;
mod version;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::ResourceExt as _;
use ringfence_api::{
    Agent, Ceiling, Host, HostPool, Instance, Model, Name, TenantName, Tool, condition,
};

pub use history::{revision, revision_gone};
pub use hosts::HostView;
pub use references::{Named, named};
pub use secrets::{SecretAccess, SecretView};

use crate::condition::holds;
use crate::key::{InstanceKey, WorkloadId, WorkloadKind};
use crate::liveness::Life;
use crate::scheduler::Cluster;
use crate::workload::Object;
use hosts::Hosts;
use placing::state;
use references::References;
use secrets::SecretUse;
pub(crate) use version::newer;

/// Something that was seen.
#[derive(Debug, Clone)]
pub enum Change {
    /// An agent or tool is there.
    Workload(Object),
    /// An agent or tool is gone.
    WorkloadGone(WorkloadId),
    /// An instance is there.
    Instance(Arc<Instance>),
    /// An instance is gone.
    InstanceGone(InstanceKey),
    /// An entry of a history is there.
    Revision(Arc<ControllerRevision>),
    /// An entry of a history is gone: whose, and its name.
    RevisionGone(WorkloadId, String),
    /// A ceiling is there.
    Ceiling(Arc<Ceiling>),
    /// A ceiling is gone.
    CeilingGone(Name),
    /// A model is there.
    Model(Arc<Model>),
    /// A model is gone: its tenant and name.
    ModelGone(TenantName, Name),
    /// The permission to read a tenant's Secrets is there, or gone.
    SecretAccess(TenantName, SecretAccess),
    /// A namespace is there, with these labels.
    Tenant(TenantName, BTreeMap<String, String>),
    /// A namespace is gone.
    TenantGone(TenantName),
    /// A pool is there.
    Pool(Arc<HostPool>),
    /// A pool is gone.
    PoolGone(Name),
    /// A host is there.
    Host(Arc<Host>),
    /// A host is gone.
    HostGone(Name),
    /// A host is found to be alive, or lost.
    Life(Name, Life),
}

/// What has to be looked at after a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dirty {
    /// Agents and tools.
    pub workloads: BTreeSet<WorkloadId>,
    /// Ceilings whose status may change.
    pub ceilings: BTreeSet<Name>,
    /// Models whose status may change.
    pub models: BTreeSet<(TenantName, Name)>,
    /// Pools whose status may change.
    pub pools: BTreeSet<Name>,
    /// Tenants whose hosts may need to read other Secrets.
    pub secrets: BTreeSet<TenantName>,
    /// Whether instances may have to be placed.
    pub placing: bool,
}

/// Everything that was watched.
#[derive(Debug, Default)]
pub struct Index {
    workloads: HashMap<WorkloadId, Object>,
    of_tenant: HashMap<TenantName, BTreeSet<WorkloadId>>,
    tenants: BTreeMap<TenantName, BTreeMap<String, String>>,
    ceilings: BTreeMap<Name, Arc<Ceiling>>,
    instances: HashMap<InstanceKey, Arc<Instance>>,
    of_workload: HashMap<WorkloadId, BTreeSet<InstanceKey>>,
    history: HashMap<WorkloadId, Vec<Arc<ControllerRevision>>>,
    models: BTreeMap<(TenantName, Name), Arc<Model>>,
    hosts: Hosts,
    references: References,
    secrets: SecretUse,
    /// What is placed where; the scheduler's own view.
    pub cluster: Cluster,
    /// Instances that have no host.
    pub unplaced: BTreeSet<InstanceKey>,
    /// Instances that look ready because the host that they were on before has said so.
    pub moved: BTreeSet<InstanceKey>,
}

impl Index {
    /// Takes a change in, and says what has to be looked at because of it.
    pub fn apply(&mut self, change: Change) -> Dirty {
        let mut dirty = Dirty::default();
        match change {
            Change::Workload(object) => self.put_workload(object, &mut dirty),
            Change::WorkloadGone(id) => self.remove_workload(&id, &mut dirty),
            Change::Instance(instance) => self.put_instance(instance, &mut dirty),
            Change::InstanceGone(key) => self.remove_instance(&key, &mut dirty),
            Change::Revision(entry) => self.put_revision(entry, &mut dirty),
            Change::RevisionGone(id, name) => self.remove_revision(id, &name, &mut dirty),
            Change::Ceiling(ceiling) => self.put_ceiling(ceiling, &mut dirty),
            Change::CeilingGone(name) => self.remove_ceiling(&name, &mut dirty),
            Change::Model(model) => self.put_model(model, &mut dirty),
            Change::ModelGone(tenant, name) => {
                self.forget_model(&tenant, &name, &mut dirty);
                let named = Named::Model(name.clone());
                let before = self.is_there(&tenant, &named);
                self.models.remove(&(tenant.clone(), name));
                self.came_or_went(&tenant, named, before, &mut dirty);
            }
            Change::SecretAccess(tenant, access) => self.put_access(tenant, access, &mut dirty),
            Change::Tenant(tenant, labels) => self.put_tenant(tenant, labels, &mut dirty),
            Change::TenantGone(tenant) => {
                self.tenants.remove(&tenant);
                dirty.ceilings.extend(self.ceilings.keys().cloned());
            }
            Change::Pool(pool) => self.put_pool(pool, &mut dirty),
            Change::PoolGone(name) => self.remove_pool(&name, &mut dirty),
            Change::Host(host) => self.put_host(host, &mut dirty),
            Change::HostGone(name) => self.remove_host(&name, &mut dirty),
            Change::Life(name, life) => self.set_life(&name, life, &mut dirty),
        }
        dirty
    }

    /// An agent or tool.
    pub fn workload(&self, id: &WorkloadId) -> Option<&Object> {
        self.workloads.get(id)
    }

    /// Its instances.
    pub fn instances_of(&self, id: &WorkloadId) -> Vec<Arc<Instance>> {
        let keys = self.of_workload.get(id).into_iter().flatten();
        keys.filter_map(|key| self.instances.get(key).cloned())
            .collect()
    }

    /// An instance.
    pub fn instance(&self, key: &InstanceKey) -> Option<&Arc<Instance>> {
        self.instances.get(key)
    }

    /// A model.
    pub fn model(&self, tenant: &TenantName, name: &Name) -> Option<&Arc<Model>> {
        self.models.get(&(tenant.clone(), name.clone()))
    }

    fn put_model(&mut self, model: Arc<Model>, dirty: &mut Dirty) {
        let metadata = &model.metadata;
        let (Some(Ok(tenant)), Some(Ok(name))) = (
            metadata.namespace.as_ref().map(|tenant| tenant.parse()),
            metadata.name.as_ref().map(|name| name.parse()),
        ) else {
            return;
        };
        let key: (TenantName, Name) = (tenant, name);
        let known = self.models.get(&key);
        if known.is_none_or(|known| newer(metadata, &known.metadata)) {
            let named = Named::Model(key.1.clone());
            let before = self.is_there(&key.0, &named);
            self.models.insert(key.clone(), model.clone());
            self.came_or_went(&key.0, named, before, dirty);
            self.count_model(&key.0, &key.1, &model, dirty);
            dirty.models.insert(key);
        }
    }

    /// How many agents and tools, and instances, there are.
    pub fn len(&self) -> (usize, usize) {
        (self.workloads.len(), self.instances.len())
    }

    fn put_workload(&mut self, object: Object, dirty: &mut Dirty) {
        let Some(id) = id_of(&object) else { return };
        if let Some(known) = self.workloads.get(&id)
            && !newer(object.metadata(), known.metadata())
        {
            return;
        }
        let tenant = id.tenant.clone();
        self.of_tenant.entry(tenant).or_default().insert(id.clone());
        let before = self.is_there(&id.tenant, &Named::from(&id));
        self.references.set(&id, named(&object.granted()).collect());
        self.workloads.insert(id.clone(), object);
        self.came_or_went(&id.tenant, Named::from(&id), before, dirty);
        dirty.workloads.insert(id);
    }

    fn remove_workload(&mut self, id: &WorkloadId, dirty: &mut Dirty) {
        // Its instances are the garbage collector's: they name it as their owner.
        let before = self.is_there(&id.tenant, &Named::from(id));
        self.workloads.remove(id);
        self.references.set(id, BTreeSet::new());
        self.came_or_went(&id.tenant, Named::from(id), before, dirty);
        if let Some(ids) = self.of_tenant.get_mut(&id.tenant) {
            ids.remove(id);
            if ids.is_empty() {
                self.of_tenant.remove(&id.tenant);
            }
        }
    }

    fn put_instance(&mut self, instance: Arc<Instance>, dirty: &mut Dirty) {
        let Some(key) = InstanceKey::of(&instance) else {
            return;
        };
        if let Some(known) = self.instances.get(&key)
            && !newer(&instance.metadata, &known.metadata)
        {
            return;
        }
        if let Some(id) = WorkloadId::of(&instance) {
            self.of_workload
                .entry(id.clone())
                .or_default()
                .insert(key.clone());
            self.count(&key, id.clone(), &instance, dirty);
            self.count_secrets(&key, Some(&instance), dirty);
            dirty.workloads.insert(id);
        }
        match was_ready_elsewhere(&instance) {
            true => dirty.placing |= self.moved.insert(key.clone()),
            false => drop(self.moved.remove(&key)),
        }
        self.instances.insert(key, instance);
    }

    /// Counts an instance to its host, or to those that have none.
    fn count(&mut self, key: &InstanceKey, id: WorkloadId, instance: &Instance, dirty: &mut Dirty) {
        if instance.metadata.deletion_timestamp.is_some() {
            self.unplaced.remove(key);
            return;
        }
        match &instance.spec.host_name {
            Some(host) if self.hosts.knows(host) => {
                self.unplaced.remove(key);
                if self.cluster.host_of(key) != Some(host) {
                    self.cluster.bind(key.clone(), host, state(id, instance));
                }
            }
            _ => {
                self.unplaced.insert(key.clone());
                dirty.placing = true;
            }
        }
    }

    fn remove_instance(&mut self, key: &InstanceKey, dirty: &mut Dirty) {
        let Some(instance) = self.instances.remove(key) else {
            return;
        };
        self.cluster.unbind(key);
        self.unplaced.remove(key);
        self.moved.remove(key);
        self.count_secrets(key, None, dirty);
        dirty.placing = true;
        if let Some(id) = WorkloadId::of(&instance) {
            if let Some(keys) = self.of_workload.get_mut(&id) {
                keys.remove(key);
                if keys.is_empty() {
                    self.of_workload.remove(&id);
                }
            }
            dirty.workloads.insert(id);
        }
    }
}

fn can_be_asked(model: &Model) -> bool {
    let status = model.status.as_ref();
    status.is_some_and(|status| holds(&status.conditions, condition::READY))
}

fn was_ready_elsewhere(instance: &Instance) -> bool {
    let Some(status) = &instance.status else {
        return false;
    };
    instance.spec.host_name.is_some()
        && status.host_name.is_some()
        && status.host_name != instance.spec.host_name
        && holds(&status.conditions, condition::READY)
        && instance.metadata.deletion_timestamp.is_none()
}

fn id_of(object: &Object) -> Option<WorkloadId> {
    let metadata = object.metadata();
    Some(WorkloadId {
        tenant: metadata.namespace.as_ref()?.parse().ok()?,
        kind: object.kind(),
        name: metadata.name.as_ref()?.parse().ok()?,
    })
}

/// The change that an instance makes by being there. Of it, of agents and of tools there are as many as there is
/// memory for, and who set which field, half of an object, is of no use here.
pub fn instance(mut instance: Instance) -> Change {
    instance.metadata.managed_fields = None;
    Change::Instance(Arc::new(instance))
}

/// The change that an agent makes by being there.
pub fn agent(mut agent: Agent) -> Option<Change> {
    agent.metadata.managed_fields = None;
    workload_id(&agent, WorkloadKind::Agent)?;
    Some(Change::Workload(Object::Agent(Arc::new(agent))))
}

/// The change that a tool makes by being there.
pub fn tool(mut tool: Tool) -> Option<Change> {
    tool.metadata.managed_fields = None;
    workload_id(&tool, WorkloadKind::Tool)?;
    Some(Change::Workload(Object::Tool(Arc::new(tool))))
}

/// What identifies an agent or tool.
pub(crate) fn workload_id<K: kube::Resource<DynamicType = ()>>(
    object: &K,
    kind: WorkloadKind,
) -> Option<WorkloadId> {
    Some(WorkloadId {
        tenant: object.namespace()?.parse().ok()?,
        kind,
        name: object.name_any().parse().ok()?,
    })
}
