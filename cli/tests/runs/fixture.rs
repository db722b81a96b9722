//! A control plane with an operator, and hosts that have the guests' components.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use ringfence_api::{Run, RunPhase};
use ringfence_operator::metrics::Metrics;
use ringfence_operator::run::{Settings, run};
use ringfence_test_cluster::ControlPlane;
use ringfence_test_guests::{AGENT_SLOW, ECHO, TALLY};
use serde_json::{Value, json};
use tokio::sync::oneshot;

const BINARY: &str = env!("CARGO_BIN_EXE_ringfence");
pub(crate) const SYSTEM: &str = "ringfence-system";
/// Longest that anything may take: a host compiles the built-in chat agent when it starts first.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Digests of the components that every host has, by name, and the data directory that has them.
struct Template {
    folder: tempfile::TempDir,
    digests: BTreeMap<&'static str, String>,
}

/// Uploads the components once, to a host of this machine; every other host starts from a copy.
fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut digests = BTreeMap::new();
        {
            let host = Host::spawn("serve", &[], None, folder.path());
            for (name, component) in [("echo", ECHO), ("tally", TALLY), ("slow", AGENT_SLOW)] {
                let url = format!("{}/api/v1/tenants/default/artifacts", host.url);
                // A thread of its own: this is called from within a runtime.
                let upload = move || {
                    let client = reqwest::blocking_upload(&url, component);
                    client["digest"].as_str().unwrap().to_owned()
                };
                digests.insert(name, std::thread::spawn(upload).join().unwrap());
            }
        }
        Template { folder, digests }
    })
}

/// Uploads with a runtime of its own.
mod reqwest {
    pub(super) fn blocking_upload(url: &str, component: &'static [u8]) -> serde_json::Value {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let client = ::reqwest::Client::new();
            let request = client
                .post(url)
                .header("content-type", "application/wasm")
                .body(component);
            let answer = request.send().await.unwrap();
            assert!(answer.status().is_success(), "{}", answer.status());
            answer.json().await.unwrap()
        })
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A host process. It is killed when this is dropped.
pub(crate) struct Host {
    process: Child,
    pub(crate) url: String,
}

