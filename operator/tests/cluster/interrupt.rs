//! A connection to the API server that breaks where a test wants it to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use parking_lot::Mutex;
use tokio::sync::watch;
use tower::Service;
use tower::layer::layer_fn;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// Whether requests go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Requests wait.
    Closed,
    /// What is written is on its way, and arrives when this is open again, whoever still waits for it.
    Held,
    /// Nothing goes through ever again.
    Dead,
}

/// What a connection can suffer.
pub(crate) struct Cut {
    state: watch::Sender<State>,
    /// Writes that are left.
    left: AtomicUsize,
    /// What becomes of it then.
    then: State,
    /// Requests so far: reads and writes.
    requests: [AtomicUsize; 2],
    /// Writes that are on their way.
    under_way: watch::Sender<usize>,
    /// What became of those that were: method, path and status.
    late: Mutex<Vec<(Method, String, u16)>>,
    /// Paths of watches that were started.
    watches: watch::Sender<BTreeSet<String>>,
    /// Paths of watches that were told that they have missed too much.
    expired: Mutex<BTreeSet<String>>,
    /// The end of the paths of watches on which nothing arrives.
    deaf: watch::Sender<Option<&'static str>>,
}

impl Cut {
    /// A connection that dies when the `count`th write was done, before anybody is told. Renewals of Leases and
    /// events do not count: the former come by the clock, the latter are no state.
    pub(crate) fn after(count: usize) -> Arc<Self> {
        Self::make(count, State::Dead)
    }

    /// One on which everything that is written after the `count`th write is long on its way.
    pub(crate) fn slow_after(count: usize) -> Arc<Self> {
        Self::make(count, State::Held)
    }

    fn make(count: usize, then: State) -> Arc<Self> {
        Arc::new(Self {
            state: watch::Sender::new(State::Open),
            left: AtomicUsize::new(count),
            then,
            requests: Default::default(),
            under_way: watch::Sender::new(0),
            late: Mutex::default(),
            watches: watch::Sender::default(),
            expired: Mutex::default(),
            deaf: watch::Sender::default(),
        })
    }

    /// One that does not die by itself.
    pub(crate) fn never() -> Arc<Self> {
        Self::after(usize::MAX)
    }

    /// Lets new requests wait; watches that run go on.
    pub(crate) fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    pub(crate) fn open(&self) {
        self.state.send_replace(State::Open);
    }

    /// Lets nothing arrive on watches of this kind; everything else goes on.
    pub(crate) fn deafen(&self, kind: &'static str) {
        self.deaf.send_replace(Some(kind));
    }

    /// Lets everything arrive again.
    pub(crate) fn hear(&self) {
        self.deaf.send_replace(None);
    }

    /// Waits until a watch of this path may be heard.
    async fn heard(&self, path: &str) {
        let mut deaf = self.deaf.subscribe();
        let heard = |kind: &Option<&str>| kind.is_none_or(|kind| !path.ends_with(kind));
        deaf.wait_for(heard).await.unwrap();
    }

    /// Waits until it is dead.
    pub(crate) async fn dead(&self) {
        self.until(State::Dead).await;
    }

    /// Waits until something is long on its way.
    pub(crate) async fn held(&self) {
        let mut under_way = self.under_way.subscribe();
        under_way.wait_for(|count| *count > 0).await.unwrap();
    }

    /// Waits until everything has arrived that was on its way; tells what became of it.
    pub(crate) async fn delivered(&self) -> Vec<(Method, String, u16)> {
        let mut under_way = self.under_way.subscribe();
        under_way.wait_for(|count| *count == 0).await.unwrap();
        self.late.lock().clone()
    }

    /// Requests so far: reads and writes.
    pub(crate) fn requests(&self) -> [usize; 2] {
        [0, 1].map(|index| self.requests[index].load(Ordering::SeqCst))
    }

    /// Waits until these kinds are watched.
    pub(crate) async fn watches(&self, kinds: &[&str]) {
        let mut started = self.watches.subscribe();
        let all = |paths: &BTreeSet<String>| {
            let is_watched = |kind: &&str| paths.iter().any(|path| path.ends_with(*kind));
            kinds.iter().all(is_watched)
        };
        started.wait_for(all).await.unwrap();
    }

    /// Paths of watches that were told that they have missed too much (410).
    pub(crate) fn expired(&self) -> BTreeSet<String> {
        self.expired.lock().clone()
    }

    async fn until(&self, wanted: State) {
        let mut state = self.state.subscribe();
        state.wait_for(|state| *state == wanted).await.unwrap();
    }

    /// Waits until a request may pass that is not to be held.
    async fn passes(&self) {
        let mut state = self.state.subscribe();
        let passes = |state: &State| matches!(state, State::Open | State::Held);
        state.wait_for(passes).await.unwrap();
    }

    fn wrote(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.state.send_replace(self.then);
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

impl<S, B> Service<Request<Body>> for Through<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let counts = request.method() != Method::GET
            && !path.contains("/leases")
            && !path.contains("/events");
        let query = request.uri().query().unwrap_or_default();
        let watch = query.contains("watch=true");
        let method = request.method().clone();
        let cut = self.cut.clone();
        cut.requests[usize::from(method != Method::GET)].fetch_add(1, Ordering::SeqCst);
        let answer = self.inner.call(request);
        if method != Method::GET && *cut.state.borrow() == State::Held {
            cut.under_way.send_modify(|count| *count += 1);
            let arriving = tokio::spawn(async move {
                cut.until(State::Open).await;
                let answer: Result<_, BoxError> = answer.await.map_err(Into::into);
                let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
                cut.late.lock().push((method, path, status));
                cut.under_way.send_modify(|count| *count -= 1);
                answer
            });
            return Box::pin(async move {
                let answer = arriving.await??;
                Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
            });
        }
        Box::pin(async move {
            // The request is sent when the answer is first asked for.
            cut.passes().await;
            let answer = answer.await.map_err(Into::into)?;
            let answer = answer.map(|body| body.map_err(Into::into).boxed_unsync());
            if counts {
                cut.wrote();
            }
            cut.passes().await;
            if !watch {
                return Ok(answer);
            }
            cut.watches.send_modify(|paths| {
                paths.insert(path.clone());
            });
            if answer.status() == StatusCode::GONE {
                cut.expired.lock().insert(path.clone());
            }
            Ok(answer.map(|body| {
                let looked_at = BodyStream::new(body).then(move |frame| {
                    let (cut, path) = (cut.clone(), path.clone());
                    async move {
                        cut.heard(&path).await;
                        let data = frame.as_ref().ok().and_then(Frame::data_ref);
                        if data.is_some_and(says_expired) {
                            cut.expired.lock().insert(path);
                        }
                        frame
                    }
                });
                StreamBody::new(looked_at).boxed_unsync()
            }))
        })
    }
}

/// Whether a piece of a watch is the error 410: the first and last thing that such a watch tells.
fn says_expired(piece: &Bytes) -> bool {
    let Ok(event) = serde_json::from_slice::<serde_json::Value>(piece) else {
        return false;
    };
    event["type"] == "ERROR" && event["object"]["code"] == 410
}
