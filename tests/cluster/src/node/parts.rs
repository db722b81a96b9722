//! Starting the programs of a node.

use std::path::PathBuf;

use super::{DEADLINE, NAME, configuration, nsenter, place};
use crate::folder::Folder;
use crate::identity::{self, Proof};
use crate::network::Network;
use crate::process::{Namespaces, Process, Program};
use crate::programs::Programs;
use crate::{ControlPlane, Error};

/// Starts the parts of a node.
pub(super) struct Starter<'a> {
    pub(super) programs: &'a Programs,
    pub(super) folder: &'a Folder,
    pub(super) inside: Namespaces,
    pub(super) network: Network,
    pub(super) control_plane: &'a ControlPlane,
}

impl Starter<'_> {
    pub(super) async fn containerd(&self) -> Result<Process, Error> {
        let cni = configuration::cni(self.network).to_string();
        let cni = self.folder.write("cni/pods.conflist", &cni)?;
        let cni = cni.parent().unwrap_or(self.folder.path());
        let configuration = configuration::containerd(cni);
        let configuration = self.folder.write("containerd.toml", &configuration)?;
        let arguments = vec![format!("--config={}", configuration.display())];
        let mut process =
            Process::start(self.inside("containerd", "/usr/bin/containerd".into(), arguments))?;
        let answers = async || nsenter(self.inside, &["ctr", "version"]).await.is_ok();
        process.ready(DEADLINE, answers).await?;
        Ok(process)
    }

    /// The scheduler runs beside the API server, not in the node.
    pub(super) fn scheduler(&self) -> Result<Process, Error> {
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

    pub(super) fn proxy(&self) -> Result<Process, Error> {
        let kubeconfig = self.kubeconfig("system:kube-proxy", None)?;
        let configuration = configuration::kube_proxy(self.network, &kubeconfig).to_string();
        let configuration = self.folder.write("kube-proxy.json", &configuration)?;
        let arguments = vec![
            format!("--config={}", configuration.display()),
            format!("--hostname-override={NAME}"),
        ];
        Process::start(self.inside("kube-proxy", self.programs.path("kube-proxy"), arguments))
    }

    pub(super) fn kubelet(&self) -> Result<Program, Error> {
        let authority = self.control_plane.authority();
        let server = authority.server(NAME, &[self.network.node().into()], &[NAME])?;
        let file = |name: &str, contents: &str| self.folder.write(&format!("pki/{name}"), contents);
        file("ca.crt", &authority.credentials().certificate)?;
        file("kubelet-server.crt", &server.certificate)?;
        file("kubelet-server.key", &server.key)?;
        file("resolv.conf", "")?; // names outside the cluster are not resolved
        let configuration = configuration::kubelet(
            self.network,
            &place::control_group(self.folder),
            &self.folder.path().join("pki"),
        );
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
