//! Applying, showing and deleting resources of a cluster.

use crate::fixture::{Cli, cluster, text};

const DESK: &str = "\
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: script}
spec: {provider: {scripted: {turns: [{text: 'You said: {{user.text}}'}]}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: desk}
spec: {description: Repeats what it hears., instructions: Repeat., model: {name: script}}
";

#[tokio::test(flavor = "multi_thread")]
async fn resources_are_applied_as_on_a_host_and_conflicts_are_explained() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let cli = Cli::to_cluster(cluster.kubeconfig(), &namespace);
    let nothing = cli.run(&["get", "all"]);
    let expected = format!("no agents, tools or models in tenant {namespace}\n");
    assert_eq!(text(&nothing.stderr), expected);

    let desk = cli.file("desk.yaml", DESK);
    assert_eq!(
        cli.ok(&["apply", "-f", &desk, "--dry-run"]),
        "model/script created (dry run)\nagent/desk created (dry run)\n"
    );
    assert_eq!(cli.err(&["get", "agent", "desk"]).0, 3);
    assert_eq!(
        cli.ok(&["apply", "-f", &desk]),
        "model/script created\nagent/desk created\n"
    );
    assert_eq!(
        cli.ok(&["apply", "-f", &desk]),
        "model/script unchanged\nagent/desk unchanged\n"
    );
    let changed = cli.file("changed.yaml", &DESK.replace("Repeat.", "Repeat twice."));
    assert_eq!(
        cli.ok(&["apply", "-f", &changed]),
        "model/script unchanged\nagent/desk configured\n"
    );
    // What is printed can be applied.
    let yaml = cli.file("again.yaml", &cli.ok(&["get", "all", "-o", "yaml"]));
    assert_eq!(
        cli.ok(&["apply", "-f", &yaml]),
        "model/script unchanged\nagent/desk unchanged\n"
    );

    // Somebody else takes a field over; from then on the two have to agree.
    let patch = r#"{"spec": {"instructions": "By hand."}}"#;
    let edit = [
        "patch",
        "agent/desk",
        "-n",
        &namespace,
        "--type=merge",
        "-p",
        patch,
    ];
    cluster
        .kubectl(&[&edit[..], &["--field-manager=hand"]].concat())
        .await
        .unwrap();
    let table = cli.ok(&["get", "agents"]);
    assert!(table.contains(" hand "), "{table}");
    let (code, said) = cli.err(&["apply", "-f", &desk]);
    assert_eq!(code, 1, "{said}");
    let expected = "agent/desk: spec.instructions belongs to hand: change it there";
    assert!(said.contains(expected), "{said}");
    let script = cli.ok(&["get", "model", "script", "-o", "json"]);
    assert!(
        script.contains("You said"),
        "nothing was half done: {script}"
    );
    assert_eq!(
        cli.ok(&["apply", "-f", &desk, "--force-conflicts"]),
        "model/script unchanged\nagent/desk configured\n"
    );

    assert!(cli.ok(&["get", "tenants"]).contains(&namespace));
    let version = cli.ok(&["version"]);
    assert!(version.contains("\ncluster v1."), "{version}");
    assert_eq!(
        cli.ok(&["delete", "-f", &desk]),
        "agent/desk deleted\nmodel/script deleted\n"
    );
    let (code, said) = cli.err(&["delete", "agent", "desk"]);
    assert_eq!(code, 3);
    assert!(said.contains("there is no agent/desk in context"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_cluster_and_how_it_was_chosen() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let cli = Cli::to_cluster(cluster.kubeconfig(), &namespace);
    let wrong = cli.file("wrong.yaml", &DESK.replace("instructions:", "instruction:"));
    let (code, said) = cli.err(&["apply", "-f", &wrong]);
    assert_eq!(code, 6);
    assert!(said.contains("did you mean \"instructions\"?"), "{said}");

    let (code, said) = cli.err(&["push", &wrong]);
    assert_eq!(code, 2);
    assert!(said.contains("a cluster takes no upload"), "{said}");
    let (code, said) = cli.err(&["--context", "nobody", "get", "agents"]);
    assert_eq!(code, 5);
    assert!(
        said.contains("nobody") && said.contains("chosen by --context"),
        "{said}"
    );
    let (code, said) = cli.err(&["--host", "http://127.0.0.1:1", "get", "agents"]);
    assert_eq!(code, 2);
    assert!(said.contains("cannot be used with"), "{said}");
    // Nothing listens there, and there is no other way to a host.
    let gone = Cli::to_cluster(std::path::Path::new("/nonexistent"), &namespace);
    let (code, said) = gone.err(&["get", "agents"]);
    assert_eq!(code, 5);
    assert!(said.contains("no cluster is configured"), "{said}");
}
