//! Local mode: a whole host on one machine, from its data directory to its gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::artifact::oci::RegistrySettings;
use crate::artifact::{ArtifactError, ArtifactSettings, Artifacts, Launcher};
use crate::authorities::Authorities;
use crate::data::{DataDir, DataError};
use crate::directory::apply::{Control, ControlError};
use crate::directory::folder::{ManifestFolder, Synced, retry_forever};
use crate::directory::offers::{OfferError, OfferedFolder, Offers};
use crate::egress::{Egress, EgressSettings};
use crate::engine::{Engine, EngineError, PoolSize};
use crate::gateway::auth::{ClusterCallers, ClusterSettings};
use crate::gateway::{Binding, BindingError, Gateway, KeyRing, Settings, rest};
use crate::host::{Host, Parts, StartError};
use crate::mediation::Stages;
use crate::secret::{AllowedSecret, Secrets, TenantSecrets};
use crate::telemetry::Metrics;

/// File in the data directory that says where the host listens.
pub const ADDRESS_FILE: &str = "address";

/// What a local host is started with.
#[derive(Debug)]
pub struct Options {
    /// Folder for everything that the host keeps.
    pub data_dir: PathBuf,
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Folder of manifests.
    pub manifests: Option<PathBuf>,
    /// Folders that can be granted.
    pub folders: Vec<OfferedFolder>,
    /// Secrets that resources may refer to.
    pub secrets: Vec<AllowedSecret>,
    /// File of hashed API keys.
    pub api_keys: Option<PathBuf>,
    /// Which registries may be used.
    pub registries: RegistrySettings,
    /// Certificate authorities that are trusted beside the system's.
    pub authorities: Authorities,
    /// Sandboxes that may exist at the same time.
    pub sandboxes: u32,
    /// How to start a process that compiles.
    pub launcher: Launcher,
    /// Limits of the gateway.
    pub gateway: Settings,
}

