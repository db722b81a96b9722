//! A control plane with the definitions installed and an operator at work.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use ringfence_operator::certificates;
use ringfence_operator::metrics::Metrics;
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
        let settings = settings(identity, certificates::Settings::default());
        Self::launch(cluster.kubeconfig().to_owned(), settings, cut)
    }

    /// With the identity of a kubeconfig.
    pub(crate) fn start_as(kubeconfig: PathBuf, settings: Settings) -> Self {
        Self::launch(kubeconfig, settings, Cut::never())
    }

    fn launch(kubeconfig: PathBuf, settings: Settings, cut: Arc<Cut>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (kill, killed) = oneshot::channel::<()>();
        let metrics = Metrics::default();
        let of_thread = metrics.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let client = cut.client(config(kubeconfig).await);
                let stop = async { drop(stopped.await) };
                // Deposed is how an operator that was cut off ends.
                let running = run(client, settings, of_thread, stop);
                tokio::select! {
                    _ = running => {}
                    Ok(()) = killed => {}
                }
            });
            runtime.shutdown_background();
        });
        Self {
            stop: Some(stop),
            kill: Some(kill),
            thread: Some(thread),
            metrics,
        }
    }

    /// Ends it and waits until it has.
    pub(crate) fn stop(mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Ends it at once, as a process that is killed: it says goodbye to nobody.
    pub(crate) fn kill(mut self) {
        if let Some(kill) = self.kill.take() {
            let _ = kill.send(());
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Waits until it leads.
    pub(crate) async fn leads(&self) {
        eventually("it leads", async || {
            self.metrics.render().contains("leading 1").then_some(())
        })
        .await;
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
        certificates,
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
