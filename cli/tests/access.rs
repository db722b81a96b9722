//! Who may do what with a host of a cluster: real service accounts with tokens of the API server, the chart's
//! own roles, the real binary under its own account.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what it expects by failing"
)]

#[path = "access/callers.rs"]
mod callers;
#[path = "access/commands.rs"]
mod commands;
#[path = "access/endpoint.rs"]
mod endpoint;
#[path = "access/fixture.rs"]
mod fixture;
#[path = "access/flow.rs"]
mod flow;
#[path = "access/images.rs"]
mod images;
#[path = "access/roles.rs"]
mod roles;
#[path = "access/secrets.rs"]
mod secrets;
#[path = "shared/started.rs"]
mod started;
