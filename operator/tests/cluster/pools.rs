//! Pools whose hosts the operator runs, under the account that the chart gives to it.

use ringfence_operator::run::Settings;
use ringfence_test_cluster::ControlPlane;

use crate::fixture::{Running, SYSTEM, condition, eventually, get, host_settings, own_cluster};

const PARTS: &str =
    "deployments,services,poddisruptionbudgets,networkpolicies,horizontalpodautoscalers";

fn pool(hosts: &str) -> String {
    format!(
        "apiVersion: ringfence.dev/v1alpha1
kind: HostPool
metadata: {{name: red}}
spec: {hosts}
"
    )
}

async fn parts(cluster: &ControlPlane) -> Vec<String> {
    let label = "ringfence.dev/pool=red";
    let names = ["get", PARTS, "-n", SYSTEM, "-l", label, "-o", "name"];
    let names = cluster.kubectl(&names).await.unwrap();
    names.lines().map(str::to_owned).collect()
}

async fn until_parts(cluster: &ControlPlane, what: &str, count: usize) {
    let there = async || (parts(cluster).await.len() == count).then_some(());
    eventually(what, there).await;
}

/// Waits until the operator has written nothing for a while.
async fn settled(operator: &Running) -> u64 {
    let mut before = operator.writes();
    loop {
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let now = operator.writes();
        if now == before {
            return now;
        }
        before = now;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_runs_the_hosts_of_pools_that_ask_for_it() {
    let cluster = own_cluster().await;
    cluster.apply_permissions_of_chart(SYSTEM).await.unwrap();
    let account = cluster
        .kubeconfig_for_service_account(SYSTEM, "ringfence-operator")
        .await
        .unwrap();
    let start = || {
        let settings = Settings {
            namespace: SYSTEM.to_owned(),
            identity: "operator".to_owned(),
            hosts: Some(host_settings()),
            custom_metrics: None,
            certificates: ringfence_operator::certificates::Settings::default(),
        };
        Running::start_as(account.clone(), settings)
    };
    let operator = start();

    // Hosts that somebody else runs are none of the operator's business.
    cluster
        .apply(&pool("{isolation: dedicated}"))
        .await
        .unwrap();
    eventually("a pool without hosts has a status", async || {
        let pool = get(cluster, "hostpool/red", SYSTEM).await?;
        (condition(&pool, "Ready")["reason"] == "NoHosts").then_some(())
    })
    .await;
    assert_eq!(parts(cluster).await, [""; 0]);

    let hosts = "{hosts: {replicas: 3, resources: {cpuMillis: 1500}, tolerations: [{key: a, operator: Exists}], env: {RINGFENCE_LOG: debug}, insecureRegistries: ['registry.test:5000']}}";
    cluster.apply(&pool(hosts)).await.unwrap();
    until_parts(cluster, "a pool has its parts", 4).await;
    // There is no scheduler here: the Pods wait.
    eventually("the Deployment is told of", async || {
        let pool = get(cluster, "hostpool/red", SYSTEM).await?;
        let deployed = condition(&pool, "Deployed");
        let message = deployed["message"].as_str()?;
        (deployed["reason"] == "Progressing" && message.contains("of 3 hosts")).then_some(())
    })
    .await;

    // Nothing is written where nothing changes, also by an operator that has just started.
    settled(&operator).await;
    operator.stop();
    let operator = start();
    operator.leads().await;
    assert_eq!(settled(&operator).await, 0, "writes without need");

    // Who opens a door finds it closed again.
    let policy = "networkpolicy/ringfence-red";
    let open = r#"[{"op": "replace", "path": "/spec/ingress", "value": [{}]}]"#;
    let patch = ["patch", policy, "-n", SYSTEM, "--type=json", "-p", open];
    cluster.kubectl(&patch).await.unwrap();
    eventually("the policy is as it was", async || {
        let policy = get(cluster, policy, SYSTEM).await?;
        (policy["spec"]["ingress"][0]["ports"][0]["port"] == 7070).then_some(())
    })
    .await;

    // And who deletes a part finds it again.
    let delete = ["delete", "service/ringfence-red", "-n", SYSTEM];
    cluster.kubectl(&delete).await.unwrap();
    until_parts(cluster, "the service is there again", 4).await;

    let scaling = "{hosts: {autoscaling: {minReplicas: 2, maxReplicas: 5}}}";
    cluster.apply(&pool(scaling)).await.unwrap();
    until_parts(cluster, "an autoscaler comes", 5).await;
    let deployment = get(cluster, "deployment/ringfence-red", SYSTEM).await;
    let replicas = &deployment.unwrap()["spec"]["replicas"];
    assert_eq!(*replicas, 3, "hosts that there are stay");
    cluster
        .apply(&pool("{hosts: {replicas: 1}}"))
        .await
        .unwrap();
    until_parts(cluster, "and goes", 4).await;

    cluster.apply(&pool("{isolation: shared}")).await.unwrap();
    until_parts(cluster, "hosts are somebody else's again", 0).await;
    eventually("which nothing is said about", async || {
        let pool = get(cluster, "hostpool/red", SYSTEM).await?;
        condition(&pool, "Deployed").is_null().then_some(())
    })
    .await;

    cluster.apply(&pool("{hosts: {}}")).await.unwrap();
    until_parts(cluster, "a pool has its parts", 4).await;
    cluster.kubectl(&["delete", "hostpool/red"]).await.unwrap();
    until_parts(cluster, "which go with it", 0).await;
    operator.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contradictions_are_refused() {
    let cluster = crate::fixture::cluster().await;
    for (hosts, told) in [
        (
            "{hosts: {replicas: 1, autoscaling: {minReplicas: 1, maxReplicas: 2}}}",
            "contradict",
        ),
        (
            "{hosts: {autoscaling: {minReplicas: 3, maxReplicas: 2}}}",
            "minReplicas is more",
        ),
        ("{hosts: {env: {POD_NAME: x}}}", "sets POD_*"),
        ("{hosts: {resources: {memoryBytes: 1}}}", "memoryBytes"),
        ("{hosts: {replica: 1}}", "not declared"),
    ] {
        let refused = cluster.apply(&pool(hosts)).await;
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(told), "{hosts}: {error}");
    }
    let long =
        pool("{hosts: {replicas: 0}}").replace("name: red", &format!("name: {}", "p".repeat(37)));
    let error = cluster.apply(&long).await.unwrap_err().to_string();
    assert!(error.contains("at most 36 characters"), "{error}");
}
