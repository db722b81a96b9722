//! What is known of the cluster that runs in the background.

use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;
use ringfence_test_cluster::{ControlPlane, Node};
use serde::{Deserialize, Serialize};

/// The folder in which `up` and `down` find each other.
pub(crate) struct State(pub(crate) PathBuf);

/// The cluster that runs.
#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    /// The process that holds the cluster, and everything ends with.
    pub(crate) process: i32,
    /// When it was started, in clock ticks since the machine was: another process may get its id later.
    started: u64,
    /// The folders of the logs.
    pub(crate) logs: Vec<String>,
    /// The folder of `kubectl`, `helm` and the others.
    pub(crate) programs: PathBuf,
    /// The process whose namespaces the node is in, if there is one.
    pub(crate) namespaces: Option<u32>,
}

impl State {
    /// The kubeconfig of an administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// The cluster that runs, if one does.
    pub(crate) fn running(&self) -> Option<Record> {
        let text = fs::read_to_string(self.0.join("cluster.json")).ok()?;
        let record: Record = serde_json::from_str(&text).ok()?;
        record.is_alive().then_some(record)
    }

    /// Records that this process holds a cluster that is ready.
    pub(crate) fn record(&self, cluster: &ControlPlane, node: Option<&Node>) -> anyhow::Result<()> {
        let process = i32::try_from(std::process::id())?;
        let record = Record {
            process,
            started: started(process).context("/proc does not show this process")?,
            logs: [Some(cluster.logs()), node.map(Node::logs)]
                .into_iter()
                .flatten()
                .map(|folder| folder.display().to_string())
                .collect(),
            programs: cluster.programs_folder().to_owned(),
            namespaces: node.map(Node::namespaces),
        };
        let path = self.0.join("cluster.json");
        fs::create_dir_all(&self.0)
            .and_then(|()| fs::copy(cluster.kubeconfig(), self.kubeconfig()))
            .and_then(|_| fs::write(&path, serde_json::to_string(&record)?))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Forgets it.
    pub(crate) fn forget(&self) -> anyhow::Result<()> {
        fs::remove_dir_all(&self.0).with_context(|| format!("cannot remove {}", self.0.display()))
    }
}

impl Record {
    /// Whether the process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        started(self.process) == Some(self.started)
    }
}

/// When a process was started: field 22 of its `stat`, see proc_pid_stat(5). The second field may hold
/// spaces, and ends with the last parenthesis.
fn started(process: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (state != "Z").then_some(started)
}
