//! Models: every host can ask the models of every tenant that the operator has accepted. Their credentials are
//! Secrets of the tenant, or what the host was allowed (`--allow-secret`).

use std::collections::HashMap;

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use ringfence_api::{Kind, Model, Name, TenantName, condition};

use super::Shared;
use super::secrets::Held;

/// Follows the models of the cluster for ever.
pub(super) async fn follow(shared: Arc<Shared>) {
    let all: Api<Model> = Api::all(shared.client.clone());
    let mut events = watcher(all, Config::default()).default_backoff().boxed();
    let mut held = HashMap::new();
    loop {
        match events.try_next().await {
            Ok(Some(Event::Apply(model) | Event::InitApply(model))) => {
                put(&shared, &mut held, &model)
            }
            Ok(Some(Event::Delete(model))) => {
                if let Some(key) = key(&model) {
                    remove(&shared, &mut held, &key);
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

/// The Secrets that models refer to.
type Holds = HashMap<(TenantName, Name), Held>;

fn remove(shared: &Shared, held: &mut Holds, key: &(TenantName, Name)) {
    shared.host.directory().remove(&key.0, Kind::Model, &key.1);
    held.remove(key);
}

fn put(shared: &Shared, held: &mut Holds, model: &Model) {
    let Some(key) = key(model) else {
        return;
    };
    if !accepted(model) {
        remove(shared, held, &key);
        return;
    }
    // Before those of the version before are let go: most often they are the same.
    let secrets = shared.secrets.hold(&key.0, model.spec.secrets());
    held.insert(key.clone(), secrets);
    let (tenant, name) = &key;
    let generation = model.metadata.generation.unwrap_or_default();
    let generation = u64::try_from(generation).unwrap_or_default();
    match shared.resolver.model(tenant, generation, &model.spec) {
        Ok(made) => {
            let directory = shared.host.directory();
            directory.put_model(tenant, name.clone(), made);
        }
        Err(why) => {
            tracing::warn!(%tenant, model = %name, reason = why.reason, "not usable: {why}");
            // What was asked under this name before is not what is meant now.
            remove(shared, held, &key);
        }
    }
}
