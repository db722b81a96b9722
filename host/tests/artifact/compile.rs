//! Uploads: what is accepted runs, what is refused leaves nothing.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use ringfence_api::{ArtifactSource, Digest};
use ringfence_host::artifact::{ArtifactError, Artifacts, CompileError, Launcher, Upload};
use wasmtime::Store;
use wasmtime::component::Linker;

use crate::fixture::{Fixture, component, core_module, engine, settings, slow_component, tenant};
use crate::test;

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.extend([
        test("a_component_is_stored_compiled_and_runs", runs),
        test("refused_inputs_leave_nothing_behind", refused),
        test(
            "too_slow_too_big_and_crashing_compilations_are_told_apart",
            limits,
        ),
        test(
            "concurrent_uploads_of_one_component_compile_it_once",
            concurrent,
        ),
        test("damaged_compiled_code_is_compiled_again", damaged),
        test("a_damaged_component_is_not_compiled", damaged_component),
        test(
            "a_canceled_upload_kills_its_worker_and_leaves_nothing",
            canceled,
        ),
        test("deleting_needs_the_owner_and_no_use", delete),
        test("the_worker_is_locked_in", locked_in),
        test("loaded_components_are_bounded", bounded),
    ]);
}

pub(crate) async fn call(artifacts: &Artifacts, digest: &Digest) -> u32 {
    let prepared = artifacts.prepare(digest).await.unwrap();
    let engine = engine();
    let mut store = Store::new(engine.wasmtime(), ());
    store.set_epoch_deadline(1_000_000);
    let linker = Linker::new(engine.wasmtime());
    let instance = linker
        .instantiate_async(&mut store, &prepared.component)
        .await
        .unwrap();
    let f = instance
        .get_typed_func::<(), (u32,)>(&mut store, "f")
        .unwrap();
    f.call_async(&mut store, ()).await.unwrap().0
}

async fn runs() {
    let fixture = Fixture::new();
    let artifacts = &fixture.artifacts;
    let bytes = component(7);
    let digest = Digest::of(&bytes);
    let stored = artifacts
        .put(&tenant(), Upload::bytes(bytes.clone()))
        .await
        .unwrap();
    assert!(stored.new);
    assert_eq!(
        (stored.meta.digest, stored.meta.size),
        (digest, bytes.len() as u64)
    );
    assert_eq!(artifacts.loaded(), 0, "it is mapped before it is called");
    assert_eq!(call(artifacts, &digest).await, 7);
    assert_eq!(artifacts.loaded(), 1);
    // Again, by another tenant: nothing is compiled, nothing is stored twice.
    let before = fixture.files();
    let other = "b".parse().unwrap();
    assert!(
        !artifacts
            .put(&other, Upload::bytes(bytes))
            .await
            .unwrap()
            .new
    );
    assert_eq!(fixture.files(), before);
    assert_eq!(before.len(), 5, "{before:?}");
    let source = ArtifactSource::Digest(digest);
    assert_eq!(
        artifacts.resolve(&other, &source, &[]).await.unwrap(),
        digest
    );
    let stranger = "c".parse().unwrap();
    let hidden = artifacts.resolve(&stranger, &source, &[]).await;
    assert!(matches!(hidden, Err(ArtifactError::NotFound(_))));
    for (file, mode) in [("aot", 0o700), ("blobs", 0o700), ("tmp", 0o700)] {
        let found = fixture
            .dir
            .path()
            .join(file)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(found & 0o777, mode, "{file}");
    }
    let code = before.iter().find(|name| name.ends_with(".cwasm")).unwrap();
    let found = fixture
        .dir
        .path()
        .join(code)
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(found & 0o777, 0o444);
}

