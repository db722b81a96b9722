//! The `Agent` kind.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ArtifactSource, Grants, LimitsSpec, Name, PlacementSpec, RolloutSpec, WorkloadStatus};

/// An agent: a component that exports `ringfence:agent/handler`, or, without `component`, the
/// built-in chat agent with `instructions` and a `model`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "Agent",
    namespaced,
    status = "WorkloadStatus",
    derive = "PartialEq",
    category = "ringfence",
    doc = "An agent: a component, or the built-in chat agent with instructions and a model.",
    crates(kube_core = "::kube_core"),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        json_path = ".status.readyReplicas"
    ),
    printcolumn(
        name = "Updated",
        type_ = "integer",
        json_path = ".status.updatedReplicas"
    ),
    printcolumn(
        name = "Available",
        type_ = "integer",
        json_path = ".status.availableReplicas"
    ),
    printcolumn(
        name = "Revision",
        type_ = "string",
        json_path = ".status.currentRevision",
        priority = 1
    ),
    printcolumn(
        name = "Digest",
        type_ = "string",
        json_path = ".status.digest",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.component) || (has(self.instructions) && has(self.model))", "message": "give component, or instructions and a model for the built-in chat agent"},
    {"rule": "!has(self.component) || !(has(self.instructions) || has(self.model) || has(self.outputSchema) || has(self.__loop__))", "message": "instructions, model, outputSchema and loop are for the built-in chat agent: remove them, or component"},
    {"rule": "has(self.component) || !(has(self.parameters) || (has(self.grants) && (has(self.grants.http) || has(self.grants.folders) || has(self.grants.env) || has(self.grants.clocks))))", "message": "parameters and grants of http, folders, env and clocks have no effect on the built-in chat agent, which acts through tools only: give them to a tool"},
]))]
pub struct AgentSpec {
    /// What it does, for other agents and people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The component. Without one, the built-in chat agent runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ArtifactSource>,
    /// System prompt of the chat agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Model of the chat agent. It is granted by being named here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelRef>,
    /// JSON Schema that the chat agent's final answer has to follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("type" = "object", "x-kubernetes-preserve-unknown-fields" = true))]
    pub output_schema: Option<Value>,
    /// Bounds of the chat agent's loop.
    #[serde(default, rename = "loop", skip_serializing_if = "Option::is_none")]
    pub loop_: Option<LoopSpec>,
    /// What it may do.
    #[serde(default, skip_serializing_if = "Grants::is_none")]
    pub grants: Grants,
    /// Limits of its sandboxes.
    #[serde(default, skip_serializing_if = "LimitsSpec::is_default")]
    pub limits: LimitsSpec,
    /// Settings that the component reads through `context`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub parameters: Vec<Parameter>,
    /// Instances, each on a host of its own where there are enough; 1 where absent. `ringfence serve` is
    /// one host, so there is at most one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub replicas: Option<u32>,
    /// Where its instances should run.
    #[serde(default, skip_serializing_if = "PlacementSpec::is_default")]
    pub placement: PlacementSpec,
    /// How a new revision takes the place of the one before.
    #[serde(default, skip_serializing_if = "RolloutSpec::is_default")]
    pub rollout: RolloutSpec,
}

impl AgentSpec {
    /// True for an agent without a component of its own: the built-in chat agent runs it.
    pub fn is_chat(&self) -> bool {
        self.component.is_none()
    }

    /// The grants of its component: what is written down, and for the chat agent also its model and
    /// its output, which are granted by being what a chat agent is.
    pub fn component_grants(&self) -> Grants {
        let mut grants = self.grants.clone();
        if self.is_chat() {
            grants.output = true;
            if let Some(model) = &self.model {
                grants.models.retain(|grant| grant.name != model.name);
                let name = model.name.clone();
                grants.models.insert(0, crate::ModelGrant { name });
            }
        }
        grants
    }
}

/// A model by name, with sampling options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelRef {
    /// The model.
    pub name: Name,
    /// Sampling temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Most tokens of one answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
}

/// Bounds of the chat agent's loop of model calls and tool calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoopSpec {
    /// Most model calls; 20 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// Most tokens, read and written together, over all turns; 1,000,000 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u64>,
    /// Most tool calls of one turn, made in parallel; 16 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel_calls: Option<u32>,
}

/// A setting for a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameter {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}
