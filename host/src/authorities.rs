//! Certificate authorities that the operator trusts beside the system's: for everything that the host
//! connects to, which is guests' requests, models, MCP servers, registries and the collector of spans.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Why a file of certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("certificate authorities cannot be read from {}: {cause}", .path.display())]
pub struct AuthoritiesError {
    path: PathBuf,
    cause: String,
}

/// Certificate authorities of the operator; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorities(Vec<CertificateDer<'static>>);

impl Authorities {
    /// Reads a PEM file.
    ///
    /// # Errors
    /// The file cannot be read, or something in it is no certificate of an authority, or there is none.
    pub fn read(path: &Path) -> Result<Self, AuthoritiesError> {
        let fail = |cause: String| AuthoritiesError {
            path: path.to_owned(),
            cause,
        };
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|error| fail(error.to_string()))?;
        if certificates.is_empty() {
            return Err(fail("there is no PEM certificate in it".to_owned()));
        }
        let mut probe = RootCertStore::empty();
        for certificate in &certificates {
            probe
                .add(certificate.clone())
                .map_err(|error| fail(error.to_string()))?;
        }
        Ok(Self(certificates))
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Adds them to the roots of a connection.
    pub(crate) fn add_to(&self, roots: &mut RootCertStore) -> Result<(), rustls::Error> {
        self.0
            .iter()
            .try_for_each(|certificate| roots.add(certificate.clone()))
    }

    /// A client that trusts them too.
    pub(crate) fn trusted_by(
        &self,
        client: reqwest::ClientBuilder,
    ) -> reqwest::Result<reqwest::ClientBuilder> {
        let certificates = self
            .0
            .iter()
            .map(|der| reqwest::Certificate::from_der(der))
            .collect::<reqwest::Result<Vec<_>>>()?;
        // Without any, the call would still choose another verifier.
        Ok(match certificates.is_empty() {
            true => client,
            false => client.tls_certs_merge(certificates),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_authority_is_refused_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let refused = |content: &str| {
            std::fs::write(&file, content).unwrap();
            Authorities::read(&file).unwrap_err().to_string()
        };
        for (content, reason) in [
            ("", "no PEM certificate"),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                "base64",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "certificate",
            ),
        ] {
            let error = refused(content);
            assert!(error.contains(reason), "{error}");
            assert!(error.contains("ca.pem"), "{error}");
        }
        let gone = Authorities::read(&folder.path().join("gone.pem")).unwrap_err();
        assert!(gone.to_string().contains("gone.pem"), "{gone}");
    }
}
