//! Calls from sandbox to sandbox: who may, who is seen, and who pays.

use std::time::Duration;

use libtest_mimic::Trial;
use ringfence_api::ToolGrant;
use ringfence_host::error::CallError;
use ringfence_host::limits::Limits;
use ringfence_test_guests as guests;
use ringfence_tests::{Setup, TestHost, json_of, text_of};
use serde_json::{Value, json};

use crate::limits::short_cpu;
use crate::test;

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.push(test("callee_sees_the_chain_of_callers", chain));
    tests.push(test("callee_pays_for_its_own_processor_time", pays));
    tests.push(test("grants_are_not_handed_down", not_handed_down));
    tests.push(test(
        "a_list_of_functions_narrows_a_grant",
        narrowed_functions,
    ));
    tests.push(test("other_tenants_are_not_found", other_tenants));
    tests.push(test("errors_of_a_callee_keep_their_type", typed_errors));
}

/// Arguments that make a `caller` call this function.
fn calling(function: &str, arguments: &Value) -> Value {
    json!({ "function": function, "arguments": arguments.to_string() })
}

async fn chain(host: TestHost) {
    host.tool("last", guests::CALLER, Setup::default()).await;
    host.tool("middle", guests::CALLER, Setup::default().tools(&["last"]))
        .await;
    host.tool("first", guests::CALLER, Setup::default().tools(&["middle"]))
        .await;
    let who = calling("last_who", &json!({}));
    let arguments = calling("middle_call_tool", &who);
    let said = host.call("first", "call_tool", arguments).await.unwrap();
    let tenant = host.tenant();
    assert_eq!(
        text_of(&said),
        format!("{tenant} tool last; tool middle; tool first; user tester")
    );
}

async fn pays(host: TestHost) {
    host.tool("spin", guests::SPIN, short_cpu(300)).await;
    // Less than what its callee takes.
    let caller = Setup::limited(Limits {
        cpu: Duration::from_millis(150),
        ..Limits::TOOL
    });
    host.tool("caller", guests::CALLER, caller.tools(&["spin"]))
        .await;
    let context = host.context();
    let run = context.run;
    let arguments = calling("spin_spin", &json!({}));
    let said = host.call_in(context, "caller", "call_tool", arguments);
    assert_eq!(text_of(&said.await.unwrap()), "limit-exceeded cpu-ms");
    let records = host.records(run);
    assert_eq!(records.len(), 2);
    assert!(records[0].cpu_us.unwrap() < 150_000, "{:?}", records[0]);
    assert!(records[1].cpu_us.unwrap() >= 300_000, "{:?}", records[1]);
}

async fn not_handed_down(host: TestHost) {
    host.tool("echo", guests::ECHO, Setup::default()).await;
    // It may call the one that may call `echo`, and that is all.
    host.tool(
        "trusted",
        guests::CALLER,
        Setup::default().tools(&["echo", "caller"]),
    )
    .await;
    host.tool(
        "caller",
        guests::CALLER,
        Setup::default().tools(&["trusted"]),
    )
    .await;
    let echo = calling("echo_echo", &json!({ "text": "x" }));
    let direct = host.call("caller", "call_tool", echo.clone()).await;
    assert_eq!(text_of(&direct.unwrap()), "denied tools");
    let through = calling("trusted_call_tool", &echo);
    let through = host.call("caller", "call_tool", through).await;
    assert_eq!(text_of(&through.unwrap()), "x");
    // Called by the trusted one, it has its own grants, not those of its caller.
    let back = calling("caller_call_tool", &echo);
    let back = host.call("trusted", "call_tool", back).await;
    assert_eq!(text_of(&back.unwrap()), "denied tools");
}

async fn narrowed_functions(host: TestHost) {
    host.tool("echo", guests::ECHO, Setup::default()).await;
    let mut setup = Setup::default();
    setup.grants.tools.push(ToolGrant {
        name: "echo".parse().unwrap(),
        functions: Some(vec!["add".parse().unwrap()]),
    });
    host.tool("caller", guests::CALLER, setup).await;
    let list = host.call("caller", "functions", json!({})).await.unwrap();
    assert_eq!(json_of(&list), json!(["echo_add"]));
    let add = calling("echo_add", &json!({ "a": 1, "b": 2 }));
    let sum = host.call("caller", "call_tool", add).await.unwrap();
    assert_eq!(text_of(&sum), "3");
    let echo = calling("echo_echo", &json!({ "text": "x" }));
    let denied = host.call("caller", "call_tool", echo).await.unwrap();
    assert_eq!(text_of(&denied), "denied tools");
}

async fn other_tenants(host: TestHost) {
    let other = TestHost::new();
    other.tool("theirs", guests::ECHO, Setup::default()).await;
    let text = json!({ "text": "x" });
    assert!(other.call("theirs", "echo", text.clone()).await.is_ok());
    let answer = host.call("theirs", "echo", text.clone()).await;
    assert!(matches!(answer, Err(CallError::NotFound(_))), "{answer:?}");
    // A grant of that name means a tool of one's own tenant, which is not there.
    host.tool(
        "caller",
        guests::CALLER,
        Setup::default().tools(&["theirs"]),
    )
    .await;
    let context = host.context();
    let run = context.run;
    let arguments = calling("theirs_echo", &text);
    let answer = host.call_in(context, "caller", "call_tool", arguments);
    let answer = text_of(&answer.await.unwrap());
    assert!(answer.starts_with("not-found"), "{answer}");
    // Nor are the records of one tenant there for another.
    assert_eq!(host.records(run).len(), 2);
    assert!(other.records(run).is_empty());
}

async fn typed_errors(host: TestHost) {
    host.tool("crash", guests::CRASH, Setup::default()).await;
    host.tool("echo", guests::ECHO, Setup::default()).await;
    let may = Setup::default().tools(&["crash", "echo", "gone"]);
    host.tool("caller", guests::CALLER, may).await;
    for (function, arguments, code) in [
        ("crash_unreachable", json!({}), "failed"),
        ("echo_echo", json!({ "txt": "x" }), "invalid"),
        ("echo_nothing", json!({}), "not-found"),
        ("gone_f", json!({}), "not-found"),
        ("no function at all", json!({}), "not-found"),
    ] {
        let arguments = calling(function, &arguments);
        let said = host.call("caller", "call_tool", arguments).await.unwrap();
        let said = text_of(&said);
        assert!(said.starts_with(code), "{function}: {said}");
    }
    // Arguments that are no JSON are the caller's fault.
    let broken = json!({ "function": "echo_echo", "arguments": "{" });
    let said = host.call("caller", "call_tool", broken).await.unwrap();
    assert!(text_of(&said).starts_with("invalid"), "{said:?}");
}
