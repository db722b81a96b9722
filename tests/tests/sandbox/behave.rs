//! Guests that behave well.

use ringfence_api::FolderAccess;
use ringfence_host::error::CallError;
use ringfence_host::message::Part;
use ringfence_host::output::{OutputEvent, events};
use ringfence_test_guests as guests;
use ringfence_tests::{Setup, TestHost, json_of, reads_and_writes, text_of};
use serde_json::json;

pub(crate) async fn echo(host: TestHost) {
    host.tool("echo", guests::ECHO, Setup::default()).await;
    let text = "ä line\nand \u{0} another";
    let said = host.call("echo", "echo", json!({ "text": text })).await;
    assert_eq!(text_of(&said.unwrap()), text);
    // Beyond what a JSON number keeps: text, in both directions.
    let sum = json!({ "a": "9007199254740993", "b": "1" });
    let sum = host.call("echo", "add", sum).await.unwrap();
    assert_eq!(text_of(&sum), "9007199254740994");
    let failed = host.call("echo", "fail", json!({ "why": "because" })).await;
    let failed = failed.unwrap();
    assert!(failed.is_error);
    assert_eq!(text_of(&failed), "because");
    let wrong = host.call("echo", "add", json!({ "a": 1 })).await;
    assert!(matches!(wrong, Err(CallError::Invalid(_))), "{wrong:?}");
    let unknown = host.call("echo", "nothing", json!({})).await;
    assert!(
        matches!(unknown, Err(CallError::NotFound(_))),
        "{unknown:?}"
    );
}

pub(crate) async fn counter(host: TestHost) {
    host.tool("counter", guests::COUNTER, Setup::default())
        .await;
    for _ in 0..3 {
        let count = host.call("counter", "count", json!({})).await.unwrap();
        assert_eq!(json_of(&count), 1);
    }
}

pub(crate) async fn sleep(host: TestHost) {
    host.tool("sleep", guests::SLEEP, Setup::default()).await;
    let began = std::time::Instant::now();
    let slept = host.call("sleep", "sleep_ms", json!({ "ms": 50 })).await;
    assert!(!slept.unwrap().is_error);
    assert!(began.elapsed().as_millis() >= 50);
}

pub(crate) async fn tally(host: TestHost) {
    let folder = tempfile::tempdir().unwrap();
    host.tool("tally", guests::TALLY, reads_and_writes(folder.path()))
        .await;
    for name in ["a", "b", "a"] {
        let mark = json!({ "folder": "/data", "name": name, "ms": 1 });
        assert!(!host.call("tally", "mark", mark).await.unwrap().is_error);
    }
    let marks = ["a.0", "a.1", "b.0"];
    assert!(marks.iter().all(|mark| folder.path().join(mark).is_file()));
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        marks.len()
    );
}

pub(crate) async fn kv(host: TestHost) {
    let folder = tempfile::tempdir().unwrap();
    let with = |access| Setup::default().folder(folder.path(), "/data", access);
    host.tool("writes", guests::KV, with(FolderAccess::ReadWrite))
        .await;
    host.tool("reads", guests::KV, with(FolderAccess::ReadOnly))
        .await;
    host.tool("neither", guests::KV, Setup::default()).await;
    let put = |tool| host.call(tool, "put", json!({ "key": "k", "value": tool }));
    let get = |tool| host.call(tool, "get", json!({ "key": "k" }));
    assert!(!put("writes").await.unwrap().is_error);
    assert!(put("reads").await.unwrap().is_error);
    assert!(put("neither").await.unwrap().is_error);
    for tool in ["writes", "reads"] {
        assert_eq!(json_of(&get(tool).await.unwrap()), "writes");
    }
    let nothing = get("neither").await.unwrap();
    assert!(!text_of(&nothing).contains("writes"), "{nothing:?}");
    let stored = std::fs::read_to_string(folder.path().join("k")).unwrap();
    assert_eq!(stored, "writes");
}

