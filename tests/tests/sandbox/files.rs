//! Folders: nothing outside is reached, nothing is written where that is not granted, and what is
//! written is bounded.

use std::os::unix::fs::symlink;
use std::path::Path;

use libtest_mimic::Trial;
use ringfence_api::FolderAccess;
use ringfence_host::function::FunctionResult;
use ringfence_host::limits::Limits;
use ringfence_test_guests as guests;
use ringfence_tests::{Setup, TestHost, json_of, reads_and_writes, text_of};
use serde_json::{Value, json};

use crate::{limit, test};

const SECRET: &str = "outside of what is granted";

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.push(test("a_read_only_folder_stays_as_it_is", read_only));
    tests.push(test("a_missing_folder_is_unavailable", missing));
}

/// Two sandboxes at once append to the same file: every line is there, and whole.
pub(crate) async fn append(host: TestHost) {
    const LINES: usize = 1_000;
    let folder = tempfile::tempdir().unwrap();
    host.tool("append", guests::APPEND, reads_and_writes(folder.path()))
        .await;
    for (function, path) in [
        ("append_lines", "/data/lines"),
        ("append_and_drop", "dropped"),
    ] {
        let append = async |name: &str| {
            let arguments = json!({ "path": path, "name": name, "count": LINES });
            let done = host.call("append", function, arguments).await.unwrap();
            assert!(!done.is_error, "{done:?}");
        };
        tokio::join!(append("one"), append("two"));
        let file = path.rsplit('/').next().unwrap();
        let found = std::fs::read_to_string(folder.path().join(file)).unwrap();
        let mut found: Vec<&str> = found.lines().collect();
        let both = ["one", "two"].into_iter();
        let mut expected: Vec<String> = both
            .flat_map(|name| (0..LINES).map(move |number| format!("{name}-{number}")))
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        println!("{function}: {} of {} lines", found.len(), expected.len());
        assert!(found == expected, "{function}: {} lines", found.len());
    }
}

async fn call(host: &TestHost, function: &str, arguments: Value) -> FunctionResult {
    host.call("paths", function, arguments).await.unwrap()
}

/// Everything below a folder, links not followed.
fn tree(folder: &Path) -> Vec<String> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    found
}

pub(crate) async fn paths(host: TestHost) {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("granted");
    std::fs::create_dir(&folder).unwrap();
    let secret = outer.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::write(folder.join("inside"), "inside").unwrap();
    // Links that somebody left there before.
    symlink(&secret, folder.join("absolute")).unwrap();
    symlink("../secret", folder.join("relative")).unwrap();
    symlink("..", folder.join("up")).unwrap();
    symlink("/", folder.join("root")).unwrap();
    host.tool("paths", guests::PATHS, reads_and_writes(&folder))
        .await;

    assert_eq!(
        json_of(&call(&host, "preopens", json!({})).await),
        json!(["/data"])
    );
    let inside = call(&host, "read_file", json!({ "path": "/data/inside" })).await;
    assert_eq!(text_of(&inside), "inside");
    // Links that the guest makes itself, where it may make them at all.
    for (name, target) in [("own-relative", "../secret"), ("own-up", "..")] {
        let path = format!("/data/{name}");
        call(
            &host,
            "make_symlink",
            json!({ "target": target, "path": path }),
        )
        .await;
    }
    let absolute = json!({ "target": secret.to_str().unwrap(), "path": "/data/own-absolute" });
    call(&host, "make_symlink", absolute).await;

    let outside = secret.to_str().unwrap();
    let routes = [
        "/data/../secret",
        "/data/absolute",
        "/data/relative",
        "/data/up/secret",
        "/data/own-relative",
        "/data/own-up/secret",
        "/data/own-absolute",
        "/data/./x/../../secret",
        "../secret",
        outside,
        "/etc/hostname",
        "/data/root/etc/hostname",
        "/proc/self/environ",
    ];
    for path in routes {
        let read = call(&host, "read_file", json!({ "path": path })).await;
        assert!(read.is_error, "{path}: {read:?}");
        let raw = path.strip_prefix("/data/").unwrap_or(path);
        let read = call(&host, "raw_read", json!({ "path": raw })).await;
        assert!(read.is_error, "raw {path}: {read:?}");
        let write = json!({ "path": path, "text": "overwritten" });
        call(&host, "write_file", write).await;
        let linked = json!({ "target": path, "path": "/data/hard" });
        let linked = call(&host, "make_link", linked).await;
        // What is in the folder may be linked, also a link; it leads nowhere further.
        let read = call(&host, "read_file", json!({ "path": "/data/hard" })).await;
        assert!(
            linked.is_error || !text_of(&read).contains(SECRET),
            "link to {path}"
        );
        drop(std::fs::remove_file(folder.join("hard")));
        let moved = json!({ "old": "/data/inside", "new": path });
        if path.contains("..") {
            assert!(
                call(&host, "move_file", moved).await.is_error,
                "move to {path}"
            );
        }
    }
    for path in ["/data/..", "/data/up", "/data/root", "/", "/data/own-up"] {
        let listed = call(&host, "list_names", json!({ "path": path })).await;
        let seen = text_of(&listed);
        assert!(!seen.contains("secret"), "{path}: {seen}");
    }
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), SECRET);
    assert_eq!(tree(outer.path()), ["granted", "secret"]);
}

