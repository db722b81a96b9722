//! A cluster for a person to try: `up` leaves one running, `down` ends it.

#![forbid(unsafe_code)]

mod state;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand, ValueEnum};
use ringfence_test_cluster::{ControlPlane, Node, cache_folder, import_tar};
use rustix::process::{Pid, Signal, kill_process, setsid};
use tokio::signal::unix::{SignalKind, signal};

use crate::state::State;

const POLL: Duration = Duration::from_millis(100);
/// Time in which a cluster starts, and in which one ends.
const DEADLINE: Duration = Duration::from_secs(300);

/// Starts and ends a Kubernetes cluster on this machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Starts a cluster in the background
    Up { extent: Extent },
    /// Ends it
    Down,
    /// Brings an image to its node, from a tar in Docker's or OCI's layout
    Import { tar: PathBuf },
    /// Starts a cluster and ends it on SIGTERM or Ctrl-C
    Run {
        extent: Extent,
        /// Leave the session of the terminal
        #[arg(long, hide = true)]
        background: bool,
    },
}

/// How much of a cluster.
#[derive(Clone, Copy, ValueEnum)]
enum Extent {
    /// etcd, API server and controller manager
    ControlPlane,
    /// A node that runs Pods, too: needs root
    Node,
}

impl Extent {
    fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Node => "node",
        }
    }
}

fn main() -> ExitCode {
    match run_verb(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringfence-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_verb(verb: Verb) -> anyhow::Result<()> {
    let state = State(cache_folder()?.join("cluster"));
    match verb {
        Verb::Up { extent } => up(&state, extent),
        Verb::Down => down(&state),
        Verb::Import { tar } => import(&state, &tar),
        Verb::Run { extent, background } => {
            if background {
                setsid().context("cannot leave the session of the terminal")?;
            }
            runtime()?.block_on(run(&state, extent))
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

fn up(state: &State, extent: Extent) -> anyhow::Result<()> {
    if state.running().is_none() {
        fs::create_dir_all(&state.0)
            .with_context(|| format!("cannot make {}", state.0.display()))?;
        let path = state.0.join("log");
        let log =
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["run", extent.name(), "--background"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        println!("starting, about ten seconds");
        let end = Instant::now() + DEADLINE;
        while state.running().is_none() {
            if let Some(status) = child.try_wait()? {
                bail!(
                    "the cluster ended with {status}:\n{}",
                    fs::read_to_string(&path)?
                );
            }
            if Instant::now() > end {
                bail!(
                    "the cluster is not ready after {} s; see {}",
                    DEADLINE.as_secs(),
                    path.display()
                );
            }
            thread::sleep(POLL);
        }
    }
    let running = state.running().context("the cluster has just ended")?;
    println!(
        "a cluster is running; its logs are in {}\n\n  export KUBECONFIG={} PATH={}:$PATH\n  kubectl get all --all-namespaces\n\n'make cluster-down' ends it",
        running.logs.join(" and "),
        state.kubeconfig().display(),
        running.programs.display(),
    );
    Ok(())
}

fn down(state: &State) -> anyhow::Result<()> {
    let Some(running) = state.running() else {
        println!("no cluster is running");
        return Ok(());
    };
    let id = Pid::from_raw(running.process).context("the recorded process id is none")?;
    kill_process(id, Signal::TERM).context("cannot end the cluster")?;
    let end = Instant::now() + DEADLINE;
    while running.is_alive() {
        if Instant::now() > end {
            bail!("process {} does not end: kill it", running.process);
        }
        thread::sleep(POLL);
    }
    println!("the cluster has ended");
    Ok(())
}

fn import(state: &State, tar: &Path) -> anyhow::Result<()> {
    let running = state
        .running()
        .context("no cluster is running: run 'make cluster'")?;
    let namespaces = running
        .namespaces
        .context("the cluster has no node: run 'make cluster-down', then 'make cluster' as root")?;
    let tar = fs::canonicalize(tar).with_context(|| format!("cannot read {}", tar.display()))?;
    Ok(runtime()?.block_on(import_tar(namespaces, &tar))?)
}

async fn run(state: &State, extent: Extent) -> anyhow::Result<()> {
    if let Some(running) = state.running() {
        bail!(
            "a cluster is running already, with process {}: end it first",
            running.process
        );
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let cluster = match extent {
        Extent::ControlPlane => Cluster::ControlPlane(Box::new(ControlPlane::start().await?)),
        Extent::Node => Cluster::Node(Box::new(Node::start().await?)),
    };
    match &cluster {
        Cluster::ControlPlane(control_plane) => state.record(control_plane, None)?,
        Cluster::Node(node) => state.record(node.control_plane(), Some(node))?,
    }
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    drop(cluster);
    state.forget()
}

/// What is running: it ends when this is dropped.
enum Cluster {
    ControlPlane(Box<ControlPlane>),
    Node(Box<Node>),
}
