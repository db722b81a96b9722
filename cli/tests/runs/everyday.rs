//! What a run is for, and how it ends.

use std::time::Duration;

use ringfence_api::{RUN_OUTPUT_BYTES, RunPhase};
use serde_json::{Value, json};

use crate::fixture::{Host, World, code, ended_as, marks, status, tally_spec};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_executed_once_and_says_what_came_of_it() {
    let world = World::new().await;
    let operator = world.operator("operator").await;
    let data = World::data();
    let host = Host::join(&world, "h1", data.path());
    world.component("Tool", "tally", &tally_spec(1)).await;
    world
        .component("Tool", "echo", &json!({"limits": {"concurrency": 1}}))
        .await;
    world
        .component("Agent", "slow", &json!({"grants": {"output": true}}))
        .await;
    refused(&world).await;

    let echo = |function: &str, arguments: Value| json!({"tool": {"name": "echo", "function": function, "arguments": arguments}});
    let large = "x".repeat(RUN_OUTPUT_BYTES);
    let slow = |ms: u64| json!({"agent": {"name": "slow", "input": ms.to_string()}});
    let mut late = slow(60_000);
    late["timeoutSeconds"] = 2.into();
    let mut brief = echo("echo", json!({"text": "soon gone"}));
    brief["ttlSecondsAfterFinished"] = 1.into();
    let conversation = json!([{"role": "user", "text": "1"}, {"role": "assistant", "text": "so?"}, {"role": "user", "text": "2"}]);
    for (name, spec) in [
        ("agent", slow(10)),
        (
            "talk",
            json!({"agent": {"name": "slow", "messages": conversation}}),
        ),
        (
            "confused",
            json!({"agent": {"name": "slow", "input": "no number"}}),
        ),
        ("tool", marks("tool", 1)),
        ("fails", echo("fail", json!({"why": "it broke"}))),
        ("nothing", echo("nothing", json!({}))),
        ("large", echo("echo", json!({"text": large}))),
        ("late", late),
        ("cancel", slow(60_000)),
        ("progress", slow(2_500)),
        ("brief", brief),
        (
            "nowhere",
            json!({"agent": {"name": "nobody", "input": "x"}}),
        ),
        (
            "never",
            json!({"agent": {"name": "nobody", "input": "x"}, "timeoutSeconds": 3}),
        ),
    ] {
        world.run(name, &spec).await;
    }
    // More at once than may run at once: they take their turn instead of failing.
    for n in 0..20 {
        world
            .run(&format!("turn-{n}"), &echo("echo", json!({"text": "turn"})))
            .await;
    }

    let agent = world.over("agent").await;
    ended_as(&agent, RunPhase::Succeeded, "");
    let said = status(&agent);
    assert_eq!(said.output.unwrap().text.unwrap(), "waited 10 ms");
    assert!(said.run_id.is_some() && said.started_at.is_some() && said.progress.is_none());
    // Short runs cost no more writes than they must: made, bound, ended.
    assert_eq!(said.host_name.unwrap().as_str(), "h1");
    assert_eq!(
        status(&world.over("talk").await)
            .output
            .unwrap()
            .text
            .unwrap(),
        "waited 2 ms"
    );
    ended_as(&world.over("confused").await, RunPhase::Failed, "invalid");
    ended_as(&world.over("tool").await, RunPhase::Succeeded, "");
    assert_eq!(world.marked()["tool"], 1);
    let fails = world.over("fails").await;
    ended_as(&fails, RunPhase::Failed, "tool-error");
    assert!(status(&fails).error.unwrap().message.contains("it broke"));
    ended_as(&world.over("nothing").await, RunPhase::Failed, "not-found");
    for n in 0..20 {
        ended_as(
            &world.over(&format!("turn-{n}")).await,
            RunPhase::Succeeded,
            "",
        );
    }

    // Progress, while it runs.
    let shown = world
        .until("progress", |run| status(run).progress.is_some())
        .await;
    assert_eq!(status(&shown).phase, RunPhase::Running);
    assert_eq!(status(&shown).progress.unwrap().text, "began");
    ended_as(&world.over("progress").await, RunPhase::Succeeded, "");

    world
        .until("cancel", |run| status(run).phase == RunPhase::Running)
        .await;
    world.cancel("cancel").await;
    ended_as(&world.over("cancel").await, RunPhase::Canceled, "canceled");
    ended_as(&world.over("late").await, RunPhase::Failed, "timeout");
    blob(&world, &host, &large).await;

    // Who waits is told why, and may give up.
    let waits = world
        .until("nowhere", |run| !status(run).conditions.is_empty())
        .await;
    let why = status(&waits).conditions.remove(0);
    assert_eq!(
        (why.type_.as_str(), why.status.as_str(), why.reason.as_str()),
        ("Bound", "False", "NoReadyInstance")
    );
    world.cancel("nowhere").await;
    ended_as(&world.over("nowhere").await, RunPhase::Canceled, "canceled");
    ended_as(&world.over("never").await, RunPhase::Failed, "timeout");

    // It goes when its time is over, and not before that of the others.
    let gone = async {
        while world.get("brief").await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone)
        .await
        .unwrap();
    assert_eq!(code(&world.over("large").await), "");

    let table = world
        .cluster
        .kubectl(&["get", "runs", "--field-selector", "status.phase=Canceled"])
        .await
        .unwrap();
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["NAME", "AGENT", "TOOL", "PHASE", "HOST", "AGE"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    namespace_goes(&world).await;
    let metrics = operator.metrics.render();
    assert!(
        metrics.contains("ringfence_operator_runs_removed_total 1\n"),
        "{metrics}"
    );
    operator.stop();
}

/// What admission does not let in.
async fn refused(world: &World) {
    let run = |spec: &str| {
        format!(
            "apiVersion: ringfence.dev/v1alpha1\nkind: Run\nmetadata: {{name: r}}\nspec: {spec}\n"
        )
    };
    for (spec, why) in [
        ("{}", "exactly one of agent and tool"),
        (
            "{agent: {name: a, input: x}, tool: {name: t, function: f}}",
            "exactly one of agent and tool",
        ),
        ("{agent: {name: a}}", "exactly one of input and messages"),
        (
            "{agent: {name: a, input: x}, timeoutSeconds: 0}",
            "timeoutSeconds",
        ),
        ("{agent: {name: a, input: x}, ttl: 5}", "ttl"),
        (
            "{agent: {name: a, messages: [{role: robot, text: x}]}}",
            "robot",
        ),
    ] {
        let error = world
            .cluster
            .apply(&run(spec))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(why), "{spec}: {error}");
    }
    world
        .cluster
        .apply(&run("{agent: {name: nobody, input: x}}"))
        .await
        .unwrap();
    for spec in [
        "{agent: {name: nobody, input: other}}",
        "{agent: {name: nobody, input: x}, timeoutSeconds: 5}",
    ] {
        let error = world
            .cluster
            .apply(&run(spec))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("only cancel may be set"), "{error}");
    }
    world
        .cluster
        .apply(&run("{agent: {name: nobody, input: x}, cancel: true}"))
        .await
        .unwrap();
    let error = world
        .cluster
        .apply(&run("{agent: {name: nobody, input: x}, cancel: false}"))
        .await;
    assert!(error.unwrap_err().to_string().contains("stays so"));
    ended_as(&world.over("r").await, RunPhase::Canceled, "canceled");
    // What has ended stays as it is, whoever writes.
    let undo = [
        "patch",
        "run/r",
        "--subresource=status",
        "--type=merge",
        "-p",
        r#"{"status":{"phase":"Pending"}}"#,
    ];
    let error = world.cluster.kubectl(&undo).await.unwrap_err().to_string();
    assert!(error.contains("stays as it is"), "{error}");
    world.cluster.kubectl(&["delete", "run/r"]).await.unwrap();
}

