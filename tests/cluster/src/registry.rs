//! Debian's `docker-registry`: a real registry for images, with TLS and a login where a test wants them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;
use crate::folder::Folder;
use crate::pki::Authority;
use crate::ports::free_port;
use crate::process::{Process, Program};

const PROGRAM: &str = "docker-registry";
const DEADLINE: Duration = Duration::from_secs(30);
/// How often a port may be lost to somebody else.
const ATTEMPTS: u32 = 5;
/// The login below, as `htpasswd -B` writes it.
const USERS: &str = "puller:$2b$05$QwRhP3sG5pvWM/Rq8Eu2XO8tG0cgSgXEthmO674ak0vy712mz6a2i\n";

/// How a registry is reached.
#[derive(Debug, Clone, Copy, Default)]
pub struct Access {
    /// Over TLS, with a certificate of an authority that nobody knows.
    pub tls: bool,
    /// Only with [`Registry::USER`] and [`Registry::PASSWORD`].
    pub login: bool,
    /// The address of this machine that it has; the loopback where absent.
    pub address: Option<IpAddr>,
}

/// A registry on a free port of this machine. It ends when this is dropped.
pub struct Registry {
    name: String,
    authority: Option<PathBuf>,
    process: Process,
    _folder: Folder,
}

impl Registry {
    /// The only user.
    pub const USER: &str = "puller";
    /// What the user has to know. It occurs nowhere else, so that tests can look for it.
    pub const PASSWORD: &str = "correct-horse-battery";

    /// Both, as Docker writes them into `auth`.
    pub const AUTH: &str = "cHVsbGVyOmNvcnJlY3QtaG9yc2UtYmF0dGVyeQ==";

    /// Starts it.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub async fn start(access: Access) -> Result<Self, Error> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&path)
            .map(|folder| folder.join(PROGRAM))
            .find(|file| file.is_file())
            .ok_or(Error::NoProgram { program: PROGRAM })?;
        let folder = Folder::new()?;
        let address = access.address.unwrap_or(Ipv4Addr::LOCALHOST.into());
        let mut http = String::new();
        let mut authority = None;
        if access.tls {
            let signer = Authority::new("registry")?;
            let server = signer.server("registry", &[address], &["localhost"])?;
            let certificate = folder.write("server.crt", &server.certificate)?;
            let key = folder.write("server.key", &server.key)?;
            http = format!(
                ", tls: {{certificate: {}, key: {}}}",
                certificate.display(),
                key.display()
            );
            authority = Some(folder.write("ca.crt", &signer.credentials().certificate)?);
        }
        let mut further = String::new();
        if access.login {
            let users = folder.write("users", USERS)?;
            further = format!(
                "auth: {{htpasswd: {{realm: r, path: {}}}}}\n",
                users.display()
            );
        }
        let mut attempt = 1;
        loop {
            let name = SocketAddr::new(address, free_port(address)?).to_string();
            let config = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
                 http: {{addr: '{name}'{http}}}\n{further}",
                folder.path().join("data").display()
            );
            let config = folder.write("config.yml", &config)?;
            let mut process = Process::start(Program {
                name: PROGRAM,
                path: path.clone(),
                arguments: vec!["serve".into(), config.into()],
                folder: folder.path().to_owned(),
                log: folder.path().join("log"),
                inside: None,
            })?;
            match process.ready(DEADLINE, async || listens(&name).await).await {
                Ok(()) => {
                    return Ok(Self {
                        name,
                        authority,
                        process,
                        _folder: folder,
                    });
                }
                Err(_) if attempt < ATTEMPTS && process.lost_its_port() => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends it. It keeps what was pushed.
    ///
    /// # Errors
    /// The process cannot be ended.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.process.kill().map(drop)
    }

    /// Starts it again, at the same address and with what it had.
    ///
    /// # Errors
    /// It does not start.
    pub async fn restart(&mut self) -> Result<(), Error> {
        self.process.restart()?;
        let name = &self.name;
        self.process
            .ready(DEADLINE, async || listens(name).await)
            .await
    }

    /// Its name in references to images, `ADDRESS:PORT`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A reference to an image of it.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// The PEM file with the authority of its certificate, where it has one.
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }
}

async fn listens(address: &str) -> bool {
    tokio::net::TcpStream::connect(address).await.is_ok()
}
