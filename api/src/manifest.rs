//! Manifests: YAML or JSON documents, one resource each.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{API_VERSION, AgentSpec, Metadata, ModelSpec, ToolSpec};

/// Most bytes of a manifest that are read; larger ones are refused before parsing.
pub const MANIFEST_BYTES: usize = 1 << 20;

/// The kinds of resource.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Kind {
    /// An agent.
    Agent,
    /// A tool.
    Tool,
    /// A model.
    Model,
}

impl Kind {
    /// Every kind, in the order in which resources of different kinds are applied: what others refer
    /// to comes first.
    pub const ALL: [Kind; 3] = [Kind::Model, Kind::Tool, Kind::Agent];

    /// Name in `kind:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Agent => "Agent",
            Kind::Tool => "Tool",
            Kind::Model => "Model",
        }
    }

    /// Name in URLs.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Agent => "agents",
            Kind::Tool => "tools",
            Kind::Model => "models",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = ManifestError;

    /// Takes `Agent`, `agent` and `agents` alike.
    fn from_str(text: &str) -> Result<Self, ManifestError> {
        let lower = text.to_ascii_lowercase();
        Kind::ALL
            .into_iter()
            .find(|kind| lower == kind.plural() || lower == kind.as_str().to_ascii_lowercase())
            .ok_or_else(|| ManifestError::Kind(text.to_owned()))
    }
}

/// A resource of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Resource {
    /// An agent.
    Agent(Box<AgentSpec>),
    /// A tool.
    Tool(Box<ToolSpec>),
    /// A model.
    Model(Box<ModelSpec>),
}

impl Resource {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Resource::Agent(_) => Kind::Agent,
            Resource::Tool(_) => Kind::Tool,
            Resource::Model(_) => Kind::Model,
        }
    }
}

/// One resource with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Name and tenant.
    pub metadata: Metadata,
    /// What is wanted.
    pub resource: Resource,
}

/// Why a manifest was refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Larger than [`MANIFEST_BYTES`].
    #[error("a manifest may have at most {MANIFEST_BYTES} bytes")]
    TooLarge,
    /// Not YAML.
    #[error("not valid YAML: {0}")]
    Yaml(String),
    /// Another API group or version.
    #[error("apiVersion {0:?} is not known here: use {API_VERSION}")]
    ApiVersion(String),
    /// A kind that does not exist.
    #[error("kind {0:?} is not known here: use Agent, Tool or Model")]
    Kind(String),
    /// A field is missing, unknown, or has a value that is not allowed.
    #[error("{kind} {name:?}: {message}")]
    Field {
        /// Kind of the resource.
        kind: Kind,
        /// Name of the resource, as far as it could be read.
        name: String,
        /// What is wrong and what to do, with the path of the field.
        message: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    metadata: Value,
    #[serde(default)]
    spec: Value,
}

impl Manifest {
    /// Reads one JSON document.
    pub fn from_json(document: Value) -> Result<Self, ManifestError> {
        let document: Document = serde_json::from_value(document)
            .map_err(|error| ManifestError::Yaml(error.to_string()))?;
        if document.api_version != API_VERSION {
            return Err(ManifestError::ApiVersion(document.api_version));
        }
        let kind: Kind = document.kind.parse()?;
        let name = document.metadata["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let refuse = |path: &str, error: serde_json::Error| ManifestError::Field {
            kind,
            name: name.clone(),
            message: format!("{path}: {error}"),
        };
        let metadata =
            serde_json::from_value(document.metadata).map_err(|error| refuse("metadata", error))?;
        let spec = document.spec;
        let resource = match kind {
            Kind::Agent => serde_json::from_value(spec).map(|spec| Resource::Agent(Box::new(spec))),
            Kind::Tool => serde_json::from_value(spec).map(|spec| Resource::Tool(Box::new(spec))),
            Kind::Model => serde_json::from_value(spec).map(|spec| Resource::Model(Box::new(spec))),
        }
        .map_err(|error| refuse("spec", error))?;
        Ok(Self { metadata, resource })
    }

    /// The manifest as a JSON document.
    pub fn to_json(&self) -> Value {
        let spec = match &self.resource {
            Resource::Agent(spec) => serde_json::to_value(spec),
            Resource::Tool(spec) => serde_json::to_value(spec),
            Resource::Model(spec) => serde_json::to_value(spec),
        };
        serde_json::json!({
            "apiVersion": API_VERSION,
            "kind": self.resource.kind().as_str(),
            "metadata": self.metadata,
            "spec": spec.unwrap_or_default(),
        })
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.resource.kind()
    }
}
