//! The chart: that Helm finds nothing wrong with it, that a real API server takes what it makes, and that it
//! refuses values that nothing would heed.
#![allow(clippy::unwrap_used, clippy::panic)] // tests fail by panicking

use std::collections::BTreeSet;

use clap::Parser as _;
use ringfence_operator::args::{Args, Command};
use ringfence_operator::custom_metrics;
use ringfence_operator::host_account::{HOST_ACCOUNT, host_user};
use ringfence_test_cluster::{ControlPlane, chart, shared};
use serde_json::{Value, json};

const SYSTEM: &str = "ringfence-system";
const SERVE_METRICS: &str = "--set=autoscaling.serveMetrics=true";

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

    let everything = "--set=image.pullSecrets={registry},operator.podLabels.team=red,operator.podAnnotations.a=b,operator.nodeSelector.disk=fast,defaultPool.spec.hosts.replicas=null,defaultPool.spec.hosts.autoscaling.minReplicas=1,defaultPool.spec.hosts.autoscaling.maxReplicas=3,autoscaling.serveMetrics=true";
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
        ("autoscaling.serveMetrics=yes", "serveMetrics"),
        ("autoscaling.minReplicas=1", "minReplicas"),
    ] {
        let refused = helm(cluster, &["template", "ringfence", "--set", value]).await;
        let error = refused.unwrap_err();
        assert!(error.contains(told), "{value}: {error}");
    }
}

#[tokio::test]
async fn the_operator_takes_its_arguments_and_hosts_have_the_account_that_it_counts_on() {
    let cluster = shared().await;
    let template = ["template", "ringfence", "-n", SYSTEM];
    let rendered = helm(cluster, &template).await.unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).unwrap();
    let of = |kind: &str| {
        let kind = kind.to_owned();
        let is = move |object: &&Value| object["kind"] == *kind;
        objects.iter().filter(is)
    };
    let deployment = of("Deployment").next().unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let words = [&container["command"], &container["args"]];
    let words = words.iter().flat_map(|words| words.as_array().unwrap());
    let words = words.map(|word| word.as_str().unwrap().replace("$(POD_NAME)", "pod"));
    let Command::Run {
        host_user: None,
        custom_metrics_listen: None,
        ..
    } = Args::try_parse_from(words).unwrap().command
    else {
        panic!("hosts have the account of the chart");
    };

    let made = |object: &&Value| object["metadata"]["name"] == HOST_ACCOUNT;
    assert_eq!(of("ServiceAccount").filter(made).count(), 1);
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        let bound = of(kind).find(made).unwrap();
        let expected =
            json!([{"kind": "ServiceAccount", "name": HOST_ACCOUNT, "namespace": SYSTEM}]);
        assert_eq!(bound["subjects"], expected, "{kind}");
    }
    // Policies speak of it in their expressions: by its user, and as the one to whom the operator may give.
    let policies: Vec<String> = of("ValidatingAdmissionPolicy")
        .map(Value::to_string)
        .collect();
    for said in [
        format!("request.userInfo.username == '{}'", host_user(SYSTEM)),
        format!("subject.name == '{HOST_ACCOUNT}'"),
    ] {
        assert!(
            policies.iter().any(|policy| policy.contains(&said)),
            "{said}"
        );
    }
}

#[tokio::test]
async fn who_asks_for_custom_metrics_is_led_to_the_operator() {
    let cluster = shared().await;
    let template = ["template", "ringfence", "-n", SYSTEM, SERVE_METRICS];
    let rendered = helm(cluster, &template).await.unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).unwrap();
    let find = |kind: &str, name: &str| {
        let is = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
        objects
            .iter()
            .find(is)
            .unwrap_or_else(|| panic!("no {kind} {name}"))
    };
    let led = &find("APIService", custom_metrics::API_SERVICE)["spec"];
    assert_eq!(led["group"], custom_metrics::GROUP);
    assert_eq!(led["version"], custom_metrics::VERSION);
    let to = json!({"name": custom_metrics::SERVICE, "namespace": SYSTEM, "port": 443});
    assert_eq!(led["service"], to);
    assert!(
        led.get("caBundle").is_none(),
        "that is the operator's to say"
    );
    let service = &find("Service", custom_metrics::SERVICE)["spec"];
    assert_eq!(service["ports"][0]["port"], 443);
    let port = &service["ports"][0]["targetPort"];
    let deployment = &find("Deployment", "ringfence-operator")["spec"]["template"];
    let container = &deployment["spec"]["containers"][0];
    let ports = container["ports"].as_array().unwrap();
    let listens = ports.iter().find(|known| known["name"] == *port).unwrap();
    let words = [&container["command"], &container["args"]];
    let words = words.iter().flat_map(|words| words.as_array().unwrap());
    let words = words.map(|word| word.as_str().unwrap());
    let Command::Run {
        custom_metrics_listen: Some(listen),
        ..
    } = Args::try_parse_from(words).unwrap().command
    else {
        panic!("the operator serves");
    };
    assert_eq!(listens["containerPort"], listen.port());
    let policy = find("NetworkPolicy", "ringfence-operator");
    assert_eq!(policy["spec"]["ingress"][1]["ports"][0]["port"], *port);
    for (key, value) in service["selector"].as_object().unwrap() {
        assert_eq!(deployment["metadata"]["labels"][key], *value);
    }
}

#[tokio::test]
async fn a_cluster_whose_metrics_somebody_else_serves_is_left_alone() {
    let cluster = ControlPlane::start().await.unwrap();
    let install = [
        "install",
        "ringfence",
        "-n",
        "default",
        "--dry-run=server",
        // Its kind is not there in a dry run.
        "--set=defaultPool.enabled=false",
        SERVE_METRICS,
    ];
    helm(&cluster, &install).await.unwrap();
    let theirs = "apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta1.custom.metrics.k8s.io}
spec:
  group: custom.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: prometheus-adapter, namespace: monitoring}
";
    cluster.apply(theirs).await.unwrap();
    let error = helm(&cluster, &install).await.unwrap_err();
    assert!(
        error.contains("Service monitoring/prometheus-adapter"),
        "{error}"
    );
    helm(&cluster, &install[..6]).await.unwrap();
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
