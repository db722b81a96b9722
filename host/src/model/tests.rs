//! Models over real sockets: the faults that endpoints have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::StreamExt;
use ringfence_api::{AddressScope, ModelSpec, Provider, RetrySpec, SecretRef};
use serde_json::{Value, json};

use super::*;
use crate::egress::{Egress, EgressSettings};
use crate::error::CallError;
use crate::message::{Message, Role};
use crate::secret::{AllowedSecret, Secrets};

const OK: &str = r#"{"model":"m-1","choices":[{"message":{"content":"hi","tool_calls":[
    {"id":"a","function":{"name":"f","arguments":"{\"x\":18446744073709551615}"}},
    {"id":"b","function":{"name":"g","arguments":""}}]},"finish_reason":"tool_calls"}],
    "usage":{"prompt_tokens":7,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3},
    "completion_tokens_details":{"reasoning_tokens":2}}}"#;

/// A server that answers the n-th request with `answer(n, request body)`.
async fn model<F>(answer: F) -> (ModelClient, Arc<AtomicUsize>)
where
    F: Fn(usize, Value) -> Response + Clone + Send + Sync + 'static,
{
    model_with_time(2000, answer).await
}

/// As [`model`], with so many milliseconds for an answer.
async fn model_with_time<F>(timeout_ms: u64, answer: F) -> (ModelClient, Arc<AtomicUsize>)
where
    F: Fn(usize, Value) -> Response + Clone + Send + Sync + 'static,
{
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let handler = move |request: Request| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        let answer = answer.clone();
        async move {
            let key = request.headers().get("authorization").cloned();
            assert_eq!(key.unwrap(), "Bearer ringfence-host");
            let body = axum::body::to_bytes(request.into_body(), 1 << 20)
                .await
                .unwrap();
            answer(n, serde_json::from_slice(&body).unwrap())
        }
    };
    let router = Router::new().route("/v1/chat/completions", post(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let key = SecretRef::Env("CARGO_PKG_NAME".to_owned());
    let secrets = Secrets::new([AllowedSecret::Host(key.clone())]);
    let egress = Egress::new(&EgressSettings::default(), secrets).unwrap();
    let spec = ModelSpec {
        description: String::new(),
        provider: Provider::OpenAi {
            base_url: Some(base.parse().unwrap()),
            model: "m".to_owned(),
            api_key: Some(key),
            headers: Vec::new(),
            addresses: AddressScope::Private,
        },
        timeout_ms: Some(timeout_ms),
        retry: Some(RetrySpec {
            attempts: 3,
            initial_ms: 1,
        }),
    };
    (ModelClient::from_spec(&spec, &egress).unwrap(), asked)
}

fn ask() -> CompletionRequest {
    CompletionRequest {
        messages: vec![Message::text(Role::User, "hello")],
        ..CompletionRequest::default()
    }
}

fn status(code: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Response {
    let mut builder = Response::builder().status(code);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(AxumBody::from(body)).unwrap()
}

fn sse(events: &[Value]) -> String {
    events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect()
}

#[tokio::test]
async fn a_whole_answer_with_parallel_calls_and_usage() {
    let (client, _) = model(|_, body| {
        assert_eq!(
            body["messages"][0],
            json!({"role": "user", "content": "hello"})
        );
        status(200, &[], OK)
    })
    .await;
    let completion = client.complete(&ask()).await.unwrap();
    assert_eq!(completion.finish_reason, FinishReason::ToolCalls);
    let calls = &completion.message.tool_calls;
    assert_eq!(calls[0].arguments, r#"{"x":18446744073709551615}"#);
    assert_eq!(
        (calls[1].name.as_str(), calls[1].arguments.as_str()),
        ("g", "{}")
    );
    let usage = Usage {
        input_tokens: 7,
        output_tokens: 5,
        cached_input_tokens: 3,
        reasoning_tokens: 2,
    };
    assert_eq!(
        (completion.usage, completion.model.as_str()),
        (usage, "m-1")
    );
}

#[tokio::test]
async fn failures_that_pass_are_tried_again_within_bounds() {
    for code in [408, 409, 429, 500, 503] {
        let (client, asked) = model(move |n, _| match n {
            0 => status(code, &[("retry-after-ms", "1")], ""),
            _ => status(200, &[], OK),
        })
        .await;
        client.complete(&ask()).await.unwrap();
        assert_eq!(asked.load(Ordering::SeqCst), 2, "{code}");
    }
    let (client, asked) = model(|_, _| status(500, &[], r#"{"error":{"message":"down"}}"#)).await;
    let error = client.complete(&ask()).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Unavailable(text) if text.contains("down")),
        "{error}"
    );
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn failures_that_last_are_not_tried_again_and_show_no_credential() {
    let quoted = r#"{"error":{"message":"key ringfence-host is bad"}}"#;
    for (code, headers, expected) in [
        (400, &[][..], "invalid"),
        (422, &[], "invalid"),
        (401, &[], "failed"),
        (302, &[("location", "http://127.0.0.1/")], "failed"),
        (429, &[("x-should-retry", "false")], "unavailable"),
        (429, &[("retry-after", "3600")], "unavailable"),
    ] {
        let (client, asked) = model(move |_, _| status(code, headers, quoted)).await;
        let error = client.complete(&ask()).await.unwrap_err();
        assert_eq!(error.code(), expected, "{code}: {error}");
        assert!(
            !error.to_string().contains("ringfence-host"),
            "{code}: {error}"
        );
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{code}");
    }
}

#[tokio::test]
async fn a_stream_gives_text_then_calls_then_the_whole() {
    let (client, _) = model(|_, body| {
        assert_eq!(body["stream_options"]["include_usage"], true);
        let delta = |delta: Value| json!({"model": "m-2", "choices": [{"delta": delta}]});
        let call = |piece: Value| delta(json!({"tool_calls": [piece]}));
        let mut text = sse(&[
            delta(json!({"role": "assistant", "content": ""})),
            delta(json!({"content": "one "})),
            delta(json!({"content": "two"})),
            call(json!({"index": 0, "id": "a", "function": {"name": "f", "arguments": "{\"x\""}})),
            call(json!({"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}})),
            call(json!({"index": 0, "function": {"arguments": ":1}"}})),
            json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
            json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        ]);
        text.push_str("data: [DONE]\n\n");
        text.into_response()
    })
    .await;
    let stream = client.stream(&ask()).await.unwrap().into_stream();
    let events: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert_eq!(events[0], CompletionEvent::Text("one ".to_owned()));
    assert_eq!(events[1], CompletionEvent::Text("two".to_owned()));
    let CompletionEvent::ToolCall(first) = &events[2] else {
        panic!("{:?}", events[2])
    };
    assert_eq!(
        (first.id.as_str(), first.arguments.as_str()),
        ("a", r#"{"x":1}"#)
    );
    let Some(CompletionEvent::Finished(whole)) = events.last() else {
        panic!("no end")
    };
    assert_eq!((events.len(), whole.message.tool_calls.len()), (5, 2));
    assert_eq!(
        (whole.usage.output_tokens, whole.model.as_str()),
        (2, "m-2")
    );
}

#[tokio::test]
async fn streams_that_break_are_errors() {
    let piece = json!({"choices": [{"delta": {"content": "x"}}]});
    let failed = json!({"error": {"message": "ringfence-host overloaded"}});
    let long = format!("data: {}", "x".repeat(MODEL_EVENT_BYTES + 1));
    for (text, expected) in [
        (sse(std::slice::from_ref(&piece)), "unavailable"),
        (sse(&[piece.clone(), failed]), "unavailable"),
        ("data: {not json\n\n".to_owned(), "failed"),
        (long, "limit-exceeded"),
    ] {
        let (client, asked) = model(move |_, _| text.clone().into_response()).await;
        let error = client
            .stream(&ask())
            .await
            .unwrap()
            .collect()
            .await
            .unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
        assert!(!error.to_string().contains("ringfence-host"), "{error}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn huge_slow_and_malformed_answers_end() {
    // Megabytes take their time on a busy machine, and time is not what has to end this.
    let (client, _) = model_with_time(60_000, |_, _| {
        let piece = bytes::Bytes::from(vec![b' '; 1 << 20]);
        let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
        Response::new(AxumBody::from_stream(endless))
    })
    .await;
    assert_eq!(
        client.complete(&ask()).await.unwrap_err().code(),
        "limit-exceeded"
    );
    let (client, _) = model(|_, _| {
        let never = futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
        Response::new(AxumBody::from_stream(never))
    })
    .await;
    assert_eq!(
        client.complete(&ask()).await.unwrap_err(),
        CallError::Timeout
    );
    for body in ["", "[]", "{}", "null", r#"{"choices":[{}]}"#, "<html>"] {
        let (client, _) = model(move |_, _| status(200, &[], body)).await;
        assert_eq!(
            client.complete(&ask()).await.unwrap_err().code(),
            "failed",
            "{body}"
        );
    }
}

#[tokio::test]
async fn dropping_a_stream_ends_the_request() {
    let (open, mut closed) = tokio::sync::mpsc::channel::<()>(1);
    let open = Arc::new(parking_lot::Mutex::new(Some(open)));
    let (client, _) = model(move |_, _| {
        let guard = open.lock().take();
        let event = sse(&[json!({"choices": [{"delta": {"content": "x"}}]})]);
        let events = futures::stream::unfold(guard, move |guard| {
            let event = event.clone();
            async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Some((Ok::<_, std::io::Error>(event), guard))
            }
        });
        Response::new(AxumBody::from_stream(events))
    })
    .await;
    let mut stream = client.stream(&ask()).await.unwrap();
    assert!(matches!(
        stream.next().await,
        Some(Ok(CompletionEvent::Text(_)))
    ));
    drop(stream);
    let ended = tokio::time::timeout(Duration::from_secs(5), closed.recv()).await;
    assert_eq!(ended.unwrap(), None);
}

#[test]
fn anthropic_requests_and_answers() {
    let mut request = ask();
    request
        .messages
        .insert(0, Message::text(Role::System, "be brief"));
    request.messages.push(Message::text(Role::User, "and kind"));
    request.tools.push(ToolDefinition {
        name: "f".to_owned(),
        description: String::new(),
        parameters: r#"{"type":"object"}"#.to_owned(),
    });
    let body = anthropic::request(&request, "c", true).unwrap();
    assert_eq!(body["system"], "be brief");
    assert_eq!(body["messages"].as_array().unwrap().len(), 1);
    assert_eq!(body["tools"][0]["input_schema"]["type"], "object");
    let answer = json!({"model": "c-1", "stop_reason": "tool_use",
        "content": [{"type": "text", "text": "ok"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}],
        "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 5}});
    let completion = anthropic::response(answer.to_string().as_bytes(), "c").unwrap();
    assert_eq!(completion.finish_reason, FinishReason::ToolCalls);
    assert_eq!(
        (
            completion.usage.input_tokens,
            completion.usage.cached_input_tokens
        ),
        (7, 4)
    );
    assert_eq!(completion.message.tool_calls[0].arguments, r#"{"x":1}"#);
    let mut stream = anthropic::Stream::default();
    for event in [
        json!({"type": "message_start", "message": {"model": "c-1", "usage": {"input_tokens": 2, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "name": "f"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{\"x\":"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "1}"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}),
    ] {
        assert!(!stream.event(&event.to_string()).unwrap().1);
    }
    let Some(CompletionEvent::Finished(whole)) = stream.finish("c").unwrap().pop() else {
        panic!("no end")
    };
    assert_eq!(whole.message.tool_calls[0].arguments, r#"{"x":1}"#);
    assert_eq!(
        (whole.usage.input_tokens, whole.usage.output_tokens),
        (2, 9)
    );
}

/// Against a server of somebody else's, in both dialects.
#[tokio::test]
async fn a_stand_in_server_is_understood() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/fakellm.sh");
    let installed = tokio::process::Command::new(script).output().await.unwrap();
    let problem = String::from_utf8_lossy(&installed.stderr).into_owned();
    assert!(
        installed.status.success(),
        "fakellm cannot be installed: {problem}"
    );
    let program = String::from_utf8(installed.stdout).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let rules = "rules:\n  - name: call\n    when:\n      messages_contain: weather\n    respond:\n      \
                 tool_calls:\n        - name: look\n          arguments: {city: Oslo}\n  - name: text\n    \
                 when:\n      messages_contain: hello\n    respond:\n      content: Good day to you.\n";
    std::fs::write(dir.path().join("fakellm.yaml"), rules).unwrap();
    // The server takes no socket of ours, so that a port is tried until one is free.
    let mut server = None;
    for _ in 0..5 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut child = tokio::process::Command::new(program.trim())
            .args(["serve", "--port", &port.to_string()])
            .current_dir(dir.path())
            .kill_on_drop(true)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let up = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            () = up => { server = Some((child, port)); break }
            _ = child.wait() => {}
            () = tokio::time::sleep(Duration::from_secs(60)) => {}
        }
    }
    let (_child, port) = server.expect("fakellm does not start");
    let base: url::Url = format!("http://127.0.0.1:{port}/v1").parse().unwrap();
    let egress = Egress::new(&EgressSettings::default(), Secrets::default()).unwrap();
    let (base_url, model) = (Some(base), "gpt-4o".to_owned());
    let addresses = AddressScope::Private;
    for provider in [
        Provider::OpenAi {
            base_url: base_url.clone(),
            model: model.clone(),
            api_key: None,
            headers: Vec::new(),
            addresses,
        },
        Provider::Anthropic {
            base_url,
            model,
            api_key: None,
            headers: Vec::new(),
            addresses,
        },
    ] {
        let spec = ModelSpec {
            description: String::new(),
            provider,
            timeout_ms: None,
            retry: None,
        };
        let client = ModelClient::from_spec(&spec, &egress).unwrap();
        let name = client.provider();
        let whole = client.complete(&ask()).await.unwrap();
        let said = codec::text_of(&whole.message.content);
        assert_eq!(
            (said.as_str(), whole.finish_reason),
            ("Good day to you.", FinishReason::Stop),
            "{name}"
        );
        assert!(
            whole.usage.input_tokens > 0 && whole.usage.output_tokens > 0,
            "{name}"
        );
        let streamed = client
            .stream(&ask())
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        assert_eq!(streamed.message, whole.message, "{name}");
        let mut request = ask();
        request.messages = vec![Message::text(Role::User, "the weather?")];
        for answer in [
            client.complete(&request).await.unwrap(),
            client
                .stream(&request)
                .await
                .unwrap()
                .collect()
                .await
                .unwrap(),
        ] {
            assert_eq!(answer.finish_reason, FinishReason::ToolCalls, "{name}");
            let call = &answer.message.tool_calls[0];
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
            assert_eq!(
                (call.name.as_str(), arguments),
                ("look", json!({"city": "Oslo"})),
                "{name}"
            );
        }
    }
}
