//! Images behind a login: who may run what a registry gave to somebody on the same host.

use std::net::SocketAddr;

use axum::Router;
use axum::http::Method;
use libtest_mimic::Trial;
use ringfence_api::{ArtifactSource, Digest, TenantName};
use ringfence_host::artifact::oci::{Login, OciError, PullLogin};
use ringfence_host::artifact::{ArtifactError, Artifacts, Upload};
use ringfence_test_cluster::{Access, Registry};

use crate::fixture::{Fixture, component, engine, settings, tenant};
use crate::test;

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.extend([
        test("an_image_that_is_here_is_not_for_everybody", tenants),
        test("each_resource_shows_that_it_may_read_its_image", resources),
        test("what_was_shown_is_known_without_the_registry", remembered),
        test("logins_are_tried_in_their_order", order),
        test("a_registry_that_says_yes_to_all_gives_nothing_away", liar),
    ]);
}

fn login(secret: &str, password: &str) -> PullLogin {
    PullLogin {
        secret: secret.to_owned(),
        login: Login::new(Registry::USER.into(), password.into()),
    }
}

fn right() -> Vec<PullLogin> {
    vec![login("right", Registry::PASSWORD)]
}

fn wrong() -> Vec<PullLogin> {
    vec![login("wrong", "guessed")]
}

fn other() -> TenantName {
    "b".parse().unwrap()
}

/// A registry with a private image, and the component and manifest that it is.
async fn private(image: &str) -> (Registry, String, Digest, Digest) {
    let access = Access {
        login: true,
        ..Access::default()
    };
    let registry = Registry::start(access).await.unwrap();
    let image = registry.image(image);
    let author = Fixture::new();
    let upload = Upload::bytes(component(1));
    let stored = author.artifacts.put(&tenant(), upload).await.unwrap();
    let digest = stored.meta.digest;
    let login = Login::new(Registry::USER.into(), Registry::PASSWORD.into());
    let mine = tenant();
    let pushed = author.artifacts.push(&mine, &digest, &image, Some(login));
    let manifest = pushed.await.unwrap();
    (registry, image, digest, manifest)
}

/// The same question on every way that a resource takes: a tag on a cluster, a tag on a host of its own, and a
/// component that somebody found already.
async fn every_way(
    artifacts: &Artifacts,
    tenant: &TenantName,
    image: &str,
    digest: &Digest,
    logins: &[PullLogin],
) -> [Result<Digest, ArtifactError>; 3] {
    let source = ArtifactSource::image(image);
    [
        artifacts.current(tenant, image, logins).await,
        artifacts.resolve(tenant, &source, logins).await,
        artifacts
            .fetch(tenant, image, digest, logins)
            .await
            .map(|()| *digest),
    ]
}

fn all_unauthorized(answers: [Result<Digest, ArtifactError>; 3]) {
    for answer in answers {
        let refused = matches!(
            answer,
            Err(ArtifactError::Oci(OciError::Unauthorized { .. }))
        );
        assert!(refused, "{answer:?}");
    }
}

fn all_fine(answers: [Result<Digest, ArtifactError>; 3], digest: Digest) {
    for answer in answers {
        assert_eq!(answer.unwrap(), digest);
    }
}

async fn tenants() {
    let (registry, image, digest, manifest) = private("team/tool:1").await;
    let host = Fixture::new();
    let artifacts = &host.artifacts;
    let (mine, theirs) = (tenant(), other());
    let found = artifacts.current(&mine, &image, &right()).await.unwrap();
    assert_eq!(found, digest);

    let pinned = registry.image(&format!("team/tool@{manifest}"));
    for image in [&image, &pinned] {
        for logins in [vec![], wrong()] {
            all_unauthorized(every_way(artifacts, &theirs, image, &digest, &logins).await);
        }
    }
    let by_digest = ArtifactSource::Digest(digest);
    let hidden = artifacts.resolve(&theirs, &by_digest, &right()).await;
    assert!(matches!(hidden, Err(ArtifactError::NotFound(_))));
    assert!(artifacts.list(&theirs).is_empty());
    assert!(artifacts.get(&theirs, &digest).is_none());

    // Who may read it gets it, and it is kept once.
    let before = host.files();
    let yes = every_way(artifacts, &theirs, &image, &digest, &right()).await;
    all_fine(yes, digest);
    assert_eq!(host.files(), before);
    // What the one gives up, the other keeps, and has to show anew.
    let gone = artifacts.delete(&mine, &digest, || false).await.unwrap();
    assert!(!gone);
    all_unauthorized(every_way(artifacts, &mine, &image, &digest, &[]).await);
    let still = artifacts.fetch(&theirs, &image, &digest, &right()).await;
    still.unwrap();
}

