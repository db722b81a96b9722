//! What every resource carries beside its spec.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Name, TenantName};

/// API group of every kind.
pub const API_GROUP: &str = "ringfence.dev";
/// API group and version of every kind.
pub const API_VERSION: &str = "ringfence.dev/v1alpha1";

/// Name, tenant and labels of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Name, unique among the resources of its kind in its tenant.
    pub name: Name,
    /// The tenant: a Kubernetes namespace. `default` where none is given.
    #[serde(default)]
    pub namespace: TenantName,
    /// Labels for people and selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Notes that nothing selects by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
