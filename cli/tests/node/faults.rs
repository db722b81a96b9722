//! What can happen to a machine that a host runs on.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ringfence_test_cluster::ControlPlane;

use super::{DESK, Host, PATIENCE, SYSTEM, host_of, operate, operated, ready};

fn signal(host: &Host, signal: &str) {
    let pid = host.process.id().to_string();
    let kill = Command::new("kill").args([signal, &pid]).status();
    assert!(kill.unwrap().success());
}

/// Waits until the agent runs on a host, is ready there, and answers.
async fn answers(cluster: &ControlPlane, host: &Host, name: &str) {
    let wait = async {
        loop {
            if host_of(cluster, "scribe").await == name
                && let Ok(answer) = host.ask("scribe", "milk").await
            {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, wait).await.unwrap();
    assert_eq!(answer, "noted: milk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_outlive_hosts_that_hang_or_die() {
    let (cluster, operator) = operated().await;
    let first = Host::start(&cluster, "first");
    cluster.apply(DESK).await.unwrap();
    ready(&cluster, "agent/scribe").await;
    answers(&cluster, &first, "first").await;
    let mut second = Host::start(&cluster, "second");
    // One hangs: all goes to the other. It comes back, and is taken for what it is.
    signal(&first, "-STOP");
    answers(&cluster, &second, "second").await;
    signal(&first, "-CONT");
    let back = [
        "wait",
        "--for=condition=Ready",
        "host/first",
        "-n",
        SYSTEM,
        "--timeout=60s",
    ];
    cluster.kubectl(&back).await.unwrap();
    // The other one dies without a word.
    second.process.kill().unwrap();
    second.process.wait().unwrap();
    answers(&cluster, &first, "first").await;
    operator.abort();
}

/// Waits until the host of the scribe's instance is said to be lost.
async fn is_lost(cluster: &ControlPlane) {
    let label = "ringfence.dev/kind=agent,ringfence.dev/name=scribe";
    let path = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].reason}";
    let get = ["get", "instances", "-l", label, "-o", path];
    let lost = async {
        while !cluster
            .kubectl(&get)
            .await
            .is_ok_and(|reason| reason == "HostLost")
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, lost).await.unwrap();
}

const LATE: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: late}
spec: {instructions: Take notes., model: {name: scribe-model}}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_away_alone_has_everything_again() {
    let (cluster, operator) = operated().await;
    let host = Host::start(&cluster, "first");
    cluster.apply(DESK).await.unwrap();
    for what in ["agent/scribe", "agent/writer", "tool/scribe"] {
        ready(&cluster, what).await;
    }
    // Nobody else can take what it runs: it is where it was, and not to be called.
    signal(&host, "-STOP");
    is_lost(&cluster).await;
    // Meanwhile one agent goes and one comes, and the API server forgets it: the host's watches cannot go on
    // where they were (410).
    cluster.kubectl(&["delete", "agent/writer"]).await.unwrap();
    let writers = "ringfence.dev/kind=agent,ringfence.dev/name=writer";
    let gone = [
        "wait",
        "--for=delete",
        "instance",
        "-l",
        writers,
        "--timeout=60s",
    ];
    cluster.kubectl(&gone).await.unwrap();
    cluster.apply(LATE).await.unwrap();
    operator.abort();
    cluster.restart_api_server().await.unwrap();
    let operator = operate(&cluster).await;
    signal(&host, "-CONT");
    // It says anew what it has, takes what came, and lets go of what went.
    for what in ["agent/scribe", "tool/scribe", "agent/late"] {
        ready(&cluster, what).await;
    }
    assert_eq!(host.ask("scribe", "milk").await.unwrap(), "noted: milk");
    assert_eq!(host.ask("late", "milk").await.unwrap(), "noted: milk");
    // It asks first whether what is not bound to it any more only moves.
    let let_go = async {
        while host.ask("writer", "milk").await != Err(404) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), let_go)
        .await
        .unwrap();
    let log = host.log();
    let expired = log.lines().any(|line| {
        line.contains("the watch of instances broke") && line.contains("too old resource version")
    });
    assert!(expired, "{log}");
    operator.abort();
}

/// A small file system of its own, gone when it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    const BYTES: usize = 48 << 20;

    /// None where this process may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={}", Self::BYTES);
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "none"])
            .arg(folder.path())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all room that is left; gives it back when the file is removed.
    fn fill(&self) -> std::path::PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        let block = vec![0_u8; 64 << 10];
        let mut written = 0;
        while file.write_all(&block).is_ok() {
            written += block.len();
            assert!(written <= Self::BYTES, "it never became full");
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that was killed may not be gone entirely.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_disk_is_full_lives_and_recovers() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: mounting is not allowed here (it takes CAP_SYS_ADMIN)");
        return;
    };
    let (cluster, operator) = operated().await;
    let host = Host::start_in(&cluster, "first", disk.path());
    cluster.apply(DESK).await.unwrap();
    ready(&cluster, "agent/scribe").await;
    answers(&cluster, &host, "first").await;
    let filler = disk.fill();
    // It may refuse what it cannot keep, but it answers, and is not lost.
    for _ in 0..20 {
        let asked = tokio::time::timeout(Duration::from_secs(10), host.ask("scribe", "milk"));
        if let Err(status) = asked.await.unwrap() {
            assert!((500..600).contains(&status), "{status}");
        }
    }
    // A Lease lasts for four renewals, so that by then it would have run out.
    for _ in 0..5 {
        renewed(&cluster, "first").await;
    }
    let said = ["get", "host/first", "-n", SYSTEM, "-o", READY];
    assert_eq!(cluster.kubectl(&said).await.unwrap(), "True");
    assert_eq!(
        reqwest::get(format!("{}/healthz", host.url))
            .await
            .unwrap()
            .status(),
        200
    );
    std::fs::remove_file(filler).unwrap();
    answers(&cluster, &host, "first").await;
    operator.abort();
    drop(host);
}

/// Waits until a host renews its Lease.
async fn renewed(cluster: &ControlPlane, host: &str) {
    let get = [
        "get",
        "lease",
        host,
        "-n",
        SYSTEM,
        "-o",
        "jsonpath={.spec.renewTime}",
    ];
    let before = cluster.kubectl(&get).await.unwrap();
    let other = async {
        while cluster.kubectl(&get).await.unwrap() == before {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, other).await.unwrap();
}

const READY: &str = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
