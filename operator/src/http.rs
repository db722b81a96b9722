//! What Kubernetes and Prometheus ask the operator: `/healthz`, `/readyz`, `/metrics`.

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// Serves until the process ends.
///
/// # Errors
/// The listener broke.
pub async fn serve(listener: TcpListener, metrics: Metrics) -> std::io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(|| async { "ok" }))
        .route("/metrics", get(move || async move { metrics.render() }));
    axum::serve(listener, app).await
}
