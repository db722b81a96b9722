//! From a file on somebody's machine to a call, on a cluster: the component goes to a registry, manifests name its
//! image, hosts fetch it.

use ringfence_test_cluster::{Access, Registry};
use ringfence_test_guests as guests;
use serde_json::Value;

use crate::fixture::{Cli, Host, cluster, own_cluster};

fn manifests(tool: &str, agent: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: adder}}\n\
         spec: {{component: {{image: '{tool}'}}}}\n---\n\
         apiVersion: ringfence.dev/v1alpha1\nkind: Agent\nmetadata: {{name: parrot}}\n\
         spec: {{component: {{image: '{agent}'}}}}\n"
    )
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_to_a_registry_is_applied_and_called() {
    let cluster = own_cluster().await;
    let tls = Access {
        tls: true,
        ..Access::default()
    };
    let registry = Registry::start(tls).await.unwrap();
    let authority = registry.authority().unwrap().to_str().unwrap();
    let options = [
        "--private-registry",
        registry.name(),
        "--ca-file",
        authority,
    ];
    let _hosts = ["first", "second"].map(|name| Host::of(cluster, name, &options));
    let cli = Cli::to_cluster(cluster.kubeconfig(), "default");
    let file = |name: &str, bytes: &[u8]| {
        let path = std::path::PathBuf::from(cli.file(name, ""));
        std::fs::write(&path, bytes).unwrap();
        path.to_string_lossy().into_owned()
    };
    let (tool, agent) = (
        file("adder.wasm", guests::ECHO),
        file("parrot.wasm", guests::AGENT_ECHO),
    );

    let (code, why) = cli.err(&["push", &tool]);
    assert_eq!(code, 2, "{why}");
    assert!(why.contains("--to REGISTRY/REPOSITORY:TAG"), "{why}");
    let images = ["adder", "parrot"].map(|name| registry.image(&format!("team/{name}:1")));
    let to = |file: &str, image: &str| {
        let push = [
            "push",
            "-o",
            "json",
            file,
            "--to",
            image,
            "--ca-file",
            authority,
        ];
        json(&cli.ok(&push))["digest"].as_str().unwrap().to_owned()
    };
    let digest = to(&tool, &images[0]);
    to(&agent, &images[1]);

    let manifest = cli.file("desk.yaml", &manifests(&images[0], &images[1]));
    cli.ok(&["apply", "-f", &manifest]);
    cli.ready("tool", "adder");
    cli.ready("agent", "parrot");
    let sum = cli.ok(&["call", "adder", "add", "--arg", "a=40", "--arg", "b=2"]);
    assert_eq!(json(&sum)["result"], 42);
    assert_eq!(cli.ok(&["run", "parrot", "hello"]).trim(), "hello");

    // The other verbs: all hosts pull it, show it, and one of them pushes it on.
    let pulled = cli.ok(&["pull", "-o", "json", &images[0]]);
    assert_eq!(json(&pulled)["digest"], digest.as_str());
    let inspected = cli.ok(&["inspect", "-o", "json", &digest]);
    assert_eq!(json(&inspected)["digest"], digest.as_str());
    let elsewhere = registry.image("team/copy:1");
    cli.ok(&["push", &digest, "--to", &elsewhere]);
    let pulled = cli.ok(&["pull", "-o", "json", &elsewhere]);
    assert_eq!(json(&pulled)["digest"], digest.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_a_login_says_so_and_gets_it() {
    let login = Access {
        login: true,
        ..Access::default()
    };
    let registry = Registry::start(login).await.unwrap();
    let cli = Cli::to_cluster(cluster().await.kubeconfig(), "default");
    let file = std::path::PathBuf::from(cli.file("adder.wasm", ""));
    std::fs::write(&file, guests::ECHO).unwrap();
    let image = registry.image("team/adder:1");
    let push = ["push", file.to_str().unwrap(), "--to", &image];
    let (code, why) = cli.err(&push);
    assert_eq!(code, 5, "{why}");
    assert!(why.contains("refuses access"), "{why}");
    let login = ["--registry-user", Registry::USER, "--registry-password"];
    let (_, why) = cli.err(&[&push[..], &login, &["wrong"]].concat());
    assert!(why.contains("refuses access"), "{why}");
    cli.ok(&[&push[..], &login, &[Registry::PASSWORD]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_holds_up_only_what_is_new() {
    let cluster = own_cluster().await;
    let mut registry = Registry::start(Access::default()).await.unwrap();
    let address = registry.name().to_owned();
    let _host = Host::of(cluster, "first", &["--insecure-registry", &address]);
    let cli = Cli::to_cluster(cluster.kubeconfig(), "default");
    let (old, new) = (registry.image("team/old:1"), registry.image("team/new:1"));
    for (image, component) in [(&old, guests::ECHO), (&new, guests::TALLY)] {
        let file = std::path::PathBuf::from(cli.file("component.wasm", ""));
        std::fs::write(&file, component).unwrap();
        cli.ok(&["push", file.to_str().unwrap(), "--to", image]);
    }
    let apply = |name: &str, image: &str| {
        let tool = format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: Tool\nmetadata: {{name: {name}}}\n\
             spec: {{component: {{image: '{image}'}}}}\n"
        );
        cli.ok(&["apply", "-f", &cli.file("tool.yaml", &tool)]);
    };
    let works = || {
        let sum = cli.ok(&["call", "kept", "add", "--arg", "a=40", "--arg", "b=2"]);
        assert_eq!(json(&sum)["result"], 42);
    };
    let waits = async |tool: &str| {
        let reason = "--for=jsonpath={.status.conditions[?(@.type=='Ready')].reason}\
                      =ArtifactUnavailable";
        let tool = format!("tool/{tool}");
        let wait = ["wait", reason, &tool, "--timeout=60s"];
        cluster.kubectl(&wait).await.unwrap();
        let said = "jsonpath={.status.conditions[?(@.type=='Ready')].message}";
        let said = cluster.kubectl(&["get", &tool, "-o", said]).await.unwrap();
        assert!(said.contains(&address), "{said}");
    };
    apply("kept", &old);
    cli.ready("tool", "kept");
    works();

    registry.stop().unwrap();
    apply("new", &new);
    waits("new").await;
    // What is new of a tool that runs does not hold up what runs.
    apply("kept", &new);
    waits("kept").await;
    works();

    // It is asked again without anybody's doing.
    registry.restart().await.unwrap();
    cli.ready("tool", "new");
    cli.ready("tool", "kept");
}
