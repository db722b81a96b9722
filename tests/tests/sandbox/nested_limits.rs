//! Guests that cross a limit by calling others.

use ringfence_host::limits::{CALL_DEPTH, FAN_OUT, OPEN_STREAMS};
use ringfence_test_guests as guests;
use ringfence_tests::{Setup, TestHost, json_of, text_of};
use serde_json::json;

use crate::limit;

pub(crate) async fn recurse(host: TestHost) {
    host.tool("again", guests::RECURSE, Setup::default().tools(&["again"]))
        .await;
    let context = host.context();
    let run = context.run;
    let arguments = json!({ "function": "again_recurse" });
    let answer = host.call_in(context, "again", "recurse", arguments).await;
    assert_eq!(text_of(&answer.unwrap()), "limit-exceeded call-depth");
    // The call from outside, all that fit into it, and the one too many.
    let records = host.records(run);
    assert_eq!(records.len(), CALL_DEPTH as usize + 2);
    let refused = records.last().unwrap();
    assert_eq!(refused.outcome.code, "limit-exceeded");
    assert_eq!(refused.parent, Some(CALL_DEPTH));
}

pub(crate) async fn agent_relay(host: TestHost) {
    let itself = Setup::default()
        .agents(&["relay"])
        .parameter("next", "relay");
    host.agent("relay", guests::AGENT_RELAY, itself).await;
    let answer = host.ask("relay", "go on").await;
    assert_eq!(answer, limit("call-depth", CALL_DEPTH.into()));
    // Depth counts through agents that are offered as tools, too.
    let through = Setup::default()
        .agents(&["through"])
        .parameter("next", "through");
    host.agent("through", guests::AGENT_RELAY, through).await;
    host.agent_tool("as-tool", "through");
    let answer = host.call("as-tool", "ask", json!({ "message": "go on" }));
    assert_eq!(answer.await, limit("call-depth", CALL_DEPTH.into()));
}

pub(crate) async fn fan_out(host: TestHost) {
    host.tool("echo", guests::ECHO, Setup::default()).await;
    host.tool("fan", guests::FAN_OUT, Setup::default().tools(&["echo"]))
        .await;
    let fan = async |count: usize| {
        let context = host.context();
        let run = context.run;
        let arguments = json!({
            "function": "echo_echo",
            "arguments": "{\"text\": \"x\"}",
            "count": count,
        });
        let answer = host.call_in(context, "fan", "fan_out", arguments).await;
        (json_of(&answer.unwrap()), host.records(run).len() - 1)
    };
    let (codes, calls) = fan(FAN_OUT).await;
    assert_eq!((codes, calls), (json!(vec!["ok"; FAN_OUT]), FAN_OUT));
    let (codes, calls) = fan(FAN_OUT + 1).await;
    let refused = json!(vec!["limit-exceeded fan-out"; FAN_OUT + 1]);
    assert_eq!((codes, calls), (refused, 0));
}

pub(crate) async fn streams(host: TestHost) {
    host.model("m", &["hello"]);
    host.tool("streams", guests::STREAMS, Setup::default().models(&["m"]))
        .await;
    let hold = json!({ "model": "m", "count": OPEN_STREAMS + 3 });
    let codes = json_of(&host.call("streams", "hold", hold).await.unwrap());
    let mut expected = vec!["ok"; OPEN_STREAMS];
    expected.extend(["limit-exceeded open-streams"; 3]);
    assert_eq!(codes, json!(expected));
    let denied = json!({ "model": "other", "count": 1 });
    let codes = json_of(&host.call("streams", "hold", denied).await.unwrap());
    assert_eq!(codes, json!(["denied models"]));
}
