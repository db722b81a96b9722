//! Hosts among each other: each has a certificate with its name, and knows whose signatures count.

#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
mod verify;

pub use tls::{Credentials, PeerTls, PeerTlsError};
