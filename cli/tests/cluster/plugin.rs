//! `kubectl ringfence`, run by the real kubectl.

use std::path::Path;
use std::process::{Command, Output};

use ringfence_test_cluster::ControlPlane;

use crate::fixture::{BINARY, cluster, text};

fn kubectl(cluster: &ControlPlane, plugins: &Path, arguments: &[&str]) -> Output {
    Command::new(cluster.programs_folder().join("kubectl"))
        .args(arguments)
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("KUBECACHEDIR", plugins.join("cache"))
        .env("PATH", plugins)
        // It is for the command of its own name, not for the plugin.
        .env("RINGFENCE_HOST", "http://127.0.0.1:1")
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_runs_it_and_completes_it() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let plugins = tempfile::tempdir().unwrap();
    for name in ["kubectl-ringfence", "kubectl_complete-ringfence"] {
        std::os::unix::fs::symlink(BINARY, plugins.path().join(name)).unwrap();
    }
    let run = |arguments: &[&str]| kubectl(cluster, plugins.path(), arguments);
    let nothing = run(&["ringfence", "get", "agents", "-n", &namespace]);
    assert!(nothing.status.success(), "{}", text(&nothing.stderr));
    let expected = format!("no agents in tenant {namespace}\n");
    assert_eq!(text(&nothing.stderr), expected);

    let usage = run(&["ringfence", "describe"]);
    let said = text(&usage.stderr);
    assert!(said.contains("Usage: kubectl ringfence describe"), "{said}");
    let help = text(&run(&["ringfence", "--help"]).stdout);
    assert!(help.contains("Usage: kubectl ringfence"), "{help}");

    let completed = |words: &[&str]| {
        let mut arguments = vec!["__complete", "ringfence"];
        arguments.extend(words);
        text(&run(&arguments).stdout)
    };
    let commands = completed(&["des"]);
    assert!(commands.starts_with("describe\t"), "{commands}");
    let kinds = completed(&["get", "ag"]);
    assert!(kinds.starts_with("agents\n"), "{kinds}");
}
