//! Authorities: keys that sign, and when one takes over from another.
//!
//! ```text
//! first   ├──────────────── signs ────────────────┤─ counts still ─┤
//! second                                  ├─ known ┤──────────────── signs ───…
//!         0                              60 d    +1 h             90 d
//! ```
//!
//! A successor is known to all hosts before anything that it signed is, and what its predecessor signed has
//! long run out when that leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use ringfence_api::{Name, peer};
use time::OffsetDateTime;
use x509_cert::Certificate;
use x509_cert::der::DecodePem as _;

use super::BACKDATED;

/// How long an authority counts.
pub const AUTHORITY_VALID: Duration = Duration::from_secs(90 * 24 * 3_600);
/// With less than this left, an authority gets a successor.
pub const SUCCESSION: Duration = Duration::from_secs(30 * 24 * 3_600);
/// A successor signs when it has been known for this long.
pub const KNOWN: Duration = Duration::from_secs(3_600);

const NAME: &str = "Ringfence hosts";

/// What is wrong with an authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The Secret holds something else.
    #[error(
        "{0} in the Secret is no certificate with its key: put it right, or delete the Secret, and all hosts get new certificates"
    )]
    Unreadable(String),
    /// The library refuses.
    #[error("a certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// The time is none that a certificate can state.
    #[error("a certificate cannot be made: the clock is wrong")]
    Time,
}

/// A key that signs, with its certificate.
pub struct Authority {
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
    made: OffsetDateTime,
    until: OffsetDateTime,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        f.debug_struct("Authority")
            .field("made", &self.made)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// The library refuses, or the clock is wrong.
    pub fn new(now: OffsetDateTime) -> Result<Self, AuthorityError> {
        let mut params = params();
        params.not_before = earlier(now, BACKDATED)?;
        params.not_after = later(now, AUTHORITY_VALID)?;
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Self::read("what was just made", certificate, key.serialize_pem())
    }

    /// One from PEM.
    fn read(name: &str, certificate: String, key: String) -> Result<Self, AuthorityError> {
        let unreadable = || AuthorityError::Unreadable(name.to_owned());
        let pair = KeyPair::from_pem(&key).map_err(|_| unreadable())?;
        let parsed = Certificate::from_pem(&certificate).map_err(|_| unreadable())?;
        let parsed = parsed.tbs_certificate;
        let of_key = parsed
            .subject_public_key_info
            .subject_public_key
            .raw_bytes();
        // Its name is what the certificates that it signs say about who signed them.
        if of_key != pair.der_bytes() || parsed.subject.to_string() != format!("CN={NAME}") {
            return Err(unreadable());
        }
        let from = moment(&parsed.validity.not_before)?;
        let until = moment(&parsed.validity.not_after)?;
        Ok(Self {
            made: later(from, BACKDATED)?,
            issuer: Issuer::new(params(), pair),
            certificate,
            key,
            until,
        })
    }

    /// Signs a certificate for the key of a host. It never outlives the authority.
    ///
    /// # Errors
    /// The library refuses, or the clock is wrong.
    pub fn sign(
        &self,
        host: &Name,
        key: &impl PublicKeyData,
        now: OffsetDateTime,
        valid: Duration,
    ) -> Result<String, AuthorityError> {
        let name = SanType::URI(peer::host_id(host).try_into()?);
        let usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        self.certify(name, usages, key, now, valid)
    }

    /// Signs a certificate for what the operator itself serves under a DNS name. To hosts it is none of a host: these
    /// have no such name. It never outlives the authority.
    ///
    /// # Errors
    /// The library refuses, or the clock is wrong.
    pub fn sign_server(
        &self,
        name: &str,
        key: &impl PublicKeyData,
        now: OffsetDateTime,
        valid: Duration,
    ) -> Result<String, AuthorityError> {
        let name = SanType::DnsName(name.try_into()?);
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.certify(name, usages, key, now, valid)
    }

    fn certify(
        &self,
        name: SanType,
        usages: Vec<ExtendedKeyUsagePurpose>,
        key: &impl PublicKeyData,
        now: OffsetDateTime,
        valid: Duration,
    ) -> Result<String, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![name];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        params.not_before = earlier(now, BACKDATED)?;
        params.not_after = later(now, valid)?.min(self.until);
        Ok(params.signed_by(key, &self.issuer)?.pem())
    }

    /// Its certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// How its entries in the Secret are called.
    fn name(&self) -> String {
        format!("ca-{}", self.made.unix_timestamp())
    }
}

/// What all authorities have in common.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn moment(time: &x509_cert::time::Time) -> Result<OffsetDateTime, AuthorityError> {
    let seconds = i64::try_from(time.to_unix_duration().as_secs());
    let seconds = seconds.map_err(|_| AuthorityError::Time)?;
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| AuthorityError::Time)
}

fn earlier(time: OffsetDateTime, by: Duration) -> Result<OffsetDateTime, AuthorityError> {
    let by = time::Duration::try_from(by).map_err(|_| AuthorityError::Time)?;
    time.checked_sub(by).ok_or(AuthorityError::Time)
}

fn later(time: OffsetDateTime, by: Duration) -> Result<OffsetDateTime, AuthorityError> {
    let by = time::Duration::try_from(by).map_err(|_| AuthorityError::Time)?;
    time.checked_add(by).ok_or(AuthorityError::Time)
}

/// All authorities that count, the oldest first.
#[derive(Debug, Default)]
pub struct Authorities(Vec<Authority>);

impl Authorities {
    /// Those in the data of the Secret.
    ///
    /// # Errors
    /// There is something that is none.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Self, AuthorityError> {
        let mut all = Vec::new();
        for (entry, certificate) in data {
            let Some(name) = entry.strip_suffix(".crt") else {
                continue;
            };
            let key = data
                .get(&format!("{name}.key"))
                .ok_or_else(|| AuthorityError::Unreadable(entry.clone()))?;
            all.push(Authority::read(entry, certificate.clone(), key.clone())?);
        }
        all.sort_by_key(|authority| authority.made);
        Ok(Self(all))
    }

    /// The data of the Secret.
    pub fn data(&self) -> BTreeMap<String, String> {
        let entries = self.0.iter().flat_map(|authority| {
            let name = authority.name();
            [
                (format!("{name}.crt"), authority.certificate.clone()),
                (format!("{name}.key"), authority.key.clone()),
            ]
        });
        entries.collect()
    }

    /// Makes one where one is due, and forgets those that have run out. True where something changed.
    ///
    /// # Errors
    /// None can be made.
    pub fn tend(&mut self, now: OffsetDateTime) -> Result<bool, AuthorityError> {
        let before = self.0.len();
        self.0.retain(|authority| authority.until > now);
        let left = later(now, SUCCESSION)?;
        let due = self.0.last().is_none_or(|newest| newest.until < left);
        if due {
            self.0.push(Authority::new(now)?);
        }
        Ok(due || self.0.len() != before)
    }

    /// The one that signs now: the newest that all hosts know.
    pub fn signer(&self, now: OffsetDateTime) -> Option<&Authority> {
        let known = |authority: &&Authority| now - authority.made >= KNOWN;
        let mut valid = self.0.iter().filter(|authority| authority.until > now);
        let oldest = valid.clone().next();
        valid.rfind(known).or(oldest)
    }

    /// The certificates that count, as PEM.
    pub fn bundle(&self) -> String {
        self.0.iter().map(Authority::certificate).collect()
    }
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
