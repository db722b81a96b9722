//! The chart: that Helm finds nothing wrong with it, that a real API server takes what it makes, and that it
//! refuses values that nothing would heed.
#![allow(clippy::unwrap_used)] // tests fail by panicking

use std::collections::BTreeSet;

use ringfence_test_cluster::{ControlPlane, chart, shared};

const SYSTEM: &str = "ringfence-system";

async fn helm(cluster: &ControlPlane, arguments: &[&str]) -> Result<String, String> {
    let chart = chart().display().to_string();
    let arguments = [arguments, &[&chart]].concat();
    let done = cluster.helm(&arguments).await;
    done.map_err(|error| error.to_string())
}

#[tokio::test]
async fn helm_finds_nothing_wrong_with_it() {
    let cluster = shared().await;
    helm(cluster, &["lint", "--strict"]).await.unwrap();
}

#[tokio::test]
async fn a_real_api_server_takes_everything_that_it_makes() {
    let cluster = shared().await;
    cluster
        .apply(&ringfence_operator::crds::yaml().unwrap())
        .await
        .unwrap();
    let established = ["wait", "--for=condition=Established", "crd", "--all"];
    cluster.kubectl(&established).await.unwrap();
    let create = ["create", "namespace", SYSTEM];
    cluster.kubectl(&create).await.unwrap();
    // The Pods of the chart keep to the restricted standard: with this label, `kubectl` is warned of those that
    // do not, and takes a warning for an error.
    let restricted = "pod-security.kubernetes.io/warn=restricted";
    let label = ["label", "namespace", SYSTEM, restricted];
    cluster.kubectl(&label).await.unwrap();

    let everything = "--set=image.pullSecrets={registry},operator.podLabels.team=red,operator.podAnnotations.a=b,operator.nodeSelector.disk=fast,defaultPool.spec.hosts.replicas=null,defaultPool.spec.hosts.autoscaling.minReplicas=1,defaultPool.spec.hosts.autoscaling.maxReplicas=3";
    let least = "--set=defaultPool.enabled=false,networkPolicy.enabled=false,crds.upgrade=false";
    for arguments in [
        &["--is-upgrade"][..],
        &["--is-upgrade", everything],
        &[least],
    ] {
        let template = [&["template", "ringfence", "-n", SYSTEM], arguments].concat();
        let rendered = helm(cluster, &template).await.unwrap();
        let apply = [
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "--warnings-as-errors",
            "-f",
            "-",
        ];
        cluster
            .kubectl_as(cluster.kubeconfig(), &apply, &rendered)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn values_that_nothing_heeds_are_refused() {
    let cluster = shared().await;
    for (value, told) in [
        ("operator.replica=2", "replica"),
        ("image.digest=latest", "digest"),
        ("operator.replicas=0", "replicas"),
        ("networkPolicy.apiServerPorts={x}", "apiServerPorts"),
        ("hostPool.enabled=true", "hostPool"),
    ] {
        let refused = helm(cluster, &["template", "ringfence", "--set", value]).await;
        let error = refused.unwrap_err();
        assert!(error.contains(told), "{value}: {error}");
    }
}

#[test]
fn it_has_the_definitions_of_all_kinds() {
    let files: BTreeSet<String> = std::fs::read_dir(chart().join("crds"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let kinds = ringfence_operator::crds::files().unwrap();
    let names: BTreeSet<String> = kinds.into_iter().map(|(name, _)| name).collect();
    assert_eq!(files, names);
}
