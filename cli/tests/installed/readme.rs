//! README's way from `helm install` to the first answer, as it is written there.

use std::process::Stdio;

use tokio::process::Command;

use crate::fixture::{Installed, SYSTEM, programs, project};

/// The commands under a heading: the first block that is marked as shell.
fn commands(heading: &str) -> String {
    let readme = std::fs::read_to_string(project().join("README.md")).unwrap();
    let (_, section) = readme.split_once(heading).unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block.to_owned()
}

/// Follows it, and removes everything again.
pub(crate) async fn follow(installed: &Installed) {
    // Where `make build` leaves the programs unless it is told otherwise.
    let commands = commands("## On a cluster\n");
    let here = programs().display().to_string();
    let commands = commands.replace("target/debug", &here);
    let cluster = installed.cluster();
    let path = std::env::var("PATH").unwrap();
    let done = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &commands])
        .current_dir(project())
        .env("KUBECONFIG", cluster.kubeconfig())
        .env(
            "PATH",
            format!("{}:{path}", cluster.programs_folder().display()),
        )
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let complained = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success() && said.contains("the scribe says: noted: buy milk"),
        "{said}\n{complained}\n{}",
        installed.state().await
    );
    let examples = project().join("deploy/examples").display().to_string();
    installed.kubectl(&["delete", "-f", &examples]).await;
    let uninstall = ["uninstall", "ringfence", "-n", SYSTEM, "--wait"];
    cluster.helm(&uninstall).await.unwrap();
    let delete = ["delete", "namespace", SYSTEM, "--timeout=100s"];
    installed.kubectl(&delete).await;
    let crds = installed.kubectl(&["get", "crds", "-o", "name"]).await;
    assert!(crds.contains("agents.ringfence.dev"), "{crds}");
    // The next release comes with definitions of its own.
    installed.kubectl(&["delete", "crds", "--all"]).await;
}
