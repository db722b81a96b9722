//! The operator against a real control plane. Hosts are played here: they make their `Host`, renew their
//! Lease and report on their instances, as a host does, without running anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

#[path = "cluster/admission.rs"]
mod admission;
#[path = "cluster/certificates.rs"]
mod certificates;
#[path = "cluster/custom_metrics.rs"]
mod custom_metrics;
#[path = "cluster/faults.rs"]
mod faults;
#[path = "cluster/fixture.rs"]
mod fixture;
#[path = "cluster/hosts.rs"]
mod hosts;
#[path = "cluster/interrupt.rs"]
mod interrupt;
#[path = "cluster/kills.rs"]
mod kills;
#[path = "cluster/late.rs"]
mod late;
#[path = "cluster/leaders.rs"]
mod leaders;
#[path = "cluster/outages.rs"]
mod outages;
#[path = "cluster/pools.rs"]
mod pools;
#[path = "cluster/rollouts.rs"]
mod rollouts;
#[path = "cluster/scenario.rs"]
mod scenario;
#[path = "cluster/webhooks.rs"]
mod webhooks;
#[path = "cluster/workloads.rs"]
mod workloads;