async fn read_only(host: TestHost) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "as it was").unwrap();
    let setup = Setup::default().folder(folder.path(), "/data", FolderAccess::ReadOnly);
    host.tool("paths", guests::PATHS, setup).await;
    let read = call(&host, "read_file", json!({ "path": "/data/file" })).await;
    assert_eq!(text_of(&read), "as it was");
    for (function, arguments) in [
        (
            "write_file",
            json!({ "path": "/data/file", "text": "changed" }),
        ),
        ("write_file", json!({ "path": "/data/new", "text": "new" })),
        (
            "make_symlink",
            json!({ "target": "file", "path": "/data/link" }),
        ),
        (
            "make_link",
            json!({ "target": "/data/file", "path": "/data/link" }),
        ),
        (
            "move_file",
            json!({ "old": "/data/file", "new": "/data/moved" }),
        ),
        ("remove_file", json!({ "path": "/data/file" })),
        ("make_folder", json!({ "path": "/data/folder" })),
    ] {
        let answer = call(&host, function, arguments).await;
        assert!(answer.is_error, "{function}: {answer:?}");
    }
    assert_eq!(tree(folder.path()), ["file"]);
    let file = std::fs::read_to_string(folder.path().join("file"));
    assert_eq!(file.unwrap(), "as it was");
}

async fn missing(host: TestHost) {
    let gone = tempfile::tempdir().unwrap().path().to_owned();
    host.tool("paths", guests::PATHS, reads_and_writes(&gone))
        .await;
    let error = host.call("paths", "preopens", json!({})).await.unwrap_err();
    assert_eq!(error.code(), "unavailable");
    // The guest's name of the folder, not the host's.
    let text = error.to_string();
    assert!(text.contains("/data"), "{text}");
    assert!(!text.contains(gone.to_str().unwrap()), "{text}");
}

pub(crate) async fn fill(host: TestHost) {
    const MOST: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let mut setup = reads_and_writes(folder.path());
    setup.limits = Limits {
        folder_write_bytes: MOST,
        ..Limits::TOOL
    };
    host.tool("fill", guests::FILL, setup).await;
    let call = |function, arguments: Value| host.call("fill", function, arguments);
    let little = json!({ "path": "/data/little", "bytes": 100_000 });
    assert_eq!(
        json_of(&call("fill", little).await.unwrap()),
        json!([100_000, null])
    );
    let much = json!({ "path": "/data/much", "bytes": 10 * MOST });
    let answer = call("fill", much.clone()).await;
    assert_eq!(answer, limit("folder-write-bytes", MOST));
    let answer = call("stretch", much).await;
    assert_eq!(answer, limit("folder-write-bytes", MOST));
    let many = json!({ "folder": "/data", "count": 100_000 });
    let answer = call("litter", many).await;
    assert_eq!(answer, limit("folder-write-bytes", MOST));
    let (mut bytes, mut files) = (0, 0);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        bytes += entry.unwrap().metadata().unwrap().len();
        files += 1;
    }
    // Three calls, each within its own quota.
    assert!(bytes <= 3 * MOST, "{bytes}");
    assert!(files <= 3 + MOST / 4096, "{files}");
}
