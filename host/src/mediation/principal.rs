//! Who makes a call, and on whose behalf.

use std::fmt;
use std::sync::Arc;

use ringfence_api::TenantName;
use serde::{Deserialize, Serialize};

use crate::directory::Instance;

/// What a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A person or program outside.
    User,
    /// An agent.
    Agent,
    /// A tool.
    Tool,
}

impl PrincipalKind {
    /// Name for records.
    pub fn as_str(self) -> &'static str {
        match self {
            PrincipalKind::User => "user",
            PrincipalKind::Agent => "agent",
            PrincipalKind::Tool => "tool",
        }
    }
}

/// Who makes a call. Agents and tools carry the instance whose grants bound them, and the principal
/// that called them.
pub struct Principal {
    identity: Identity,
    on_behalf_of: Option<Arc<Principal>>,
}

enum Identity {
    User {
        tenant: TenantName,
        name: Arc<str>,
    },
    Instance(Arc<Instance>),
    /// Somebody on another host, which has checked what it may do.
    Elsewhere {
        kind: PrincipalKind,
        tenant: TenantName,
        name: Arc<str>,
    },
}

impl Principal {
    /// Somebody outside, as authentication named them.
    pub fn user(tenant: TenantName, name: &str) -> Arc<Self> {
        Arc::new(Self {
            identity: Identity::User {
                tenant,
                name: name.into(),
            },
            on_behalf_of: None,
        })
    }

    /// A running instance, called by `caller`.
    pub fn instance(instance: Arc<Instance>, caller: Arc<Principal>) -> Arc<Self> {
        Arc::new(Self {
            identity: Identity::Instance(instance),
            on_behalf_of: Some(caller),
        })
    }

    /// Somebody on another host, called by `on_behalf_of` there.
    pub(crate) fn elsewhere(
        kind: PrincipalKind,
        tenant: TenantName,
        name: &str,
        on_behalf_of: Option<Arc<Principal>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity: Identity::Elsewhere {
                kind,
                tenant,
                name: name.into(),
            },
            on_behalf_of,
        })
    }

    /// What it is.
    pub fn kind(&self) -> PrincipalKind {
        match &self.identity {
            Identity::User { .. } => PrincipalKind::User,
            Identity::Instance(instance) => instance.principal_kind(),
            Identity::Elsewhere { kind, .. } => *kind,
        }
    }

    /// Its name within the tenant.
    pub fn name(&self) -> &str {
        match &self.identity {
            Identity::User { name, .. } | Identity::Elsewhere { name, .. } => name,
            Identity::Instance(instance) => instance.name.as_str(),
        }
    }

    /// The tenant it belongs to.
    pub fn tenant(&self) -> &TenantName {
        match &self.identity {
            Identity::User { tenant, .. } | Identity::Elsewhere { tenant, .. } => tenant,
            Identity::Instance(instance) => &instance.tenant,
        }
    }

    /// The instance whose grants bound it; none for a user, and none for whoever calls from another host:
    /// that host holds it to its grants.
    pub fn bound_by(&self) -> Option<&Arc<Instance>> {
        match &self.identity {
            Identity::User { .. } | Identity::Elsewhere { .. } => None,
            Identity::Instance(instance) => Some(instance),
        }
    }

    /// It and those on whose behalf it acts, the nearest first.
    pub fn chain(&self) -> impl Iterator<Item = &Principal> {
        std::iter::successors(Some(self), |principal| principal.on_behalf_of.as_deref())
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind().as_str(), self.name())
    }
}
