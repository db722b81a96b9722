//! What is away for a while, in the wrong order, or of another opinion about the time.

use std::time::{Duration, Instant};

use k8s_openapi::jiff::SignedDuration;
use ringfence_test_cluster::ControlPlane;
use serde_json::Value;

use crate::fixture::{Running, SYSTEM, condition, eventually, get, own_cluster};
use crate::hosts::{LEASE, PlayedHost};
use crate::interrupt::Cut;
use crate::scenario;

fn agents(names: &[&str]) -> String {
    let agent = |name: &&str| {
        format!(
            "apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {{name: {name}}}
spec: {{instructions: Answer briefly., model: {{name: small}}}}
---
"
        )
    };
    names.iter().map(agent).collect()
}

async fn apply(cluster: &ControlPlane, namespace: &str, names: &[&str]) {
    scenario::apply(cluster, namespace, &agents(names)).await;
}

/// Waits until exactly these agents are there, all ready, with one instance each and nothing else.
async fn ready(cluster: &ControlPlane, namespace: &str, names: &[&str]) {
    eventually(&format!("{names:?} of {namespace} are ready"), async || {
        let agents = get(cluster, "agents", namespace).await?;
        let instances = get(cluster, "instances", namespace).await?;
        let agents = agents["items"].as_array()?;
        let instances = instances["items"].as_array()?;
        let is_ready = |object: &Value| condition(object, "Ready")["status"] == "True";
        let all = agents.iter().all(is_ready) && instances.iter().all(is_ready);
        (all && agents.len() == names.len() && instances.len() == names.len()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_watch_that_has_missed_too_much_starts_anew() {
    let cluster = own_cluster().await;
    let _host = PlayedHost::start(cluster, "h", "default", 100).await;
    let leader = Running::start(cluster, "leader");
    leader.leads().await;
    apply(cluster, "default", &["a", "b"]).await;
    ready(cluster, "default", &["a", "b"]).await;
    // Another operator watches all this, and is to lead later.
    let cut = Cut::never();
    let other = Running::start_behind(cluster, "other", cut.clone());
    let kinds = ["agents", "instances", "hosts", "leases"];
    cut.watches(&kinds).await;
    assert!(cut.expired().is_empty());
    // Its watches end, and while none can start again, an instance goes and an agent comes. An API server that
    // starts after that knows nothing of what was before: who asks it for the changes since gets 410. Only who
    // compares what is there with what was there knows that an instance is to be made again.
    cut.close();
    leader.stop();
    cluster.restart_api_server().await.unwrap();
    let before = eventually("the API server answers", async || {
        get(cluster, "instances", "default").await
    })
    .await;
    let deletion = ["delete", "instance", "-l", "ringfence.dev/name=a"];
    cluster.kubectl(&deletion).await.unwrap();
    apply(cluster, "default", &["c"]).await;
    cluster.restart_api_server().await.unwrap();
    cut.open();
    // All this lasted longer than the host's Lease, of which the other heard nothing; it has to believe the host
    // again, and the host has to say again what it runs.
    ready(cluster, "default", &["a", "b", "c"]).await;
    // A watch that waits before it tries again may come to it later than those that this took.
    for kind in kinds {
        eventually(&format!("the watch of {kind} was told 410"), async || {
            let expired = cut.expired();
            expired
                .iter()
                .any(|path| path.ends_with(kind))
                .then_some(())
        })
        .await;
    }
    let uid = |instances: &Value, name: &str| {
        let items = instances["items"].as_array().unwrap();
        let mut of = items
            .iter()
            .filter(|i| i["metadata"]["labels"]["ringfence.dev/name"] == name);
        of.next().unwrap()["metadata"]["uid"].clone()
    };
    let after = get(cluster, "instances", "default").await.unwrap();
    assert_eq!(uid(&before, "b"), uid(&after, "b"));
    assert_ne!(uid(&before, "a"), uid(&after, "a"));
    other.stop();
}

#[tokio::test]
async fn etcd_hangs_longer_than_leases_last() {
    let cluster = own_cluster().await;
    let _host = PlayedHost::start(cluster, "h", "default", 100).await;
    let first = Running::start(cluster, "first");
    apply(cluster, "default", &["a", "b"]).await;
    ready(cluster, "default", &["a", "b"]).await;
    cluster.pause_etcd().await.unwrap();
    tokio::time::sleep(LEASE + Duration::from_secs(2)).await;
    cluster.resume_etcd().await.unwrap();
    // The first has stepped down, for it could not renew; its process would start again.
    let second = Running::start(cluster, "second");
    apply(cluster, "default", &["c"]).await;
    ready(cluster, "default", &["a", "b", "c"]).await;
    eventually("the host takes instances again", async || {
        let host = get(cluster, "host/h", SYSTEM).await?;
        (condition(&host, "Ready")["status"] == "True").then_some(())
    })
    .await;
    first.kill();
    second.stop();
}

#[tokio::test]
async fn hosts_hang_and_come_back_whatever_their_clocks_say() {
    let cluster = own_cluster().await;
    let operator = Running::start(cluster, "first");
    // A day late and a day early: only whether a Lease changes counts.
    let day = SignedDuration::from_hours(24);
    let late = PlayedHost::start_skewed(cluster, "late", "default", 100, -day).await;
    let early = PlayedHost::start_skewed(cluster, "early", "default", 100, day).await;
    apply(cluster, "default", &["a", "b"]).await;
    ready(cluster, "default", &["a", "b"]).await;
    tokio::time::sleep(LEASE * 2).await;
    let said = async |name: &str| {
        let host = get(cluster, &format!("host/{name}"), SYSTEM).await.unwrap();
        condition(&host, "Ready")["reason"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(said("late").await, "HostReady");
    assert_eq!(said("early").await, "HostReady");

    // Everything moves to the other one, and back when that one hangs and the first one is there again.
    for (hangs, stays) in [(&late, &early), (&early, &late)] {
        let before = Instant::now();
        hangs.freeze();
        eventually("everything runs elsewhere", async || {
            let instances = get(cluster, "instances", "default").await?;
            let items = instances["items"].as_array()?;
            let moved = items.iter().all(|i| i["spec"]["hostName"] == stays.name);
            moved.then_some(())
        })
        .await;
        assert!(before.elapsed() > LEASE / 2, "it was believed for a while");
        ready(cluster, "default", &["a", "b"]).await;
        assert_eq!(said(&hangs.name).await, "LeaseExpired");
        hangs.thaw();
        eventually("it is believed again", async || {
            (said(&hangs.name).await == "LeaseRenewed").then_some(())
        })
        .await;
    }
    operator.stop();
}

#[tokio::test]
async fn a_host_that_has_ended_is_lost_before_its_lease_is() {
    let cluster = own_cluster().await;
    let operator = Running::start(cluster, "first");
    let mut ends = PlayedHost::start(cluster, "ends", "default", 100).await;
    ends.listen(cluster).await;
    apply(cluster, "default", &["a"]).await;
    ready(cluster, "default", &["a"]).await;
    let said = async || {
        let host = get(cluster, "host/ends", SYSTEM).await?;
        Some(condition(&host, "Ready")["reason"].clone())
    };
    let _stays = PlayedHost::start(cluster, "stays", "default", 100).await;
    let before = Instant::now();
    ends.freeze();
    ends.close();
    eventually("its instance is moved", async || {
        let instances = get(cluster, "instances", "default").await?;
        (instances["items"][0]["spec"]["hostName"] == "stays").then_some(())
    })
    .await;
    let took = before.elapsed();
    assert!(took < LEASE, "nobody waited for the lease: {took:?}");
    ready(cluster, "default", &["a"]).await;
    eventually("it is said why", async || {
        (said().await? == "NotListening").then_some(())
    })
    .await;
    eventually("whoever describes it sees that", async || {
        let events = get(cluster, "events", SYSTEM).await?;
        let mut events = events["items"].as_array()?.iter();
        let told = |event: &Value| {
            event["reason"] == "NotListening" && event["involvedObject"]["name"] == "ends"
        };
        events.any(told).then_some(())
    })
    .await;
    ends.thaw();
    eventually("it is believed again", async || {
        (said().await? == "LeaseRenewed").then_some(())
    })
    .await;
    operator.stop();
}

#[tokio::test]
async fn who_hears_nothing_takes_nobody_for_lost() {
    let cluster = own_cluster().await;
    let cut = Cut::never();
    let operator = Running::start_behind(cluster, "first", cut.clone());
    let lives = PlayedHost::start(cluster, "lives", "default", 1).await;
    apply(cluster, "default", &["a"]).await;
    ready(cluster, "default", &["a"]).await;
    let hangs = PlayedHost::start(cluster, "hangs", "default", 1).await;
    apply(cluster, "default", &["b"]).await;
    ready(cluster, "default", &["a", "b"]).await;
    cut.deafen("/leases");
    // Whoever hears nothing has to ask; a host that hangs is told from one that lives by the answer.
    hangs.freeze();
    let said = async |host: &str| {
        let host = get(cluster, &format!("host/{host}"), SYSTEM).await?;
        Some(condition(&host, "Ready")["reason"].clone())
    };
    eventually("the one that hangs is lost", async || {
        (said("hangs").await? == "LeaseExpired").then_some(())
    })
    .await;
    let asked = cut.requests()[0];
    eventually("the other was asked for more than once", async || {
        (cut.requests()[0] >= asked + 2).then_some(())
    })
    .await;
    assert_eq!(said("lives").await.unwrap(), "HostReady");
    let instances = get(cluster, "instances", "default").await.unwrap();
    let on = |name: &str| {
        let mut items = instances["items"].as_array().unwrap().iter();
        items.any(|i| i["spec"]["hostName"] == name && condition(i, "Ready")["status"] == "True")
    };
    assert!(on(&lives.name) && !on(&hangs.name));
    cut.hear();
    hangs.thaw();
    eventually("it is heard again", async || {
        (said("hangs").await? == "LeaseRenewed").then_some(())
    })
    .await;
    operator.stop();
}

/// An operator, a host on which the agent `a` is ready, and one that takes instances and never gets them ready.
async fn with_a_host_that_says_nothing(
    cluster: &ControlPlane,
) -> (Running, PlayedHost, PlayedHost) {
    let operator = Running::start(cluster, "first");
    let first = PlayedHost::start(cluster, "first", "default", 100).await;
    apply(cluster, "default", &["a"]).await;
    ready(cluster, "default", &["a"]).await;
    let second = PlayedHost::start(cluster, "second", "default", 100).await;
    second.mute();
    (operator, first, second)
}

#[tokio::test]
async fn what_was_ready_elsewhere_is_not_ready_here() {
    let cluster = own_cluster().await;
    let (operator, first, _second) = with_a_host_that_says_nothing(cluster).await;
    first.freeze();
    let instance = eventually("it is moved", async || {
        let instances = get(cluster, "instances", "default").await?;
        let instance = instances["items"][0].clone();
        let moved = instance["spec"]["hostName"] == "second";
        (moved && condition(&instance, "Ready")["status"] != "True").then_some(instance)
    })
    .await;
    assert_eq!(condition(&instance, "Ready")["reason"], "Moved");
    eventually("its agent is not ready any more", async || {
        let agent = get(cluster, "agent/a", "default").await?;
        (condition(&agent, "Ready")["status"] == "False").then_some(())
    })
    .await;
    operator.stop();
}

#[tokio::test]
async fn what_comes_back_is_not_ready_before_its_host_says_so_again() {
    let cluster = own_cluster().await;
    let (operator, first, second) = with_a_host_that_says_nothing(cluster).await;
    // From here on nobody says anything: what the first has said is all there is.
    first.mute();
    let on = async |host: &str| {
        eventually(&format!("it is moved to {host}"), async || {
            let instances = get(cluster, "instances", "default").await?;
            let instance = instances["items"][0].clone();
            (instance["spec"]["hostName"] == host).then_some(instance)
        })
        .await
    };
    first.freeze();
    on("second").await;
    first.thaw();
    second.freeze();
    let back = on("first").await;
    assert_eq!(back["status"]["hostName"], "first");
    assert_eq!(condition(&back, "Ready")["status"], "False", "{back}");
    operator.stop();
}

#[tokio::test]
async fn a_namespace_goes_with_everything_that_runs_in_it() {
    let cluster = own_cluster().await;
    let _host = PlayedHost::start(cluster, "h", "default", 3).await;
    let operator = Running::start(cluster, "first");
    // All the room that there is.
    let names = ["a", "b", "c"];
    for _ in 0..2 {
        cluster
            .kubectl(&["create", "namespace", "desk"])
            .await
            .unwrap();
        apply(cluster, "desk", &names).await;
        ready(cluster, "desk", &names).await;
        let deleted = ["delete", "namespace", "desk", "--timeout=50s"];
        cluster.kubectl(&deleted).await.unwrap();
        let left = ["get", "instances,agents", "-A", "-o", "name"];
        assert_eq!(cluster.kubectl(&left).await.unwrap(), "");
    }
    // The room is free again for others.
    apply(cluster, "default", &names).await;
    ready(cluster, "default", &names).await;
    operator.stop();
}

#[tokio::test]
async fn definitions_come_late_backwards_and_twice() {
    let cluster: &'static ControlPlane = Box::leak(Box::new(ControlPlane::start().await.unwrap()));
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {SYSTEM}}}\n");
    cluster.apply(&namespace).await.unwrap();
    let operator = Running::start(cluster, "first");
    let yaml = ringfence_operator::crds::yaml().unwrap();
    let mut definitions: Vec<&str> = yaml.split("---\n").filter(|d| !d.is_empty()).collect();
    definitions.reverse();
    for definition in definitions.iter().chain(&definitions) {
        cluster.apply(definition).await.unwrap();
    }
    let wait = [
        "wait",
        "--for=condition=Established",
        "crd",
        "--all",
        "--timeout=30s",
    ];
    cluster.kubectl(&wait).await.unwrap();
    let _host = PlayedHost::start(cluster, "h", "default", 100).await;
    apply(cluster, "default", &["a"]).await;
    ready(cluster, "default", &["a"]).await;
    let writes = operator.writes();
    // Once more, while everything runs: nothing is to be done.
    cluster.apply(&yaml).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    ready(cluster, "default", &["a"]).await;
    assert_eq!(operator.writes(), writes);
    operator.stop();
}
