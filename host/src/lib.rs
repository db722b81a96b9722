//! The Ringfence host: runs agents and tools that are WebAssembly components, every call in a fresh
//! sandbox that holds only what was granted by name.
// `deny` and not `forbid`, because one module has to map compiled code: `artifact::load`, which says why
// that is sound. No other may allow it.
#![deny(unsafe_code)]

pub mod artifact;
pub mod builtin;
pub mod egress;
pub mod engine;
pub mod error;
pub mod function;
pub mod limits;
pub mod mcp_client;
pub mod message;
pub mod model;
pub mod secret;
mod sse;
pub mod telemetry;
