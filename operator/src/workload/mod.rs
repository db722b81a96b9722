//! Agents and tools, and the instances that they become. Pure.
//!
//! ```text
//! Agent | Tool ─┐
//! Ceilings ─────┼─ plan ─→ instances to make, to pin and to delete; the status to write
//! Instances ────┘
//! ```
//!
//! A revision is everything that an instance is frozen with. Its instances have names that follow from
//! it, so that doing a plan twice, or half and then again, comes to the same.

mod plan;
mod revision;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ringfence_api::{
    Agent, AgentSpec, Ceiling, Grants, Instance, LimitsSpec, Name, PlacementSpec, Resource, Tool,
    ToolSpec, Workload, WorkloadStatus,
};

pub(crate) use plan::is_ready;
pub use plan::{Plan, plan};

use crate::invalid::invalid;
use crate::key::WorkloadKind;

/// An agent or tool as the operator sees it.
#[derive(Debug, Clone)]
pub enum Object {
    /// An agent.
    Agent(Arc<Agent>),
    /// A tool.
    Tool(Arc<Tool>),
}

impl Object {
    /// Which of the two.
    pub fn kind(&self) -> WorkloadKind {
        match self {
            Self::Agent(_) => WorkloadKind::Agent,
            Self::Tool(_) => WorkloadKind::Tool,
        }
    }

    /// Its metadata.
    pub fn metadata(&self) -> &kube::api::ObjectMeta {
        match self {
            Self::Agent(agent) => &agent.metadata,
            Self::Tool(tool) => &tool.metadata,
        }
    }

    /// Its status, as it was read.
    pub fn status(&self) -> Option<&WorkloadStatus> {
        match self {
            Self::Agent(agent) => agent.status.as_ref(),
            Self::Tool(tool) => tool.status.as_ref(),
        }
    }

    /// What is wrong with it that the definitions cannot say.
    fn invalid(&self) -> Option<String> {
        let resource = match self {
            Self::Agent(agent) => Resource::Agent(Box::new(agent.spec.clone())),
            Self::Tool(tool) => Resource::Tool(Box::new(tool.spec.clone())),
        };
        invalid(self.metadata(), resource)
    }

    fn generation(&self) -> i64 {
        self.metadata().generation.unwrap_or_default()
    }

    fn replicas(&self) -> u32 {
        let replicas = match self {
            Self::Agent(agent) => agent.spec.replicas,
            Self::Tool(tool) => tool.spec.replicas,
        };
        replicas.unwrap_or(1)
    }

    fn placement(&self) -> &PlacementSpec {
        match self {
            Self::Agent(agent) => &agent.spec.placement,
            Self::Tool(tool) => &tool.spec.placement,
        }
    }

    fn limits(&self) -> &LimitsSpec {
        match self {
            Self::Agent(agent) => &agent.spec.limits,
            Self::Tool(tool) => &tool.spec.limits,
        }
    }

    /// What its resource grants, with what it is granted by being what it is.
    fn granted(&self) -> Grants {
        match self {
            Self::Agent(agent) => agent.spec.component_grants(),
            Self::Tool(tool) => tool.spec.provider_grants(),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Agent(agent) if agent.spec.is_chat() => Code::Chat,
            Self::Tool(tool) if tool.spec.component.is_none() => Code::Elsewhere,
            Self::Agent(_) | Self::Tool(_) => Code::Component,
        }
    }

    /// What an instance runs: the spec without what says how many there are and where.
    fn frozen(&self) -> Workload {
        match self {
            Self::Agent(agent) => Workload::Agent(Box::new(AgentSpec {
                replicas: None,
                placement: PlacementSpec::default(),
                ..agent.spec.clone()
            })),
            Self::Tool(tool) => Workload::Tool(Box::new(ToolSpec {
                replicas: None,
                placement: PlacementSpec::default(),
                ..tool.spec.clone()
            })),
        }
    }
}

/// Who does the work of an instance.
enum Code {
    /// A component that has to be found.
    Component,
    /// The chat agent that every host has.
    Chat,
    /// An MCP server or another agent.
    Elsewhere,
}

/// Everything that a plan depends on.
#[derive(Debug)]
pub struct View<'a> {
    /// The agent or tool.
    pub object: &'a Object,
    /// The ceilings of its tenant, by name.
    pub ceilings: &'a [(Name, Arc<Ceiling>)],
    /// Its instances.
    pub instances: &'a [Arc<Instance>],
}
