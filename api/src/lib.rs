//! Resource kinds of Ringfence, their validation, and the arithmetic of grants.
//!
//! Nothing here does I/O or knows of wasmtime or Kubernetes: the host and the operator both build on
//! these types, so that a laptop and a cluster read the same YAML the same way.
#![forbid(unsafe_code)]

mod agent;
mod artifact;
mod capability;
mod digest;
mod grant;
mod limits;
mod manifest;
#[cfg(test)]
mod manifest_tests;
mod meta;
mod model;
mod name;
mod problem;
mod secret;
mod shape;
mod tool;
pub mod validate;
mod yaml;

pub use agent::{AgentSpec, LoopSpec, ModelRef, Parameter};
pub use artifact::ArtifactSource;
pub use capability::{Capability, Comparison, compare};
pub use digest::{Digest, DigestError};
pub use grant::{
    AddressScope, AgentGrant, EnvGrant, FolderAccess, FolderGrant, Grants, HttpGrant, HttpScheme,
    ModelGrant, ToolGrant,
};
pub use limits::LimitsSpec;
pub use manifest::{Kind, KindError, MANIFEST_BYTES, MANIFESTS, Manifest, Resource};
pub use meta::{API_VERSION, Metadata};
pub use model::{ModelSpec, Provider, RetrySpec, ScriptedCall, ScriptedTurn};
pub use name::{FunctionName, Name, NameError, TenantName};
pub use problem::Problem;
pub use secret::{HeaderSpec, SecretRef};
pub use shape::{metadata_schema, spec_schema};
pub use tool::{McpSpec, ToolSpec};
