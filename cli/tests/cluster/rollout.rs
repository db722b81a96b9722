//! New revisions of an agent on a real host: none of its calls is lost, what is broken goes back, and the
//! verbs that people have for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::fixture::{Cli, Host, cluster, text};

/// An agent of a pool that says its version.
fn desk(pool: &str, version: &str, rollout: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {{name: v{version}}}
spec: {{provider: {{scripted: {{turns: [{{text: 'this is {version}'}}]}}}}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: desk}}
spec:
  instructions: Say your version.
  model: {{name: v{version}}}
  placement: {{pool: {pool}}}
  rollout: {{progressDeadlineSeconds: 3, {rollout}}}
"
    )
}

/// The same agent with a component that no registry has.
fn broken(pool: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: desk, annotations: {{kubernetes.io/change-cause: a mistake}}}}
spec:
  component: {{image: '127.0.0.1:1/nobody/has-this:1'}}
  placement: {{pool: {pool}}}
  rollout: {{progressDeadlineSeconds: 3}}
"
    )
}

/// What the agent answers, or the status with which it was refused.
async fn ask(url: &str, namespace: &str) -> Result<String, u16> {
    let body = json!({"model": "desk", "messages": [{"role": "user", "content": "hello"}]});
    let answer = reqwest::Client::new()
        .post(format!("{url}/{namespace}/v1/chat/completions"))
        .json(&body)
        .send()
        .await
        .unwrap();
    if !answer.status().is_success() {
        return Err(answer.status().as_u16());
    }
    let answer: Value = answer.json().await.unwrap();
    let content = answer["choices"][0]["message"]["content"].as_str();
    Ok(content.unwrap().to_owned())
}

fn apply(cli: &Cli, yaml: &str) {
    let file = cli.file("desk.yaml", yaml);
    cli.ok(&["apply", "--force-conflicts", "-f", &file]);
}

const STATUS: [&str; 5] = ["rollout", "status", "agent/desk", "--timeout", "60"];

#[tokio::test(flavor = "multi_thread")]
async fn revisions_follow_each_other_and_no_call_is_lost() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let host = Host::of(cluster, "roller", &["--pool", "roll"]);
    let cli = Cli::to_cluster(cluster.kubeconfig(), &namespace);
    apply(&cli, &desk("roll", "1", ""));
    let done = cli.ok(&STATUS);
    assert!(
        done.ends_with("agent/desk successfully rolled out\n"),
        "{done}"
    );
    assert_eq!(ask(&host.url, &namespace).await.unwrap(), "this is 1");

    // Somebody calls all the time while revisions come, fail and go.
    let (stop, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let calling = {
        let (url, namespace) = (host.url.clone(), namespace.clone());
        let (stop, calls) = (stop.clone(), calls.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = ask(&url, &namespace).await;
                assert!(
                    answer
                        .as_ref()
                        .is_ok_and(|text| text.starts_with("this is ")),
                    "{answer:?}"
                );
                calls.fetch_add(1, Ordering::Relaxed);
            }
        })
    };
    apply(&cli, &desk("roll", "2", ""));
    cli.ok(&STATUS);
    assert_eq!(ask(&host.url, &namespace).await.unwrap(), "this is 2");

    apply(&cli, &broken("roll"));
    let (code, said) = cli.err(&STATUS);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("made no progress within 3 s"), "{said}");
    assert_eq!(ask(&host.url, &namespace).await.unwrap(), "this is 2");
    let history = cli.ok(&["rollout", "history", "agent/desk"]);
    let rows: Vec<Vec<&str>> = history
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["REVISION", "NAME", "STATE", "CHANGE-CAUSE"]);
    assert_eq!((rows[2][0], rows[2][2]), ("2", "serves"), "{history}");
    assert_eq!(rows[3][2..], ["wanted", "a", "mistake"], "{history}");
    let shown = cli.ok(&[
        "rollout",
        "history",
        "agent/desk",
        "--revision",
        "1",
        "-o",
        "json",
    ]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["spec"]["model"]["name"], "v1");

    assert_eq!(
        cli.ok(&["rollout", "undo", "agent/desk"]),
        "agent/desk rolled back\n"
    );
    cli.ok(&STATUS);
    let agent = cli.ok(&["get", "agent", "desk", "-o", "json"]);
    let agent: Value = serde_json::from_str(&agent).unwrap();
    assert_eq!(agent["spec"]["model"]["name"], "v2");
    assert_eq!(agent["spec"]["component"], Value::Null);
    cli.ok(&["rollout", "undo", "agent/desk", "--to-revision", "1"]);
    cli.ok(&STATUS);
    assert_eq!(ask(&host.url, &namespace).await.unwrap(), "this is 1");
    let undone = cli.run(&["rollout", "undo", "agent/desk", "--to-revision", "77"]);
    assert_eq!(undone.status.code(), Some(3), "{}", text(&undone.stderr));

    assert_eq!(
        cli.ok(&["rollout", "restart", "agent/desk"]),
        "agent/desk restarted\n"
    );
    cli.ok(&STATUS);
    stop.store(true, Ordering::Relaxed);
    calling.await.unwrap();
    let calls = calls.load(Ordering::Relaxed);
    println!("{calls} calls while it rolled, none lost");
    assert!(calls > 20, "{calls}");

    assert_eq!(
        cli.ok(&["rollout", "pause", "agent/desk"]),
        "agent/desk paused\n"
    );
    assert_eq!(cli.err(&["rollout", "pause", "agent/desk"]).0, 1);
    assert_eq!(cli.err(&["rollout", "restart", "agent/desk"]).0, 1);
    assert_eq!(
        cli.ok(&["rollout", "resume", "agent/desk"]),
        "agent/desk resumed\n"
    );
    let (code, said) = cli.err(&["rollout", "promote", "agent/desk"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no step of a canary"), "{said}");

    let alone = Host::alone(&[]);
    let (code, said) = Cli::to_host(&alone).err(&STATUS);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--cluster"), "{said}");
}
