//! Validation of each kind.

use super::grants::{parameters, secret_name};
use super::http::{endpoint, headers};
use super::{DESCRIPTION_BYTES, KEY_BYTES, TEXT_BYTES, count, range, size, unique};
use crate::problem::Report;
use crate::{
    AddressScope, AgentSpec, ArtifactSource, HeaderSpec, ImageSource, LoopSpec, McpSpec, ModelRef,
    ModelSpec, PRIORITY, PULL_SECRETS, PlacementSpec, Provider, PullSecret, REPLICAS,
    REQUEST_CPU_MILLIS, REQUEST_MEMORY_BYTES, RequestSpec, RetrySpec, ScriptedTurn, SecretRef,
    ToolSpec,
};

/// Milliseconds of the longest wait that can be asked for.
const MAX_WAIT_MS: u64 = 3_600_000;

impl ToolSpec {
    pub(super) fn validate(&self, report: &mut Report<'_>) {
        size(
            &self.description,
            DESCRIPTION_BYTES,
            &mut report.field("description"),
        );
        let providers = [
            self.component.is_some(),
            self.mcp.is_some(),
            self.agent.is_some(),
        ];
        match providers.iter().filter(|given| **given).count() {
            1 => {}
            0 => report.say("says nobody who provides functions: give component, mcp or agent"),
            _ => report.say("give one of component, mcp and agent, not several"),
        }
        if let Some(component) = &self.component {
            source(component, &mut report.field("component"));
            self.grants.validate(&mut report.field("grants"));
            parameters(&self.parameters, &mut report.field("parameters"));
        } else {
            for (field, given) in [
                ("grants", !self.grants.is_none()),
                ("limits", !self.limits.is_default()),
                ("parameters", !self.parameters.is_empty()),
            ] {
                if given {
                    report
                        .field(field)
                        .say("has no effect without component: remove it");
                }
            }
        }
        if let Some(mcp) = &self.mcp {
            mcp.validate(&mut report.field("mcp"));
        }
        range(self.replicas, 1, REPLICAS, &mut report.field("replicas"));
        self.placement.validate(&mut report.field("placement"));
        self.rollout.validate(&mut report.field("rollout"));
        let mut report = report.field("descriptions");
        count(self.descriptions.len(), &mut report);
        for (function, text) in &self.descriptions {
            if let Err(error) = function.parse::<crate::FunctionName>() {
                report.field(function).say(error.to_string());
            }
            size(text, DESCRIPTION_BYTES, &mut report.field(function));
        }
    }
}

impl PlacementSpec {
    fn validate(&self, report: &mut Report<'_>) {
        range(
            self.priority,
            -PRIORITY,
            PRIORITY,
            &mut report.field("priority"),
        );
        let mut report = report.field("requests");
        let RequestSpec {
            memory_bytes,
            cpu_millis,
        } = self.requests;
        range(
            memory_bytes,
            0,
            REQUEST_MEMORY_BYTES,
            &mut report.field("memoryBytes"),
        );
        range(
            cpu_millis,
            0,
            REQUEST_CPU_MILLIS,
            &mut report.field("cpuMillis"),
        );
    }
}

impl McpSpec {
    fn validate(&self, report: &mut Report<'_>) {
        endpoint(&self.url, self.addresses, &mut report.field("url"));
        headers(&self.headers, &mut report.field("headers"));
        range(
            self.poll_ms,
            1_000,
            24 * MAX_WAIT_MS,
            &mut report.field("pollMs"),
        );
        range(
            self.timeout_ms,
            1,
            MAX_WAIT_MS,
            &mut report.field("timeoutMs"),
        );
    }
}

impl AgentSpec {
    pub(super) fn validate(&self, report: &mut Report<'_>) {
        size(
            &self.description,
            DESCRIPTION_BYTES,
            &mut report.field("description"),
        );
        self.grants.validate(&mut report.field("grants"));
        range(self.replicas, 1, REPLICAS, &mut report.field("replicas"));
        self.placement.validate(&mut report.field("placement"));
        self.rollout.validate(&mut report.field("rollout"));
        match &self.component {
            Some(component) => {
                source(component, &mut report.field("component"));
                parameters(&self.parameters, &mut report.field("parameters"));
                self.no_chat_fields(report);
            }
            None => self.validate_chat(report),
        }
    }

