use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use k8s_openapi::api::rbac::v1::Role;
use kube::client::Body;
use kube::core::ApiResource;
use parking_lot::Mutex;
use ringfence_api::Grants;
use serde_json::Value;
use tokio::time::Instant;
use tower::service_fn;

use super::*;

/// What was sent: method, path and body.
pub(crate) type Sent = Arc<Mutex<Vec<(Method, String, Value)>>>;

/// A server that has nothing of what it is asked about, and remembers what that was.
pub(crate) fn nothing_there() -> (Client, Sent) {
    let sent = Sent::default();
    let asked = sent.clone();
    let server = service_fn(move |request: Request<Body>| {
        let asked = asked.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let path = parts.uri.path().to_owned();
            asked.lock().push((parts.method, path, body));
            let gone = r#"{"kind":"Status","status":"Failure","reason":"NotFound","code":404}"#;
            let answer = Response::builder().status(404);
            let answer = answer.body(Body::from(gone.as_bytes().to_vec())).unwrap();
            Ok::<_, Infallible>(answer)
        }
    });
    (Client::new(server, "default"), sent)
}

/// A writer that leads, and what it sends.
pub(crate) fn leading() -> (Writer, Sent) {
    let (client, sent) = nothing_there();
    let term = Term::default();
    term.until(Instant::now() + Duration::from_secs(60));
    (Writer::new(client, Metrics::default(), term), sent)
}

fn seen() -> ObjectMeta {
    ObjectMeta {
        name: Some("a".to_owned()),
        namespace: Some("team".to_owned()),
        uid: Some("u-1".to_owned()),
        resource_version: Some("7".to_owned()),
        ..ObjectMeta::default()
    }
}

fn instance() -> Instance {
    let mut instance: Instance = serde_json::from_value(json!({
        "apiVersion": API_VERSION, "kind": "Instance", "metadata": {},
        "spec": {
            "generation": 1, "maxLimits": {},
            "workload": {"tool": {"agent": "scribe"}},
            "placement": {"pool": "default", "trustClass": "standard", "priority": 0},
            "requests": {"memoryBytes": 1, "cpuMillis": 1},
        },
    }))
    .unwrap();
    instance.metadata = seen();
    instance
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_by_who_does_not_lead() {
    let (client, sent) = nothing_there();
    let term = Term::default();
    let writer = Writer::new(client, Metrics::default(), term.clone());
    let refused = writer.forget("default", "a-1").await;
    assert!(
        matches!(refused, Err(Error::NotLeading { .. })),
        "{refused:?}"
    );
    assert_eq!(sent.lock().len(), 0);

    term.until(Instant::now() + Duration::from_secs(4));
    writer.forget("default", "a-1").await.unwrap();
    assert_eq!(sent.lock().len(), 1);
    tokio::time::advance(Duration::from_secs(4)).await;
    assert!(writer.forget("default", "a-1").await.is_err());
    assert_eq!(sent.lock().len(), 1);
}

/// What arrives late is refused by the API server, because it names what it is about.
#[tokio::test]
async fn what_changes_something_names_the_version_that_was_seen() {
    let (writer, sent) = leading();
    let (instance, host) = (instance(), Name::well_known("h"));
    let roles = writer.namespaced::<Role>("team");
    let object = json!({"apiVersion": "v1", "kind": "Role", "metadata": {"name": "a"}});
    drop(writer.bind(&instance, &host).await);
    drop(writer.weigh(&instance, Some(10)).await);
    drop(writer.renumber("team", "a", 3, Some("7")).await);
    let api = writer.namespaced::<Instance>("team");
    let status = json!({"conditions": []});
    drop(writer.status(&api, "Instance", &seen(), &status).await);
    drop(writer.apply(&roles, "Role", object, Some(&seen())).await);
    let pinned = Pinned {
        digest: None,
        grants: Grants::default(),
    };
    drop(writer.pin(&instance, &pinned).await);
    let sent = std::mem::take(&mut *sent.lock());
    assert_eq!(sent.len(), 6);
    for (method, path, body) in &sent {
        assert_eq!(method, Method::PATCH, "{path}");
        assert_eq!(body["metadata"]["resourceVersion"], "7", "{path} {body}");
    }
    // What is applied where nothing is any more would be made anew; a version alone does not keep it from that.
    assert_eq!(sent[4].2["metadata"]["uid"], "u-1");
}

#[tokio::test]
async fn what_is_deleted_is_what_was_seen() {
    let (writer, sent) = leading();
    writer.delete(&instance()).await.unwrap();
    let roles = writer.dynamic("team", &ApiResource::erase::<Role>(&()));
    let uid = Some("u-1".to_owned());
    writer.remove(&roles, "Role", "a", uid).await.unwrap();
    let sent = std::mem::take(&mut *sent.lock());
    for (method, path, body) in &sent {
        assert_eq!(method, Method::DELETE, "{path}");
        assert_eq!(body["preconditions"]["uid"], "u-1", "{path} {body}");
    }
    // An instance that was bound, pinned or became ready meanwhile is not what was to be deleted.
    assert_eq!(sent[0].2["preconditions"]["resourceVersion"], "7");
}
