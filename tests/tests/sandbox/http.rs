//! Tools that serve HTTP, and guests that make requests.

use std::time::Duration;

use http_body_util::BodyExt as _;
use libtest_mimic::Trial;
use ringfence_api::{AddressScope, HeaderSpec, HttpGrant, HttpScheme};
use ringfence_host::body;
use ringfence_host::error::CallError;
use ringfence_host::function::FunctionResult;
use ringfence_host::limits::Limits;
use ringfence_host::record::Decision;
use ringfence_test_guests as guests;
use ringfence_tests::{Loopback, Setup, TestHost, json_of, text_of};
use serde_json::{Value, json};

use crate::test;

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.push(test("a_granted_destination_is_reached", reached));
    tests.push(test("what_is_not_granted_is_not_reached", not_reached));
    tests.push(test("headers_of_the_host_stay_with_the_host", headers_stay));
    tests.push(test("an_echoed_secret_is_masked", echoed));
    tests.push(test("a_request_body_is_bounded", request_body));
}

fn request(method: &str, path: &str, body: impl Into<bytes::Bytes>) -> ::http::Request<body::Body> {
    ::http::Request::builder()
        .method(method)
        .uri(format!("http://tool{path}"))
        .body(body::full(body))
        .unwrap()
}

pub(crate) async fn http_echo(host: TestHost) {
    host.tool("web", guests::HTTP_ECHO, Setup::default()).await;
    let text = "x".repeat(100_000);
    let request = request("POST", "/a/b?c=d", text.clone());
    let response = host.serve("web", request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/plain");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, format!("Method::Post /a/b?c=d\n{text}"));
    // It is no tool for functions.
    let call = host.call("web", "run", json!({})).await;
    assert!(matches!(call, Err(CallError::NotFound(_))), "{call:?}");
}

async fn request_body(host: TestHost) {
    let limits = Limits {
        input_bytes: 1000,
        ..Limits::TOOL
    };
    host.tool("web", guests::HTTP_ECHO, Setup::limited(limits))
        .await;
    let request = request("POST", "/", "x".repeat(5000));
    let response = host.serve("web", request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.len() < 1100, "{}", body.len());
}

pub(crate) async fn http_endless(host: TestHost) {
    const MOST: u64 = 256 << 10;
    let limits = Limits {
        output_bytes: MOST,
        ..Limits::TOOL
    };
    host.tool("endless", guests::HTTP_ENDLESS, Setup::limited(limits))
        .await;
    let response = host.serve("endless", request("GET", "/", "")).await;
    let mut body = response.unwrap().into_body();
    let mut read = 0;
    loop {
        match body.frame().await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, bytes::Bytes::len) as u64,
            Some(Err(error)) => {
                assert!(
                    error.to_string().contains("exceeds limit"),
                    "{error:?} ({error})"
                );
                break;
            }
            None => panic!("the body ends as if it were whole"),
        }
    }
    assert!(read <= MOST, "{read}");
    drop(body);
    // A reader that goes away ends the sandbox; `test` checks that it is gone.
    let response = host.serve("endless", request("GET", "/", "")).await;
    let mut body = response.unwrap().into_body();
    assert!(body.frame().await.is_some());
    drop(body);
    // One that does not read holds it, until its time is over.
    let limits = Limits {
        output_bytes: MOST,
        wall: Duration::from_millis(300),
        ..Limits::TOOL
    };
    host.tool("short", guests::HTTP_ENDLESS, Setup::limited(limits))
        .await;
    let response = host.serve("short", request("GET", "/", "")).await;
    let body = response.unwrap().into_body();
    host.all_freed().await;
    drop(body);
}

pub(crate) async fn http_silent(host: TestHost) {
    host.tool("silent", guests::HTTP_SILENT, Setup::default())
        .await;
    let answer = host.serve("silent", request("GET", "/", "")).await;
    let answer = answer.map(|response| response.status());
    assert!(matches!(answer, Err(CallError::Failed(_))), "{answer:?}");
    // A guest that never answers is ended by its limits.
    host.tool("spin", guests::SPIN, Setup::default()).await;
    let answer = host.serve("spin", request("GET", "/", "")).await;
    let answer = answer.map(|response| response.status());
    assert!(matches!(answer, Err(CallError::NotFound(_))), "{answer:?}");
}

fn grant(server: &Loopback, addresses: AddressScope) -> HttpGrant {
    HttpGrant {
        scheme: HttpScheme::Http,
        host: server.address.ip().to_string(),
        port: Some(server.address.port()),
        methods: None,
        path: Some("/open".to_owned()),
        addresses,
        headers: Vec::new(),
    }
}

fn setup(grant: HttpGrant) -> Setup {
    let mut setup = Setup::default();
    setup.grants.http.push(grant);
    setup
}

