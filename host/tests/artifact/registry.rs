//! Pull and push with Debian's `docker-registry`, and with `wkg`, which others use for it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use libtest_mimic::Trial;
use ringfence_api::{ArtifactSource, Digest};
use ringfence_host::artifact::oci::{Login, OciError};
use ringfence_host::artifact::{ArtifactError, Upload};
use ringfence_test_cluster::{Access, Registry};

use crate::compile::call;
use crate::fixture::{Fixture, component, tenant};
use crate::test;

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.extend([
        test("what_is_pushed_can_be_pulled_and_stays_pinned", round_trip),
        test("a_tag_that_moved_is_no_hindrance", moved),
        test("images_that_are_no_components_are_refused", foreign),
        test("registries_need_credentials_and_permission", permission),
    ]);
    // `make test` installs it and names it here; who runs cargo alone may do without.
    let named = std::env::var_os("RINGFENCE_WKG").map(PathBuf::from);
    let found = named.or_else(|| on_path("wkg"));
    let name = "wkg_reads_what_we_push_and_we_run_what_it_pushes";
    tests.push(match found {
        Some(wkg) => test(name, || wkg_both(wkg)),
        None => {
            eprintln!("skipped, since there is no wkg (scripts/wkg.sh installs it): {name}");
            let missing = async || panic!("there is no wkg: scripts/wkg.sh installs it");
            test(name, missing).with_ignored_flag(true)
        }
    });
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

async fn plain() -> Registry {
    Registry::start(Access::default()).await.unwrap()
}

async fn pushed(fixture: &Fixture, n: u32, image: &str) -> (Digest, Digest) {
    let stored = fixture
        .artifacts
        .put(&tenant(), Upload::bytes(component(n)))
        .await
        .unwrap();
    let digest = stored.meta.digest;
    let manifest = fixture
        .artifacts
        .push(&tenant(), &digest, image, None)
        .await
        .unwrap();
    (digest, manifest)
}

async fn round_trip() {
    let registry = plain().await;
    let image = registry.image("team/tool:1");
    let sender = Fixture::new();
    let (digest, manifest) = pushed(&sender, 1, &image).await;
    // Pushing the same again changes nothing.
    let again = sender
        .artifacts
        .push(&tenant(), &digest, &image, None)
        .await
        .unwrap();
    assert_eq!(again, manifest);

    let receiver = Fixture::new();
    let source = ArtifactSource::image(&*image);
    let resolved = receiver
        .artifacts
        .resolve(&tenant(), &source, &[])
        .await
        .unwrap();
    assert_eq!(resolved, digest);
    receiver.artifacts.prepare(&digest).await.unwrap();
    let meta = receiver.artifacts.get(&tenant(), &digest).unwrap();
    let pins: Vec<_> = meta
        .images
        .iter()
        .map(|pin| (&*pin.image, pin.manifest))
        .collect();
    assert_eq!(pins, [(&*image, manifest)]);

    // The tag moves; the tenant that has pinned it stays, until it pulls again.
    let (moved, _) = pushed(&sender, 2, &image).await;
    assert_eq!(
        receiver
            .artifacts
            .resolve(&tenant(), &source, &[])
            .await
            .unwrap(),
        digest
    );
    let pulled = receiver
        .artifacts
        .pull(&tenant(), &image, None)
        .await
        .unwrap();
    assert_eq!(pulled.meta.digest, moved);
    assert_eq!(
        receiver
            .artifacts
            .resolve(&tenant(), &source, &[])
            .await
            .unwrap(),
        moved
    );

    // By digest, it is the old one for ever.
    let exact = registry.image(&format!("team/tool@{manifest}"));
    let pulled = receiver
        .artifacts
        .pull(&tenant(), &exact, None)
        .await
        .unwrap();
    assert_eq!(pulled.meta.digest, digest);

    // Too large is known before anything is downloaded, and leaves nothing.
    let small = Fixture::with(|s| s.store.artifact_bytes = 100);
    let error = small
        .artifacts
        .pull(&tenant(), &image, None)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ArtifactError::Oci(OciError::Format { .. })),
        "{error:?}"
    );
    assert!(small.files().is_empty());
}

async fn moved() {
    let registry = plain().await;
    let image = registry.image("team/tool:1");
    let sender = Fixture::new();
    let (first, _) = pushed(&sender, 1, &image).await;
    let early = Fixture::new();
    let meaning = async |host: &Fixture| {
        let tenant = tenant();
        let current = host.artifacts.current(&tenant, &image, &[]);
        current.await.unwrap()
    };
    assert_eq!(meaning(&early).await, first);
    assert_eq!(early.artifacts.newest(10), [first]);

    let (second, _) = pushed(&sender, 2, &image).await;
    // Another host gets what the first one found, and the image's name is not bound to it.
    let late = Fixture::new();
    let fetch = async |digest: &Digest| {
        let tenant = tenant();
        late.artifacts.fetch(&tenant, &image, digest, &[]).await
    };
    fetch(&first).await.unwrap();
    late.artifacts.prepare(&first).await.unwrap();
    assert_eq!(late.artifacts.newest(10), [first]);
    // Whoever looks now finds the new one, on every host.
    assert_eq!(meaning(&late).await, second);
    assert_eq!(meaning(&early).await, second);
    assert_eq!(early.artifacts.newest(1), [second], "the newest");

    let unknown = fetch(&Digest::of(b"nothing")).await.unwrap_err();
    assert!(
        matches!(unknown, ArtifactError::Oci(OciError::NotFound(_))),
        "{unknown:?}"
    );
    // The registry is away: what is there is there, what is not is not, and nobody says something old.
    drop(registry);
    fetch(&first).await.unwrap();
    let away = early.artifacts.current(&tenant(), &image, &[]).await;
    assert!(
        matches!(away, Err(ArtifactError::Oci(OciError::Unreachable { .. }))),
        "{away:?}"
    );
}

