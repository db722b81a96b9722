//! `kubectl`, as a person would use it.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::{ControlPlane, Error};

impl ControlPlane {
    /// Runs `kubectl` as the administrator and returns what it wrote.
    ///
    /// # Errors
    /// When it cannot be run or ends with an error, which then holds what it said.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.kubectl_as(self.kubeconfig(), arguments, "").await
    }

    /// Applies YAML as the administrator and returns what `kubectl` wrote.
    ///
    /// # Errors
    /// As [`Self::kubectl`].
    pub async fn apply(&self, yaml: &str) -> Result<String, Error> {
        self.kubectl_as(
            self.kubeconfig(),
            &["apply", "--server-side", "-f", "-"],
            yaml,
        )
        .await
    }

    /// Runs `kubectl` with a kubeconfig and standard input, and returns what it wrote.
    ///
    /// # Errors
    /// As [`Self::kubectl`].
    pub async fn kubectl_as(
        &self,
        kubeconfig: &Path,
        arguments: &[&str],
        input: &str,
    ) -> Result<String, Error> {
        let failed = |source| Error::Spawn {
            program: "kubectl",
            source,
        };
        let mut child = Command::new(self.programs().path("kubectl"))
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .env("KUBECACHEDIR", self.folder().path().join("kubectl"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // It may end without having read everything; its status says why.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await.map_err(failed)?;
        if !output.status.success() {
            return Err(Error::Command {
                program: "kubectl",
                arguments: arguments.join(" "),
                status: output.status,
                stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
