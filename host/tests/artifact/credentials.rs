//! Where a login goes: a real registry behind servers that note what they are told.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, StatusCode};
use libtest_mimic::Trial;
use parking_lot::Mutex;
use ringfence_host::artifact::oci::{Login, OciError, PullLogin};
use ringfence_host::artifact::{ArtifactError, Upload};
use ringfence_test_cluster::{Access, Registry};

use crate::fixture::{Fixture, component, tenant};
use crate::test;

pub(crate) fn add(tests: &mut Vec<Trial>) {
    tests.extend([
        test("a_login_goes_to_the_realm_of_its_registry_only", realm),
        test("a_login_is_not_sent_after_a_redirect", redirected),
    ]);
}

/// What `Authorization` a server got, request by request.
type Seen = Arc<Mutex<Vec<Option<String>>>>;

/// A server on the loopback that answers as it is told.
struct Server {
    address: SocketAddr,
    seen: Seen,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    async fn start<F>(answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let noted = seen.clone();
        let router = Router::new().fallback(move |request: Request| {
            noted.lock().push(authorization(request.headers()));
            answer(request)
        });
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            address,
            seen,
            serving,
        }
    }

    fn seen(&self) -> Vec<Option<String>> {
        std::mem::take(&mut self.seen.lock())
    }
}

fn authorization(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?;
    Some(value.to_str().unwrap().to_owned())
}

/// What the real registry answers.
async fn forward(registry: String, request: Request) -> Response {
    let url = format!("http://{registry}{}", request.uri());
    let accept = request.headers().get(ACCEPT).cloned();
    let mut asked = reqwest::Client::new().request(request.method().clone(), url);
    if let Some(accept) = accept {
        asked = asked.header(ACCEPT, accept);
    }
    let answer = asked.send().await.unwrap();
    let (status, bytes) = (answer.status(), answer.bytes().await.unwrap());
    (status, Body::from(bytes)).into_response()
}

fn with(status: StatusCode, name: HeaderName, value: &str) -> Response {
    (status, [(name, value.to_owned())]).into_response()
}

fn login() -> Vec<PullLogin> {
    let login = Login::new(Registry::USER.into(), Registry::PASSWORD.into());
    let secret = "pull".to_owned();
    vec![PullLogin { secret, login }]
}

/// A registry that everybody may read, with a component.
async fn registry() -> Registry {
    let registry = Registry::start(Access::default()).await.unwrap();
    let author = Fixture::new();
    let upload = Upload::bytes(component(1));
    let stored = author.artifacts.put(&tenant(), upload).await.unwrap();
    let (digest, image) = (stored.meta.digest, registry.image("team/tool:1"));
    let mine = tenant();
    let pushed = author.artifacts.push(&mine, &digest, &image, None);
    pushed.await.unwrap();
    registry
}

fn basic() -> Option<String> {
    Some(format!("Basic {}", Registry::AUTH))
}

async fn realm() {
    let registry = registry().await;
    // Whoever knows the password gets a token; everybody else gets one that is good for nothing.
    let tokens = Server::start(async |request: Request| {
        let query = request.uri().query().unwrap_or_default();
        assert!(
            query.contains("scope=repository%3Ateam%2Ftool%3Apull"),
            "{query}"
        );
        match authorization(request.headers()) {
            known if known == basic() => r#"{"token": "good"}"#.into_response(),
            Some(_) => StatusCode::UNAUTHORIZED.into_response(),
            None => r#"{"token": "anonymous"}"#.into_response(),
        }
    })
    .await;
    let (realm, name) = (tokens.address, registry.name().to_owned());
    let front = Server::start(move |request: Request| {
        let name = name.clone();
        async move {
            if authorization(request.headers()).as_deref() == Some("Bearer good") {
                return forward(name, request).await;
            }
            let challenge = format!(
                "Bearer realm=\"http://{realm}/token\",service=\"r\",scope=\"repository:team/tool:pull\""
            );
            with(StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE, &challenge)
        }
    })
    .await;
    let image = format!("{}/team/tool:1", front.address);
    let host = Fixture::new();
    let found = host.artifacts.current(&tenant(), &image, &login()).await;
    found.unwrap();
    assert_eq!(
        tokens.seen(),
        [basic()],
        "once, since the token serves for all"
    );
    let at_front = front.seen();
    assert_eq!(at_front[0], None, "nothing before it asks");
    let token = Some("Bearer good".to_owned());
    assert!(at_front.len() > 2, "{at_front:?}");
    assert!(
        at_front[1..].iter().all(|seen| *seen == token),
        "{at_front:?}"
    );

    let wrong = PullLogin {
        secret: "wrong".into(),
        login: Login::new(Registry::USER.into(), "guessed".into()),
    };
    for logins in [&[][..], &[wrong]] {
        let refused = host.artifacts.current(&tenant(), &image, logins).await;
        assert!(
            matches!(
                &refused,
                Err(ArtifactError::Oci(OciError::Unauthorized { .. }))
            ),
            "{refused:?}"
        );
    }
}

async fn redirected() {
    let registry = registry().await;
    // Where blobs are: it would like the password, too.
    let name = registry.name().to_owned();
    let asks = Arc::new(Mutex::new(true));
    let greedy = asks.clone();
    let store = Server::start(move |request: Request| {
        let (name, asks) = (name.clone(), *greedy.lock());
        async move {
            match asks {
                true => with(
                    StatusCode::UNAUTHORIZED,
                    WWW_AUTHENTICATE,
                    "Basic realm=\"r\"",
                ),
                false => forward(name, request).await,
            }
        }
    })
    .await;
    let (blobs, name) = (store.address, registry.name().to_owned());
    let front = Server::start(move |request: Request| {
        let name = name.clone();
        async move {
            if authorization(request.headers()) != basic() {
                let challenge = "Basic realm=\"r\"";
                return with(StatusCode::UNAUTHORIZED, WWW_AUTHENTICATE, challenge);
            }
            if !request.uri().path().contains("/blobs/") {
                return forward(name, request).await;
            }
            let place = format!("http://{blobs}{}", request.uri());
            with(StatusCode::TEMPORARY_REDIRECT, LOCATION, &place)
        }
    })
    .await;
    let image = format!("{}/team/tool:1", front.address);
    let host = Fixture::new();
    let refused = host.artifacts.current(&tenant(), &image, &login()).await;
    assert!(
        matches!(
            &refused,
            Err(ArtifactError::Oci(OciError::Unauthorized { .. }))
        ),
        "{refused:?}"
    );
    assert_eq!(store.seen(), [None], "it is not even asked again");
    *asks.lock() = false;
    let digest = host.artifacts.current(&tenant(), &image, &login()).await;
    let digest = digest.unwrap();
    assert_eq!(store.seen(), [None, None], "the config and the component");
    assert!(front.seen().contains(&basic()));
    // Another Secret shows that it may read it by being sent there, if that gives it something.
    let another = async |secret: &str| {
        let mut logins = login();
        logins[0].secret = secret.to_owned();
        let tenant = tenant();
        let fetched = host.artifacts.fetch(&tenant, &image, &digest, &logins);
        fetched.await
    };
    another("another").await.unwrap();
    *asks.lock() = true;
    another("another").await.unwrap();
    another("further").await.unwrap_err();
    assert_eq!(store.seen(), [None, None], "once for each that is new");
}
