//! From `helm install` to `helm uninstall`.

use ringfence_test_cluster::chart;

use crate::fixture::{IMAGE, Installed, SYSTEM};
use crate::load::{Client, Load};
use crate::readme;

/// README's agent.
const ECHO: &str = "
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: echo}
spec: {provider: {scripted: {turns: [{text: 'you said: {{user.text}}'}]}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: echo}
spec: {instructions: Say what you were told., model: {name: echo}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: run-echo}
rules:
  - {apiGroups: [ringfence.dev], resources: [agents], resourceNames: [echo], verbs: [run]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: run-echo}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: run-echo}
subjects: [{kind: ServiceAccount, name: default, namespace: default}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root, containerd and two minutes: make test-cluster"]
async fn a_release_is_installed_called_upgraded_and_removed() {
    let installed = Installed::start().await;
    // First as README says; the namespace is gone afterwards.
    readme::follow(&installed).await;

    let cluster = installed.cluster();
    // Nothing that the chart or the operator makes may be more than the restricted standard allows.
    installed.kubectl(&["create", "namespace", SYSTEM]).await;
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    installed
        .kubectl(&["label", "namespace", SYSTEM, restricted])
        .await;
    let zone = "topology.kubernetes.io/zone=west";
    installed.kubectl(&["label", "node", "node", zone]).await;

    installed
        .helm(&["install"], &installed.chart_before(), "before")
        .await;
    installed
        .wait("--for=condition=Deployed", "hostpool/default", SYSTEM)
        .await;
    let zones = [
        "get",
        "hosts",
        "-n",
        SYSTEM,
        "-o",
        "jsonpath={.items[*].spec.zone}",
    ];
    assert_eq!(installed.kubectl(&zones).await, "west west");

    cluster.apply(ECHO).await.unwrap();
    installed
        .wait("--for=condition=Ready", "agent/echo", "default")
        .await;
    let token = installed.token("default", "default").await;
    let client = Client::new(&installed.url().await, "default", &token);
    installed
        .eventually("the agent answers", async || {
            client.ask("echo", "hello").await.as_deref() == Ok("you said: hello")
        })
        .await;
    the_compiler_was_jailed(&installed).await;
    accounts_read_no_secrets(&installed).await;
    hosts_write_about_themselves_only(&installed).await;

    // Calls go on while everything is replaced.
    let load = Load::start(&client, "echo", 4);
    installed
        .helm(&["upgrade", "--wait"], &chart(), "now")
        .await;
    let image = format!("{IMAGE}:now");
    installed
        .eventually("the pool has the new image", async || {
            let path = "jsonpath={.spec.template.spec.containers[0].image}";
            let get = [
                "get",
                "deployment/ringfence-default",
                "-n",
                SYSTEM,
                "-o",
                path,
            ];
            installed.kubectl(&get).await == image
        })
        .await;
    installed
        .wait("--for=condition=Deployed", "hostpool/default", SYSTEM)
        .await;
    installed
        .eventually("the earlier hosts have left", async || {
            let hosts = ["get", "hosts", "-n", SYSTEM, "-o", "name"];
            installed.kubectl(&hosts).await.lines().count() == 2
        })
        .await;
    let (answered, lost) = load.end().await;
    println!("{answered} calls were answered while everything was replaced");
    assert!(answered > 100, "{answered}");
    assert!(lost.is_empty(), "of {answered} calls: {lost:#?}");
    let columns = "jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}";
    let crd = ["get", "crd/hostpools.ringfence.dev", "-o", columns];
    let columns = installed.kubectl(&crd).await;
    assert!(
        columns.contains("Deployed"),
        "the definitions are of before: {columns}"
    );

    let uninstall = ["uninstall", "ringfence", "-n", SYSTEM, "--wait"];
    cluster.helm(&uninstall).await.unwrap();
    // Hosts leave in their own time. What the operator made for itself goes with the namespace.
    let kept = [
        "configmap/ringfence-ca",
        "lease.coordination.k8s.io/ringfence-operator",
        "secret/ringfence-ca",
    ];
    installed
        .eventually("nothing else of it is left", async || {
            left(&installed).await == kept
        })
        .await;
    installed
        .kubectl(&["delete", "namespace", SYSTEM, "--timeout=60s"])
        .await;
    let agent = ["get", "agent/echo", "-o", "name"];
    assert_eq!(
        installed.kubectl(&agent).await.trim(),
        "agent.ringfence.dev/echo"
    );
}

/// In the Pod, too, what compiles is held by both Landlock and seccomp.
async fn the_compiler_was_jailed(installed: &Installed) {
    let logs = [
        "logs",
        "-n",
        SYSTEM,
        "-l",
        "app.kubernetes.io/component=host",
        "--tail=-1",
    ];
    let logs = installed.kubectl(&logs).await;
    let compiled = logs
        .lines()
        .find(|line| line.contains("compiled a component"));
    let compiled = compiled.unwrap_or_else(|| panic!("nothing was compiled:\n{logs}"));
    for held in [r#""landlock":true"#, r#""seccomp":true"#] {
        assert!(compiled.contains(held), "{compiled}");
    }
}

/// Neither operator nor hosts read a Secret that nobody has given them.
async fn accounts_read_no_secrets(installed: &Installed) {
    let create = [
        "create",
        "secret",
        "generic",
        "private",
        "--from-literal=a=b",
    ];
    installed.kubectl(&create).await;
    for account in ["ringfence-operator", "ringfence-host"] {
        let user = format!("--as=system:serviceaccount:{SYSTEM}:{account}");
        for ask in [
            &["get", "secret/private", &user][..],
            &["get", "secrets", &user],
            &["get", "secrets", "-A", &user],
        ] {
            let error = installed
                .cluster()
                .kubectl(ask)
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains("Forbidden"), "{ask:?}: {error}");
        }
    }
}

