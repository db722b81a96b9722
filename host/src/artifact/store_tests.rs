use std::io::Write;

use super::*;

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

fn limits(tenant_bytes: u64, store_bytes: u64) -> StoreLimits {
    StoreLimits {
        artifact_bytes: 100,
        tenant_bytes,
        store_bytes,
    }
}

fn put(store: &Store, who: &str, bytes: &[u8]) -> Result<Digest, ArtifactError> {
    let mut file = files::temporary(&store.temp_dir()).unwrap();
    file.write_all(bytes).unwrap();
    let digest = Digest::of(bytes);
    store.commit(&tenant(who), digest, file, b"{}", 0)?;
    Ok(digest)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_stored_survives_reopening_and_what_is_unfinished_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreLimits::default()).unwrap();
    let digest = put(&store, "a", b"one").unwrap();
    let before = store.get(&tenant("a"), &digest).unwrap();
    drop(store);
    // As if the process had died at each step of storing another one.
    fs::write(dir.path().join("tmp/half"), b"x").unwrap();
    let other = Digest::of(b"two").hex();
    fs::write(
        dir.path().join("blobs").join(&other).with_extension("wasm"),
        b"two",
    )
    .unwrap();
    fs::write(
        dir.path().join("blobs").join(&other).with_extension("json"),
        b"{}",
    )
    .unwrap();
    let store = Store::open(dir.path(), StoreLimits::default()).unwrap();
    assert_eq!(store.get(&tenant("a"), &digest), Some(before));
    assert_eq!(names(&dir.path().join("tmp")), [""; 0]);
    let expected = [
        format!("{}.json", digest.hex()),
        format!("{}.wasm", digest.hex()),
    ];
    assert_eq!(names(&dir.path().join("blobs")), expected);
}

#[test]
fn a_shortened_blob_is_not_an_artifact() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreLimits::default()).unwrap();
    let digest = put(&store, "a", b"one").unwrap();
    let blob = store.blob(&digest);
    drop(store);
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, b"o").unwrap();
    let store = Store::open(dir.path(), StoreLimits::default()).unwrap();
    assert!(!store.contains(&digest));
    assert_eq!(names(&dir.path().join("blobs")), [""; 0]);
    assert_eq!(names(&dir.path().join("meta")), [""; 0]);
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Store::open(dir.path(), StoreLimits::default()).unwrap();
    let second = Store::open(dir.path(), StoreLimits::default());
    assert!(matches!(second, Err(ArtifactError::Locked(_))));
}

#[test]
fn tenants_see_only_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreLimits::default()).unwrap();
    let (a, b) = (tenant("a"), tenant("b"));
    let digest = put(&store, "a", b"one").unwrap();
    assert_eq!(store.get(&b, &digest), None);
    assert!(store.list(&b).is_empty());
    assert!(matches!(
        store.release(&b, &digest),
        Err(ArtifactError::NotFound(_))
    ));
    assert_eq!(put(&store, "b", b"one").unwrap(), digest);
    assert_eq!(store.list(&b).len(), 1);
    assert_eq!(
        store.get(&b, &digest).unwrap().owners,
        BTreeSet::from([b.clone()])
    );
    // The first owner's deletion takes nothing from the second.
    assert!(!store.release(&a, &digest).unwrap());
    assert_eq!(store.get(&a, &digest), None);
    assert!(store.blob(&digest).is_file());
    assert!(store.release(&b, &digest).unwrap());
    assert_eq!(names(&dir.path().join("blobs")), [""; 0]);
}

#[test]
fn quotas_count_per_tenant_and_in_total() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), limits(6, 9)).unwrap();
    put(&store, "a", b"123").unwrap();
    let digest = put(&store, "a", b"456").unwrap();
    let full = put(&store, "a", b"789").unwrap_err();
    assert!(matches!(
        full,
        ArtifactError::Quota {
            whose: "this tenant",
            maximum: 6
        }
    ));
    put(&store, "b", b"abc").unwrap();
    let full = put(&store, "b", b"def").unwrap_err();
    assert!(matches!(
        full,
        ArtifactError::Quota {
            whose: "this host",
            maximum: 9
        }
    ));
    // Sharing costs the store nothing, but the tenant pays.
    put(&store, "b", b"123").unwrap();
    assert!(matches!(
        put(&store, "b", b"456"),
        Err(ArtifactError::Quota { .. })
    ));
    assert_eq!(store.usage(&tenant("b")), (6, 9));
    store.set_compiled_bytes(&digest, 100);
    assert_eq!(store.usage(&tenant("a")), (106, 109));
    assert_eq!(names(&dir.path().join("tmp")), [""; 0]);
}