async fn refused() {
    let fixture = Fixture::with(|s| s.store.artifact_bytes = 64 << 10);
    let artifacts = &fixture.artifacts;
    let whole = component(7);
    let mut flipped = whole.clone();
    flipped[8] ^= 0x7f; // the kind of the first section
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("text", b"(component)".to_vec()),
        ("truncated header", whole[..6].to_vec()),
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("core module", core_module()),
        ("flipped", flipped),
        (
            "compiled code",
            engine().wasmtime().precompile_component(&whole).unwrap(),
        ),
        (
            "needs memory64",
            wat::parse_str("(component (core module (memory i64 1)))").unwrap(),
        ),
    ];
    for (what, bytes) in cases {
        let error = artifacts
            .put(&tenant(), Upload::bytes(bytes))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ArtifactError::Refused(_)),
            "{what}: {error:?}"
        );
        assert!(
            error.to_string().len() > 20,
            "{what} without a reason: {error}"
        );
        assert!(
            fixture.files().is_empty(),
            "{what} left {:?}",
            fixture.files()
        );
    }
    let announced = Upload::new(tokio::io::repeat(0)).with_length(1 << 40);
    let streamed = Upload::new(tokio::io::repeat(0));
    for upload in [announced, streamed] {
        let error = artifacts.put(&tenant(), upload).await.unwrap_err();
        assert!(
            matches!(error, ArtifactError::TooLarge { maximum: 65536 }),
            "{error:?}"
        );
    }
    assert!(fixture.files().is_empty());
    assert!(artifacts.list(&tenant()).is_empty());
}

async fn limits() {
    let slow = slow_component(60_000);
    let start = Instant::now();
    let fixture = Fixture::with(|s| s.compile.wall = Duration::from_secs(1));
    let error = fixture
        .artifacts
        .put(&tenant(), Upload::bytes(slow.clone()))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ArtifactError::Compile(CompileError::TooSlow { .. })),
        "{error:?}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "it was not ended in time"
    );
    assert!(fixture.files().is_empty());

    let fixture = Fixture::with(|s| s.compile.cpu = Duration::from_secs(1));
    let error = fixture
        .artifacts
        .put(&tenant(), Upload::bytes(slow.clone()))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ArtifactError::Compile(CompileError::TooSlow { .. })),
        "{error:?}"
    );
    assert!(fixture.files().is_empty());

    let fixture = Fixture::with(|s| s.compile.memory_bytes = 160 << 20);
    let error = fixture
        .artifacts
        .put(&tenant(), Upload::bytes(slow))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ArtifactError::Compile(CompileError::OutOfMemory { .. })
        ),
        "{error:?}"
    );
    assert!(fixture.files().is_empty());

    let fixture = Fixture::with(|s| s.compile.compiled_bytes = 1024);
    let error = fixture
        .artifacts
        .put(&tenant(), Upload::bytes(component(1)))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ArtifactError::Compile(CompileError::TooMuchCode { .. })
        ),
        "{error:?}"
    );
    assert!(fixture.files().is_empty());

    let fixture = Fixture::with(|s| s.launcher = Launcher::new("/bin/false", []));
    let error = fixture
        .artifacts
        .put(&tenant(), Upload::bytes(component(1)))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ArtifactError::Compile(CompileError::Crashed { .. })),
        "{error:?}"
    );
    assert!(fixture.files().is_empty());
}

async fn concurrent() {
    let fixture = Fixture::new();
    let bytes = component(9);
    let puts = (0..6).map(|n| {
        let artifacts = fixture.artifacts.clone();
        let bytes = bytes.clone();
        tokio::spawn(async move {
            let tenant = format!("t{n}").parse().unwrap();
            artifacts
                .put(&tenant, Upload::bytes(bytes))
                .await
                .unwrap()
                .new
        })
    });
    let mut compiled = 0;
    for put in puts.collect::<Vec<_>>() {
        compiled += usize::from(put.await.unwrap());
    }
    assert_eq!(compiled, 1);
    assert_eq!(fixture.files().len(), 5);
}

