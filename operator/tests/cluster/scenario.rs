//! Something of everything that makes the operator write: a model, an agent, a tool whose component a host has to
//! find out about first.

use ringfence_test_cluster::ControlPlane;

/// What differs between the tests that need all of it.
pub(crate) struct Scenario {
    /// Who is behind the model.
    pub(crate) provider: &'static str,
    /// What the agent is told, and what it is granted.
    pub(crate) agent: &'static str,
    /// What the tool is granted.
    pub(crate) tool: &'static str,
}

impl Scenario {
    /// Applies all of it in a namespace.
    pub(crate) async fn apply(&self, cluster: &ControlPlane, namespace: &str) {
        let Self {
            provider,
            agent,
            tool,
        } = self;
        let manifests = format!(
            "
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {{name: small}}
spec: {{provider: {{{provider}}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: writer}}
spec: {{{agent}, model: {{name: small}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {{name: search}}
spec:
  component: {{image: 'registry.example.com/search:1'}}
  grants: {{{tool}}}
"
        );
        apply(cluster, namespace, &manifests).await;
    }
}

/// Applies manifests in a namespace.
pub(crate) async fn apply(cluster: &ControlPlane, namespace: &str, manifests: &str) {
    let arguments = ["apply", "--server-side", "-n", namespace, "-f", "-"];
    let applied = cluster.kubectl_as(cluster.kubeconfig(), &arguments, manifests);
    applied.await.unwrap();
}
