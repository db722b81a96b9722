//! The `Model` kind.

use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use crate::{AddressScope, HeaderSpec, ModelStatus, SecretRef};

/// A language model that agents can be granted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "Model",
    namespaced,
    status = "ModelStatus",
    derive = "PartialEq",
    category = "ringfence",
    doc = "A language model that agents can be granted.",
    crates(kube_core = "::kube_core"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who answers.
    pub provider: Provider,
    /// Milliseconds that one attempt may take; 120,000 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What happens after a failed attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetrySpec>,
}

impl ModelSpec {
    /// Secrets that it refers to, each with the field that does.
    pub fn secrets(&self) -> Vec<(&SecretRef, String)> {
        let (name, api_key, headers) = match &self.provider {
            Provider::OpenAi {
                api_key, headers, ..
            } => ("openAi", api_key, headers),
            Provider::Anthropic {
                api_key, headers, ..
            } => ("anthropic", api_key, headers),
            Provider::Scripted { .. } => return Vec::new(),
        };
        let key = api_key
            .iter()
            .map(|secret| (secret, format!("spec.provider.{name}.apiKey")));
        let headers = HeaderSpec::secrets(headers, format!("spec.provider.{name}.headers"));
        key.chain(headers).collect()
    }
}

/// Who answers for a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    rename_all_fields = "camelCase"
)]
pub enum Provider {
    /// An endpoint that speaks OpenAI's chat completions.
    OpenAi {
        /// Root of the API, ending before `/chat/completions`; OpenAI's own where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_url: Option<Url>,
        /// The model, as the endpoint names it.
        model: String,
        /// The credential; none is sent where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        api_key: Option<SecretRef>,
        /// Further headers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 256))]
        headers: Vec<HeaderSpec>,
        /// Addresses that the endpoint may have.
        #[serde(default)]
        addresses: AddressScope,
    },
    /// An endpoint that speaks Anthropic's messages.
    Anthropic {
        /// Root of the API, ending before `/messages`; Anthropic's own where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base_url: Option<Url>,
        /// The model, as the endpoint names it.
        model: String,
        /// The credential.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        api_key: Option<SecretRef>,
        /// Further headers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[schemars(length(max = 256))]
        headers: Vec<HeaderSpec>,
        /// Addresses that the endpoint may have.
        #[serde(default)]
        addresses: AddressScope,
    },
    /// Turns that are written down here: for demos and tests, no model at all.
    Scripted {
        /// The turns. The n-th assistant turn of a conversation is answered by the n-th entry.
        #[schemars(length(max = 256))]
        turns: Vec<ScriptedTurn>,
    },
}

/// One turn of a scripted model. Text and arguments are templates: `{{last.text}}`,
/// `{{user.text}}` and `{{result.N.text}}` (the N-th tool result of the conversation, from 0) are
/// replaced by what the conversation holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScriptedTurn {
    /// The answer's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Calls to ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub calls: Vec<ScriptedCall>,
}

/// A call that a scripted turn asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScriptedCall {
    /// Name of the function, `TOOL_FUNCTION`.
    pub name: String,
    /// Its arguments: an object whose strings are templates.
    #[serde(default)]
    pub arguments: Value,
}

/// Retries of a failed attempt. Only 408, 409, 429 and 5xx responses and failed connections are
/// tried again, after an exponentially growing wait or what `retry-after` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetrySpec {
    /// Attempts in all, 1 to 10.
    pub attempts: u32,
    /// Milliseconds before the second attempt; doubles with each further one.
    pub initial_ms: u64,
}
