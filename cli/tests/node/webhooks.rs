//! Admission webhooks of others that match everything and fail closed: while such a one does not answer, nobody can
//! write anything, not even renew a Lease.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ringfence_api::chain;
use ringfence_test_cluster::{ControlPlane, Opinion, Webhook};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{DESK, Host, PATIENCE, SYSTEM, operate, operated, ready};

/// Who is not asked about: somebody has to bring and remove agents meanwhile.
const PERSON: &str = "person";
const NOT_PERSON: &str = "request.userInfo.username != 'person'";
/// Longer than Leases of hosts last, also by the clock of an operator that has begun anew meanwhile.
const OUTAGE: Duration = Duration::from_secs(18);
/// How much later than others one host is heard again: less than its Lease lasts.
const LATER: Duration = Duration::from_secs(4);
/// Renewals that are tried in a second: two hosts, the operator, and the API server's own.
const MOST_LEASES: u64 = 6;
/// What a person is told to do.
const HINT: &str = "this webhook is not Ringfence's: bring it back";
const LATE: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: late, namespace: default}
spec: {instructions: Take notes., model: {name: scribe-model}}
";

/// Everything that Ringfence writes, in parts that are counted one by one.
fn everything() -> [(&'static str, Value); 5] {
    let rule = |group: &str, resources: &[&str]| {
        json!({
            "apiGroups": [group], "apiVersions": ["*"], "operations": ["*"],
            "resources": resources, "scope": "*",
        })
    };
    let own = "ringfence.dev";
    [
        ("leases", rule("coordination.k8s.io", &["leases"])),
        (
            "roles",
            rule("rbac.authorization.k8s.io", &["roles", "rolebindings"]),
        ),
        ("instances", rule(own, &["instances", "instances/status"])),
        ("hosts", rule(own, &["hosts", "hosts/status"])),
        (
            "workloads",
            rule(
                own,
                &[
                    "agents",
                    "agents/status",
                    "tools",
                    "tools/status",
                    "models",
                    "models/status",
                    "runs",
                    "runs/status",
                    "ceilings/status",
                    "hostpools/status",
                ],
            ),
        ),
    ]
}

/// An operator that is started again whenever it ends, as its Pod is; and what it said each time.
struct Supervised {
    task: JoinHandle<()>,
    ends: Arc<Mutex<Vec<String>>>,
}

impl Supervised {
    fn start(cluster: Arc<ControlPlane>, mut running: super::Operating) -> Self {
        let ends: Arc<Mutex<Vec<String>>> = Arc::default();
        let said = ends.clone();
        let task = tokio::spawn(async move {
            loop {
                let ended = running.await.unwrap();
                said.lock().push(chain(&ended.unwrap_err()));
                running = operate(&cluster).await;
            }
        });
        Self { task, ends }
    }
}

/// Writes that failed because the webhook did not answer, by rule.
async fn failed(cluster: &ControlPlane) -> BTreeMap<String, u64> {
    let metrics = cluster
        .kubectl(&["get", "--raw", "/metrics"])
        .await
        .unwrap();
    let mut failed = BTreeMap::new();
    for line in metrics.lines() {
        let Some(labels) = line.strip_prefix("apiserver_admission_webhook_rejection_count{") else {
            continue;
        };
        let (Some(name), Some((_, count))) =
            (labels.split("name=\"").nth(1), line.rsplit_once(' '))
        else {
            continue;
        };
        let rule = name.split('.').next().unwrap_or_default();
        *failed.entry(rule.to_owned()).or_default() += count.parse::<u64>().unwrap();
    }
    failed
}

/// Which host each instance is on, by agent or tool, unique id and all.
async fn places(cluster: &ControlPlane) -> BTreeMap<String, (String, String)> {
    let all = cluster
        .kubectl(&["get", "instances", "-A", "-o", "json"])
        .await;
    let all: Value = serde_json::from_str(&all.unwrap()).unwrap();
    let place = |i: &Value| {
        let labels = &i["metadata"]["labels"];
        let name = format!(
            "{}/{}",
            labels["ringfence.dev/kind"], labels["ringfence.dev/name"]
        );
        let host = i["spec"]["hostName"].to_string();
        (
            name.replace('"', ""),
            (i["metadata"]["uid"].to_string(), host),
        )
    };
    all["items"].as_array().unwrap().iter().map(place).collect()
}

async fn survives(kind: &str, bring: impl FnOnce(&mut Webhook)) {
    let (cluster, operator) = operated().await;
    let cluster = Arc::new(cluster);
    let operator = Supervised::start(cluster.clone(), operator);
    let [first, second] = ["first", "second"].map(|name| Host::start(&cluster, name));
    cluster.apply(DESK).await.unwrap();
    for what in ["agent/scribe", "agent/writer", "tool/scribe"] {
        ready(&cluster, what).await;
    }
    let mut before = places(&cluster).await;
    let asked = match before["agent/scribe"].1.contains("first") {
        true => &first,
        false => &second,
    };
    let person = cluster
        .kubeconfig_for(PERSON, Some("system:masters"))
        .unwrap();

    let mut webhook = Webhook::away().unwrap();
    bring(&mut webhook);
    webhook
        .install(&cluster, kind, "fence", &everything(), NOT_PERSON)
        .await
        .unwrap();
    let begun = Instant::now();
    let apply = ["apply", "--server-side", "-f", "-"];
    cluster.kubectl_as(&person, &apply, LATE).await.unwrap();
    let delete = ["delete", "agent/writer", "--wait=false"];
    cluster.kubectl_as(&person, &delete, "").await.unwrap();
    while begun.elapsed() < OUTAGE {
        let answer = asked.ask("scribe", "milk").await;
        assert_eq!(answer.unwrap(), "noted: milk");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let failed = failed(&cluster).await;
    println!("{failed:?} failed within {OUTAGE:?}");
    let leases = failed["leases"];
    assert!(
        leases > 0 && leases < OUTAGE.as_secs() * MOST_LEASES,
        "{failed:?}"
    );
    let ends = operator.ends.lock().clone();
    assert_eq!(ends.len(), 1, "it waits for its turn again: {ends:?}");
    let lease = "failed calling webhook \"leases.fence.example.com\"";
    assert!(
        ends[0].contains(lease) && ends[0].contains(HINT),
        "{ends:?}"
    );

    // When it is back, some are heard sooner than others.
    let back = Instant::now();
    let late = move |request: &Value| {
        request["resource"]["resource"] == "leases"
            && request["name"] == "second"
            && back.elapsed() < LATER
    };
    let judge = move |request: &Value| match late(request) {
        true => Opinion::Deny("not yet".to_owned()),
        false => Opinion::Allow,
    };
    webhook.answer(judge).unwrap();
    for what in ["agent/scribe", "tool/scribe", "agent/late"] {
        ready(&cluster, what).await;
    }
    println!("ready {:?} after it was back", back.elapsed());
    let gone = async {
        while places(&cluster).await.contains_key("agent/writer") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
    tokio::time::sleep(LATER.saturating_sub(back.elapsed())).await;
    for host in ["host/first", "host/second"] {
        let wait = [
            "wait",
            "--for=condition=Ready",
            host,
            "-n",
            SYSTEM,
            "--timeout=60s",
        ];
        cluster.kubectl(&wait).await.unwrap();
    }
    // What ran runs where it ran; what came is there, what went is gone, and nothing else.
    let mut after = places(&cluster).await;
    let (_, host) = after.remove("agent/late").unwrap();
    before.remove("agent/writer").unwrap();
    assert_eq!(after, before);
    let of_late = if host.contains("first") {
        &first
    } else {
        &second
    };
    assert_eq!(of_late.ask("late", "milk").await.unwrap(), "noted: milk");
    for log in [first.log(), second.log()] {
        assert!(
            log.contains("leases.fence.example.com") && log.contains(HINT),
            "{log}"
        );
        assert!(!log.contains("panicked"), "{log}");
    }
    assert_eq!(operator.ends.lock().len(), 1);
    operator.task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_away_holds_up_only_what_is_new() {
    survives("Validating", |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_never_answers_holds_up_only_what_is_new() {
    survives("Mutating", |webhook| webhook.hang().unwrap()).await;
}
