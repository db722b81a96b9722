//! An agent can be called once it says that it is ready: its models are there, too. The same on a host of its
//! own and on a cluster.

use serde_json::Value;

use crate::fixture::{Cli, Host, cluster, until};

fn model(name: &str, provider: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {{name: {name}}}
spec: {{provider: {{{provider}}}}}
"
    )
}

const SCRIPT: &str = "scripted: {turns: [{text: 'hello'}]}";
/// Nobody is ever asked there.
const OUTSIDE: &str = "openAi: {model: m, baseUrl: 'http://127.0.0.1:9/v1', addresses: private}";

fn agent(name: &str, model: &str, pool: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: {name}}}
spec: {{instructions: Say hello., model: {{name: {model}}}, placement: {{pool: {pool}}}}}
"
    )
}

pub(crate) fn apply(cli: &Cli, yaml: &str) {
    let file = cli.file("applied.yaml", yaml);
    cli.ok(&["apply", "-f", &file]);
}

/// The condition `Ready`: status, reason, and message.
fn said(cli: &Cli, kind: &str, name: &str) -> (String, String, String) {
    condition(cli, kind, name, "Ready")
}

/// A condition: status, reason, and message.
pub(crate) fn condition(
    cli: &Cli,
    kind: &str,
    name: &str,
    type_: &str,
) -> (String, String, String) {
    let shown: Value = serde_json::from_str(&cli.ok(&["get", kind, name, "-o", "json"])).unwrap();
    let conditions = shown["status"]["conditions"].as_array();
    let mut all = conditions.into_iter().flatten();
    let found = all.find(|condition| condition["type"] == type_);
    let text = |field: &str| {
        let value = found.and_then(|found| found[field].as_str());
        value.unwrap_or_default().to_owned()
    };
    (text("status"), text("reason"), text("message"))
}

/// Waits until an agent says that a model is missing; what it says of that.
fn lacks(cli: &Cli, name: &str) -> String {
    until("it says that its model is missing", || {
        said(cli, "agent", name).1 == "ModelMissing"
    });
    let (status, _, message) = said(cli, "agent", name);
    assert_eq!(status, "False");
    // A cluster tells of how many instances that is, too.
    let message = message.split("instances are ready: ").last();
    message.unwrap().to_owned()
}

/// What an agent says whose model comes after it, is refused, comes back, and goes.
fn story(cli: &Cli, tenant: &str, pool: &str) -> Vec<String> {
    apply(cli, &agent("early", "late", pool));
    let mut told = vec![lacks(cli, "early")];

    // Ready by itself, and then the very first call works.
    apply(cli, &model("late", SCRIPT));
    cli.ready("agent", "early");
    assert_eq!(cli.ok(&["run", "early", "?"]), "hello\n");

    // Changed, it is asked as it was until it may be asked as it is.
    apply(cli, &model("late", &SCRIPT.replace("hello", "goodbye")));
    until("it says something else", || {
        let answer = cli.ok(&["run", "early", "?"]);
        assert!(["hello\n", "goodbye\n"].contains(&&*answer), "{answer}");
        answer == "goodbye\n"
    });
    assert_eq!(said(cli, "agent", "early").0, "True");

    // It goes, and the agent says so.
    cli.ok(&["delete", "model", "late"]);
    told.push(lacks(cli, "early"));
    apply(cli, &model("late", SCRIPT));
    cli.ready("agent", "early");
    assert_eq!(cli.ok(&["run", "early", "?"]), "hello\n");

    // One that a ceiling refuses is there, but cannot be asked.
    let ceiling = format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: Ceiling
metadata: {{name: inside-{tenant}}}
spec:
  tenants: {{matchLabels: {{kubernetes.io/metadata.name: {tenant}}}}}
  allow: {{models: ['*'], output: true}}
"
    );
    apply(
        cli,
        &(model("outside", OUTSIDE) + "---\n" + &agent("far", "outside", pool)),
    );
    cli.ready("agent", "far");
    apply(cli, &ceiling);
    let refused = lacks(cli, "far");
    assert_eq!(said(cli, "model", "outside").1, "RefusedByCeiling");
    told.push(refused.replace(tenant, "TENANT"));
    cli.ok(&["delete", "ceiling", &format!("inside-{tenant}")]);
    cli.ready("agent", "far");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_ready_once_its_models_are_there() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let _node = Host::of(cluster, "models", &["--pool", "models"]);
    let alone = Host::alone(&[]);
    let here = story(&Cli::to_host(&alone), "default", "models");
    let cli = Cli::to_cluster(cluster.kubeconfig(), &namespace);
    let there = story(&cli, &namespace, "models");
    assert_eq!(here, there);
    assert_eq!(here[0], "there is no model late: apply it");
    assert_eq!(here[1], here[0]);
    let expected = "model outside cannot be asked, see its status: ";
    assert!(here[2].starts_with(expected), "{}", here[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_whose_model_does_not_exist_is_rolled_back() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let _node = Host::of(cluster, "unmodelled", &["--pool", "unmodelled"]);
    let cli = Cli::to_cluster(cluster.kubeconfig(), &namespace);
    let agent = |model: &str| {
        agent("desk", model, "unmodelled")
            .trim_end()
            .trim_end_matches('}')
            .to_owned()
            + "}, rollout: {progressDeadlineSeconds: 8}}\n"
    };
    let status = ["rollout", "status", "agent/desk", "--timeout", "60"];
    apply(&cli, &(model("there", SCRIPT) + "---\n" + &agent("there")));
    cli.ok(&status);
    apply(&cli, &agent("nowhere"));
    let (code, told) = cli.err(&status);
    assert_eq!(code, 1, "{told}");
    assert!(
        told.contains("there is no model nowhere: apply it"),
        "{told}"
    );
    assert_eq!(said(&cli, "agent", "desk").1, "RolledBack");
    assert_eq!(cli.ok(&["run", "desk", "?"]), "hello\n");
}
