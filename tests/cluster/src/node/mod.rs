//! A whole node: containerd, kubelet and kube-proxy in namespaces of their own, beside a control plane with
//! a scheduler. It runs real Pods; images are brought with [`Node::import`].

mod configuration;
mod parts;
mod place;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;

use crate::folder::Folder;
use crate::image::Image;
use crate::network::{Network, run};
use crate::process::{Namespaces, Process, Program};
use crate::programs::Programs;
use crate::{ControlPlane, Error, Settings};

/// Where Debian puts CNI plug-ins.
const CNI_PLUGINS: &str = "/usr/lib/cni";
/// What has to be installed beside what is built.
const INSTALLED: [&str; 8] = [
    "/usr/bin/containerd",
    "/usr/sbin/runc",
    "/usr/lib/cni/ptp",
    "/usr/sbin/nft",
    "/usr/sbin/iptables",
    "/usr/sbin/conntrack",
    "/usr/bin/nsenter",
    "/bin/busybox",
];
/// The node's name.
const NAME: &str = "node";
const DEADLINE: Duration = Duration::from_secs(120);

/// A running node with its control plane. Everything ends when this is dropped, Pods included, and with the
/// process that holds it.
pub struct Node {
    kubelet: Option<Process>,
    _proxy: Process,
    _scheduler: Process,
    _containerd: Process,
    /// Its end is the end of every process within, and of every mount and address.
    namespaces: Process,
    control_plane: ControlPlane,
    folder: Folder,
    kubelet_program: Program,
}

impl Node {
    /// Starts one, and waits until it takes Pods and resolves the names of Services.
    ///
    /// # Errors
    /// When this process is not root's, when something is missing, or when a part does not start.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(Settings::default()).await
    }

    /// Starts one with other settings. Where its API server listens, and which addresses Services have, follows from
    /// its network whatever they say.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(settings: Settings) -> Result<Self, Error> {
        let programs = Programs::of_node()?;
        if let Some(missing) = INSTALLED.iter().find(|path| !Path::new(path).exists()) {
            return Err(Error::NotInstalled { missing });
        }
        if !rustix::process::geteuid().is_root() {
            return Err(Error::NeedsRoot);
        }
        let folder = Folder::new()?;
        let namespaces = place::namespaces(&folder).await?;
        let network = Network::attach(namespaces.id()).await?;
        place::control_groups(&folder, namespaces.id())?;
        let control_plane = ControlPlane::start_with(Settings {
            address: network.host().into(),
            services: network.services(),
            ..settings
        })
        .await?;

        let starter = parts::Starter {
            programs: &programs,
            folder: &folder,
            inside: Namespaces(namespaces.id()),
            network,
            control_plane: &control_plane,
        };
        let containerd = starter.containerd().await?;
        let image = Image::new(configuration::PAUSE)
            .file("/pause", programs.path("pause"))
            .entrypoint(&["/pause"]);
        import(&folder, namespaces.id(), &image).await?;
        let scheduler = starter.scheduler()?;
        let proxy = starter.proxy()?;
        let kubelet_program = starter.kubelet()?;
        let mut kubelet = Process::start(kubelet_program.clone())?;
        ready(&mut kubelet, &control_plane).await?;

        let node = Self {
            kubelet: Some(kubelet),
            _proxy: proxy,
            _scheduler: scheduler,
            _containerd: containerd,
            namespaces,
            control_plane,
            folder,
            kubelet_program,
        };
        let image = Image::new("test.local/coredns:1")
            .file("/coredns", programs.path("coredns"))
            .entrypoint(&["/coredns"]);
        node.import(&image).await?;
        let manifest = include_str!("coredns.yaml").replace("@ADDRESS@", &dns(network).to_string());
        node.control_plane.apply(&manifest).await?;
        let rollout = [
            "rollout",
            "status",
            "-n",
            "kube-system",
            "deployment/coredns",
            "--timeout=120s",
        ];
        node.control_plane.kubectl(&rollout).await?;
        Ok(node)
    }

    /// Its control plane.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The folder of the node's own logs, `NAME.log` each.
    pub fn logs(&self) -> &Path {
        self.folder.path()
    }

    /// Brings an image to the node. Pods name it and say `imagePullPolicy: Never`.
    ///
    /// # Errors
    /// When one of its files cannot be read, or containerd does not take it.
    pub async fn import(&self, image: &Image) -> Result<(), Error> {
        import(&self.folder, self.namespaces.id(), image).await
    }

    /// The process whose namespaces the node is in, for [`import_tar`] and `nsenter`.
    pub fn namespaces(&self) -> u32 {
        self.namespaces.id()
    }

    /// Kills the kubelet, as when a machine is cut off: its Pods run on, but nobody hears of them.
    pub fn stop_kubelet(&mut self) {
        self.kubelet = None;
    }

    /// Starts the kubelet if it does not run, and waits until the node is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_kubelet(&mut self) -> Result<(), Error> {
        if self.kubelet.is_none() {
            let kubelet = self
                .kubelet
                .insert(Process::start(self.kubelet_program.clone())?);
            ready(kubelet, &self.control_plane).await?;
        }
        Ok(())
    }
}

/// The address of the Service that resolves names.
fn dns(network: Network) -> Ipv4Addr {
    network.services().address(10)
}

/// Brings an image to a node: a tar in Docker's or OCI's layout that names it. `namespaces` is what
/// [`Node::namespaces`] said.
///
/// # Errors
/// When containerd does not take it.
pub async fn import_tar(namespaces: u32, tar: &Path) -> Result<(), Error> {
    let tar = tar.display().to_string();
    let import = ["ctr", "-n", "k8s.io", "images", "import", &tar];
    nsenter(Namespaces(namespaces), &import).await.map(drop)
}

/// Runs a command inside the node.
async fn nsenter(namespaces: Namespaces, command: &[&str]) -> Result<String, Error> {
    let arguments = namespaces.arguments();
    let arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .chain(command.iter().copied())
        .collect();
    run("nsenter", &arguments).await
}

async fn import(folder: &Folder, namespaces: u32, image: &Image) -> Result<(), Error> {
    let tar = folder.path().join("image.tar");
    image.write(&tar).map_err(|source| Error::Image {
        image: image.name().to_owned(),
        source,
    })?;
    import_tar(namespaces, &tar).await
}

async fn ready(kubelet: &mut Process, control_plane: &ControlPlane) -> Result<(), Error> {
    let nodes: Api<NodeObject> = Api::all(control_plane.client().await?);
    let takes_pods = async || {
        let conditions = nodes
            .get(NAME)
            .await
            .ok()
            .and_then(|node| node.status?.conditions);
        conditions.is_some_and(|all| {
            all.iter()
                .any(|one| one.type_ == "Ready" && one.status == "True")
        })
    };
    kubelet.ready(DEADLINE, takes_pods).await
}
