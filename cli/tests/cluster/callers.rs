//! Calling hosts that know their callers by tokens of the cluster.

use crate::fixture::{Cli, Host, own_cluster};

const EXAMPLE: &str = include_str!("../../../deploy/examples/desk.yaml");

/// Who may run agents, and see what was run.
const ROLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reporter}
rules:
  - {apiGroups: [ringfence.dev], resources: [agents], verbs: [run]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reporter}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reporter}
subjects: [{kind: ServiceAccount, name: reporter}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reporter}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: nobody}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_made_for_a_service_account_whose_roles_count() {
    let cluster = own_cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let apply = ["apply", "-n", &namespace, "-f", "-"];
    let admin = cluster.kubeconfig();
    cluster.kubectl_as(admin, &apply, ROLE).await.unwrap();
    let _host = Host::of(cluster, "known", &["--authenticate", "kubernetes"]);
    let cli = |arguments: &[&str]| Cli::to_cluster(admin, &namespace).with(arguments);
    let nameless = cli(&[]);
    let desk = nameless.file("desk.yaml", EXAMPLE);
    nameless.ok(&["apply", "-f", &desk]);
    for (kind, name) in [("agent", "scribe"), ("agent", "writer"), ("tool", "scribe")] {
        nameless.ready(kind, name);
    }
    // The client certificate of the administrator is nothing that a host sees.
    let (code, said) = nameless.err(&["run", "writer", "hello"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("--service-account NAME"), "{said}");

    let reporter = cli(&["--service-account", "reporter"]);
    let nobody = cli(&["--service-account", "nobody"]);
    let answer = reporter.ok(&["run", "writer", "hello"]);
    assert_eq!(answer, "the scribe says: noted: buy milk\n");
    let runs = reporter.ok(&["get", "runs"]);
    assert!(runs.contains(":reporter"), "its own run: {runs}");
    let (code, said) = nobody.err(&["run", "writer", "hello"]);
    assert_eq!(code, 3, "{said}");
    let runs = nobody.ok(&["get", "runs"]);
    assert!(!runs.contains("writer"), "it sees its own only: {runs}");
    let (code, said) = reporter.err(&["call", "scribe", "ask", "--arg", "message=5"]);
    assert_eq!(code, 3, "it may run agents, not call tools: {said}");
    let (code, said) = reporter.err(&["logs", "agent/writer"]);
    assert_eq!(code, 3, "nor read what others wrote: {said}");
    let (code, said) = cli(&["--service-account", "absent"]).err(&["run", "writer", "hello"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("service account"), "{said}");
}
