//! Who gets in, what they are told, and what happens to those who ask for too much.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use kube::client::Body;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use ringfence_api::{Name, PoolUsed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::service_fn;

use super::super::door::{DoorError, Shown};
use super::*;
use crate::certificates::Authority;

const SYSTEM: &str = "system";
const PATH: &str =
    "/apis/custom.metrics.k8s.io/v1beta2/namespaces/system/pods/*/ringfence_pool_used";

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn issuer() -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A client certificate with its key.
type Proof = (CertificateDer<'static>, PrivatePkcs8KeyDer<'static>);

fn proof(issuer: &Issuer, name: &str, usage: ExtendedKeyUsagePurpose) -> Proof {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    (certificate.der().clone(), key.serialize_der().into())
}

fn front_proxy(issuer: &Issuer) -> FrontProxy {
    let entries = [
        ("requestheader-client-ca-file", issuer.pem()),
        (
            "requestheader-allowed-names",
            r#"["front-proxy-client"]"#.to_owned(),
        ),
        (
            "requestheader-username-headers",
            r#"["X-Remote-User"]"#.to_owned(),
        ),
        (
            "requestheader-group-headers",
            r#"["X-Remote-Group"]"#.to_owned(),
        ),
    ];
    let data = entries.map(|(key, value)| (key.to_owned(), value));
    FrontProxy::read(&BTreeMap::from(data)).unwrap()
}

/// An operator's server, and an API server that lets `autoscaler` and nobody else when it is told to go on.
struct World {
    issuer: Issuer,
    /// Who has signed what the server shows.
    authority: Authority,
    address: SocketAddr,
    metrics: Metrics,
    doors: watch::Sender<Option<Arc<Door>>>,
    /// How many reviews wait.
    waiting: Arc<Semaphore>,
    go_on: Arc<Notify>,
    _serving: JoinSet<()>,
}

impl World {
    /// `holds`: reviews wait for [`World::go_on`].
    async fn new(holds: bool) -> Self {
        let (waiting, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
        let client = api_server(holds, waiting.clone(), go_on.clone());
        let (issuer, now) = (issuer(), time::OffsetDateTime::now_utc());
        let authority = Authority::new(now).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, server) = (Metrics::default(), server(client));
        let server = Arc::new(Server {
            metrics: metrics.clone(),
            ..server
        });
        let (doors, door) = watch::channel(None);
        let mut serving = JoinSet::new();
        serving.spawn(server.serve(listener, door));
        let world = Self {
            issuer,
            authority,
            address,
            metrics,
            doors,
            waiting,
            go_on,
            _serving: serving,
        };
        world.open();
        world
    }

    /// Makes a new door.
    fn open(&self) {
        let key = KeyPair::generate().unwrap();
        let (now, valid) = (time::OffsetDateTime::now_utc(), Duration::from_secs(3_600));
        let name = crate::custom_metrics::server_name(SYSTEM);
        let shown = Shown {
            certificate: self.authority.sign_server(&name, &key, now, valid).unwrap(),
            key: key.serialize_der(),
        };
        let door = Door::new(&shown, front_proxy(&self.issuer)).unwrap();
        self.doors.send_replace(Some(Arc::new(door)));
    }

