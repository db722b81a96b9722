//! What `/metrics` shows of sandboxes, artifacts and requests to the outside, as a collector reads it.

use libtest_mimic::Trial;
use ringfence_api::{AddressScope, HttpGrant, HttpScheme};
use ringfence_host::error::CallError;
use ringfence_host::gateway::{Binding, Gateway, Settings};
use ringfence_test_guests as guests;
use ringfence_tests::{Loopback, Setup, TestHost};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::test;

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.push(test("metrics_tell_of_artifacts", artifacts));
    tests.push(test("metrics_tell_of_the_pool", pool));
    tests.push(test("metrics_tell_of_requests", requests));
}

/// One reading of `/metrics`.
struct Reading(String);

impl Reading {
    /// From a gateway that serves only for this.
    async fn of(host: &TestHost) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let binding = Binding::local(listener).unwrap();
        let rest = axum::Router::new();
        let gateway = Gateway::new(host.host().clone(), binding, Settings::default(), rest);
        let address = gateway.address();
        let serving = tokio::spawn(gateway.serve());
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        serving.abort();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        Self(text)
    }

    /// The value of a series; 0 where nothing fed it yet.
    fn value(&self, series: &str) -> f64 {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// By how much a series has grown since an earlier reading.
    fn since(&self, before: &Self, series: &str) -> f64 {
        self.value(series) - before.value(series)
    }
}

/// The guest with a custom section more, so that no other test has stored it before.
fn unseen(guest: &[u8]) -> &'static [u8] {
    let mut bytes = guest.to_vec();
    bytes.extend_from_slice(b"\x00\x07\x06unseen");
    bytes.leak()
}

async fn artifacts(host: TestHost) {
    const COMPILED: &str = "ringfence_compile_duration_seconds_count";
    let cache = |result: &str| format!("ringfence_artifact_cache_total{{result=\"{result}\"}}");
    let before = Reading::of(&host).await;
    host.tool("echo", unseen(guests::ECHO), Setup::default())
        .await;
    let stored = Reading::of(&host).await;
    assert_eq!(stored.since(&before, COMPILED), 1.0);
    let spent = stored.since(&before, "ringfence_compile_duration_seconds_sum");
    assert!(spent > 0.0 && spent < 120.0, "{spent}");
    // Mapped for the first call, ready for the second.
    for _ in 0..2 {
        let sum = host.call("echo", "add", json!({ "a": 1, "b": 1 })).await;
        assert!(sum.is_ok(), "{sum:?}");
    }
    let called = Reading::of(&host).await;
    assert_eq!(called.since(&stored, COMPILED), 0.0);
    assert_eq!(called.since(&stored, &cache("disk")), 1.0);
    assert_eq!(called.since(&stored, &cache("linked")), 1.0);
    assert_eq!(called.since(&stored, &cache("compiled")), 0.0);
}

async fn pool(host: TestHost) {
    let size = host.engine().metrics().sandboxes_max;
    let before = Reading::of(&host).await;
    assert_eq!(before.value("ringfence_pool_used"), 0.0);
    assert_eq!(before.value("ringfence_pool_size"), size as f64);
    host.tool("sleep", guests::SLEEP, Setup::default()).await;
    host.tool("echo", guests::ECHO, Setup::default()).await;
    let mut sleeping = JoinSet::new();
    for _ in 0..size {
        let host = host.clone();
        sleeping.spawn(async move {
            let long = json!({ "ms": 600_000 });
            host.call("sleep", "sleep_ms", long).await
        });
    }
    while host.engine().metrics().components < size {
        assert!(sleeping.try_join_next().is_none(), "one of them ended");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let shed = host.call("echo", "add", json!({ "a": 1, "b": 1 })).await;
    assert!(matches!(shed, Err(CallError::Unavailable(_))), "{shed:?}");
    let full = Reading::of(&host).await;
    assert_eq!(full.value("ringfence_pool_used"), size as f64);
    assert_eq!(full.since(&before, "ringfence_pool_exhausted_total"), 1.0);
    sleeping.shutdown().await;
    host.all_freed().await;
    let after = Reading::of(&host).await;
    assert_eq!(after.value("ringfence_pool_used"), 0.0);
}

async fn requests(host: TestHost) {
    let ended = |result: &str| format!("ringfence_egress_requests_total{{result=\"{result}\"}}");
    let server = Loopback::start().await;
    let grant = |addresses| {
        let mut setup = Setup::default();
        setup.grants.http.push(HttpGrant {
            scheme: HttpScheme::Http,
            host: server.address.ip().to_string(),
            port: Some(server.address.port()),
            methods: None,
            path: None,
            addresses,
            headers: Vec::new(),
        });
        setup
    };
    host.tool("near", guests::AMBIENT, grant(AddressScope::Private))
        .await;
    host.tool("far", guests::AMBIENT, grant(AddressScope::Public))
        .await;
    let before = Reading::of(&host).await;
    let fetch = json!({ "authority": server.address.to_string(), "path": "/", "headers": [] });
    let hello = host.call("near", "fetch", fetch.clone()).await.unwrap();
    assert!(!hello.is_error, "{hello:?}");
    let refused = host.call("far", "fetch", fetch).await.unwrap();
    assert!(refused.is_error, "{refused:?}");
    let after = Reading::of(&host).await;
    assert_eq!(after.since(&before, &ended("ok")), 1.0);
    assert_eq!(after.since(&before, &ended("denied")), 1.0);
    let received = "ringfence_egress_bytes_total{direction=\"received\"}";
    assert_eq!(after.since(&before, received), "hello".len() as f64);
    let sent = "ringfence_egress_bytes_total{direction=\"sent\"}";
    assert_eq!(after.since(&before, sent), 0.0);
}
