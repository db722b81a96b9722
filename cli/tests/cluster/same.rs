//! The same YAML and the same commands on a host of its own and on a cluster: the same answers.

use std::path::Path;

use serde_json::Value;

use crate::fixture::{Cli, Host, cluster, own_cluster, text, until};

/// What tests of both kinds apply unchanged.
fn examples() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    root.to_string_lossy().into_owned()
}

/// What somebody gets to see who works through the examples.
struct Seen {
    applied: String,
    answers: Vec<String>,
    all: Vec<Vec<String>>,
    described: Vec<Vec<String>>,
    grants: Vec<String>,
    runs: Vec<(String, String, String)>,
    trace: Vec<(String, String)>,
    failures: Vec<i32>,
}

fn work(cli: &Cli) -> Seen {
    let applied = cli.ok(&["apply", "-f", &examples()]);
    for (kind, name) in [("agent", "scribe"), ("agent", "writer"), ("tool", "scribe")] {
        cli.ready(kind, name);
    }
    let message = ["--arg", "message=5"];
    let answers = vec![
        cli.ok(&["run", "writer", "hello"]),
        cli.ok(&["run", "scribe", "hello", "-o", "json"])
            .lines()
            .filter(|line| line.contains("\"text\""))
            .collect(),
        cli.ok(&[&["call", "scribe", "ask"], &message[..]].concat()),
    ];
    let all = cli.ok(&["get", "all"]);
    let all = all.lines().map(columns).collect();
    let described = [("model", "scribe-model")]
        .map(|(kind, name)| sections(&cli.ok(&["describe", kind, name])))
        .to_vec();
    let runs = json(&cli.ok(&["get", "runs", "-o", "json"]));
    let newest = runs["items"][0]["run"].as_str().unwrap().to_owned();
    let first = runs["items"][2]["run"].as_str().unwrap().to_owned();
    let runs = runs["items"].as_array().unwrap().iter();
    let runs = runs.map(|run| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&run["caller"]),
            text(&run["target"]),
            text(&run["outcome"]["code"]),
        )
    });
    let logs = cli.run(&["logs", &newest]);
    assert!(
        text(&logs.stderr).contains("wrote nothing"),
        "{}",
        text(&logs.stderr)
    );
    let trace = cli.ok(&["get", "run", &first]);
    let words = |line: &str| {
        let mut words = line
            .split_whitespace()
            .skip_while(|w| !w.contains('✓'))
            .skip(1);
        (
            words.next().unwrap().to_owned(),
            words.next().unwrap().to_owned(),
        )
    };
    Seen {
        applied,
        answers,
        all,
        described,
        grants: ["writer", "tool/scribe"]
            .map(|of| cli.ok(&["grants", of]))
            .to_vec(),
        runs: runs.collect(),
        trace: trace.lines().map(words).collect(),
        failures: vec![
            cli.err(&["run", "nobody", "hello"]).0,
            cli.err(&["call", "scribe", "nothing"]).0,
            cli.err(&["get", "agent", "nobody"]).0,
            cli.err(&["logs", "nobody"]).0,
            cli.err(&["get", "nonsense"]).0,
        ],
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Kind, name, readiness, generation and origin of a line of the table.
fn columns(line: &str) -> Vec<String> {
    line.split_whitespace()
        .take(5)
        .map(ToOwned::to_owned)
        .collect()
}

/// The lines of a description that are about the resource, not about when and where it is.
fn sections(described: &str) -> Vec<String> {
    let elsewhere = ["Tenant:", "Created:"];
    let lines = described.lines().map(str::trim);
    lines
        .filter(|line| !elsewhere.iter().any(|name| line.starts_with(name)))
        .filter(|line| !line.starts_with(['✓', '✗']))
        .map(ToOwned::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_are_the_same_on_a_host_and_on_a_cluster() {
    // Hosts of other tests would take some of it, and end in the middle.
    let cluster = own_cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let _node = Host::of(cluster, "same", &[]);
    let alone = Host::alone(&[]);
    let here = work(&Cli::to_host(&alone));
    let there = work(&Cli::to_cluster(cluster.kubeconfig(), &namespace));
    assert_eq!(here.applied, there.applied);
    assert_eq!(here.answers, there.answers);
    assert_eq!(here.answers[0], "the scribe says: noted: buy milk\n");
    assert_eq!(here.answers[2], "noted: 5\n");
    assert_eq!(here.all, there.all);
    assert_eq!(here.described, there.described);
    assert_eq!(here.grants, there.grants);
    assert!(
        here.grants[0].contains("tools       scribe"),
        "{}",
        here.grants[0]
    );
    assert_eq!(here.runs, there.runs);
    assert_eq!(here.runs.len(), 3);
    assert_eq!(here.trace, there.trace);
    assert!(here.trace.len() >= 4, "{:?}", here.trace);
    assert_eq!(here.failures, there.failures);
    assert_eq!(here.failures, [3, 3, 3, 3, 2]);
}

/// The ceiling of a tenant, by the label that a tenant has on a host too.
const CEILING: &str = "\
apiVersion: ringfence.dev/v1alpha1
kind: Ceiling
metadata: {name: NAME}
spec:
  tenants: {matchLabels: {kubernetes.io/metadata.name: TENANT}}
  allow: {models: ['*'], output: true, agents: ['*']}
";

fn bounded(cli: &Cli, tenant: &str) -> (Value, String, Vec<String>) {
    cli.ok(&["apply", "-f", &examples()]);
    cli.ready("agent", "writer");
    let name = format!("narrow-{tenant}");
    let ceiling = CEILING.replace("NAME", &name).replace("TENANT", tenant);
    let file = cli.file("ceiling.yaml", &ceiling);
    assert_eq!(
        cli.ok(&["apply", "-f", &file]),
        format!("ceiling/{name} created\n")
    );
    until("the ceiling takes the tool away", || {
        json(&cli.ok(&["grants", "writer", "-o", "json"]))["refused"][0]["target"] == "scribe"
    });
    let mut report = json(&cli.ok(&["grants", "writer", "-o", "json"]));
    report["namespace"].take();
    let table = cli.ok(&["grants", "writer"]);
    let described = sections(&cli.ok(&["describe", "agent", "writer"]));
    assert!(cli.ok(&["get", "ceilings"]).contains(&name));
    cli.ok(&["delete", "ceiling", &name]);
    until("the tool is there again", || {
        let report = json(&cli.ok(&["grants", "writer", "-o", "json"]));
        report["refused"].as_array().is_none_or(Vec::is_empty)
    });
    let unnamed = |text: &str| text.replace(&name, "narrow");
    let report = serde_json::from_str(&unnamed(&report.to_string())).unwrap();
    let described = described.iter().map(|line| unnamed(line)).collect();
    (report, unnamed(&table), described)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ceiling_takes_and_tells_the_same_on_a_host_and_on_a_cluster() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let _node = Host::of(cluster, "bounded", &[]);
    let alone = Host::alone(&[]);
    let here = bounded(&Cli::to_host(&alone), "default");
    let there = bounded(
        &Cli::to_cluster(cluster.kubeconfig(), &namespace),
        &namespace,
    );
    assert_eq!(here, there);
    assert_eq!(here.0["refused"][0]["ceiling"], "narrow");
    assert!(here.1.contains("ceiling narrow"), "{}", here.1);
}
