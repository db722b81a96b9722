//! Concurrency: what runs at the same time is bounded per tenant and per instance. What does not fit
//! is refused at once, never queued.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use super::call::{Call, Reply, Request};
use super::stack::Answer;
use crate::body;
use crate::directory::{Directory, Instance, TENANT_CONCURRENCY};
use crate::error::CallError;
use crate::limits::name;

/// Takes a permit of the tenant and one of the instance for as long as a call runs.
#[derive(Clone)]
pub(super) struct AdmissionLayer {
    directory: Arc<Directory>,
}

impl AdmissionLayer {
    pub(super) fn new(directory: Arc<Directory>) -> Self {
        Self { directory }
    }
}

#[derive(Clone)]
pub(super) struct Admission<S> {
    directory: Arc<Directory>,
    inner: S,
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission {
            directory: self.directory.clone(),
            inner,
        }
    }
}

/// The permits of one call.
type Permits = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

fn take(gate: &Arc<Semaphore>, name: &str, most: u64) -> Result<OwnedSemaphorePermit, CallError> {
    gate.clone()
        .try_acquire_owned()
        .map_err(|_| CallError::limit(name, most))
}

impl<S> Admission<S> {
    fn admit(&self, call: &Call) -> Result<Permits, CallError> {
        let tenant = &call.context.tenant;
        let callee: Option<Arc<Instance>> = match &call.request {
            Request::Function { tool, .. } | Request::Incoming { tool, .. } => {
                Some(self.directory.tool(tenant, tool)?)
            }
            Request::Agent { agent, .. } => Some(self.directory.agent(tenant, agent)?),
            Request::Complete { .. } | Request::Stream { .. } | Request::Outgoing(_) => None,
        };
        let gate = self.directory.gate(tenant);
        let tenant = take(&gate, name::TENANT_CONCURRENCY, TENANT_CONCURRENCY as u64)?;
        let instance = match callee {
            Some(callee) => Some(take(
                &callee.gate,
                name::CONCURRENCY,
                callee.limits.concurrency.into(),
            )?),
            None => None,
        };
        Ok((tenant, instance))
    }
}

impl<S> Service<Call> for Admission<S>
where
    S: Service<Call, Response = Reply, Error = CallError, Future: Send + 'static>,
{
    type Response = Reply;
    type Error = CallError;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Answer {
        let permits = match self.admit(&call) {
            Ok(permits) => permits,
            Err(error) => return std::future::ready(Err(error)).boxed(),
        };
        let answer = self.inner.call(call);
        async move {
            Ok(match answer.await? {
                // What streams on after the answer goes on holding its permits.
                Reply::Http(response) => {
                    Reply::Http(response.map(|inner| body::bounded(inner, u64::MAX, Some(permits))))
                }
                Reply::Stream(stream) => Reply::Stream(stream.holding(permits)),
                reply => reply,
            })
        }
        .boxed()
    }
}
