//! Time and concurrency: deadlines, cancellation, and what may run at once.

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use ringfence_host::directory::TENANT_CONCURRENCY;
use ringfence_host::error::CallError;
use ringfence_host::limits::Limits;
use ringfence_host::mediation::CallContext;
use ringfence_test_guests as guests;
use ringfence_tests::{Setup, TestHost, text_of};
use serde_json::json;

use crate::{limit, test};

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.push(test("wall_time_is_a_limit", wall_time));
    tests.push(test("deadline_of_the_caller_is_a_timeout", deadline));
    tests.push(test("deadlines_are_inherited", inherited));
    tests.push(test("cancelling_ends_the_sandbox", cancelled));
    tests.push(test("cancelling_reaches_nested_calls", cancelled_below));
    tests.push(test("a_dropped_call_ends_the_sandbox", dropped));
    tests.push(test("calls_of_one_tool_are_bounded", concurrency));
    tests.push(test("calls_of_one_tenant_are_bounded", tenant_concurrency));
}

/// Longer than any test waits.
fn long() -> serde_json::Value {
    json!({ "ms": 600_000 })
}

async fn wall_time(host: TestHost) {
    let limits = Limits {
        wall: Duration::from_millis(150),
        ..Limits::TOOL
    };
    host.tool("sleep", guests::SLEEP, Setup::limited(limits))
        .await;
    let context = host.context();
    let run = context.run;
    let slept = host.call_in(context, "sleep", "sleep_ms", long()).await;
    assert_eq!(slept, limit("wall-ms", 150));
    // Waiting costs no processor time.
    let record = &host.records(run)[0];
    assert!(record.cpu_us.unwrap_or(0) < 100_000, "{record:?}");
    assert!(record.duration_us >= 150_000, "{record:?}");
}

async fn deadline(host: TestHost) {
    host.tool("sleep", guests::SLEEP, Setup::default()).await;
    host.tool("spin", guests::SPIN, Setup::default()).await;
    for (tool, function, arguments) in [("sleep", "sleep_ms", long()), ("spin", "spin", json!({}))]
    {
        let mut context = host.context();
        context.deadline = Instant::now() + Duration::from_millis(150);
        let answer = host.call_in(context, tool, function, arguments).await;
        assert_eq!(answer, Err(CallError::Timeout), "{tool}");
    }
    let mut late = host.context();
    late.deadline = Instant::now();
    let answer = host.call_in(late, "sleep", "sleep_ms", long()).await;
    assert_eq!(answer, Err(CallError::Timeout));
}

async fn inherited(host: TestHost) {
    host.tool("sleep", guests::SLEEP, Setup::default()).await;
    let limits = Limits {
        wall: Duration::from_millis(200),
        ..Limits::TOOL
    };
    let caller = Setup::limited(limits).tools(&["sleep"]);
    host.tool("caller", guests::CALLER, caller).await;
    let began = Instant::now();
    let context = host.context();
    let run = context.run;
    let arguments = json!({ "function": "sleep_sleep_ms", "arguments": long().to_string() });
    let answer = host.call_in(context, "caller", "call_tool", arguments);
    // The callee is out of time when its caller is, so that either of them may notice first.
    match answer.await {
        Ok(result) => assert_eq!(text_of(&result), "timeout"),
        Err(error) => assert_eq!(error, CallError::limit("wall-ms", 200)),
    }
    assert!(began.elapsed() < Duration::from_secs(20));
    host.all_freed().await;
    let records = host.records(run);
    assert_eq!(records.len(), 2);
    assert!(
        ["timeout", "canceled"].contains(&&*records[1].outcome.code),
        "{:?}",
        records[1]
    );
}