async fn resources() {
    let (registry, image, digest, _) = private("team/tool:1").await;
    let host = Fixture::new();
    let artifacts = &host.artifacts;
    let mine = tenant();
    all_fine(
        every_way(artifacts, &mine, &image, &digest, &right()).await,
        digest,
    );
    // Another resource of the same tenant, which another host would refuse.
    for logins in [vec![], wrong()] {
        all_unauthorized(every_way(artifacts, &mine, &image, &digest, &logins).await);
    }
    let another = [login("another", Registry::PASSWORD)];
    all_fine(
        every_way(artifacts, &mine, &image, &digest, &another).await,
        digest,
    );
    // The same component under another name of the registry, where it is not.
    let elsewhere = registry.image("team/other:1");
    let fetched = artifacts.fetch(&mine, &elsewhere, &digest, &right()).await;
    assert!(
        matches!(&fetched, Err(ArtifactError::Oci(OciError::NotFound(_)))),
        "{fetched:?}"
    );

    // Its digest alone shows nothing.
    let by_digest = ArtifactSource::Digest(digest);
    let hidden = artifacts.resolve(&mine, &by_digest, &[]).await;
    assert!(matches!(hidden, Err(ArtifactError::NotFound(_))));

    // What somebody pulled by hand may be run by name, as README says of a host of one's own.
    let theirs = other();
    let by_hand = Login::new(Registry::USER.into(), Registry::PASSWORD.into());
    artifacts
        .pull(&theirs, &image, Some(by_hand))
        .await
        .unwrap();
    let source = ArtifactSource::image(&*image);
    for source in [&source, &by_digest] {
        let named = artifacts.resolve(&theirs, source, &[]).await;
        assert_eq!(named.unwrap(), digest);
    }
}

async fn remembered() {
    let (registry, image, digest, _) = private("team/tool:1").await;
    let Fixture { dir, artifacts } = Fixture::new();
    let mine = tenant();
    artifacts
        .fetch(&mine, &image, &digest, &right())
        .await
        .unwrap();
    drop((artifacts, registry));
    let artifacts = Artifacts::open(dir.path(), engine(), settings()).unwrap();
    artifacts
        .fetch(&mine, &image, &digest, &right())
        .await
        .unwrap();
    let source = ArtifactSource::image(&*image);
    for logins in [vec![], wrong()] {
        let asked = artifacts.fetch(&mine, &image, &digest, &logins).await;
        let away = |error: &ArtifactError| {
            matches!(error, ArtifactError::Oci(OciError::Unreachable { .. }))
        };
        assert!(asked.as_ref().is_err_and(away), "{asked:?}");
        let asked = artifacts.resolve(&mine, &source, &logins).await;
        assert!(asked.as_ref().is_err_and(away), "{asked:?}");
    }
    // What is kept of it has no login in it.
    for file in std::fs::read_dir(dir.path().join("meta")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.contains("right"), "the name of the Secret: {text}");
        assert!(!text.contains(Registry::PASSWORD), "{text}");
    }
}

async fn order() {
    let (_registry, image, digest, _) = private("team/tool:1").await;
    let host = Fixture::new();
    let both = [wrong(), right()].concat();
    let found = host.artifacts.current(&tenant(), &image, &both).await;
    assert_eq!(found.unwrap(), digest);
    // It was the second that showed it.
    let fetch = async |logins: &[PullLogin]| {
        let tenant = tenant();
        host.artifacts.fetch(&tenant, &image, &digest, logins).await
    };
    fetch(&right()).await.unwrap();
    assert!(fetch(&wrong()).await.is_err());
}

/// A registry of somebody who knows only the digest of what another tenant has.
async fn liar() {
    let (_registry, image, digest, _) = private("team/tool:1").await;
    let host = Fixture::new();
    let artifacts = &host.artifacts;
    let found = artifacts.current(&tenant(), &image, &right()).await;
    assert_eq!(found.unwrap(), digest);

    let anything = Router::new().fallback(async |method: Method| match method {
        Method::HEAD => "",
        _ => "these are not the bytes",
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, anything).await });
    let image = format!("{address}/team/tool:1");
    let got = artifacts.fetch(&other(), &image, &digest, &[]).await;
    assert!(
        matches!(&got, Err(ArtifactError::DigestMismatch { expected, .. }) if *expected == digest),
        "{got:?}"
    );
    assert!(artifacts.get(&other(), &digest).is_none());
    serving.abort();
}
