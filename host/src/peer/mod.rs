//! Hosts among each other: a call that arrives at any host of a cluster is done where its target is ready.
//!
//! - [`tls`]: each host has a certificate with its name, and knows whose signatures count.
//! - `table`, `replicas`, `hosts`: who is ready where; `choose`, `health`: who of them takes a call.
//! - `router`: the way of a call; `outgoing`, `client`: the side that asks; `server`, `incoming`: the side that
//!   is asked; `protocol`: what they say.
//! - `describe`: lists of what runs elsewhere; `sessions`: where conversations are kept.

mod choose;
mod client;
mod describe;
mod health;
mod hosts;
mod incoming;
mod outgoing;
mod protocol;
mod replicas;
mod router;
mod server;
mod sessions;
mod table;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod tls;
mod verify;

pub use tls::{Credentials, PeerTls, PeerTlsError};

#[cfg(test)]
pub(crate) use protocol::frame::MESSAGE_BYTES;
pub(crate) use router::Router;
pub(crate) use server::PeerServer;
#[cfg(test)]
pub(crate) use table::ROUTED_CONCURRENCY;
