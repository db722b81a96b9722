//! The gateway's own bounds, over real sockets: connections, sessions, calls at a time, both versions of
//! HTTP.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use libtest_mimic::Trial;
use ringfence_host::directory::TENANT_CONCURRENCY;
use ringfence_host::gateway::{Binding, Gateway, Settings};
use ringfence_host::limits::Limits;
use ringfence_test_guests as guests;
use ringfence_tests::{Setup, TestHost};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::test;

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.push(test("sessions_that_nobody_uses_end", sessions));
    tests.push(test("connections_too_many_are_shed", connections));
    tests.push(test("silent_connections_end", silent));
    tests.push(test("calls_too_many_are_refused_over_http", calls));
    tests.push(test("http2_has_the_same_bounds", http2));
}

/// A gateway before the host; it accepts nothing any more when this is dropped.
struct Served {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn gateway(host: &TestHost, settings: Settings) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let binding = Binding::local(listener).unwrap();
    let gateway = Gateway::new(host.host().clone(), binding, settings, axum::Router::new());
    Served {
        address: gateway.address(),
        task: tokio::spawn(gateway.serve()),
    }
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request on a connection of its own; everything that comes back until the other side ends it.
    async fn ask(&self, method: &str, path: &str, head: &str, body: &str) -> String {
        let head = format!("connection: close\r\n{head}");
        let mut stream = self.send(method, path, &head, body).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn send(&self, method: &str, path: &str, head: &str, body: &str) -> TcpStream {
        let mut stream = self.connect().await;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n{head}\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }
}

/// Waits for something that comes by itself.
async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("it did not happen");
}

/// Reads what is there of a stream that stays open.
async fn some(stream: &mut TcpStream) -> String {
    let mut piece = [0; 4096];
    let read = stream.read(&mut piece).await.unwrap();
    String::from_utf8_lossy(&piece[..read]).into_owned()
}

const ACCEPT: &str = "accept: application/json, text/event-stream\r\n";

async fn session(served: &Served, path: &str) -> String {
    let hello = json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    });
    let begun = served.ask("POST", path, ACCEPT, &hello.to_string()).await;
    let id = begun
        .lines()
        .find_map(|line| line.strip_prefix("mcp-session-id: "));
    format!("{ACCEPT}mcp-session-id: {}\r\n", id.unwrap())
}

async fn sessions(host: TestHost) {
    host.tool("echo", guests::ECHO, Setup::default()).await;
    let settings = Settings {
        session_idle: Duration::from_millis(1500),
        ..Settings::default()
    };
    let served = gateway(&host, settings).await;
    let path = format!("/{}/mcp", host.tenant());
    let open = async || {
        let metrics = served.ask("GET", "/metrics", "", "").await;
        let line = metrics
            .lines()
            .find(|l| l.starts_with("ringfence_mcp_sessions "));
        line.unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    let (used, unused) = (session(&served, &path).await, session(&served, &path).await);
    // A stream that waits for news is a use.
    let mut news = served.send("GET", &path, &used, "").await;
    assert!(some(&mut news).await.starts_with("HTTP/1.1 200"));
    until(async || open().await == "1").await;
    let list = r#"{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}"#;
    let gone = served.ask("POST", &path, &unused, list).await;
    assert!(gone.starts_with("HTTP/1.1 404"), "{gone}");
    let listed = served.ask("POST", &path, &used, list).await;
    assert!(listed.contains("echo_echo"), "{listed}");
    drop(news);
    until(async || open().await == "0").await;
}

async fn connections(host: TestHost) {
    let settings = Settings {
        connections: 2,
        ..Settings::default()
    };
    let served = gateway(&host, settings).await;
    // An answer on each shows that it was accepted.
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = served.send("GET", "/healthz", "", "").await;
        assert!(some(&mut stream).await.starts_with("HTTP/1.1 200"));
        held.push(stream);
    }
    let mut third = served.connect().await;
    let mut told = String::new();
    third.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    assert!(told.contains("retry-after: 1\r\n"), "{told}");
    held.pop();
    until(async || {
        let mut stream = served.connect().await;
        // One that is shed may be reset while it sends.
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", served.address);
        let sent = stream.write_all(request.as_bytes()).await;
        let mut piece = [0; 64];
        let read = stream.read(&mut piece).await.unwrap_or(0);
        sent.is_ok() && piece[..read].starts_with(b"HTTP/1.1 200")
    })
    .await;
}

