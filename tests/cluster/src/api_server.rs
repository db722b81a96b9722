//! The API server, with RBAC and the admission plug-ins of an ordinary cluster.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::etcd::Endpoint;
use crate::folder::Folder;
use crate::identity::{self, Proof};
use crate::pki::{Authority, token_keys};
use crate::ports::free_port;
use crate::process::{Process, Program};
use crate::programs::Programs;
use crate::{Error, Settings};

const DEADLINE: Duration = Duration::from_secs(120);
/// How often a port may be lost to somebody else.
const ATTEMPTS: u32 = 5;
/// The name that it shows to extensions of the API.
const FRONT_PROXY: &str = "front-proxy-client";
/// The names under which Pods know it.
const NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// Starts it and writes the kubeconfig of its administrator to `admin`.
pub(crate) async fn start(
    programs: &Programs,
    folder: &Folder,
    authority: &Authority,
    etcd: &Endpoint,
    settings: &Settings,
) -> Result<(Process, SocketAddr), Error> {
    let ip = settings.address;
    let kubernetes = settings.services.address(1); // what the Service of that name gets
    let server = authority.server("kube-apiserver", &[ip, kubernetes.into()], &NAMES)?;
    let to_kubelets = authority.client("kube-apiserver-kubelet-client", Some("system:masters"))?;
    let admin = authority.client("admin", Some("system:masters"))?;
    // What extensions of the API know it by: an authority that is for nothing else.
    let front = Authority::new("front-proxy")?;
    let to_extensions = front.client(FRONT_PROXY, None)?;
    let (signing, verifying) = token_keys()?;
    let ca = authority.credentials();

    let file = |name: &str, contents: &str| folder.write(&format!("pki/{name}"), contents);
    let authority_file = file("ca.crt", &ca.certificate)?;
    file("ca.key", &ca.key)?; // for the controller manager, which signs requests
    let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
    let files = [
        flag("etcd-cafile", &etcd.authority),
        flag("etcd-certfile", &etcd.certificate),
        flag("etcd-keyfile", &etcd.key),
        flag("client-ca-file", &authority_file),
        flag("tls-cert-file", &file("server.crt", &server.certificate)?),
        flag("tls-private-key-file", &file("server.key", &server.key)?),
        flag("kubelet-certificate-authority", &authority_file),
        flag(
            "kubelet-client-certificate",
            &file("kubelet.crt", &to_kubelets.certificate)?,
        ),
        flag(
            "kubelet-client-key",
            &file("kubelet.key", &to_kubelets.key)?,
        ),
        flag(
            "requestheader-client-ca-file",
            &file("front-proxy-ca.crt", &front.credentials().certificate)?,
        ),
        flag(
            "proxy-client-cert-file",
            &file("front-proxy.crt", &to_extensions.certificate)?,
        ),
        flag(
            "proxy-client-key-file",
            &file("front-proxy.key", &to_extensions.key)?,
        ),
        flag("service-account-key-file", &file("tokens.pub", &verifying)?),
        flag(
            "service-account-signing-key-file",
            &file("tokens.key", &signing)?,
        ),
    ];

    let mut attempt = 1;
    loop {
        let address = SocketAddr::new(ip, free_port(ip)?);
        let mut arguments = vec![
            format!("--etcd-servers={}", etcd.url),
            format!("--bind-address={ip}"),
            format!("--advertise-address={ip}"),
            format!("--secure-port={}", address.port()),
            format!("--service-cluster-ip-range={}", settings.services),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
            format!("--requestheader-allowed-names={FRONT_PROXY}"),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-uid-headers=X-Remote-Uid".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            "--allow-privileged".to_owned(),
            "--profiling=false".to_owned(),
        ];
        if ip.is_loopback() {
            // The Service `kubernetes` cannot lead Pods to a loopback address, and there are no Pods.
            arguments.push("--endpoint-reconciler-type=none".to_owned());
        }
        arguments.extend(files.iter().chain(&settings.api_server_arguments).cloned());
        let mut process = Process::start(Program {
            name: "kube-apiserver",
            path: programs.path("kube-apiserver"),
            arguments: arguments.into_iter().map(Into::into).collect(),
            folder: folder.path().to_owned(),
            log: folder.path().join("kube-apiserver.log"),
            inside: None,
        })?;

        let proof = Proof::Certificate(admin.clone());
        let kubeconfig = identity::kubeconfig(
            &format!("https://{address}"),
            &ca.certificate,
            "admin",
            &proof,
        );
        let path = folder.write("kubeconfig", &kubeconfig)?;
        match wait(&mut process, &path).await {
            Ok(()) => return Ok((process, address)),
            Err(_) if attempt < ATTEMPTS && process.lost_its_port() => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Waits until it serves. That includes the roles that it makes at its first start.
pub(crate) async fn wait(process: &mut Process, kubeconfig: &Path) -> Result<(), Error> {
    let client = identity::client(kubeconfig).await?;
    let serves = || async {
        match http::Request::get("/readyz").body(Vec::new()) {
            Ok(request) => client.request_text(request).await.is_ok(),
            Err(_) => false,
        }
    };
    process.ready(DEADLINE, serves).await
}
