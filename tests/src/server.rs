//! An HTTP server on the loopback, for guests to reach or not to reach.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use tokio::task::JoinHandle;

/// What the server has seen of a request.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Method and path.
    pub line: String,
    /// Headers.
    pub headers: http::HeaderMap,
}

/// A server that notes every request and answers `hello`. It ends when this is dropped.
pub struct Loopback {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Loopback {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let router = Router::new().fallback(note).with_state(seen.clone());
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

async fn note(State(seen): State<Arc<Mutex<Vec<Seen>>>>, request: Request) -> &'static str {
    seen.lock().unwrap().push(Seen {
        line: format!("{} {}", request.method(), request.uri().path()),
        headers: request.headers().clone(),
    });
    "hello"
}