    fn no_chat_fields(&self, report: &mut Report<'_>) {
        for (field, given) in [
            ("instructions", self.instructions.is_some()),
            ("model", self.model.is_some()),
            ("outputSchema", self.output_schema.is_some()),
            ("loop", self.loop_.is_some()),
        ] {
            if given {
                report.field(field).say(
                    "is for the built-in chat agent, which runs where no component is named: remove \
                     it, or component",
                );
            }
        }
    }

    fn validate_chat(&self, report: &mut Report<'_>) {
        match &self.instructions {
            None => report
                .field("instructions")
                .say("is missing: an agent has a component, or instructions and a model"),
            Some(text) if text.trim().is_empty() => {
                report
                    .field("instructions")
                    .say("is empty: say what the agent does");
            }
            Some(text) => size(text, TEXT_BYTES, &mut report.field("instructions")),
        }
        match &self.model {
            None => report
                .field("model")
                .say("is missing: an agent has a component, or instructions and a model"),
            Some(model) => model.validate(&mut report.field("model")),
        }
        if let Some(schema) = &self.output_schema {
            let mut report = report.field("outputSchema");
            if !schema.is_object() {
                report.say("expected a JSON Schema: fields such as type and properties");
            } else if let Err(error) = ringfence_schema::Schema::new(schema.clone()) {
                report.say(error);
            }
            size(&schema.to_string(), TEXT_BYTES, &mut report);
        }
        if let Some(bounds) = &self.loop_ {
            bounds.validate(&mut report.field("loop"));
        }
        for (field, given) in [
            ("parameters", !self.parameters.is_empty()),
            ("grants.http", !self.grants.http.is_empty()),
            ("grants.folders", !self.grants.folders.is_empty()),
            ("grants.env", !self.grants.env.is_empty()),
            ("grants.clocks", self.grants.clocks),
        ] {
            if given {
                report.field(field).say(
                    "has no effect on the built-in chat agent, which acts through tools only: give \
                     it to a tool",
                );
            }
        }
    }
}

impl ModelRef {
    fn validate(&self, report: &mut Report<'_>) {
        range(self.temperature, 0.0, 2.0, &mut report.field("temperature"));
        range(
            self.max_tokens,
            1,
            1_000_000,
            &mut report.field("maxTokens"),
        );
    }
}

impl LoopSpec {
    fn validate(&self, report: &mut Report<'_>) {
        range(self.max_turns, 1, 1_000, &mut report.field("maxTurns"));
        range(
            self.max_tokens,
            1,
            1_000_000_000,
            &mut report.field("maxTokens"),
        );
        range(
            self.max_parallel_calls,
            1,
            32,
            &mut report.field("maxParallelCalls"),
        );
    }
}

impl ModelSpec {
    pub(super) fn validate(&self, report: &mut Report<'_>) {
        size(
            &self.description,
            DESCRIPTION_BYTES,
            &mut report.field("description"),
        );
        let scripted = matches!(self.provider, Provider::Scripted { .. });
        for (field, given) in [
            ("timeoutMs", self.timeout_ms.is_some()),
            ("retry", self.retry.is_some()),
        ] {
            if scripted && given {
                report
                    .field(field)
                    .say("has no effect on a scripted model: remove it");
            }
        }
        range(
            self.timeout_ms,
            1,
            MAX_WAIT_MS,
            &mut report.field("timeoutMs"),
        );
        if let Some(RetrySpec {
            attempts,
            initial_ms,
        }) = self.retry
        {
            let mut report = report.field("retry");
            range(Some(attempts), 1, 10, &mut report.field("attempts"));
            range(Some(initial_ms), 1, 60_000, &mut report.field("initialMs"));
        }
        let mut report = report.field("provider");
        match &self.provider {
            Provider::OpenAi {
                base_url,
                model,
                api_key,
                headers,
                addresses,
            } => Endpoint {
                base_url: base_url.as_ref(),
                model,
                api_key: api_key.as_ref(),
                headers,
                addresses: *addresses,
            }
            .validate(&mut report.field("openAi")),
            Provider::Anthropic {
                base_url,
                model,
                api_key,
                headers,
                addresses,
            } => Endpoint {
                base_url: base_url.as_ref(),
                model,
                api_key: api_key.as_ref(),
                headers,
                addresses: *addresses,
            }
            .validate(&mut report.field("anthropic")),
            Provider::Scripted { turns } => {
                let mut report = report.field("scripted");
                script(turns, &mut report.field("turns"));
            }
        }
    }
}

