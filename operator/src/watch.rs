//! Watches: what the API server tells, turned into changes of the index.
//!
//! One watch for each kind, for as long as the process lives. A watch that breaks starts again, with a
//! wait that grows; what is gone by then is found out by comparing with what was there.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use ringfence_api::{
    Agent, Ceiling, HOST_LEASE_LABEL, Host, HostPool, Instance, KIND_LABEL, Model, Name,
    POOL_USED_ANNOTATION, PoolUsed, TenantName, Tool, chain,
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::index::{self, Change, SecretAccess};
use crate::key::{InstanceKey, WorkloadKind};
use crate::secret_access;

/// Changes that may wait to be taken in. A watch waits when there are more.
const BACKLOG: usize = 4_096;

/// What the watches tell.
#[derive(Debug, Clone)]
pub enum Seen {
    /// Something changed.
    Change(Change),
    /// A host's Lease, its version, and how long it holds from its renewal. How busy the host is is told only
    /// where it has renewed the Lease just now: one that was merely there may be of any age.
    Lease(Name, String, Duration, Option<PoolUsed>),
    /// A host's Lease is gone.
    LeaseGone(Name),
    /// A watch has told everything that was there when it started.
    Listed,
}

impl Seen {
    /// The same, of an object that was there already when a watch began.
    fn of_any_age(self) -> Self {
        match self {
            Self::Lease(host, version, lasts, _) => Self::Lease(host, version, lasts, None),
            seen => seen,
        }
    }
}

/// How many watches tell [`Seen::Listed`] before everything is known.
pub const WATCHES: usize = 12;

/// Starts all watches. They end when the receiver is dropped. Hosts and their Leases, which have the
/// label `ringfence.dev/host`, are those in `namespace`.
pub fn start(client: &Client, namespace: &str) -> mpsc::Receiver<Seen> {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let every = Config::default;
    let watch = Watch { client, sender };
    watch.all::<Agent>(every(), index::agent, |o| {
        gone_workload(o, WorkloadKind::Agent)
    });
    watch.all::<Tool>(every(), index::tool, |o| {
        gone_workload(o, WorkloadKind::Tool)
    });
    watch.all::<Instance>(
        every(),
        |object| Some(index::instance(object)),
        |object| InstanceKey::of(object).map(Change::InstanceGone),
    );
    watch.all::<ControllerRevision>(
        // Other controllers keep theirs in the same kind.
        every().labels(KIND_LABEL),
        index::revision,
        index::revision_gone,
    );
    watch.all::<Ceiling>(
        every(),
        |object| Some(Change::Ceiling(Arc::new(object))),
        |object| name(object).map(Change::CeilingGone),
    );
    watch.all::<HostPool>(
        every(),
        |object| Some(Change::Pool(Arc::new(object))),
        |object| name(object).map(Change::PoolGone),
    );
    let hosts = Api::<Host>::namespaced(client.clone(), namespace);
    watch.some(
        hosts,
        every(),
        |object| Some(Seen::Change(Change::Host(Arc::new(object)))),
        |object| name(object).map(|name| Seen::Change(Change::HostGone(name))),
    );
    watch.all::<Model>(
        every(),
        |object| Some(Change::Model(Arc::new(object))),
        |object| {
            let tenant = object.namespace()?.parse().ok()?;
            Some(Change::ModelGone(tenant, name(object)?))
        },
    );
    watch.all::<Namespace>(
        every(),
        |object| Some(Change::Tenant(tenant(&object)?, object.labels().clone())),
        |object| tenant(object).map(Change::TenantGone),
    );
    watch.some(
        Api::<Role>::all(client.clone()),
        every().labels(secret_access::LABEL),
        |role| {
            let tenant = access_of(&role)?;
            Some(access(tenant, SecretAccess::Role(Some(Arc::new(role)))))
        },
        |role| Some(access(access_of(role)?, SecretAccess::Role(None))),
    );
    watch.some(
        Api::<RoleBinding>::all(client.clone()),
        every().labels(secret_access::LABEL),
        |binding| {
            let tenant = access_of(&binding)?;
            Some(access(
                tenant,
                SecretAccess::Binding(Some(Arc::new(binding))),
            ))
        },
        |binding| Some(access(access_of(binding)?, SecretAccess::Binding(None))),
    );
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    watch.some(leases, every().labels(HOST_LEASE_LABEL), renewed, |lease| {
        name(lease).map(Seen::LeaseGone)
    });
    receiver
}

fn access(tenant: TenantName, access: SecretAccess) -> Seen {
    Seen::Change(Change::SecretAccess(tenant, access))
}

/// The tenant whose Secrets an object of the operator's name is about.
fn access_of<K: Resource<DynamicType = ()>>(object: &K) -> Option<TenantName> {
    let is_own = object.name_any() == secret_access::NAME;
    is_own.then(|| object.namespace()?.parse().ok()).flatten()
}

fn renewed(lease: Lease) -> Option<Seen> {
    let used = lease.annotations().get(POOL_USED_ANNOTATION);
    let used = used.and_then(|used| used.parse().ok());
    renewal(lease).map(|(name, version, lasts)| Seen::Lease(name, version, lasts, used))
}

