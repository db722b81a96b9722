//! What all calls of a host share.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringfence_api::TenantName;
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::artifact::Artifacts;
use crate::directory::Directory;
use crate::egress::Egress;
use crate::error::CallError;
use crate::mediation::{Call, CallContext, CallService, Reply, Request};
use crate::message::Message;
use crate::peer::Router;
use crate::record::{LogLine, Records};
use crate::sandbox::{Capture, Guest, Sandboxes};
use crate::session::{SessionKey, Sessions};
use crate::telemetry::Metrics;

/// The parts of a host that calls need.
pub(crate) struct Core {
    pub(crate) artifacts: Arc<Artifacts>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) egress: Egress,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) records: Arc<Records>,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) sessions: Sessions,
    pub(crate) stack: CallService,
    /// The way to other hosts; none outside of a cluster.
    pub(crate) router: Arc<OnceLock<Arc<Router>>>,
}

/// A call that runs beside its caller. It is aborted when this is dropped.
pub(crate) struct Effect(AbortOnDropHandle<Result<Reply, CallError>>);

impl Future for Effect {
    type Output = Result<Reply, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|joined| match joined {
            Ok(answer) => answer,
            Err(error) if error.is_cancelled() => Err(CallError::Canceled),
            Err(_) => Err(CallError::Failed(
                "the host failed inside this call".to_owned(),
            )),
        })
    }
}

impl Core {
    /// Sends a call through the layers.
    pub(crate) async fn call(
        &self,
        context: CallContext,
        request: Request,
    ) -> Result<Reply, CallError> {
        self.stack
            .clone()
            .oneshot(Call::new(context, request))
            .await
    }

    /// As [`Core::call`], in a task of its own: a guest that calls must not be charged with the
    /// processor time of the guest that it calls, nor fall with it. The trace goes on there.
    pub(crate) fn spawn(&self, context: CallContext, request: Request) -> Effect {
        let call = self.stack.clone().oneshot(Call::new(context, request));
        Effect(AbortOnDropHandle::new(tokio::spawn(call.in_current_span())))
    }

    /// Makes sure that the directory tells what a tenant has on all hosts of the cluster. It waits for that
    /// when it is the first to ask, but not for long.
    pub(crate) async fn look(&self, tenant: &TenantName) {
        if let Some(router) = self.router.get() {
            router.look(tenant).await;
        }
    }

    /// The newest messages of a conversation, oldest first, wherever it is kept.
    ///
    /// # Errors
    /// `failed` when the database refuses, `unavailable` when the host that keeps it cannot be asked.
    pub(crate) async fn history(
        &self,
        key: SessionKey,
        most: u32,
    ) -> Result<Vec<Message>, CallError> {
        match self.router.get() {
            Some(router) => router.history(&self.sessions, key, most).await,
            None => self.sessions.history(key, most).await,
        }
    }

    /// Adds messages to a conversation, wherever it is kept.
    ///
    /// # Errors
    /// As [`Sessions::append`], and `unavailable` or `unknown-outcome` when the host that keeps it cannot be
    /// asked.
    pub(crate) async fn append(
        &self,
        key: SessionKey,
        messages: Vec<Message>,
    ) -> Result<(), CallError> {
        match self.router.get() {
            Some(router) => router.append(&self.sessions, key, messages).await,
            None => self.sessions.append(key, messages).await,
        }
    }

    /// Notes what a sandbox left behind.
    pub(crate) fn finish_sandbox(&self, guest: &Guest, log: &Capture, cpu: Duration, memory: u64) {
        self.metrics.sandbox_finished(cpu, memory);
        let cpu_us = u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX);
        guest.context.spent.cpu_us.store(cpu_us, Ordering::Relaxed);
        guest
            .context
            .spent
            .memory_bytes
            .store(memory, Ordering::Relaxed);
        let text = log.take();
        if text.is_empty() {
            return;
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        self.records.log(LogLine {
            run: guest.context.run,
            call: guest.context.call,
            tenant: guest.context.tenant.clone(),
            source: guest.principal.to_string(),
            at_us: u64::try_from(now.as_micros()).unwrap_or(u64::MAX),
            text,
        });
    }
}
