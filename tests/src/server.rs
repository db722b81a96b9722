//! An HTTP server on the loopback, for guests to reach or not to reach.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use http::HeaderMap;
use tokio::task::JoinHandle;

/// What the server has seen of a request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Method and path.
    pub line: String,
    /// Headers.
    pub headers: HeaderMap,
}

/// A server that notes every request and answers it. It ends when this is dropped.
pub struct Loopback {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Loopback {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        Self::serving(|_| Response::new("hello".into())).await
    }

    /// As [`Loopback::start`], but it answers with the headers of the request: as its body, and each as
    /// a header `x-echo`.
    pub async fn echoing() -> Self {
        Self::serving(echo).await
    }

    async fn serving(answer: fn(&HeaderMap) -> Response) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let state = (seen.clone(), answer);
        let router = Router::new().fallback(note).with_state(state);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            seen,
            task,
        }
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn echo(headers: &HeaderMap) -> Response {
    let mut response = Response::new(format!("{headers:#?}").into());
    for value in headers.values() {
        response.headers_mut().append("x-echo", value.clone());
    }
    response
}

type Noting = (Arc<Mutex<Vec<Seen>>>, fn(&HeaderMap) -> Response);

async fn note(State((seen, answer)): State<Noting>, request: Request) -> Response {
    seen.lock().unwrap().push(Seen {
        line: format!("{} {}", request.method(), request.uri().path()),
        headers: request.headers().clone(),
    });
    answer(request.headers())
}
