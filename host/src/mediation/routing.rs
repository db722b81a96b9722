//! Where a call is done: on this host, or on another one of the cluster that runs its target.

use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::FutureExt as _;
use ringfence_api::{Kind, Name, TenantName};
use tower::{Layer, Service};

use super::call::{Call, Reply};
use super::stack::Answer;
use crate::directory::Directory;
use crate::error::CallError;
use crate::peer::Router;

/// The layers behind routing.
pub(crate) trait Inner:
    Service<Call, Response = Reply, Error = CallError, Future = Answer> + Clone + Send + 'static
{
}

impl<S> Inner for S where
    S: Service<Call, Response = Reply, Error = CallError, Future = Answer> + Clone + Send + 'static
{
}

/// Finds the instance that a call is for, or sends the call where there is one. Without a router, as for
/// `ringfence serve`, what is not here is nowhere.
#[derive(Clone)]
pub(super) struct RoutingLayer {
    directory: Arc<Directory>,
    router: Arc<OnceLock<Arc<Router>>>,
}

impl RoutingLayer {
    pub(super) fn new(directory: Arc<Directory>, router: Arc<OnceLock<Arc<Router>>>) -> Self {
        Self { directory, router }
    }
}

#[derive(Clone)]
pub(super) struct Routing<S> {
    layer: RoutingLayer,
    inner: S,
}

impl<S> Layer<S> for RoutingLayer {
    type Service = Routing<S>;

    fn layer(&self, inner: S) -> Routing<S> {
        Routing {
            layer: self.clone(),
            inner,
        }
    }
}

impl<S: Inner> Service<Call> for Routing<S> {
    type Response = Reply;
    type Error = CallError;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Answer {
        let Some((kind, name)) = call.request.workload() else {
            return self.inner.call(call);
        };
        let tenant = &call.context.tenant;
        let run = call.context.run;
        let here = self.layer.directory.instance_for(tenant, kind, name, run);
        let keeps = match (&here, &call.context.routed, self.layer.router.get()) {
            // A call that another host sent goes no further: two tables that disagree would send it round.
            (None, Some(routed), _) => {
                routed.miss();
                return std::future::ready(Err(missing(tenant, kind, name))).boxed();
            }
            (None, None, None) => {
                return std::future::ready(Err(missing(tenant, kind, name))).boxed();
            }
            (Some(instance), None, Some(router)) => router.keeps(instance, run),
            (here, _, _) => here.is_some(),
        };
        if !keeps && let Some(router) = self.layer.router.get() {
            return router.clone().route(call, self.inner.clone()).boxed();
        }
        call.callee = here;
        self.inner.call(call)
    }
}

/// What there is not.
pub(crate) fn missing(tenant: &TenantName, kind: Kind, name: &Name) -> CallError {
    let what = kind.as_str().to_lowercase();
    CallError::NotFound(format!("no {what} {name} in tenant {tenant}"))
}
