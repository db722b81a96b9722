//! What hosts and the operator agree on about the certificates with which hosts know each other.
//!
//! Each host has a certificate whose only name is its SPIFFE id
//! (<https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md>). It asks for it as kubelets do, by
//! a `CertificateSigningRequest`; the operator signs it and publishes whose signatures count.

use crate::Name;

/// `spec.signerName` of the requests.
pub const SIGNER: &str = "ringfence.dev/host";
/// `spec.usages` of the requests, and what the certificates are for: hosts call each other.
pub const USAGES: [&str; 3] = ["client auth", "digital signature", "server auth"];
/// Name of the operator's Secret with its keys, and of the ConfigMap with the authorities that count; both
/// in the operator's namespace.
pub const AUTHORITY: &str = "ringfence-ca";
/// Where in the ConfigMap the authorities are: one or more certificates, as PEM.
pub const BUNDLE_KEY: &str = "ca.crt";

const HOST_ID: &str = "spiffe://ringfence.dev/host/";

/// The SPIFFE id of a host.
pub fn host_id(name: &Name) -> String {
    format!("{HOST_ID}{name}")
}

/// The host that a SPIFFE id means; none where it means something else.
pub fn host_of_id(id: &str) -> Option<Name> {
    id.strip_prefix(HOST_ID)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_means_one_host() {
        let name = Name::well_known("h-1");
        assert_eq!(host_id(&name), "spiffe://ringfence.dev/host/h-1");
        assert_eq!(host_of_id(&host_id(&name)), Some(name));
        for other in [
            "spiffe://ringfence.dev/host/",
            "spiffe://ringfence.dev/host/h-1/",
            "spiffe://ringfence.dev/host/h-1?",
            "spiffe://ringfence.dev/host/a%2Fb",
            "spiffe://ringfence.dev/agent/h-1",
            "spiffe://example.org/host/h-1",
            "SPIFFE://ringfence.dev/host/h-1",
            "h-1",
        ] {
            assert_eq!(host_of_id(other), None, "{other}");
        }
    }
}
