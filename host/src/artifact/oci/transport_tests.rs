use super::*;

fn session(settings: RegistrySettings, image: &str) -> Result<Session, OciError> {
    Session::new(&Arc::new(settings), image, None)
}

fn vets(session: &Session, url: &str) -> bool {
    session.vet(&Url::parse(url).unwrap()).is_ok()
}

#[test]
fn redirects_may_not_leave_the_internet() {
    let session = session(RegistrySettings::default(), "registry.example/a:1").unwrap();
    assert!(vets(&session, "https://cdn.example/x"));
    for url in [
        "http://cdn.example/x",
        "ftp://cdn.example/x",
        "file:///etc/passwd",
        "https://169.254.169.254/latest",
        "https://10.1.2.3/",
        "https://[::1]/",
        "https://127.0.0.1:5000/",
        "http://localhost:5000/",
        "https://[::ffff:127.0.0.1]/",
        "https://0x7f000002/",
    ] {
        assert!(!vets(&session, url), "{url}");
    }
}

#[test]
fn an_address_in_the_reference_is_vetted_too() {
    let settings = RegistrySettings::default();
    let image = session(settings.clone(), "10.0.0.1:5000/a:1").unwrap();
    assert!(matches!(image.url("x"), Err(OciError::Forbidden(_))));
    let local = session(settings.clone(), "127.0.0.1:5000/a:1").unwrap();
    assert_eq!(
        local.url("x").unwrap().as_str(),
        "http://127.0.0.1:5000/v2/a/x"
    );
    let strict = RegistrySettings {
        loopback: false,
        ..settings
    };
    assert!(
        session(strict, "127.0.0.1:5000/a:1")
            .unwrap()
            .url("x")
            .is_err()
    );
}

#[test]
fn references_are_checked() {
    for bad in [
        "",
        "r.example/UPPER:1",
        "a b",
        "r.example/a:t:u",
        "r.example/a@sha256:1",
    ] {
        let found = session(RegistrySettings::default(), bad);
        assert!(matches!(found, Err(OciError::Reference { .. })), "{bad}");
    }
}

#[tokio::test]
async fn names_that_resolve_to_this_machine_are_not_dialled() {
    let resolve = async |loopback: bool, registry: &str| {
        let resolver = Vetted {
            settings: Arc::new(RegistrySettings {
                loopback,
                ..RegistrySettings::default()
            }),
            registry: registry.to_owned(),
        };
        let found = resolver.resolve("localhost".parse().unwrap()).await;
        found.is_ok_and(|mut found| found.next().is_some())
    };
    assert!(resolve(true, "localhost:5000").await);
    assert!(!resolve(false, "localhost:5000").await);
    assert!(!resolve(true, "registry.example").await);
}

#[test]
fn answers_are_quoted_by_their_codes_only() {
    let body = br#"{"errors":[{"code":"DENIED","message":"secret"}]}"#;
    assert_eq!(codes(body), "DENIED");
    assert_eq!(codes(b"<html>secret"), "no reason given");
}
