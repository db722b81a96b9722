//! etcd, tuned for a quick start: it does not sync to disk, for nothing here outlives a crash.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use crate::Error;
use crate::folder::Folder;
use crate::pki::Authority;
use crate::ports::free_port;
use crate::process::{Process, Program};
use crate::programs::Programs;

const DEADLINE: Duration = Duration::from_secs(60);
/// How often a port may be lost to somebody else.
const ATTEMPTS: u32 = 5;

/// What a client of etcd has to know.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Starts it. Only the API server gets a certificate that it accepts: who could write to etcd would be
/// above every role.
pub(crate) async fn start(
    programs: &Programs,
    folder: &Folder,
) -> Result<(Process, Endpoint), Error> {
    let authority = Authority::new("etcd")?;
    let server = authority.server("etcd", &[Ipv4Addr::LOCALHOST.into()], &[])?;
    let client = authority.client("kube-apiserver", None)?;
    let trusted = folder.write("etcd/ca.crt", &authority.credentials().certificate)?;
    let certificate = folder.write("etcd/server.crt", &server.certificate)?;
    let key = folder.write("etcd/server.key", &server.key)?;
    let endpoint = |port| -> Result<Endpoint, Error> {
        Ok(Endpoint {
            url: format!("https://127.0.0.1:{port}"),
            authority: trusted.clone(),
            certificate: folder.write("etcd/client.crt", &client.certificate)?,
            key: folder.write("etcd/client.key", &client.key)?,
        })
    };

    let mut attempt = 1;
    loop {
        let port = free_port(Ipv4Addr::LOCALHOST.into())?;
        let endpoint = endpoint(port)?;
        // Its one member has no peers, but it insists on an address for them: a socket in its own folder.
        let peer = "unix://peer:0";
        let arguments = [
            "--name=test".to_owned(),
            format!("--data-dir=data-{port}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
            "--heartbeat-interval=50".to_owned(), // milliseconds; the first election takes ten of them
            "--election-timeout=500".to_owned(),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=test={peer}"),
            format!("--listen-client-urls={}", endpoint.url),
            format!("--advertise-client-urls={}", endpoint.url),
            "--client-cert-auth".to_owned(),
            format!("--trusted-ca-file={}", trusted.display()),
            format!("--cert-file={}", certificate.display()),
            format!("--key-file={}", key.display()),
        ];
        let mut process = Process::start(Program {
            name: "etcd",
            path: programs.path("etcd"),
            arguments: arguments.map(Into::into).into(),
            folder: folder.path().join("etcd"),
            log: folder.path().join("etcd.log"),
            inside: None,
        })?;
        let connects = || async move {
            tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .is_ok()
        };
        match process.ready(DEADLINE, connects).await {
            Ok(()) => return Ok((process, endpoint)),
            Err(_) if attempt < ATTEMPTS && process.lost_its_port() => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}
