//! Who names whom: agents and tools are looked at again when what they name comes or goes.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use ringfence_api::{Grants, Name, TenantName};

use super::{Dirty, Index};
use crate::key::{WorkloadId, WorkloadKind};

/// Something that a resource of the same tenant can name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Named {
    /// An agent.
    Agent(Name),
    /// A tool.
    Tool(Name),
    /// A model.
    Model(Name),
}

impl From<&WorkloadId> for Named {
    fn from(id: &WorkloadId) -> Self {
        match id.kind {
            WorkloadKind::Agent => Self::Agent(id.name.clone()),
            WorkloadKind::Tool => Self::Tool(id.name.clone()),
        }
    }
}

/// Everything that agents and tools name, both ways.
#[derive(Debug, Default)]
pub(super) struct References {
    by: HashMap<(TenantName, Named), BTreeSet<WorkloadId>>,
    of: HashMap<WorkloadId, BTreeSet<Named>>,
}

impl References {
    /// Takes in what one names now; nothing where it is gone.
    pub(super) fn set(&mut self, id: &WorkloadId, now: BTreeSet<Named>) {
        let before = match now.is_empty() {
            true => self.of.remove(id),
            false => self.of.insert(id.clone(), now.clone()),
        };
        let before = before.unwrap_or_default();
        for gone in before.difference(&now) {
            let key = (id.tenant.clone(), gone.clone());
            if let Some(by) = self.by.get_mut(&key) {
                by.remove(id);
                if by.is_empty() {
                    self.by.remove(&key);
                }
            }
        }
        for new in now.difference(&before) {
            let key = (id.tenant.clone(), new.clone());
            self.by.entry(key).or_default().insert(id.clone());
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(name) => write!(f, "agent {name}"),
            Self::Tool(name) => write!(f, "tool {name}"),
            Self::Model(name) => write!(f, "model {name}"),
        }
    }
}

/// What grants name, in the order in which people are told of it.
pub fn named(grants: &Grants) -> impl Iterator<Item = Named> {
    let tools = grants.tools.iter().map(|it| Named::Tool(it.name.clone()));
    let agents = grants.agents.iter().map(|it| Named::Agent(it.name.clone()));
    let models = grants.models.iter().map(|it| Named::Model(it.name.clone()));
    tools.chain(agents).chain(models)
}

impl Index {
    /// What an agent or tool names that does not run: no revision of it ever did, or, of a model, it cannot be asked.
    pub fn missing(&self, id: &WorkloadId) -> BTreeSet<Named> {
        let named = self.references.of.get(id).into_iter().flatten();
        named
            .filter(|named| !self.is_there(&id.tenant, named))
            .cloned()
            .collect()
    }

    pub(super) fn is_there(&self, tenant: &TenantName, named: &Named) -> bool {
        let workload = |kind, name: &Name| {
            let id = WorkloadId {
                tenant: tenant.clone(),
                kind,
                name: name.clone(),
            };
            self.workload(&id).is_some_and(|object| object.has_run())
        };
        match named {
            Named::Agent(name) => workload(WorkloadKind::Agent, name),
            Named::Tool(name) => workload(WorkloadKind::Tool, name),
            Named::Model(name) => {
                let model = self.model(tenant, name);
                model.is_some_and(|model| super::can_be_asked(model))
            }
        }
    }

    /// Where something came or went, those that name it are to be looked at.
    pub(super) fn came_or_went(
        &self,
        tenant: &TenantName,
        named: Named,
        before: bool,
        dirty: &mut Dirty,
    ) {
        if self.is_there(tenant, &named) != before {
            let by = self.references.by.get(&(tenant.clone(), named));
            dirty.workloads.extend(by.into_iter().flatten().cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &'static str) -> WorkloadId {
        WorkloadId {
            tenant: "team".parse().unwrap(),
            kind: WorkloadKind::Agent,
            name: Name::well_known(name),
        }
    }

    fn tools(names: &[&'static str]) -> BTreeSet<Named> {
        let names = names.iter().map(|name| Name::well_known(name));
        names.map(Named::Tool).collect()
    }

    #[test]
    fn nothing_is_kept_of_who_names_nobody() {
        let mut all = References::default();
        all.set(&id("a"), tools(&["x", "y"]));
        all.set(&id("b"), tools(&["y"]));
        all.set(&id("a"), tools(&["z"]));
        let by = |all: &References, name| {
            let key = (id("a").tenant, Named::Tool(Name::well_known(name)));
            all.by.get(&key).cloned().unwrap_or_default()
        };
        assert_eq!(by(&all, "x"), BTreeSet::new());
        assert_eq!(by(&all, "y"), [id("b")].into());
        assert_eq!(by(&all, "z"), [id("a")].into());
        for one in ["a", "b"] {
            all.set(&id(one), BTreeSet::new());
        }
        assert!(all.by.is_empty() && all.of.is_empty());
    }
}
