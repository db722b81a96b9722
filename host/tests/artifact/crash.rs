//! `kill -9` in the middle of uploads.

use std::fs;
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
    tests.push(test(
        "what_a_disk_damages_is_never_served_and_mended_by_a_push",
        damaged,
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
        fs::write(Path::new(&directory).join("ready"), b"").unwrap();
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
    fs::remove_file(&ready).unwrap();
    assert!(temporary() >= 2);

    let artifacts = Artifacts::open(dir.path(), engine(), settings()).unwrap();
    assert_eq!(artifacts.list(&tenant()).len(), 2);
    for n in 0..2 {
        artifacts.prepare(&Digest::of(&component(n))).await.unwrap();
    }
    assert_eq!(temporary(), 0);
    assert_eq!(files(dir.path()).len(), 10, "{:?}", files(dir.path()));
}

/// What happens to a file, in words and to its bytes.
type Damage = (&'static str, fn(&mut Vec<u8>));

/// What a failing disk or file system makes of a file.
const DAMAGES: [Damage; 4] = [
    ("emptied", Vec::clear),
    ("cut off", |bytes| bytes.truncate(bytes.len() / 2)),
    ("zeroed", |bytes| bytes.fill(0)),
    ("flipped", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }),
];

async fn damaged() {
    let component = component(7);
    let digest = Digest::of(&component);
    let good = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(good.path(), engine(), settings()).unwrap();
    let put = async |artifacts: &Artifacts| {
        let upload = Upload::bytes(component.clone());
        artifacts.put(&tenant(), upload).await.unwrap();
    };
    put(&artifacts).await;
    drop(artifacts);
    let names = files(good.path());
    assert_eq!(names.len(), 5, "{names:?}");
    for name in &names {
        for (what, damage) in DAMAGES {
            let dir = tempfile::tempdir().unwrap();
            for other in &names {
                let to = dir.path().join(other);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                let mut bytes = fs::read(good.path().join(other)).unwrap();
                if other == name {
                    damage(&mut bytes);
                }
                fs::write(to, bytes).unwrap();
            }
            let context = format!("{name} {what}");
            let artifacts = Artifacts::open(dir.path(), engine(), settings()).unwrap();
            if artifacts.get(&tenant(), &digest).is_some() {
                match artifacts.prepare(&digest).await {
                    Ok(prepared) => assert_eq!(prepared.digest, digest, "{context}"),
                    Err(error) => {
                        let error = error.to_string();
                        assert!(error.contains("push it again"), "{context}: {error}");
                    }
                }
            }
            put(&artifacts).await;
            artifacts.prepare(&digest).await.expect(&context);
            let inspected = artifacts.inspect(&digest).await.expect(&context);
            assert_eq!(inspected.export_names(), ["f"], "{context}");
        }
    }
}
