//! From what users applied to what runs: a manifest becomes an [`Instance`] or a [`Model`].
//!
//! Everything that a resource needs of the host is checked here, once, so that a call never finds out
//! that a setting cannot be kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, OnceLock, Weak};

use parking_lot::Mutex;
use ringfence_api::{
    AgentSpec, ArtifactSource, Digest, Grants, HeaderSpec, ImageSource, Kind, LimitsSpec, Metadata,
    ModelSpec, NamedCeiling, Parameter, Pinned, Resource, RolloutSpec, SecretRef, TenantName,
    ToolSpec, Workload, effective_grants, effective_limits, not_allowed,
};
use tokio::sync::Semaphore;

use super::ceilings::Ceilings;
use super::offers::Offers;
use super::pull::{logins, missing, not_pulled};
use super::status::Unresolved;
use super::store::Stored;
use super::{Instance, Model, Provider};
use crate::artifact::inspect::{self, Inspection};
use crate::artifact::oci::PullLogin;
use crate::artifact::{ArtifactError, Artifacts, Upload};
use crate::builtin::{CHAT_COMPONENT, parameter};
use crate::egress::Egress;
use crate::limits::{self, Limits};
use crate::mcp_client::McpServer;
use crate::mediation::GrantSet;
use crate::model::ModelClient;

static NO_DESCRIPTIONS: LazyLock<Arc<BTreeMap<String, String>>> = LazyLock::new(Arc::default);
static TOOL_LIMITS: LazyLock<Arc<Limits>> = LazyLock::new(|| Arc::new(Limits::TOOL));
static AGENT_LIMITS: LazyLock<Arc<Limits>> = LazyLock::new(|| Arc::new(Limits::AGENT));

/// What a stored resource becomes.
pub(crate) enum Resolved {
    /// An agent or tool.
    Instance(Arc<Instance>),
    /// A model.
    Model(Arc<Model>),
    /// A ceiling, which is in force as soon as it is kept.
    Ceiling,
}

/// What an instance is made with beside its spec.
struct Given {
    grants: Grants,
    limits: Arc<Limits>,
    /// The digest that it is pinned to.
    digest: Option<Digest>,
}

/// Turns manifests into what runs.
pub(crate) struct Resolver {
    artifacts: Artifacts,
    egress: Egress,
    offers: Offers,
    chat: Digest,
    inspections: Mutex<HashMap<Digest, Weak<Inspection>>>,
}

impl Resolver {
    /// Stores the built-in components first, so that they are there when they are needed.
    ///
    /// # Errors
    /// They cannot be stored or compiled: the host cannot run declarative agents.
    pub(crate) async fn new(
        artifacts: Artifacts,
        egress: Egress,
        offers: Offers,
    ) -> Result<Self, ArtifactError> {
        let chat = Digest::of(CHAT_COMPONENT);
        let upload = Upload::bytes(CHAT_COMPONENT).with_digest(chat);
        artifacts.put(&system_tenant(), upload).await?;
        Ok(Self {
            artifacts,
            egress,
            offers,
            chat,
            inspections: Mutex::default(),
        })
    }

    /// Makes of a resource what runs. Where its component was not pinned to a digest yet, it is now.
    ///
    /// # Errors
    /// What the host lacks, or what the component does not have.
    pub(super) async fn resolve(
        &self,
        stored: &mut Stored,
        ceilings: &Ceilings,
    ) -> Result<Resolved, Unresolved> {
        let generation = stored.generation;
        let metadata = &stored.manifest.metadata;
        let ceilings = ceilings.of(&metadata.namespace);
        match &stored.manifest.resource {
            Resource::Agent(spec) => {
                one_host(&spec.rollout)?;
                let granted = spec.component_grants();
                let asked = match &spec.component {
                    Some(source) => {
                        let tenant = &metadata.namespace;
                        let (digest, found) = self.component(tenant, source, stored.digest).await?;
                        stored.digest = Some(digest);
                        found.needs()
                    }
                    None => granted.asked_by_chat(),
                };
                let given = Given {
                    grants: effective_grants(&asked, &granted, &ceilings).grants,
                    limits: bounded(
                        limits(&spec.limits, &AGENT_LIMITS)?,
                        &spec.limits,
                        &ceilings,
                    ),
                    digest: stored.digest,
                };
                let (digest, instance) = self.agent(metadata, generation, spec, given).await?;
                stored.digest = Some(digest);
                Ok(Resolved::Instance(Arc::new(instance)))
            }
            Resource::Tool(spec) => {
                one_host(&spec.rollout)?;
                let granted = spec.provider_grants();
                let asked = match &spec.component {
                    Some(source) => {
                        let tenant = &metadata.namespace;
                        let (digest, found) = self.component(tenant, source, stored.digest).await?;
                        stored.digest = Some(digest);
                        found.needs()
                    }
                    // It asks for what it is: to call the agent or server that it names.
                    None => granted.capabilities(),
                };
                let effective = effective_grants(&asked, &granted, &ceilings);
                if spec.component.is_none()
                    && let Some(message) = not_allowed(&effective.refused)
                {
                    return Err(Unresolved::new("RefusedByCeiling", "spec", message));
                }
                let given = Given {
                    grants: effective.grants,
                    limits: bounded(limits(&spec.limits, &TOOL_LIMITS)?, &spec.limits, &ceilings),
                    digest: stored.digest,
                };
                let (digest, instance) = self.tool(metadata, generation, spec, given).await?;
                stored.digest = digest;
                Ok(Resolved::Instance(Arc::new(instance)))
            }
            Resource::Model(spec) => {
                if let Some(message) = spec.not_allowed(&ceilings) {
                    return Err(Unresolved::new(
                        "RefusedByCeiling",
                        "spec.provider",
                        message,
                    ));
                }
                self.model(&metadata.namespace, generation, spec)
                    .map(Resolved::Model)
            }
            Resource::Ceiling(_) => Ok(Resolved::Ceiling),
        }
    }

