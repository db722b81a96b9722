//! What somebody may be allowed, in the words of Kubernetes: a verb on a kind of resource, or on one of
//! them by name.

use std::collections::BTreeSet;
use std::fmt;

use ringfence_api::{API_GROUP, Name};

use super::cluster::Unreviewed;

/// The agents of a tenant.
pub(in crate::gateway) const AGENTS: &str = "agents";
/// The tools of a tenant.
pub(in crate::gateway) const TOOLS: &str = "tools";
/// The models of a tenant.
pub(in crate::gateway) const MODELS: &str = "models";

/// The runs of a tenant, and what they gave.
pub(in crate::gateway) const RUNS: &str = "runs";
/// The artifacts of a tenant on a host. There are no objects of this kind; roles can name it.
pub(in crate::gateway) const ARTIFACTS: &str = "artifacts";

/// One thing to do in a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::gateway) struct Permission {
    pub(super) verb: &'static str,
    pub(super) resource: &'static str,
    pub(super) name: Option<Name>,
}

impl Permission {
    /// Something to do to one resource.
    pub(in crate::gateway) fn one(verb: &'static str, resource: &'static str, name: &Name) -> Self {
        Self {
            verb,
            resource,
            name: Some(name.clone()),
        }
    }

    /// Something to do to all resources of a kind.
    pub(in crate::gateway) fn all(verb: &'static str, resource: &'static str) -> Self {
        Self {
            verb,
            resource,
            name: None,
        }
    }

    /// Running an agent.
    pub(in crate::gateway) fn run(agent: &Name) -> Self {
        Self::one("run", AGENTS, agent)
    }

    /// Calling a tool: any of its functions, or its HTTP.
    pub(in crate::gateway) fn call_tool(tool: &Name) -> Self {
        Self::one("call", TOOLS, tool)
    }

    /// Asking a model.
    pub(in crate::gateway) fn call_model(model: &Name) -> Self {
        Self::one("call", MODELS, model)
    }

    /// Whether an API key with the role `caller` is enough for it.
    pub(super) fn is_use(&self) -> bool {
        matches!(self.verb, "run" | "call" | "get" | "list")
    }
}

/// As a rule of a Role would allow it.
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{API_GROUP}", self.verb, self.resource)?;
        match &self.name {
            Some(name) => write!(f, " {name:?}", name = name.as_str()),
            None => Ok(()),
        }
    }
}

/// Why somebody may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::gateway) enum Refused {
    /// They may not know that the tenant exists.
    #[error("not found")]
    Hidden,
    /// They may know what there is, but not do this.
    #[error("{0}")]
    Denied(String),
    /// It cannot be found out.
    #[error(transparent)]
    Unreviewed(#[from] Unreviewed),
}

/// Which resources of a kind somebody may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gateway) enum Visible {
    /// Every one.
    All,
    /// These.
    Only(BTreeSet<Name>),
}

impl Visible {
    /// Whether this is one of them.
    pub(in crate::gateway) fn has(&self, name: &Name) -> bool {
        match self {
            Visible::All => true,
            Visible::Only(names) => names.contains(name),
        }
    }

    /// Whether it is none at all.
    pub(in crate::gateway) fn is_none(&self) -> bool {
        matches!(self, Visible::Only(names) if names.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_reads_as_a_rule() {
        let search = "search".parse().unwrap();
        assert_eq!(
            Permission::call_tool(&search).to_string(),
            "call tools.ringfence.dev \"search\""
        );
        assert_eq!(
            Permission::all("list", AGENTS).to_string(),
            "list agents.ringfence.dev"
        );
    }
}