/// Calls in a task of its own, and waits until `busy` holds a sandbox.
async fn start(
    host: &TestHost,
    context: CallContext,
    tool: &'static str,
    busy: &str,
) -> tokio::task::JoinHandle<Result<ringfence_host::function::FunctionResult, CallError>> {
    let (function, arguments) = if tool == "caller" {
        let arguments = long().to_string();
        (
            "call_tool",
            json!({ "function": "sleep_sleep_ms", "arguments": arguments }),
        )
    } else {
        ("sleep_ms", long())
    };
    let directory = host.host().directory();
    let busy = directory
        .tool(host.tenant(), &busy.parse().unwrap())
        .unwrap();
    let free = busy.gate.available_permits();
    let task = {
        let host = host.clone();
        tokio::spawn(async move { host.call_in(context, tool, function, arguments).await })
    };
    while busy.gate.available_permits() == free {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    while host.engine().metrics().components == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    task
}

async fn cancelled(host: TestHost) {
    host.tool("sleep", guests::SLEEP, Setup::default()).await;
    let context = host.context();
    let (run, cancel) = (context.run, context.cancel.clone());
    let task = start(&host, context, "sleep", "sleep").await;
    cancel.cancel();
    assert_eq!(task.await.unwrap(), Err(CallError::Canceled));
    assert_eq!(host.records(run)[0].outcome.code, "canceled");
    let mut gone = host.context();
    gone.cancel = cancel;
    let answer = host.call_in(gone, "sleep", "sleep_ms", long()).await;
    assert_eq!(answer, Err(CallError::Canceled));
}

async fn cancelled_below(host: TestHost) {
    host.tool("sleep", guests::SLEEP, Setup::default()).await;
    host.tool("caller", guests::CALLER, Setup::default().tools(&["sleep"]))
        .await;
    let context = host.context();
    let (run, cancel) = (context.run, context.cancel.clone());
    let task = start(&host, context, "caller", "sleep").await;
    cancel.cancel();
    assert_eq!(task.await.unwrap(), Err(CallError::Canceled));
    host.all_freed().await;
    let codes: Vec<_> = host
        .records(run)
        .iter()
        .map(|record| record.outcome.code.clone())
        .collect();
    assert_eq!(codes, ["canceled", "canceled"]);
}

async fn dropped(host: TestHost) {
    host.tool("sleep", guests::SLEEP, Setup::default()).await;
    host.tool("caller", guests::CALLER, Setup::default().tools(&["sleep"]))
        .await;
    let context = host.context();
    let run = context.run;
    let task = start(&host, context, "caller", "sleep").await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    host.all_freed().await;
    for record in host.records(run) {
        assert_eq!(record.outcome.code, "canceled", "{record:?}");
    }
    assert_eq!(host.records(run).len(), 2);
}

async fn concurrency(host: TestHost) {
    let limits = Limits {
        concurrency: 1,
        ..Limits::TOOL
    };
    host.tool("sleep", guests::SLEEP, Setup::limited(limits))
        .await;
    let context = host.context();
    let cancel = context.cancel.clone();
    let task = start(&host, context, "sleep", "sleep").await;
    let short = json!({ "ms": 1 });
    let second = host.call("sleep", "sleep_ms", short.clone()).await;
    assert_eq!(second, limit("concurrency", 1));
    cancel.cancel();
    assert!(task.await.unwrap().is_err());
    // Its place is free again.
    assert!(host.call("sleep", "sleep_ms", short).await.is_ok());
}

async fn tenant_concurrency(host: TestHost) {
    host.tool("sleep", guests::SLEEP, Setup::default()).await;
    let gate = host.host().directory().gate(host.tenant());
    let all = u32::try_from(TENANT_CONCURRENCY).unwrap();
    let taken = gate.try_acquire_many_owned(all).unwrap();
    let short = json!({ "ms": 1 });
    let answer = host.call("sleep", "sleep_ms", short.clone()).await;
    assert_eq!(
        answer,
        limit("tenant-concurrency", TENANT_CONCURRENCY as u64)
    );
    // Nobody else is concerned.
    let other = TestHost::new();
    other.tool("sleep", guests::SLEEP, Setup::default()).await;
    assert!(other.call("sleep", "sleep_ms", short.clone()).await.is_ok());
    drop(taken);
    assert!(host.call("sleep", "sleep_ms", short).await.is_ok());
}
