//! What the operator says about an agent, a tool or a model.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Capability, Digest, Grants, Refusal, RolloutStatus};

/// Types of conditions, as they stand in `status.conditions`.
pub mod condition {
    /// It can be called (workloads), asked (models), takes instances (hosts), bounds (ceilings).
    pub const READY: &str = "Ready";
    /// Everything that the component asks for is granted, and no ceiling takes any of it away.
    pub const ASKS_GRANTED: &str = "AsksGranted";
    /// Everything that is granted is there.
    pub const TARGETS_FOUND: &str = "TargetsFound";
    /// An instance has a host.
    pub const SCHEDULED: &str = "Scheduled";
    /// The Pods of a pool are as its `spec.hosts` has them.
    pub const DEPLOYED: &str = "Deployed";
    /// A run has a host.
    pub const BOUND: &str = "Bound";
    /// A run is over, one way or another.
    pub const FINISHED: &str = "Finished";
    /// Enough instances can be called, whatever their revision: `replicas` less `maxUnavailable`.
    pub const AVAILABLE: &str = "Available";
    /// The rollout of the newest revision gets on, or is complete.
    pub const PROGRESSING: &str = "Progressing";
    /// A host has little memory left and takes no further instances.
    pub const MEMORY_PRESSURE: &str = "MemoryPressure";

    /// Reason of [`READY`]: the operator says it of an instance whose host is lost while no other host can take
    /// it. A host that is back, and has it ready, says so anew.
    pub const HOST_LOST: &str = "HostLost";
}

/// What the operator says about an agent or a tool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// Generation that the rest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `AsksGranted`, `TargetsFound`, `Available` and `Progressing`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The component, pinned for this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Capabilities that the component asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<BTreeSet<Capability>>,
    /// What it may do: asked ∩ granted ∩ ceilings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_grants: Option<Grants>,
    /// What it may not do, and who refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
    /// Instances that there are.
    #[serde(default)]
    pub replicas: u32,
    /// Instances that can be called.
    #[serde(default)]
    pub ready_replicas: u32,
    /// Instances of the newest revision.
    #[serde(default)]
    pub updated_replicas: u32,
    /// Instances that have been ready for `minReadySeconds`.
    #[serde(default)]
    pub available_replicas: u32,
    /// The last revision whose rollout was complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<String>,
    /// The newest revision: what the spec says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_revision: Option<String>,
    /// The rollout that is under way or has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Selects its instances, for `kubectl scale` and autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// What the operator says about a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelStatus {
    /// Generation that the rest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
