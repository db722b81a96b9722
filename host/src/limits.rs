//! Every limit on what a guest, or a caller, can make the host spend. `docs/limits.md` is the same
//! table for people. Each limit has a name (its unit is the name's end), a default, a maximum that a
//! resource may ask for, and a hostile guest in `tests/guests` that crosses it.

use std::time::Duration;

use ringfence_api::LimitsSpec;

/// Name of a limit, as it appears in errors, metrics and documents.
pub mod name {
    /// Bytes of all linear memories of a sandbox.
    pub const MEMORY_BYTES: &str = "memory-bytes";
    /// Elements of all tables of a sandbox.
    pub const TABLE_ELEMENTS: &str = "table-elements";
    /// Core instances, memories and tables of a sandbox.
    pub const INSTANCES: &str = "instances";
    /// Resource handles that a guest holds at once.
    pub const RESOURCE_HANDLES: &str = "resource-handles";
    /// Processor time.
    pub const CPU_MS: &str = "cpu-ms";
    /// Time from start to end.
    pub const WALL_MS: &str = "wall-ms";
    /// Calls to capabilities.
    pub const HOST_CALLS: &str = "host-calls";
    /// Bytes copied from the guest to the host in one host call.
    pub const HOST_CALL_BYTES: &str = "host-call-bytes";
    /// Bytes written to stdout and stderr.
    pub const LOG_BYTES: &str = "log-bytes";
    /// Bytes of arguments, messages or request body.
    pub const INPUT_BYTES: &str = "input-bytes";
    /// Bytes of result, content or response body.
    pub const OUTPUT_BYTES: &str = "output-bytes";
    /// Nested calls.
    pub const CALL_DEPTH: &str = "call-depth";
    /// Calls of one resource at the same time.
    pub const CONCURRENCY: &str = "concurrency";
    /// Calls of one tenant at the same time.
    pub const TENANT_CONCURRENCY: &str = "tenant-concurrency";
    /// Calls of one tenant that one host has sent to others.
    pub const ROUTED_CONCURRENCY: &str = "routed-concurrency";
    /// Bytes of one message between hosts, as JSON.
    pub const PEER_MESSAGE_BYTES: &str = "peer-message-bytes";
    /// Requests of one `call-all`.
    pub const FAN_OUT: &str = "fan-out";
    /// Open model streams and outgoing bodies of one sandbox.
    pub const OPEN_STREAMS: &str = "open-streams";
    /// Bytes of all HTTP headers of one message.
    pub const HTTP_HEADER_BYTES: &str = "http-header-bytes";
    /// Bytes written into granted folders by one call; a new entry counts for 4,096.
    pub const FOLDER_WRITE_BYTES: &str = "folder-write-bytes";
    /// Events that wait for a slow reader of a stream.
    pub const OUTPUT_EVENTS: &str = "output-events";
    /// Bytes of random data in one request.
    pub const RANDOM_BYTES: &str = "random-bytes";
}

/// Linear memory that one memory may ever have, and the pool's slot size.
pub const MAX_MEMORY_BYTES: u64 = 256 << 20;
/// Core instances of one component, and its tables, as the pool is laid out.
pub const MAX_INSTANCES: u32 = 64;
/// Linear memories of one component. Each takes a slot of the pool, which holds two per sandbox.
pub const MAX_MEMORIES: u32 = 16;
/// Elements that one table may ever have, and the size of its slot in the pool.
pub const MAX_TABLE_ELEMENTS: u64 = 1_000_000;
/// Bytes that a guest may pass to the host in one call (`Store::set_hostcall_fuel`).
pub const HOST_CALL_BYTES: usize = 8 << 20;
/// Bytes of random data per request.
pub const RANDOM_BYTES: u64 = 64 << 10;
/// Bytes of all HTTP headers of one request or response.
pub const HTTP_HEADER_BYTES: usize = 64 << 10;
/// Bytes of one chunk of an outgoing HTTP body.
pub const HTTP_CHUNK_BYTES: usize = 64 << 10;
/// Nested calls: agent to agent to tool and so on.
pub const CALL_DEPTH: u32 = 16;
/// Requests of one `call-all`.
pub const FAN_OUT: usize = 32;
/// Open model streams and outgoing bodies of one sandbox.
pub const OPEN_STREAMS: usize = 64;
/// Events that may wait for a slow reader; further ones are dropped with a count.
pub const OUTPUT_EVENTS: usize = 256;
/// Time between two epochs: the resolution of [`Limits::cpu`].
pub const EPOCH: Duration = Duration::from_millis(5);

