//! The `Tool` kind.

use std::collections::BTreeMap;

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    AddressScope, AgentGrant, ArtifactSource, Grants, HeaderSpec, HttpGrant, LimitsSpec, Name,
    Parameter, PlacementSpec, RolloutSpec, WorkloadStatus,
};

/// A provider of functions. Exactly one of `component`, `mcp` and `agent` says who provides them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "Tool",
    namespaced,
    status = "WorkloadStatus",
    derive = "PartialEq",
    category = "ringfence",
    doc = "A provider of functions: a component, an MCP server or an agent.",
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
    {"rule": "[has(self.component), has(self.mcp), has(self.agent)].filter(given, given).size() == 1", "message": "give exactly one of component, mcp and agent"},
    {"rule": "has(self.component) || !(has(self.grants) || has(self.limits) || has(self.parameters))", "message": "grants, limits and parameters have no effect without component: remove them"},
]))]
pub struct ToolSpec {
    /// What it does, for models and people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// A component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<ArtifactSource>,
    /// An MCP server outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp: Option<McpSpec>,
    /// An agent of the same tenant, offered as the function `ask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Name>,
    /// What the component may do. Only with `component`.
    #[serde(default, skip_serializing_if = "Grants::is_none")]
    pub grants: Grants,
    /// Limits of its sandboxes. Only with `component`.
    #[serde(default, skip_serializing_if = "LimitsSpec::is_default")]
    pub limits: LimitsSpec,
    /// Settings that the component reads through `context` (and `wasi:config`). Only with `component`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub parameters: Vec<Parameter>,
    /// Descriptions that replace the component's own, by function.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub descriptions: BTreeMap<String, String>,
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

impl ToolSpec {
    /// The grants of what provides its functions: those that are written down for a component; for an
    /// agent or an MCP server the leave to call it, which is granted by its being named.
    pub fn provider_grants(&self) -> Grants {
        if let Some(name) = &self.agent {
            return Grants {
                agents: vec![AgentGrant { name: name.clone() }],
                ..Grants::default()
            };
        }
        if let Some(mcp) = &self.mcp {
            return Grants {
                http: HttpGrant::of_endpoint(&mcp.url, mcp.addresses)
                    .into_iter()
                    .collect(),
                ..Grants::default()
            };
        }
        self.grants.clone()
    }
}

/// An MCP server, reached over Streamable HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct McpSpec {
    /// Its endpoint.
    pub url: Url,
    /// Headers of every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub headers: Vec<HeaderSpec>,
    /// Addresses that the server may have.
    #[serde(default)]
    pub addresses: AddressScope,
    /// Milliseconds between two looks at its list of functions; 60,000 where absent, at least 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll_ms: Option<u64>,
    /// Milliseconds that one request may take; 30,000 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}
