//! What names something that is not there says so, and stops saying so by itself. The same on a host of its own and
//! on a cluster.

use crate::fixture::{Cli, Host, cluster, until};
use crate::models::{apply, condition};

const TOOL: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {name: scribe}
spec: {agent: scribe, description: Takes a note., placement: {pool: targets}}
";
const SCRIBE: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: scribe}
spec: {instructions: Take notes., model: {name: script}, placement: {pool: targets}}
";
const WRITER: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: writer}
spec:
  instructions: Write.
  model: {name: script}
  grants: {tools: [{name: scribe}, {name: absent}], agents: [{name: scribe}]}
  placement: {pool: targets}
";
const MODEL: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: script}
spec: {provider: {scripted: {turns: [{text: hello}]}}}
";

/// A condition once it has this reason: status and message.
fn once(cli: &Cli, (kind, name): (&str, &str), type_: &str, reason: &str) -> (String, String) {
    until(&format!("{kind} {name} says {reason}"), || {
        condition(cli, kind, name, type_).1 == reason
    });
    let (status, _, message) = condition(cli, kind, name, type_);
    (status, message)
}

/// What a tool and an agent say whose targets come after them, and go.
fn story(cli: &Cli) -> Vec<(String, String)> {
    let (tool, writer) = (("tool", "scribe"), ("agent", "writer"));
    apply(cli, &[MODEL, TOOL, WRITER].join("---"));
    let granted = "granted, but not there (or not ready): ";
    let mut told = vec![
        once(cli, tool, "Ready", "AgentMissing"),
        once(cli, tool, "TargetsFound", "Missing"),
    ];
    // The tool itself is there.
    let lacks = format!("{granted}tool absent, agent scribe");
    until("the writer lacks two", || {
        condition(cli, "agent", "writer", "TargetsFound").2 == lacks
    });
    told.push(once(cli, writer, "TargetsFound", "Missing"));

    apply(cli, SCRIBE);
    told.push(once(cli, tool, "Ready", "Ready"));
    told.push(once(cli, tool, "TargetsFound", "Found"));
    until("the writer lacks one", || {
        condition(cli, "agent", "writer", "TargetsFound").2 == format!("{granted}tool absent")
    });
    let called = cli.ok(&["call", "scribe", "ask", "--arg", "message=milk"]);
    assert_eq!(called.trim(), "hello");

    cli.ok(&["delete", "agent", "scribe"]);
    told.push(once(cli, tool, "Ready", "AgentMissing"));
    told.push(once(cli, tool, "TargetsFound", "Missing"));
    until("the writer lacks two again", || {
        condition(cli, "agent", "writer", "TargetsFound").2 == lacks
    });
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_something_that_is_not_there_says_so() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let _node = Host::of(cluster, "targets", &["--pool", "targets"]);
    let alone = Host::alone(&[]);
    let here = story(&Cli::to_host(&alone));
    let there = story(&Cli::to_cluster(cluster.kubeconfig(), &namespace));
    assert_eq!(here, there);
    let missing = "there is no agent scribe that runs: apply it";
    assert_eq!(here[0], ("False".to_owned(), missing.to_owned()));
}