async fn silent(host: TestHost) {
    let settings = Settings {
        header_timeout: Duration::from_millis(200),
        ..Settings::default()
    };
    let served = gateway(&host, settings).await;
    for begin in [
        "",
        "P",
        "PRI",
        "GET / HT",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = served.connect().await;
        stream.write_all(begin.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
        assert!(ended.is_ok(), "{begin:?} is kept");
    }
}

async fn calls(host: TestHost) {
    let limits = Limits {
        concurrency: 1,
        ..Limits::TOOL
    };
    host.tool("web", guests::HTTP_ECHO, Setup::limited(limits.clone()))
        .await;
    host.tool("sleep", guests::SLEEP, Setup::limited(limits))
        .await;
    let served = gateway(&host, Settings::default()).await;
    let mcp = format!("/{}/tools/sleep/mcp", host.tenant());
    let head = session(&served, &mcp).await;
    let sleep = |ms: u32| {
        let params = json!({"name": "sleep_ms", "arguments": {"ms": ms}});
        json!({"jsonrpc": "2.0", "id": ms, "method": "tools/call", "params": params}).to_string()
    };
    let instance = host
        .host()
        .directory()
        .tool(host.tenant(), &"sleep".parse().unwrap());
    let gate = instance.unwrap().gate.clone();
    let held = served.send("POST", &mcp, &head, &sleep(60_000)).await;
    until(async || gate.available_permits() == 0).await;
    let refused = served.ask("POST", &mcp, &head, &sleep(1)).await;
    assert!(refused.contains("limit exceeded: concurrency"), "{refused}");
    // A client that goes away gives its place back.
    drop(held);
    until(async || gate.available_permits() == 1).await;
    let done = served.ask("POST", &mcp, &head, &sleep(2)).await;
    assert!(!done.contains("concurrency"), "{done}");

    let web = format!("/{}/tools/web/http/", host.tenant());
    let all = u32::try_from(TENANT_CONCURRENCY).unwrap();
    let gate = host.host().directory().gate(host.tenant());
    let taken = gate.try_acquire_many_owned(all).unwrap();
    let refused = served.ask("GET", &web, "", "").await;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    assert!(refused.contains("retry-after: "), "{refused}");
    assert!(refused.contains("tenant-concurrency"), "{refused}");
    drop(taken);
    let served_again = served.ask("GET", &web, "", "").await;
    assert!(served_again.starts_with("HTTP/1.1 200"), "{served_again}");
}

async fn http2(host: TestHost) {
    host.tool("web", guests::HTTP_ECHO, Setup::default()).await;
    host.tool("endless", guests::HTTP_ENDLESS, Setup::default())
        .await;
    let settings = Settings {
        connections: 3,
        header_timeout: Duration::from_millis(1500),
        ..Settings::default()
    };
    let served = gateway(&host, settings).await;
    let io = TokioIo::new(served.connect().await);
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let ask = async |authority: &str, path: &str| {
        let request = http::Request::post(format!("http://{authority}/{}{path}", host.tenant()))
            .body(Full::new(Bytes::from_static(b"hello")))
            .unwrap();
        client.clone().send_request(request).await.unwrap()
    };
    let own = served.address.to_string();
    let answer = ask(&own, "/tools/web/http/a?b").await;
    assert_eq!(
        (answer.status(), answer.version()),
        (http::StatusCode::OK, http::Version::HTTP_2)
    );
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "Method::Post /a?b\nhello");
    assert_eq!(ask("evil.example", "/tools/web/http/").await.status(), 403);
    // The connection has one of three places, so that two streams fit and a third does not.
    let endless = [
        ask(&own, "/tools/endless/http/").await,
        ask(&own, "/tools/endless/http/").await,
    ];
    let refused = ask(&own, "/tools/web/http/").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    // Nor does a further connection.
    let mut told = String::new();
    served
        .connect()
        .await
        .read_to_string(&mut told)
        .await
        .unwrap();
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    // While a stream is open the connection stays; when none is, it ends.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!connection.is_finished());
    drop(endless);
    until(async || ask(&own, "/tools/web/http/").await.status() == 200).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), connection).await;
    assert!(ended.is_ok(), "an idle connection is kept");
}
