//! What all requests to a gateway share, and what the calls that they start have in common.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use ringfence_api::{Name, TenantName};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::auth::{
    Authenticator, Credential, Identity, Permission, Permit, Unauthenticated, Visible,
};
use super::guard::Guard;
use super::mcp::Mcp;
use super::respond::Problem;
use super::settings::Settings;
use crate::Host;
use crate::mediation::CallContext;
use crate::telemetry::RemoteTrace;

/// The inside of a gateway.
pub(super) struct Shared {
    pub(super) host: Host,
    pub(super) settings: Settings,
    pub(super) guard: Guard,
    pub(super) auth: Authenticator,
    pub(super) mcp: Mcp,
    pub(super) rest: axum::Router,
    pub(super) ready: Arc<AtomicBool>,
    /// Cancelled when calls in flight have had their time.
    pub(super) stop: CancellationToken,
    /// Calls in flight.
    pub(super) calls: TaskTracker,
    /// Requests that have no answer yet.
    pub(super) requests: TaskTracker,
}

/// Somebody who is known, at the door of a tenant. What they may do in it is asked for each thing that they
/// do, before anything is looked up in the tenant: so whoever may do nothing there learns nothing that they
/// would not learn of a tenant that does not exist.
pub(super) struct Visitor {
    pub(super) tenant: TenantName,
    pub(super) identity: Arc<Identity>,
    pub(super) credential: Credential,
}

impl Visitor {
    /// Asks for a permission.
    pub(super) async fn permit(&self, permission: Permission) -> Result<Permit, Problem> {
        self.identity
            .permit(&self.tenant, permission)
            .await
            .map_err(|why| Problem::refused(&self.tenant, why))
    }

    /// Which resources of a kind they may use with a verb; `names` are those that there are.
    pub(super) async fn sees(
        &self,
        verb: &'static str,
        resource: &'static str,
        names: impl FnOnce() -> Vec<Name>,
    ) -> Result<Visible, Problem> {
        self.identity
            .sees(&self.tenant, verb, resource, names)
            .await
            .map_err(|why| Problem::refused(&self.tenant, why.into()))
    }
}

/// Held while a call is in flight. Dropping it cancels what the call still does: nobody waits for it
/// any more.
pub(super) struct InFlight {
    _cancel: DropGuard,
    _counted: TaskTrackerToken,
}

impl Shared {
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.host.draining().is_cancelled()
    }

    /// Who sent a request.
    pub(super) async fn identify(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<(Arc<Identity>, Credential), Problem> {
        let found = self.auth.identify(headers, from).await;
        found.map_err(|why| {
            if !matches!(why, Unauthenticated::Unreviewed(_)) {
                self.host.metrics().authentication_failed();
            }
            why.into()
        })
    }

    /// Lets somebody come to the door of a tenant.
    pub(super) async fn visit(
        &self,
        tenant: &str,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<Visitor, Problem> {
        let (identity, credential) = self.identify(headers, from).await?;
        match tenant.parse::<TenantName>() {
            Ok(name) if identity.may_knock(&name) && !name.is_system() => Ok(Visitor {
                tenant: name,
                identity,
                credential,
            }),
            _ => Err(Problem::no_tenant(tenant)),
        }
    }

    /// The context of a call that somebody makes by a request over HTTP, in the trace that it names.
    pub(super) fn begin_traced(
        &self,
        permit: Permit,
        headers: &HeaderMap,
    ) -> (CallContext, InFlight) {
        let (mut context, in_flight) = self.begin(permit);
        context.trace = RemoteTrace::of_headers(headers).map(Arc::new);
        (context, in_flight)
    }

    /// The context of a call that somebody makes, and what has to be held while it runs.
    pub(super) fn begin(&self, permit: Permit) -> (CallContext, InFlight) {
        let principal = permit.identity.principal(&permit.tenant);
        let mut context = CallContext::start(permit.tenant, principal, self.settings.call_timeout);
        context.cancel = self.stop.child_token();
        let in_flight = InFlight {
            _cancel: context.cancel.clone().drop_guard(),
            _counted: self.calls.token(),
        };
        (context, in_flight)
    }

    /// Reads a whole body, within the gateway's bounds.
    pub(super) async fn read(&self, body: Body) -> Result<Bytes, Response> {
        let most = self.settings.body_bytes;
        match tokio::time::timeout(self.settings.body_timeout, read(body, most)).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(problem)) => Err(problem.into_response()),
            Err(_) => Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the request's body did not arrive in time",
            )
            .into_response()),
        }
    }
}

async fn read(mut body: Body, most: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let message = format!("the request's body is larger than {most} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
    };
    let declared = http_body::Body::size_hint(&body).lower();
    if declared > most as u64 {
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "bad-body",
                format!("the body broke off: {error}"),
            )
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let so_far = all.len() + first.as_ref().map_or(0, Bytes::len);
        if so_far + data.len() > most {
            return Err(too_large());
        }
        // Nearly every request is one frame, which needs no copy.
        match first.take() {
            None if all.is_empty() => first = Some(data),
            None => all.extend_from_slice(&data),
            Some(before) => {
                all.extend_from_slice(&before);
                all.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(chunks: &[&'static str]) -> Body {
        let chunks: Vec<_> = chunks
            .iter()
            .map(|c| Ok::<_, std::io::Error>(Bytes::from(*c)))
            .collect();
        Body::from_stream(futures::stream::iter(chunks))
    }

    #[tokio::test]
    async fn bodies_are_read_whole_up_to_the_bound() {
        assert_eq!(read(chunks(&["ab"]), 2).await.unwrap(), "ab");
        assert_eq!(
            read(chunks(&["ab", "c", "", "d"]), 4).await.unwrap(),
            "abcd"
        );
        assert_eq!(read(Body::empty(), 0).await.unwrap(), "");
        let error = read(chunks(&["ab", "c"]), 2).await.unwrap_err();
        assert_eq!(error.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(read(Body::from("abc"), 2).await.is_err());
    }
}