    /// Makes of a frozen agent or tool what runs: with the grants that were computed for it, and under
    /// the limits of its tenant's ceilings. `digest` has to be what the resource names.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub(crate) async fn frozen(
        &self,
        metadata: &Metadata,
        generation: u64,
        workload: &Workload,
        pinned: &Pinned,
        max_limits: &LimitsSpec,
    ) -> Result<Arc<Instance>, Unresolved> {
        let given = |limits: Arc<Limits>| Given {
            grants: pinned.grants.clone(),
            limits: Arc::new(Limits::clone(&limits).at_most(max_limits)),
            digest: pinned.digest,
        };
        let (digest, instance) = match workload {
            Workload::Agent(spec) => {
                let given = given(limits(&spec.limits, &AGENT_LIMITS)?);
                let (digest, instance) = self.agent(metadata, generation, spec, given).await?;
                // The chat agent is this host's own, whatever its digest.
                (Some(digest).filter(|_| !spec.is_chat()), instance)
            }
            Workload::Tool(spec) => {
                let given = given(limits(&spec.limits, &TOOL_LIMITS)?);
                self.tool(metadata, generation, spec, given).await?
            }
        };
        if digest != pinned.digest {
            let show = |digest: Option<Digest>| digest.map_or("none".into(), |d| d.to_string());
            let message = format!(
                "it names {} and is pinned to {}: is the operator of another version?",
                show(digest),
                show(pinned.digest)
            );
            return Err(Unresolved::new("WrongPin", "spec.component", message));
        }
        Ok(Arc::new(instance))
    }

    /// Finds the component of a resource and what it asks for. A tag means what the registry says now: all
    /// hosts have to find the same.
    ///
    /// # Errors
    /// It cannot be had, or is refused.
    pub(crate) async fn find(
        &self,
        tenant: &TenantName,
        source: &ArtifactSource,
    ) -> Result<(Digest, Arc<Inspection>), Unresolved> {
        let image = match source {
            ArtifactSource::Image(ImageSource { image, .. }) if !image.contains('@') => image,
            source => return self.component(tenant, source, None).await,
        };
        let logins = self.logins(tenant, source)?;
        let current = self.artifacts.current(tenant, image, &logins).await;
        let digest = current.map_err(|error| not_pulled(error, source, &logins))?;
        Ok((digest, self.inspection(&digest).await?))
    }

    /// Makes of a model what can be asked.
    ///
    /// # Errors
    /// It refers to secrets that it may not, or its endpoint cannot be used.
    pub(crate) fn model(
        &self,
        tenant: &TenantName,
        generation: u64,
        spec: &ModelSpec,
    ) -> Result<Arc<Model>, Unresolved> {
        for (secret, field) in spec.secrets() {
            self.secret(tenant, secret, &field)?;
        }
        let client = ModelClient::from_spec(spec, &self.egress.of(tenant))
            .map_err(|error| Unresolved::new("NotUsable", "spec.provider", chain(&error)))?;
        Ok(Arc::new(Model {
            description: spec.description.as_str().into(),
            generation,
            client,
        }))
    }

    async fn agent(
        &self,
        metadata: &Metadata,
        generation: u64,
        spec: &AgentSpec,
        given: Given,
    ) -> Result<(Digest, Instance), Unresolved> {
        let (digest, inspection) = match &spec.component {
            Some(source) => {
                self.component(&metadata.namespace, source, given.digest)
                    .await?
            }
            // The chat agent of this very host: a newer host brings a newer one.
            None => (self.chat, self.inspection(&self.chat).await?),
        };
        if !inspection.is(inspect::Kind::Agent) {
            return Err(Unresolved::new(
                "NotAnAgent",
                "spec.component",
                "the component does not export ringfence:agent/handler, which makes an agent: apply \
                 it as a Tool, or build it with the world `agent`",
            ));
        }
        let parameters = match spec.is_chat() {
            true => chat_parameters(spec),
            false => spec.parameters.clone(),
        };
        let instance = Instance {
            tenant: metadata.namespace.clone(),
            kind: Kind::Agent,
            name: metadata.name.clone(),
            description: spec.description.as_str().into(),
            generation,
            provider: Provider::Component { digest, inspection },
            grants: Arc::new(self.grants(&metadata.namespace, given.grants)?),
            parameters: parameters.into(),
            descriptions: NO_DESCRIPTIONS.clone(),
            listed: OnceLock::new(),
            gate: gate(&given.limits),
            limits: given.limits,
        };
        Ok((digest, instance))
    }

    async fn tool(
        &self,
        metadata: &Metadata,
        generation: u64,
        spec: &ToolSpec,
        given: Given,
    ) -> Result<(Option<Digest>, Instance), Unresolved> {
        let (digest, provider) = if let Some(source) = &spec.component {
            let (digest, inspection) = self
                .component(&metadata.namespace, source, given.digest)
                .await?;
            if inspection
                .kinds
                .iter()
                .all(|kind| *kind == inspect::Kind::Agent)
            {
                return Err(Unresolved::new(
                    "NotATool",
                    "spec.component",
                    "the component exports no function, no wasi:cli/run and no \
                     wasi:http/incoming-handler, so that there is nothing to call: apply it as an \
                     Agent, or export something",
                ));
            }
            (Some(digest), Provider::Component { digest, inspection })
        } else if let Some(mcp) = &spec.mcp {
            for (secret, field) in HeaderSpec::secrets(&mcp.headers, "spec.mcp.headers".to_owned())
            {
                self.secret(&metadata.namespace, secret, &field)?;
            }
            let egress = self.egress.of(&metadata.namespace);
            let server = McpServer::connect(mcp, &egress)
                .map_err(|error| Unresolved::new("NotUsable", "spec.mcp", chain(&error)))?;
            (None, Provider::Mcp(Arc::new(server)))
        } else if let Some(agent) = &spec.agent {
            (None, Provider::Agent(agent.clone()))
        } else {
            return Err(Unresolved::new(
                "NoProvider",
                "spec",
                "give component, mcp or agent",
            ));
        };
        let instance = Instance {
            tenant: metadata.namespace.clone(),
            kind: Kind::Tool,
            name: metadata.name.clone(),
            description: spec.description.as_str().into(),
            generation,
            provider,
            grants: Arc::new(self.grants(&metadata.namespace, given.grants)?),
            parameters: spec.parameters.clone().into(),
            descriptions: match spec.descriptions.is_empty() {
                true => NO_DESCRIPTIONS.clone(),
                false => Arc::new(spec.descriptions.clone()),
            },
            listed: OnceLock::new(),
            gate: gate(&given.limits),
            limits: given.limits,
        };
        Ok((digest, instance))
    }

    /// The component of a resource: pinned the first time, the same from then on.
    async fn component(
        &self,
        tenant: &TenantName,
        source: &ArtifactSource,
        pinned: Option<Digest>,
    ) -> Result<(Digest, Arc<Inspection>), Unresolved> {
        let logins = self.logins(tenant, source)?;
        let found = match (source, pinned) {
            // The image may mean another one by now.
            (ArtifactSource::Image(ImageSource { image, .. }), Some(digest)) => {
                let fetched = self.artifacts.fetch(tenant, image, &digest, &logins);
                fetched.await.map(|()| digest)
            }
            _ => self.artifacts.resolve(tenant, source, &logins).await,
        };
        let digest = found.map_err(|error| not_pulled(error, source, &logins))?;
        Ok((digest, self.inspection(&digest).await?))
    }

    /// What is known of a component; all instances of one component share it.
    async fn inspection(&self, digest: &Digest) -> Result<Arc<Inspection>, Unresolved> {
        if let Some(known) = self.inspections.lock().get(digest).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let inspection = self.artifacts.inspect(digest).await.map_err(missing)?;
        let mut inspections = self.inspections.lock();
        inspections.retain(|_, known| known.strong_count() > 0);
        inspections.insert(*digest, Arc::downgrade(&inspection));
        Ok(inspection)
    }

    fn secret(
        &self,
        tenant: &TenantName,
        secret: &SecretRef,
        field: &str,
    ) -> Result<(), Unresolved> {
        let secrets = self.egress.secrets().of(tenant);
        secrets
            .check(secret)
            .map_err(|error| Unresolved::new("SecretNotAllowed", field, error.to_string()))
    }

    fn logins(
        &self,
        tenant: &TenantName,
        source: &ArtifactSource,
    ) -> Result<Vec<PullLogin>, Unresolved> {
        logins(&self.egress.secrets().of(tenant), source)
    }

    fn grants(&self, tenant: &TenantName, spec: Grants) -> Result<GrantSet, Unresolved> {
        let mut folders = Vec::with_capacity(spec.folders.len());
        for (index, grant) in spec.folders.iter().enumerate() {
            folders.push(
                self.offers
                    .mount(grant, &format!("spec.grants.folders[{index}]"))?,
            );
        }
        for (secret, field) in spec.secrets() {
            self.secret(tenant, secret, &field)?;
        }
        GrantSet::new(spec, folders)
            .map_err(|error| Unresolved::new("GrantNotUsable", "spec.grants", chain(&error)))
    }
}