#[test]
fn a_pin_moves_and_goes_with_its_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreLimits::default()).unwrap();
    let (one, two) = (
        put(&store, "a", b"one").unwrap(),
        put(&store, "a", b"two").unwrap(),
    );
    put(&store, "b", b"one").unwrap();
    let pin = |who: &str| ImagePin {
        tenant: tenant(who),
        image: "r/x:1".into(),
        manifest: Digest::of(b"m"),
    };
    store.pin(pin("a"), &one).unwrap();
    store.pin(pin("b"), &one).unwrap();
    store.pin(pin("a"), &two).unwrap();
    assert_eq!(store.pinned(&tenant("a"), "r/x:1"), Some(two));
    assert_eq!(store.pinned(&tenant("b"), "r/x:1"), Some(one));
    assert_eq!(store.pinned(&tenant("c"), "r/x:1"), None);
    store.release(&tenant("b"), &one).unwrap();
    assert_eq!(store.pinned(&tenant("b"), "r/x:1"), None);
    drop(store);
    let store = Store::open(dir.path(), StoreLimits::default()).unwrap();
    assert_eq!(store.pinned(&tenant("a"), "r/x:1"), Some(two));
}

#[test]
fn what_a_tenant_has_shown_counts_for_it_alone_and_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), StoreLimits::default()).unwrap();
    let digest = put(&store, "a", b"one").unwrap();
    store.adopt(&tenant("b"), &digest).unwrap();
    let read = |who: &str, repository: &str, secret: Option<&str>| ImageRead {
        tenant: tenant(who),
        repository: repository.to_owned(),
        secret: secret.map(ToOwned::to_owned),
    };
    let may = |store: &Store, who: &str, repository: &str, secrets: &[&str]| {
        store.may_run(&tenant(who), &digest, repository, secrets)
    };
    assert!(!may(&store, "a", "r/x", &["s"]), "nothing was shown");
    store
        .note_read(read("a", "r/x", Some("s")), &digest)
        .unwrap();
    store.note_read(read("b", "r/y", None), &digest).unwrap();
    for (who, repository, secrets, yes) in [
        ("a", "r/x", &["s"][..], true),
        ("a", "r/x", &["t", "s"], true),
        ("a", "r/x", &["t"], false),
        ("a", "r/x", &[], false),
        ("a", "r/y", &["s"], false),
        ("b", "r/x", &["s"], false),
        ("b", "r/y", &[], true),
        ("b", "r/y", &["s"], true),
        ("c", "r/y", &[], false),
    ] {
        let found = may(&store, who, repository, secrets);
        assert_eq!(found, yes, "{who} {repository} {secrets:?}");
    }
    // Others are not told.
    let seen = store.get(&tenant("a"), &digest).unwrap();
    assert_eq!(seen.reads, BTreeSet::from([read("a", "r/x", Some("s"))]));
    for n in 0..=READS {
        let one = read("a", &format!("r/{n:03}"), None);
        store.note_read(one, &digest).unwrap();
    }
    assert!(may(&store, "a", &format!("r/{READS:03}"), &[]));
    assert!(
        may(&store, "b", "r/y", &[]),
        "of others nothing is forgotten"
    );
    let reads = |store: &Store| store.get(&tenant("a"), &digest).unwrap().reads.len();
    assert_eq!(reads(&store), READS);
    // What somebody brought needs no showing.
    store.give(&tenant("a"), &digest).unwrap();
    assert!(may(&store, "a", "anything", &[]));
    assert!(!may(&store, "b", "anything", &[]));
    drop(store);
    let store = Store::open(dir.path(), StoreLimits::default()).unwrap();
    assert!(may(&store, "a", "anything", &[]));
    assert!(may(&store, "b", "r/y", &[]));
    store.release(&tenant("a"), &digest).unwrap();
    store.adopt(&tenant("a"), &digest).unwrap();
    assert!(
        !may(&store, "a", "anything", &[]),
        "nothing of it comes back"
    );
    assert_eq!(reads(&store), 0);
}
