//! Outcomes of calls by what they were aimed at.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use ringfence_api::{Name, TenantName};

/// Targets that get a series of their own; later ones share the series `other`, so that somebody who
/// creates and deletes agents all day cannot grow the host's memory.
pub const TARGET_SERIES: usize = 2_000;

/// Resource that a call is aimed at. Written as `KIND/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// `agent`, `model` or `tool`.
    pub kind: &'static str,
    /// Its name in the tenant.
    pub name: Name,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Made for every call: cloning the names allocates nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Labels {
    /// None for all that have no series of their own.
    target: Option<(TenantName, Target)>,
    code: &'static str,
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let (tenant, target) = match &self.target {
            Some((tenant, target)) => (tenant.as_str(), target.to_string()),
            None => ("other", "other".to_owned()),
        };
        ("tenant", tenant).encode(encoder.encode_label())?;
        ("target", target).encode(encoder.encode_label())?;
        ("code", self.code).encode(encoder.encode_label())
    }
}

/// Calls by target and outcome.
#[derive(Clone, Default)]
pub(super) struct Targets {
    calls: Family<Labels, Counter>,
    series: Arc<AtomicU64>,
}

impl Targets {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "target_calls",
            "Calls by target and outcome",
            self.calls.clone(),
        );
    }

    pub(super) fn finished(&self, tenant: &TenantName, target: &Target, code: &'static str) {
        let mut labels = Labels {
            target: Some((tenant.clone(), target.clone())),
            code,
        };
        if let Some(counter) = self.calls.get(&labels) {
            counter.inc();
            return;
        }
        let room = self
            .series
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < TARGET_SERIES as u64).then_some(count + 1)
            });
        if room.is_err() {
            labels.target = None;
        }
        self.calls.get_or_create(&labels).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn targets_past_the_bound_share_a_series() {
        let metrics = Metrics::new();
        let tenant: TenantName = "t".parse().unwrap();
        for n in 0..TARGET_SERIES + 10 {
            let name = format!("n{n}").parse().unwrap();
            let target = Target { kind: "tool", name };
            metrics.target_finished(&tenant, &target, "ok");
        }
        let text = metrics.encode().unwrap();
        let series = text
            .lines()
            .filter(|l| l.starts_with("ringfence_target_calls_total{"))
            .count();
        assert_eq!(series, TARGET_SERIES + 1);
        let own = r#"{tenant="t",target="tool/n7",code="ok"} 1"#;
        assert!(text.contains(own), "{text}");
        let shared = r#"{tenant="other",target="other",code="ok"} 10"#;
        assert!(text.contains(shared), "{text}");
    }
}
