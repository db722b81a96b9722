//! A node with the image of this build.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringfence_test_cluster::{ControlPlane, Node, Settings, chart, import_tar};

const BINARY: &str = env!("CARGO_BIN_EXE_ringfence");
/// The namespace of the release.
pub(crate) const SYSTEM: &str = "ringfence-system";
/// Longest that anything may take.
const PATIENCE: &str = "--timeout=120s";
/// The image of the release, and of the one before.
pub(crate) const IMAGE: &str = "test.local/ringfence";

/// A node that has the image under two tags, `before` and `now`.
pub(crate) struct Installed {
    node: Node,
    folder: tempfile::TempDir,
}

impl Installed {
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let installed = Self {
            node: Node::start_with(settings).await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
        };
        let before = installed.import(&format!("{IMAGE}:before")).await;
        let now = installed.import(&format!("{IMAGE}:now")).await;
        assert_eq!(before, now, "the same input makes the same image");
        // As `make image` names it.
        installed
            .import(concat!("localhost/ringfence:", env!("CARGO_PKG_VERSION")))
            .await;
        installed
    }

    /// Makes the image, brings it to the node, and returns its digest.
    async fn import(&self, name: &str) -> String {
        let tar = self.folder.path().join("image.tar");
        let digest = image(name, &tar);
        let namespaces = self.node.namespaces();
        import_tar(namespaces, &tar).await.unwrap();
        digest
    }

    pub(crate) fn cluster(&self) -> &ControlPlane {
        self.node.control_plane()
    }

    /// The chart as the version before this one may have been: another version, and a kind that did not have a
    /// column yet.
    pub(crate) fn chart_before(&self) -> PathBuf {
        let copy = self.folder.path().join("chart");
        let copied = Command::new("cp")
            .args(["--recursive", "--dereference"])
            .args([chart(), copy.clone()])
            .status();
        assert!(copied.unwrap().success());
        let edit = |file: &str, from: &str, to: &str| {
            let path = copy.join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{file} has no {from}");
            std::fs::write(path, text.replace(from, to)).unwrap();
        };
        edit("Chart.yaml", "\nversion: 0.1.0", "\nversion: 0.0.9");
        edit("crds/hostpools.yaml", "name: Deployed", "name: Earlier");
        copy
    }

    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster().kubectl(arguments).await.unwrap()
    }

    /// Runs Helm with the values of these tests.
    pub(crate) async fn helm(&self, verb: &[&str], chart: &Path, tag: &str) -> String {
        let chart = chart.display().to_string();
        let tag = format!("image.tag={tag}");
        let repository = format!("image.repository={IMAGE}");
        let values = [
            "--namespace",
            SYSTEM,
            "--set",
            &repository,
            "--set-string",
            &tag,
            "--set",
            "image.pullPolicy=Never",
            // A small node.
            "--set",
            "defaultPool.spec.hosts.resources.cpuMillis=100",
            "--set",
            "defaultPool.spec.hosts.resources.memoryBytes=1073741824",
        ];
        let arguments = [verb, &["ringfence", &chart], &values[..]].concat();
        match self.cluster().helm(&arguments).await {
            Ok(said) => said,
            Err(error) => panic!("{error}\n{}", self.state().await),
        }
    }

    /// The path of a kubeconfig that says nothing.
    pub(crate) fn no_kubeconfig(&self) -> PathBuf {
        let path = self.folder.path().join("no-kubeconfig");
        std::fs::write(&path, "").unwrap();
        path
    }

    /// Waits for a condition.
    pub(crate) async fn wait(&self, condition: &str, what: &str, namespace: &str) {
        let wait = ["wait", condition, what, "-n", namespace, PATIENCE];
        if let Err(error) = self.cluster().kubectl(&wait).await {
            panic!("{error}\n{}", self.state().await);
        }
    }

    /// What there is to see when something went wrong.
    pub(crate) async fn state(&self) -> String {
        let mut text = String::new();
        for arguments in [
            &[
                "get",
                "pods,hostpools,hosts,jobs",
                "-n",
                SYSTEM,
                "-o",
                "wide",
            ][..],
            &["get", "events", "-n", SYSTEM],
            &["get", "instances,agents", "-A", "-o", "yaml"],
            &["describe", "hpa", "-n", SYSTEM],
            &[
                "logs",
                "-n",
                SYSTEM,
                "-l",
                "app.kubernetes.io/name=ringfence",
                "--prefix",
                "--tail=20",
            ],
        ] {
            text += &self.cluster().kubectl(arguments).await.unwrap_or_default();
        }
        text
    }

    /// A token for callers, of a service account.
    pub(crate) async fn token(&self, namespace: &str, account: &str) -> String {
        let create = [
            "create",
            "token",
            account,
            "-n",
            namespace,
            "--audience=ringfence",
        ];
        self.kubectl(&create).await.trim().to_owned()
    }

    /// Where clients reach the default pool.
    pub(crate) async fn url(&self) -> String {
        let path = "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}";
        let get = ["get", "service/ringfence-default", "-n", SYSTEM, "-o", path];
        format!("http://{}", self.kubectl(&get).await)
    }

    /// Looks until something holds.
    pub(crate) async fn eventually(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..900 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it never came to this: {what}\n{}", self.state().await);
    }
}

/// The folder of the programs of this build.
pub(crate) fn programs() -> PathBuf {
    Path::new(BINARY).parent().unwrap().to_owned()
}

/// The folder of the project.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Makes the image and returns its digest.
fn image(name: &str, tar: &Path) -> String {
    let build = project().join("deploy/image/build");
    let made = Command::new(build)
        .args([&programs(), tar])
        .arg(name)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    String::from_utf8(made.stdout).unwrap()
}
