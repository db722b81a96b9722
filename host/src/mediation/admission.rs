//! Concurrency: what runs at the same time is bounded per tenant and per instance. What does not fit
//! is refused at once, never queued; but for a call that says that it waits, of which its caller keeps a
//! bounded number.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use super::call::{Call, Reply};
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

/// What a call has to pass: the tenant's gate, and that of what is called.
struct Gates {
    tenant: Arc<Semaphore>,
    callee: Option<Arc<Instance>>,
}

impl Gates {
    fn of(directory: &Directory, call: &Call) -> Self {
        Self {
            tenant: directory.gate(&call.context.tenant),
            callee: call.callee.clone(),
        }
    }

    fn take(&self) -> Result<Permits, CallError> {
        let most = TENANT_CONCURRENCY as u64;
        let tenant = take(&self.tenant, name::TENANT_CONCURRENCY, most)?;
        let callee = self.callee.as_ref().map(|callee| {
            let most = callee.limits.concurrency.into();
            take(&callee.gate, name::CONCURRENCY, most)
        });
        Ok((tenant, callee.transpose()?))
    }

    /// Waits for its turn. What is called comes first: a call that waits for it takes nothing of its
    /// tenant meanwhile.
    async fn wait(&self) -> Result<Permits, CallError> {
        // Gates are never closed.
        let closed = |_| CallError::Canceled;
        let callee = match &self.callee {
            Some(callee) => Some(callee.gate.clone().acquire_owned().await.map_err(closed)?),
            None => None,
        };
        let tenant = self.tenant.clone().acquire_owned().await.map_err(closed)?;
        Ok((tenant, callee))
    }
}

impl<S> Service<Call> for Admission<S>
where
    S: Service<Call, Response = Reply, Error = CallError, Future: Send + 'static>
        + Clone
        + Send
        + 'static,
{
    type Response = Reply;
    type Error = CallError;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Answer {
        let gates = Gates::of(&self.directory, &call);
        if call.context.waits {
            let mut inner = self.inner.clone();
            return async move {
                // Its permits are held until it is over: what waits is no stream and no HTTP request.
                let _permits = call.context.bound(gates.wait()).await?;
                inner.call(call).await
            }
            .boxed();
        }
        let permits = match gates.take() {
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
