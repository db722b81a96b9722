//! The host: everything behind one handle.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ringfence_api::{Kind, Name, TenantName};
use tokio_util::sync::CancellationToken;

use crate::artifact::Artifacts;
use crate::blob::Blobs;
use crate::core::Core;
use crate::directory::Directory;
use crate::dispatch::Dispatch;
use crate::egress::Egress;
use crate::engine::Engine;
use crate::error::CallError;
use crate::mediation::{self, CallContext, Reply, Request, Stages};
use crate::peer::Router;
use crate::record::{RecordError, Records};
use crate::sandbox::Sandboxes;
use crate::session::{SessionError, Sessions};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::PoolUse;

/// How long a run may take when its caller says nothing.
pub const RUN_TIMEOUT: Duration = Duration::from_secs(600);

/// What a host is built from.
pub struct Parts {
    /// The folder that holds the host's state.
    pub data: PathBuf,
    /// The engine of this process.
    pub engine: Engine,
    /// The artifacts.
    pub artifacts: Arc<Artifacts>,
    /// The way out.
    pub egress: Egress,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// What the stages of mediation hold.
    pub stages: Stages,
}

/// Why a host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The interfaces for guests cannot be linked: a fault of this build.
    #[error("the interfaces for guests cannot be linked")]
    Link(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The records cannot be kept.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// The blobs cannot be kept.
    #[error("the blobs cannot be read or written")]
    Blobs(#[source] std::io::Error),
    /// The sessions cannot be kept.
    #[error(transparent)]
    Sessions(#[from] SessionError),
}

/// A running host. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    core: Arc<Core>,
    blobs: Blobs,
    draining: CancellationToken,
}

impl Host {
    /// Puts the parts together.
    ///
    /// # Errors
    /// When a part of the data folder cannot be used.
    pub fn new(parts: Parts) -> Result<Self, StartError> {
        let records = Arc::new(Records::open(&parts.data.join("records"))?);
        let blobs = Blobs::open(&parts.data.join("blobs")).map_err(StartError::Blobs)?;
        let sessions = Sessions::open(&parts.data.join("sessions.sqlite"))?;
        let sandboxes =
            Sandboxes::new(parts.engine, parts.artifacts.clone(), parts.metrics.clone())
                .map_err(|error| StartError::Link(error.into()))?;
        let directory = Arc::new(Directory::default());
        let router = Arc::new(OnceLock::new());
        let core = Arc::new_cyclic(|core| Core {
            stack: mediation::build(
                Dispatch::new(core.clone()),
                &parts.stages,
                directory.clone(),
                records.clone(),
                parts.metrics.clone(),
                router.clone(),
            ),
            router,
            artifacts: parts.artifacts,
            directory,
            egress: parts.egress,
            metrics: parts.metrics,
            records,
            sandboxes,
            sessions,
        });
        Ok(Self {
            core,
            blobs,
            draining: CancellationToken::new(),
        })
    }

    /// Makes a call. It goes through every layer of mediation.
    ///
    /// # Errors
    /// Any [`CallError`].
    pub async fn call(&self, context: CallContext, request: Request) -> Result<Reply, CallError> {
        self.core.call(context, request).await
    }

    /// Makes sure that the directory tells what a tenant has on all hosts of the cluster. It waits for that
    /// when it is the first to ask, but not for long.
    pub(crate) async fn look(&self, tenant: &TenantName) {
        self.core.look(tenant).await;
    }

    /// Whether a tenant has an agent, on this host or another.
    pub(crate) async fn has_agent(&self, tenant: &TenantName, name: &Name) -> bool {
        if self
            .directory()
            .instance(tenant, Kind::Agent, name)
            .is_some()
        {
            return true;
        }
        match self.core.router.get() {
            Some(router) => router.has(tenant, Kind::Agent, name).await,
            None => false,
        }
    }

    /// Sends calls to other hosts from now on, where their targets run there.
    pub(crate) fn route_by(&self, router: Arc<Router>) {
        // There is one for as long as the host lives.
        drop(self.core.router.set(router));
    }

    /// The way to other hosts; none outside of a cluster.
    pub(crate) fn router(&self) -> Option<&Arc<Router>> {
        self.core.router.get()
    }

    /// The inside.
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// What each tenant has.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.core.directory
    }

    /// The artifacts.
    pub fn artifacts(&self) -> &Arc<Artifacts> {
        &self.core.artifacts
    }

    /// The way out.
    pub fn egress(&self) -> &Egress {
        &self.core.egress
    }

    /// The blobs.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// Sandboxes that may exist at the same time.
    pub(crate) fn sandboxes(&self) -> u64 {
        self.core.sandboxes.pool().sandboxes_max
    }

    /// How many of them are in use.
    pub(crate) fn sandboxes_used(&self) -> u64 {
        self.core.sandboxes.pool().components
    }

    /// The records.
    pub fn records(&self) -> &Arc<Records> {
        &self.core.records
    }

    /// Brings the gauges of the pool up to date.
    pub(crate) fn read_pool(&self) {
        self.core.metrics.blobs(self.blobs.bytes());
        let pool = self.core.sandboxes.pool();
        self.core.metrics.pool(PoolUse {
            used: pool.components,
            size: pool.sandboxes_max,
        });
    }

    /// The counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.core.metrics
    }

    /// Cancelled when the host takes no more work.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }
}
