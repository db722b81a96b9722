//! A host that loses power while it records: it is killed in the middle of runs, and the end of its newest
//! file of records is torn as a file system may leave it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::outside::{http, status};
use super::{DESK, Host, until};

/// Runs after which the power goes: many times what gathers before it is written, and less than one list shows.
const RUNS: usize = 100;

/// The runs that stand in the whole lines of a file of records.
fn recorded(file: &Path) -> BTreeSet<String> {
    let bytes = fs::read(file).unwrap();
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    bytes[..whole]
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter_map(|record| record["run"].as_str().map(ToOwned::to_owned))
        .collect()
}

/// The file of records that was written last.
fn newest(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder.join("data/records")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let written = |path: &PathBuf| fs::metadata(path).unwrap().len() > 0;
    files.filter(written).max().unwrap()
}

fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[test]
fn whole_records_are_read_back_and_torn_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(folder.path(), &[]);
    host.ok(&["apply", "-f", &host.file("desk.yaml", DESK)]);
    let url = host.url.clone();
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let runner = std::thread::spawn(move || {
        let mut acknowledged = BTreeSet::new();
        // Until the host is gone, which may be in the middle of an answer.
        while let Ok(answer) = std::panic::catch_unwind(|| {
            let path = "/api/v1/tenants/default/agents/desk/run";
            body(&http(&url, "POST", path, r#"{"input": "hi"}"#))
        }) {
            acknowledged.insert(answer["run"].as_str().unwrap().to_owned());
            counter.fetch_add(1, Ordering::Relaxed);
            // Not more than one list shows.
            std::thread::sleep(Duration::from_millis(2));
        }
        acknowledged
    });
    until(|| count.load(Ordering::Relaxed) >= RUNS);
    host.kill();
    let acknowledged = runner.join().unwrap();

    let torn = newest(folder.path());
    let before = recorded(&torn);
    // Records gather for some milliseconds, so that the last runs may be missing, and no others.
    let missing: Vec<_> = acknowledged.difference(&before).collect();
    assert!(missing.len() < acknowledged.len() / 4 + 5, "{missing:?}");
    let are_the_last = missing
        .first()
        .is_none_or(|first| Some(*first) > before.last());
    assert!(are_the_last, "{missing:?}");
    let good = fs::read(&torn).unwrap();
    let tears: [(&str, Vec<u8>); 4] = [
        ("a byte is missing", good[..good.len() - 1].to_vec()),
        ("half of it is missing", good[..good.len() / 2].to_vec()),
        ("zeros behind it", [good.as_slice(), &[0; 4096]].concat()),
        (
            "half a record behind it",
            [good.as_slice(), &good[..good.len().min(99)]].concat(),
        ),
    ];
    for (what, bytes) in tears {
        fs::write(&torn, bytes).unwrap();
        let whole = recorded(&torn);
        let host = Host::start(folder.path(), &[]);
        let listed = http(
            &host.url,
            "GET",
            "/api/v1/tenants/default/runs?limit=1000",
            "",
        );
        let listed = body(&listed);
        let listed = listed["items"].as_array().unwrap();
        let runs: BTreeSet<String> = listed
            .iter()
            .map(|run| run["run"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(runs, whole, "{what}");
        for run in [runs.first().unwrap(), runs.last().unwrap()] {
            let path = format!("/api/v1/tenants/default/runs/{run}");
            let answer = http(&host.url, "GET", &path, "");
            assert_eq!(status(&answer), "200", "{what}: {answer}");
            assert!(
                !body(&answer)["calls"].as_array().unwrap().is_empty(),
                "{what}"
            );
        }
        host.kill();
    }
}
