//! What `/metrics` shows, in the OpenMetrics text format.
//!
//! Labels take their values from the code (capabilities, kinds, codes), never from requests; the one
//! exception, the name of a target, is bounded by
//! [`TARGET_SERIES`](super::targets::TARGET_SERIES). Updating a series costs a shared
//! lock and an atomic addition.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use ringfence_api::TenantName;

use super::peer::PeerMetrics;
use super::targets::{Target, Targets};

/// Media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    capability: &'static str,
    kind: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    capability: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CapabilityLabel {
    capability: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SurfaceLabels {
    surface: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SurfaceLabel {
    surface: &'static str,
}

/// From a quarter of a millisecond, a sandboxed function, to minutes, an agent.
#[derive(Debug, Clone)]
pub(super) struct LatencyBuckets;

impl MetricConstructor<Histogram> for LatencyBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new([
            0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
            0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
        ])
    }
}

/// What came of a look into the cache of compiled components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheResult {
    /// It was linked, ready to start.
    Linked,
    /// It was in memory.
    Memory,
    /// Its machine code was on disk.
    Disk,
    /// It had to be compiled.
    Compiled,
    /// Compiling it failed.
    Failed,
}

impl CacheResult {
    fn as_str(self) -> &'static str {
        match self {
            CacheResult::Linked => "linked",
            CacheResult::Memory => "memory",
            CacheResult::Disk => "disk",
            CacheResult::Compiled => "compiled",
            CacheResult::Failed => "failed",
        }
    }
}

/// What came of a question to the API server about a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewResult {
    /// The answer was known: nothing was asked.
    Kept,
    /// Yes.
    Yes,
    /// No.
    No,
    /// There was no answer.
    Failed,
    /// Too many questions were open: it was not asked.
    Shed,
}

impl ReviewResult {
    fn as_str(self) -> &'static str {
        match self {
            ReviewResult::Kept => "kept",
            ReviewResult::Yes => "yes",
            ReviewResult::No => "no",
            ReviewResult::Failed => "failed",
            ReviewResult::Shed => "shed",
        }
    }
}

/// What the pool of sandboxes holds; read when `/metrics` is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// Sandboxes that run now.
    pub used: u64,
    /// Sandboxes that fit.
    pub size: u64,
}