async fn foreign() {
    use oci_client::client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer};
    let registry = plain().await;
    let fixture = Fixture::new();
    let missing = fixture
        .artifacts
        .pull(&tenant(), &registry.image("x:1"), None)
        .await
        .unwrap_err();
    assert!(
        matches!(missing, ArtifactError::Oci(OciError::NotFound(_))),
        "{missing:?}"
    );
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    });
    let wasm = "application/vnd.wasm.config.v0+json";
    let module = wat::parse_str("(module)").unwrap();
    for (layer, layer_type, config, config_type, reason) in [
        (
            b"tar".to_vec(),
            "application/vnd.oci.image.layer.v1.tar",
            "{}",
            wasm,
            "layer is of type",
        ),
        (
            component(1),
            "application/wasm",
            "{}",
            "application/vnd.oci.image.config.v1+json",
            "config",
        ),
        (
            component(1),
            "application/wasm",
            r#"{"os":"wasip1"}"#,
            wasm,
            "core module",
        ),
        // The config lies: the bytes decide.
        (
            module,
            "application/wasm",
            r#"{"os":"wasip2"}"#,
            wasm,
            "module",
        ),
    ] {
        let image = registry.image("foreign:1");
        let layers = [ImageLayer::new(layer, layer_type.into(), None)];
        let config = Config::new(config.as_bytes().to_vec(), config_type.into(), None);
        let to = image.parse().unwrap();
        let auth = oci_client::secrets::RegistryAuth::Anonymous;
        client
            .push(&to, &layers, config, &auth, None)
            .await
            .unwrap();
        let error = fixture
            .artifacts
            .pull(&tenant(), &image, None)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(reason), "{reason}: {error}");
        assert!(fixture.files().is_empty());
    }
}

async fn permission() {
    let login = Access {
        login: true,
        ..Access::default()
    };
    let registry = Registry::start(login).await.unwrap();
    let fixture = Fixture::new();
    let image = registry.image("team/tool:1");
    let stored = fixture
        .artifacts
        .put(&tenant(), Upload::bytes(component(1)))
        .await
        .unwrap();
    let digest = stored.meta.digest;
    for auth in [
        None,
        Some(Login::new(Registry::USER.into(), "wrong".into())),
    ] {
        let error = fixture
            .artifacts
            .push(&tenant(), &digest, &image, auth)
            .await
            .unwrap_err();
        assert!(
            matches!(error, ArtifactError::Oci(OciError::Unauthorized { .. })),
            "{error:?}"
        );
    }
    let auth = || Some(Login::new(Registry::USER.into(), Registry::PASSWORD.into()));
    fixture
        .artifacts
        .push(&tenant(), &digest, &image, auth())
        .await
        .unwrap();
    let receiver = Fixture::new();
    let pulled = receiver
        .artifacts
        .pull(&tenant(), &image, auth())
        .await
        .unwrap();
    assert_eq!(pulled.meta.digest, digest);

    let elsewhere = Fixture::with(|s| s.registries.only = Some(BTreeSet::new()));
    let error = elsewhere
        .artifacts
        .pull(&tenant(), &image, auth())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ArtifactError::Oci(OciError::Forbidden(_))),
        "{error:?}"
    );
    let strict = Fixture::with(|s| s.registries.loopback = false);
    let error = strict
        .artifacts
        .pull(&tenant(), &image, auth())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ArtifactError::Oci(OciError::Forbidden(_))),
        "{error:?}"
    );
}

async fn wkg_both(wkg: PathBuf) {
    let registry = plain().await;
    let fixture = Fixture::new();
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(&wkg)
            .args(["oci", arguments[0], "--insecure", registry.name()])
            .args(&arguments[1..])
            .env("HOME", dir.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let image = registry.image("ours:1");
    pushed(&fixture, 1, &image).await;
    let file = dir.path().join("pulled.wasm");
    run(&["pull", &image, "--output", file.to_str().unwrap()]);
    assert_eq!(std::fs::read(&file).unwrap(), component(1));

    std::fs::write(&file, component(2)).unwrap();
    let image = registry.image("theirs:1");
    run(&["push", &image, file.to_str().unwrap()]);
    let fixture = Fixture::new();
    let pulled = fixture
        .artifacts
        .pull(&tenant(), &image, None)
        .await
        .unwrap();
    let digest = pulled.meta.digest;
    assert_eq!(digest, Digest::of(&component(2)));
    assert_eq!(call(&fixture.artifacts, &digest).await, 2);
}
