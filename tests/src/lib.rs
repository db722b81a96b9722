//! Whole-system tests; see `tests/`. This library holds what they share: a real host in the test's own
//! process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod server;
mod setup;
mod test_host;

pub use server::Loopback;
pub use setup::{Setup, reads_and_writes, tool_grant};
pub use test_host::{TestHost, WORKER, json_of, text_of, within};