/// With the token that is in one host's Pod, nothing can be said about another host.
async fn hosts_write_about_themselves_only(installed: &Installed) {
    let names = [
        "get",
        "hosts",
        "-n",
        SYSTEM,
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ];
    let names = installed.kubectl(&names).await;
    let (own, other) = names.split_once(' ').unwrap();
    let bound = format!("--bound-object-name={own}");
    let token = [
        "create",
        "token",
        "ringfence-host",
        "-n",
        SYSTEM,
        "--bound-object-kind=Pod",
        &bound,
    ];
    let token = format!("--token={}", installed.kubectl(&token).await.trim());
    let url = format!("--server={}", installed.cluster().url());
    let nobody = installed.no_kubeconfig();
    let write = async |object: String| {
        let apply = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--validate=false",
            "-f",
            "-",
            &url,
            &token,
            "--insecure-skip-tls-verify",
        ];
        let written = installed
            .cluster()
            .kubectl_as(&nobody, &apply, &object)
            .await;
        written.map_err(|error| error.to_string())
    };
    let of_pool = |name: &str, pool: &str| {
        format!(
            "{{apiVersion: ringfence.dev/v1alpha1, kind: Host, metadata: {{name: {name}, namespace: {SYSTEM}}}, spec: {{pool: {pool}, unschedulable: true}}}}"
        )
    };
    let host = |name: &str| of_pool(name, "default");
    let lease = |name: &str| {
        format!(
            "{{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {{name: {name}, namespace: {SYSTEM}}}, spec: {{leaseDurationSeconds: 3600}}}}"
        )
    };
    for (own, other) in [(host(own), host(other)), (lease(own), lease(other))] {
        write(own).await.unwrap();
        let error = write(other).await.unwrap_err();
        assert!(error.contains("may write about itself"), "{error}");
    }
    // A pool that somebody else runs has the hosts that say so; one of the operator's has its Pods.
    write(of_pool(own, "elsewhere")).await.unwrap();
    let pool = "{apiVersion: ringfence.dev/v1alpha1, kind: HostPool, metadata: {name: elsewhere}, spec: {hosts: {replicas: 0}}}";
    installed.cluster().apply(pool).await.unwrap();
    installed
        .eventually("the host is refused in another pool", async || {
            let written = write(of_pool(own, "elsewhere")).await;
            written.is_err_and(|error| error.contains("is none of the pool elsewhere"))
        })
        .await;
    installed
        .kubectl(&["delete", "hostpool", "elsewhere"])
        .await;
}

/// What is left of a release, but for the definitions and what Kubernetes itself keeps.
async fn left(installed: &Installed) -> Vec<String> {
    let mut left = Vec::new();
    let own = "jobs,deployments,replicasets,pods,services,endpointslices,serviceaccounts,configmaps,secrets,leases,roles,rolebindings,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,hosts.ringfence.dev";
    let wide = "hostpools,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    for (kinds, place) in [(own, &["-n", SYSTEM][..]), (wide, &[])] {
        let get = [&["get", kinds, "-o", "name"], place].concat();
        let names = installed.kubectl(&get).await;
        left.extend(names.lines().map(str::to_owned));
    }
    let of_kubernetes = |name: &String| {
        ["serviceaccount/default", "configmap/kube-root-ca.crt"].contains(&name.as_str())
            || (name.contains("clusterrole") && !name.contains("ringfence"))
    };
    left.retain(|name| !of_kubernetes(name));
    left.sort();
    left
}
