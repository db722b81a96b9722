//! What Kubernetes and Prometheus ask the operator: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Whether Services may lead here. Once it may be, it stays so. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// From now on.
    pub fn is(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        match self.0.load(Ordering::Relaxed) {
            true => (StatusCode::OK, "ok"),
            false => (
                StatusCode::SERVICE_UNAVAILABLE,
                "custom metrics are not served yet: the log says why",
            ),
        }
    }
}

/// Serves until the process ends.
///
/// # Errors
/// The listener broke.
pub async fn serve(listener: TcpListener, metrics: Metrics, ready: Ready) -> std::io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(move || async move { ready.answer() }))
        .route("/metrics", get(move || async move { metrics.render() }));
    axum::serve(listener, app).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_from_when_that_is_said() {
        let ready = Ready::default();
        let same = ready.clone();
        assert_eq!(same.answer().0, StatusCode::SERVICE_UNAVAILABLE);
        ready.is();
        assert_eq!(same.answer().0, StatusCode::OK);
    }
}