/// Every metric of one host.
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    durations: Family<KindLabels, Histogram, LatencyBuckets>,
    in_flight: Gauge,
    targets: Targets,
    denials: Family<CapabilityLabel, Counter>,
    tokens: Family<DirectionLabel, Counter>,
    sandbox_cpu: Histogram,
    sandbox_memory: Histogram,
    pool_used: Gauge,
    pool_size: Gauge,
    pool_exhausted: Counter,
    artifact_cache: Family<ResultLabel, Counter>,
    compile: Histogram,
    egress: Family<ResultLabel, Counter>,
    egress_bytes: Family<DirectionLabel, Counter>,
    /// The two series of `egress_bytes`: bodies come in many pieces, and looking them up takes a lock.
    egress_sent: Counter,
    egress_received: Counter,
    requests: Family<SurfaceLabels, Counter>,
    request_durations: Family<SurfaceLabel, Histogram, LatencyBuckets>,
    connections: Gauge,
    connections_shed: Counter,
    authentication_failures: Counter,
    reviews: Family<ReviewLabels, Counter>,
    mcp_sessions: Gauge,
    peer_certificate: Gauge,
    runs: Family<ResultLabel, Counter>,
    runs_in_progress: Gauge,
    blob_bytes: Gauge,
    pub(crate) peer: PeerMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let latency = || Family::new_with_constructor(LatencyBuckets);
        let egress_bytes = Family::<DirectionLabel, Counter>::default();
        let egress = |direction| egress_bytes.get_or_create_owned(&DirectionLabel { direction });
        let (egress_sent, egress_received) = (egress("sent"), egress("received"));
        let mut metrics = Self {
            registry: Registry::with_prefix("ringfence"),
            calls: Family::default(),
            durations: latency(),
            in_flight: Gauge::default(),
            targets: Targets::default(),
            denials: Family::default(),
            tokens: Family::default(),
            sandbox_cpu: LatencyBuckets.new_metric(),
            sandbox_memory: Histogram::new((0..10).map(|n| f64::from(1_u32 << (16 + n)))),
            pool_used: Gauge::default(),
            pool_size: Gauge::default(),
            pool_exhausted: Counter::default(),
            artifact_cache: Family::default(),
            compile: LatencyBuckets.new_metric(),
            egress: Family::default(),
            egress_bytes,
            egress_sent,
            egress_received,
            requests: Family::default(),
            request_durations: Family::new_with_constructor(LatencyBuckets),
            connections: Gauge::default(),
            connections_shed: Counter::default(),
            authentication_failures: Counter::default(),
            reviews: Family::default(),
            mcp_sessions: Gauge::default(),
            peer_certificate: Gauge::default(),
            runs: Family::default(),
            runs_in_progress: Gauge::default(),
            blob_bytes: Gauge::default(),
            peer: PeerMetrics::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register(
            "calls",
            "Calls by capability, kind of target and outcome",
            self.calls.clone(),
        );
        r.register_with_unit(
            "call_duration",
            "Time from start to end of calls",
            Unit::Seconds,
            self.durations.clone(),
        );
        r.register(
            "calls_in_flight",
            "Calls that run now",
            self.in_flight.clone(),
        );
        self.targets.register(r);
        r.register(
            "denials",
            "Calls that were not granted",
            self.denials.clone(),
        );
        r.register(
            "model_tokens",
            "Tokens that models read and wrote",
            self.tokens.clone(),
        );
        r.register_with_unit(
            "sandbox_cpu",
            "Processor time of sandboxes",
            Unit::Seconds,
            self.sandbox_cpu.clone(),
        );
        r.register_with_unit(
            "sandbox_memory",
            "Most linear memory that a sandbox had",
            Unit::Bytes,
            self.sandbox_memory.clone(),
        );
        r.register(
            "pool_used",
            "Sandboxes that run now",
            self.pool_used.clone(),
        );
        r.register("pool_size", "Sandboxes that fit", self.pool_size.clone());
        r.register(
            "pool_exhausted",
            "Calls that were shed because no sandbox was free",
            self.pool_exhausted.clone(),
        );
        r.register(
            "artifact_cache",
            "Looks into the cache of compiled components",
            self.artifact_cache.clone(),
        );
        r.register_with_unit(
            "compile_duration",
            "Time to compile a component",
            Unit::Seconds,
            self.compile.clone(),
        );
        r.register(
            "egress_requests",
            "Requests to the outside by outcome",
            self.egress.clone(),
        );
        r.register(
            "egress_bytes",
            "Bytes of bodies to and from the outside",
            self.egress_bytes.clone(),
        );
        r.register(
            "gateway_requests",
            "HTTP requests by surface and status",
            self.requests.clone(),
        );
        r.register_with_unit(
            "gateway_request_duration",
            "Time until the head of a response",
            Unit::Seconds,
            self.request_durations.clone(),
        );
        r.register(
            "gateway_connections",
            "Open connections",
            self.connections.clone(),
        );
        r.register(
            "gateway_connections_shed",
            "Connections that were closed because too many were open",
            self.connections_shed.clone(),
        );
        r.register(
            "gateway_authentication_failures",
            "Requests whose credential was missing or wrong",
            self.authentication_failures.clone(),
        );
        r.register(
            "gateway_reviews",
            "Questions about callers: whose a token is, what somebody may do",
            self.reviews.clone(),
        );
        r.register(
            "mcp_sessions",
            "MCP sessions that are open",
            self.mcp_sessions.clone(),
        );
        r.register_with_unit(
            "peer_certificate_expiry_timestamp",
            "When the certificate runs out by which other hosts know this one; 0 without one",
            Unit::Seconds,
            self.peer_certificate.clone(),
        );
        r.register(
            "runs",
            "Run objects that this host executed, by outcome",
            self.runs.clone(),
        );
        r.register(
            "runs_in_progress",
            "Run objects that this host executes now",
            self.runs_in_progress.clone(),
        );
        r.register_with_unit(
            "blobs",
            "Outputs that are kept for Run objects",
            Unit::Bytes,
            self.blob_bytes.clone(),
        );
        self.peer.register(r);
    }

    /// A call began. Every call of this is matched by one of [`Metrics::call_finished`].
    pub fn call_started(&self) {
        self.in_flight.inc();
    }

    /// A call ended. `target_kind` says what was called (`component`, `mcp`, `agent`, `model`, …);
    /// `code` is `ok` or [`crate::error::CallError::code`].
    pub fn call_finished(
        &self,
        capability: &'static str,
        target_kind: &'static str,
        code: &'static str,
        duration: Duration,
    ) {
        self.in_flight.dec();
        self.calls
            .get_or_create(&CallLabels {
                capability,
                kind: target_kind,
                code,
            })
            .inc();
        self.durations
            .get_or_create(&KindLabels {
                capability,
                kind: target_kind,
            })
            .observe(duration.as_secs_f64());
        if code == "denied" {
            self.denials
                .get_or_create(&CapabilityLabel { capability })
                .inc();
        }
    }

    /// Counts the outcome for one target. Past [`TARGET_SERIES`](super::targets::TARGET_SERIES) series it
    /// counts for `other`.
    pub fn target_finished(&self, tenant: &TenantName, target: &Target, code: &'static str) {
        self.targets.finished(tenant, target, code);
    }

    /// A model used tokens.
    pub fn tokens(&self, input: u64, output: u64) {
        self.tokens
            .get_or_create(&DirectionLabel { direction: "input" })
            .inc_by(input);
        self.tokens
            .get_or_create(&DirectionLabel {
                direction: "output",
            })
            .inc_by(output);
    }

    /// A sandbox is gone: the processor time it took and the most linear memory it had, in bytes.
    pub fn sandbox_finished(&self, cpu: Duration, memory: u64) {
        self.sandbox_cpu.observe(cpu.as_secs_f64());
        // Precise up to 2^53 bytes, more than any sandbox has.
        #[expect(clippy::cast_precision_loss, reason = "a histogram's sum is a float")]
        self.sandbox_memory.observe(memory as f64);
    }

    /// The host proves itself to other hosts by a certificate that runs out then.
    pub fn peer_certificate(&self, until: SystemTime) {
        let seconds = until.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.peer_certificate
            .set(i64::try_from(seconds.as_secs()).unwrap_or(i64::MAX));
    }

    /// What the pool holds now.
    pub fn pool(&self, pool: PoolUse) {
        self.pool_used
            .set(i64::try_from(pool.used).unwrap_or(i64::MAX));
        self.pool_size
            .set(i64::try_from(pool.size).unwrap_or(i64::MAX));
    }

    /// A call was shed because no sandbox was free.
    pub fn pool_exhausted(&self) {
        self.pool_exhausted.inc();
    }

    /// A component was looked for in the cache.
    pub fn artifact_cache(&self, result: CacheResult) {
        self.artifact_cache
            .get_or_create(&ResultLabel {
                result: result.as_str(),
            })
            .inc();
    }

    /// A component was compiled.
    pub fn compiled(&self, duration: Duration) {
        self.compile.observe(duration.as_secs_f64());
    }

    /// A request to the outside ended; `result` is `ok` or an error's code.
    pub fn egress(&self, result: &'static str) {
        self.egress.get_or_create(&ResultLabel { result }).inc();
    }

    /// Bytes of a request's body were handed to a connection.
    pub fn egress_sent(&self, bytes: u64) {
        self.egress_sent.inc_by(bytes);
    }

    /// Bytes of a response's body came in.
    pub fn egress_received(&self, bytes: u64) {
        self.egress_received.inc_by(bytes);
    }

    /// The gateway answered a request; `surface` is one of its routes (`mcp`, `openai`, `http`, …).
    pub fn request(&self, surface: &'static str, status: u16, duration: Duration) {
        self.requests
            .get_or_create(&SurfaceLabels { surface, status })
            .inc();
        self.request_durations
            .get_or_create(&SurfaceLabel { surface })
            .observe(duration.as_secs_f64());
    }

    /// A connection was opened.
    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// A connection was closed.
    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    /// A connection was closed at once, because too many are open.
    pub fn connection_shed(&self) {
        self.connections_shed.inc();
    }

    /// Something was to be known about a caller; `kind` is `token` or `access`.
    pub fn review(&self, kind: &'static str, result: ReviewResult) {
        let result = result.as_str();
        self.reviews
            .get_or_create(&ReviewLabels { kind, result })
            .inc();
    }

    /// A request's credential was missing or wrong.
    pub fn authentication_failed(&self) {
        self.authentication_failures.inc();
    }

    /// MCP sessions that are open now.
    pub fn mcp_sessions(&self, open: usize) {
        self.mcp_sessions
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// A `Run` began. Every call of this is matched by one of [`Metrics::run_ended`].
    pub fn run_began(&self) {
        self.runs_in_progress.inc();
    }

    /// A `Run` ended; `result` is `ok` or the code of its error.
    pub fn run_ended(&self, result: &'static str) {
        self.runs_in_progress.dec();
        self.runs.get_or_create(&ResultLabel { result }).inc();
    }

    /// Bytes of all blobs now.
    pub fn blobs(&self, bytes: u64) {
        self.blob_bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Everything, as OpenMetrics text ([`CONTENT_TYPE`]).
    ///
    /// # Errors
    /// Only what [`fmt::Write`] for a string gives: none in practice.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_call_is_counted_as_call_and_as_denial() {
        let metrics = Metrics::new();
        metrics.call_started();
        metrics.call_finished("tools", "component", "denied", Duration::from_millis(2));
        let text = metrics.encode().unwrap();
        for line in [
            r#"ringfence_calls_total{capability="tools",kind="component",code="denied"} 1"#,
            r#"ringfence_denials_total{capability="tools"} 1"#,
            r#"ringfence_call_duration_seconds_count{capability="tools",kind="component"} 1"#,
            "ringfence_calls_in_flight 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
