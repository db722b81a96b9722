//! Pulling and pushing components as OCI artifacts, in the CNCF TAG Runtime format that `wkg` and
//! other Wasm hosts use: a manifest with a Wasm config and one layer `application/wasm`.
//!
//! The image types and the reference parser are `oci-client`'s. Its transport is not used: it reads
//! answers of any size into memory, follows redirects and a layer's own URLs to any address, and takes
//! no resolver, so a tenant's image reference could make the host talk to whatever it can reach.

mod auth;
mod config;
mod error;
mod file;
mod format;
mod login;
mod transport;

pub use config::RegistrySettings;
pub use error::OciError;
pub use file::{PushFileError, push_file};
pub use oci_client::Reference;

pub(super) use format::{Pushed, document};
pub use login::{Keyring, LOGINS, Login, PullLogin, docker_config};
pub(super) use transport::{Manifest, Reader, Session};

/// Bytes of a manifest, and of the config beside it.
pub const MANIFEST_BYTES: u64 = 1 << 20;
/// Bytes of a token, an error or anything else that a registry answers.
pub const ANSWER_BYTES: u64 = 64 << 10;
/// Redirects of one download.
pub const REDIRECTS: usize = 5;
/// Time for a connection, and between two pieces of an answer.
pub const REGISTRY_IDLE: std::time::Duration = std::time::Duration::from_secs(30);
/// Time for one pull or push altogether.
pub const REGISTRY_WALL: std::time::Duration = std::time::Duration::from_secs(300);

pub(super) fn reference(image: &str) -> Result<Reference, OciError> {
    image.parse().map_err(|e| OciError::Reference {
        image: image.to_owned(),
        reason: format!("{e}"),
    })
}
