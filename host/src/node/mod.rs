//! A host as a node of a cluster: it makes its `Host` object and renews its Lease, watches the instances
//! that are bound to it, prepares them, and says how it went. It goes on serving what it has while the API
//! server is away.

mod certificate;
mod clients;
mod instances;
mod known_models;
mod load;
pub mod memory;
mod models;
mod needs;
mod peers;
mod register;
mod report;
pub mod runs;
mod secrets;
pub mod state;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use self::clients::Clients;
use self::peers::Peers;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Client;
use ringfence_api::{Name, Resources};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::task::TaskTracker;

use crate::artifact::ArtifactError;
use crate::data::DataDir;
use crate::directory::resolve::Resolver;
use crate::gateway::auth::ClusterSettings;
use crate::gateway::{Gateway, rest};
use crate::host::Host;
use crate::local::{Base, LocalError, OfCluster, Options};
use crate::peer::PeerTls;
use known_models::KnownModels;
use load::Load;
use secrets::ClusterSecrets;

/// Field manager of everything that a host applies.
pub const FIELD_MANAGER: &str = "ringfence-host";

/// How long a host that leaves serves on at least: load balancers ask for its readiness every few seconds.
const NOTICE: Duration = Duration::from_secs(5);

/// What makes a host a node.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Its name: that of its Pod.
    pub name: Name,
    /// The pool that it belongs to.
    pub pool: Name,
    /// The zone that it runs in.
    pub zone: Option<String>,
    /// The namespace of its `Host` object and its Lease: that of the operator.
    pub namespace: String,
    /// What instances may use of it.
    pub allocatable: Resources,
    /// The address under which others reach it, where it listens on all of its addresses.
    pub advertise: Option<IpAddr>,
    /// Where it listens for other hosts. Without, it does only what runs here.
    pub peer_listen: Option<SocketAddr>,
    /// Its Pod, which owns its `Host` object.
    pub owner: Option<OwnerReference>,
    /// Audiences of which a caller's token has to have one, where callers are known by tokens of the
    /// cluster.
    pub token_audiences: Option<Vec<String>>,
}

/// Why a host cannot be a node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The host itself does not start.
    #[error(transparent)]
    Host(#[from] LocalError),
    /// The built-in components cannot be prepared.
    #[error("the built-in components cannot be prepared")]
    Builtin(#[from] ArtifactError),
    /// The runs that it begins cannot be noted.
    #[error(transparent)]
    Journal(#[from] runs::JournalError),
    /// The cluster does not take it.
    #[error(
        "the host cannot join the cluster: are the kinds installed (ringfence-operator crds | kubectl apply --server-side -f -), and is there the operator's namespace?"
    )]
    Join(#[source] Box<kube::Error>),
    /// The address for other hosts.
    #[error(
        "cannot listen on {address} for other hosts: choose another address with --peer-listen"
    )]
    Peers {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A setting that means nothing to a node.
    #[error("{0}")]
    Setting(&'static str),
}

/// What the parts of a node share.
struct Shared {
    client: Client,
    /// For the Lease alone.
    lease: Client,
    membership: Membership,
    host: Host,
    resolver: Resolver,
    peers: PeerTls,
    secrets: Arc<ClusterSecrets>,
    models: Arc<KnownModels>,
    /// How busy the host is.
    load: Load,
    /// Instances that move elsewhere and are gone on with until they are ready there.
    moving: TaskTracker,
}

/// A host that serves as a node.
pub struct Node {
    shared: Arc<Shared>,
    runs: Arc<runs::Runs>,
    peers: Option<Peers>,
    address: SocketAddr,
    /// Behind `/readyz`.
    ready: Arc<AtomicBool>,
    serving: JoinHandle<()>,
    tasks: JoinSet<()>,
    /// Locked for as long as the host runs.
    _data: DataDir,
}

impl Node {
    /// Starts the host and joins the cluster. When this returns, the scheduler may bind instances to it.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn join(
        options: Options,
        clients: Clients,
        membership: Membership,
    ) -> Result<Self, NodeError> {
        let Clients {
            work: client,
            lease,
        } = clients;
        if options.manifests.is_some() {
            return Err(NodeError::Setting(
                "a host of a cluster takes no folder of manifests: apply them with kubectl",
            ));
        }
        let settings = options.gateway.clone();
        let secrets = ClusterSecrets::new(client.clone());
        let audiences = membership.token_audiences.clone();
        let of_cluster = OfCluster {
            callers: audiences.map(|audiences| ClusterSettings {
                client: client.clone(),
                audiences,
            }),
            secrets: Some(secrets.clone()),
        };
        let base = Base::new(options, of_cluster).await?;
        let resolver = Resolver::new(base.artifacts, base.egress, base.offers).await?;
        let shared = Arc::new(Shared {
            client,
            lease,
            peers: PeerTls::new(membership.name.clone()),
            moving: TaskTracker::new(),
            membership,
            host: base.host.clone(),
            resolver,
            secrets,
            models: Arc::default(),
            load: Load::default(),
        });
        let rest = rest::router(rest::RestState {
            host: base.host.clone(),
            control: None,
        });
        let gateway = Gateway::new(base.host, base.binding, settings, rest);
        let address = gateway.address();
        let runs = runs::Runs::open(shared.clone(), address, base.data.path())?;
        let mut tasks = JoinSet::new();
        let peers = match shared.membership.peer_listen {
            Some(listen) => Some(Peers::start(&shared, listen, &mut tasks).await?),
            None => None,
        };
        let state = register::register(
            &shared,
            address,
            peers.as_ref().map(|peers| peers.address),
            runs.journal_id(),
        )
        .await
        .map_err(|error| NodeError::Join(Box::new(error)))?;
        tasks.spawn(register::renew(shared.clone()));
        tasks.spawn(load::follow(shared.clone()));
        tasks.spawn(state::follow(shared.clone(), state));
        tasks.spawn(certificate::keep(shared.clone()));
        tasks.spawn(models::follow(shared.clone()));
        tasks.spawn(instances::follow(shared.clone()));
        tasks.spawn(runs::follow(runs.clone()));
        tasks.spawn(shared.host.blobs().clone().sweep_forever());
        let ready = gateway.loaded();
        ready.store(true, Ordering::Relaxed);
        let serving = tokio::spawn(gateway.serve());
        Ok(Self {
            shared,
            runs,
            peers,
            address,
            ready,
            serving,
            tasks,
            _data: base.data,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it proves to other hosts which one it is.
    pub fn peers(&self) -> &PeerTls {
        &self.shared.peers
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// Leaves: lets its instances move elsewhere, ends calls in flight, and says goodbye. It serves on while
    /// its instances move, and long enough for load balancers to see that it is not ready any more.
    pub async fn leave(mut self) {
        self.ready.store(false, Ordering::Relaxed);
        tokio::join!(
            register::drain(&self.shared),
            self.runs.drain(),
            tokio::time::sleep(NOTICE)
        );
        self.shared.host.draining().cancel();
        let others = async {
            if let Some(peers) = &self.peers {
                peers.leave(&self.shared).await;
            }
        };
        let (served, ()) = tokio::join!(self.serving, others);
        if let Err(error) = served {
            tracing::error!(%error, "the gateway ended badly");
        }
        self.tasks.shutdown().await;
        register::goodbye(&self.shared).await;
        let records = self.shared.host.records().clone();
        // It waits for the disk. A failure was logged where it happened.
        drop(tokio::task::spawn_blocking(move || records.flush()).await);
    }
}
