//! `custom.metrics.k8s.io`, as far as pools need it to be scaled: how many sandboxes of each host are in use.
//!
//! ```text
//! host ─ renews its Lease, which says how busy it is ─→ watch ─→ loads ─┐
//! Pods of hosts, with their labels ────────────────────→ watch ─→ pods ──┼─→ values (pure) ─→ answer
//! autoscaler ─→ API server, which checks who asks ─→ TLS ─→ request ─────┘
//! ```
//!
//! Every operator serves, also those that do not lead: all watch the same, and nothing is written. Only that the
//! API server knows who has signed their certificates is the leader's work. Nobody gets in but the API server's
//! aggregator, which proves itself by a client certificate.

mod answer;
mod api_service;
mod door;
mod front_proxy;
mod keep;
mod loads;
mod pods;
mod request;
pub mod selector;
mod server;
mod values;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub(crate) use api_service::keep as keep_api_service;
pub use door::HANDSHAKE;
pub use loads::Loads;
pub use request::TARGET_BYTES;
pub use server::{CONNECTIONS, HEAD_BYTES, IDLE, REQUESTS, REVIEW, STREAMS};

use crate::certificates;
use crate::http::Ready;
use crate::metrics::Metrics;
use keep::Keeper;
use server::Server;
use values::Pods;

/// The group of resources.
pub const GROUP: &str = "custom.metrics.k8s.io";
/// The version of it that is served: the one that autoscalers prefer.
pub const VERSION: &str = "v1beta2";
/// The one metric.
pub const METRIC: &str = "ringfence_pool_used";
/// The Service that leads to operators, in their namespace. The chart makes it.
pub const SERVICE: &str = "ringfence-custom-metrics";
/// The APIService that leads to that Service. The chart makes it.
pub const API_SERVICE: &str = "v1beta2.custom.metrics.k8s.io";
/// How often certificates and what counts are looked at.
pub const LOOK: Duration = Duration::from_secs(10);

/// How metrics are served.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where.
    pub listener: Arc<TcpListener>,
    /// How often certificates and what counts are looked at.
    pub look: Duration,
    /// Becomes ready when metrics are served.
    pub ready: Ready,
}

/// The name in the certificate.
fn server_name(namespace: &str) -> String {
    format!("{SERVICE}.{namespace}.svc")
}

/// Serves until it is dropped.
///
/// # Errors
/// The listener cannot be used.
pub(crate) fn serve(
    client: &Client,
    namespace: &str,
    settings: &Settings,
    certificates: &certificates::Settings,
    loads: Loads,
    metrics: Metrics,
) -> std::io::Result<JoinSet<()>> {
    let listener = settings.listener.try_clone()?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (pods, (known, mut listed)) = (Pods::default(), watch::channel(false));
    let (door, mut doors) = watch::channel(None);
    let server = Arc::new(Server {
        client: client.clone(),
        namespace: namespace.to_owned(),
        pods: pods.clone(),
        loads,
        metrics,
        requests: Arc::new(Semaphore::new(REQUESTS)),
    });
    let keeper = Keeper {
        client: client.clone(),
        namespace: namespace.to_owned(),
        valid: certificates.valid,
        look: settings.look,
        clock: certificates.clock.clone(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(pods::follow(
        client.clone(),
        namespace.to_owned(),
        pods,
        known,
    ));
    tasks.spawn(keeper.keep(door));
    tasks.spawn(server.serve(listener, doors.clone()));
    let ready = settings.ready.clone();
    tasks.spawn(async move {
        // Either fails only when the other tasks have ended, with this one.
        let _ = listed.wait_for(|listed| *listed).await;
        let _ = doors.wait_for(Option::is_some).await;
        ready.is();
    });
    Ok(tasks)
}
