//! The `Tool` kind.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{AddressScope, ArtifactSource, Grants, HeaderSpec, LimitsSpec, Name, Parameter};

/// A provider of functions. Exactly one of `component`, `mcp` and `agent` says who provides them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
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
    pub parameters: Vec<Parameter>,
    /// Descriptions that replace the component's own, by function.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub descriptions: BTreeMap<String, String>,
}

/// An MCP server, reached over Streamable HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct McpSpec {
    /// Its endpoint.
    pub url: Url,
    /// Headers of every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
