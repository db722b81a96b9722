//! What identifies the objects that the operator works on.

use std::fmt;

use k8s_openapi::api::apps::v1::ControllerRevision;
use ringfence_api::{Instance, KIND_LABEL, NAME_LABEL, Name, TenantName, Workload};

/// Kinds of resource that instances are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// An agent.
    Agent,
    /// A tool.
    Tool,
}

impl WorkloadKind {
    /// As it stands in labels and names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Tool => "tool",
        }
    }

    /// As it stands in `kind:`.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::Tool => "Tool",
        }
    }
}

/// An agent or a tool.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadId {
    /// Its tenant.
    pub tenant: TenantName,
    /// Agent or tool.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: Name,
}

impl WorkloadId {
    /// Whose history an entry is of, by its labels. None for one that nobody of us made.
    pub fn of_revision(entry: &ControllerRevision) -> Option<Self> {
        let labels = entry.metadata.labels.as_ref()?;
        let kind = match labels.get(KIND_LABEL)?.as_str() {
            "agent" => WorkloadKind::Agent,
            "tool" => WorkloadKind::Tool,
            _ => return None,
        };
        Some(Self {
            tenant: entry.metadata.namespace.as_ref()?.parse().ok()?,
            kind,
            name: labels.get(NAME_LABEL)?.parse().ok()?,
        })
    }

    /// What an instance was made from, by its labels. None for one that nobody of us made.
    pub fn of(instance: &Instance) -> Option<Self> {
        let labels = instance.metadata.labels.as_ref()?;
        let kind = match (labels.get(KIND_LABEL)?.as_str(), &instance.spec.workload) {
            ("agent", Workload::Agent(_)) => WorkloadKind::Agent,
            ("tool", Workload::Tool(_)) => WorkloadKind::Tool,
            _ => return None,
        };
        Some(Self {
            tenant: instance.metadata.namespace.as_ref()?.parse().ok()?,
            kind,
            name: labels.get(NAME_LABEL)?.parse().ok()?,
        })
    }
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.tenant, self.name)
    }
}

/// An instance, by tenant and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    /// Its tenant.
    pub tenant: TenantName,
    /// Its name.
    pub name: String,
}

impl InstanceKey {
    /// The key of an object. None for one without a name.
    pub fn of(instance: &Instance) -> Option<Self> {
        Some(Self {
            tenant: instance.metadata.namespace.as_ref()?.parse().ok()?,
            name: instance.metadata.name.clone()?,
        })
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.name)
    }
}
