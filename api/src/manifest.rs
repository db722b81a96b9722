//! Manifests: YAML or JSON documents, one resource each.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::problem::{Problem, suggestion};
use crate::{
    API_VERSION, AgentSpec, CeilingSpec, Metadata, ModelSpec, TenantName, ToolSpec, shape, yaml,
};

/// Most bytes of one manifest that are read; a larger one is refused before parsing.
pub const MANIFEST_BYTES: usize = 1 << 20;
/// Most manifests that are taken at once.
pub const MANIFESTS: usize = 20_000;
/// Fields of `metadata` that a cluster or host adds when it is asked for a resource. They are dropped,
/// so that what `get` prints can be applied.
const SERVER_FIELDS: [&str; 6] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

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
    /// A ceiling, which belongs to no tenant.
    Ceiling,
}

impl Kind {
    /// Every kind, in the order in which resources of different kinds are applied: what bounds others
    /// and what others refer to comes first.
    pub const ALL: [Kind; 4] = [Kind::Ceiling, Kind::Model, Kind::Tool, Kind::Agent];
    /// The kinds that tenants have, in the same order.
    pub const OF_TENANTS: [Kind; 3] = [Kind::Model, Kind::Tool, Kind::Agent];

    /// Name in `kind:`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Agent => "Agent",
            Kind::Tool => "Tool",
            Kind::Model => "Model",
            Kind::Ceiling => "Ceiling",
        }
    }

    /// Name in URLs.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Agent => "agents",
            Kind::Tool => "tools",
            Kind::Model => "models",
            Kind::Ceiling => "ceilings",
        }
    }

    /// Whether resources of this kind belong to tenants.
    pub fn is_of_tenants(self) -> bool {
        Self::OF_TENANTS.contains(&self)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kind {0:?} is not known: use one of Agent, Tool, Model, Ceiling")]
pub struct KindError(String);

impl FromStr for Kind {
    type Err = KindError;

    /// Takes `Agent`, `agent` and `agents` alike.
    fn from_str(text: &str) -> Result<Self, KindError> {
        let lower = text.to_ascii_lowercase();
        Kind::ALL
            .into_iter()
            .find(|kind| lower == kind.plural() || lower == kind.as_str().to_ascii_lowercase())
            .ok_or_else(|| KindError(text.to_owned()))
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
    /// A ceiling.
    Ceiling(Box<CeilingSpec>),
}

impl Resource {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Resource::Agent(_) => Kind::Agent,
            Resource::Tool(_) => Kind::Tool,
            Resource::Model(_) => Kind::Model,
            Resource::Ceiling(_) => Kind::Ceiling,
        }
    }
}

/// One resource with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Name and tenant. Of what belongs to no tenant, the tenant is that of the host itself, which nobody
    /// may enter.
    pub metadata: Metadata,
    /// What is wanted.
    pub resource: Resource,
}

impl Manifest {
    /// Reads one JSON document. A document that names no namespace belongs to `tenant`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_json(document: Value, tenant: &TenantName) -> Result<Self, Vec<Problem>> {
        let mut name = None;
        read(document, tenant, &mut name).map_err(|mut problems| {
            for problem in &mut problems {
                problem.resource.clone_from(&name);
            }
            problems
        })
    }

    /// Reads YAML: any number of documents, separated by `---`. JSON is YAML too.
    ///
    /// # Errors
    /// Everything that is wrong with any of them, with lines.
    pub fn from_yaml(text: &str, tenant: &TenantName) -> Result<Vec<Self>, Vec<Problem>> {
        let mut manifests = Vec::new();
        let mut problems = Vec::new();
        let mut seen: BTreeMap<(Kind, TenantName, crate::Name), Option<u64>> = BTreeMap::new();
        for (index, document) in yaml::documents(text).enumerate() {
            if index == MANIFESTS {
                problems.push(Problem::new(
                    "",
                    format!("at most {MANIFESTS} documents at once"),
                ));
                break;
            }
            let mut document = match document {
                Ok(document) => document,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let value = std::mem::take(&mut document.value);
            match Self::from_json(value, tenant) {
                Err(found) => problems.extend(found.into_iter().map(|problem| Problem {
                    line: document.line(&problem.field),
                    ..problem
                })),
                Ok(manifest) => {
                    let line = document.line("");
                    if let Some(first) = seen.insert(manifest.key(), line) {
                        let first =
                            first.map_or_else(String::new, |line| format!(" (line {line})"));
                        problems.push(Problem {
                            resource: Some(manifest.to_string()),
                            line,
                            ..Problem::new("", format!("is written down twice{first}: keep one"))
                        });
                    }
                    manifests.push(manifest);
                }
            }
        }
        if problems.is_empty() {
            Ok(manifests)
        } else {
            Err(problems)
        }
    }

    /// The manifest as a JSON document.
    pub fn to_json(&self) -> Value {
        let mut document = serde_json::json!({
            "apiVersion": API_VERSION,
            "kind": self.kind().as_str(),
            "metadata": self.metadata,
            "spec": self.spec(),
        });
        if !self.kind().is_of_tenants()
            && let Some(metadata) = document["metadata"].as_object_mut()
        {
            metadata.shift_remove("namespace");
        }
        document
    }

    /// The spec as JSON.
    pub fn spec(&self) -> Value {
        // The specs hold nothing that JSON cannot: keys are texts, numbers are finite.
        match &self.resource {
            Resource::Agent(spec) => serde_json::to_value(spec),
            Resource::Tool(spec) => serde_json::to_value(spec),
            Resource::Model(spec) => serde_json::to_value(spec),
            Resource::Ceiling(spec) => serde_json::to_value(spec),
        }
        .unwrap_or_default()
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.resource.kind()
    }

    /// What makes it different from every other resource.
    pub fn key(&self) -> (Kind, TenantName, crate::Name) {
        (
            self.kind(),
            self.metadata.namespace.clone(),
            self.metadata.name.clone(),
        )
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.kind().is_of_tenants() {
            return write!(f, "{} {}", self.kind(), self.metadata.name);
        }
        write!(
            f,
            "{} {}/{}",
            self.kind(),
            self.metadata.namespace,
            self.metadata.name
        )
    }
}

