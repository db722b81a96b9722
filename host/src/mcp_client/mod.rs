//! MCP servers outside as tools: Streamable HTTP through [`crate::egress`], both protocol eras.
//!
//! A server is looked at when somebody first needs it, and from then on in the interval of its
//! resource, or at once when it announces a change. What a look finds replaces what was known; a look
//! that fails changes nothing but the status. Sessions that are lost are opened again, with a growing
//! pause while that fails.

mod result;
mod server;
mod session;
mod transport;

use std::time::Duration;

pub use result::RemoteFunction;
pub use server::{McpError, McpServer, McpStatus};

/// Interval of looks where the resource does not say.
pub const DEFAULT_POLL: Duration = Duration::from_secs(60);
/// The shortest interval that a resource may ask for.
pub const MIN_POLL: Duration = Duration::from_secs(1);
/// Time of one request where the resource does not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// Time of one request that a resource may ask for.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// Functions of one server; further ones are left out and counted in the status.
pub const MCP_FUNCTIONS: usize = 512;
/// Pages of one list.
pub const MCP_PAGES: usize = 64;
/// Bytes of a function's schemas and description together.
pub const MCP_FUNCTION_BYTES: usize = 64 << 10;
/// Bytes of one message from a server.
pub const MCP_MESSAGE_BYTES: usize = 8 << 20;

#[cfg(test)]
mod tests;
