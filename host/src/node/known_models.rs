//! Which models this host can ask, for the instances that were granted them: each hears of its own models only,
//! when one comes or goes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use ringfence_api::{Name, TenantName};
use tokio::sync::watch;

use crate::directory::status::{Unresolved, models_missing};

type Key = (TenantName, Name);

/// Whether this host can ask a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Presence {
    /// There is none of that name.
    Missing,
    /// There is one that cannot be asked, and why.
    Unusable(Arc<str>),
    /// It can be asked.
    Usable,
}

/// The models that there are, and those that something here waits for.
#[derive(Debug, Default)]
pub(super) struct KnownModels {
    all: Mutex<HashMap<Key, watch::Sender<Presence>>>,
}

impl KnownModels {
    /// Says how it is with a model now.
    pub(super) fn set(&self, key: &Key, now: Presence) {
        let mut all = self.all.lock();
        let Some(known) = all.get(key) else {
            if now != Presence::Missing {
                all.insert(key.clone(), watch::Sender::new(now));
            }
            return;
        };
        if now == Presence::Missing && known.receiver_count() == 0 {
            all.remove(key);
            return;
        }
        known.send_if_modified(|before| {
            let other = *before != now;
            if other {
                *before = now;
            }
            other
        });
    }

    /// Hears of models of a tenant until the answer is dropped.
    pub(super) fn hold<'a>(
        self: &Arc<Self>,
        tenant: &TenantName,
        names: impl Iterator<Item = &'a Name>,
    ) -> HeldModels {
        let mut all = self.all.lock();
        let models = names.map(|name| {
            let known = all
                .entry((tenant.clone(), name.clone()))
                .or_insert_with(|| watch::Sender::new(Presence::Missing));
            (name.clone(), Some(known.subscribe()))
        });
        HeldModels {
            tenant: tenant.clone(),
            models: models.collect(),
            store: self.clone(),
        }
    }

    /// Forgets a name that stands for nothing and that nobody waits for.
    fn release(&self, key: &Key) {
        let mut all = self.all.lock();
        let unused = |known: &watch::Sender<Presence>| {
            known.receiver_count() == 0 && *known.borrow() == Presence::Missing
        };
        if all.get(key).is_some_and(unused) {
            all.remove(key);
        }
    }
}

/// Models that something here was granted.
pub(super) struct HeldModels {
    tenant: TenantName,
    /// Each has its receiver until it is dropped.
    models: Vec<(Name, Option<watch::Receiver<Presence>>)>,
    store: Arc<KnownModels>,
}

impl Drop for HeldModels {
    fn drop(&mut self) {
        for (name, state) in self.models.drain(..) {
            drop(state);
            self.store.release(&(self.tenant.clone(), name));
        }
    }
}

impl HeldModels {
    /// Whether it is none.
    pub(super) fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// Which of them cannot be asked now, and why.
    pub(super) fn trouble(&self) -> Option<Unresolved> {
        let states = self.models.iter().filter_map(|(name, state)| {
            let presence = state.as_ref()?.borrow().clone();
            Some((name, presence))
        });
        let lacking = states.filter_map(|(name, presence)| match presence {
            Presence::Usable => None,
            Presence::Missing => Some((name, None)),
            Presence::Unusable(why) => Some((name, Some(why.to_string()))),
        });
        models_missing(lacking)
    }

    /// Waits until one of them is another than when this was asked last.
    pub(super) async fn changed(&mut self) {
        let states = self.models.iter_mut().filter_map(|(_, state)| {
            let state = state.as_mut()?;
            Some(Box::pin(state.changed()))
        });
        let states: Vec<_> = states.collect();
        if states.is_empty() {
            return std::future::pending().await;
        }
        // The sender is kept for as long as there is a receiver.
        drop(futures::future::select_all(states).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        ("team".parse().unwrap(), name.parse().unwrap())
    }

    #[tokio::test]
    async fn who_waits_for_a_model_hears_when_it_comes_and_goes_and_of_no_other() {
        let known = Arc::new(KnownModels::default());
        let (gpt, other) = (key("gpt"), key("other"));
        let mut held = known.hold(&gpt.0, [&gpt.1].into_iter());
        let missing = held.trouble().unwrap();
        assert_eq!(missing.reason, "ModelMissing");
        assert_eq!(missing.message, "there is no model gpt: apply it");

        known.set(&other, Presence::Usable);
        assert!(futures::poll!(Box::pin(held.changed())).is_pending());
        known.set(&gpt, Presence::Unusable("RefusedByCeiling".into()));
        held.changed().await;
        let refused = held.trouble().unwrap();
        assert_eq!(refused.reason, "ModelMissing");
        assert!(refused.message.contains("RefusedByCeiling"), "{refused}");
        known.set(&gpt, Presence::Usable);
        held.changed().await;
        assert_eq!(held.trouble(), None);
        known.set(&gpt, Presence::Usable);
        assert!(futures::poll!(Box::pin(held.changed())).is_pending());
        known.set(&gpt, Presence::Missing);
        held.changed().await;
        assert_eq!(held.trouble(), Some(missing));
    }

    #[test]
    fn names_that_stand_for_nothing_are_not_kept() {
        let known = Arc::new(KnownModels::default());
        let gpt = key("gpt");
        let held = known.hold(&gpt.0, [&gpt.1].into_iter());
        let again = known.hold(&gpt.0, [&gpt.1].into_iter());
        drop(held);
        assert_eq!(known.all.lock().len(), 1);
        drop(again);
        assert_eq!(known.all.lock().len(), 0);
        known.set(&gpt, Presence::Missing);
        assert_eq!(known.all.lock().len(), 0);
        known.set(&gpt, Presence::Usable);
        drop(known.hold(&gpt.0, [&gpt.1].into_iter()));
        assert_eq!(known.all.lock().len(), 1);
        known.set(&gpt, Presence::Missing);
        assert_eq!(known.all.lock().len(), 0);
    }
}