/// The tenant of the built-in components.
pub(crate) fn system_tenant() -> TenantName {
    // A valid name by construction; the default is never used.
    TenantName::SYSTEM.parse().unwrap_or_default()
}

/// Refuses what takes more than one host: here a change takes over at once, or not at all.
fn one_host(rollout: &RolloutSpec) -> Result<(), Unresolved> {
    match rollout.beyond_one_host() {
        None => Ok(()),
        Some(field) => Err(Unresolved::new(
            "NeedsCluster",
            format!("spec.rollout.{field}"),
            "takes a cluster: a host of its own makes a change ready and then lets it take over at once, \
             or refuses it; remove this here",
        )),
    }
}

/// An error and what caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

fn limits(spec: &LimitsSpec, defaults: &Arc<Limits>) -> Result<Arc<Limits>, Unresolved> {
    if spec.is_default() {
        return Ok(defaults.clone());
    }
    Limits::resolve(spec, defaults)
        .map(Arc::new)
        .map_err(|error| {
            let limits::LimitError { field, asked, most } = error;
            let message =
                format!("{asked} is not between 1 and {most}, the most that this host allows");
            Unresolved::new("LimitTooHigh", format!("spec.limits.{field}"), message)
        })
}

/// Limits under ceilings.
fn bounded(limits: Arc<Limits>, asked: &LimitsSpec, ceilings: &[NamedCeiling<'_>]) -> Arc<Limits> {
    let (most, _) = effective_limits(asked, ceilings);
    match most.is_default() {
        true => limits,
        false => Arc::new(Limits::clone(&limits).at_most(&most)),
    }
}

fn gate(limits: &Limits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(
        usize::try_from(limits.concurrency).unwrap_or(Semaphore::MAX_PERMITS),
    ))
}

