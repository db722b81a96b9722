//! Guests that crash, or try to crash the host.

use ringfence_host::error::CallError;
use ringfence_test_guests as guests;
use ringfence_tests::{Setup, TestHost, json_of};
use serde_json::{Value, json};

/// Calls a function that has to fail; the text of the failure, which holds nothing of the host.
async fn failure(host: &TestHost, tool: &str, function: &str, arguments: Value) -> String {
    let error = host.call(tool, function, arguments).await.unwrap_err();
    let CallError::Failed(text) = error else {
        panic!("{tool}.{function}: {error:?}");
    };
    assert!(text.len() <= 2048);
    for inside in ["wasmtime", ".rs", "/root", "/home", "0x7f"] {
        assert!(
            !text.contains(inside),
            "{function} tells {inside:?}: {text}"
        );
    }
    text
}

pub(crate) async fn crash(host: TestHost) {
    host.tool("crash", guests::CRASH, Setup::default()).await;
    host.tool("echo", guests::ECHO, Setup::default()).await;
    for (function, arguments) in [
        ("panic", json!({})),
        ("unreachable", json!({})),
        ("wild_read", json!({})),
        ("exit_with", json!({ "code": 0 })),
        ("exit_with", json!({ "code": 3 })),
    ] {
        failure(&host, "crash", function, arguments).await;
        let next = host.call("echo", "echo", json!({ "text": "x" })).await;
        assert!(next.is_ok(), "after {function}: {next:?}");
    }
}

pub(crate) async fn stack(host: TestHost) {
    host.tool("stack", guests::STACK, Setup::default()).await;
    let dug = host.call("stack", "dig", json!({ "depth": 100 })).await;
    assert_eq!(json_of(&dug.unwrap()), 100);
    let depth = json!({ "depth": 1_000_000_000 });
    let text = failure(&host, "stack", "dig", depth).await;
    assert!(text.contains("stack"), "{text}");
}

pub(crate) async fn wild_pointer(host: TestHost) {
    host.tool("wild", guests::WILD_POINTER, Setup::default())
        .await;
    for function in ["text", "long"] {
        failure(&host, "wild", function, json!({})).await;
    }
}
