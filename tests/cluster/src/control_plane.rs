//! etcd, API server and controller manager together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Mutex, OnceCell};

use crate::folder::Folder;
use crate::network::Subnet;
use crate::pki::Authority;
use crate::process::Process;
use crate::programs::Programs;
use crate::{Error, api_server, controller_manager, etcd};

/// What a control plane is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the API server listens: an address of this machine. The loopback, unless there is a node.
    pub address: IpAddr,
    /// The addresses of Services. Nothing leads there unless there is a node.
    pub services: Subnet,
    /// Whether there is a controller manager. Without one it starts a second sooner, but namespaces are never
    /// removed, nothing is garbage-collected, and no Pod can be made for want of service accounts.
    pub controller_manager: bool,
    /// Further arguments of the API server.
    pub api_server_arguments: Vec<String>,
    /// Further arguments of the controller manager.
    pub controller_manager_arguments: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            services: Subnet {
                base: Ipv4Addr::new(10, 96, 0, 0),
                bits: 16,
            },
            controller_manager: true,
            api_server_arguments: Vec::new(),
            controller_manager_arguments: Vec::new(),
        }
    }
}

/// A running control plane. Its processes end when this is dropped, and with the process that holds it.
pub struct ControlPlane {
    processes: Mutex<Processes>,
    programs: Programs,
    authority: Authority,
    address: SocketAddr,
    kubeconfig: PathBuf,
    settings: Settings,
    numbers: AtomicU32,
    /// Last, so that it is removed when nothing writes to it any more.
    folder: Folder,
}

struct Processes {
    controller_manager: Option<Process>,
    api_server: Process,
    etcd: Process,
}

/// The control plane that all tests of a process share, started by the first that asks. Faults are for a
/// control plane of one's own.
///
/// # Panics
/// When it does not start; the message says why, with the end of the log.
pub async fn shared() -> &'static ControlPlane {
    static SHARED: OnceCell<Result<ControlPlane, Error>> = OnceCell::const_new();
    match SHARED.get_or_init(ControlPlane::start).await {
        Ok(control_plane) => control_plane,
        #[expect(
            clippy::panic,
            reason = "a test that cannot have its cluster has failed"
        )]
        Err(error) => {
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
            panic!("{error}{}", cause.unwrap_or_default())
        }
    }
}

impl ControlPlane {
    /// Starts one on free ports of the loopback and waits until it serves.
    ///
    /// # Errors
    /// When the binaries are missing, or one does not start.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(Settings::default()).await
    }

    /// The address of this machine that the API server has: where there is a node, its Pods reach this machine there.
    pub fn address(&self) -> IpAddr {
        self.settings.address
    }

    /// Starts one with other settings.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(settings: Settings) -> Result<Self, Error> {
        let programs = Programs::of_control_plane()?;
        let folder = Folder::new()?;
        let authority = Authority::new("kubernetes")?;
        let (etcd, endpoint) = etcd::start(&programs, &folder).await?;
        let (api_server, address) =
            api_server::start(&programs, &folder, &authority, &endpoint, &settings).await?;
        let controller_manager = if settings.controller_manager {
            Some(controller_manager::start(&programs, &folder, &settings).await?)
        } else {
            None
        };
        Ok(Self {
            processes: Mutex::new(Processes {
                controller_manager,
                api_server,
                etcd,
            }),
            programs,
            authority,
            address,
            kubeconfig: folder.path().join("kubeconfig"),
            settings,
            numbers: AtomicU32::new(0),
            folder,
        })
    }

    /// The kubeconfig of an administrator.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where the API server listens, as a URL.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The certificate that the API server shows to extensions of the API, and its key, as files: who has them can
    /// speak to an extension for anybody.
    pub fn front_proxy(&self) -> (PathBuf, PathBuf) {
        let pki = self.folder.path().join("pki");
        (pki.join("front-proxy.crt"), pki.join("front-proxy.key"))
    }

    /// The certificate that the API server shows to kubelets, and its key, as files: an administrator's.
    pub fn kubelet_client(&self) -> (PathBuf, PathBuf) {
        let pki = self.folder.path().join("pki");
        (pki.join("kubelet.crt"), pki.join("kubelet.key"))
    }

    /// The folder of the binaries, for a `PATH`.
    pub fn programs_folder(&self) -> &Path {
        self.programs.folder()
    }

    /// The folder of the logs, `NAME.log` each.
    pub fn logs(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the API server and starts it anew on the same port: every watch ends, etcd keeps everything.
    ///
    /// # Errors
    /// When it does not become ready again.
    pub async fn restart_api_server(&self) -> Result<(), Error> {
        let mut processes = self.processes.lock().await;
        processes.api_server.restart()?;
        api_server::wait(&mut processes.api_server, &self.kubeconfig).await
    }

    /// Kills the API server; [`Self::restart_api_server`] brings it back.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn stop_api_server(&self) -> Result<(), Error> {
        self.processes.lock().await.api_server.kill().map(drop)
    }

    /// Freezes etcd: reads from the API server's cache go on, everything else waits until it times out.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub async fn pause_etcd(&self) -> Result<(), Error> {
        self.processes.lock().await.etcd.pause()
    }

    /// Lets etcd go on.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub async fn resume_etcd(&self) -> Result<(), Error> {
        self.processes.lock().await.etcd.resume()
    }

    /// Kills the controller manager; nothing happens if there is none.
    pub async fn stop_controller_manager(&self) {
        drop(self.processes.lock().await.controller_manager.take());
    }

    /// Starts the controller manager if it does not run.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_controller_manager(&self) -> Result<(), Error> {
        let running = &mut self.processes.lock().await.controller_manager;
        if running.is_none() {
            *running = Some(
                controller_manager::start(&self.programs, &self.folder, &self.settings).await?,
            );
        }
        Ok(())
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(crate) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A number that nothing else of this control plane has.
    pub(crate) fn next_number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }
}
