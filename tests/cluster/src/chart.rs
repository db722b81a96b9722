//! Helm, and what the chart allows: its accounts, roles, admission policies and flow schemas, without what runs.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::{ControlPlane, Error};

/// Kinds of the chart that say who may do what, and whose requests come first.
const KINDS: [&str; 8] = [
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "FlowSchema",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

/// The folder of the chart.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/chart")
}

impl ControlPlane {
    /// Runs `helm` as the administrator and returns what it wrote.
    ///
    /// # Errors
    /// When it cannot be run or ends with an error, which then holds what it said.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String, Error> {
        let output = Command::new(self.programs().path("helm"))
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HELM_CACHE_HOME", self.folder().path().join("helm"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| Error::Spawn {
                program: "helm",
                source,
            })?;
        if !output.status.success() {
            return Err(Error::Command {
                program: "helm",
                arguments: arguments.join(" "),
                status: output.status,
                stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Applies the accounts, roles, admission policies and flow schemas of `deploy/chart`, as `helm install` with its
    /// ordinary values would, for a release in a namespace that exists. Then
    /// [`Self::kubeconfig_for_service_account`] gives exactly what the operator's or a host's Pod has.
    ///
    /// # Errors
    /// When Helm does not render the chart, or the API server refuses what it makes.
    pub async fn apply_permissions_of_chart(&self, namespace: &str) -> Result<(), Error> {
        self.apply_permissions_of_chart_with(namespace, &[]).await
    }

    /// The same, with other values: `--set=NAME=VALUE`.
    ///
    /// # Errors
    /// As [`Self::apply_permissions_of_chart`].
    pub async fn apply_permissions_of_chart_with(
        &self,
        namespace: &str,
        values: &[&str],
    ) -> Result<(), Error> {
        let chart = chart().display().to_string();
        let template = ["template", "ringfence", "--namespace", namespace, &chart];
        let template = [&template, values].concat();
        let rendered = self.helm(&template).await?;
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
