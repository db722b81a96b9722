use k8s_openapi::ByteString;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, SanType,
};

use super::*;

const USER: &str = "system:serviceaccount:ringfence-system:ringfence-host";
const ID: &str = "spiffe://ringfence.dev/host/h-1";

fn uri(id: &str) -> SanType {
    SanType::URI(id.try_into().unwrap())
}

fn asking(names: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names;
    params
}

fn pem(params: &CertificateParams, key: &KeyPair) -> String {
    params.serialize_request(key).unwrap().pem().unwrap()
}

fn spec_of(request: String) -> CertificateSigningRequestSpec {
    CertificateSigningRequestSpec {
        request: ByteString(request.into_bytes()),
        signer_name: peer::SIGNER.to_owned(),
        username: Some(USER.to_owned()),
        usages: Some(peer::USAGES.map(str::to_owned).to_vec()),
        ..CertificateSigningRequestSpec::default()
    }
}

fn spec() -> CertificateSigningRequestSpec {
    spec_of(pem(&asking(vec![uri(ID)]), &KeyPair::generate().unwrap()))
}

fn with_pod(pods: &[&str]) -> CertificateSigningRequestSpec {
    let mut spec = spec();
    let pods = pods.iter().map(|pod| (*pod).to_owned()).collect();
    spec.extra = Some([(POD_NAME.to_owned(), pods)].into());
    spec
}

fn denied(spec: &CertificateSigningRequestSpec) -> &'static str {
    examine(spec, USER).unwrap_err().reason
}

#[test]
fn what_a_host_asks_for_is_in_order() {
    let key = KeyPair::generate().unwrap();
    let mut spec = spec_of(pem(&asking(vec![uri(ID)]), &key));
    spec.expiration_seconds = Some(600);
    let ask = examine(&spec, USER).unwrap();
    assert_eq!(ask.host.as_str(), "h-1");
    assert_eq!(ask.key.der_bytes(), key.der_bytes());
    assert_eq!(ask.evidence, Evidence::None);
    assert_eq!(ask.at_most, Some(Duration::from_secs(600)));
    spec.usages.as_mut().unwrap().reverse();
    assert!(examine(&spec, USER).is_ok(), "usages have no order");
}

#[test]
fn nobody_else_may_ask() {
    for user in [
        None,
        Some(""),
        Some("admin"),
        Some("system:serviceaccount:desk:ringfence-host"),
        Some("system:serviceaccount:ringfence-system:ringfence-operator"),
    ] {
        let mut spec = spec();
        spec.username = user.map(str::to_owned);
        assert_eq!(denied(&spec), "NotAHost", "{user:?}");
    }
}

#[test]
fn a_pod_may_ask_for_itself_only() {
    let ask = examine(&with_pod(&["h-1"]), USER).unwrap();
    assert_eq!(ask.evidence, Evidence::Pod);
    for pods in [&["h-2"][..], &["h-1", "h-2"], &[], &[""]] {
        assert_eq!(denied(&with_pod(pods)), "AnotherHost", "{pods:?}");
    }
}

#[test]
fn the_usages_are_those_of_hosts() {
    for usages in [
        None,
        Some(vec!["client auth", "digital signature"]),
        Some(vec![
            "client auth",
            "digital signature",
            "server auth",
            "cert sign",
        ]),
    ] {
        let mut spec = spec();
        spec.usages = usages
            .clone()
            .map(|all| all.into_iter().map(str::to_owned).collect());
        assert_eq!(denied(&spec), "WrongUsages", "{usages:?}");
    }
}

#[test]
fn there_is_one_name_and_nothing_else() {
    let dns = SanType::DnsName("h-1".try_into().unwrap());
    let address = SanType::IpAddress("10.0.0.1".parse().unwrap());
    let key = KeyPair::generate().unwrap();
    for names in [
        vec![],
        vec![dns.clone()],
        vec![uri(ID), dns],
        vec![uri(ID), address],
        vec![uri(ID), uri("spiffe://ringfence.dev/host/h-2")],
        vec![uri("spiffe://ringfence.dev/host/")],
        vec![uri("spiffe://ringfence.dev/host/h-1/x")],
        vec![uri("spiffe://example.org/host/h-1")],
    ] {
        let spec = spec_of(pem(&asking(names.clone()), &key));
        assert_eq!(denied(&spec), "WrongName", "{names:?}");
    }
    let mut subject = asking(vec![uri(ID)]);
    subject.distinguished_name.push(DnType::CommonName, "h-2");
    assert_eq!(denied(&spec_of(pem(&subject, &key))), "WrongName");
    let mut more = asking(vec![uri(ID)]);
    more.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    assert_eq!(denied(&spec_of(pem(&more, &key))), "WrongName");
}

#[test]
fn the_key_is_of_one_kind() {
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let spec = spec_of(pem(&asking(vec![uri(ID)]), &key));
        assert_eq!(denied(&spec), "WrongKey");
    }
}

#[test]
fn what_is_no_request_is_malformed() {
    let key = KeyPair::generate().unwrap();
    let good = pem(&asking(vec![uri(ID)]), &key);
    let certificate = asking(vec![uri(ID)]).self_signed(&key).unwrap().pem();
    let large = format!("{good}{}", "\n".repeat(MOST));
    for bad in [
        String::new(),
        "nothing".to_owned(),
        certificate,
        format!("{good}{good}"),
        format!("{good}more"),
        large,
    ] {
        assert_eq!(denied(&spec_of(bad.clone())), "Malformed", "{bad}");
    }
    // The name is changed after it was signed.
    let der = asking(vec![uri(ID)]).serialize_request(&key).unwrap();
    let mut der = der.der().to_vec();
    let at = der.windows(3).position(|window| window == b"h-1").unwrap();
    der[at + 2] = b'2';
    let forged = CertReq::from_der(&der).unwrap();
    let forged = x509_cert::der::EncodePem::to_pem(&forged, Default::default()).unwrap();
    assert_eq!(denied(&spec_of(forged)), "Malformed");
}