pub(crate) async fn command_cat(host: TestHost) {
    host.tool("cat", guests::COMMAND_CAT, Setup::default())
        .await;
    let line = json!({ "args": ["-a", "two words", ""], "stdin": "from stdin" });
    let said = host.call("cat", "run", line).await.unwrap();
    assert!(!said.is_error);
    assert_eq!(text_of(&said), "-a\ntwo words\n\nfrom stdin");
    let silent = host.call("cat", "run", json!({})).await.unwrap();
    assert_eq!(text_of(&silent), "");
    let wrong = host.call("cat", "run", json!({ "argv": [] })).await;
    assert!(matches!(wrong, Err(CallError::Invalid(_))), "{wrong:?}");
}

pub(crate) async fn command_exit(host: TestHost) {
    host.tool("exit", guests::COMMAND_EXIT, Setup::default())
        .await;
    let context = host.context();
    let run = context.run;
    let arguments = json!({ "args": ["7"] });
    let failed = host.call_in(context, "exit", "run", arguments).await;
    let failed = failed.unwrap();
    assert!(failed.is_error);
    // WASI 0.2 commands only say that they failed, not how.
    let expected = ["exit code 1", "to stdout\n", "to stderr\n"];
    let texts = failed.content.iter().map(|part| match part {
        Part::Text(text) => text.as_str(),
        other => panic!("{other:?}"),
    });
    assert_eq!(texts.collect::<Vec<_>>(), expected);
    let logs = host.host().records().logs(host.tenant(), run);
    assert_eq!(logs.len(), 1);
    assert_eq!(
        (logs[0].source.as_str(), logs[0].text.as_str()),
        ("tool/exit", "to stderr\n")
    );
    let fine = host.call("exit", "run", json!({ "args": ["0"] })).await;
    let fine = fine.unwrap();
    assert!(!fine.is_error);
    assert_eq!(text_of(&fine), "to stdout\n");
}

pub(crate) async fn conformance(host: TestHost) {
    host.tool("all", guests::CONFORMANCE, Setup::default().output())
        .await;
    let parts = |function: &'static str| {
        let host = host.clone();
        async move { host.call("all", function, json!({})).await.unwrap().content }
    };
    let simple = "This is a simple text response for testing.";
    assert_eq!(
        parts("test_simple_text").await,
        [Part::Text(simple.to_owned())]
    );
    let image = parts("test_image_content").await;
    assert!(matches!(&image[..], [Part::Image(blob)] if blob.data.starts_with(b"\x89PNG")));
    let audio = parts("test_audio_content").await;
    assert!(matches!(&audio[..], [Part::Audio(blob)] if blob.data.starts_with(b"RIFF")));
    let document = parts("test_embedded_resource").await;
    assert!(
        matches!(&document[..], [Part::Resource(found)] if found.uri == "test://embedded-resource")
    );
    let several = parts("test_multiple_content_types").await;
    assert!(matches!(
        &several[..],
        [Part::Text(_), Part::Image(_), Part::Resource(_)]
    ));
    let failed = host.call("all", "test_error_handling", json!({})).await;
    assert!(failed.unwrap().is_error);
    let slow = host
        .call("all", "slow_compute", json!({ "duration_ms": 1 }))
        .await;
    assert_eq!(text_of(&slow.unwrap()), "Computed for 1 ms");
    let (sink, mut reader) = events();
    let mut context = host.context();
    context.events = Some(sink);
    let progress = "test_tool_with_progress";
    let done = host.call_in(context, "all", progress, json!({})).await;
    assert_eq!(text_of(&done.unwrap()), "Progress test completed");
    for step in [0.0, 50.0, 100.0] {
        match reader.next().await {
            Some(OutputEvent::Progress(progress)) => {
                assert_eq!((progress.done, progress.total), (step, Some(100.0)));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(reader.next().await, None);
}
