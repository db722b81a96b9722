//! Guests that cross a limit of their own sandbox.

use std::time::Duration;

use ringfence_host::error::CallError;
use ringfence_host::limits::{HOST_CALL_BYTES, HTTP_HEADER_BYTES, Limits, RANDOM_BYTES};
use ringfence_host::output::events;
use ringfence_test_guests as guests;
use ringfence_tests::{Setup, TestHost, json_of};
use serde_json::json;

use crate::limit;

const MIB: u64 = 1 << 20;

pub(crate) fn small_memory() -> Setup {
    Setup::limited(Limits {
        memory_bytes: 16 * MIB,
        ..Limits::TOOL
    })
}

pub(crate) fn short_cpu(ms: u64) -> Setup {
    Setup::limited(Limits {
        cpu: Duration::from_millis(ms),
        ..Limits::TOOL
    })
}

pub(crate) async fn memory(host: TestHost) {
    host.tool("memory", guests::MEMORY, small_memory()).await;
    let take = |bytes| host.call("memory", "take", json!({ "bytes": bytes }));
    assert_eq!(json_of(&take(8 * MIB).await.unwrap()), true);
    // This guest asks whether it may, and lives on when it may not.
    assert_eq!(json_of(&take(64 * MIB).await.unwrap()), false);
    // One that aborts is told why.
    host.tool("output", guests::OUTPUT, small_memory()).await;
    let text = host.call("output", "text", json!({ "bytes": 64 * MIB }));
    assert_eq!(text.await, limit("memory-bytes", 16 * MIB));
}

pub(crate) async fn memories(host: TestHost) {
    let limits = Limits {
        memory_bytes: 64 * MIB,
        ..Limits::TOOL
    };
    host.tool("memories", guests::MEMORIES, Setup::limited(limits))
        .await;
    let refused = |pages| host.call("memories", "grow", json!({ "pages": pages }));
    // A page is 64 KiB; four memories have one each to begin with.
    assert_eq!(json_of(&refused(128).await.unwrap()), 0);
    assert_eq!(json_of(&refused(512).await.unwrap()), 3);
}

pub(crate) async fn table(host: TestHost) {
    host.tool("table", guests::TABLE, Setup::default()).await;
    let grow = |elements| host.call("table", "grow", json!({ "elements": elements }));
    assert_eq!(json_of(&grow(1000).await.unwrap()), 1);
    assert_eq!(json_of(&grow(100_000).await.unwrap()), u32::MAX);
}

pub(crate) async fn handles(host: TestHost) {
    let limits = Limits {
        resource_handles: 100,
        ..Limits::TOOL
    };
    host.tool("handles", guests::HANDLES, Setup::limited(limits))
        .await;
    let hoard = |count| host.call("handles", "hoard", json!({ "count": count }));
    assert_eq!(json_of(&hoard(20).await.unwrap()), 20);
    assert_eq!(hoard(200).await, limit("resource-handles", 100));
}

pub(crate) async fn spin(host: TestHost) {
    host.tool("spin", guests::SPIN, short_cpu(100)).await;
    let context = host.context();
    let run = context.run;
    let spun = host.call_in(context, "spin", "spin", json!({})).await;
    assert_eq!(spun, limit("cpu-ms", 100));
    let record = &host.records(run)[0];
    assert_eq!(record.outcome.code, "limit-exceeded");
    assert!(record.cpu_us.unwrap() >= 100_000, "{record:?}");
}

pub(crate) async fn start_spin(host: TestHost) {
    host.tool("start-spin", guests::START_SPIN, short_cpu(100))
        .await;
    let spun = host.call("start-spin", "run", json!({})).await;
    assert_eq!(spun, limit("cpu-ms", 100));
}

pub(crate) async fn host_calls(host: TestHost) {
    let limits = Limits {
        host_calls: 50,
        ..Limits::TOOL
    };
    host.tool("chatter", guests::HOST_CALLS, Setup::limited(limits))
        .await;
    let chatter = |count| host.call("chatter", "chatter", json!({ "count": count }));
    assert!(chatter(50).await.is_ok());
    // Nothing is granted, so that every one of them is denied, and counts. Errors that the guest does
    // not look at end it all the same.
    assert_eq!(chatter(51).await, limit("host-calls", 50));
    // So do requests to the outside.
    let knock = |count| host.call("chatter", "knock", json!({ "count": count }));
    let knocked = knock(50).await;
    assert!(knocked.is_ok(), "{knocked:?}");
    assert_eq!(knock(51).await, limit("host-calls", 50));
}

pub(crate) async fn host_call_bytes(host: TestHost) {
    host.tool("burden", guests::HOST_CALL_BYTES, Setup::default())
        .await;
    let burden = |bytes| host.call("burden", "burden", json!({ "bytes": bytes }));
    assert!(!json_of(&burden(1024).await.unwrap()).is_null());
    let bytes = HOST_CALL_BYTES as u64;
    assert_eq!(burden(bytes + 1).await, limit("host-call-bytes", bytes));
}

