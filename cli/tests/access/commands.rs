//! What `docs/operations.md` says that a command takes of a person: the real command, with accounts that have the
//! chart's roles and nothing else.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::{BINARY, Cluster, SYSTEM, eventually};

const TENANT: &str = "team-a";
const GATEWAY: &str = "ringfence-gateway";

const DESK: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: echo}
spec: {provider: {scripted: {turns: [{text: 'noted: {{user.text}}'}]}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: desk}
spec: {instructions: Take notes., model: {name: echo}}
";

/// An account with one of the chart's roles in the tenant.
struct Person {
    name: String,
    kubeconfig: PathBuf,
    token: String,
    folder: tempfile::TempDir,
}

fn binding(name: &str, kind: &str, role: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {role}-{name}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {role}}}
subjects: [{{kind: ServiceAccount, name: {name}, namespace: {TENANT}}}]
"
    )
}

impl Person {
    async fn with(cluster: &Cluster, role: &str) -> Self {
        let name = format!("has-{role}");
        let token = cluster.account(TENANT, &name, "ringfence").await;
        let bound = binding(&name, "ClusterRole", role);
        cluster.apply(TENANT, &bound).await;
        let plane = &cluster.control_plane;
        let kubeconfig = plane.kubeconfig_for_service_account(TENANT, &name).await;
        Self {
            name,
            kubeconfig: kubeconfig.unwrap(),
            token,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Lets them reach hosts.
    async fn reaches_hosts(&self, cluster: &Cluster) {
        let bound = binding(&self.name, "Role", GATEWAY);
        cluster.apply(SYSTEM, &bound).await;
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(BINARY)
            .args(["--cluster", "-n", TENANT, "--api-key", &self.token])
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("RINGFENCE_DATA_DIR", self.folder.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        match output.status.success() {
            true => Ok(text(output.stdout)),
            false => Err(text(output.stderr)),
        }
    }

    /// What a command says once the roles, which the controller manager gathers, are in force.
    async fn can(&self, arguments: &[&str]) -> String {
        let what = format!("{} can {arguments:?}", self.name);
        eventually(&what, async || self.run(arguments).ok()).await
    }

    fn cannot(&self, arguments: &[&str]) -> String {
        match self.run(arguments) {
            Ok(said) => panic!("{} can {arguments:?}: {said}", self.name),
            Err(why) => why,
        }
    }

    fn file(&self, text: &str) -> String {
        let path: &Path = &self.folder.path().join("applied.yaml");
        std::fs::write(path, text).unwrap();
        path.to_string_lossy().into_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_works_with_the_role_that_is_said_to_suffice() {
    let cluster = Cluster::start().await;
    cluster.namespace(TENANT, DESK).await;
    let _host = cluster
        .host("host", &["--authenticate", "kubernetes"])
        .await;
    cluster.ready(TENANT, "agent/desk").await;
    let viewer = Person::with(&cluster, "ringfence-viewer").await;
    let caller = Person::with(&cluster, "ringfence-caller").await;
    let author = Person::with(&cluster, "ringfence-author").await;

    // Writing takes no host.
    let changed = author.file(&DESK.replace("Take notes.", "Note down."));
    let restart = ["rollout", "restart", "agent/desk"];
    author
        .can(&["apply", "--force-conflicts", "-f", &changed])
        .await;
    let status = ["rollout", "status", "agent/desk", "--timeout", "60"];
    author.can(&status).await;
    author.can(&["rollout", "undo", "agent/desk"]).await;
    author.can(&status).await;
    author.can(&restart).await;

    // Looking takes none, either.
    for look in [
        &["get", "all"][..],
        &["describe", "agent", "desk"],
        &["grants", "desk"],
        &status,
    ] {
        viewer.can(look).await;
    }
    let history = viewer.can(&["rollout", "history", "agent/desk"]).await;
    assert!(history.lines().count() > 2, "{history}");
    viewer.cannot(&restart);
    viewer.cannot(&["apply", "--force-conflicts", "-f", &changed]);
    caller.cannot(&["get", "all"]);

    // Using takes a way to a host.
    let run = ["run", "desk", "hello"];
    let runs = ["get", "runs"];
    for person in [&caller, &viewer] {
        let why = person.cannot(&run);
        assert!(why.contains("hosts"), "{why}");
        person.reaches_hosts(&cluster).await;
    }
    assert_eq!(caller.can(&run).await, "noted: hello\n");
    assert!(caller.can(&runs).await.contains("desk"));
    let why = viewer.cannot(&run);
    assert!(why.contains("permission") || why.contains("run"), "{why}");
    let seen = async || viewer.run(&runs).ok().filter(|runs| runs.contains("desk"));
    eventually("who may look sees the runs of others", seen).await;

    // Hosts that are Pods are reached through the API server; nothing else of their namespace is.
    let user = format!("--as=system:serviceaccount:{TENANT}:{}", caller.name);
    let may = async |verb: &str, what: &str, namespace: &str| {
        let (resource, part) = what.split_once('/').unwrap_or((what, ""));
        let part = format!("--subresource={part}");
        let ask = [
            "auth", "can-i", verb, resource, &part, "-n", namespace, &user,
        ];
        // It ends with an error where the answer is no.
        cluster.control_plane.kubectl(&ask).await.is_ok()
    };
    for verb in ["get", "create", "delete"] {
        assert!(may(verb, "pods/proxy", SYSTEM).await, "{verb}");
        assert!(!may(verb, "pods/proxy", TENANT).await, "{verb}");
        assert!(!may(verb, "pods/exec", SYSTEM).await, "{verb}");
        assert!(!may(verb, "secrets", SYSTEM).await, "{verb}");
        assert!(!may(verb, "pods", SYSTEM).await, "{verb}");
    }
}
