//! New revisions of an agent on a real host: none of its calls is lost, what is broken goes back, and the
//! verbs that people have for it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;

use serde_json::{Value, json};

use crate::fixture::{Cli, Host, cluster, text, until};

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

/// A model that does not answer before it is told to.
fn slow_model() -> (u16, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, is_asked) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut buffer = [0; 4_096];
        // The answer waits for far longer than the request takes to arrive.
        while !request.ends_with(b"}") {
            let read = stream.read(&mut buffer).unwrap();
            request.extend_from_slice(&buffer[..read]);
        }
        asked.send(()).unwrap();
        may_go.recv().unwrap();
        let chunk = json!({
            "id": "1", "object": "chat.completion.chunk", "created": 1, "model": "slow",
            "choices": [{
                "index": 0, "finish_reason": "stop",
                "delta": {"role": "assistant", "content": "it took a while"}
            }]
        });
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
             data: {chunk}\n\ndata: [DONE]\n\n"
        );
        stream.write_all(answer.as_bytes()).unwrap();
    });
    (port, is_asked, go)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_ends_on_the_revision_it_began_on() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let host = Host::of(cluster, "drainer", &["--pool", "drain"]);
    let cli = Cli::to_cluster(cluster.kubeconfig(), &namespace);
    let (port, is_asked, go) = slow_model();
    let scripted = "scripted: {turns: [{text: 'this is 1'}]}";
    let slow = format!(
        "openAi: {{model: slow, baseUrl: 'http://127.0.0.1:{port}/v1', addresses: private}}"
    );
    apply(&cli, &desk("drain", "1", "").replace(scripted, &slow));
    cli.ok(&STATUS);
    let call = {
        let (url, namespace) = (host.url.clone(), namespace.clone());
        tokio::spawn(async move { ask(&url, &namespace).await })
    };
    is_asked.recv().unwrap();
    apply(&cli, &desk("drain", "2", ""));
    cli.ok(&STATUS);
    let instances = ["get", "instances", "-n", &namespace, "-o", "name"];
    let instances = cluster.kubectl(&instances).await.unwrap();
    assert_eq!(
        instances.lines().count(),
        1,
        "the first revision is gone: {instances}"
    );
    assert_eq!(ask(&host.url, &namespace).await.unwrap(), "this is 2");
    assert!(!call.is_finished());
    go.send(()).unwrap();
    assert_eq!(call.await.unwrap().unwrap(), "it took a while");
}

/// How many of so many runs the second revision gets.
async fn second_of(runs: u32, url: &str, namespace: &str) -> u32 {
    let mut second = 0;
    for _ in 0..runs {
        let answer = ask(url, namespace).await.unwrap();
        second += u32::from(answer == "this is 2");
    }
    second
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_its_share_of_the_runs() {
    let cluster = cluster().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let host = Host::of(cluster, "canary", &["--pool", "canary"]);
    let cli = Cli::to_cluster(cluster.kubeconfig(), &namespace);
    let steps = "canary: {steps: [{weight: 30}, {weight: 60}]}";
    apply(&cli, &desk("canary", "1", steps));
    cli.ok(&STATUS);
    apply(&cli, &desk("canary", "2", steps));
    let waits = || cli.ok(&["rollout", "status", "agent/desk", "--no-watch"]);
    for (step, least, most) in [("1 of 2", 25, 95), ("2 of 2", 82, 158)] {
        let gets = format!("step {step}");
        until("the step is reached", || {
            let said = waits();
            said.contains(&gets) && said.contains("until 'ringfence rollout promote'")
        });
        // The host hears of the weight by its watch. Then 30, and 60, percent of 200; five standard
        // deviations of that are 33.
        tokio::time::timeout(crate::fixture::PATIENCE, async {
            while second_of(20, &host.url, &namespace).await == 0 {}
        })
        .await
        .unwrap();
        let second = second_of(200, &host.url, &namespace).await;
        println!("step {step}: {second} of 200");
        assert!(
            (least..=most).contains(&second),
            "step {step}: {second} of 200"
        );
        assert_eq!(
            cli.ok(&["rollout", "promote", "agent/desk"]),
            "agent/desk promoted\n"
        );
    }
    cli.ok(&STATUS);
    assert_eq!(second_of(20, &host.url, &namespace).await, 20);
}
