//! Grants: the capabilities that a resource gives to its component, by name. The default is none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{FunctionName, HeaderSpec, Name, SecretRef};

/// Everything that one agent or tool may do. What is not listed is denied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grants {
    /// Tools that it may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub tools: Vec<ToolGrant>,
    /// Agents that it may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub agents: Vec<AgentGrant>,
    /// Models that it may ask; the first is its default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub models: Vec<ModelGrant>,
    /// Outgoing HTTP requests that it may make.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub http: Vec<HttpGrant>,
    /// Folders that it sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub folders: Vec<FolderGrant>,
    /// Environment variables that it sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub env: Vec<EnvGrant>,
    /// Real clocks. Without this grant both clocks stand still; waiting still works.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clocks: bool,
    /// The conversation across runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub session: bool,
    /// Partial output and progress to the caller.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub output: bool,
}

/// Leave to call a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolGrant {
    /// The tool.
    pub name: Name,
    /// These functions only; all of them where the list is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub functions: Option<Vec<FunctionName>>,
}

/// Leave to call an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentGrant {
    /// The agent.
    pub name: Name,
}

/// Leave to ask a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelGrant {
    /// The model.
    pub name: Name,
}

/// Scheme of an outgoing request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HttpScheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    #[default]
    Https,
}

/// Addresses that a granted host name may resolve to, ordered from fewer to more. Metadata and other link-local addresses are
/// never among them.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum AddressScope {
    /// Addresses of the public internet.
    #[default]
    Public,
    /// Public and private ones (RFC 1918, RFC 4193, RFC 6598), and loopback.
    Private,
}

/// Leave to make outgoing HTTP requests that match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpGrant {
    /// Scheme; `https` where absent.
    #[serde(default)]
    pub scheme: HttpScheme,
    /// Host name, exactly; or `*.example.com` for any name below it; or an IP address.
    #[schemars(length(min = 1, max = 255))]
    pub host: String,
    /// Port; the scheme's own where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Methods; `GET` and `HEAD` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub methods: Option<Vec<String>>,
    /// Path prefix, matched by whole segments; every path where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Addresses that the host may have.
    #[serde(default)]
    pub addresses: AddressScope,
    /// Headers that the host adds to matching requests; the guest never sees them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub headers: Vec<crate::HeaderSpec>,
}

/// How a folder may be used, ordered from less to more.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum FolderAccess {
    /// Read only.
    #[default]
    ReadOnly,
    /// Read, write, create and delete.
    ReadWrite,
}

/// Leave to use a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FolderGrant {
    /// A folder that the host offers by this name (`--allow-folder NAME=PATH`).
    pub name: Name,
    /// Where the guest sees it, an absolute path.
    pub mount: String,
    /// How it may be used.
    #[serde(default)]
    pub access: FolderAccess,
}

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvGrant {
    /// Name.
    pub name: String,
    /// Value. Secrets do not belong here: what a guest can read, it can send.
    pub value: String,
}

impl Grants {
    /// True when nothing is granted.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Secrets that the grants refer to, each with the field that does.
    pub fn secrets(&self) -> impl Iterator<Item = (&SecretRef, String)> {
        self.http.iter().enumerate().flat_map(|(index, grant)| {
            HeaderSpec::secrets(&grant.headers, format!("spec.grants.http[{index}].headers"))
        })
    }
}
