//! The Ringfence host: runs agents and tools that are WebAssembly components, every call in a fresh
//! sandbox that holds only what was granted by name.
// `deny` and not `forbid`, because one module has to map compiled code: `artifact::load`, which says why
// that is sound. No other may allow it.
#![deny(unsafe_code)]

pub mod artifact;
pub mod authorities;
pub mod blob;
pub mod body;
pub mod builtin;
mod cache;
mod capability;
pub mod config;
mod core;
pub mod data;
pub mod directory;
mod dispatch;
pub mod egress;
pub mod engine;
pub mod error;
pub mod function;
pub mod gateway;
mod host;
pub mod limits;
pub mod local;
pub mod mcp_client;
pub mod mediation;
pub mod message;
pub mod model;
pub mod node;
pub mod output;
pub mod peer;
pub mod record;
mod sandbox;
pub mod secret;
pub mod session;
mod sse;
pub mod telemetry;

pub use host::{Host, Parts, RUN_TIMEOUT, StartError};