/// The host that a Lease is of, its version, and how long it holds from its renewal.
pub(crate) fn renewal(lease: Lease) -> Option<(Name, String, Duration)> {
    let name = name(&lease)?;
    let version = lease.metadata.resource_version?;
    let seconds = lease.spec?.lease_duration_seconds?;
    let lasts = Duration::from_secs(u64::try_from(seconds).ok()?);
    Some((name, version, lasts))
}

fn name<K: Resource<DynamicType = ()>>(object: &K) -> Option<Name> {
    object.name_any().parse().ok()
}

fn tenant(namespace: &Namespace) -> Option<TenantName> {
    namespace.name_any().parse().ok()
}

fn gone_workload<K: Resource<DynamicType = ()>>(object: &K, kind: WorkloadKind) -> Option<Change> {
    index::workload_id(object, kind).map(Change::WorkloadGone)
}

struct Watch<'a> {
    client: &'a Client,
    sender: mpsc::Sender<Seen>,
}

impl Watch<'_> {
    /// Watches all objects of a kind.
    fn all<K>(&self, config: Config, there: fn(K) -> Option<Change>, gone: fn(&K) -> Option<Change>)
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let api = Api::<K>::all(self.client.clone());
        self.some(
            api,
            config,
            move |object| there(object).map(Seen::Change),
            move |object| gone(object).map(Seen::Change),
        );
    }

    /// Watches what `api` has.
    fn some<K>(
        &self,
        api: Api<K>,
        config: Config,
        there: impl Fn(K) -> Option<Seen> + Send + 'static,
        gone: impl Fn(&K) -> Option<Seen> + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let mut events = watcher(api, config).default_backoff().boxed();
            let mut known = Known::default();
            loop {
                let told = match events.try_next().await {
                    Ok(Some(event)) => known.tell(event, &there, &gone),
                    Ok(None) => return,
                    Err(error) => {
                        broken(&K::kind(&()), &error);
                        continue;
                    }
                };
                for seen in told {
                    if sender.send(seen).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// What has to be told should an object be gone, for all that were told of; so that what vanished while
/// the watch was broken is told too.
#[derive(Default)]
struct Known {
    there: HashMap<Identity, Seen>,
    listing: HashSet<Identity>,
}

type Identity = (Option<String>, String);

impl Known {
    fn tell<K: Resource<DynamicType = ()>>(
        &mut self,
        event: Event<K>,
        there: impl Fn(K) -> Option<Seen>,
        gone: impl Fn(&K) -> Option<Seen>,
    ) -> Vec<Seen> {
        let identity = |object: &K| (object.namespace(), object.name_any());
        match event {
            Event::Init => {
                self.listing.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.listing.insert(identity(&object));
                self.remember(identity(&object), gone(&object));
                there(object).map(Seen::of_any_age).into_iter().collect()
            }
            Event::Apply(object) => {
                self.remember(identity(&object), gone(&object));
                there(object).into_iter().collect()
            }
            Event::Delete(object) => {
                self.there.remove(&identity(&object));
                gone(&object).into_iter().collect()
            }
            Event::InitDone => {
                let listing = std::mem::take(&mut self.listing);
                let vanished = self
                    .there
                    .extract_if(|identity, _| !listing.contains(identity));
                let vanished = vanished.map(|(_, gone)| gone);
                vanished.chain([Seen::Listed]).collect()
            }
        }
    }

    fn remember(&mut self, identity: Identity, gone: Option<Seen>) {
        if let Some(gone) = gone {
            self.there.insert(identity, gone);
        }
    }
}

fn broken(kind: &str, error: &watcher::Error) {
    let missing = |error: &kube::Error| matches!(error, kube::Error::Api(s) if s.code == 404);
    match error {
        watcher::Error::InitialListFailed(error) if missing(error) => tracing::warn!(
            %kind,
            "the kind is not installed: ringfence-operator crds | kubectl apply --server-side -f -"
        ),
        error => tracing::warn!(%kind, error = %chain(error), "a watch broke; it starts again"),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object
    }

    fn tell(known: &mut Known, event: Event<ConfigMap>) -> Vec<String> {
        let gone = |object: &ConfigMap| name(object).map(Seen::LeaseGone);
        let there = |object: ConfigMap| {
            let used = Some(PoolUsed::from_thousandths(1));
            name(&object).map(|name| Seen::Lease(name, String::new(), Duration::ZERO, used))
        };
        let mut told: Vec<String> = known
            .tell(event, there, gone)
            .into_iter()
            .map(|seen| match seen {
                Seen::Lease(name, .., used) => {
                    format!("{}{name}", if used.is_some() { "+" } else { "?" })
                }
                Seen::LeaseGone(name) => format!("-{name}"),
                Seen::Listed => "listed".to_owned(),
                Seen::Change(_) => "change".to_owned(),
            })
            .collect();
        told.sort();
        told
    }

    #[test]
    fn what_vanished_while_nobody_watched_is_told() {
        let mut known = Known::default();
        for (event, expected) in [
            (Event::Init, vec![]),
            (Event::InitApply(object("a")), vec!["?a"]),
            (Event::InitApply(object("b")), vec!["?b"]),
            (Event::InitDone, vec!["listed"]),
            (Event::Apply(object("c")), vec!["+c"]),
            (Event::Delete(object("a")), vec!["-a"]),
            (Event::Init, vec![]),
            (Event::InitApply(object("c")), vec!["?c"]),
            (Event::InitDone, vec!["-b", "listed"]),
        ] {
            assert_eq!(tell(&mut known, event), expected);
        }
    }
}
