//! Runs as objects: real hosts, a real operator and a real control plane. What a tool was called for stands
//! in a folder, so that nothing that happened twice can hide.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

#[path = "runs/everyday.rs"]
mod everyday;
#[path = "runs/faults.rs"]
mod faults;
#[path = "runs/fixture.rs"]
mod fixture;
