//! Egress over real sockets: what is dialled, what is sent, and when it ends.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request as AxumRequest;
use axum::routing::{any, get};
use futures::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use ringfence_api::{HeaderSpec, HttpGrant, HttpScheme, SecretRef};

use super::*;
use crate::secret::AllowedSecret;

/// Answers each lookup with the next entry; the last one stays.
struct Answers(Mutex<VecDeque<Vec<IpAddr>>>, AtomicUsize);

impl Answers {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |list: &&[&str]| list.iter().map(|a| a.parse().unwrap()).collect();
        Arc::new(Self(
            Mutex::new(answers.iter().map(parse).collect()),
            AtomicUsize::new(0),
        ))
    }
}

impl Lookup for Answers {
    fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.0.lock();
        let answer = if answers.len() > 1 {
            answers.pop_front()
        } else {
            answers.front().cloned()
        };
        Box::pin(async move { Ok(answer.unwrap_or_default()) })
    }
}

fn egress(lookup: Arc<dyn Lookup>) -> Egress {
    Egress::with_lookup(&EgressSettings::default(), Secrets::default(), lookup).unwrap()
}

fn grant(host: &str, port: u16, addresses: AddressScope) -> HttpGrant {
    HttpGrant {
        scheme: HttpScheme::Http,
        host: host.to_owned(),
        port: Some(port),
        methods: Some(vec!["GET".to_owned(), "POST".to_owned()]),
        path: None,
        addresses,
        headers: Vec::new(),
    }
}

fn allowed(grant: HttpGrant, path: &str) -> Allowed {
    let url = format!("http://{}:{}{path}", grant.host, grant.port.unwrap());
    let list = AllowList::new(&[grant]).unwrap();
    list.check(&Method::GET, &url.parse().unwrap()).unwrap()
}

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

async fn text(response: Response<Body>) -> String {
    let body = read(response.into_body(), "test-bytes", 1 << 20)
        .await
        .unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_private_address_needs_the_private_scope_however_it_is_named() {
    let hits = Arc::new(AtomicUsize::new(0));
    let counted = hits.clone();
    let canary = serve(Router::new().fallback(any(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { "reached" }
    })))
    .await;
    let egress = egress(Answers::new(&[&["127.0.0.1"]]));
    for host in ["name.test", "127.0.0.1", "::ffff:127.0.0.1"] {
        let target = HttpGrant {
            host: host.to_owned(),
            ..grant(host, canary.port(), AddressScope::Public)
        };
        let url = match host.contains(':') {
            true => format!("http://[{host}]:{}/", canary.port()),
            false => format!("http://{host}:{}/", canary.port()),
        };
        let list = AllowList::new(&[target]).unwrap();
        let allowed = list.check(&Method::GET, &url.parse().unwrap()).unwrap();
        let error = egress
            .send(&allowed, Request::new(empty()), Timeouts::default())
            .await
            .unwrap_err();
        assert!(
            matches!(error, EgressError::Address { .. }),
            "{host}: {error}"
        );
    }
    assert_eq!(hits.load(Ordering::SeqCst), 0);
    let allowed = allowed(
        grant("name.test", canary.port(), AddressScope::Private),
        "/",
    );
    let response = egress
        .send(&allowed, Request::new(empty()), Timeouts::default())
        .await
        .unwrap();
    assert_eq!(text(response).await, "reached");
}

#[tokio::test]
async fn each_connection_takes_one_look_at_the_name() {
    let canary = serve(Router::new().fallback(any(|| async { "reached" }))).await;
    let lookup = Answers::new(&[&["203.0.113.7", "127.0.0.1"], &["127.0.0.1"]]);
    let egress = egress(lookup.clone());
    let allowed = allowed(
        grant("rebind.test", canary.port(), AddressScope::Public),
        "/",
    );
    for looks in 1..=2 {
        let error = egress
            .send(&allowed, Request::new(empty()), Timeouts::default())
            .await
            .unwrap_err();
        assert!(matches!(error, EgressError::Address { .. }), "{error}");
        assert_eq!(lookup.1.load(Ordering::SeqCst), looks);
    }
}

#[tokio::test]
async fn a_connection_of_one_scope_is_not_reused_by_the_other() {
    let canary = serve(Router::new().fallback(any(|| async { "reached" }))).await;
    let egress = egress(Answers::new(&[&["127.0.0.1"]]));
    let private = allowed(grant("h.test", canary.port(), AddressScope::Private), "/");
    let public = allowed(grant("h.test", canary.port(), AddressScope::Public), "/");
    let response = egress
        .send(&private, Request::new(empty()), Timeouts::default())
        .await
        .unwrap();
    assert_eq!(text(response).await, "reached");
    let refused = egress
        .send(&public, Request::new(empty()), Timeouts::default())
        .await;
    assert!(matches!(refused, Err(EgressError::Address { .. })));
}

