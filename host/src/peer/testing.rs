//! An authority in memory, for tests: what the operator is on a cluster.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use ringfence_api::{Name, peer};
use rustls::pki_types::CertificateDer;

use super::{Credentials, PeerTls};

/// How long certificates are valid unless a test wants otherwise.
pub(crate) const VALID: Duration = Duration::from_secs(3_600);

/// An authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = Default::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Ringfence tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A host that it vouches for.
    pub(crate) fn host(&self, name: &str) -> PeerTls {
        let tls = PeerTls::new(name.parse().unwrap());
        tls.set(self.credentials(name)).unwrap();
        tls
    }

    /// Credentials of a host for an hour.
    pub(crate) fn credentials(&self, name: &str) -> Credentials {
        let name: Name = name.parse().unwrap();
        let id = SanType::URI(peer::host_id(&name).try_into().unwrap());
        self.issue(vec![id], SystemTime::now() + VALID)
    }

    /// Credentials with these names.
    pub(crate) fn issue(&self, names: Vec<SanType>, until: SystemTime) -> Credentials {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = Default::default();
        params.subject_alt_names = names;
        params.not_before = (SystemTime::now() - VALID).into();
        params.not_after = until.into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Credentials {
            chain: vec![certificate.into()],
            key: key.serialize_der().into(),
            authorities: vec![self.certificate()],
        }
    }
}
