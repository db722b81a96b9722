//! The chart's roles, tried with service accounts that have them.

use std::path::{Path, PathBuf};

use crate::fixture::{Cluster, eventually};

const TENANT: &str = "team-a";

const TOOL: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {name: made}
spec: {agent: some, description: Passes on.}
";

const CEILING: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Ceiling
metadata: {name: low}
spec: {allow: {output: true}}
";

const WIDER: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Ceiling
metadata: {name: low}
spec: {allow: {output: true, models: ['*'], tools: ['*']}}
";

const INSTANCE: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Instance
metadata:
  name: forged
  labels: {ringfence.dev/kind: tool, ringfence.dev/name: made}
spec:
  workload: {tool: {agent: some}}
  generation: 1
  placement: {pool: default, trustClass: default, isolation: shared, priority: 0}
  requests: {memoryBytes: 1, cpuMillis: 1, instances: 1}
  pinned: {}
";

const OWN_ROLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: own}
rules: [{apiGroups: [ringfence.dev], resources: [ceilings, instances], verbs: ['*']}]
";

const OWN_CLUSTER_ROLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: own
  labels: {ringfence.dev/aggregate-to-tenant-admin: 'true'}
rules: [{apiGroups: [ringfence.dev], resources: [ceilings], verbs: ['*']}]
";

async fn account(cluster: &Cluster, role: &str) -> PathBuf {
    let name = format!("has-{role}");
    cluster
        .kubectl(&["create", "serviceaccount", &name, "-n", TENANT])
        .await;
    let binding = format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {name}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}
subjects: [{{kind: ServiceAccount, name: {name}, namespace: {TENANT}}}]
"
    );
    cluster.apply(TENANT, &binding).await;
    let plane = &cluster.control_plane;
    plane
        .kubeconfig_for_service_account(TENANT, &name)
        .await
        .unwrap()
}

async fn tries(
    cluster: &Cluster,
    who: &Path,
    arguments: &[&str],
    input: &str,
) -> Result<(), String> {
    let plane = &cluster.control_plane;
    let done = plane.kubectl_as(who, arguments, input).await;
    done.map(drop).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_allow_what_they_are_named_for_and_nobody_raises_a_ceiling() {
    const APPLY: [&str; 6] = ["apply", "--server-side", "-n", TENANT, "-f", "-"];
    const LIST: [&str; 4] = ["get", "agents,tools,models,instances", "-n", TENANT];
    let cluster = Cluster::start().await;
    cluster.namespace(TENANT, CEILING).await;
    for (role, lists, writes) in [
        ("ringfence-viewer", true, false),
        ("ringfence-caller", false, false),
        ("ringfence-auditor", true, false),
        ("ringfence-author", true, true),
        ("ringfence-tenant-admin", true, true),
        ("view", true, false),
        ("edit", true, true),
        ("admin", true, true),
    ] {
        let who = account(&cluster, role).await;
        // The controller manager gathers the rules, which takes a moment.
        let gathered = async || {
            let listed = tries(&cluster, &who, &LIST, "").await.is_ok();
            (listed == lists).then_some(())
        };
        eventually(role, gathered).await;
        let applied =
            async || (tries(&cluster, &who, &APPLY, TOOL).await.is_ok() == writes).then_some(());
        eventually(role, applied).await;
        // Nobody of them gets over what bounds the tenant.
        for forbidden in [WIDER, INSTANCE, OWN_ROLE, OWN_CLUSTER_ROLE] {
            let tried = tries(&cluster, &who, &APPLY, forbidden).await;
            let why = tried.expect_err(role);
            assert!(why.contains("forbidden"), "{role}: {why}");
        }
        let delete = ["delete", "ceiling/low"];
        let why = tries(&cluster, &who, &delete, "").await.expect_err(role);
        assert!(why.contains("forbidden"), "{role}: {why}");
    }
    let may = |who: &'static str, verb: &'static str, what: &'static str| {
        let account = format!("--as=system:serviceaccount:{TENANT}:has-{who}");
        let cluster = &cluster;
        async move {
            let ask = ["auth", "can-i", verb, what, "-n", TENANT, &account];
            // It ends with an error where the answer is no.
            cluster.control_plane.kubectl(&ask).await.is_ok()
        }
    };
    for user in ["ringfence-caller", "ringfence-author", "edit", "admin"] {
        assert!(may(user, "run", "agents.ringfence.dev").await, "{user}");
        assert!(may(user, "call", "tools.ringfence.dev").await, "{user}");
    }
    for other in ["ringfence-viewer", "ringfence-auditor", "view"] {
        assert!(!may(other, "run", "agents.ringfence.dev").await, "{other}");
        assert!(!may(other, "call", "models.ringfence.dev").await, "{other}");
    }
}
