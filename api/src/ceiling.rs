//! The `Ceiling` kind: the most that a tenant may grant.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AddressScope, FolderAccess, HttpScheme, LimitsSpec, Name, NamePattern, TenantSelector,
};

/// The most that the tenants it selects may grant to their agents and tools, whatever their
/// resources say. A tenant under several ceilings is bounded by each of them; a tenant under none is
/// bounded by its resources alone. Only who may write cluster-wide objects can change one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "Ceiling",
    status = "CeilingStatus",
    derive = "PartialEq",
    shortname = "ceil",
    category = "ringfence",
    doc = "The most that a tenant's resources may grant.",
    crates(kube_core = "::kube_core"),
    printcolumn(name = "Tenants", type_ = "integer", json_path = ".status.tenants"),
    printcolumn(
        name = "Trust",
        type_ = "string",
        json_path = ".spec.placement.trustClass"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CeilingSpec {
    /// The tenants that it bounds; all of them where absent.
    #[serde(default)]
    pub tenants: TenantSelector,
    /// What may be granted. What is not listed may not.
    pub allow: Allowance,
    /// The most that a sandbox of the tenant may be allowed to use, below the host's own maximums.
    #[serde(default, skip_serializing_if = "LimitsSpec::is_default")]
    pub limits: LimitsSpec,
    /// Where the tenant's instances may run.
    #[serde(default, skip_serializing_if = "PlacementBound::is_none")]
    pub placement: PlacementBound,
}

/// What may be granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allowance {
    /// Tools, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub tools: Vec<NamePattern>,
    /// Agents, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub agents: Vec<NamePattern>,
    /// Models, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub models: Vec<NamePattern>,
    /// Outgoing HTTP requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub http: Vec<HttpBound>,
    /// Folders of the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub folders: Vec<FolderBound>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub env: bool,
    /// Real clocks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clocks: bool,
    /// The conversation across runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub session: bool,
    /// Partial output and progress to the caller.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub output: bool,
}

/// Outgoing HTTP requests that may be granted. A field that is absent bounds nothing, except
/// `addresses`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpBound {
    /// Scheme; both where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<HttpScheme>,
    /// Host name, exactly; `*.example.com` for any name below it; an IP address; or `*` for any host.
    #[schemars(length(min = 1, max = 255))]
    pub host: String,
    /// Ports; any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub ports: Option<Vec<u16>>,
    /// Methods; any where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub methods: Option<Vec<String>>,
    /// Path prefix, matched by whole segments; every path where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub path: Option<String>,
    /// Addresses that the host may have.
    #[serde(default)]
    pub addresses: AddressScope,
}

/// Folders that may be granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FolderBound {
    /// Folders, by the name under which a host offers them.
    pub name: NamePattern,
    /// The most that may be done there.
    #[serde(default)]
    pub access: FolderAccess,
}

/// Where a tenant's instances may run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlacementBound {
    /// How far the tenant is trusted; only pools that take this class run its instances. `default`
    /// where no ceiling says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_class: Option<Name>,
    /// Whether the tenant shares hosts with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Pools that the tenant may choose, by name; all of them where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub pools: Option<Vec<NamePattern>>,
}

impl PlacementBound {
    /// True when nothing is bounded.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Whether tenants share hosts. Ordered from the weakest to the strictest.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Isolation {
    /// A host runs instances of any tenants, each call in a sandbox of its own.
    #[default]
    Shared,
    /// A host that runs an instance of the tenant runs nobody else's.
    Dedicated,
}

/// What the operator says about a ceiling.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CeilingStatus {
    /// Generation that the rest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Tenants that it bounds now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<u32>,
    /// `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
