//! What `/metrics` shows of the traffic between hosts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::LatencyBuckets;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Calls to and from other hosts.
pub(crate) struct PeerMetrics {
    calls: Family<OutcomeLabel, Counter>,
    durations: Family<OutcomeLabel, Histogram, LatencyBuckets>,
    served: Family<OutcomeLabel, Counter>,
    ejections: Counter,
    turned_away: Counter,
    tenants: Gauge,
}

impl Default for PeerMetrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            durations: Family::new_with_constructor(LatencyBuckets),
            served: Family::default(),
            ejections: Counter::default(),
            turned_away: Counter::default(),
            tenants: Gauge::default(),
        }
    }
}

impl PeerMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "peer_calls",
            "Calls offered to other hosts, by what came of it",
            self.calls.clone(),
        );
        registry.register_with_unit(
            "peer_call_duration",
            "Time from looking for a host to its answer or refusal",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register(
            "peer_served",
            "Calls of other hosts, by what came of it",
            self.served.clone(),
        );
        registry.register(
            "peer_ejections",
            "Times that a host failed and was left alone for a while",
            self.ejections.clone(),
        );
        registry.register(
            "peer_turned_away",
            "Connections that did not prove to be of a host of the cluster",
            self.turned_away.clone(),
        );
        registry.register(
            "peer_tenants",
            "Tenants whose instances on all hosts are followed",
            self.tenants.clone(),
        );
    }

    /// A call was offered to another host: it was `answered`, `refused`, the host was `unreachable`, or what
    /// came of it is `unknown`.
    pub(crate) fn call(&self, outcome: &'static str, duration: Duration) {
        let label = OutcomeLabel { outcome };
        self.calls.get_or_create(&label).inc();
        self.durations
            .get_or_create(&label)
            .observe(duration.as_secs_f64());
    }

    /// Another host's call was done here or `refused`; else `outcome` is `ok` or an error's code.
    pub(crate) fn served(&self, outcome: &'static str) {
        self.served.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// A host is left alone for a while.
    pub(crate) fn ejected(&self) {
        self.ejections.inc();
    }

    /// A connection was of no host.
    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// Tenants that are followed now.
    pub(crate) fn tenants(&self, followed: usize) {
        self.tenants
            .set(i64::try_from(followed).unwrap_or(i64::MAX));
    }
}
