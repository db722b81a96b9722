use x509_cert::der::oid::db::rfc5280::ID_KP_SERVER_AUTH;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};

use super::super::VALID;
use super::*;

fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

/// As another operator reads what one has kept.
fn kept(authorities: &Authorities) -> Authorities {
    let again = Authorities::read(&authorities.data()).unwrap();
    assert_eq!(again.data(), authorities.data());
    again
}

fn signed(authority: &Authority, now: OffsetDateTime) -> x509_cert::TbsCertificate {
    let key = KeyPair::generate().unwrap();
    let pem = authority
        .sign(&Name::well_known("h-1"), &key, now, VALID)
        .unwrap();
    Certificate::from_pem(pem).unwrap().tbs_certificate
}

#[test]
fn a_certificate_says_what_the_host_is_and_for_how_long() {
    let authority = Authority::new(start()).unwrap();
    let certificate = signed(&authority, start());
    let names = certificate.get::<SubjectAltName>().unwrap().unwrap().1.0;
    let [GeneralName::UniformResourceIdentifier(id)] = names.as_slice() else {
        panic!("{names:?}");
    };
    assert_eq!(id.as_str(), "spiffe://ringfence.dev/host/h-1");
    assert_eq!(
        moment(&certificate.validity.not_before).unwrap(),
        start() - BACKDATED
    );
    assert_eq!(
        moment(&certificate.validity.not_after).unwrap(),
        start() + VALID
    );
    assert_eq!(certificate.issuer.to_string(), format!("CN={NAME}"));
    // None outlives who signed it.
    let late = start() + AUTHORITY_VALID - Duration::from_secs(60);
    let certificate = signed(&authority, late);
    assert_eq!(
        moment(&certificate.validity.not_after).unwrap(),
        authority.until
    );
}

#[test]
fn what_the_operator_serves_with_is_no_certificate_of_a_host() {
    let authority = Authority::new(start()).unwrap();
    let key = KeyPair::generate().unwrap();
    let signed = authority.sign_server("a.b.svc", &key, start(), VALID);
    let signed = Certificate::from_pem(signed.unwrap()).unwrap();
    let signed = signed.tbs_certificate;
    let names = signed.get::<SubjectAltName>().unwrap().unwrap().1.0;
    let [GeneralName::DnsName(name)] = names.as_slice() else {
        panic!("{names:?}");
    };
    assert_eq!(name.as_str(), "a.b.svc");
    let usages = signed.get::<ExtendedKeyUsage>().unwrap().unwrap().1.0;
    assert_eq!(usages, [ID_KP_SERVER_AUTH]);
}

#[test]
fn one_follows_another_with_an_overlap() {
    let mut authorities = Authorities::default();
    let certificates = |authorities: &Authorities| authorities.bundle().matches("BEGIN").count();
    let signer =
        |authorities: &Authorities, now| authorities.signer(now).unwrap().certificate().to_owned();
    let mut now = start();
    assert!(authorities.tend(now).unwrap());
    assert!(!authorities.tend(now).unwrap(), "once is enough");
    let first = signer(&authorities, now);

    now = start() + (AUTHORITY_VALID - SUCCESSION);
    assert!(!kept(&authorities).tend(now).unwrap());
    now += Duration::from_secs(1);
    let mut authorities = kept(&authorities);
    assert!(authorities.tend(now).unwrap(), "a successor is due");
    assert_eq!(certificates(&authorities), 2);
    assert_eq!(
        signer(&authorities, now),
        first,
        "nobody knows the new one yet"
    );
    assert!(!authorities.tend(now).unwrap());

    now += KNOWN;
    let authorities = kept(&authorities);
    let second = signer(&authorities, now);
    assert_ne!(second, first);
    assert!(
        authorities.bundle().contains(&first),
        "what it signed counts still"
    );

    now = start() + AUTHORITY_VALID;
    let mut authorities = kept(&authorities);
    assert!(authorities.tend(now).unwrap(), "the first has run out");
    assert_eq!(authorities.bundle(), second);
    assert_eq!(signer(&authorities, now), second);
}

#[test]
fn after_a_long_absence_one_starts_anew() {
    let mut authorities = Authorities::default();
    authorities.tend(start()).unwrap();
    let before = authorities.bundle();
    let late = start() + AUTHORITY_VALID + Duration::from_secs(1);
    assert!(authorities.signer(late).is_none());
    assert!(authorities.tend(late).unwrap());
    assert_eq!(authorities.0.len(), 1);
    assert_ne!(authorities.bundle(), before);
    assert!(
        authorities.signer(late).is_some(),
        "there is no other to wait for"
    );
}

#[test]
fn what_is_no_authority_is_told_and_not_replaced() {
    let mut authorities = Authorities::default();
    authorities.tend(start()).unwrap();
    let good = authorities.data();
    let (crt, key) = {
        let mut names = good.keys().cloned();
        (names.next().unwrap(), names.next().unwrap())
    };
    let other = KeyPair::generate().unwrap().serialize_pem();
    for (entry, text) in [
        (&crt, Some(String::from("no certificate"))),
        (&key, Some(String::from("no key"))),
        (&key, Some(other)),
        (&key, None),
    ] {
        let mut bad = good.clone();
        match text {
            Some(text) => drop(bad.insert(entry.clone(), text)),
            None => drop(bad.remove(entry)),
        }
        let error = Authorities::read(&bad).unwrap_err();
        assert!(error.to_string().contains(&crt), "{error}");
    }
    let mut more = good.clone();
    more.insert("note".to_owned(), "of a person".to_owned());
    assert_eq!(Authorities::read(&more).unwrap().data(), good);
}

#[test]
fn a_key_is_never_shown() {
    let authority = Authority::new(start()).unwrap();
    let shown = format!("{authority:?}");
    assert!(
        !shown.contains("PRIVATE") && !shown.contains(&authority.key),
        "{shown}"
    );
}