/// Why a local host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Its data directory.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The engine.
    #[error("the engine cannot start")]
    Engine(#[from] EngineError),
    /// The artifacts.
    #[error("the artifacts cannot be opened")]
    Artifacts(#[from] ArtifactError),
    /// Certificates.
    #[error("the certificates of the system cannot be used")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The host itself.
    #[error(transparent)]
    Host(#[from] StartError),
    /// The folders on offer.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The state.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The folder of manifests.
    #[error("the manifest folder {} cannot be read", .path.display())]
    Manifests {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The keys.
    #[error("the API keys cannot be used")]
    Keys(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The address.
    #[error("cannot listen on {address}: choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The address and who may reach it.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// The file with the address.
    #[error("the address cannot be noted in {}", .path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What a host has of the cluster that it is a node of; nothing where it is none.
#[derive(Debug, Default)]
pub(crate) struct OfCluster {
    /// Set where callers are known by tokens of the cluster.
    pub(crate) callers: Option<ClusterSettings>,
    /// The Secrets of tenants.
    pub(crate) secrets: Option<Arc<dyn TenantSecrets>>,
}

/// What every host is built on, whoever tells it what to run.
pub(crate) struct Base {
    pub(crate) data: DataDir,
    pub(crate) binding: Binding,
    pub(crate) host: Host,
    pub(crate) artifacts: Artifacts,
    pub(crate) egress: Egress,
    pub(crate) offers: Offers,
}

impl Base {
    pub(crate) async fn new(options: Options, of_cluster: OfCluster) -> Result<Self, LocalError> {
        let data = DataDir::open(&options.data_dir)?;
        // Early, so that a taken address is told before anything else happens.
        let listen = options.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|source| LocalError::Listen {
                address: listen,
                source,
            })?;
        let metrics = Arc::new(Metrics::new());
        let keys = options.api_keys.as_deref().map(KeyRing::open).transpose();
        let keys = keys
            .map_err(|error| LocalError::Keys(error.into()))?
            .map(Arc::new);
        let binding = match (of_cluster.callers, keys) {
            (Some(settings), keys) => {
                let callers = ClusterCallers::new(settings, metrics.clone());
                Binding::with_cluster(listener, Arc::new(callers), keys)?
            }
            (None, Some(keys)) => Binding::with_keys(listener, keys)?,
            (None, None) => Binding::local(listener)?,
        };
        let engine = Engine::new(PoolSize::new(options.sandboxes))?;
        let settings = ArtifactSettings {
            metrics: metrics.clone(),
            registries: RegistrySettings {
                authorities: options.authorities.clone(),
                ..options.registries
            },
            ..ArtifactSettings::new(options.launcher)
        };
        let artifacts = Artifacts::open(&data.path().join("artifacts"), engine.clone(), settings)?;
        let secrets = Secrets::with_cluster(options.secrets, of_cluster.secrets);
        let egress_settings = EgressSettings {
            authorities: options.authorities,
            metrics: metrics.clone(),
        };
        let egress = Egress::new(&egress_settings, secrets)
            .map_err(|error| LocalError::Tls(error.into()))?;
        let host = Host::new(Parts {
            data: data.path().to_owned(),
            engine,
            artifacts: Arc::new(artifacts.clone()),
            egress: egress.clone(),
            metrics,
            stages: Stages::default(),
        })?;
        Ok(Self {
            offers: Offers::new(options.folders)?,
            data,
            binding,
            host,
            artifacts,
            egress,
        })
    }
}

/// A host that serves.
pub struct LocalHost {
    /// What was found in the manifest folder, where there is one.
    pub manifests: Option<Synced>,
    host: Host,
    control: Arc<Control>,
    address: SocketAddr,
    data: DataDir,
    serving: JoinHandle<()>,
    background: CancellationToken,
}

impl std::fmt::Debug for LocalHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalHost")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl LocalHost {
    /// Starts a host: when this returns, everything that was applied before is there and requests are
    /// answered.
    ///
    /// # Errors
    /// See [`LocalError`].
    pub async fn start(options: Options) -> Result<Self, LocalError> {
        let manifests_folder = options.manifests.clone();
        let settings = options.gateway.clone();
        let Base {
            data,
            binding,
            host,
            artifacts,
            egress,
            offers,
        } = Base::new(options, OfCluster::default()).await?;
        let file = data.path().join("state.sqlite");
        let directory = host.directory().clone();
        let control = Control::open(&file, directory, artifacts, egress, offers).await?;
        let control = Arc::new(control);
        let background = CancellationToken::new();
        let mut manifests = None;
        match &manifests_folder {
            Some(path) => {
                let mut folder =
                    ManifestFolder::new(path).map_err(|source| LocalError::Manifests {
                        path: path.clone(),
                        source,
                    })?;
                manifests = folder.sync(&control).await?;
                tokio::spawn(folder.watch(control.clone(), background.clone()));
            }
            // Without a folder nothing is asked for by files (any more).
            None => drop(control.forget_files().await?),
        }
        tokio::spawn(retry_forever(control.clone(), background.clone()));
        let rest = rest::router(rest::RestState {
            host: host.clone(),
            control: Some(control.clone()),
        });
        let gateway = Gateway::new(host.clone(), binding, settings, rest);
        let address = gateway.address();
        gateway.loaded().store(true, Ordering::Relaxed);
        note(&data.path().join(ADDRESS_FILE), address)?;
        let serving = tokio::spawn(gateway.serve());
        Ok(Self {
            manifests,
            host,
            control,
            address,
            data,
            serving,
            background,
        })
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its resources.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more work, lets calls in flight end, and writes everything out.
    pub async fn stop(self) {
        self.background.cancel();
        self.host.draining().cancel();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the gateway ended badly");
        }
        let records = self.host.records().clone();
        // It waits for the disk. A failure was logged where it happened.
        drop(tokio::task::spawn_blocking(move || records.flush()).await);
        // A file that says where nobody listens would mislead.
        drop(std::fs::remove_file(self.data.path().join(ADDRESS_FILE)));
    }
}

/// Writes the address where clients on this machine find it: whole or not at all.
fn note(path: &Path, address: SocketAddr) -> Result<(), LocalError> {
    let fail = |source| LocalError::Note {
        path: path.to_owned(),
        source,
    };
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, format!("http://{address}\n")).map_err(fail)?;
    std::fs::rename(&temporary, path).map_err(fail)
}