pub(crate) async fn log(host: TestHost) {
    let limits = Limits {
        log_bytes: 10_000,
        ..Limits::TOOL
    };
    host.tool("log", guests::LOG, Setup::limited(limits)).await;
    let shout = async |bytes: u64| {
        let context = host.context();
        let run = context.run;
        let arguments = json!({ "bytes": bytes });
        let answer = host.call_in(context, "log", "shout", arguments).await;
        let logs = host.host().records().logs(host.tenant(), run);
        let kept: usize = logs.iter().map(|line| line.text.len()).sum();
        (answer.map(|result| json_of(&result)), kept)
    };
    // To stdout and to stderr.
    assert_eq!(shout(1000).await, (Ok(json!(20)), 2000));
    assert_eq!(shout(100_000).await, (limit("log-bytes", 10_000), 10_000));
}

pub(crate) async fn output(host: TestHost) {
    let limits = Limits {
        output_bytes: MIB,
        ..Limits::TOOL
    };
    host.tool("output", guests::OUTPUT, Setup::limited(limits))
        .await;
    let call = |function, field: &str, n: u64| host.call("output", function, json!({ field: n }));
    // Binary data is base64 in JSON: four bytes for three.
    for (function, most) in [("text", MIB), ("binary", MIB / 4 * 3)] {
        let answer = call(function, "bytes", most).await;
        assert!(answer.is_ok(), "{function}: {answer:?}");
        let answer = call(function, "bytes", most + 3).await;
        assert_eq!(answer, limit("output-bytes", MIB), "{function}");
    }
    // What does not even fit through the door; wasmtime counts 40 bytes for each byte of a list, and
    // `docs/limits.md` says what that means.
    let door = HOST_CALL_BYTES as u64;
    for (function, most) in [("text", door), ("binary", door + 40 * MIB)] {
        let answer = call(function, "bytes", 16 * MIB).await;
        assert_eq!(answer, limit("host-call-bytes", most), "{function}");
    }
    let many = call("empties", "count", 1_000_000).await;
    assert!(
        matches!(many, Err(CallError::LimitExceeded { .. })),
        "{:?}",
        many.map(|result| result.size())
    );
}

pub(crate) async fn command_spam(host: TestHost) {
    let limits = Limits {
        output_bytes: MIB,
        ..Limits::TOOL
    };
    host.tool("spam", guests::COMMAND_SPAM, Setup::limited(limits))
        .await;
    let spam = host.call("spam", "run", json!({})).await;
    assert_eq!(spam, limit("output-bytes", MIB));
}

pub(crate) async fn random(host: TestHost) {
    host.tool("random", guests::RANDOM, Setup::default()).await;
    for function in ["random_data", "insecure_data"] {
        let ask = |bytes| host.call("random", function, json!({ "bytes": bytes }));
        assert_eq!(json_of(&ask(RANDOM_BYTES).await.unwrap()), RANDOM_BYTES);
        let answer = ask(RANDOM_BYTES + 1).await;
        assert_eq!(answer, limit("random-bytes", RANDOM_BYTES), "{function}");
    }
}

pub(crate) async fn flood(host: TestHost) {
    host.tool("flood", guests::FLOOD, Setup::default().output())
        .await;
    host.tool("mute", guests::FLOOD, Setup::default()).await;
    let pieces = json!({ "count": 1000, "size": 10 });
    // Nobody reads while the guest runs: the rest is dropped, and the guest does not wait.
    let (sink, mut reader) = events();
    let mut context = host.context();
    context.events = Some(sink);
    let answer = host.call_in(context, "flood", "flood", pieces.clone());
    assert_eq!(json_of(&answer.await.unwrap()), 1000);
    let mut waiting = 0;
    while reader.next().await.is_some() {
        waiting += 1;
    }
    assert_eq!((waiting, reader.dropped()), (256, 744));
    // Nobody listens at all.
    let answer = host.call("flood", "progress", json!({ "count": 10 })).await;
    assert_eq!(json_of(&answer.unwrap()), 10);
    // Without the grant nothing is taken; with it, no more than `output-bytes`.
    let answer = host.call("mute", "flood", pieces).await;
    assert_eq!(json_of(&answer.unwrap()), 0);
    let large = json!({ "count": 10, "size": MIB });
    let answer = host.call("flood", "flood", large).await;
    assert_eq!(json_of(&answer.unwrap()), 4);
}

pub(crate) async fn headers(host: TestHost) {
    host.tool("headers", guests::HEADERS, Setup::default())
        .await;
    let bomb = |count, size| host.call("headers", "bomb", json!({ "count": count, "size": size }));
    assert_eq!(json_of(&bomb(10, 100).await.unwrap()), 10);
    let most = HTTP_HEADER_BYTES as u64;
    assert_eq!(bomb(1000, 1000).await, limit("http-header-bytes", most));
    // Empty values take room as well.
    assert_eq!(bomb(100_000, 0).await, limit("http-header-bytes", most));
}
