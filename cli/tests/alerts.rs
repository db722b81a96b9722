//! Alerts ask for metrics that there are.
#![allow(clippy::unwrap_used)] // tests fail by panicking

use std::collections::BTreeSet;

/// The words of a text that begin with `ringfence_`, without what Prometheus adds to the name of a metric.
fn metrics(text: &str) -> BTreeSet<&str> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let names = text
        .split(word)
        .filter(|word| word.starts_with("ringfence_"));
    names
        .map(|name| {
            let mut suffixes = ["_total", "_bucket", "_sum", "_count"].into_iter();
            let bare = suffixes.find_map(|suffix| name.strip_suffix(suffix));
            bare.unwrap_or(name)
        })
        .collect()
}

#[test]
fn alerts_are_about_metrics_that_there_are() {
    // Series that are counted by a label are there once something was counted.
    let operator = ringfence_operator::metrics::Metrics::default();
    operator.written(ringfence_operator::metrics::Verb::Create, true);
    let operator = operator.render();
    let host = ringfence_host::telemetry::Metrics::new();
    host.request("mcp", 200, std::time::Duration::ZERO);
    let host = host.encode().unwrap();
    let there = [&operator, &host].map(|text| metrics(text));
    let there: BTreeSet<&str> = there.into_iter().flatten().collect();
    let alerts = include_str!("../../deploy/prometheus/alerts.yaml");
    let asked = metrics(alerts);
    assert!(asked.len() > 5, "{asked:?}");
    let missing: Vec<_> = asked.difference(&there).collect();
    assert!(missing.is_empty(), "{missing:?} of {there:?}");
}
