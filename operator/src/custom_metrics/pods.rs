//! Watches the Pods of hosts, for their labels.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use ringfence_api::chain;
use tokio::sync::watch;

use super::values::Pods;

/// What all Pods of hosts have, whichever pool they are of.
const HOSTS: &str = "app.kubernetes.io/name=ringfence,app.kubernetes.io/component=host";

/// Keeps them known, for ever. The value becomes true once all that there were are.
pub(super) async fn follow(
    client: Client,
    namespace: String,
    pods: Pods,
    known: watch::Sender<bool>,
) {
    let api: Api<PartialObjectMeta<Pod>> = Api::namespaced(client, &namespace);
    let mut events = watcher(api, Config::default().labels(HOSTS))
        .default_backoff()
        .boxed();
    let mut listing = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listing.clear(),
            Ok(Event::InitApply(pod)) => {
                listing.insert(pod.name_any(), pod.metadata.labels.unwrap_or_default());
            }
            Ok(Event::InitDone) => {
                pods.replace(std::mem::take(&mut listing));
                known.send_replace(true);
            }
            Ok(Event::Apply(pod)) => {
                pods.put(pod.name_any(), pod.metadata.labels.unwrap_or_default());
            }
            Ok(Event::Delete(pod)) => pods.remove(&pod.name_any()),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the watch of the hosts' Pods broke; it starts again");
            }
        }
    }
}
