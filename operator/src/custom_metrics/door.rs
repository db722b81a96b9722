//! Who gets in: TLS 1.3, and only with the certificate of the API server's aggregator.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::front_proxy::FrontProxy;

/// How long a handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

/// Why there is no way in.
#[derive(Debug, thiserror::Error)]
pub(super) enum DoorError {
    /// What it was made of cannot be used.
    #[error("certificates cannot be used")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Who came has no certificate that counts.
    #[error("the handshake failed")]
    Handshake(#[source] std::io::Error),
    /// It took too long.
    #[error("the handshake took more than {}s", HANDSHAKE.as_secs())]
    Slow,
    /// The certificate has another name.
    #[error("the certificate is of somebody else than the API server's aggregator")]
    Stranger,
}

/// Lets the aggregator in, and nobody else.
pub(super) struct Door {
    tls: TlsAcceptor,
    pub(super) proxy: FrontProxy,
}

/// What the operator shows: a certificate and its key.
#[derive(Clone)]
pub(super) struct Shown {
    /// As PEM.
    pub(super) certificate: String,
    /// As PKCS #8.
    pub(super) key: Vec<u8>,
}

impl Door {
    pub(super) fn new(shown: &Shown, proxy: FrontProxy) -> Result<Self, DoorError> {
        fn unusable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DoorError {
            DoorError::Unusable(error.into())
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in &proxy.authorities {
            roots.add(authority.clone()).map_err(unusable)?;
        }
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(unusable)?;
        let chain = CertificateDer::pem_slice_iter(shown.certificate.as_bytes());
        let chain = chain.collect::<Result<_, _>>().map_err(unusable)?;
        let key = PrivatePkcs8KeyDer::from(shown.key.clone());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key.into())
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session would outlive certificates and authorities.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self {
            tls: TlsAcceptor::from(Arc::new(config)),
            proxy,
        })
    }

    /// Takes a connection.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, DoorError> {
        let accepting = self.tls.accept(stream);
        let stream = tokio::time::timeout(HANDSHAKE, accepting)
            .await
            .map_err(|_| DoorError::Slow)?
            .map_err(DoorError::Handshake)?;
        let shown = stream.get_ref().1.peer_certificates();
        match shown.and_then(<[_]>::first) {
            Some(certificate) if self.proxy.is_named(certificate) => Ok(stream),
            _ => Err(DoorError::Stranger),
        }
    }
}
