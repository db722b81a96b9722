//! The chart on a real node: installed with Helm, operator and hosts as Pods from an image made here, called through
//! the Service, upgraded under load, scaled by it, and removed. `make test-cluster` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

#[path = "installed/fixture.rs"]
mod fixture;
#[path = "installed/lifecycle.rs"]
mod lifecycle;
#[path = "installed/load.rs"]
mod load;
#[path = "installed/readme.rs"]
mod readme;
#[path = "installed/registry.rs"]
mod registry;
#[path = "installed/scaling.rs"]
mod scaling;