async fn damaged() {
    let fixture = Fixture::new();
    let bytes = component(3);
    let digest = Digest::of(&bytes);
    fixture
        .artifacts
        .put(&tenant(), Upload::bytes(bytes))
        .await
        .unwrap();
    let Fixture { dir, artifacts } = fixture;
    drop(artifacts);
    let find = |end: &str| {
        let files = crate::fixture::files(dir.path());
        dir.path()
            .join(files.iter().find(|name| name.ends_with(end)).unwrap())
    };
    let rewrite = |path: &std::path::Path, bytes: &[u8]| {
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let mut code = std::fs::read(find(".cwasm")).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 1;
    for damage in [
        "a flipped bit",
        "an empty file",
        "no file",
        "not compiled code, but the right sum",
    ] {
        let (path, sum) = (find(".cwasm"), find(".sum"));
        match damage {
            "a flipped bit" => rewrite(&path, &code),
            "an empty file" => rewrite(&path, b""),
            "no file" => std::fs::remove_file(path).unwrap(),
            _ => {
                rewrite(&path, b"junk");
                rewrite(
                    &sum,
                    format!("4 {:08x}\n", crc32fast::hash(b"junk")).as_bytes(),
                );
            }
        }
        let artifacts = Artifacts::open(dir.path(), engine(), settings()).unwrap();
        assert_eq!(call(&artifacts, &digest).await, 3, "{damage}");
    }
}

async fn damaged_component() {
    let fixture = Fixture::new();
    let bytes = component(3);
    let digest = Digest::of(&bytes);
    fixture
        .artifacts
        .put(&tenant(), Upload::bytes(bytes))
        .await
        .unwrap();
    for name in fixture.files() {
        let path = fixture.dir.path().join(&name);
        if name.ends_with(".cwasm") {
            std::fs::remove_file(&path).unwrap();
        } else if name.ends_with(".wasm") {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, component(4)).unwrap();
        }
    }
    let error = fixture.artifacts.prepare(&digest).await.unwrap_err();
    assert!(
        matches!(error, ArtifactError::Damaged(found) if found == digest),
        "{error:?}"
    );
}

async fn canceled() {
    let fixture = Fixture::new();
    let artifacts = fixture.artifacts.clone();
    let tenant = tenant();
    let put = artifacts.put(&tenant, Upload::bytes(slow_component(60_000)));
    let canceled = tokio::time::timeout(Duration::from_millis(500), put).await;
    assert!(canceled.is_err(), "it was compiled in no time");
    assert!(fixture.files().is_empty(), "{:?}", fixture.files());
    // The next one has its turn at once.
    artifacts
        .put(&tenant, Upload::bytes(component(1)))
        .await
        .unwrap();
}

async fn delete() {
    let fixture = Fixture::new();
    let artifacts = &fixture.artifacts;
    let bytes = component(5);
    let digest = Digest::of(&bytes);
    artifacts
        .put(&tenant(), Upload::bytes(bytes))
        .await
        .unwrap();
    let other = "b".parse().unwrap();
    let foreign = artifacts.delete(&other, &digest, || false).await;
    assert!(matches!(foreign, Err(ArtifactError::NotFound(_))));
    let used = artifacts.delete(&tenant(), &digest, || true).await;
    assert!(matches!(used, Err(ArtifactError::InUse(_))));
    let prepared = artifacts.prepare(&digest).await.unwrap();
    assert!(
        artifacts
            .delete(&tenant(), &digest, || false)
            .await
            .unwrap()
    );
    assert!(fixture.files().is_empty());
    let gone = artifacts.prepare(&digest).await;
    assert!(matches!(gone, Err(ArtifactError::NotFound(_))));
    // Who holds it can go on calling it.
    let engine = engine();
    let mut store = Store::new(engine.wasmtime(), ());
    store.set_epoch_deadline(1_000_000);
    let linker = Linker::<()>::new(engine.wasmtime());
    linker
        .instantiate_async(&mut store, &prepared.component)
        .await
        .unwrap();
}

/// Asks a worker for its answer directly: what it holds itself to is in there.
async fn locked_in() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in");
    std::fs::write(&input, component(1)).unwrap();
    let task = r#"{"limits":{"memory_bytes":2147483648,"cpu_seconds":10,"wall_seconds":10,"input_bytes":9999,"output_bytes":9999999}}"#;
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([crate::WORKER, task])
        .env_clear()
        .stdin(std::fs::File::open(&input).unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(!output.stdout.is_empty());
    // Both are in every kernel that this project's tests run on.
    assert!(
        text.contains(r#""held":{"landlock":true,"seccomp":true}"#),
        "{text}"
    );
}

async fn bounded() {
    let fixture = Fixture::with(|s| s.loaded = 2);
    for n in 0..4 {
        let bytes = component(n);
        let digest = Digest::of(&bytes);
        fixture
            .artifacts
            .put(&tenant(), Upload::bytes(bytes))
            .await
            .unwrap();
        assert_eq!(call(&fixture.artifacts, &digest).await, n);
    }
    assert_eq!(fixture.artifacts.loaded(), 2);
}
