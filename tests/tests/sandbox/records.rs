//! Records: what every call leaves behind.

use libtest_mimic::Trial;
use ringfence_host::record::Decision;
use ringfence_test_guests as guests;
use ringfence_tests::{Setup, TestHost};
use serde_json::json;

use crate::test;

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.push(test("records_tell_who_called_what", who_called_what));
    tests.push(test("records_tell_how_calls_ended", how_they_ended));
}

async fn who_called_what(host: TestHost) {
    host.tool("echo", guests::ECHO, Setup::default()).await;
    host.tool("inner", guests::CALLER, Setup::default().tools(&["echo"]))
        .await;
    let outer = Setup::default().tools(&["inner"]).agents(&["friend"]);
    host.tool("outer", guests::CALLER, outer).await;
    let echo = json!({ "function": "echo_echo", "arguments": "{\"text\": \"0123456789\"}" });
    let arguments = json!({ "function": "inner_call_tool", "arguments": echo.to_string() });
    let context = host.context();
    let run = context.run;
    host.call_in(context, "outer", "call_tool", arguments)
        .await
        .unwrap();
    let records = host.records(run);
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            assert_eq!(record.run, run);
            assert_eq!(record.tenant, *host.tenant());
            assert_eq!(record.capability, "tools");
            assert_eq!(record.decision, Decision::Allowed);
            assert_eq!(record.outcome.code, "ok");
            // Text of ten bytes, or of ten bytes within arguments.
            assert!(record.request_bytes >= 10 && record.request_bytes < 300);
            assert_eq!(record.response_bytes, 10);
            assert!(record.cpu_us.is_some_and(|cpu| cpu > 0));
            assert!(record.memory_bytes.is_some_and(|bytes| bytes >= 64 << 10));
            assert!(record.duration_us > 0 && record.started_us > 1_500_000_000_000_000);
            (
                record.call,
                record.parent,
                record.caller.as_str(),
                record.on_behalf_of.join(" "),
                record.target.as_str(),
            )
        })
        .collect();
    let expected = [
        (0, None, "user/tester", "", "outer_call_tool"),
        (1, Some(0), "tool/outer", "user/tester", "inner_call_tool"),
        (
            2,
            Some(1),
            "tool/inner",
            "tool/outer user/tester",
            "echo_echo",
        ),
    ];
    let expected = expected.map(|(call, parent, caller, behalf, target)| {
        (call, parent, caller, behalf.to_owned(), target)
    });
    assert_eq!(told, expected);
    let runs = host.host().records().runs(host.tenant(), 10);
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].calls, runs[0].denied), (3, 0));
}

async fn how_they_ended(host: TestHost) {
    host.tool("echo", guests::ECHO, Setup::default()).await;
    host.tool("crash", guests::CRASH, Setup::default()).await;
    for (tool, function, arguments, code) in [
        ("echo", "echo", json!({ "text": "x" }), "ok"),
        ("echo", "fail", json!({ "why": "x" }), "tool-error"),
        ("echo", "echo", json!({}), "invalid"),
        ("echo", "none", json!({}), "not-found"),
        ("none", "none", json!({}), "not-found"),
        ("crash", "panic", json!({}), "failed"),
    ] {
        let context = host.context();
        let run = context.run;
        let answer = host.call_in(context, tool, function, arguments).await;
        let records = host.records(run);
        assert_eq!(records.len(), 1, "{tool}.{function}");
        assert_eq!(records[0].outcome.code, code, "{tool}.{function}");
        assert_eq!(records[0].outcome.message.is_some(), answer.is_err());
        assert_eq!(records[0].target, format!("{tool}_{function}"));
    }
    // What the panic said is in the log of its run.
    let context = host.context();
    let run = context.run;
    let answer = host.call_in(context, "crash", "panic", json!({})).await;
    assert!(answer.is_err());
    let logs = host.host().records().logs(host.tenant(), run);
    assert_eq!(logs.len(), 1);
    assert!(logs[0].text.contains("the guest panics on purpose"));
    assert_eq!(host.host().records().dropped(), 0);
}
