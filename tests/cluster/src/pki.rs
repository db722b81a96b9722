//! Certificate authorities and what they sign.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

/// How long certificates are valid.
const VALID: Duration = Duration::days(365);
/// How far back they are, so that a clock that is set back a little does no harm.
const BACKDATED: Duration = Duration::hours(1);

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate authority that lives as long as its cluster.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Makes one.
    pub(crate) fn new(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = params(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        CertifiedIssuer::self_signed(params, KeyPair::generate()?).map(Self)
    }

    /// Its certificate and key.
    pub(crate) fn credentials(&self) -> Credentials {
        Credentials {
            certificate: self.0.pem(),
            key: self.0.key().serialize_pem(),
        }
    }

    /// Credentials of a server that is reached under these addresses and names.
    pub(crate) fn server(
        &self,
        name: &str,
        addresses: &[IpAddr],
        names: &[&str],
    ) -> Result<Credentials, rcgen::Error> {
        let mut params = params(name, None);
        params.subject_alt_names = addresses.iter().copied().map(SanType::IpAddress).collect();
        for name in names {
            params
                .subject_alt_names
                .push(SanType::DnsName((*name).try_into()?));
        }
        // etcd's gateway is a client of etcd with the server's certificate.
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.sign(params)
    }

    /// Credentials of a client: to Kubernetes, the name is the user and the organisation the group.
    pub(crate) fn client(
        &self,
        user: &str,
        group: Option<&str>,
    ) -> Result<Credentials, rcgen::Error> {
        let mut params = params(user, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Credentials, rcgen::Error> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        Ok(Credentials {
            certificate: params.signed_by(&key, &self.0)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// The key pair that service-account tokens are signed with: private and public, as PEM.
pub(crate) fn token_keys() -> Result<(String, String), rcgen::Error> {
    let pair = KeyPair::generate()?;
    Ok((pair.serialize_pem(), pair.public_key_pem()))
}

fn params(name: &str, organisation: Option<&str>) -> CertificateParams {
    let mut subject = DistinguishedName::new();
    if let Some(organisation) = organisation {
        subject.push(DnType::OrganizationName, organisation);
    }
    subject.push(DnType::CommonName, name);
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + VALID;
    params.distinguished_name = subject;
    params
}
