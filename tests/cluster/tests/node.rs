//! Real Pods on a real node. `make test-cluster` runs these: they need root, and what
//! `tests/cluster/setup node` builds and installs.
#![allow(clippy::unwrap_used)] // tests fail by panicking

use ringfence_test_cluster::{Image, Node};
use tokio::sync::OnceCell;

/// A server and a client in one binary.
const IMAGE: &str = "test.local/busybox:1";

fn busybox() -> Image {
    Image::new(IMAGE)
        .file("/bin/busybox", "/bin/busybox")
        .entrypoint(&["/bin/busybox"])
}

/// The node that most tests share.
async fn node() -> &'static Node {
    static NODE: OnceCell<Node> = OnceCell::const_new();
    NODE.get_or_init(async || {
        let node = Node::start().await.unwrap();
        node.import(&busybox()).await.unwrap();
        node
    })
    .await
}

/// A Deployment under the restricted profile that serves `hello` and logs each request, and its Service.
fn server() -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: server}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: server}}}}
  template:
    metadata: {{labels: {{app: server}}}}
    spec:
      securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: server
          image: {IMAGE}
          imagePullPolicy: Never
          args: [sh, -c, "echo hello >/tmp/index.html; exec busybox httpd -f -vv -p 8080 -h /tmp"]
          ports: [{{containerPort: 8080}}]
          readinessProbe: {{httpGet: {{path: /index.html, port: 8080}}, periodSeconds: 1}}
          resources: {{limits: {{memory: 32Mi, cpu: 200m}}}}
          securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: server}}
spec:
  selector: {{app: server}}
  ports: [{{port: 80, targetPort: 8080}}]
"#
    )
}

#[tokio::test]
#[ignore = "needs root, containerd and a minute: make test-cluster"]
async fn pods_run_and_services_lead_to_them() {
    let node = node().await;
    let cluster = node.control_plane();
    let namespace = cluster.temp_namespace().await.unwrap();
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    cluster
        .kubectl(&["label", "namespace", &namespace, restricted])
        .await
        .unwrap();
    let kubectl = async |arguments: &[&str]| {
        cluster
            .kubectl(&[&["-n", &namespace], arguments].concat())
            .await
            .unwrap()
    };
    let apply = ["-n", &namespace, "apply", "--server-side", "-f", "-"];
    cluster
        .kubectl_as(cluster.kubeconfig(), &apply, &server())
        .await
        .unwrap();
    kubectl(&["rollout", "status", "deployment/server", "--timeout=120s"]).await;

    // From a Pod by its name, which also shows that one Pod reaches another on the same node.
    let name = format!("http://server.{namespace}.svc.cluster.local/index.html");
    let fetch = [
        "exec",
        "deployment/server",
        "--",
        "busybox",
        "wget",
        "-q",
        "-O-",
    ];
    for _ in 0..8 {
        assert_eq!(kubectl(&[&fetch[..], &[&name]].concat()).await, "hello\n");
    }
    // And from this machine by its address.
    let address = kubectl(&[
        "get",
        "service",
        "server",
        "-o",
        "jsonpath={.spec.clusterIP}",
    ])
    .await;
    let busybox = tokio::process::Command::new("/bin/busybox")
        .args(["wget", "-q", "-O-", &format!("http://{address}/index.html")])
        .output()
        .await
        .unwrap();
    assert_eq!(busybox.stdout, b"hello\n");

    let logs = kubectl(&["logs", "--selector=app=server", "--tail=-1"]).await;
    assert!(logs.contains("/index.html"), "{logs}");
}

#[tokio::test]
#[ignore = "needs root, containerd and a minute: make test-cluster"]
async fn a_pod_reaches_the_api_server_with_its_own_token() {
    let node = node().await;
    let cluster = node.control_plane();
    let namespace = cluster.temp_namespace().await.unwrap();
    let image = Image::new("test.local/kubectl:1")
        .file("/bin/kubectl", cluster.programs_folder().join("kubectl"))
        .entrypoint(&["/bin/kubectl"]);
    node.import(&image).await.unwrap();
    let accounts = [
        "wait",
        "--for=create",
        "serviceaccount/default",
        "-n",
        &namespace,
        "--timeout=60s",
    ];
    cluster.kubectl(&accounts).await.unwrap();
    // Not `--attach`: a program that ends before the attaching has begun is heard by nobody.
    let run = [
        "run",
        "client",
        "--image",
        image.name(),
        "--image-pull-policy=Never",
        "--restart=Never",
        "-n",
        &namespace,
        "--",
        "auth",
        "whoami",
        "-o",
        "jsonpath={.status.userInfo.username}",
    ];
    cluster.kubectl(&run).await.unwrap();
    let done = [
        "wait",
        "--for=jsonpath={.status.phase}=Succeeded",
        "pod/client",
        "-n",
        &namespace,
        "--timeout=60s",
    ];
    cluster.kubectl(&done).await.unwrap();
    let logs = ["logs", "client", "-n", &namespace];
    let answer = cluster.kubectl(&logs).await.unwrap();
    assert_eq!(answer, format!("system:serviceaccount:{namespace}:default"));
}

#[tokio::test]
#[ignore = "needs root, containerd and a minute: make test-cluster"]
async fn a_kubelet_that_was_killed_takes_pods_again() {
    let mut node = Node::start().await.unwrap();
    node.stop_kubelet();
    let cluster = node.control_plane();
    let namespace = cluster.temp_namespace().await.unwrap();
    let yaml = server();
    let apply = ["-n", &namespace, "apply", "--server-side", "-f", "-"];
    cluster
        .kubectl_as(cluster.kubeconfig(), &apply, &yaml)
        .await
        .unwrap();
    node.import(&busybox()).await.unwrap();
    node.start_kubelet().await.unwrap();
    let rollout = [
        "rollout",
        "status",
        "deployment/server",
        "--timeout=120s",
        "-n",
        &namespace,
    ];
    node.control_plane().kubectl(&rollout).await.unwrap();
}
