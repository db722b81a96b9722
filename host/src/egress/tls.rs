//! TLS of outgoing connections: rustls with ring, the operating system's certificate authorities and,
//! where the operator gives one, a file of further ones. In an image without an operating system the
//! authorities are a file too: `/etc/ssl/certs/ca-certificates.crt`, or what `SSL_CERT_FILE` names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why outgoing TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The operator's file.
    #[error("certificate authorities cannot be read from {path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

/// The configuration of all outgoing TLS.
pub(super) fn config(extra: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a certificate authority of the system cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if let Some(path) = extra {
        let fail = |cause: String| TlsError::File {
            path: path.to_owned(),
            cause,
        };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))?;
        let mut added = 0;
        for certificate in certificates {
            let certificate = certificate.map_err(|e| fail(e.to_string()))?;
            roots.add(certificate).map_err(|e| fail(e.to_string()))?;
            added += 1;
        }
        if added == 0 {
            return Err(fail("there is no PEM certificate in it".to_owned()));
        }
    }
    if roots.is_empty() {
        tracing::warn!(
            "no certificate authorities found: https requests will fail; install ca-certificates, \
             or set SSL_CERT_FILE or the host's CA file"
        );
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(config)
}
