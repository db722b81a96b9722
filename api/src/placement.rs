//! Where an agent or tool should run, and how often.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Name, Resources};

/// Most instances of one agent or tool.
pub const REPLICAS: u32 = 1_000;
/// The highest priority; the lowest is its negative.
pub const PRIORITY: i32 = 1_000_000;
/// Most bytes of memory that an instance may take of its host.
pub const REQUEST_MEMORY_BYTES: u64 = 1 << 40;
/// Most thousandths of a processor that an instance may take of its host.
pub const REQUEST_CPU_MILLIS: u64 = 1_000_000;

/// Where instances should run. `ringfence serve` is one host, which stands for every pool and has room
/// for what is applied to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlacementSpec {
    /// The `HostPool` whose hosts run it; `default` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Name>,
    /// Where room is short, instances of higher priority take the place of those of lower; 0 where
    /// absent, from -1,000,000 to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: Option<i32>,
    /// What an instance takes of its host, whether calls run or not. What calls take on top is bounded
    /// by `limits`.
    #[serde(default, skip_serializing_if = "RequestSpec::is_default")]
    pub requests: RequestSpec,
}

/// What an instance takes of its host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestSpec {
    /// Bytes of memory; 16 MiB where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_099_511_627_776_u64))]
    pub memory_bytes: Option<u64>,
    /// Thousandths of a processor; 10 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000))]
    pub cpu_millis: Option<u64>,
}

impl RequestSpec {
    /// True when nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What one instance takes.
    pub fn resources(&self) -> Resources {
        Resources {
            memory_bytes: self.memory_bytes.unwrap_or(16 << 20),
            cpu_millis: self.cpu_millis.unwrap_or(10),
            instances: 1,
        }
    }
}

impl PlacementSpec {
    /// True when nothing is asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
