//! Why a cluster could not do what was asked.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a cluster could not be started or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A binary was not built, or for another version.
    #[error("{program} is not in {}: run tests/cluster/setup {target}", folder.display())]
    NotBuilt {
        /// The binary.
        program: &'static str,
        /// Where it is looked for.
        folder: PathBuf,
        /// What `tests/cluster/setup` has to be asked for.
        target: &'static str,
    },
    /// There is no folder for the binaries.
    #[error("neither RINGFENCE_CACHE nor HOME is set: set one, so that the binaries can be found")]
    NoCache,
    /// A file or folder of the cluster could not be made.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A process could not be started at all.
    #[error("cannot run {program}")]
    Spawn {
        /// The program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A signal could not be sent.
    #[error("cannot signal {program}")]
    Signal {
        /// The program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A process ended while it was waited for.
    #[error("{program} ended with {status}; its log ends with:\n{log}")]
    Ended {
        /// The program.
        program: &'static str,
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// A process did not become ready in time.
    #[error("{program} was not ready after {seconds} s; its log ends with:\n{log}")]
    NotReady {
        /// The program.
        program: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// No port is free.
    #[error("no port is free below those that the kernel gives to clients")]
    NoPort,
    /// A certificate could not be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A kubeconfig could not be read back.
    #[error("cannot read the kubeconfig that was just written")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The API server refused a request, or was not there.
    #[error("the API server did not do what it was asked for")]
    Api(#[from] kube::Error),
    /// A command failed.
    #[error("{program} {arguments} ended with {status}: {stderr}")]
    Command {
        /// The command.
        program: &'static str,
        /// Its arguments.
        arguments: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// A program of Debian is not installed.
    #[error("{program} is missing: run scripts/setup")]
    NoProgram {
        /// Which.
        program: &'static str,
    },
    /// Something that a node needs is not installed.
    #[error("{missing} is missing: run tests/cluster/setup node")]
    NotInstalled {
        /// What.
        missing: &'static str,
    },
    /// A node was asked for by somebody who may not make one.
    #[error("a node needs namespaces, mounts and control groups: run this as root")]
    NeedsRoot,
    /// An image could not be written.
    #[error("cannot make the image {image}")]
    Image {
        /// Which.
        image: String,
        /// Why.
        source: io::Error,
    },
}
