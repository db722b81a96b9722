//! The `Run` kind: one execution of an agent or of a function of a tool, applied like any other object.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Digest, FunctionName, Name};

/// Seconds that a run may take, waiting for a host included, when it says nothing.
pub const RUN_TIMEOUT_SECONDS: u32 = 600;
/// Seconds that a run is kept after its end when it says nothing.
pub const RUN_TTL_SECONDS: u32 = 3_600;
/// Bytes of an output, as JSON, that is kept in the object. A larger one goes to the blob store.
pub const RUN_OUTPUT_BYTES: usize = 16 << 10;
/// Bytes of the newest partial output that the object shows.
pub const RUN_PROGRESS_BYTES: usize = 4 << 10;
/// Bytes of a message about progress or an error.
pub const RUN_MESSAGE_BYTES: usize = 1 << 10;

/// One execution of an agent or of a function of a tool. It is executed at most once: the operator binds it
/// to a host where the target is ready, and what that host began is never begun again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, CustomResource)]
#[kube(
    group = "ringfence.dev",
    version = "v1alpha1",
    kind = "Run",
    namespaced,
    status = "RunStatus",
    derive = "PartialEq",
    shortname = "rn",
    category = "ringfence",
    selectable = ".status.hostName",
    selectable = ".status.phase",
    doc = "One execution of an agent or of a function of a tool.",
    crates(kube_core = "::kube_core"),
    printcolumn(name = "Agent", type_ = "string", json_path = ".spec.agent.name"),
    printcolumn(name = "Tool", type_ = "string", json_path = ".spec.tool.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Host", type_ = "string", json_path = ".status.hostName"),
    printcolumn(
        name = "Error",
        type_ = "string",
        json_path = ".status.error.code",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.agent) != has(self.tool)", "message": "give exactly one of agent and tool"},
    {"rule": "has(self.agent) == has(oldSelf.agent) && (!has(self.agent) || self.agent == oldSelf.agent) && has(self.tool) == has(oldSelf.tool) && (!has(self.tool) || self.tool == oldSelf.tool) && self.timeoutSeconds == oldSelf.timeoutSeconds && self.ttlSecondsAfterFinished == oldSelf.ttlSecondsAfterFinished", "message": "a run does not change: only cancel may be set; make another run"},
    {"rule": "self.cancel || !oldSelf.cancel", "message": "a run that was canceled stays so: make another run"},
]))]
pub struct RunSpec {
    /// The agent to run, and what it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentRun>,
    /// The function to call, and its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolRun>,
    /// Seconds that it may take, waiting for a host included.
    #[serde(default = "timeout_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_seconds: u32,
    /// Seconds after its end at which it is removed.
    #[serde(default = "ttl_seconds")]
    #[schemars(range(min = 0, max = 604_800))]
    pub ttl_seconds_after_finished: u32,
    /// Set to true to end it. Nothing else of a run can be changed.
    #[serde(default)]
    pub cancel: bool,
}

fn timeout_seconds() -> u32 {
    RUN_TIMEOUT_SECONDS
}

fn ttl_seconds() -> u32 {
    RUN_TTL_SECONDS
}

/// What an agent is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.input) != has(self.messages)", "message": "give exactly one of input and messages"},
]))]
pub struct AgentRun {
    /// The agent, of the same namespace.
    pub name: Name,
    /// One message of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262_144))]
    pub input: Option<String>,
    /// A conversation, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub messages: Option<Vec<RunMessage>>,
    /// The conversation that it belongs to, across runs. It is kept by the host that the run is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub session: Option<String>,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunMessage {
    /// Who says it.
    pub role: RunRole,
    /// What is said.
    #[schemars(length(max = 262_144))]
    pub text: String,
}

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunRole {
    /// Instructions of the application.
    System,
    /// The person or program that asks.
    User,
    /// The agent, earlier.
    Assistant,
}

/// A call of a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolRun {
    /// The tool, of the same namespace.
    pub name: Name,
    /// The function.
    pub function: FunctionName,
    /// Its arguments by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub arguments: Map<String, Value>,
}

fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

fn any_objects(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
    })
}

fn any_value(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RunPhase {
    /// It waits, or began less than a second ago.
    #[default]
    Pending,
    /// It runs.
    Running,
    /// It ended well.
    Succeeded,
    /// It failed; `error` says how.
    Failed,
    /// It was canceled.
    Canceled,
}

impl RunPhase {
    /// As it stands in the object.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Canceled => "Canceled",
        }
    }

    /// Whether it is over.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

impl fmt::Display for RunPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the operator, and then the host, says about a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(oldSelf.phase) || !(oldSelf.phase in ['Succeeded', 'Failed', 'Canceled']) || self == oldSelf", "message": "a run that has ended stays as it is"},
    {"rule": "!has(oldSelf.hostName) || !has(self.hostName) || self.hostName == oldSelf.hostName", "message": "a run stays with its host, which alone can give it back"},
]))]
pub struct RunStatus {
    /// How far it is.
    #[serde(default)]
    pub phase: RunPhase,
    /// Generation that the rest is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The host that it is bound to. From then on no other host executes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_name: Option<Name>,
    /// The journal of that host in which the begin of the run is noted; a host with another journal does
    /// not execute it, whatever its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub host_journal: Option<String>,
    /// How much of its time was left when it was bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_left_ms: Option<u64>,
    /// Its records are kept under this name (`ringfence logs`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub run_id: Option<String>,
    /// When it began, by its host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended, by the clock of who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// What it sent before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<RunProgress>,
    /// What it gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<RunOutput>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// Tokens that its models used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<RunUsage>,
    /// `Bound`, where it had to wait, and `Finished`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What a run sent before its end; written at most once a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunProgress {
    /// Work done so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<f64>,
    /// All the work there is, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<f64>,
    /// One line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The end of the partial output: not more than 4,096 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// What a run gave: here, or in the blob store of its host where it is larger than 16,384 bytes of JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunOutput {
    /// All its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The value that a function returned, where its schema says what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_value")]
    pub structured: Option<Value>,
    /// The parts as they came, where there are others than text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_objects")]
    pub content: Vec<Value>,
    /// Where a JSON document with the fields above is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<BlobRef>,
}

/// A document in the blob store of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlobRef {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Where it is read from.
    #[serde(rename = "where")]
    pub where_: String,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunError {
    /// The code of a call's error, or `tool-error` for a function that failed by its own account.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// Tokens that the models of a run used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunUsage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// The beginning of a text, in at most so many bytes.
#[must_use]
pub fn head(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_reads_as_it_is_written() {
        let spec: RunSpec = serde_json::from_value(serde_json::json!({
            "tool": {"name": "t", "function": "f", "arguments": {"a": 1}},
        }))
        .unwrap();
        assert_eq!(spec.timeout_seconds, RUN_TIMEOUT_SECONDS);
        assert_eq!(spec.ttl_seconds_after_finished, RUN_TTL_SECONDS);
        assert!(!spec.cancel);
        let unknown = serde_json::json!({"agent": {"name": "a", "inptu": "x"}});
        assert!(serde_json::from_value::<RunSpec>(unknown).is_err());
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(head("äöü".into(), 3), "ä");
        assert_eq!(head("abc".into(), 3), "abc");
    }
}
