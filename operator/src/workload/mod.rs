//! Agents and tools, and the instances that they become. Pure.
//!
//! ```text
//! Agent | Tool ─┐
//! Ceilings ─────┤
//! Instances ────┼─ plan ─→ instances to make, to pin, to weigh and to delete; the history; the status
//! History ──────┘
//! ```
//!
//! Instances have names that follow from everything they are frozen with, so that doing a plan twice, or
//! half and then again, comes to the same. How one revision takes over from another is in `rollout`, in
//! numbers in `amounts`.

mod amounts;
mod history;
mod plan;
mod revision;
mod rollout;
#[cfg(test)]
mod rollout_tests;
mod status;
mod target;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use ringfence_api::{
    API_VERSION, Agent, AgentSpec, Ceiling, Digest, Grants, Instance, LimitsSpec, Name,
    PlacementSpec, Resource, RolloutSpec, Tool, ToolSpec, Workload, WorkloadStatus,
};
use serde_json::Value;

pub use history::Records;
pub use plan::{Plan, plan};
pub(crate) use target::is_ready;

use crate::index::Named;
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

    /// Whether any revision of it was ever complete.
    pub(crate) fn has_run(&self) -> bool {
        let status = self.status();
        status.is_some_and(|status| status.current_revision.is_some())
    }

    /// The agent that it is, if it is nothing else.
    fn agent(&self) -> Option<&Name> {
        match self {
            Self::Agent(_) => None,
            Self::Tool(tool) => tool.spec.agent.as_ref(),
        }
    }

    /// Whether it is an MCP server.
    fn is_mcp(&self) -> bool {
        matches!(self, Self::Tool(tool) if tool.spec.mcp.is_some())
    }

    /// What its resource grants, with what it is granted by being what it is.
    pub(crate) fn granted(&self) -> Grants {
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

    fn rollout(&self) -> &RolloutSpec {
        match self {
            Self::Agent(agent) => &agent.spec.rollout,
            Self::Tool(tool) => &tool.spec.rollout,
        }
    }

    /// What an instance runs: the spec without what says how many there are, where, and how they change.
    fn frozen(&self) -> Workload {
        match self {
            Self::Agent(agent) => Workload::Agent(Box::new(AgentSpec {
                replicas: None,
                placement: PlacementSpec::default(),
                rollout: RolloutSpec::default(),
                ..agent.spec.clone()
            })),
            Self::Tool(tool) => Workload::Tool(Box::new(ToolSpec {
                replicas: None,
                placement: PlacementSpec::default(),
                rollout: RolloutSpec::default(),
                ..tool.spec.clone()
            })),
        }
    }

    /// The part of the spec that makes a revision.
    fn template(&self) -> Value {
        let template = match self {
            Self::Agent(agent) => serde_json::to_value(AgentSpec {
                replicas: None,
                rollout: RolloutSpec::default(),
                ..agent.spec.clone()
            }),
            Self::Tool(tool) => serde_json::to_value(ToolSpec {
                replicas: None,
                rollout: RolloutSpec::default(),
                ..tool.spec.clone()
            }),
        };
        // A spec holds nothing that JSON cannot.
        template.unwrap_or_default()
    }

    /// The name of the revision that the spec says.
    pub fn revision(&self) -> String {
        short(&(self.template(), &self.rollout().restarted_at))
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

/// Ten digits of SHA-256: two revisions of one resource do not meet.
fn short<T: serde::Serialize>(value: &T) -> String {
    let json = serde_json::to_vec(value).unwrap_or_default();
    let digest = Digest::of(&json).to_string();
    digest.rsplit(':').next().unwrap_or_default()[..10].to_owned()
}

/// Whatever is made for an agent or tool goes with it.
fn owner(object: &Object) -> OwnerReference {
    OwnerReference {
        api_version: API_VERSION.to_owned(),
        kind: object.kind().kind().to_owned(),
        name: object.metadata().name.clone().unwrap_or_default(),
        uid: object.metadata().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Everything that a plan depends on, beside the time.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The agent or tool.
    pub object: &'a Object,
    /// The ceilings of its tenant, by name.
    pub ceilings: &'a [(Name, Arc<Ceiling>)],
    /// Its instances.
    pub instances: &'a [Arc<Instance>],
    /// Its history.
    pub history: &'a [Arc<ControllerRevision>],
    /// What it names of its tenant that does not run.
    pub missing: &'a BTreeSet<Named>,
    /// What the API server did not take of what was planned last.
    pub refused: Option<&'a str>,
}
