//! How the host is watched: Prometheus metrics, spans with OpenTelemetry's names for generative AI,
//! and their export over OTLP.
//!
//! Nothing here decides anything, and nothing here sees content: names, counts, sizes and times only.

pub mod metrics;
pub mod names;
pub mod otlp;
mod peer;
pub mod spans;
pub mod targets;
mod trace;

pub use metrics::Metrics;
pub use otlp::{Otlp, OtlpError};
pub use spans::{
    CallSpan, chat, execute_tool, invoke_agent, outgoing_http, record_answer, record_error,
    record_usage,
};
pub use targets::Target;
pub use trace::{RemoteTrace, STATE_BYTES};
