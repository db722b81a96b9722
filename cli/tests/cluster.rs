//! The command on a cluster: the real binary against a real control plane with the operator at work and
//! real hosts, and beside it the same against `ringfence serve`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

#[path = "cluster/callers.rs"]
mod callers;
#[path = "cluster/fixture.rs"]
mod fixture;
#[path = "cluster/models.rs"]
mod models;
#[path = "cluster/plugin.rs"]
mod plugin;
#[path = "cluster/registry.rs"]
mod registry;
#[path = "cluster/resources.rs"]
mod resources;
#[path = "cluster/rollout.rs"]
mod rollout;
#[path = "cluster/same.rs"]
mod same;
#[path = "shared/started.rs"]
mod started;
#[path = "cluster/targets.rs"]
mod targets;