/// What both providers of real models have.
struct Endpoint<'a> {
    base_url: Option<&'a url::Url>,
    model: &'a str,
    api_key: Option<&'a SecretRef>,
    headers: &'a [HeaderSpec],
    addresses: AddressScope,
}

impl Endpoint<'_> {
    fn validate(&self, report: &mut Report<'_>) {
        if self.model.trim().is_empty() {
            report
                .field("model")
                .say("is empty: name the model as the endpoint does");
        }
        size(self.model, KEY_BYTES, &mut report.field("model"));
        if let Some(url) = self.base_url {
            let mut report = report.field("baseUrl");
            endpoint(url, self.addresses, &mut report);
            if url.query().is_some() {
                report.say("holds a query (?…): remove it");
            }
        }
        if let Some(secret) = self.api_key {
            secret.validate(&mut report.field("apiKey"));
        }
        headers(self.headers, &mut report.field("headers"));
    }
}

fn script(turns: &[ScriptedTurn], report: &mut Report<'_>) {
    if turns.is_empty() {
        report.say("is empty: write at least one turn");
    }
    count(turns.len(), report);
    for (index, turn) in turns.iter().enumerate() {
        let mut report = report.index(index);
        if turn.text.is_none() && turn.calls.is_empty() {
            report.say("says nothing: give text or calls");
        }
        size(
            turn.text.as_deref().unwrap_or_default(),
            TEXT_BYTES,
            &mut report.field("text"),
        );
        let mut report = report.field("calls");
        count(turn.calls.len(), &mut report);
        for (index, call) in turn.calls.iter().enumerate() {
            let mut report = report.index(index);
            if call.name.is_empty() {
                report.field("name").say("is empty: write TOOL_FUNCTION");
            }
            size(&call.name, KEY_BYTES, &mut report.field("name"));
            if !call.arguments.is_object() && !call.arguments.is_null() {
                report
                    .field("arguments")
                    .say("expected fields, one for each argument");
            }
        }
    }
}

fn source(source: &ArtifactSource, report: &mut Report<'_>) {
    let ArtifactSource::Image(ImageSource {
        image,
        pull_secrets,
    }) = source
    else {
        return;
    };
    pull_logins(pull_secrets, &mut report.field("imagePullSecrets"));
    let mut report = report.field("image");
    size(image, 1024, &mut report);
    let has_registry = image
        .split_once('/')
        .is_some_and(|(registry, path)| !registry.is_empty() && !path.is_empty());
    if !has_registry || image.contains("://") || image.bytes().any(|b| !b.is_ascii_graphic()) {
        report.say(format!(
            "{image:?} is not an image: write REGISTRY/REPOSITORY:TAG or …@sha256:…"
        ));
    }
}

fn pull_logins(secrets: &[PullSecret], report: &mut Report<'_>) {
    if secrets.len() > PULL_SECRETS {
        report.say(format!(
            "has {} entries: at most {PULL_SECRETS} are allowed",
            secrets.len()
        ));
    }
    for (index, secret) in secrets.iter().enumerate() {
        secret_name(&secret.name, &mut report.index(index));
    }
    unique(secrets.iter().map(|secret| &secret.name), "name", report);
}