/// A large output is in the blob store of its host, for its tenant alone.
async fn blob(world: &World, host: &Host, text: &str) {
    let large = world.over("large").await;
    ended_as(&large, RunPhase::Succeeded, "");
    let output = status(&large).output.unwrap();
    assert_eq!(output.text, None);
    let blob = output.blob.unwrap();
    let answer = reqwest::get(&blob.where_).await.unwrap();
    let bytes = answer.bytes().await.unwrap();
    assert_eq!(bytes.len() as u64, blob.size);
    assert_eq!(ringfence_api::Digest::of(&bytes), blob.digest);
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(document["text"], text);
    for tenant in ["other", "ringfence-system"] {
        let url = format!("{}/api/v1/tenants/{tenant}/blobs/{}", host.url, blob.digest);
        assert_eq!(reqwest::get(&url).await.unwrap().status(), 404);
    }
    let url = format!("{}/api/v1/tenants/default/blobs/sha256:0", host.url);
    assert_eq!(reqwest::get(&url).await.unwrap().status(), 400);
}

/// A namespace is deleted while a run of it goes on: the run is ended, and nothing of it stays.
async fn namespace_goes(world: &World) {
    world
        .cluster
        .kubectl(&["create", "namespace", "brief"])
        .await
        .unwrap();
    // A chat agent: its component belongs to every tenant.
    let desk = "apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: m, namespace: brief}
spec: {provider: {scripted: {turns: [{text: done}]}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: a, namespace: brief}
spec: {instructions: Answer., model: {name: m}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Run
metadata: {name: r, namespace: brief}
spec: {agent: {name: a, input: hello}}
";
    world.cluster.apply(desk).await.unwrap();
    let wait = [
        "wait",
        "--for=condition=Finished",
        "run/r",
        "-n",
        "brief",
        "--timeout=60s",
    ];
    world.cluster.kubectl(&wait).await.unwrap();
    let done = [
        "get",
        "run/r",
        "-n",
        "brief",
        "-o",
        "jsonpath={.status.output.text}",
    ];
    assert_eq!(world.cluster.kubectl(&done).await.unwrap(), "done");
    let waits = desk
        .rsplit("---\n")
        .next()
        .unwrap()
        .replace("name: r,", "name: waits,")
        .replace("name: a,", "name: none,");
    world.cluster.apply(&waits).await.unwrap();
    world
        .cluster
        .kubectl(&["delete", "namespace", "brief", "--timeout=60s"])
        .await
        .unwrap();
}
