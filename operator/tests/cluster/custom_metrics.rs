//! Custom metrics through a real API server: what hosts say is what autoscalers read, and nobody else gets to it.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Config};
use ringfence_operator::certificates;
use ringfence_operator::custom_metrics::{self, API_SERVICE, SERVICE};
use ringfence_operator::http::Ready;
use ringfence_operator::run::Settings;
use ringfence_test_cluster::ControlPlane;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::fixture::{Running, SYSTEM, eventually, get, own_cluster};

const LEASE: Duration = Duration::from_secs(2);
const PODS: &str = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ringfence-system/pods";
/// What an autoscaler of the pool `red` asks for.
const OF_RED: &str = "labelSelector=app.kubernetes.io%2Fcomponent%3Dhost%2Capp.kubernetes.io%2Fname%3Dringfence%2Cringfence.dev%2Fpool%3Dred";

/// An operator that serves.
struct Serving {
    operator: Running,
    address: SocketAddr,
}

impl Serving {
    fn start(account: &std::path::Path, identity: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Settings {
            namespace: SYSTEM.to_owned(),
            identity: identity.to_owned(),
            hosts: None,
            certificates: certificates::Settings {
                look: Duration::from_millis(500),
                ..certificates::Settings::default()
            },
            custom_metrics: Some(custom_metrics::Settings {
                listener: Arc::new(listener),
                look: Duration::from_millis(500),
                ready: Ready::default(),
            }),
        };
        let operator = Running::start_as(account.to_owned(), settings);
        Self { operator, address }
    }
}

/// The Pod of a host, which nobody runs, and the Lease that it would renew.
struct Busy(JoinHandle<()>);

impl Busy {
    async fn start(cluster: &ControlPlane, name: &str, pool: &str, used: &str) -> Self {
        let pod = format!(
            "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {SYSTEM}
  labels: {{app.kubernetes.io/name: ringfence, app.kubernetes.io/component: host, ringfence.dev/pool: {pool}}}
spec: {{serviceAccountName: ringfence-host, containers: [{{name: host, image: none}}]}}
"
        );
        cluster.apply(&pod).await.unwrap();
        let leases: Api<Lease> = Api::namespaced(cluster.client().await.unwrap(), SYSTEM);
        let name = name.to_owned();
        let used = used.to_owned();
        Self(tokio::spawn(async move {
            for renewal in 0_u64.. {
                let lease = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {
                        "name": name, "labels": {"ringfence.dev/host": "true"},
                        "annotations": {"ringfence.dev/pool-used": used},
                    },
                    "spec": {
                        "leaseDurationSeconds": LEASE.as_secs(),
                        "holderIdentity": format!("{name}-{renewal}"),
                    },
                });
                let params = PatchParams::apply("ringfence-host").force();
                let patch = Patch::Apply(&lease);
                leases.patch(&name, &params, &patch).await.unwrap();
                tokio::time::sleep(LEASE / 5).await;
            }
        }))
    }

    /// Its Lease runs out.
    fn stop(self) {
        self.0.abort();
    }
}

/// What `kubectl get --raw` says; the error where it is refused.
async fn raw(cluster: &ControlPlane, path: &str, user: &str) -> Result<Value, String> {
    let arguments = ["get", "--raw", path, "--as", user];
    let said = cluster.kubectl(&arguments).await;
    let said = said.map_err(|error| error.to_string())?;
    Ok(serde_json::from_str(&said).unwrap())
}

/// Pods and their values.
fn told(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap().iter();
    let items = items.map(|item| {
        let name = item["describedObject"]["name"].as_str().unwrap();
        format!("{name}={}", item["value"].as_str().unwrap())
    });
    items.collect()
}

async fn until(cluster: &ControlPlane, what: &str, path: &str, expected: &[&str]) {
    eventually(what, async || {
        let list = raw(cluster, path, AUTOSCALER).await.ok()?;
        (told(&list) == expected).then_some(())
    })
    .await;
}

/// The account of the autoscaling controller; Kubernetes' own role lets it read all custom metrics.
const AUTOSCALER: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";

async fn bundle(cluster: &ControlPlane) -> String {
    let map = get(cluster, "configmap/ringfence-ca", SYSTEM)
        .await
        .unwrap();
    map["data"]["ca.crt"].as_str().unwrap().to_owned()
}

/// Speaks to an operator without the API server between: says what of `status` it is answered for a user, and 0 where
/// no connection comes about.
async fn direct(
    cluster: &ControlPlane,
    to: SocketAddr,
    proof: Option<(PathBuf, PathBuf)>,
    user: &str,
) -> u16 {
    let mut config = Config::new(format!("https://{to}").parse().unwrap());
    let authorities = CertificateDer::pem_slice_iter(bundle(cluster).await.as_bytes())
        .map(|authority| authority.unwrap().to_vec())
        .collect();
    config.root_cert = Some(authorities);
    config.tls_server_name = Some(format!("{SERVICE}.{SYSTEM}.svc"));
    if let Some((certificate, key)) = proof {
        config.auth_info.client_certificate = Some(certificate.display().to_string());
        config.auth_info.client_key = Some(key.display().to_string());
    }
    let client = Client::try_from(config).unwrap();
    let request = http::Request::get(format!("{PODS}/*/ringfence_pool_used?{OF_RED}"))
        .header("x-remote-user", user)
        .body(Vec::new())
        .unwrap();
    match client.request_text(request).await {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(_) => 0,
    }
}

