//! A connection to the API server that breaks where a test wants it to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tokio::sync::watch;
use tower::Service;
use tower::layer::layer_fn;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Whether requests go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing goes through ever again.
    Dead,
}

/// What a connection can suffer.
pub(crate) struct Cut {
    state: watch::Sender<State>,
    /// Writes that are left.
    left: AtomicUsize,
}

impl Cut {
    /// A connection that dies when the `count`th write was done, before anybody is told. Renewals of Leases and
    /// events do not count: the former come by the clock, the latter are no state.
    pub(crate) fn after(count: usize) -> Arc<Self> {
        Arc::new(Self {
            state: watch::Sender::new(State::Open),
            left: AtomicUsize::new(count),
        })
    }

    /// One that does not die by itself.
    pub(crate) fn never() -> Arc<Self> {
        Self::after(usize::MAX)
    }

    /// Waits until it is dead.
    pub(crate) async fn dead(&self) {
        self.until(State::Dead).await;
    }

    async fn until(&self, wanted: State) {
        let mut state = self.state.subscribe();
        state.wait_for(|state| *state == wanted).await.unwrap();
    }

    fn wrote(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.state.send_replace(State::Dead);
        }
    }

    /// A client whose requests go through here.
    pub(crate) fn client(self: Arc<Self>, config: Config) -> Client {
        let layer = layer_fn(move |inner| Through {
            inner,
            cut: self.clone(),
        });
        let builder = ClientBuilder::try_from(config).unwrap();
        builder.with_layer(&layer).build()
    }
}

struct Through<S> {
    inner: S,
    cut: Arc<Cut>,
}

impl<S> Service<Request<Body>> for Through<S>
where
    S: Service<Request<Body>>,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let counts = request.method() != Method::GET
            && !path.contains("/leases")
            && !path.contains("/events");
        let cut = self.cut.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            // The request is sent when the answer is first asked for.
            cut.until(State::Open).await;
            let answer = answer.await.map_err(Into::into)?;
            if counts {
                cut.wrote();
            }
            cut.until(State::Open).await;
            Ok(answer)
        })
    }
}
