//! Models: every host can ask the models of every tenant that the operator has accepted. Their credentials are what the host was allowed
//! (`--allow-secret`).

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use ringfence_api::{Kind, Model, Name, TenantName, condition};

use super::Shared;

/// Follows the models of the cluster for ever.
pub(super) async fn follow(shared: Arc<Shared>) {
    let all: Api<Model> = Api::all(shared.client.clone());
    let mut events = watcher(all, Config::default()).default_backoff().boxed();
    loop {
        match events.try_next().await {
            Ok(Some(Event::Apply(model) | Event::InitApply(model))) => put(&shared, &model),
            Ok(Some(Event::Delete(model))) => {
                if let Some((tenant, name)) = key(&model) {
                    shared.host.directory().remove(&tenant, Kind::Model, &name);
                }
            }
            Ok(Some(Event::Init | Event::InitDone)) => {}
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "the watch of models broke; it starts again"),
        }
    }
}

fn key(model: &Model) -> Option<(TenantName, Name)> {
    let tenant = model.namespace()?.parse().ok()?;
    Some((tenant, model.name_any().parse().ok()?))
}

/// Whether the operator has looked at the model as it is now and found nothing against it: its endpoint
/// may be more than the ceilings of its tenant allow.
fn accepted(model: &Model) -> bool {
    model.status.as_ref().is_some_and(|status| {
        let ready = |c: &Condition| c.type_ == condition::READY && c.status == "True";
        status.observed_generation == model.metadata.generation
            && status.conditions.iter().any(ready)
    })
}

fn put(shared: &Shared, model: &Model) {
    let Some((tenant, name)) = key(model) else {
        return;
    };
    if !accepted(model) {
        shared.host.directory().remove(&tenant, Kind::Model, &name);
        return;
    }
    let generation = model.metadata.generation.unwrap_or_default();
    let generation = u64::try_from(generation).unwrap_or_default();
    match shared.resolver.model(generation, &model.spec) {
        Ok(made) => shared.host.directory().put_model(&tenant, name, made),
        Err(why) => {
            tracing::warn!(%tenant, model = %name, reason = why.reason, "not usable: {why}");
            // What was asked under this name before is not what is meant now.
            shared.host.directory().remove(&tenant, Kind::Model, &name);
        }
    }
}