    fn aggregator(&self) -> Proof {
        proof(
            &self.issuer,
            "front-proxy-client",
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }

    async fn connect(
        &self,
        proof: Option<Proof>,
        protocol: &[u8],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority.certificate().as_bytes());
        roots.add(authority.unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match proof {
            Some((certificate, key)) => config
                .with_client_auth_cert(vec![certificate], key.into())
                .unwrap(),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("ringfence-custom-metrics.system.svc").unwrap();
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// What somebody is told, who shows this; none where they are not let in.
    async fn get(&self, proof: Option<Proof>, path: &str, user: &str) -> Option<(u16, Value)> {
        let stream = self.connect(proof, b"http/1.1").await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request(path, user)).await.ok()?;
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        connection.abort();
        Some((code, serde_json::from_slice(&body).unwrap()))
    }

    fn turned_away(&self) -> String {
        let metrics = self.metrics.render();
        let mut lines = metrics.lines();
        let line = lines
            .find(|line| line.starts_with("ringfence_operator_custom_metrics_turned_away_total"));
        line.unwrap().to_owned()
    }
}

fn request(path: &str, user: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(format!("https://ringfence{path}"));
    let request = match user {
        "" => request,
        user => request.header("x-remote-user", user),
    };
    request.body(Empty::new()).unwrap()
}

fn server(client: Client) -> Server {
    let (pods, loads) = (Pods::default(), Loads::default());
    pods.put("h-1".to_owned(), BTreeMap::new());
    let used = Some(PoolUsed::from_thousandths(1_500));
    let host: Name = "h-1".parse().unwrap();
    loads.said(&host, used, Duration::from_secs(3_600), Instant::now());
    Server {
        client,
        namespace: SYSTEM.to_owned(),
        pods,
        loads,
        metrics: Metrics::default(),
        requests: Arc::new(Semaphore::new(REQUESTS)),
    }
}

fn api_server(holds: bool, waiting: Arc<Semaphore>, go_on: Arc<Notify>) -> Client {
    let service = service_fn(move |request: Request<Body>| {
        let (waiting, go_on) = (waiting.clone(), go_on.clone());
        async move {
            assert_eq!(
                request.uri().path(),
                "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            );
            let review = request.into_body().collect().await.unwrap().to_bytes();
            let mut review: Value = serde_json::from_slice(&review).unwrap();
            if holds {
                let goes_on = go_on.notified();
                waiting.add_permits(1);
                goes_on.await;
            }
            review["status"] = json!({"allowed": review["spec"]["user"] == "autoscaler"});
            let answer = Body::from(review.to_string().into_bytes());
            Ok::<_, Infallible>(Response::new(answer))
        }
    });
    Client::new(service, "default")
}

#[tokio::test]
async fn the_aggregator_is_told_what_its_callers_may_know() {
    let world = World::new(false).await;
    let get = async |path, user| {
        let (code, body) = world
            .get(Some(world.aggregator()), path, user)
            .await
            .unwrap();
        (code, body["kind"].as_str().unwrap().to_owned(), body)
    };
    let (code, kind, list) = get(PATH, "autoscaler").await;
    assert_eq!((code, kind.as_str()), (200, "MetricValueList"));
    assert_eq!(list["items"][0]["value"], "1500m");
    for (path, expected) in [
        ("/apis", "APIGroupList"),
        ("/apis/custom.metrics.k8s.io", "APIGroup"),
        ("/apis/custom.metrics.k8s.io/v1beta2", "APIResourceList"),
    ] {
        let (code, kind, _) = get(path, "system:kube-aggregator").await;
        assert_eq!((code, kind.as_str()), (200, expected));
        assert_eq!(get(path, "").await.0, 401, "on nobody's behalf");
    }
    let (code, kind, status) = get(PATH, "somebody").await;
    assert_eq!((code, kind.as_str()), (403, "Status"));
    assert!(
        status["message"].as_str().unwrap().contains("somebody"),
        "{status}"
    );
    assert_eq!(get("/metrics", "autoscaler").await.0, 404);
}

#[tokio::test]
async fn nobody_else_gets_in() {
    let world = World::new(false).await;
    let name = "front-proxy-client";
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    for (who, proof) in [
        ("nobody", None),
        (
            "of another authority",
            Some(proof(&issuer(), name, client.clone())),
        ),
        (
            "of another name",
            Some(proof(&world.issuer, "admin", client)),
        ),
        (
            "no client",
            Some(proof(
                &world.issuer,
                name,
                ExtendedKeyUsagePurpose::ServerAuth,
            )),
        ),
    ] {
        assert_eq!(world.get(proof, PATH, "autoscaler").await, None, "{who}");
    }
    assert_eq!(
        world.turned_away(),
        "ringfence_operator_custom_metrics_turned_away_total 4"
    );
}

#[tokio::test]
async fn who_is_inside_has_to_come_again_when_other_certificates_count() {
    let world = World::new(false).await;
    let stream = world
        .connect(Some(world.aggregator()), b"http/1.1")
        .await
        .unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = sender
        .send_request(request(PATH, "autoscaler"))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    drop(answer);
    world.open();
    // It ends, since the server ends it.
    let _ = connection.await.unwrap();
    let again = world
        .get(Some(world.aggregator()), PATH, "autoscaler")
        .await;
    assert_eq!(again.unwrap().0, 200);
}

#[tokio::test]
async fn too_many_requests_at_once_are_told_to_come_later() {
    let world = World::new(true).await;
    let stream = world
        .connect(Some(world.aggregator()), b"h2")
        .await
        .unwrap();
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut answers = JoinSet::new();
    for _ in 0..REQUESTS {
        let mut sender = sender.clone();
        answers.spawn(async move {
            let answer = sender.send_request(request(PATH, "autoscaler")).await;
            answer.unwrap().status()
        });
    }
    let all = u32::try_from(REQUESTS).unwrap();
    world.waiting.acquire_many(all).await.unwrap().forget();
    let (code, status) = world
        .get(Some(world.aggregator()), PATH, "autoscaler")
        .await
        .unwrap();
    assert_eq!((code, &status["reason"]), (429, &json!("TooManyRequests")));
    world.go_on.notify_waiters();
    for status in answers.join_all().await {
        assert_eq!(status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let world = World::new(false).await;
    let stream = world
        .connect(Some(world.aggregator()), b"http/1.1")
        .await
        .unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut long = request(PATH, "autoscaler");
    let value = "a".repeat(HEAD_BYTES + 1).parse().unwrap();
    long.headers_mut().insert("x-remote-group", value);
    let answer = sender.send_request(long).await;
    let refused = answer.map(|answer| answer.status());
    assert!(
        matches!(
            refused,
            Err(_) | Ok(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
        ),
        "{refused:?}"
    );
    let again = world
        .get(Some(world.aggregator()), PATH, "autoscaler")
        .await;
    assert_eq!(again.unwrap().0, 200);
}

#[tokio::test]
async fn one_connection_too_many_is_closed() {
    let world = World::new(false).await;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        open.push(
            world
                .connect(Some(world.aggregator()), b"h2")
                .await
                .unwrap(),
        );
    }
    assert!(
        world
            .connect(Some(world.aggregator()), b"h2")
            .await
            .is_err()
    );
    open.pop();
    // The server sees that it is gone after a moment.
    while world
        .connect(Some(world.aggregator()), b"h2")
        .await
        .is_err()
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_does_not_stay() {
    let world = World::new(false).await;
    let start = Instant::now();
    for protocol in [&b"http/1.1"[..], b"h2"] {
        let mut silent = world
            .connect(Some(world.aggregator()), protocol)
            .await
            .unwrap();
        let mut said = Vec::new();
        // What it is sent before the end is of no interest.
        let _ = silent.read_to_end(&mut said).await;
    }
    assert!(start.elapsed() >= IDLE * 2 && start.elapsed() < IDLE * 3);

    // And who does not even begin is turned away sooner.
    let start = Instant::now();
    let door = world.doors.borrow().clone().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let accepted = listener.accept().await.unwrap().0;
    assert!(matches!(door.accept(accepted).await, Err(DoorError::Slow)));
    assert_eq!(start.elapsed(), super::super::HANDSHAKE);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_for_the_api_server() {
    let client = api_server(true, Arc::new(Semaphore::new(0)), Arc::default());
    let (server, proxy) = (server(client), front_proxy(&issuer()));
    let start = Instant::now();
    let answer = server.answer(&request(PATH, "autoscaler"), &proxy).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()[RETRY_AFTER], "1");
    assert_eq!(start.elapsed(), REVIEW);
}
