//! TLS end to end: a host that connects to models, MCP servers, web servers and a collector whose
//! certificates come from an authority of this test. What is behind them is another host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use ringfence_test_guests as guests;
use rustls::pki_types::PrivateKeyDer;
use time::{Duration, OffsetDateTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::outside::{http, status};
use super::{DESK, Host, client, serve, text, tool, until};

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// What a server under this name shows, valid for so long from an hour ago.
    fn server(&self, name: &str, valid: Duration) -> rustls::ServerConfig {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
        params.not_after = params.not_before + valid;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap()
    }
}

/// A server that ends TLS and hands on what is inside.
struct Front {
    port: u16,
    /// Handshakes that succeeded.
    entered: Arc<AtomicUsize>,
}

impl Front {
    fn start(runtime: &Runtime, config: rustls::ServerConfig, behind: SocketAddr) -> Self {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let entered = Arc::new(AtomicUsize::new(0));
        let (acceptor, counter) = (TlsAcceptor::from(Arc::new(config)), entered.clone());
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, counter) = (acceptor.clone(), counter.clone());
                tokio::spawn(async move {
                    // Clients that refuse the certificate are what half of this is about.
                    if let Ok(mut inside) = acceptor.accept(stream).await {
                        counter.fetch_add(1, Ordering::SeqCst);
                        let mut behind = TcpStream::connect(behind).await.unwrap();
                        drop(tokio::io::copy_bidirectional(&mut inside, &mut behind).await);
                    }
                });
            }
        });
        Self { port, entered }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }
}

/// A model, an MCP server and a web server behind this front, and a guest that may ask the last.
fn manifests(name: &str, front: &Front, guest: &str) -> String {
    let (url, port) = (front.url(), front.port);
    format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: Model\nmetadata: {{name: {name}}}\nspec:\n  \
         retry: {{attempts: 1, initialMs: 1}}\n  \
         provider: {{openAi: {{model: model/script, baseUrl: '{url}/default/v1', addresses: private}}}}\n\
         ---\napiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: mcp-{name}}}\n\
         spec: {{mcp: {{url: '{url}/default/mcp', addresses: private}}}}\n\
         ---\napiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: web-{name}}}\nspec:\n  \
         component: {{digest: '{guest}'}}\n  grants:\n    \
         http: [{{scheme: https, host: localhost, port: {port}, addresses: private}}]\n"
    )
}

/// What the records of the newest run say of how its calls ended.
fn said_of_the_last_run(host: &Host) -> String {
    let runs: serde_json::Value =
        serde_json::from_str(&host.ok(&["get", "runs", "-o", "json"])).unwrap();
    let run = runs["items"][0]["run"].as_str().unwrap();
    host.ok(&["get", "run", run, "-o", "json"])
}

