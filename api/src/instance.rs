//! The `Instance` kind: one resolved agent or tool, bound to a host; what a Pod is to a Deployment.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AgentSpec, ArtifactSource, ArtifactStatus, Digest, EffectivePlacement, Grants, HeaderSpec,
    LimitsSpec, Name, Resources, SecretRef, ToolSpec,
};

/// Label with the kind of resource that an instance runs, `agent` or `tool`.
pub const KIND_LABEL: &str = "ringfence.dev/kind";
/// Label with the name of the resource that an instance runs.
pub const NAME_LABEL: &str = "ringfence.dev/name";

/// One agent or tool with frozen effective grants. The operator makes it, the scheduler binds it to a
/// host, and that host runs it. In two steps where the component is not known yet: the host that it is
/// bound to finds out the digest and what the component asks for (`status.artifact`), and only then
/// the operator pins both (`pinned`), after which the host lets it be called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "Instance",
    namespaced,
    status = "InstanceStatus",
    derive = "PartialEq",
    shortname = "inst",
    category = "ringfence",
    selectable = ".spec.hostName",
    doc = "One agent or tool with frozen effective grants, bound to a host.",
    crates(kube_core = "::kube_core"),
    printcolumn(
        name = "Kind",
        type_ = "string",
        json_path = ".metadata.labels.ringfence\\.dev/kind"
    ),
    printcolumn(
        name = "Of",
        type_ = "string",
        json_path = ".metadata.labels.ringfence\\.dev/name"
    ),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.hostName"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "Digest",
        type_ = "string",
        json_path = ".spec.pinned.digest",
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
    {"rule": "self.workload == oldSelf.workload && self.generation == oldSelf.generation && self.placement == oldSelf.placement", "message": "an instance is frozen: only hostName, pinned and weight are set after it was made"},
    {"rule": "!has(oldSelf.pinned) || (has(self.pinned) && self.pinned == oldSelf.pinned)", "message": "what was pinned stays"},
]))]
pub struct InstanceSpec {
    /// The host that runs it; the scheduler sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<Name>,
    /// What it runs, frozen.
    pub workload: Workload,
    /// Generation of the resource that it was made from.
    pub generation: i64,
    /// Where it may run.
    pub placement: EffectivePlacement,
    /// What it takes of its host.
    pub requests: Resources,
    /// The most that each of its limits may be, by the ceilings of its tenant.
    #[serde(default, skip_serializing_if = "LimitsSpec::is_default")]
    pub max_limits: LimitsSpec,
    /// The component and its effective grants. Until they are set, nothing of it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pinned>,
    /// Percent of the runs that the instances of this revision get together, while it is a canary. Those
    /// without a weight share the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub weight: Option<u32>,
}

impl InstanceSpec {
    /// Secrets that it needs, each with the field that refers to it: none until it is pinned, since nothing
    /// of it runs before.
    pub fn secrets(&self) -> Vec<(&SecretRef, String)> {
        let Some(pinned) = &self.pinned else {
            return Vec::new();
        };
        let mcp = match &self.workload {
            Workload::Tool(spec) => spec.mcp.as_ref(),
            Workload::Agent(_) => None,
        };
        let mcp = mcp
            .into_iter()
            .flat_map(|mcp| HeaderSpec::secrets(&mcp.headers, "spec.mcp.headers".to_owned()));
        pinned.grants.secrets().chain(mcp).collect()
    }

    /// Secrets that it takes to pull its component, each with the field that refers to it: from the start, since
    /// the component is looked for before it is pinned.
    pub fn pull_secrets(&self) -> Vec<(SecretRef, String)> {
        let component = self.workload.component();
        component
            .into_iter()
            .flat_map(ArtifactSource::secrets)
            .collect()
    }
}

/// A resource as an instance holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Workload {
    /// An agent.
    Agent(Box<AgentSpec>),
    /// A tool.
    Tool(Box<ToolSpec>),
}

impl Workload {
    /// The component that it names, where it has one of its own.
    pub fn component(&self) -> Option<&ArtifactSource> {
        match self {
            Workload::Agent(spec) => spec.component.as_ref(),
            Workload::Tool(spec) => spec.component.as_ref(),
        }
    }
}

/// What an instance runs and may do, for as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pinned {
    /// The component; none for a tool that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Asked ∩ granted ∩ ceilings.
    #[serde(default, skip_serializing_if = "Grants::is_none")]
    pub grants: Grants,
}

/// What the host, and before it the scheduler, says about an instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The host that says so: what an earlier host said counts no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<Name>,
    /// `Scheduled` and `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What the host found out about the component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactStatus>,
}
