//! Whether a request is one that a host may make. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::certificates::v1::CertificateSigningRequestSpec;
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use ringfence_api::{Name, peer};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::AssociatedOid as _;
use x509_cert::der::oid::db::rfc5912::{ECDSA_WITH_SHA_256, ID_EC_PUBLIC_KEY, SECP_256_R_1};
use x509_cert::der::{Decode as _, DecodePem as _, Encode as _};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq};

/// Where Kubernetes says which Pod a token was made for.
pub(super) const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
/// Most bytes of a request; one of a host has 400.
const MOST: usize = 8_192;

/// A request that is in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The host that it is of.
    pub host: Name,
    /// Its key.
    pub key: HostKey,
    /// How that it is this host is to be proven.
    pub evidence: Evidence,
    /// The longest that it wants the certificate to be valid.
    pub at_most: Option<Duration>,
}

/// What there is to tell that the requester is the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Its token is that of the Pod of this name.
    Pod,
    /// Its token says nothing: there has to be a `Host` of this name that is no Pod.
    None,
}

/// A key on the curve P-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey(Vec<u8>);

impl PublicKeyData for HostKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// Why a request is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denial {
    /// One word for programs.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Denial {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

/// Looks at a request. `host_user` is the user that hosts are to Kubernetes.
///
/// # Errors
/// Why it is denied.
pub fn examine(spec: &CertificateSigningRequestSpec, host_user: &str) -> Result<Ask, Denial> {
    let user = spec.username.as_deref().unwrap_or_default();
    if user != host_user {
        let message = format!("{user} asked, and only {host_user} may");
        return Err(Denial::new("NotAHost", message));
    }
    let usages: BTreeSet<&str> = spec.usages.iter().flatten().map(String::as_str).collect();
    if usages != BTreeSet::from(peer::USAGES) {
        let message = format!("the usages have to be {}", peer::USAGES.join(", "));
        return Err(Denial::new("WrongUsages", message));
    }
    let (host, key) = content(&spec.request.0)?;
    let pods = spec.extra.as_ref().and_then(|extra| extra.get(POD_NAME));
    let evidence = match pods.map(Vec::as_slice) {
        None => Evidence::None,
        Some([pod]) if pod == host.as_str() => Evidence::Pod,
        Some(pods) => {
            let message = format!("the Pod {} asked for the host {host}", pods.join(", "));
            return Err(Denial::new("AnotherHost", message));
        }
    };
    let seconds = spec.expiration_seconds;
    let at_most = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Ok(Ask {
        host,
        key,
        evidence,
        at_most: at_most.map(Duration::from_secs),
    })
}

/// The host and the key of a request in PEM: PKCS #10 (RFC 2986).
fn content(pem: &[u8]) -> Result<(Name, HostKey), Denial> {
    let malformed = |what: &str| Denial::new("Malformed", format!("the request {what}"));
    if pem.len() > MOST {
        return Err(malformed("is too large"));
    }
    let request = CertReq::from_pem(pem).map_err(|_| malformed("is not PKCS #10 as PEM"))?;
    let info = &request.info;
    let curve = info.public_key.algorithm.parameters.as_ref();
    let curve = curve.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
    let point = info.public_key.subject_public_key.raw_bytes();
    if info.public_key.algorithm.oid != ID_EC_PUBLIC_KEY
        || curve != Some(SECP_256_R_1)
        || request.algorithm.oid != ECDSA_WITH_SHA_256
    {
        let message = "the key has to be on the curve P-256, and sign with SHA-256";
        return Err(Denial::new("WrongKey", message));
    }
    let signed = info.to_der().map_err(|_| malformed("is not DER"))?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
        .verify(&signed, request.signature.raw_bytes())
        .map_err(|_| malformed("is not signed by its key"))?;
    let Some(host) = name(info) else {
        let example = peer::host_id(&Name::well_known("name"));
        let message = format!("it has to ask for the one name {example}, and for nothing else");
        return Err(Denial::new("WrongName", message));
    };
    Ok((host, HostKey(point.to_vec())))
}

/// The host that the one name of a request means; none where it asks for something else, or for more.
fn name(info: &CertReqInfo) -> Option<Name> {
    let [attribute] = info.attributes.as_slice() else {
        return None;
    };
    let [asked] = attribute.values.as_slice() else {
        return None;
    };
    if attribute.oid != ExtensionReq::OID || !info.subject.0.is_empty() {
        return None;
    }
    let asked: ExtensionReq = asked.decode_as().ok()?;
    let [extension] = asked.0.as_slice() else {
        return None;
    };
    if extension.extn_id != SubjectAltName::OID {
        return None;
    }
    let names = SubjectAltName::from_der(extension.extn_value.as_bytes()).ok()?;
    match names.0.as_slice() {
        [GeneralName::UniformResourceIdentifier(id)] => peer::host_of_id(id.as_str()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
