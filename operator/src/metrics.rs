//! Metrics of the operator, in the text format of Prometheus.

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Verb {
    /// Makes an object.
    Create,
    /// Changes its spec.
    Patch,
    /// Changes its status.
    Status,
    /// Deletes it.
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    verb: Verb,
    ok: u8,
}

/// Counters and gauges; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    writes: Family<Write, Counter>,
    plans: Counter,
    failures: Counter,
    queued: Gauge,
    unplaced: Gauge,
    leading: Gauge,
    runs: RunMetrics,
    answered: Family<Answered, Counter>,
    turned_away: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    code: u16,
}

#[derive(Debug, Clone, Default)]
struct RunMetrics {
    waiting: Gauge,
    in_progress: Gauge,
    bound: Counter,
    ended: Family<Ended, Counter>,
    removed: Counter,
}

impl RunMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("runs_waiting", "Runs without a host", self.waiting.clone());
        registry.register(
            "runs_in_progress",
            "Runs that are bound and not over",
            self.in_progress.clone(),
        );
        registry.register("runs_bound", "Runs bound to a host", self.bound.clone());
        registry.register("runs_ended", "Runs that no host ended", self.ended.clone());
        registry.register(
            "runs_removed",
            "Runs removed when their time was over",
            self.removed.clone(),
        );
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("ringfence_operator");
        let writes = Family::<Write, Counter>::default();
        let (plans, failures) = (Counter::default(), Counter::default());
        let (queued, unplaced, leading) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("writes", "Writes to the API server", writes.clone());
        registry.register("plans", "Plans made for agents and tools", plans.clone());
        registry.register(
            "failures",
            "Plans that could not be followed",
            failures.clone(),
        );
        registry.register(
            "queued",
            "Agents and tools that wait to be looked at",
            queued.clone(),
        );
        registry.register("unplaced", "Instances without a host", unplaced.clone());
        registry.register("leading", "1 in the operator that writes", leading.clone());
        let runs = RunMetrics::default();
        runs.register(&mut registry);
        let (answered, turned_away) = (Family::<Answered, Counter>::default(), Counter::default());
        registry.register(
            "custom_metrics_requests",
            "Requests for custom metrics, by the status of the answer",
            answered.clone(),
        );
        registry.register(
            "custom_metrics_turned_away",
            "Connections for custom metrics that were not the API server's",
            turned_away.clone(),
        );
        Self {
            registry: Arc::new(registry),
            writes,
            plans,
            failures,
            queued,
            unplaced,
            leading,
            runs,
            answered,
            turned_away,
        }
    }
}

impl Metrics {
    /// A write was answered.
    pub fn written(&self, verb: Verb, ok: bool) {
        let write = Write {
            verb,
            ok: u8::from(ok),
        };
        self.writes.get_or_create(&write).inc();
    }

    /// A plan was made.
    pub fn planned(&self) {
        self.plans.inc();
    }

    /// A plan could not be followed.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// How many agents and tools wait.
    pub fn queued(&self, count: usize) {
        self.queued.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How many instances have no host.
    pub fn unplaced(&self, count: usize) {
        self.unplaced.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Whether this operator leads.
    pub fn leading(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// How many runs have no host, and how many are bound and not over.
    pub fn runs(&self, waiting: usize, bound: usize) {
        let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.runs.waiting.set(gauge(waiting));
        self.runs.in_progress.set(gauge(bound));
    }

    /// A run was bound.
    pub fn run_bound(&self) {
        self.runs.bound.inc();
    }

    /// The operator ended a run, with this code of an error.
    pub fn run_ended(&self, code: &'static str) {
        self.runs.ended.get_or_create(&Ended { code }).inc();
    }

    /// A run was removed.
    pub fn run_removed(&self) {
        self.runs.removed.inc();
    }

    /// A request for custom metrics was answered.
    pub(crate) fn custom_metrics_answered(&self, code: u16) {
        self.answered.get_or_create(&Answered { code }).inc();
    }

    /// A connection for custom metrics did not prove to be the API server's.
    pub(crate) fn custom_metrics_turned_away(&self) {
        self.turned_away.inc();
    }

    /// Everything, as a scrape reads it.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
