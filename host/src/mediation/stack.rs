//! The layers and their order.

use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder};

use super::admission::AdmissionLayer;
use super::bounds::BoundsLayer;
use super::call::{Call, Reply};
use super::grants::GrantsLayer;
use super::recording::RecordingLayer;
use super::routing::RoutingLayer;
use crate::error::CallError;
use crate::peer::Router;
use crate::record::Records;
use crate::telemetry::Metrics;

/// A service that handles calls.
pub type CallService = BoxCloneSyncService<Call, Reply, CallError>;

/// Something that wraps a [`CallService`].
pub type CallLayer = Arc<dyn Fn(CallService) -> CallService + Send + Sync>;

/// A place in the stack that further checks can take, in the order in which a call meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Rules over single calls.
    Policy,
    /// Tokens, cost and calls over a window.
    Budget,
    /// A human's yes to a held call.
    Approval,
    /// The durable record of what is about to happen, and of what came of it.
    Journal,
}

/// The layers of the stages.
#[derive(Clone, Default)]
pub struct Stages {
    layers: Vec<(Stage, CallLayer)>,
}

impl Stages {
    /// Puts a layer into a stage. Layers of the same stage run in the order in which they were added.
    #[must_use]
    pub fn with<L>(mut self, stage: Stage, layer: L) -> Self
    where
        L: Layer<CallService> + Send + Sync + 'static,
        L::Service: Service<Call, Response = Reply, Error = CallError, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let layer: CallLayer = Arc::new(move |inner| BoxCloneSyncService::new(layer.layer(inner)));
        self.layers.push((stage, layer));
        self.layers.sort_by_key(|(stage, _)| *stage);
        self
    }

    fn wrap(&self, inner: CallService) -> CallService {
        self.layers
            .iter()
            .rev()
            .fold(inner, |inner, (_, layer)| layer(inner))
    }
}

/// What every layer's future is.
pub(super) type Answer = BoxFuture<'static, Result<Reply, CallError>>;

/// The whole stack around `dispatch`.
pub(crate) fn build<D>(
    dispatch: D,
    stages: &Stages,
    directory: Arc<crate::directory::Directory>,
    records: Arc<Records>,
    metrics: Arc<Metrics>,
    router: Arc<OnceLock<Arc<Router>>>,
) -> CallService
where
    D: Service<Call, Response = Reply, Error = CallError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let admitted = ServiceBuilder::new()
        .layer(RoutingLayer::new(directory.clone(), router))
        .layer(AdmissionLayer::new(directory))
        .service(dispatch);
    let staged = stages.wrap(BoxCloneSyncService::new(admitted));
    let checked = ServiceBuilder::new()
        .layer(RecordingLayer::new(records, metrics))
        .layer(BoundsLayer)
        .layer(GrantsLayer)
        .service(staged);
    BoxCloneSyncService::new(checked)
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;
    use tower::ServiceExt as _;
    use tower::layer::layer_fn;

    use super::*;
    use crate::mediation::{CallContext, Principal, Request};

    #[tokio::test]
    async fn stages_run_in_their_order_whatever_order_they_were_added_in() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = |stage: Stage| {
            let seen = seen.clone();
            layer_fn(move |inner: CallService| {
                let seen = seen.clone();
                inner.map_request(move |call| {
                    seen.lock().push(stage);
                    call
                })
            })
        };
        let stages = Stages::default()
            .with(Stage::Journal, note(Stage::Journal))
            .with(Stage::Policy, note(Stage::Policy))
            .with(Stage::Approval, note(Stage::Approval))
            .with(Stage::Budget, note(Stage::Budget));
        let end = tower::service_fn(|_: Call| async { Err(CallError::Canceled) });
        let stack = stages.wrap(BoxCloneSyncService::new(end));
        let tenant = ringfence_api::TenantName::default();
        let context = CallContext::start(
            tenant.clone(),
            Principal::user(tenant, "test"),
            std::time::Duration::from_secs(1),
        );
        let request = Request::Agent {
            agent: "a".parse().unwrap(),
            messages: Vec::new(),
        };
        assert!(stack.oneshot(Call::new(context, request)).await.is_err());
        let order = [
            Stage::Policy,
            Stage::Budget,
            Stage::Approval,
            Stage::Journal,
        ];
        assert_eq!(*seen.lock(), order);
    }
}