/// Limits of one sandbox, after defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `memory-bytes`.
    pub memory_bytes: u64,
    /// `table-elements`.
    pub table_elements: u64,
    /// `resource-handles`.
    pub resource_handles: u64,
    /// `cpu-ms`.
    pub cpu: Duration,
    /// `wall-ms`.
    pub wall: Duration,
    /// `host-calls`.
    pub host_calls: u64,
    /// `log-bytes`.
    pub log_bytes: u64,
    /// `input-bytes`.
    pub input_bytes: u64,
    /// `output-bytes`.
    pub output_bytes: u64,
    /// `folder-write-bytes`.
    pub folder_write_bytes: u64,
    /// `concurrency`.
    pub concurrency: u32,
}

impl Limits {
    /// What a tool gets when its resource says nothing.
    pub const TOOL: Limits = Limits {
        memory_bytes: 128 << 20,
        table_elements: 100_000,
        resource_handles: 1024,
        cpu: Duration::from_secs(10),
        wall: Duration::from_secs(60),
        host_calls: 10_000,
        log_bytes: 256 << 10,
        input_bytes: 4 << 20,
        output_bytes: 4 << 20,
        folder_write_bytes: 64 << 20,
        concurrency: 64,
    };

    /// What an agent gets when its resource says nothing: it waits for models and tools, so it may
    /// take longer.
    pub const AGENT: Limits = Limits {
        cpu: Duration::from_secs(30),
        wall: Duration::from_secs(600),
        // Reading a model's stream takes one for every piece.
        host_calls: 100_000,
        ..Limits::TOOL
    };

    /// The most that a resource may ask for.
    pub const MAX: Limits = Limits {
        memory_bytes: MAX_MEMORY_BYTES,
        table_elements: MAX_TABLE_ELEMENTS,
        resource_handles: 4096,
        cpu: Duration::from_secs(600),
        wall: Duration::from_secs(3600),
        host_calls: 1_000_000,
        log_bytes: 16 << 20,
        input_bytes: 8 << 20,
        output_bytes: 32 << 20,
        folder_write_bytes: 4 << 30,
        concurrency: 1000,
    };

    /// `defaults`, overridden by what the resource sets.
    ///
    /// # Errors
    /// A value above [`Limits::MAX`], or zero: nothing could run.
    pub fn resolve(spec: &LimitsSpec, defaults: &Limits) -> Result<Limits, LimitError> {
        let pick = |field: &'static str, asked: Option<u64>, default: u64, most: u64| match asked {
            None => Ok(default),
            Some(0) => Err(LimitError {
                field,
                asked: 0,
                most,
            }),
            Some(asked) if asked > most => Err(LimitError { field, asked, most }),
            Some(asked) => Ok(asked),
        };
        let ms = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let (d, m) = (defaults, &Limits::MAX);
        let concurrency = pick(
            "concurrency",
            spec.concurrency.map(u64::from),
            d.concurrency.into(),
            m.concurrency.into(),
        )?;
        Ok(Limits {
            memory_bytes: pick(
                "memoryBytes",
                spec.memory_bytes,
                d.memory_bytes,
                m.memory_bytes,
            )?,
            table_elements: pick(
                "tableElements",
                spec.table_elements,
                d.table_elements,
                m.table_elements,
            )?,
            resource_handles: pick(
                "resourceHandles",
                spec.resource_handles,
                d.resource_handles,
                m.resource_handles,
            )?,
            cpu: Duration::from_millis(pick("cpuMs", spec.cpu_ms, ms(d.cpu), ms(m.cpu))?),
            wall: Duration::from_millis(pick("wallMs", spec.wall_ms, ms(d.wall), ms(m.wall))?),
            host_calls: pick("hostCalls", spec.host_calls, d.host_calls, m.host_calls)?,
            log_bytes: pick("logBytes", spec.log_bytes, d.log_bytes, m.log_bytes)?,
            input_bytes: pick("inputBytes", spec.input_bytes, d.input_bytes, m.input_bytes)?,
            output_bytes: pick(
                "outputBytes",
                spec.output_bytes,
                d.output_bytes,
                m.output_bytes,
            )?,
            folder_write_bytes: pick(
                "folderWriteBytes",
                spec.folder_write_bytes,
                d.folder_write_bytes,
                m.folder_write_bytes,
            )?,
            concurrency: u32::try_from(concurrency).unwrap_or(u32::MAX),
        })
    }

    /// These limits, none of them above `bound`; what `bound` does not name stays.
    #[must_use]
    pub fn at_most(self, bound: &LimitsSpec) -> Limits {
        let least = |limit: u64, bound: Option<u64>| bound.map_or(limit, |most| limit.min(most));
        let time = |limit: Duration, bound: Option<u64>| {
            bound.map_or(limit, |most| limit.min(Duration::from_millis(most)))
        };
        Limits {
            memory_bytes: least(self.memory_bytes, bound.memory_bytes),
            table_elements: least(self.table_elements, bound.table_elements),
            resource_handles: least(self.resource_handles, bound.resource_handles),
            cpu: time(self.cpu, bound.cpu_ms),
            wall: time(self.wall, bound.wall_ms),
            host_calls: least(self.host_calls, bound.host_calls),
            log_bytes: least(self.log_bytes, bound.log_bytes),
            input_bytes: least(self.input_bytes, bound.input_bytes),
            output_bytes: least(self.output_bytes, bound.output_bytes),
            folder_write_bytes: least(self.folder_write_bytes, bound.folder_write_bytes),
            concurrency: bound
                .concurrency
                .map_or(self.concurrency, |most| self.concurrency.min(most)),
        }
    }
}