async fn api_service(cluster: &ControlPlane) -> Value {
    get(cluster, &format!("apiservice/{API_SERVICE}"), SYSTEM)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn autoscalers_read_what_hosts_say_and_strangers_nothing() {
    let cluster = own_cluster().await;
    let opted_in = ["--set=autoscaling.serveMetrics=true"];
    cluster
        .apply_permissions_of_chart_with(SYSTEM, &opted_in)
        .await
        .unwrap();
    let account = cluster
        .kubeconfig_for_service_account(SYSTEM, "ringfence-operator")
        .await
        .unwrap();
    let first = Serving::start(&account, "operator-0");
    first.operator.leads().await;
    // The Service leads to this process: a name in place of Pods, and the port of the operator.
    let port = first.address.port();
    let leads_here = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {SERVICE}, namespace: {SYSTEM}}}
spec: {{type: ExternalName, externalName: localhost}}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {{name: {API_SERVICE}}}
spec:
  group: custom.metrics.k8s.io
  version: v1beta2
  groupPriorityMinimum: 100
  versionPriority: 200
  service: {{name: {SERVICE}, namespace: {SYSTEM}, port: {port}}}
"
    );
    cluster.apply(&leads_here).await.unwrap();
    let wait = [
        "wait",
        "--for=condition=Available",
        "apiservice",
        API_SERVICE,
        "--timeout=60s",
    ];
    cluster.kubectl(&wait).await.unwrap();

    // It tells the truth, of those that are asked for, and only as long as it is one.
    let red_1 = Busy::start(cluster, "red-1", "red", "1500m").await;
    let _red_2 = Busy::start(cluster, "red-2", "red", "0m").await;
    let _blue = Busy::start(cluster, "blue-1", "blue", "4000m").await;
    let _liar = Busy::start(cluster, "red-3", "red", "many").await;
    let of_red = format!("{PODS}/*/ringfence_pool_used?{OF_RED}");
    until(
        cluster,
        "hosts are told of",
        &of_red,
        &["red-1=1500m", "red-2=0m"],
    )
    .await;
    let all = format!("{PODS}/*/ringfence_pool_used");
    until(
        cluster,
        "those of all pools are",
        &all,
        &["blue-1=4000m", "red-1=1500m", "red-2=0m"],
    )
    .await;
    red_1.stop();
    until(cluster, "what is old is left out", &of_red, &["red-2=0m"]).await;
    let one = format!("{PODS}/red-1/ringfence_pool_used");
    let error = raw(cluster, &one, AUTOSCALER).await.unwrap_err();
    assert!(
        error.contains("NotFound") || error.contains("not found"),
        "{error}"
    );

    // Clients find it.
    let resources = cluster
        .kubectl(&["api-resources", "--api-group=custom.metrics.k8s.io"])
        .await;
    resources.unwrap();
    let listed = raw(cluster, "/apis/custom.metrics.k8s.io/v1beta2", AUTOSCALER)
        .await
        .unwrap();
    assert_eq!(listed["resources"][0]["name"], "pods/ringfence_pool_used");

    // An operator that does not lead serves all the same.
    let second = Serving::start(&account, "operator-1");
    let proof = || Some(cluster.front_proxy());
    eventually("the second operator serves", async || {
        let code = direct(cluster, second.address, proof(), AUTOSCALER).await;
        (code == 200).then_some(())
    })
    .await;
    assert!(!second.operator.is_leading());

    // Who may not, may not: neither through the API server nor behind its back.
    let error = raw(cluster, &of_red, "stranger").await.unwrap_err();
    assert!(error.contains("Forbidden"), "{error}");
    assert_eq!(
        direct(cluster, first.address, proof(), "stranger").await,
        403
    );
    assert_eq!(direct(cluster, first.address, None, AUTOSCALER).await, 0);
    // A certificate of the cluster's ordinary authority counts for nothing here, whoever's it is.
    assert_eq!(
        direct(
            cluster,
            first.address,
            Some(cluster.kubelet_client()),
            AUTOSCALER
        )
        .await,
        0
    );

    // Somebody spoils the bundle, and then all authorities are replaced: it is put right.
    let good = api_service(cluster).await["spec"]["caBundle"].clone();
    let bad = r#"{"spec": {"caBundle": null}}"#;
    let patch = [
        "patch",
        "apiservice",
        API_SERVICE,
        "--type=merge",
        "-p",
        bad,
    ];
    cluster.kubectl(&patch).await.unwrap();
    eventually("the bundle is as it was", async || {
        (api_service(cluster).await["spec"]["caBundle"] == good).then_some(())
    })
    .await;
    let before = bundle(cluster).await;
    cluster
        .kubectl(&["delete", "secret/ringfence-ca", "-n", SYSTEM])
        .await
        .unwrap();
    eventually("there is another authority", async || {
        (bundle(cluster).await != before).then_some(())
    })
    .await;
    until(
        cluster,
        "it is served with another certificate",
        &of_red,
        &["red-2=0m"],
    )
    .await;
    assert_ne!(api_service(cluster).await["spec"]["caBundle"], good);

    // What leads to somebody else is theirs.
    let theirs = r#"{"spec": {"caBundle": null, "insecureSkipTLSVerify": true, "service": {"name": "prometheus-adapter"}}}"#;
    let patch = [
        "patch",
        "apiservice",
        API_SERVICE,
        "--type=merge",
        "-p",
        theirs,
    ];
    cluster.kubectl(&patch).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(api_service(cluster).await["spec"]["caBundle"].is_null());
    first.operator.stop();
    second.operator.stop();
}
