//! What the host says about a resource: whether it runs, and if not, why.

use std::collections::BTreeSet;

use ringfence_api::{
    AGENT_MISSING, Capability, Digest, FunctionName, Grants, Kind, LimitsSpec, Name, NamedCeiling,
    Refusal, Resource, agent_missing, asks_granted, condition, effective_grants, effective_limits,
    targets_found,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::store::Stored;
use super::{FunctionSummary, Instance, Provider, TenantView};
use crate::mcp_client::McpStatus;

/// One observation, as in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Ready`, `TargetsFound` or `AsksGranted`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word for programs.
    pub reason: String,
    /// A sentence for people: what is the matter, and what to do.
    pub message: String,
}

impl Condition {
    fn new(kind: &str, holds: bool, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            status: if holds { "True" } else { "False" }.to_owned(),
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

/// A function as a status shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionStatus {
    /// Its name within the tool.
    #[schemars(with = "String")]
    pub name: FunctionName,
    /// What it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: Map<String, Value>,
    /// JSON Schema of its structured result, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Map<String, Value>>,
}

impl From<&FunctionSummary> for FunctionStatus {
    fn from(function: &FunctionSummary) -> Self {
        Self {
            name: function.name.clone(),
            description: function.description.to_string(),
            input_schema: (*function.input_schema).clone(),
            output_schema: function.output_schema.as_deref().cloned(),
        }
    }
}

/// The status of a resource.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The generation that runs; 0 while none does.
    pub observed_generation: u64,
    /// The file of the manifest folder that it comes from; none when it was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What holds and what does not. `Ready` comes first.
    pub conditions: Vec<Condition>,
    /// The component that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Capabilities that it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<BTreeSet<Capability>>,
    /// What it may do: asked ∩ granted ∩ ceilings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_grants: Option<Grants>,
    /// What it may not do, and who refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
    /// The functions of a tool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<FunctionStatus>,
}

/// Why a resource does not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unresolved {
    /// One word for programs.
    pub reason: &'static str,
    /// Field of the manifest that is the matter.
    pub field: String,
    /// What is the matter, and what to do.
    pub message: String,
}

impl Unresolved {
    pub(crate) fn new(
        reason: &'static str,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            reason,
            field: field.into(),
            message: message.into(),
        }
    }
}

/// What an agent or tool is told that was granted models which cannot be asked: each by its name, with the
/// reason where there is such a model. None where there is none of them. The same on a host and on a cluster.
pub(crate) fn models_missing<'a>(
    lacking: impl Iterator<Item = (&'a Name, Option<String>)>,
) -> Option<Unresolved> {
    let told = lacking.map(|(name, why)| match why {
        None => format!("there is no model {name}: apply it"),
        Some(why) => format!("model {name} cannot be asked, see its status: {why}"),
    });
    let told: Vec<String> = told.collect();
    match told.is_empty() {
        true => None,
        false => Some(Unresolved::new("ModelMissing", "", told.join("; "))),
    }
}

impl Status {
    /// The status of a resource that does not run.
    pub(super) fn unresolved(stored: &Stored, why: Option<&Unresolved>) -> Self {
        let ready = match why {
            Some(why) => Condition::new("Ready", false, why.reason, &why.message),
            None => Condition::new("Ready", false, "Preparing", "it is being prepared"),
        };
        Self {
            file: stored.file.clone(),
            digest: stored.digest,
            conditions: vec![ready],
            ..Self::default()
        }
    }

    /// The status of a model that runs.
    pub(super) fn model(stored: &Stored) -> Self {
        Self {
            observed_generation: stored.generation,
            file: stored.file.clone(),
            conditions: vec![Condition::new("Ready", true, "Ready", "it can be asked")],
            ..Self::default()
        }
    }

    /// The status of a ceiling, and how many tenants of the host it bounds now.
    pub(super) fn ceiling(stored: &Stored, tenants: usize) -> Self {
        let mut message = format!("it bounds {tenants} of the tenants that have anything");
        if let Resource::Ceiling(spec) = &stored.manifest.resource
            && !spec.placement.is_none()
        {
            message += "; its placement is for a cluster: here is one host only";
        }
        Self {
            observed_generation: stored.generation,
            file: stored.file.clone(),
            conditions: vec![Condition::new("Ready", true, "InForce", message)],
            ..Self::default()
        }
    }

