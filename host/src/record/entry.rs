//! One record.

use std::borrow::Cow;

use ringfence_api::{Name, TenantName};
use serde::{Deserialize, Serialize};

use crate::mediation::RunId;
use crate::model::Usage;

/// What mediation decided about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may go on.
    Allowed,
    /// It may not.
    Denied,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// `ok`, `tool-error`, or the code of a [`CallError`](crate::error::CallError).
    pub code: Cow<'static, str>,
    /// What went wrong, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Where a call came from that another host sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoutedFrom {
    /// That host, by its certificate.
    pub host: Name,
    /// The number of the call there.
    pub call: u32,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRecord {
    /// The run.
    pub run: RunId,
    /// Number of the call within its run.
    pub call: u32,
    /// The call that it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u32>,
    /// The host that sent it and the number that it has there, where another host did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routed_from: Option<RoutedFrom>,
    /// The host that did it, where that is another one: its records tell the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_by: Option<Name>,
    /// The tenant.
    pub tenant: TenantName,
    /// Who called: kind and name, as in `agent/reviewer`.
    pub caller: String,
    /// On whose behalf, the nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_behalf_of: Vec<String>,
    /// The capability.
    pub capability: Cow<'static, str>,
    /// What it was aimed at.
    pub target: String,
    /// Whether it was allowed.
    pub decision: Decision,
    /// What came of it.
    pub outcome: Outcome,
    /// When it began, in microseconds since the Unix epoch.
    pub started_us: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Bytes that went in.
    pub request_bytes: u64,
    /// Bytes that came out; those of a stream are not counted.
    pub response_bytes: u64,
    /// Tokens, for models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Processor time of the sandbox, in microseconds, where one ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<u64>,
    /// Linear memory that the sandbox had at its end, in bytes, where one ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// What a guest wrote to its standard error, or to its standard output where that is no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// The run.
    pub run: RunId,
    /// The call.
    pub call: u32,
    /// The tenant.
    pub tenant: TenantName,
    /// Who wrote it.
    pub source: String,
    /// When the sandbox ended, in microseconds since the Unix epoch.
    pub at_us: u64,
    /// The text.
    pub text: String,
}

/// A run as a list shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// Who started it.
    pub caller: String,
    /// What it was aimed at.
    pub target: String,
    /// What came of it; none while it runs.
    pub outcome: Option<Outcome>,
    /// When it began, in microseconds since the Unix epoch.
    pub started_us: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Calls that were recorded.
    pub calls: usize,
    /// Calls that were denied.
    pub denied: usize,
}

/// One line of a segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[expect(clippy::large_enum_variant, reason = "nearly all entries are calls")]
pub(super) enum Entry {
    Call(CallRecord),
    Log(LogLine),
}