#[tokio::test]
async fn what_is_sent_is_what_was_judged_with_the_destinations_secret() {
    let key = Arc::new(Mutex::new(None));
    let seen = key.clone();
    let router = Router::new().fallback(any(move |request: AxumRequest| async move {
        *seen.lock() = request.headers().get("x-key").cloned();
        let show = |name: &str| {
            let all = request.headers().get_all(name).iter();
            all.map(|v| v.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
                .join("|")
        };
        format!(
            "{} host={} keys={} te={}",
            request.uri(),
            show("host"),
            request.headers().get_all("x-key").iter().count(),
            show("te")
        )
    }));
    let address = serve(router).await;
    let reference = SecretRef::Env("CARGO_PKG_NAME".to_owned());
    let secrets = Secrets::new([AllowedSecret::Host(reference.clone())]);
    let lookup = Answers::new(&[&["127.0.0.1"]]);
    let egress = Egress::with_lookup(&EgressSettings::default(), secrets, lookup).unwrap();
    let mut target = grant("api.test", address.port(), AddressScope::Private);
    target.headers.push(HeaderSpec {
        name: "X-Key".to_owned(),
        value: None,
        value_from: Some(reference),
    });
    let allowed = allowed(target, "/a/../b/%7Ec?q=1");
    let mut request = Request::new(empty());
    *request.uri_mut() = "http://elsewhere.test/z".parse().unwrap();
    for (name, value) in [
        ("host", "elsewhere.test"),
        ("x-key", "mine"),
        ("te", "trailers"),
    ] {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    let response = egress
        .send(&allowed, request, Timeouts::default())
        .await
        .unwrap();
    let expected = format!("/b/~c?q=1 host=api.test:{} keys=1 te=", address.port());
    assert_eq!(text(response).await, expected);
    assert_eq!(key.lock().as_ref().unwrap(), "ringfence-host");
}

#[tokio::test]
async fn a_destination_that_echoes_shows_no_secret() {
    let router = Router::new()
        .route(
            "/plain",
            any(|headers: HeaderMap| async move {
                let key = headers["authorization"].to_str().unwrap().to_owned();
                let token = key.strip_prefix("Bearer ").unwrap().to_owned();
                let wants = headers["accept-encoding"].to_str().unwrap().to_owned();
                let cut = token.len() / 2;
                let pieces = [&*wants, " ", &token[..cut], &token[cut..], " end"]
                    .map(|piece| Ok::<_, io::Error>(piece.to_owned()));
                let body = axum::body::Body::from_stream(futures::stream::iter(pieces));
                ([("x-whole", key), ("x-part", format!("<{token}>"))], body)
            }),
        )
        .route(
            "/compressed",
            get(|| async { ([("content-encoding", "gzip")], "no matter what") }),
        );
    let address = serve(router).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "Bearer s3cret-token").unwrap();
    let reference = SecretRef::File(file);
    let secrets = Secrets::new([AllowedSecret::Host(reference.clone())]);
    let lookup = Answers::new(&[&["127.0.0.1"]]);
    let egress = Egress::with_lookup(&EgressSettings::default(), secrets, lookup).unwrap();
    let mut target = grant("api.test", address.port(), AddressScope::Private);
    target.headers.push(HeaderSpec {
        name: "authorization".to_owned(),
        value: None,
        value_from: Some(reference),
    });
    let send = async |path| {
        let mut request = Request::new(empty());
        let gzip = HeaderValue::from_static("gzip");
        request.headers_mut().insert("accept-encoding", gzip);
        let allowed = allowed(target.clone(), path);
        egress.send(&allowed, request, Timeouts::default()).await
    };
    let response = send("/plain").await.unwrap();
    assert_eq!(response.headers()["x-whole"], "[redacted]");
    assert_eq!(response.headers()["x-part"], "[redacted]");
    assert_eq!(text(response).await, "identity ************ end");
    let error = send("/compressed").await.unwrap_err();
    assert!(error.to_string().contains("compressed"), "{error}");
}

#[tokio::test]
async fn bytes_and_outcomes_are_counted() {
    let router = Router::new().fallback(any(|body: String| async move { body.repeat(2) }));
    let address = serve(router).await;
    let settings = EgressSettings::default();
    let lookup = Answers::new(&[&["127.0.0.1"]]);
    let egress = Egress::with_lookup(&settings, Secrets::default(), lookup).unwrap();
    let target = grant("api.test", address.port(), AddressScope::Private);
    let mut request = Request::new(full("12345"));
    *request.method_mut() = Method::POST;
    let response = egress
        .send(&allowed(target.clone(), "/"), request, Timeouts::default())
        .await
        .unwrap();
    assert_eq!(text(response).await, "1234512345");
    // Somebody who stops waiting.
    let pending = allowed(target, "/");
    let sending = egress.send(&pending, Request::new(empty()), Timeouts::default());
    assert!(futures::FutureExt::now_or_never(sending).is_none());
    let shown = settings.metrics.encode().unwrap();
    for line in [
        "ringfence_egress_bytes_total{direction=\"sent\"} 5",
        "ringfence_egress_bytes_total{direction=\"received\"} 10",
        "ringfence_egress_requests_total{result=\"ok\"} 1",
        "ringfence_egress_requests_total{result=\"canceled\"} 1",
    ] {
        assert!(
            shown.lines().any(|found| found == line),
            "{line} in\n{shown}"
        );
    }
}

#[tokio::test]
async fn redirects_are_returned_and_followed_only_where_the_list_allows() {
    let other = serve(Router::new().fallback(any(|headers: HeaderMap| async move {
        format!("other auth={}", headers.contains_key("authorization"))
    })))
    .await;
    let away = format!("http://other.test:{}/x", other.port());
    let router = Router::new()
        .route(
            "/away",
            get(move || async move { (StatusCode::FOUND, [("location", away)]) }),
        )
        .route(
            "/loop",
            get(|| async { (StatusCode::FOUND, [("location", "/loop")]) }),
        );
    let address = serve(router).await;
    let egress = egress(Answers::new(&[&["127.0.0.1"]]));
    let first = grant("h.test", address.port(), AddressScope::Private);
    let second = grant("other.test", other.port(), AddressScope::Private);
    let plain = egress
        .send(
            &allowed(first.clone(), "/away"),
            Request::new(empty()),
            Timeouts::default(),
        )
        .await
        .unwrap();
    assert_eq!(plain.status(), StatusCode::FOUND);

    let ask = |path: &str| {
        let url = format!("http://h.test:{}{path}", address.port());
        Request::get(url)
            .header("authorization", "x")
            .body(bytes::Bytes::new())
            .unwrap()
    };
    let only_first = AllowList::new(std::slice::from_ref(&first)).unwrap();
    let refused = egress
        .send_following(&only_first, ask("/away"), Timeouts::default())
        .await;
    assert!(matches!(refused, Err(EgressError::Refused(_))));
    let both = AllowList::new(&[first, second]).unwrap();
    let followed = egress
        .send_following(&both, ask("/away"), Timeouts::default())
        .await
        .unwrap();
    assert_eq!(text(followed).await, "other auth=false");
    let endless = egress
        .send_following(&both, ask("/loop"), Timeouts::default())
        .await;
    assert!(matches!(endless, Err(EgressError::Redirect(_))));
}

#[tokio::test]
async fn a_silent_or_endless_server_is_left() {
    let router = Router::new()
        .route(
            "/silent",
            get(|| async { std::future::pending::<&str>().await }),
        )
        .route(
            "/stall",
            get(|| async {
                let first = futures::stream::iter([Ok::<_, io::Error>("x")]);
                let never = futures::stream::pending();
                axum::body::Body::from_stream(futures::StreamExt::chain(first, never))
            }),
        )
        .route(
            "/endless",
            get(|| async {
                axum::body::Body::from_stream(futures::stream::repeat_with(|| {
                    Ok::<_, io::Error>("x")
                }))
            }),
        );
    let address = serve(router).await;
    let egress = egress(Answers::new(&[&["127.0.0.1"]]));
    let target = |path| allowed(grant("h.test", address.port(), AddressScope::Private), path);
    let short = Duration::from_millis(200);
    let base = Timeouts::default();
    let silent = Timeouts {
        first_byte: short,
        ..base
    };
    let error = egress
        .send(&target("/silent"), Request::new(empty()), silent)
        .await
        .unwrap_err();
    assert!(
        matches!(error, EgressError::Timeout(TimedOut::FirstByte)),
        "{error}"
    );
    for (path, timeouts, expected) in [
        (
            "/stall",
            Timeouts {
                between_bytes: short,
                ..base
            },
            TimedOut::BetweenBytes,
        ),
        (
            "/endless",
            Timeouts {
                total: short,
                ..base
            },
            TimedOut::Total,
        ),
    ] {
        let response = egress
            .send(&target(path), Request::new(empty()), timeouts)
            .await
            .unwrap();
        let error = read(response.into_body(), "test-bytes", usize::MAX)
            .await
            .unwrap_err();
        assert!(
            matches!(error, EgressError::Timeout(what) if what == expected),
            "{path}: {error}"
        );
    }
    let response = egress
        .send(&target("/endless"), Request::new(empty()), base)
        .await
        .unwrap();
    let error = read(response.into_body(), "test-bytes", 1000)
        .await
        .unwrap_err();
    assert!(matches!(error, EgressError::Limit { maximum: 1000, .. }));
}

#[tokio::test]
async fn nobody_there_and_nothing_resolved_are_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let target = allowed(grant("h.test", port, AddressScope::Private), "/");
    let refused = egress(Answers::new(&[&["127.0.0.1"]]));
    let error = refused
        .send(&target, Request::new(empty()), Timeouts::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, EgressError::Connect { refused: true, .. }),
        "{error}"
    );
    let nothing = egress(Answers::new(&[&[]]));
    let error = nothing
        .send(&target, Request::new(empty()), Timeouts::default())
        .await
        .unwrap_err();
    assert!(matches!(error, EgressError::Dns { .. }), "{error}");
}

