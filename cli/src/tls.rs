//! The one TLS provider of this process.

/// Makes *ring* the provider that rustls uses. More than once does no harm.
pub(crate) fn install() {
    // It fails only when a provider is installed already, which is what is wanted.
    drop(rustls::crypto::ring::default_provider().install_default());
}
