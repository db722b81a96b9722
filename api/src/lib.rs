//! Resource kinds of Ringfence, their validation, and the arithmetic of grants.
//!
//! Nothing here does I/O or knows of wasmtime, and of Kubernetes only how its objects look: the host
//! and the operator both build on these types, so that a laptop and a cluster read the same YAML the
//! same way.
#![forbid(unsafe_code)]
#![allow(
    clippy::duplicated_attributes,
    reason = "the columns in #[kube(…)] repeat their keys"
)]

mod agent;
mod artifact;
mod capability;
mod ceiling;
pub mod crd;
mod digest;
mod effective;
mod endpoint;
mod grant;
mod host;
mod host_pool;
mod hosts;
mod instance;
mod limits;
mod load;
mod manifest;
#[cfg(test)]
mod manifest_tests;
mod meta;
mod model;
mod name;
mod pattern;
pub mod peer;
mod placement;
mod problem;
mod rollout;
mod run;
mod secret;
mod selector;
mod shape;
mod status;
mod tool;
pub mod validate;
mod words;
mod yaml;

pub use agent::{Agent, AgentSpec, LoopSpec, ModelRef, Parameter};
pub use artifact::{
    ArtifactSource, DOCKER_CONFIG_KEY, DOCKER_CONFIG_TYPE, ImageSource, PULL_SECRETS, PullSecret,
};
pub use capability::Capability;
pub use ceiling::{
    Allowance, Ceiling, CeilingSpec, CeilingStatus, FolderBound, HttpBound, Isolation,
    PlacementBound,
};
pub use digest::{Digest, DigestError};
pub use effective::{
    AGENT_MISSING, Asks, DEFAULT_POOL, DEFAULT_TRUST_CLASS, EffectiveGrants, EffectivePlacement,
    LimitRefusal, NamedCeiling, PlacementConflict, Refusal, Targets, agent_missing, asks_granted,
    effective_grants, effective_limits, effective_placement, not_allowed, targets_found,
};
pub use endpoint::{ANTHROPIC_BASE_URL, OPENAI_BASE_URL};
pub use grant::{
    AddressScope, AgentGrant, EnvGrant, FolderAccess, FolderGrant, Grants, HttpGrant, HttpScheme,
    ModelGrant, ToolGrant,
};
pub use host::{ArtifactStatus, HOST_LEASE_LABEL, Host, HostSpec, HostStatus, Resources};
pub use host_pool::{HostPool, HostPoolSpec, HostPoolStatus};
pub use hosts::{AutoscalingSpec, HostResources, HostsSpec, POOL_LABEL, Spread};
pub use instance::{
    Instance, InstanceSpec, InstanceStatus, KIND_LABEL, NAME_LABEL, Pinned, Workload,
};
pub use limits::LimitsSpec;
pub use load::{POOL_USED_ANNOTATION, POOL_USED_SECONDS, PoolUsed, PoolUsedError};
pub use manifest::{Kind, KindError, MANIFEST_BYTES, MANIFESTS, Manifest, Resource};
pub use meta::{API_GROUP, API_VERSION, Metadata};
pub use model::{Model, ModelSpec, Provider, RetrySpec, ScriptedCall, ScriptedTurn};
pub use name::{FunctionName, Name, NameError, TenantName};
pub use pattern::{NamePattern, PatternError};
pub use placement::{
    PRIORITY, PlacementSpec, REPLICAS, REQUEST_CPU_MILLIS, REQUEST_MEMORY_BYTES, RequestSpec,
};
pub use problem::Problem;
pub use rollout::{
    Bound, BoundError, CANARY_STEPS, CHANGE_CAUSE_ANNOTATION, CanarySpec, CanaryStep, OnFailure,
    PROMOTED_ANNOTATION, REVISION_HISTORY, REVISION_LABEL, ROLLOUT_SECONDS, RolloutSpec,
    RolloutStatus, share,
};
pub use run::{
    AgentRun, BlobRef, RUN_MESSAGE_BYTES, RUN_OUTPUT_BYTES, RUN_PROGRESS_BYTES,
    RUN_TIMEOUT_SECONDS, RUN_TTL_SECONDS, Run, RunError, RunMessage, RunOutput, RunPhase,
    RunProgress, RunRole, RunSpec, RunStatus, RunUsage, ToolRun, head,
};
pub use secret::{HeaderSpec, SecretKey, SecretRef};
pub use selector::{
    LabelCondition, LabelOperator, NAMESPACE_NAME_LABEL, TenantSelector, labels_of_name,
};
pub use shape::{metadata_schema, spec_schema};
pub use status::{ModelStatus, WorkloadStatus, condition};
pub use tool::{McpSpec, Tool, ToolSpec};
pub use words::chain;
