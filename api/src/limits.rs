//! Limits that a resource may set for its sandboxes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits of one sandbox. What is absent takes the host's default; what is above the host's maximum is
/// refused when the resource is applied. Every limit is described in `docs/limits.md`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSpec {
    /// Bytes of all linear memories together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Elements of all tables together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_elements: Option<u64>,
    /// Milliseconds of processor time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Milliseconds from start to end, waiting included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// Resource handles that the guest may hold at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_handles: Option<u64>,
    /// Calls from the guest to capabilities of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_calls: Option<u64>,
    /// Bytes that the guest may write to its log (stdout and stderr).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_bytes: Option<u64>,
    /// Bytes of arguments, messages or request body that a call may bring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_bytes: Option<u64>,
    /// Bytes of result, content or response body that a call may return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Bytes that one call may write into granted folders; a new file or folder counts for 4,096.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder_write_bytes: Option<u64>,
    /// Calls of this resource that run at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
}

impl LimitsSpec {
    /// True when nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
