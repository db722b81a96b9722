//! What the chart allows: its accounts, roles and admission policies, without what runs.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::{ControlPlane, Error};

/// Kinds of the chart that say who may do what.
const KINDS: [&str; 7] = [
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

impl ControlPlane {
    /// Applies the accounts, roles and admission policies of `deploy/chart`, as `helm install` with its
    /// ordinary values would, for a release in a namespace that exists. Then
    /// [`Self::kubeconfig_for_service_account`] gives exactly what the operator's or a host's Pod has.
    ///
    /// # Errors
    /// When Helm does not render the chart, or the API server refuses what it makes.
    pub async fn apply_permissions_of_chart(&self, namespace: &str) -> Result<(), Error> {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/chart");
        let output = Command::new(self.programs().path("helm"))
            .args(["template", "ringfence", "--namespace", namespace])
            .arg(chart)
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(|source| Error::Spawn {
                program: "helm",
                source,
            })?;
        if !output.status.success() {
            return Err(Error::Command {
                program: "helm",
                arguments: "template".to_owned(),
                status: output.status,
                stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        let rendered = String::from_utf8_lossy(&output.stdout);
        let permissions: Vec<&str> = rendered
            .split("\n---\n")
            .filter(|one| is_kept(one))
            .collect();
        self.apply(&permissions.join("\n---\n")).await.map(drop)
    }
}

/// Whether a rendered object says who may do what, for as long as the release is there: hooks come and go.
fn is_kept(object: &str) -> bool {
    let kind = object.lines().find_map(|line| line.strip_prefix("kind: "));
    kind.is_some_and(|kind| KINDS.contains(&kind.trim())) && !object.contains("helm.sh/hook")
}
