//! TLS between hosts: 1.3 only, a certificate on both sides, and no other name than the host's.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringfence_api::Name;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::verify::{AnyHost, OneHost, host_of};

/// What hosts speak over it (ALPN).
pub const PROTOCOL: &[u8] = b"h2";
/// How long a handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
/// Sent as SNI. Nobody looks at it: certificates of hosts have no DNS name.
const SERVER_NAME: &str = "host.ringfence.internal";

/// Why hosts do not come together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerTlsError {
    /// There is nothing to prove oneself with.
    #[error("this host has no certificate yet: the operator has to sign its request")]
    NoCertificate,
    /// What the host would prove itself with is not of use.
    #[error("the certificate cannot be used: {0}")]
    Unusable(&'static str),
    /// The same, by the library.
    #[error("the certificate cannot be used")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The other side did not prove to be a host, or refused this one.
    #[error("the handshake with another host failed")]
    Handshake(#[source] std::io::Error),
    /// It took longer than [`HANDSHAKE`].
    #[error("the handshake with another host took more than {}s", HANDSHAKE.as_secs())]
    Slow,
}

/// What a host proves itself with, and whom it believes.
pub struct Credentials {
    /// Its certificate; after it those that lead from it to an authority, where there are any.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of its certificate.
    pub key: PrivatePkcs8KeyDer<'static>,
    /// The authorities that count.
    pub authorities: Vec<CertificateDer<'static>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Credentials as they are used.
struct Current {
    key: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
    server: Arc<ServerConfig>,
    expires: SystemTime,
}

/// The TLS side of a host towards other hosts. Cheap to clone; all clones see new credentials at once.
#[derive(Clone)]
pub struct PeerTls {
    name: Name,
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn TimeProvider>,
    current: Arc<watch::Sender<Option<Arc<Current>>>>,
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerTls")
            .field("name", &self.name)
            .field("expires", &self.expires())
            .finish_non_exhaustive()
    }
}

impl PeerTls {
    /// The host `name`, without a certificate: until [`PeerTls::set`] there is no way to other hosts.
    pub fn new(name: Name) -> Self {
        Self::with_clock(name, Arc::new(DefaultTimeProvider))
    }

    /// The same, by another clock.
    pub fn with_clock(name: Name, clock: Arc<dyn TimeProvider>) -> Self {
        Self {
            name,
            provider: Arc::new(ring::default_provider()),
            clock,
            current: Arc::new(watch::Sender::new(None)),
        }
    }

    /// The name of this host.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Uses other credentials from now on. Connections that are open stay.
    ///
    /// # Errors
    /// They are not of this host, have run out, or do not fit together; what was used before still is.
    pub fn set(&self, credentials: Credentials) -> Result<(), PeerTlsError> {
        let refused = |error: rustls::Error| PeerTlsError::Refused(error.into());
        let Some(certificate) = credentials.chain.first() else {
            return Err(PeerTlsError::Unusable("there is none"));
        };
        let expires = expires(certificate)?;
        let mut roots = RootCertStore::empty();
        for authority in credentials.authorities {
            roots.add(authority).map_err(refused)?;
        }
        let roots = Arc::new(roots);
        // What others will check, so that they are not the first to find out.
        let own = self.one_host(&self.name, roots.clone());
        let now = self.clock.current_time();
        let now = now.ok_or(PeerTlsError::Unusable("the clock does not tell the time"))?;
        own.verify_server_cert(
            certificate,
            credentials.chain.get(1..).unwrap_or_default(),
            &server_name()?,
            &[],
            now,
        )
        .map_err(refused)?;
        let key = CertifiedKey::from_der(credentials.chain, credentials.key.into(), &self.provider);
        let key = Arc::new(key.map_err(refused)?);
        let server = self.server(key.clone(), roots.clone())?;
        self.current.send_replace(Some(Arc::new(Current {
            key,
            roots,
            server: Arc::new(server),
            expires,
        })));
        Ok(())
    }

    /// How connections from other hosts are accepted now. None without a certificate.
    pub fn server_config(&self) -> Option<Arc<ServerConfig>> {
        let current = self.current.borrow();
        current.as_ref().map(|current| current.server.clone())
    }

    /// How the host `name` is dialled now: whoever answers has to prove that it is that host. None without a
    /// certificate.
    pub fn client_config(&self, name: &Name) -> Option<Arc<ClientConfig>> {
        let current = self.current.borrow().clone()?;
        let mut config =
            ClientConfig::builder_with_details(self.provider.clone(), self.clock.clone())
                .with_protocol_versions(VERSIONS)
                .ok()?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(
                    self.one_host(name, current.roots.clone()),
                ))
                .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
                    current.key.clone(),
                )));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        // A resumed session would outlive certificates and authorities.
        config.resumption = Resumption::disabled();
        Some(Arc::new(config))
    }

    /// Takes a connection from another host, and tells which.
    ///
    /// # Errors
    /// It does not prove to be a host, or takes too long; or this host has no certificate.
    pub async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(server::TlsStream<TcpStream>, Name), PeerTlsError> {
        let config = self.server_config().ok_or(PeerTlsError::NoCertificate)?;
        let accepting = TlsAcceptor::from(config).accept(stream);
        let stream = tokio::time::timeout(HANDSHAKE, accepting)
            .await
            .map_err(|_| PeerTlsError::Slow)?
            .map_err(PeerTlsError::Handshake)?;
        let name = peer_of(stream.get_ref().1).ok_or(PeerTlsError::Unusable(
            "the other host has shown none that was accepted",
        ))?;
        Ok((stream, name))
    }

    /// Makes a connection to the host `name` out of one to its address.
    ///
    /// # Errors
    /// Whoever answers does not prove to be that host, or takes too long; or this host has no certificate.
    pub async fn connect(
        &self,
        name: &Name,
        stream: TcpStream,
    ) -> Result<client::TlsStream<TcpStream>, PeerTlsError> {
        let config = self
            .client_config(name)
            .ok_or(PeerTlsError::NoCertificate)?;
        let connecting = TlsConnector::from(config).connect(server_name()?, stream);
        tokio::time::timeout(HANDSHAKE, connecting)
            .await
            .map_err(|_| PeerTlsError::Slow)?
            .map_err(PeerTlsError::Handshake)
    }

    /// When the certificate runs out. None without one.
    pub fn expires(&self) -> Option<SystemTime> {
        let current = self.current.borrow();
        current.as_ref().map(|current| current.expires)
    }

    /// Waits until there is a certificate; returns at once where there is one.
    pub async fn ready(&self) {
        // It fails only when the sender is gone, and the sender is here.
        drop(self.current.subscribe().wait_for(Option::is_some).await);
    }

    /// Waits until a host that has shown this chain would not be let in any more: its certificate has run out, or
    /// what signed it counts no longer. A connection is not believed for longer than what it was made with.
    pub(crate) async fn distrusts(&self, name: &Name, chain: &[CertificateDer<'static>]) {
        let mut current = self.current.subscribe();
        loop {
            let roots = current
                .borrow_and_update()
                .clone()
                .map(|now| now.roots.clone());
            let Some(left) = roots.and_then(|roots| self.believes(name, chain, roots)) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                // The sender is here.
                _ = current.changed() => {}
            }
        }
    }

    /// For how long a chain is that of a host; none where it is not.
    fn believes(
        &self,
        name: &Name,
        chain: &[CertificateDer<'static>],
        roots: Arc<RootCertStore>,
    ) -> Option<Duration> {
        let (own, rest) = chain.split_first()?;
        let now = self.clock.current_time()?;
        self.one_host(name, roots)
            .verify_server_cert(own, rest, &server_name().ok()?, &[], now)
            .ok()?;
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        // It is valid for the whole of its last second.
        let left = expires(own).ok()?.duration_since(now).unwrap_or_default();
        Some(left + Duration::from_secs(1))
    }

    /// What tells when a connection that is made from now on is to be made anew: this host proves itself with
    /// something else, or believes others.
    pub(crate) fn renewals(&self) -> Renewals {
        Renewals(self.current.subscribe())
    }

    fn one_host(&self, name: &Name, roots: Arc<RootCertStore>) -> OneHost {
        OneHost {
            name: name.clone(),
            roots,
            provider: self.provider.clone(),
        }
    }

    fn server(
        &self,
        key: Arc<CertifiedKey>,
        roots: Arc<RootCertStore>,
    ) -> Result<ServerConfig, PeerTlsError> {
        let inner = WebPkiClientVerifier::builder_with_provider(roots, self.provider.clone())
            .build()
            .map_err(|error| PeerTlsError::Refused(error.into()))?;
        let mut config =
            ServerConfig::builder_with_details(self.provider.clone(), self.clock.clone())
                .with_protocol_versions(VERSIONS)
                .map_err(|error| PeerTlsError::Refused(error.into()))?
                .with_client_cert_verifier(Arc::new(AnyHost { inner }))
                .with_cert_resolver(Arc::new(Always(key)));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

/// Tells that there are other credentials than at first.
pub(crate) struct Renewals(watch::Receiver<Option<Arc<Current>>>);

impl Renewals {
    /// Waits for the next.
    pub(crate) async fn next(&mut self) {
        // Without a sender there is no host any more.
        drop(self.0.changed().await);
    }
}

/// The one certificate, whatever name is asked for.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

/// The host on the other side of a connection that was accepted.
pub fn peer_of(connection: &rustls::ServerConnection) -> Option<Name> {
    host_of(connection.peer_certificates()?.first()?)
}

fn server_name() -> Result<ServerName<'static>, PeerTlsError> {
    ServerName::try_from(SERVER_NAME).map_err(|error| PeerTlsError::Refused(error.into()))
}

fn expires(certificate: &CertificateDer<'_>) -> Result<SystemTime, PeerTlsError> {
    let parsed =
        Certificate::from_der(certificate).map_err(|error| PeerTlsError::Refused(error.into()))?;
    Ok(parsed.tbs_certificate.validity.not_after.to_system_time())
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
