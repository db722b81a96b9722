//! Where the bytes of a component come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// The component that a resource runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ArtifactSource {
    /// An artifact that was pushed to the host, by digest.
    Digest(Digest),
    /// An OCI reference, `registry/repository:tag` or `…@sha256:…`; a tag is pinned to a digest when
    /// the resource is applied.
    Image(String),
}
