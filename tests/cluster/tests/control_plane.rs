//! The control plane itself, and the faults that it offers to other tests.
#![allow(clippy::unwrap_used)] // tests fail by panicking

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{
    DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::{Api, Client, Resource as _};
use ringfence_test_cluster::{ControlPlane, VERSION, shared};

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until something holds that the cluster does by itself.
async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

fn config_maps(client: Client, namespace: &str) -> Api<ConfigMap> {
    Api::namespaced(client, namespace)
}

#[tokio::test]
async fn kubectl_sees_what_the_client_makes() {
    let cluster = shared().await;
    let client = cluster.client().await.unwrap();
    let version = client.apiserver_version().await.unwrap().git_version;
    assert_eq!(version, format!("v{VERSION}"));

    let namespace = cluster.temp_namespace().await.unwrap();
    config_maps(client, &namespace)
        .create(&PostParams::default(), &config_map("made"))
        .await
        .unwrap();
    let get = ["get", "configmap", "made", "-n", &namespace, "-o", "name"];
    assert_eq!(cluster.kubectl(&get).await.unwrap(), "configmap/made\n");

    let error = cluster.kubectl(&["get", "configmap", "missing"]).await;
    assert!(error.unwrap_err().to_string().contains("not found"));
}

#[tokio::test]
async fn roles_bind_users_groups_and_service_accounts() {
    let cluster = shared().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let robot = ["create", "serviceaccount", "robot", "-n", &namespace];
    cluster.kubectl(&robot).await.unwrap();
    let kubeconfigs = [
        cluster.kubeconfig_for("ada", None).unwrap(),
        cluster.kubeconfig_for("grace", Some("readers")).unwrap(),
        cluster
            .kubeconfig_for_service_account(&namespace, "robot")
            .await
            .unwrap(),
    ];
    let may = async |kubeconfig: &Path| {
        let list = ["get", "pods", "-n", &namespace];
        match cluster.kubectl_as(kubeconfig, &list, "").await {
            Ok(_) => true,
            Err(error) => {
                assert!(error.to_string().contains("Forbidden"), "{error}");
                false
            }
        }
    };
    for kubeconfig in &kubeconfigs {
        assert!(!may(kubeconfig).await);
    }

    let account = format!("--serviceaccount={namespace}:robot");
    let bind = ["create", "rolebinding", "readers", "--clusterrole=view"];
    let subjects = ["--user=ada", "--group=readers", &account, "-n", &namespace];
    let bind = [&bind[..], &subjects[..]].concat();
    cluster.kubectl(&bind).await.unwrap();
    for kubeconfig in &kubeconfigs {
        // The API server's own watch of bindings is a moment behind.
        eventually(async || may(kubeconfig).await).await;
    }
}

#[tokio::test]
async fn what_an_owner_owns_goes_with_it_and_what_is_in_a_namespace_with_that() {
    let cluster = shared().await;
    let client = cluster.client().await.unwrap();
    let namespace = cluster.temp_namespace().await.unwrap();
    let maps = config_maps(client.clone(), &namespace);
    let create = PostParams::default();
    let owner = maps.create(&create, &config_map("owner")).await.unwrap();
    let mut owned = config_map("owned");
    owned.metadata.owner_references = owner.owner_ref(&()).map(|owner| vec![owner]);
    maps.create(&create, &owned).await.unwrap();

    let delete = DeleteParams::background();
    maps.delete("owner", &delete).await.unwrap();
    eventually(async || maps.get_opt("owned").await.unwrap().is_none()).await;

    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.delete(&namespace, &delete).await.unwrap();
    eventually(async || namespaces.get_opt(&namespace).await.unwrap().is_none()).await;
}

#[tokio::test]
async fn what_was_written_survives_the_api_server() {
    let cluster = ControlPlane::start().await.unwrap();
    let maps = config_maps(cluster.client().await.unwrap(), "default");
    let create = PostParams::default();
    maps.create(&create, &config_map("kept")).await.unwrap();

    cluster.stop_api_server().await.unwrap();
    maps.get("kept").await.unwrap_err();
    cluster.restart_api_server().await.unwrap();
    maps.get("kept").await.unwrap();
}

#[tokio::test]
async fn after_a_restart_a_watch_cannot_go_on_from_what_was_read_before() {
    let cluster = ControlPlane::start().await.unwrap();
    let maps = config_maps(cluster.client().await.unwrap(), "default");
    let read = maps.list(&ListParams::default()).await.unwrap();
    let create = PostParams::default();
    maps.create(&create, &config_map("missed")).await.unwrap();
    cluster.restart_api_server().await.unwrap();

    let version = read.metadata.resource_version.unwrap();
    let events = maps.watch(&WatchParams::default(), &version).await.unwrap();
    let first = pin!(events).next().await.unwrap();
    assert!(matches!(first, Ok(WatchEvent::Error(status)) if status.code == 410));
}

#[tokio::test]
async fn the_controller_manager_catches_up() {
    let cluster = ControlPlane::start().await.unwrap();
    cluster.stop_controller_manager().await;
    let namespace = cluster.temp_namespace().await.unwrap();
    let account = ["get", "serviceaccount", "default", "-n", &namespace];
    cluster.kubectl(&account).await.unwrap_err();
    cluster.start_controller_manager().await.unwrap();
    eventually(async || cluster.kubectl(&account).await.is_ok()).await;
}

#[tokio::test]
async fn writes_wait_while_etcd_is_frozen_and_go_on_afterwards() {
    let cluster = ControlPlane::start().await.unwrap();
    let maps = config_maps(cluster.client().await.unwrap(), "default");
    let (apply, map) = (PatchParams::apply("test"), config_map("written"));
    let write = async || maps.patch("written", &apply, &Patch::Apply(&map)).await;
    write().await.unwrap();

    cluster.pause_etcd().await.unwrap();
    let frozen = tokio::time::timeout(Duration::from_secs(2), write()).await;
    frozen.unwrap_err();
    cluster.resume_etcd().await.unwrap();
    eventually(async || write().await.is_ok()).await;
}

#[tokio::test]
async fn nothing_remains_of_a_control_plane_that_is_dropped() {
    let cluster = ControlPlane::start().await.unwrap();
    let folder = cluster.logs().to_owned();
    let client = cluster.client().await.unwrap();
    drop(cluster);
    assert!(!folder.exists());
    client.apiserver_version().await.unwrap_err();
}