    /// The status of an agent or tool that runs, within what its tenant has. `refused` tells why a model that
    /// there is cannot be asked.
    pub(super) fn instance(
        stored: &Stored,
        instance: &Instance,
        view: &TenantView,
        ceilings: &[NamedCeiling<'_>],
        refused: impl Fn(&Name) -> Option<String>,
    ) -> Self {
        let mut status = Self {
            observed_generation: instance.generation,
            file: stored.file.clone(),
            ..Self::default()
        };
        status.conditions.push(ready(instance, view, refused));
        let grants = instance.grants.spec();
        if !matches!(instance.provider, Provider::Mcp(_)) {
            status.conditions.push(targets(grants, view));
        }
        if let Some((granted, limits)) = granted(stored) {
            let asked = asked(stored, instance, &granted);
            let effective = effective_grants(&asked, &granted, ceilings);
            let (_, limits_refused) = effective_limits(limits, ceilings);
            let asks = asks_granted(&effective.refused, &limits_refused);
            let (holds, reason) = (asks.granted, asks.reason);
            let condition = Condition::new("AsksGranted", holds, reason, asks.message);
            status.conditions.push(condition);
            status.asked = Some(asked);
            status.effective_grants = Some(effective.grants);
            status.refused = effective.refused;
        }
        // The chat agent is the host's own, whatever its digest.
        let chat = matches!(&stored.manifest.resource, Resource::Agent(spec) if spec.is_chat());
        if let Provider::Component { digest, .. } = &instance.provider
            && !chat
        {
            status.digest = Some(*digest);
        }
        if instance.kind == Kind::Tool {
            status.functions = instance
                .functions()
                .iter()
                .map(FunctionStatus::from)
                .collect();
        }
        status
    }

    /// Whether it runs.
    pub fn is_ready(&self) -> bool {
        self.conditions
            .iter()
            .any(|c| c.kind == "Ready" && c.status == "True")
    }
}

fn ready(
    instance: &Instance,
    view: &TenantView,
    refused: impl Fn(&Name) -> Option<String>,
) -> Condition {
    match &instance.provider {
        Provider::Component { .. } => {
            let granted = instance.grants.spec().models.iter();
            let lacking = granted
                .filter(|grant| !view.models.contains_key(&grant.name))
                .map(|grant| (&grant.name, refused(&grant.name)));
            match models_missing(lacking) {
                Some(why) => Condition::new("Ready", false, why.reason, why.message),
                None => Condition::new("Ready", true, "Ready", "it can be called"),
            }
        }
        Provider::Mcp(server) => mcp(&server.status()),
        Provider::Agent(agent) if view.agents.contains_key(agent) => {
            Condition::new("Ready", true, "Ready", "it can be called")
        }
        Provider::Agent(agent) => {
            Condition::new("Ready", false, AGENT_MISSING, agent_missing(agent))
        }
    }
}

/// A server that answered once is ready: one failed look takes nothing away.
fn mcp(status: &McpStatus) -> Condition {
    let trouble = status.last_error.as_deref();
    let mut message = match (status.last_success, trouble) {
        (None, None) => {
            return Condition::new("Ready", false, "Connecting", "it was not reached yet");
        }
        (None, Some(error)) => return Condition::new("Ready", false, "Unreachable", error),
        (Some(_), None) => "its functions are known".to_owned(),
        (Some(_), Some(error)) => format!("its functions are known; the last look failed: {error}"),
    };
    if status.left_out > 0 {
        message += &format!(
            "; {} functions are left out: too many or too large",
            status.left_out
        );
    }
    Condition::new("Ready", true, "Ready", message)
}

fn targets(grants: &Grants, view: &TenantView) -> Condition {
    let mut missing = Vec::new();
    let tools = grants
        .tools
        .iter()
        .filter(|grant| !view.tools.contains_key(&grant.name));
    missing.extend(tools.map(|grant| format!("tool {}", grant.name)));
    let agents = grants
        .agents
        .iter()
        .filter(|grant| !view.agents.contains_key(&grant.name));
    missing.extend(agents.map(|grant| format!("agent {}", grant.name)));
    let models = grants
        .models
        .iter()
        .filter(|grant| !view.models.contains_key(&grant.name));
    missing.extend(models.map(|grant| format!("model {}", grant.name)));
    for grant in &grants.tools {
        let Some(tool) = view.tools.get(&grant.name) else {
            continue;
        };
        let unknown = grant
            .functions
            .iter()
            .flatten()
            .filter(|name| tool.function(name).is_none());
        missing.extend(unknown.map(|name| format!("function {name} of tool {}", grant.name)));
    }
    let said = targets_found(&missing);
    Condition::new(
        condition::TARGETS_FOUND,
        said.found,
        said.reason,
        said.message,
    )
}

/// What a resource grants, with what it is granted by being what it is; and its limits.
fn granted(stored: &Stored) -> Option<(Grants, &LimitsSpec)> {
    match &stored.manifest.resource {
        Resource::Agent(spec) => Some((spec.component_grants(), &spec.limits)),
        Resource::Tool(spec) => Some((spec.provider_grants(), &spec.limits)),
        Resource::Model(_) | Resource::Ceiling(_) => None,
    }
}

fn asked(stored: &Stored, instance: &Instance, granted: &Grants) -> BTreeSet<Capability> {
    match (&stored.manifest.resource, &instance.provider) {
        (Resource::Agent(spec), _) if spec.is_chat() => granted.asked_by_chat(),
        (_, Provider::Component { inspection, .. }) => inspection.needs(),
        // It asks for what it is: to call the agent or server that it names.
        (_, Provider::Mcp(_) | Provider::Agent(_)) => granted.capabilities(),
    }
}