/// The forbidden addresses themselves, with somebody listening on each, in a network namespace that
/// has no way out. Run by [`forbidden_addresses_are_not_dialled`] inside that namespace.
const CANARIES: [&str; 7] = [
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.2.1",
    "fd00:ec2::254",
    "2001:db8::1",
];

/// An address of the public internet, which in the namespace is the machine's own.
const PUBLIC: &str = "8.8.4.4";

#[test]
fn forbidden_addresses_are_not_dialled() {
    if std::env::var_os("RINGFENCE_TEST_NETNS").is_some() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(try_canaries());
    }
    let setup: String = CANARIES
        .iter()
        .chain([&PUBLIC])
        .map(|address| {
            let bits = if address.contains(':') { "128" } else { "32" };
            let nodad = if address.contains(':') { " nodad" } else { "" };
            format!("ip addr add {address}/{bits} dev lo{nodad}\n")
        })
        .collect();
    let script = format!("set -e\nip link set lo up\n{setup}exec \"$@\"\n");
    let status = std::process::Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "sh",
            "-c",
            &script,
            "sh",
        ])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "egress::tests::forbidden_addresses_are_not_dialled",
            "--nocapture",
        ])
        .env("RINGFENCE_TEST_NETNS", "1")
        .status()
        .expect("`unshare` (util-linux) is needed to run this test; install it");
    assert!(
        status.success(),
        "failed in a network namespace; without network namespaces, `ip` (iproute2) or IPv6 this test cannot run"
    );
}