impl Host {
    fn spawn(command: &str, arguments: &[&str], kubeconfig: Option<&Path>, data: &Path) -> Self {
        let mut process = Command::new(BINARY);
        process
            .args([command, "--listen", "127.0.0.1:0", "--sandboxes", "32"])
            .args(arguments)
            .arg("--data-dir")
            .arg(data)
            .stdout(Stdio::piped());
        if let Some(kubeconfig) = kubeconfig {
            process.env("KUBECONFIG", kubeconfig);
        }
        let mut process = process.spawn().unwrap();
        let mut line = String::new();
        let stdout = process.stdout.take().unwrap();
        let mut stdout = BufReader::new(stdout);
        while !line.contains("http://") {
            line.clear();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "it did not start");
        }
        // Later output has nowhere to go, but must not stop it.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let at = line.find("http://").unwrap();
        Self {
            process,
            url: line[at..].trim().trim_end_matches('/').to_owned(),
        }
    }

    /// A host of the cluster with this data directory.
    pub(crate) fn join(world: &World, name: &str, data: &Path) -> Self {
        let marks = format!("marks={}", world.marks.path().display());
        let arguments = ["--name", name, "--allow-folder", &marks];
        Self::spawn("host", &arguments, Some(world.cluster.kubeconfig()), data)
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn end(mut self) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success());
        let ended = async {
            while self.process.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An operator in a thread of its own.
pub(crate) struct Operator {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    pub(crate) metrics: Metrics,
}

impl Operator {
    fn start(client: Client, identity: &str) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let metrics = Metrics::default();
        let of_thread = metrics.clone();
        let settings = Settings {
            namespace: SYSTEM.to_owned(),
            identity: identity.to_owned(),
            hosts: None,
            custom_metrics: None,
            certificates: ringfence_operator::certificates::Settings::default(),
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let stop = async { drop(stopped.await) };
            // Deposed is how an operator that was cut off ends.
            let _ = runtime.block_on(run(client, settings, of_thread, stop));
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
            metrics,
        }
    }

    /// Ends it and waits until it has.
    pub(crate) fn stop(mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A cluster of one's own.
pub(crate) struct World {
    pub(crate) cluster: ControlPlane,
    pub(crate) marks: tempfile::TempDir,
    pub(crate) runs: Api<Run>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let cluster = ControlPlane::start().await.unwrap();
        cluster
            .apply(&ringfence_operator::crds::yaml().unwrap())
            .await
            .unwrap();
        let established = [
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            "--timeout=30s",
        ];
        cluster.kubectl(&established).await.unwrap();
        cluster
            .kubectl(&["create", "namespace", SYSTEM])
            .await
            .unwrap();
        let client = cluster.client().await.unwrap();
        Self {
            runs: Api::namespaced(client, "default"),
            cluster,
            marks: tempfile::tempdir().unwrap(),
        }
    }

    /// An operator with connections of its own.
    pub(crate) async fn operator(&self, identity: &str) -> Operator {
        Operator::start(self.cluster.client().await.unwrap(), identity)
    }

    /// A data directory that has the components.
    pub(crate) fn data() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        copy(template().folder.path(), data.path());
        data
    }

    /// Applies a tool or agent that runs one of the components, and waits until it is ready.
    pub(crate) async fn component(&self, kind: &str, name: &str, more: &Value) {
        self.component_in("default", kind, name, more).await;
    }

    pub(crate) async fn component_in(&self, namespace: &str, kind: &str, name: &str, more: &Value) {
        let mut object = json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"component": {"digest": template().digests[name]}},
        });
        for (key, value) in more.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        self.cluster.apply(&object.to_string()).await.unwrap();
        self.ready(namespace, &format!("{}/{name}", kind.to_lowercase()))
            .await;
    }

    pub(crate) async fn ready(&self, namespace: &str, what: &str) {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let wait = [
            "wait",
            "--for=condition=Ready",
            what,
            "-n",
            namespace,
            &timeout,
        ];
        if let Err(error) = self.cluster.kubectl(&wait).await {
            let all = ["get", "ringfence", "-A", "-o", "yaml"];
            let all = self.cluster.kubectl(&all).await;
            panic!("{error}\n{}", all.unwrap_or_default());
        }
    }

    /// Makes a run.
    pub(crate) async fn run(&self, name: &str, spec: &Value) {
        let run: Run = serde_json::from_value(json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": "Run",
            "metadata": {"name": name}, "spec": spec,
        }))
        .unwrap();
        self.runs
            .create(&PostParams::default(), &run)
            .await
            .unwrap();
    }

    pub(crate) async fn get(&self, name: &str) -> Option<Run> {
        self.runs.get_opt(name).await.unwrap()
    }

    pub(crate) async fn cancel(&self, name: &str) {
        let patch = Patch::Merge(json!({"spec": {"cancel": true}}));
        let params = PatchParams::default();
        self.runs.patch(name, &params, &patch).await.unwrap();
    }

    /// Waits for a run to be over.
    pub(crate) async fn over(&self, name: &str) -> Run {
        self.until(name, |run| status(run).phase.is_final()).await
    }

    /// Waits until something holds of a run.
    pub(crate) async fn until(&self, name: &str, holds: impl Fn(&Run) -> bool) -> Run {
        let mut last = None;
        let wait = async {
            loop {
                if let Some(run) = self.get(name).await {
                    if holds(&run) {
                        return run;
                    }
                    last = Some(run);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(run) => run,
            Err(_) => panic!("{name} never came to this: {last:?}"),
        }
    }

    /// Waits until all runs are over.
    pub(crate) async fn all_over(&self, count: usize) -> Vec<Run> {
        let wait = async {
            loop {
                let all = self.runs.list(&ListParams::default()).await.unwrap().items;
                if all.len() == count && all.iter().all(|run| status(run).phase.is_final()) {
                    return all;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }

    /// How often each mark was left in the folder.
    pub(crate) fn marked(&self) -> BTreeMap<String, usize> {
        let mut marks = BTreeMap::new();
        for entry in std::fs::read_dir(self.marks.path()).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let (name, _) = file.rsplit_once('.').unwrap();
            *marks.entry(name.to_owned()).or_default() += 1;
        }
        marks
    }

    /// Waits until a mark was left.
    pub(crate) async fn mark(&self, name: &str) {
        let wait = async {
            while !self.marked().contains_key(name) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }
}

/// What the tool `tally` is granted.
pub(crate) fn tally_spec(replicas: u32) -> Value {
    json!({
        "replicas": replicas,
        "grants": {"folders": [{"name": "marks", "mount": "/data", "access": "readWrite"}]},
    })
}

/// A run that leaves its name in the folder and then waits.
pub(crate) fn marks(name: &str, ms: u64) -> Value {
    let arguments = json!({"folder": "/data", "name": name, "ms": ms});
    json!({"tool": {"name": "tally", "function": "mark", "arguments": arguments}})
}

pub(crate) fn status(run: &Run) -> ringfence_api::RunStatus {
    run.status.clone().unwrap_or_default()
}

pub(crate) fn code(run: &Run) -> String {
    status(run)
        .error
        .map(|error| error.code)
        .unwrap_or_default()
}

pub(crate) fn ended_as(run: &Run, phase: RunPhase, expected: &str) {
    let status = status(run);
    assert_eq!(
        (status.phase, code(run).as_str()),
        (phase, expected),
        "{}: {status:?}",
        run.name_any()
    );
    let finished = status
        .conditions
        .iter()
        .find(|c| c.type_ == "Finished")
        .unwrap();
    assert_eq!(finished.observed_generation, run.metadata.generation);
    assert!(status.finished_at.is_some());
}
