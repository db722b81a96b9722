//! A control plane with the definitions installed and an operator at work.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use parking_lot::Mutex;
use ringfence_operator::certificates;
use ringfence_operator::connection::Connection;
use ringfence_operator::metrics::Metrics;
use ringfence_operator::pool::HostSettings;
use ringfence_operator::run::{Settings, run};
use ringfence_test_cluster::{ControlPlane, shared};
use serde_json::Value;
use tokio::sync::{OnceCell, oneshot};

use crate::interrupt::Cut;

/// How long the cluster may take for what it does by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The namespace of Leases.
pub(crate) const SYSTEM: &str = "ringfence-system";

/// An operator in a thread and with a runtime of its own: it outlives the test that started it.
pub(crate) struct Running {
    stop: Option<oneshot::Sender<()>>,
    kill: Option<oneshot::Sender<()>>,
    /// What it sends it can send for as long as this is there.
    keep: Option<oneshot::Sender<()>>,
    ended: Arc<Mutex<Option<String>>>,
    thread: Option<std::thread::JoinHandle<()>>,
    pub(crate) metrics: Metrics,
}

impl Running {
    pub(crate) fn start(cluster: &ControlPlane, identity: &str) -> Self {
        Self::start_with(cluster, identity, certificates::Settings::default())
    }

    pub(crate) fn start_with(
        cluster: &ControlPlane,
        identity: &str,
        certificates: certificates::Settings,
    ) -> Self {
        let settings = settings(identity, certificates);
        Self::start_as(cluster.kubeconfig().to_owned(), settings)
    }

    /// One whose connection to the API server can be cut.
    pub(crate) fn start_behind(cluster: &ControlPlane, identity: &str, cut: Arc<Cut>) -> Self {
        let connect = |config| cut.client(config).into();
        Self::launch_on(cluster, identity, connect)
    }

    /// One whose connections can be cut one by one: that for its work, and that for its Lease.
    pub(crate) fn start_behind_both(
        cluster: &ControlPlane,
        identity: &str,
        work: Arc<Cut>,
        lease: Arc<Cut>,
    ) -> Self {
        Self::launch_on(cluster, identity, |config: Config| Connection {
            work: work.client(config.clone()),
            lease: lease.client(config),
        })
    }

    fn launch_on(
        cluster: &ControlPlane,
        identity: &str,
        connect: impl FnOnce(Config) -> Connection + Send + 'static,
    ) -> Self {
        let settings = settings(identity, certificates::Settings::default());
        Self::launch(cluster.kubeconfig().to_owned(), settings, connect)
    }

    /// With the identity of a kubeconfig.
    pub(crate) fn start_as(kubeconfig: PathBuf, settings: Settings) -> Self {
        let connect = |config| Connection::new(config).unwrap();
        Self::launch(kubeconfig, settings, connect)
    }

    fn launch(
        kubeconfig: PathBuf,
        settings: Settings,
        connect: impl FnOnce(Config) -> Connection + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (kill, killed) = oneshot::channel::<()>();
        let (keep, kept) = oneshot::channel::<()>();
        let metrics = Metrics::default();
        let ended: Arc<Mutex<Option<String>>> = Arc::default();
        let (of_thread, why) = (metrics.clone(), ended.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let connection = connect(config(kubeconfig).await);
                let stop = async { drop(stopped.await) };
                let running = run(connection, settings, of_thread, stop);
                tokio::select! {
                    done = running => {
                        let told = done.err().map(|error| error.to_string());
                        *why.lock() = Some(told.unwrap_or_default());
                        drop(kept.await);
                    }
                    Ok(()) = killed => {}
                }
            });
            runtime.shutdown_background();
        });
        Self {
            stop: Some(stop),
            kill: Some(kill),
            keep: Some(keep),
            ended,
            thread: Some(thread),
            metrics,
        }
    }

    /// Ends it and waits until it has.
    pub(crate) fn stop(mut self) {
        drop((self.stop.take(), self.keep.take()));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Ends it at once, as a process that is killed: it says goodbye to nobody.
    pub(crate) fn kill(mut self) {
        if let Some(kill) = self.kill.take() {
            let _ = kill.send(());
        }
        drop(self.keep.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Waits until it leads.
    pub(crate) async fn leads(&self) {
        eventually("it leads", async || self.is_leading().then_some(())).await;
    }

    /// Whether it leads.
    pub(crate) fn is_leading(&self) -> bool {
        let metrics = self.metrics.render();
        // What the metric means is told in almost the same words.
        metrics
            .lines()
            .any(|line| line == "ringfence_operator_leading 1")
    }

    /// Waits until it has ended by itself, as one does that has lost its Lease; tells why.
    pub(crate) async fn gives_up(&self) -> String {
        eventually("it gives up", async || self.ended.lock().clone()).await
    }

    /// Writes that it has made so far.
    pub(crate) fn writes(&self) -> u64 {
        self.metrics
            .render()
            .lines()
            .filter(|line| line.starts_with("ringfence_operator_writes_total"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}

fn settings(identity: &str, certificates: certificates::Settings) -> Settings {
    Settings {
        namespace: SYSTEM.to_owned(),
        identity: identity.to_owned(),
        hosts: None,
        custom_metrics: None,
        certificates,
    }
}

/// What hosts of pools are run with; no image of that name is needed, since nothing runs Pods here.
pub(crate) fn host_settings() -> HostSettings {
    HostSettings {
        image: "test.local/ringfence:1".to_owned(),
        pull_policy: "Never".to_owned(),
    }
}

async fn config(kubeconfig: PathBuf) -> Config {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.unwrap()
}

/// Installs the definitions and makes the system namespace.
pub(crate) async fn install(cluster: &ControlPlane) {
    cluster
        .apply(&ringfence_operator::crds::yaml().unwrap())
        .await
        .unwrap();
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=30s",
    ];
    cluster.kubectl(&wait).await.unwrap();
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SYSTEM}}}\n");
    cluster.apply(&namespace).await.unwrap();
}

/// The control plane that most tests share, with one operator.
pub(crate) async fn cluster() -> &'static ControlPlane {
    static OPERATOR: OnceCell<Running> = OnceCell::const_new();
    let cluster = shared().await;
    OPERATOR
        .get_or_init(async || {
            install(cluster).await;
            Running::start(cluster, "operator-0")
        })
        .await;
    cluster
}

/// A control plane of one's own, for faults. It lasts as long as the process.
pub(crate) async fn own_cluster() -> &'static ControlPlane {
    let cluster = Box::leak(Box::new(ControlPlane::start().await.unwrap()));
    install(cluster).await;
    cluster
}

/// Waits until something holds.
pub(crate) async fn eventually<T>(what: &str, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = holds().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(value) => value,
        Err(_) => panic!("it never came to this: {what}"),
    }
}

/// An object as JSON; none where there is none.
pub(crate) async fn get(cluster: &ControlPlane, what: &str, namespace: &str) -> Option<Value> {
    let json = cluster
        .kubectl(&["get", what, "-n", namespace, "-o", "json"])
        .await
        .ok()?;
    serde_json::from_str(&json).ok()
}

/// The condition of a type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    static NONE: Value = Value::Null;
    let conditions = object["status"]["conditions"].as_array();
    conditions
        .and_then(|all| all.iter().find(|condition| condition["type"] == kind))
        .unwrap_or(&NONE)
}
