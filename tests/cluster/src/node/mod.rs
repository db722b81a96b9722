//! A whole node: containerd, kubelet and kube-proxy in namespaces of their own, beside a control plane with
//! a scheduler. It runs real Pods; images are brought with [`Node::import`].

mod configuration;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;

use crate::folder::Folder;
use crate::identity::{self, Proof};
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
        let programs = Programs::of_node()?;
        if let Some(missing) = INSTALLED.iter().find(|path| !Path::new(path).exists()) {
            return Err(Error::NotInstalled { missing });
        }
        if !rustix::process::geteuid().is_root() {
            return Err(Error::NeedsRoot);
        }
        let folder = Folder::new()?;
        let namespaces = namespaces(&folder).await?;
        let network = Network::attach(namespaces.id()).await?;
        control_groups(&folder, network)?;
        let control_plane = ControlPlane::start_with(Settings {
            address: network.host().into(),
            services: network.services(),
            ..Settings::default()
        })
        .await?;

        let starter = Starter {
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

/// Makes the namespaces. Of `unshare` itself only its children are in the new process namespace; of the
/// others, it is too.
async fn namespaces(folder: &Folder) -> Result<Process, Error> {
    let script = folder.write("start.sh", include_str!("start.sh"))?;
    let ready = folder.path().join("namespaces-are-ready");
    let arguments = [
        "--mount",
        "--pid",
        "--net",
        "--ipc",
        "--uts",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
    ];
    let mut arguments: Vec<_> = arguments.iter().map(Into::into).collect();
    arguments.extend([script.into(), folder.path().into()]);
    let mut process = Process::start(Program {
        name: "unshare",
        path: "/usr/bin/unshare".into(),
        arguments,
        folder: folder.path().to_owned(),
        log: folder.path().join("namespaces.log"),
        inside: None,
    })?;
    process.ready(DEADLINE, async || ready.exists()).await?;
    Ok(process)
}

/// Makes the control groups of the node's Pods, one in each hierarchy, and sees to their removal.
fn control_groups(folder: &Folder, network: Network) -> Result<(), Error> {
    let root = Path::new("/sys/fs/cgroup");
    let name = network.device();
    let unified = root.join("cgroup.procs").exists();
    let hierarchies = fs::read_dir(root).into_iter().flatten().flatten();
    let groups: Vec<PathBuf> = if unified {
        vec![root.join(name)]
    } else {
        hierarchies
            .map(|hierarchy| hierarchy.path())
            .filter(|hierarchy| hierarchy.join("cgroup.procs").exists())
            .map(|hierarchy| hierarchy.join(&name))
            .collect()
    };
    let list: Vec<_> = groups
        .iter()
        .map(|group| group.display().to_string())
        .collect();
    // They can be removed when the last process in them is gone, a moment after it was killed.
    let remove = format!(
        "for i in $(seq 50); do\n\
         find {0} -depth -type d -exec rmdir {{}} + 2>/dev/null && exit\n\
         ls -d {0} >/dev/null 2>&1 || exit\n\
         sleep 0.1\n\
         done\n",
        list.join(" ")
    );
    folder.write("at-end.sh", &remove)?;
    for path in groups {
        fs::create_dir_all(&path).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}

async fn import(folder: &Folder, namespaces: u32, image: &Image) -> Result<(), Error> {
    let tar = folder.path().join("image.tar");
    image.write(&tar).map_err(|source| Error::Image {
        image: image.name().to_owned(),
        source,
    })?;
    let path = tar.display().to_string();
    let mut arguments = Namespaces(namespaces).arguments();
    arguments.extend(["ctr", "-n", "k8s.io", "images", "import", &path].map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run("nsenter", &arguments).await?;
    let _ = fs::remove_file(tar); // the next one overwrites it
    Ok(())
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

/// Starts the parts of a node.
struct Starter<'a> {
    programs: &'a Programs,
    folder: &'a Folder,
    inside: Namespaces,
    network: Network,
    control_plane: &'a ControlPlane,
}

impl Starter<'_> {
    async fn containerd(&self) -> Result<Process, Error> {
        let cni = configuration::cni(self.network).to_string();
        let cni = self.folder.write("cni/pods.conflist", &cni)?;
        let cni = cni.parent().unwrap_or(self.folder.path());
        let configuration = configuration::containerd(cni);
        let configuration = self.folder.write("containerd.toml", &configuration)?;
        let arguments = vec![format!("--config={}", configuration.display())];
        let mut process =
            Process::start(self.inside("containerd", "/usr/bin/containerd".into(), arguments))?;
        let [mut version, id] = [
            self.inside.arguments(),
            vec!["ctr".to_owned(), "version".to_owned()],
        ];
        version.extend(id);
        let version: Vec<&str> = version.iter().map(String::as_str).collect();
        process
            .ready(DEADLINE, async || run("nsenter", &version).await.is_ok())
            .await?;
        Ok(process)
    }

    /// The scheduler runs beside the API server, not in the node.
    fn scheduler(&self) -> Result<Process, Error> {
        let kubeconfig = self.kubeconfig("system:kube-scheduler", None)?;
        let arguments = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        let program = self.inside(
            "kube-scheduler",
            self.programs.path("kube-scheduler"),
            arguments,
        );
        Process::start(Program {
            inside: None,
            ..program
        })
    }

    fn proxy(&self) -> Result<Process, Error> {
        let kubeconfig = self.kubeconfig("system:kube-proxy", None)?;
        let configuration = configuration::kube_proxy(self.network, &kubeconfig).to_string();
        let configuration = self.folder.write("kube-proxy.json", &configuration)?;
        let arguments = vec![
            format!("--config={}", configuration.display()),
            format!("--hostname-override={NAME}"),
        ];
        Process::start(self.inside("kube-proxy", self.programs.path("kube-proxy"), arguments))
    }

    fn kubelet(&self) -> Result<Program, Error> {
        let authority = self.control_plane.authority();
        let server = authority.server(NAME, &[self.network.node().into()], &[NAME])?;
        let file = |name: &str, contents: &str| self.folder.write(&format!("pki/{name}"), contents);
        file("ca.crt", &authority.credentials().certificate)?;
        file("kubelet-server.crt", &server.certificate)?;
        file("kubelet-server.key", &server.key)?;
        file("resolv.conf", "")?; // names outside the cluster are not resolved
        let configuration = configuration::kubelet(self.network, &self.folder.path().join("pki"));
        let configuration = self
            .folder
            .write("kubelet.json", &configuration.to_string())?;
        let kubeconfig = self.kubeconfig(&format!("system:node:{NAME}"), Some("system:nodes"))?;
        let arguments = vec![
            format!("--config={}", configuration.display()),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--hostname-override={NAME}"),
            format!("--node-ip={}", self.network.node()),
        ];
        Ok(self.inside("kubelet", self.programs.path("kubelet"), arguments))
    }

    fn kubeconfig(&self, user: &str, group: Option<&str>) -> Result<PathBuf, Error> {
        let authority = self.control_plane.authority();
        let proof = Proof::Certificate(authority.client(user, group)?);
        let trusted = authority.credentials().certificate;
        let contents = identity::kubeconfig(&self.control_plane.url(), &trusted, user, &proof);
        let name = user.replace(':', "-");
        self.folder.write(&format!("kubeconfigs/{name}"), &contents)
    }

    fn inside(&self, name: &'static str, path: PathBuf, arguments: Vec<String>) -> Program {
        Program {
            name,
            path,
            arguments: arguments.into_iter().map(Into::into).collect(),
            folder: self.folder.path().to_owned(),
            log: self.folder.path().join(format!("{name}.log")),
            inside: Some(self.inside),
        }
    }
}
