//! References to secrets. A secret's value never appears in a resource.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the host reads a secret. A host refuses a variable or a file that was not allowed to it by name
/// (`--allow-secret`); a `secret` is read from the cluster, and where there is none, from what
/// `--allow-secret secret:NAME/KEY=…` says.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum SecretRef {
    /// An environment variable of the host process.
    Env(String),
    /// A file that the host process can read; trailing line ends are dropped.
    File(PathBuf),
    /// One key of a Secret in the namespace of the resource; trailing line ends are dropped.
    Secret(SecretKey),
}

/// One key of a Secret of Kubernetes, in the namespace of the resource that refers to it.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Key of its data.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

impl SecretRef {
    /// The Secret of Kubernetes that is meant, if one is.
    pub fn secret(&self) -> Option<&SecretKey> {
        match self {
            SecretRef::Secret(secret) => Some(secret),
            SecretRef::Env(_) | SecretRef::File(_) => None,
        }
    }
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

impl HeaderSpec {
    /// Secrets that the headers at a field refer to, each with the field that does.
    pub fn secrets<'a>(
        headers: &'a [HeaderSpec],
        field: String,
    ) -> impl Iterator<Item = (&'a SecretRef, String)> + use<'a> {
        headers
            .iter()
            .enumerate()
            .filter_map(move |(index, header)| {
                let reference = header.value_from.as_ref()?;
                Some((reference, format!("{field}[{index}].valueFrom")))
            })
    }
}
