//! An admission webhook of somebody else, as policy engines bring them: it is asked about every write that its
//! configuration matches, and while it is away nothing of that is written.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::pki::{Authority, Credentials};
use crate::{ControlPlane, Error};

/// Requests for connections that wait until they are accepted.
const BACKLOG: u32 = 128;

/// What it thinks of a write.
#[derive(Debug, Clone)]
pub enum Opinion {
    /// Nothing against it.
    Allow,
    /// It must not be; and why.
    Deny(String),
    /// It may be, with these changes (JSON Patch).
    Change(Value),
}

type Judge = Arc<dyn Fn(&Value) -> Opinion + Send + Sync>;

/// The server of a webhook. It ends when this is dropped.
pub struct Webhook {
    authority: Authority,
    address: SocketAddr,
    /// Keeps the port, and refuses connections.
    away: Option<TcpSocket>,
    /// None while it does not answer.
    judge: watch::Sender<Option<Judge>>,
    serving: Option<JoinHandle<()>>,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

impl Webhook {
    /// One that is away: connections to it are refused.
    ///
    /// # Errors
    /// When there is no port for it.
    pub fn away() -> Result<Self, Error> {
        let socket = bound().map_err(|source| Error::Spawn {
            program: "the webhook",
            source,
        })?;
        Ok(Self {
            authority: Authority::new("webhook")?,
            address: socket.1,
            away: Some(socket.0),
            judge: watch::Sender::new(None),
            serving: None,
        })
    }

    /// From now on it takes connections and says nothing.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn hang(&mut self) -> Result<(), Error> {
        self.judge.send_replace(None);
        self.listen()
    }

    /// From now on it answers. `judge` gets the `request` of each AdmissionReview.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn answer(
        &mut self,
        judge: impl Fn(&Value) -> Opinion + Send + Sync + 'static,
    ) -> Result<(), Error> {
        self.judge.send_replace(Some(Arc::new(judge)));
        self.listen()
    }

    /// Has the API server of a cluster ask it. `kind` is `Validating` or `Mutating`; `rules` are named, and for each a
    /// webhook of the name `RULE.NAME.example.com` is made that fails closed. It is asked about requests for which
    /// `condition` (CEL) holds.
    ///
    /// # Errors
    /// When the API server does not take the configuration.
    pub async fn install(
        &self,
        cluster: &ControlPlane,
        kind: &str,
        name: &str,
        rules: &[(&str, Value)],
        condition: &str,
    ) -> Result<(), Error> {
        let authority = self.authority.credentials().certificate;
        let webhook = |(rule, matches): &(&str, Value)| {
            json!({
                "name": format!("{rule}.{name}.example.com"),
                "failurePolicy": "Fail", "timeoutSeconds": 1, "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {
                    "url": format!("https://{}/", self.address),
                    "caBundle": STANDARD.encode(&authority),
                },
                "rules": [matches],
                "matchConditions": [{"name": "asked", "expression": condition}],
            })
        };
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": format!("{kind}WebhookConfiguration"),
            "metadata": {"name": name},
            "webhooks": rules.iter().map(webhook).collect::<Vec<_>>(),
        });
        cluster.apply(&configuration.to_string()).await.map(drop)
    }

    fn listen(&mut self) -> Result<(), Error> {
        let Some(socket) = self.away.take() else {
            return Ok(());
        };
        let fails = |source| Error::Spawn {
            program: "the webhook",
            source,
        };
        let listener = socket.listen(BACKLOG).map_err(fails)?;
        let names = [Ipv4Addr::LOCALHOST.into()];
        let credentials = self.authority.server("webhook", &names, &[])?;
        let config = config(&credentials).map_err(|error| fails(io::Error::other(error)))?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let judge = self.judge.subscribe();
        self.serving = Some(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acceptor.clone(), judge.clone()));
            }
        }));
        Ok(())
    }
}

/// A socket with a port that nobody listens on.
fn bound() -> io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn config(credentials: &Credentials) -> Result<ServerConfig, rustls::Error> {
    let invalid = |error| rustls::Error::General(format!("{error:?}"));
    let certificate = CertificateDer::from_pem_slice(credentials.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(credentials.key.as_bytes());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.map_err(invalid)?], key.map_err(invalid)?)
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    mut judge: watch::Receiver<Option<Judge>>,
) {
    // What came while it did not answer was not heard, and the API server has given up on it.
    if judge.borrow().is_none() {
        let _ = judge.wait_for(Option::is_some).await;
        return;
    }
    let Ok(inside) = acceptor.accept(stream).await else {
        return;
    };
    let answer = service_fn(move |request| {
        let judge = judge.borrow().clone();
        async move {
            match judge {
                Some(judge) => review(request, &judge).await,
                None => std::future::pending().await,
            }
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(inside), answer);
    // The API server ends connections as it likes.
    let _ = connection.await;
}

async fn review(
    request: Request<Incoming>,
    judge: &Judge,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let asked = &review["request"];
    let mut answer = json!({"uid": asked["uid"], "allowed": true});
    match judge(asked) {
        Opinion::Allow => {}
        Opinion::Deny(message) => {
            answer["allowed"] = false.into();
            answer["status"] = json!({"message": message});
        }
        Opinion::Change(patch) => {
            answer["patchType"] = "JSONPatch".into();
            answer["patch"] = STANDARD.encode(patch.to_string()).into();
        }
    }
    let told = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer,
    });
    let response = Response::new(Full::new(Bytes::from(told.to_string())));
    Ok(response)
}