/// The settings of the chat agent, as it reads them.
fn chat_parameters(spec: &AgentSpec) -> Vec<Parameter> {
    let bounds = spec.loop_.clone().unwrap_or_default();
    let model = spec.model.as_ref();
    let text = |value: Option<&dyn ToString>| value.map(ToString::to_string);
    let settings: [(&str, Option<String>); 8] = [
        (parameter::INSTRUCTIONS, spec.instructions.clone()),
        (parameter::MODEL, model.map(|model| model.name.to_string())),
        (
            parameter::TEMPERATURE,
            model
                .and_then(|model| model.temperature)
                .map(|t| t.to_string()),
        ),
        (
            parameter::MAX_TOKENS,
            model
                .and_then(|model| model.max_tokens)
                .map(|t| t.to_string()),
        ),
        (
            parameter::OUTPUT_SCHEMA,
            text(spec.output_schema.as_ref().map(|s| s as _)),
        ),
        (
            parameter::MAX_TURNS,
            bounds.max_turns.map(|n| n.to_string()),
        ),
        (
            parameter::TOTAL_TOKENS,
            bounds.max_tokens.map(|n| n.to_string()),
        ),
        (
            parameter::PARALLEL_CALLS,
            bounds.max_parallel_calls.map(|n| n.to_string()),
        ),
    ];
    settings
        .into_iter()
        .filter_map(|(name, value)| {
            Some(Parameter {
                name: name.to_owned(),
                value: value?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_chat_agent_become_its_parameters() {
        let spec: AgentSpec = serde_json::from_value(serde_json::json!({
            "instructions": "be kind", "model": {"name": "m", "temperature": 0.5},
            "outputSchema": {"type": "object"}, "loop": {"maxTurns": 3, "maxParallelCalls": 2}
        }))
        .unwrap();
        let parameters: Vec<_> = chat_parameters(&spec)
            .into_iter()
            .map(|p| (p.name, p.value))
            .collect();
        let expected = [
            ("chat.instructions", "be kind"),
            ("chat.model", "m"),
            ("chat.temperature", "0.5"),
            ("chat.output-schema", "{\"type\":\"object\"}"),
            ("chat.max-turns", "3"),
            ("chat.parallel-calls", "2"),
        ];
        assert_eq!(
            parameters,
            expected.map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
    }
}