#[test]
fn only_servers_with_a_good_certificate_are_talked_to() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let authorities = folders[0].path().join("ca.pem");
    std::fs::write(&authorities, own.0.pem()).unwrap();
    let authorities = authorities.to_str().unwrap();

    let behind = Host::start(folders[1].path(), &[]);
    let manifest = DESK.to_owned() + &tool("ask-desk");
    behind.ok(&["apply", "-f", &behind.file("desk.yaml", &manifest)]);
    let address = behind.url.strip_prefix("http://").unwrap().parse().unwrap();
    let runtime = Runtime::new().unwrap();
    let (day, minute) = (Duration::days(1), Duration::minutes(1));
    let fronts = [
        ("good", own.server("localhost", day), ""),
        ("stranger", other.server("localhost", day), "not trusted"),
        (
            "misnamed",
            own.server("elsewhere.test", day),
            "for another name",
        ),
        ("expired", own.server("localhost", minute), "has expired"),
    ]
    .map(|(name, config, problem)| (name, Front::start(&runtime, config, address), problem));

    let host = Host::start(folders[0].path(), &["--ca-file", authorities]);
    let guest = host.folder.join("guest.wasm");
    std::fs::write(&guest, guests::AMBIENT).unwrap();
    let pushed = host.ok(&["push", "-o", "json", guest.to_str().unwrap()]);
    let pushed: serde_json::Value = serde_json::from_str(&pushed).unwrap();
    let digest = pushed["digest"].as_str().unwrap();
    for (name, front, problem) in &fronts {
        let manifest = host.file("front.yaml", &manifests(name, front, digest));
        host.ok(&["apply", "-f", &manifest]);
        let question = format!(
            r#"{{"model": "model/{name}", "messages": [{{"role": "user", "content": "hi"}}]}}"#
        );
        let model = http(&host.url, "POST", "/default/v1/chat/completions", &question);
        let mcp = host.run(&[
            "call",
            &format!("mcp-{name}"),
            "ask-desk_ask",
            "--arg",
            "message=hi",
        ]);
        let authority = format!("authority={}", front.url());
        let web = host.run(&[
            "call",
            &format!("web-{name}"),
            "fetch",
            "--arg",
            &authority,
            "--arg",
            "path=/healthz",
            "--arg",
            "headers=[]",
        ]);
        let record = said_of_the_last_run(&host);
        if problem.is_empty() {
            assert!(model.contains("You said: hi"), "{model}");
            assert!(text(&mcp.stdout).contains("You said: hi"), "{mcp:?}");
            assert!(text(&web.stdout).contains("200"), "{web:?}");
            assert!(front.entered() >= 2, "{}", front.entered());
        } else {
            assert_eq!(status(&model), "503", "{name}: {model}");
            assert!(model.contains(problem), "{name}: {model}");
            assert_eq!(mcp.status.code(), Some(5), "{name}: {mcp:?}");
            assert!(text(&mcp.stderr).contains(problem), "{name}: {mcp:?}");
            assert!(!web.status.success(), "{name}: {web:?}");
            assert!(record.contains(problem), "{name}: {record}");
        }
    }
    // The command itself, when TLS is in front of a host.
    let url = fronts[0].1.url();
    let refused = client(&url, &["get", "agents"]);
    assert_eq!(refused.status.code(), Some(5));
    let why = text(&refused.stderr);
    assert!(why.contains("not trusted"), "{why}");
    let mut trusting = std::process::Command::new(super::BINARY);
    trusting.env("SSL_CERT_FILE", authorities);
    let trusting = trusting.args(["--host", &url, "get", "agents"]);
    let listed = trusting.output().unwrap();
    assert!(text(&listed.stdout).contains("desk"), "{listed:?}");
}

#[test]
fn spans_reach_a_collector_over_tls_or_the_log_says_why_not() {
    let (own, other) = (Authority::new("own"), Authority::new("other"));
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("ca.pem");
    std::fs::write(&authorities, own.0.pem()).unwrap();
    let runtime = Runtime::new().unwrap();
    let collected = Arc::new(AtomicUsize::new(0));
    let collector = {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(collect(listener, collected.clone()));
        address
    };
    let day = Duration::days(1);
    for (authority, variable, reaches) in [
        (&own, "OTEL_EXPORTER_OTLP_CERTIFICATE", true),
        (&other, "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", false),
    ] {
        let front = Front::start(&runtime, authority.server("localhost", day), collector);
        let log = folder.path().join("log");
        let mut command = serve(folder.path(), &[]);
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", front.url())
            .env(variable, &authorities)
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .env_remove("RINGFENCE_LOG")
            .stderr(std::fs::File::create(&log).unwrap());
        let before = collected.load(Ordering::SeqCst);
        let host = Host::started(folder.path(), command);
        host.ok(&["apply", "-f", &host.file("desk.yaml", DESK)]);
        host.ok(&["run", "desk", "hi"]);
        if reaches {
            until(|| collected.load(Ordering::SeqCst) > before);
        } else {
            let logged = || std::fs::read_to_string(&log).unwrap();
            until(|| logged().contains("spans are not exported"));
            assert!(logged().contains("not trusted"), "{}", logged());
            assert_eq!(front.entered(), 0);
        }
        assert_eq!(host.terminate(), 0);
    }
}

/// A collector that counts what it is sent; what is in there, `tests/clients` looks at.
async fn collect(listener: TcpListener, collected: Arc<AtomicUsize>) {
    let answer = axum::routing::post(move |body: bytes::Bytes| {
        assert!(!body.is_empty());
        collected.fetch_add(1, Ordering::SeqCst);
        std::future::ready(())
    });
    let router = axum::Router::new().route("/v1/traces", answer);
    axum::serve(listener, router).await.unwrap();
}