/// A limit that a resource may not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limits.{field}: {asked} is not between 1 and {most}")]
pub struct LimitError {
    /// Field of [`LimitsSpec`].
    pub field: &'static str,
    /// The value.
    pub asked: u64,
    /// The most that is allowed.
    pub most: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_fields_take_the_default() {
        assert_eq!(
            Limits::resolve(&LimitsSpec::default(), &Limits::TOOL),
            Ok(Limits::TOOL)
        );
    }

    #[test]
    fn the_page_for_people_has_the_values() {
        let page = include_str!("../../docs/limits.md");
        let (tool, agent, most) = (Limits::TOOL, Limits::AGENT, Limits::MAX);
        let row = |name: &str, field: &str, value: fn(&Limits) -> u128| {
            format!(
                "| `{name}` | `{field}` | {} | {} | {} |",
                value(&tool),
                value(&agent),
                value(&most)
            )
        };
        let fixed = |name: &str, value: usize| format!("| `{name}` | {value} |");
        for row in [
            row(name::MEMORY_BYTES, "memoryBytes", |l| l.memory_bytes.into()),
            row(name::TABLE_ELEMENTS, "tableElements", |l| {
                l.table_elements.into()
            }),
            row(name::RESOURCE_HANDLES, "resourceHandles", |l| {
                l.resource_handles.into()
            }),
            row(name::CPU_MS, "cpuMs", |l| l.cpu.as_millis()),
            row(name::WALL_MS, "wallMs", |l| l.wall.as_millis()),
            row(name::HOST_CALLS, "hostCalls", |l| l.host_calls.into()),
            row(name::LOG_BYTES, "logBytes", |l| l.log_bytes.into()),
            row(name::INPUT_BYTES, "inputBytes", |l| l.input_bytes.into()),
            row(name::OUTPUT_BYTES, "outputBytes", |l| l.output_bytes.into()),
            row(name::FOLDER_WRITE_BYTES, "folderWriteBytes", |l| {
                l.folder_write_bytes.into()
            }),
            row(name::CONCURRENCY, "concurrency", |l| l.concurrency.into()),
            fixed(name::INSTANCES, MAX_INSTANCES as usize),
            fixed(name::HOST_CALL_BYTES, HOST_CALL_BYTES),
            fixed(name::RANDOM_BYTES, 64 << 10),
            fixed(name::HTTP_HEADER_BYTES, HTTP_HEADER_BYTES),
            fixed(name::CALL_DEPTH, CALL_DEPTH as usize),
            fixed(name::FAN_OUT, FAN_OUT),
            fixed(name::OPEN_STREAMS, OPEN_STREAMS),
            fixed(name::OUTPUT_EVENTS, OUTPUT_EVENTS),
            fixed(name::ROUTED_CONCURRENCY, crate::peer::ROUTED_CONCURRENCY),
            fixed(name::PEER_MESSAGE_BYTES, crate::peer::MESSAGE_BYTES),
            fixed(
                name::TENANT_CONCURRENCY,
                crate::directory::TENANT_CONCURRENCY,
            ),
        ] {
            assert!(page.contains(&row), "docs/limits.md lacks {row}");
        }
    }

    #[test]
    fn a_limit_above_the_maximum_or_zero_is_refused() {
        for bad in [0, MAX_MEMORY_BYTES + 1] {
            let spec = LimitsSpec {
                memory_bytes: Some(bad),
                ..LimitsSpec::default()
            };
            let error = Limits::resolve(&spec, &Limits::TOOL).unwrap_err();
            assert_eq!((error.field, error.asked), ("memoryBytes", bad));
        }
    }
}
