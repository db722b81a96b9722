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

    /// The limits that are set: field name as in a manifest, and value.
    pub fn set(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("memoryBytes", self.memory_bytes),
            ("tableElements", self.table_elements),
            ("cpuMs", self.cpu_ms),
            ("wallMs", self.wall_ms),
            ("resourceHandles", self.resource_handles),
            ("hostCalls", self.host_calls),
            ("logBytes", self.log_bytes),
            ("inputBytes", self.input_bytes),
            ("outputBytes", self.output_bytes),
            ("folderWriteBytes", self.folder_write_bytes),
            ("concurrency", self.concurrency.map(u64::from)),
        ]
        .into_iter()
        .filter_map(|(field, value)| value.map(|value| (field, value)))
    }

    /// One limit by its field name, if it is set.
    pub fn get(&self, field: &str) -> Option<u64> {
        self.set()
            .find(|(name, _)| *name == field)
            .map(|(_, value)| value)
    }

    /// Both sets of limits at once: of each limit the lower one.
    #[must_use]
    pub fn at_most(&self, other: &Self) -> Self {
        fn lower<N: Ord>(a: Option<N>, b: Option<N>) -> Option<N> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        }
        Self {
            memory_bytes: lower(self.memory_bytes, other.memory_bytes),
            table_elements: lower(self.table_elements, other.table_elements),
            cpu_ms: lower(self.cpu_ms, other.cpu_ms),
            wall_ms: lower(self.wall_ms, other.wall_ms),
            resource_handles: lower(self.resource_handles, other.resource_handles),
            host_calls: lower(self.host_calls, other.host_calls),
            log_bytes: lower(self.log_bytes, other.log_bytes),
            input_bytes: lower(self.input_bytes, other.input_bytes),
            output_bytes: lower(self.output_bytes, other.output_bytes),
            folder_write_bytes: lower(self.folder_write_bytes, other.folder_write_bytes),
            concurrency: lower(self.concurrency, other.concurrency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_told_and_lowered() {
        let all = |value: u32| {
            let fields = serde_json::to_value(schemars::schema_for!(LimitsSpec)).unwrap();
            let names = fields["properties"].as_object().unwrap().keys().cloned();
            let map = names.map(|name| (name, value.into())).collect();
            serde_json::from_value::<LimitsSpec>(serde_json::Value::Object(map)).unwrap()
        };
        let names = serde_json::to_value(all(1)).unwrap();
        let told: Vec<_> = all(1).set().map(|(name, _)| name).collect();
        assert_eq!(told.len(), names.as_object().unwrap().len());
        assert!(told.iter().all(|name| names[name] == 1));
        assert_eq!(all(3).at_most(&all(2)), all(2));
        assert_eq!(all(3).at_most(&LimitsSpec::default()), all(3));
    }
}
