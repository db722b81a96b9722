//! What the API server does with renewals of Leases: they come before what else service accounts want.

use std::time::Duration;

use serde_json::Value;

use super::fixture::{Cluster, PATIENCE, SYSTEM};

/// The chart's schemas, and the priorities of Kubernetes itself that they stand for.
const LEADER: Flow = Flow("ringfence-leader-election", "leader-election");
const HOSTS: Flow = Flow("ringfence-hosts", "node-high");
/// Where everything else of service accounts goes.
const REST: Flow = Flow("service-accounts", "workload-low");
/// Renewals that are waited for.
const RENEWALS: u64 = 3;

/// A FlowSchema and its PriorityLevelConfiguration.
#[derive(Clone, Copy)]
struct Flow(&'static str, &'static str);

impl Flow {
    /// Requests that it let through so far.
    async fn dispatched(self, cluster: &Cluster) -> u64 {
        let Self(schema, level) = self;
        let metrics = cluster.kubectl(&["get", "--raw", "/metrics"]).await;
        let name = format!(
            "apiserver_flowcontrol_dispatched_requests_total{{flow_schema=\"{schema}\",priority_level=\"{level}\"}} "
        );
        let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
        count.map_or(0, |count| count.parse().unwrap())
    }

    /// Waits until it has let renewals through.
    async fn takes(self, cluster: &Cluster) {
        let before = self.dispatched(cluster).await;
        let more = async {
            while self.dispatched(cluster).await < before + RENEWALS {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let more = tokio::time::timeout(PATIENCE, more).await;
        assert!(more.is_ok(), "{} lets nothing through", self.0);
    }

    /// Waits until a Lease is renewed as often without any request that it lets through.
    async fn is_passed_by(self, cluster: &Cluster, lease: &str) {
        let passed = async {
            loop {
                let before = self.dispatched(cluster).await;
                for _ in 0..RENEWALS {
                    renewed(cluster, lease).await;
                }
                if self.dispatched(cluster).await == before {
                    return;
                }
            }
        };
        let passed = tokio::time::timeout(PATIENCE, passed).await;
        assert!(passed.is_ok(), "{} lets them through", self.0);
    }

    async fn is_of(self, cluster: &Cluster, account: &str) {
        let path = "/spec/rules/0/subjects/0/serviceAccount/name";
        let patch = format!(r#"[{{"op": "replace", "path": "{path}", "value": "{account}"}}]"#);
        let patch = ["patch", "flowschema", self.0, "--type=json", "-p", &patch];
        cluster.kubectl(&patch).await;
    }
}

/// Waits until a Lease is renewed.
async fn renewed(cluster: &Cluster, lease: &str) {
    let path = "jsonpath={.spec.renewTime}";
    let get = ["get", "lease", lease, "-n", SYSTEM, "-o", path];
    let before = cluster.kubectl(&get).await;
    while cluster.kubectl(&get).await == before {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_come_before_what_else_service_accounts_want() {
    let cluster = Cluster::start().await;
    let _host = cluster.host("h", &[]).await;
    for flow in [LEADER, HOSTS] {
        let schema = cluster
            .kubectl(&["get", "flowschema", flow.0, "-o", "json"])
            .await;
        let schema: Value = serde_json::from_str(&schema).unwrap();
        let level = &schema["spec"]["priorityLevelConfiguration"]["name"];
        assert_eq!(level, flow.1);
        let conditions = schema["status"]["conditions"].as_array().unwrap();
        let dangling = conditions.iter().find(|c| c["type"] == "Dangling").unwrap();
        assert_eq!(dangling["status"], "False", "{dangling}");
        flow.takes(&cluster).await;
    }
    // They do something else, too, and that goes where it went before.
    assert!(REST.dispatched(&cluster).await > 0);
    // A schema that names nobody lets nothing through: what was counted above were these renewals.
    for (flow, account, lease) in [
        (LEADER, "ringfence-operator", "ringfence-operator"),
        (HOSTS, "ringfence-host", "h"),
    ] {
        flow.is_of(&cluster, "nobody").await;
        flow.is_passed_by(&cluster, lease).await;
        flow.is_of(&cluster, account).await;
        flow.takes(&cluster).await;
    }
}
