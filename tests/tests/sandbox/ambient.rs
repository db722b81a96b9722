//! Nothing is ambient: what is not granted is empty, still, or denied.

use ringfence_api::EnvGrant;
use ringfence_host::record::Decision;
use ringfence_test_guests as guests;
use ringfence_tests::{Setup, TestHost, json_of, text_of, tool_grant};
use serde_json::{Value, json};

pub(crate) async fn ambient(host: TestHost) {
    host.tool("plain", guests::AMBIENT, Setup::default()).await;
    let call = |function, arguments: Value| host.call("plain", function, arguments);
    let value = async |function| json_of(&call(function, json!({})).await.unwrap());
    assert_eq!(value("env_vars").await, json!([]));
    assert_eq!(value("arguments").await, json!([]));
    assert_eq!(value("wall_ms").await, 0);
    assert_eq!(value("monotonic_ns").await, 1_000_000_000);
    let folder = call("initial_cwd", json!({})).await.unwrap();
    assert!(
        folder
            .structured
            .is_none_or(|found| found.get("result").is_none_or(Value::is_null))
    );
    let stdin = call("read_stdin", json!({})).await.unwrap();
    assert_eq!(text_of(&stdin), "", "{stdin:?}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    for (function, arguments) in [
        ("connect_tcp", json!({ "address": address })),
        ("resolve_name", json!({ "name": "localhost" })),
        ("bind_udp", json!({ "address": "127.0.0.1:0" })),
        (
            "fetch",
            json!({ "authority": address, "path": "/", "headers": [] }),
        ),
    ] {
        let answer = call(function, arguments).await.unwrap();
        assert!(answer.is_error, "{function}: {answer:?}");
        if function == "fetch" {
            assert!(text_of(&answer).contains("HttpRequestDenied"), "{answer:?}");
        }
    }
    let knocked = listener.accept().map_err(|error| error.kind());
    assert_eq!(
        knocked.err(),
        Some(std::io::ErrorKind::WouldBlock),
        "somebody connected"
    );
    let mut said = Vec::new();
    for capability in ["models", "tools", "agents", "session", "output"] {
        said.push(json!([capability, format!("denied {capability}")]));
    }
    said.push(json!(["progress", "denied output"]));
    assert_eq!(value("capabilities").await, json!(said));
    granted(&host).await;
}

/// The same guest with grants.
async fn granted(host: &TestHost) {
    host.model("m", &["hello"]);
    let mut setup = Setup::default().models(&["m"]).agents(&["x"]).output();
    setup.grants.tools.push(tool_grant("plain"));
    setup.grants.clocks = true;
    setup.grants.session = true;
    setup.grants.env.push(EnvGrant {
        name: "GREETING".to_owned(),
        value: "hello".to_owned(),
    });
    host.tool("rich", guests::AMBIENT, setup).await;
    let value = async |function| json_of(&host.call("rich", function, json!({})).await.unwrap());
    assert_eq!(value("env_vars").await, json!([["GREETING", "hello"]]));
    let now = value("wall_ms").await;
    let now = now.as_u64().unwrap_or_else(|| panic!("{now}"));
    assert!(now > 1_500_000_000_000, "{now}");
    for pair in value("capabilities").await.as_array().unwrap() {
        assert_eq!(pair[1], "ok", "{pair}");
    }
    // Sockets cannot be granted at all.
    let knock = json!({ "address": "127.0.0.1:1" });
    assert!(
        host.call("rich", "connect_tcp", knock)
            .await
            .unwrap()
            .is_error
    );
}

pub(crate) async fn caller(host: TestHost) {
    host.tool("echo", guests::ECHO, Setup::default()).await;
    host.agent("friend", guests::AGENT_ECHO, Setup::default())
        .await;
    host.model("m", &["from the model"]);
    let nothing = Setup::default().parameter("color", "blue");
    host.tool("poor", guests::CALLER, nothing).await;
    let rich = Setup::default()
        .tools(&["echo"])
        .agents(&["friend"])
        .models(&["m"]);
    host.tool("rich", guests::CALLER, rich).await;
    let attempts = [
        (
            "call_tool",
            json!({ "function": "echo_echo", "arguments": "{\"text\": \"hi\"}" }),
            "denied tools",
            "hi",
        ),
        ("functions", json!({}), "denied tools", ""),
        (
            "ask_agent",
            json!({ "agent": "friend", "message": "hey" }),
            "denied agents",
            "hey",
        ),
        (
            "ask_model",
            json!({ "model": "m", "message": "ho" }),
            "denied models",
            "from the model",
        ),
    ];
    for (function, arguments, denied, answer) in attempts {
        let context = host.context();
        let run = context.run;
        let poor = host.call_in(context, "poor", function, arguments.clone());
        let poor = poor.await.unwrap();
        assert_eq!((poor.is_error, text_of(&poor).as_str()), (true, denied));
        // What was tried and not allowed is on record.
        let records = host.records(run);
        if function != "functions" {
            assert_eq!(records.len(), 2, "{function}");
            assert_eq!(records[1].decision, Decision::Denied, "{function}");
            assert_eq!(records[1].outcome.code, "denied", "{function}");
        }
        let rich = host.call("rich", function, arguments).await.unwrap();
        assert!(!rich.is_error, "{function}: {rich:?}");
        if function == "functions" {
            assert_eq!(
                json_of(&rich),
                json!(["echo_echo", "echo_add", "echo_fail"]),
                "{rich:?}"
            );
        } else {
            assert_eq!(text_of(&rich), answer);
        }
    }
    let color = host.call("poor", "parameter", json!({ "name": "color" }));
    assert_eq!(text_of(&color.await.unwrap()), "blue");
    let left = host.call("poor", "remaining_ms", json!({})).await.unwrap();
    let left = json_of(&left).as_u64().unwrap();
    assert!((1..=60_000).contains(&left), "{left}");
}
