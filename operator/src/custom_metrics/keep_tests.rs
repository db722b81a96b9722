//! When the door is another one, and when it stays.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use k8s_openapi::ByteString;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::certificates::{SUCCESSION, VALID};

const SYSTEM: &str = "system";

/// What an API server has: the Secret with the authorities, and the ConfigMap about the aggregator.
#[derive(Default)]
struct There {
    secret: Option<Value>,
    map: Option<Value>,
}

struct World {
    there: Arc<Mutex<There>>,
    authorities: Authorities,
    now: Arc<Mutex<OffsetDateTime>>,
    keeper: Keeper,
    identity: Option<Identity>,
    doors: watch::Sender<Option<Arc<Door>>>,
}

impl World {
    fn new() -> Self {
        let there: Arc<Mutex<There>> = Arc::default();
        let now = Arc::new(Mutex::new(OffsetDateTime::now_utc()));
        let (served, told) = (there.clone(), now.clone());
        let service = service_fn(move |request: Request<Body>| {
            let there = served.clone();
            async move {
                let path = request.uri().path().to_owned();
                drop(request.into_body().collect().await);
                let object = match path.as_str() {
                    "/api/v1/namespaces/system/secrets/ringfence-ca" => there.lock().secret.clone(),
                    "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication" => {
                        there.lock().map.clone()
                    }
                    path => panic!("it asks for {path}"),
                };
                let none = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404});
                let code = if object.is_some() { 200 } else { 404 };
                let body = object.unwrap_or(none).to_string().into_bytes();
                let answer = Response::builder().status(code).body(Body::from(body));
                Ok::<_, Infallible>(answer.unwrap())
            }
        });
        Self {
            there,
            authorities: Authorities::default(),
            now,
            keeper: Keeper {
                client: Client::new(service, "default"),
                namespace: SYSTEM.to_owned(),
                valid: VALID,
                look: Duration::from_secs(10),
                clock: Clock::new(move || *told.lock()),
            },
            identity: None,
            doors: watch::channel(None).0,
        }
    }

    /// The leader looks after the authorities.
    fn tend(&mut self) {
        self.authorities.tend(*self.now.lock()).unwrap();
        let data = self.authorities.data().into_iter();
        let data = data.map(|(name, text)| (name, json!(ByteString(text.into_bytes()))));
        let data: serde_json::Map<_, _> = data.collect();
        self.there.lock().secret =
            Some(json!({"metadata": {"name": "ringfence-ca"}, "data": data}));
    }

    /// The cluster says by what the aggregator is known.
    fn aggregator(&self, certificate: &str) {
        let data = json!({
            "requestheader-client-ca-file": certificate,
            "requestheader-username-headers": "[\"X-Remote-User\"]",
        });
        self.there.lock().map = Some(json!({"metadata": {"name": "a"}, "data": data}));
    }

    /// The door after a look, and whether it is another than before.
    async fn look(&mut self) -> Result<bool, String> {
        let mut seen = self.doors.subscribe();
        let looked = self.keeper.look(&mut self.identity, &self.doors).await;
        looked.map_err(|error| error.to_string())?;
        Ok(seen.has_changed().unwrap() && seen.borrow_and_update().is_some())
    }

    fn later(&self, by: Duration) {
        *self.now.lock() += by;
    }
}

/// The certificate of an authority.
fn authority() -> String {
    let key = KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::default();
    params.self_signed(&key).unwrap().pem()
}

#[tokio::test]
async fn there_is_a_door_once_everything_is_known() {
    let mut world = World::new();
    world.aggregator(&authority());
    assert!(world.look().await.unwrap_err().contains("no authority"));
    world.tend();
    world.there.lock().map = None;
    assert!(
        world
            .look()
            .await
            .unwrap_err()
            .contains("--requestheader-client-ca-file")
    );
    world.aggregator(&authority());
    assert_eq!(world.look().await, Ok(true));
    assert_eq!(world.look().await, Ok(false), "as it is, it is good");
}

#[tokio::test]
async fn another_is_made_in_time_and_for_another_aggregator_or_authority() {
    let mut world = World::new();
    world.tend();
    world.aggregator(&authority());
    assert_eq!(world.look().await, Ok(true));
    world.later(VALID / 2);
    assert_eq!(world.look().await, Ok(false));
    world.later(VALID / 6 + Duration::from_secs(1));
    assert_eq!(world.look().await, Ok(true), "it would run out");

    world.aggregator(&authority());
    assert_eq!(world.look().await, Ok(true), "others are to be let in");
    world.there.lock().map = None;
    assert!(world.look().await.is_err());
    assert!(world.doors.borrow().is_some(), "what was in force stays so");
    world.aggregator("no certificate");
    assert!(world.look().await.is_err());
    let known = authority();
    world.aggregator(&known);
    assert_eq!(world.look().await, Ok(true));

    // A successor that nobody knows yet changes nothing.
    world.later(crate::certificates::AUTHORITY_VALID - SUCCESSION);
    assert_eq!(world.look().await, Ok(true), "days have passed");
    let before = world.authorities.bundle();
    world.tend();
    assert_ne!(world.authorities.bundle(), before);
    assert_eq!(world.look().await, Ok(false));

    // Somebody has thrown all authorities away.
    world.authorities = Authorities::default();
    world.tend();
    assert_eq!(world.look().await, Ok(true));
    let shown = &world.identity.as_ref().unwrap().authority;
    assert_eq!(*shown, world.authorities.bundle());
}
