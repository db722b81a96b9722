//! TLS of outgoing connections: rustls with ring, the operating system's certificate authorities and,
//! where the operator names a file, further ones. In an image without an operating system the authorities
//! are a file too: `/etc/ssl/certs/ca-certificates.crt`, or what `SSL_CERT_FILE` names.

use std::error::Error as StdError;
use std::sync::Arc;

use rustls::{CertificateError, ClientConfig, RootCertStore};

use super::error::root_cause;
use crate::authorities::Authorities;

/// Why outgoing TLS cannot be set up: the library refuses its own defaults, or an authority.
#[derive(Debug, thiserror::Error)]
#[error("TLS cannot be set up")]
pub struct TlsError(#[from] rustls::Error);

/// The configuration of all outgoing TLS.
pub(super) fn config(further: &Authorities) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a certificate authority of the system cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    further.add_to(&mut roots)?;
    if roots.is_empty() {
        tracing::warn!(
            "no certificate authorities found: https requests will fail; install ca-certificates, \
             or set SSL_CERT_FILE or --ca-file"
        );
    }
    let config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
    Ok(config)
}

/// Why a connection could not be made, in words for whoever has to mend it: what is wrong with a
/// certificate, otherwise the last cause. `authorities` is where a further authority can be named.
pub fn explain(error: &(dyn StdError + 'static), authorities: &str) -> String {
    let Some(rustls::Error::InvalidCertificate(why)) = find(error) else {
        return root_cause(error);
    };
    let why = match why {
        CertificateError::UnknownIssuer => {
            return format!(
                "the authority that signed its certificate is not trusted here; name it with {authorities}"
            );
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet"
        }
        CertificateError::BadSignature => {
            "its certificate was not signed by the authority that it names"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name"
        }
        _ => return root_cause(error),
    };
    why.to_owned()
}

/// What rustls said. `io::Error` shows what it wraps only through `get_ref`.
fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        next = match current.downcast_ref::<std::io::Error>() {
            Some(error) => error.get_ref().map(|inner| inner as _),
            None => current.source(),
        };
    }
    None
}
