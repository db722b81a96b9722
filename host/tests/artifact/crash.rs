//! `kill -9` in the middle of uploads.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use ringfence_api::Digest;
use ringfence_host::artifact::{Artifacts, Upload};

use crate::fixture::{component, engine, files, settings, slow_component, tenant};
use crate::test;

/// First argument of the process that is killed.
pub(crate) const CHILD: &str = "upload-until-killed";

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.push(test(
        "a_killed_host_loses_nothing_stored_and_keeps_nothing_else",
        killed,
    ));
}

/// Uploads one component after the other, says so after each, and ends with one that takes long.
pub(crate) fn child(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let directory = arguments.next().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let artifacts = Artifacts::open(Path::new(&directory), engine(), settings()).unwrap();
        for n in 0..2 {
            artifacts
                .put(&tenant(), Upload::bytes(component(n)))
                .await
                .unwrap();
        }
        std::fs::write(Path::new(&directory).join("ready"), b"").unwrap();
        let _ = artifacts
            .put(&tenant(), Upload::bytes(slow_component(200_000)))
            .await;
    });
    ExitCode::SUCCESS
}

async fn killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg(CHILD)
        .arg(dir.path())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let ready = dir.path().join("ready");
    // Until the last upload and its worker are under way: a temporary file each.
    let temporary = || {
        files(dir.path())
            .iter()
            .filter(|name| name.starts_with("tmp/"))
            .count()
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    while !(ready.exists() && temporary() >= 2) {
        assert!(Instant::now() < deadline, "the child does not get there");
        assert!(
            child.try_wait().unwrap().is_none(),
            "the child ended by itself"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(&ready).unwrap();
    assert!(temporary() >= 2);

    let artifacts = Artifacts::open(dir.path(), engine(), settings()).unwrap();
    assert_eq!(artifacts.list(&tenant()).len(), 2);
    for n in 0..2 {
        artifacts.prepare(&Digest::of(&component(n))).await.unwrap();
    }
    assert_eq!(temporary(), 0);
    assert_eq!(files(dir.path()).len(), 10, "{:?}", files(dir.path()));
}