fn read(
    document: Value,
    tenant: &TenantName,
    name: &mut Option<String>,
) -> Result<Manifest, Vec<Problem>> {
    let Value::Object(mut document) = document else {
        let message = "expected fields apiVersion, kind, metadata and spec";
        return Err(vec![Problem::new("", message)]);
    };
    let mut problems = Vec::new();
    // What `get` adds; a manifest does not set it.
    document.remove("status");
    for key in document.keys() {
        let known = ["apiVersion", "kind", "metadata", "spec"];
        if !known.contains(&key.as_str()) {
            let message = format!("there is no such field: {}", suggestion(key, known));
            problems.push(Problem::new(key.clone(), message));
        }
    }
    let text = |key: &str, problems: &mut Vec<Problem>| match document.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(_) => {
            problems.push(Problem::new(key, "expected text"));
            None
        }
        None => {
            problems.push(Problem::new(key, "is missing"));
            None
        }
    };
    if let Some(version) = text("apiVersion", &mut problems)
        && version != API_VERSION
    {
        problems.push(Problem::new(
            "apiVersion",
            format!("{version:?} is not known here: use {API_VERSION}"),
        ));
    }
    let kind = text("kind", &mut problems).and_then(|kind| match exact_kind(&kind) {
        Ok(kind) => Some(kind),
        Err(problem) => {
            problems.push(problem);
            None
        }
    });
    let mut metadata = document.remove("metadata").unwrap_or_default();
    if let Some(map) = metadata.as_object_mut() {
        map.retain(|key, _| !SERVER_FIELDS.contains(&key.as_str()));
        let of_tenant = kind.is_none_or(Kind::is_of_tenants);
        if !of_tenant && map.contains_key("namespace") {
            let message = "it belongs to no tenant: remove it";
            problems.push(Problem::new("metadata.namespace", message));
        }
        let tenant = match of_tenant {
            true => tenant.as_str(),
            false => TenantName::SYSTEM,
        };
        map.entry("namespace").or_insert_with(|| tenant.into());
        *name = kind
            .zip(map.get("name").and_then(Value::as_str))
            .map(|(kind, name)| {
                let tenant = map["namespace"].as_str().unwrap_or_default();
                match kind.is_of_tenants() {
                    true => format!("{kind} {tenant}/{name}"),
                    false => format!("{kind} {name}"),
                }
            });
    }
    let metadata: Option<Metadata> = typed(
        shape::metadata_schema(),
        metadata,
        "metadata",
        &mut problems,
    );
    let Some(kind) = kind else {
        return Err(problems);
    };
    let spec = document.remove("spec").unwrap_or_default();
    let schema = shape::spec_schema(kind);
    let resource = match kind {
        Kind::Agent => typed(schema, spec, "spec", &mut problems).map(Resource::Agent),
        Kind::Tool => typed(schema, spec, "spec", &mut problems).map(Resource::Tool),
        Kind::Model => typed(schema, spec, "spec", &mut problems).map(Resource::Model),
        Kind::Ceiling => typed(schema, spec, "spec", &mut problems).map(Resource::Ceiling),
    };
    let (Some(metadata), Some(resource)) = (metadata, resource) else {
        return Err(problems);
    };
    let manifest = Manifest { metadata, resource };
    problems.extend(manifest.validate());
    if problems.is_empty() {
        Ok(manifest)
    } else {
        Err(problems)
    }
}

/// Reads a value of a known shape; every fault of the shape is a problem.
fn typed<T: DeserializeOwned>(
    schema: &Value,
    value: Value,
    path: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    if value.is_null() {
        problems.push(Problem::new(path, "is missing"));
        return None;
    }
    let before = problems.len();
    shape::check(schema, &value, path, problems);
    match serde_path_to_error::deserialize(value) {
        Ok(typed) => Some(typed),
        Err(error) => {
            // The schema walk says more about the same fault, and about the others.
            if problems.len() == before {
                let field = match error.path().to_string().as_str() {
                    "." => path.to_owned(),
                    below => format!("{path}.{below}"),
                };
                problems.push(Problem::new(field, error.inner().to_string()));
            }
            None
        }
    }
}

/// A kind in a manifest is written exactly as in Kubernetes.
fn exact_kind(text: &str) -> Result<Kind, Problem> {
    let names = Kind::ALL.map(Kind::as_str);
    Kind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| match text {
            "Run" => Problem::new(
                "kind",
                "runs are objects of a cluster (kubectl apply): here, use `ringfence run AGENT` or \
                 `ringfence call TOOL FUNCTION`",
            ),
            _ => {
                let hint = suggestion(text, names);
                Problem::new("kind", format!("{text:?} is not known: {hint}"))
            }
        })
}