async fn try_canaries() {
    let hits = Arc::new(AtomicUsize::new(0));
    for address in CANARIES {
        let ip: IpAddr = address.parse().unwrap();
        let listener = tokio::net::TcpListener::bind((ip, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // The canary can be reached: only the guard keeps the request away.
        drop(tokio::net::TcpStream::connect((ip, port)).await.unwrap());
        drop(listener.accept().await.unwrap());
        let counted = hits.clone();
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        let egress = egress(Answers::new(&[&[address]]));
        let short = Timeouts {
            first_byte: Duration::from_secs(2),
            ..Timeouts::default()
        };
        for host in [address, "name.test"] {
            let literal = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            };
            for scope in [AddressScope::Public, AddressScope::Private] {
                let list = AllowList::new(&[grant(host, port, scope)]).unwrap();
                let url = format!("http://{literal}:{port}/latest/meta-data/");
                let allowed = list.check(&Method::GET, &url.parse().unwrap()).unwrap();
                let error = egress
                    .send(&allowed, Request::new(empty()), short)
                    .await
                    .unwrap_err();
                assert!(
                    matches!(error, EgressError::Address { .. }),
                    "{host} {scope:?}: {error}"
                );
            }
        }
    }
    assert_eq!(
        hits.load(Ordering::SeqCst),
        0,
        "a forbidden address was dialled"
    );
    rebind().await;
}

/// A name that is public at first and private afterwards: the public address is served, the private
/// one is not dialled, although somebody listens there on the same port.
async fn rebind() {
    let public: IpAddr = PUBLIC.parse().unwrap();
    let listener = tokio::net::TcpListener::bind((public, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let canary = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    let router = Router::new().fallback(any(|| async { ([("connection", "close")], "public") }));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let egress = egress(Answers::new(&[&[PUBLIC], &["127.0.0.1"]]));
    let target = allowed(grant("rebind.test", port, AddressScope::Public), "/");
    let first = egress
        .send(&target, Request::new(empty()), Timeouts::default())
        .await
        .unwrap();
    assert_eq!(text(first).await, "public");
    let error = egress
        .send(&target, Request::new(empty()), Timeouts::default())
        .await
        .unwrap_err();
    assert!(matches!(error, EgressError::Address { .. }), "{error}");
    let dialled = tokio::time::timeout(Duration::from_millis(50), canary.accept()).await;
    assert!(dialled.is_err(), "the private address was dialled");
}
