//! Models: every host can ask the models of every tenant that the operator has accepted. Their credentials are
//! Secrets of the tenant, or what the host was allowed (`--allow-secret`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use ringfence_api::{Kind, Model, Name, TenantName, chain, condition};

use super::Shared;
use super::known_models::Presence;
use super::secrets::Held;

type Key = (TenantName, Name);

/// The Secrets that models refer to.
type Holds = HashMap<Key, Held>;

/// Follows the models of the cluster for ever.
pub(super) async fn follow(shared: Arc<Shared>) {
    let all: Api<Model> = Api::all(shared.client.clone());
    let mut events = watcher(all, Config::default()).default_backoff().boxed();
    let mut held = Holds::new();
    let mut seen = HashSet::new();
    let mut listing = HashSet::new();
    loop {
        match events.try_next().await {
            Ok(Some(Event::Apply(model))) => {
                seen.extend(key(&model));
                put(&shared, &mut held, &model);
            }
            Ok(Some(Event::InitApply(model))) => {
                listing.extend(key(&model));
                put(&shared, &mut held, &model);
            }
            Ok(Some(Event::Delete(model))) => {
                if let Some(key) = key(&model) {
                    remove(&shared, &mut held, &key, Presence::Missing);
                    seen.remove(&key);
                }
            }
            Ok(Some(Event::Init)) => listing.clear(),
            // What was deleted while the watch was broken is not in the list.
            Ok(Some(Event::InitDone)) => {
                let now = std::mem::take(&mut listing);
                for key in seen.difference(&now) {
                    remove(&shared, &mut held, key, Presence::Missing);
                }
                seen = now;
            }
            Ok(None) => return,
            Err(error) => tracing::warn!(
                error = chain(&error),
                "the watch of models broke; it starts again"
            ),
        }
    }
}

fn key(model: &Model) -> Option<Key> {
    let tenant = model.namespace()?.parse().ok()?;
    Some((tenant, model.name_any().parse().ok()?))
}

/// What the operator says of a model.
#[derive(Debug, PartialEq)]
enum Judged {
    /// Nothing yet, of what it is now.
    Not,
    /// Nothing is against it.
    Accepted,
    /// It may not be asked, and why: its endpoint may be more than the ceilings of its tenant allow.
    Refused(String),
}

fn judged(model: &Model) -> Judged {
    let status = model
        .status
        .as_ref()
        .filter(|status| status.observed_generation == model.metadata.generation);
    let ready = status.and_then(|status| {
        status
            .conditions
            .iter()
            .find(|c| c.type_ == condition::READY)
    });
    match ready {
        None => Judged::Not,
        Some(ready) if ready.status == "True" => Judged::Accepted,
        Some(ready) => Judged::Refused(ready.message.clone()),
    }
}

fn remove(shared: &Shared, held: &mut Holds, key: &Key, now: Presence) {
    shared.host.directory().remove(&key.0, Kind::Model, &key.1);
    shared.models.set(key, now);
    held.remove(key);
}

fn put(shared: &Shared, held: &mut Holds, model: &Model) {
    let Some(key) = key(model) else {
        return;
    };
    match judged(model) {
        Judged::Accepted => {}
        // What it was is what may be asked, or may not, until the operator has looked at what it is now: in a
        // moment, since it is the operator that made whatever asks for it.
        Judged::Not => return,
        Judged::Refused(why) => {
            remove(shared, held, &key, Presence::Unusable(why.into()));
            return;
        }
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
            shared.models.set(&key, Presence::Usable);
        }
        Err(why) => {
            tracing::warn!(%tenant, model = %name, reason = why.reason, "not usable: {why}");
            // What was asked under this name before is not what is meant now.
            let why = Presence::Unusable(why.to_string().into());
            remove(shared, held, &key, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn model(generation: i64, observed: i64, ready: &str) -> Model {
        serde_json::from_value(json!({
            "apiVersion": "ringfence.dev/v1alpha1", "kind": "Model",
            "metadata": {"name": "gpt", "namespace": "team", "generation": generation},
            "spec": {"provider": {"scripted": {"turns": [{"text": "hello"}]}}},
            "status": {"observedGeneration": observed, "conditions": [{
                "type": "Ready", "status": ready, "reason": "R", "message": "no",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn what_is_said_of_an_earlier_version_is_not_said_of_this_one() {
        assert_eq!(judged(&model(2, 2, "True")), Judged::Accepted);
        let refused = Judged::Refused("no".to_owned());
        assert_eq!(judged(&model(2, 2, "False")), refused);
        assert_eq!(judged(&model(2, 1, "True")), Judged::Not);
        assert_eq!(judged(&model(2, 1, "False")), Judged::Not);
        let mut new = model(1, 1, "True");
        new.status = None;
        assert_eq!(judged(&new), Judged::Not);
    }
}
