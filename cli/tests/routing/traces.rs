//! A call that another host does is in the trace of whoever asked, on every way in; and nothing of a trace leaves
//! for the network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::any;

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::fixture::{Cluster, Host, PATIENCE};

const PARENT: &str = "b7ad6b7169203331";
const STATE: &str = "vendor=opaque";
/// Agents that cost nothing, and one whose model is outside.
fn agents(outside: &str) -> String {
    format!(
        "
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {{name: echo}}
spec: {{provider: {{scripted: {{turns: [{{text: 'noted: {{{{user.text}}}}'}}]}}}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {{name: outside}}
spec: {{provider: {{openAi: {{model: m, baseUrl: '{outside}/v1', addresses: private}}}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: scribe}}
spec: {{instructions: Take notes., model: {{name: echo}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {{name: scribe}}
spec: {{agent: scribe, description: Takes a note.}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: far}}
spec: {{instructions: Ask., model: {{name: outside}}}}
"
    )
}

/// A span as it was exported.
#[derive(Debug, Clone, PartialEq)]
struct Span {
    host: String,
    name: String,
    trace: String,
    id: String,
    parent: String,
    state: String,
}

/// The fields of a protobuf message that hold bytes, by number; of the others nothing is needed here.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(message: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = message.split_first().unwrap();
            *message = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message);
        let length = match tag & 7 {
            0 => {
                varint(&mut message);
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut message)).unwrap(),
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (content, rest) = message.split_at(length);
        message = rest;
        if tag & 7 == 2 {
            found.push((tag >> 3, content));
        }
    }
    found
}

fn field(message: &[u8], number: u64) -> &[u8] {
    let found = fields(message).into_iter().find(|(n, _)| *n == number);
    found.map_or(&[], |(_, content)| content)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The spans of an `ExportTraceServiceRequest`.
fn spans(request: &[u8]) -> Vec<Span> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut all = Vec::new();
    for (_, resource_spans) in fields(request) {
        let attributes = fields(field(resource_spans, 1)).into_iter();
        let service = attributes
            .filter(|(number, pair)| *number == 1 && field(pair, 1) == b"service.name")
            .map(|(_, pair)| text(field(field(pair, 2), 1)))
            .next();
        let scopes = fields(resource_spans).into_iter().filter(|(n, _)| *n == 2);
        for span in scopes.flat_map(|(_, scope)| fields(scope)) {
            let (2, span) = span else { continue };
            all.push(Span {
                host: service.clone().unwrap(),
                name: text(field(span, 5)),
                trace: hex(field(span, 1)),
                id: hex(field(span, 2)),
                parent: hex(field(span, 4)),
                state: text(field(span, 3)),
            });
        }
    }
    all
}

/// A server that takes everything: a collector of spans, and a model outside.
async fn serve<F>(take: F, status: StatusCode) -> String
where
    F: Fn(HeaderMap, Bytes) + Clone + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = move |headers: HeaderMap, body: Bytes| {
        take(headers, body);
        std::future::ready(status)
    };
    let router = Router::new().fallback(any(taken));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn post(host: &Host, path: &str, trace: &str, body: Value) -> (u16, String) {
    let answer = reqwest::Client::new()
        .post(format!("{}{path}", host.url))
        .header("traceparent", format!("00-{trace}-{PARENT}-01"))
        .header("tracestate", STATE)
        .json(&body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_routed_is_one_trace() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let collector = {
        let seen = seen.clone();
        serve(
            move |_, body| seen.lock().unwrap().extend(spans(&body)),
            StatusCode::OK,
        )
        .await
    };
    let asked = Arc::new(Mutex::new(Vec::new()));
    let outside = {
        let asked = asked.clone();
        let take = move |headers, _| asked.lock().unwrap().push(headers);
        serve(take, StatusCode::BAD_REQUEST).await
    };
    let cluster = Cluster::start().await;
    let start = |name: &str, like: Option<&Host>| {
        let export = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str()),
            ("OTEL_SERVICE_NAME", name),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ];
        Host::start_with(&cluster, name, like, &export)
    };
    let first = start("first", None);
    let second = start("second", Some(&first));
    cluster.apply(&agents(&outside)).await;
    for what in ["agent/scribe", "tool/scribe", "agent/far"] {
        cluster.ready(what).await;
    }
    for host in [&first, &second] {
        cluster.has_peers(host).await;
    }
    let at = async |agent: &str| match cluster.host_of(agent).await.as_str() {
        "first" => (&first, &second),
        _ => (&second, &first),
    };

    let (there, here) = at("scribe").await;
    let says = |n: u8| format!("0af7651916cd43dd8448eb211c8031{n:02x}");
    let message = json!([{"role": "user", "content": "hello"}]);
    let chat = json!({"model": "scribe", "messages": message});
    let streamed = json!({"model": "scribe", "messages": message, "stream": true});
    let run = json!({"input": "hello"});
    for (n, (path, body)) in (1..).zip([
        ("/default/v1/chat/completions", chat),
        ("/default/v1/chat/completions", streamed),
        ("/api/v1/tenants/default/agents/scribe/run", run),
    ]) {
        let (status, answer) = post(here, path, &says(n), body).await;
        assert!(
            status == 200 && answer.contains("noted"),
            "{path}: {answer}"
        );
        let all = trace(&seen, &says(n), 3).await;
        let [asked, done, model] = [
            (&here.name, "invoke_agent scribe"),
            (&there.name, "invoke_agent scribe"),
            (&there.name, "chat echo"),
        ]
        .map(|(host, name)| {
            let span = all.iter().find(|s| (&s.host, &*s.name) == (host, name));
            span.unwrap_or_else(|| panic!("{path}: no {name} of {host} in {all:#?}"))
        });
        assert_eq!(asked.parent, PARENT, "{path}");
        assert_eq!(done.parent, asked.id, "{path}");
        assert_eq!(model.parent, done.id, "{path}");
        assert_eq!(done.state, STATE, "{path}");
    }

    // A function of a tool, which asks an agent.
    let (_, far) = at("far").await;
    let call = "/api/v1/tenants/default/tools/scribe/functions/ask";
    let arguments = json!({"arguments": {"message": "hello"}});
    let (status, answer) = post(here, call, &says(9), arguments).await;
    assert_eq!(status, 200, "{answer}");
    let all = trace(&seen, &says(9), 3).await;
    let roots: Vec<&Span> = all.iter().filter(|span| span.parent == PARENT).collect();
    assert_eq!(roots.len(), 1, "{all:#?}");
    assert_eq!(roots[0].name, "execute_tool scribe_ask");
    let ids: BTreeMap<&str, &Span> = all.iter().map(|span| (&*span.id, span)).collect();
    for span in all.iter().filter(|span| span.parent != PARENT) {
        assert!(ids.contains_key(&*span.parent), "{span:?} hangs nowhere");
    }

    // A model outside is told nothing of it.
    let body = json!({"model": "far", "messages": message});
    let (status, _) = post(far, "/default/v1/chat/completions", &says(10), body).await;
    assert_ne!(status, 200);
    let asked = asked.lock().unwrap();
    assert!(!asked.is_empty());
    for headers in asked.iter() {
        let told = headers
            .keys()
            .find(|name| name.as_str().starts_with("trace"));
        assert_eq!(told, None, "{headers:?}");
        let values = format!("{headers:?}");
        assert!(!values.contains("0af7651916cd43dd"), "{values}");
    }
}

/// The spans of a trace, once there are so many.
async fn trace(seen: &Mutex<Vec<Span>>, trace: &str, least: usize) -> Vec<Span> {
    let all = async {
        loop {
            let all = seen.lock().unwrap().clone();
            let all: Vec<Span> = all.into_iter().filter(|s| s.trace == trace).collect();
            // Children end before their parents, so that the last to come is the root.
            if all.len() >= least && all.iter().any(|span| span.parent == PARENT) {
                return all;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, all).await;
    found.unwrap_or_else(|_| panic!("{trace} has no {least} spans: {:#?}", seen.lock().unwrap()))
}