async fn fetch(host: &TestHost, authority: &str, path: &str, headers: Value) -> FunctionResult {
    let arguments = json!({ "authority": authority, "path": path, "headers": headers });
    host.call("web", "fetch", arguments).await.unwrap()
}

async fn reached(host: TestHost) {
    let server = Loopback::start().await;
    host.tool(
        "web",
        guests::AMBIENT,
        setup(grant(&server, AddressScope::Private)),
    )
    .await;
    let authority = server.address.to_string();
    let answer = fetch(&host, &authority, "/open/a", json!([["x-own", "1"]])).await;
    assert_eq!(json_of(&answer), json!([200, "hello"]));
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].line, "GET /open/a");
    assert_eq!(seen[0].headers["x-own"], "1");
    assert_eq!(seen[0].headers["host"], authority.as_str());
}

async fn not_reached(host: TestHost) {
    let server = Loopback::start().await;
    let other = Loopback::start().await;
    let authority = server.address.to_string();
    host.tool(
        "web",
        guests::AMBIENT,
        setup(grant(&server, AddressScope::Private)),
    )
    .await;
    let port = server.address.port();
    for (authority, path) in [
        (authority.clone(), "/closed"),
        (authority.clone(), "/open/../closed"),
        (authority.clone(), "/open/%2e%2e/closed"),
        (authority.clone(), "/openly"),
        (other.address.to_string(), "/open"),
        (format!("localhost:{port}"), "/open"),
        (format!("user@127.0.0.1:{port}"), "/open"),
    ] {
        let answer = fetch(&host, &authority, path, json!([])).await;
        assert!(answer.is_error, "{authority}{path}: {answer:?}");
    }
    // The name is granted, the address behind it is not.
    host.tool(
        "web",
        guests::AMBIENT,
        setup(grant(&server, AddressScope::Public)),
    )
    .await;
    let context = host.context();
    let run = context.run;
    let arguments = json!({ "authority": authority, "path": "/open", "headers": [] });
    let answer = host.call_in(context, "web", "fetch", arguments).await;
    let answer = text_of(&answer.unwrap());
    assert!(answer.contains("HttpRequestDenied"), "{answer}");
    let records = host.records(run);
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].capability, "http");
    assert_eq!(records[1].target, format!("GET http://{authority}/open"));
    assert_eq!(records[1].decision, Decision::Denied);
    assert!(server.seen().is_empty());
    assert!(other.seen().is_empty());
}

async fn echoed(host: TestHost) {
    let server = Loopback::echoing().await;
    let authority = server.address.to_string();
    let mut grant = grant(&server, AddressScope::Private);
    grant.headers.push(HeaderSpec {
        name: "x-api-key".to_owned(),
        value: None,
        value_from: Some(host.secret()),
    });
    host.tool("web", guests::AMBIENT, setup(grant)).await;
    let answer = fetch(&host, &authority, "/open", json!([["x-own", "mine"]])).await;
    assert!(!answer.is_error, "{answer:?}");
    // The server had it, and sent it back beside what the guest may see.
    assert_eq!(server.seen()[0].headers["x-api-key"], TestHost::SECRET);
    let text = text_of(&answer);
    assert!(text.contains("mine"), "{text}");
    assert!(!text.contains(TestHost::SECRET), "{text}");
    assert!(text.contains(&"*".repeat(TestHost::SECRET.len())), "{text}");
}

async fn headers_stay(host: TestHost) {
    let server = Loopback::start().await;
    let authority = server.address.to_string();
    let mut grant = grant(&server, AddressScope::Private);
    grant.headers.push(HeaderSpec {
        name: "x-api-key".to_owned(),
        value: None,
        value_from: Some(host.secret()),
    });
    host.tool("web", guests::AMBIENT, setup(grant)).await;
    let context = host.context();
    let run = context.run;
    // The guest cannot put its own in the place of the host's.
    let arguments = json!({
        "authority": authority, "path": "/open", "headers": [["x-api-key", "forged"]],
    });
    let answer = host.call_in(context, "web", "fetch", arguments).await;
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "{answer:?}");
    let keys: Vec<_> = seen[0].headers.get_all("x-api-key").iter().collect();
    assert_eq!(keys, [TestHost::SECRET]);
    // Nothing that the guest or the records hold has it.
    assert!(!format!("{answer:?}").contains(TestHost::SECRET));
    let records = format!("{:?}", host.records(run));
    assert!(!records.contains(TestHost::SECRET));
    // Headers that decide where a request goes are not the guest's.
    for header in ["host", "connection", "transfer-encoding", "upgrade"] {
        let answer = fetch(&host, &authority, "/open", json!([[header, "x"]])).await;
        assert!(answer.is_error, "{header}: {answer:?}");
    }
    assert_eq!(server.seen().len(), 1);
}
