//! References to secrets. A secret's value never appears in a resource.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the host reads a secret. The host refuses a reference that its operator did not allow by
/// name (`--allow-secret`).
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SecretRef {
    /// An environment variable of the host process.
    Env(String),
    /// A file that the host process can read; trailing line ends are dropped.
    File(PathBuf),
}

/// An HTTP header that the host adds; its value is given here or comes from a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.value) != has(self.valueFrom)", "message": "give value, or valueFrom for a secret, and not both"},
]))]
pub struct HeaderSpec {
    /// Header name.
    pub name: String,
    /// A value that is no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A value that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<SecretRef>,
}
