//! Controllers: they look at what changed, plan, and write.

mod binder;
mod doubt;
mod governance;
mod intake;
mod pools;
mod runs;
mod secrets;
mod workloads;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use parking_lot::Mutex;
use ringfence_api::{Name, TenantName};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::custom_metrics::Loads;
use crate::index::{Change, Dirty, Index};
use crate::key::WorkloadId;
use crate::metrics::Metrics;
use crate::pool::HostSettings;
use crate::pulse::Pulse;
use crate::queue::Queue;
use crate::runs::Book;
use crate::watch::Seen;
use crate::write::{FIELD_MANAGER, Writer};
use pools::Pools;

/// Agents and tools that are worked on at the same time.
const WORKERS: usize = 16;
/// How long what was ready goes on saying so while it moves to another host. Most are ready there sooner, and where
/// a host with thousands is lost, telling of each that it moves would only keep the API server from being told
/// where to. Calls go by what the host itself says, and do not wait for it.
const MOVING: Duration = Duration::from_secs(5);

/// What only has a status to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Governed {
    Ceiling(Name),
    Pool(Name),
    Host(Name),
    Model(TenantName, Name),
}

/// Everything that the controllers share. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    index: Arc<Mutex<Index>>,
    workloads: Arc<Queue<WorkloadId>>,
    moving: Arc<Mutex<workloads::Moving>>,
    refused: Arc<Mutex<workloads::Refused>>,
    governed: Arc<Queue<Governed>>,
    /// Tenants whose hosts may need to read other Secrets.
    secrets: Arc<Queue<TenantName>>,
    /// The namespace of the hosts.
    namespace: Arc<str>,
    placing: Arc<Notify>,
    runs: Arc<Mutex<Book>>,
    running: Arc<Notify>,
    client: Client,
    writer: Writer,
    recorder: Recorder,
    metrics: Metrics,
    /// What there is of the pools whose hosts this operator runs.
    pools: Option<Arc<Pools>>,
    loads: Loads,
}

impl Operator {
    /// An operator that knows nothing yet. `identity` tells it from others in events; hosts are in
    /// `namespace`.
    pub fn new(writer: Writer, identity: &str, namespace: &str) -> Self {
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: Some(identity.to_owned()),
        };
        Self {
            index: Arc::default(),
            workloads: Arc::default(),
            moving: Arc::default(),
            refused: Arc::default(),
            governed: Arc::default(),
            secrets: Arc::default(),
            namespace: namespace.into(),
            placing: Arc::default(),
            runs: Arc::default(),
            running: Arc::default(),
            client: writer.client().clone(),
            recorder: Recorder::new(writer.client().clone(), reporter),
            metrics: writer.metrics().clone(),
            writer,
            pools: None,
            loads: Loads::default(),
        }
    }

    /// How busy hosts are.
    pub fn loads(&self) -> Loads {
        self.loads.clone()
    }

    /// Runs the hosts of pools that ask for it, in `namespace`.
    #[must_use]
    pub fn with_hosts(mut self, namespace: &str, settings: HostSettings) -> Self {
        self.pools = Some(Arc::new(Pools::new(namespace, settings)));
        self
    }

    /// Takes in what the watches tell, for ever. The value becomes true once everything that was there
    /// at the start is known. Leases of hosts run out while `pulse` says that they could be renewed.
    pub fn listen(&self, seen: mpsc::Receiver<Seen>, pulse: &Pulse) -> watch::Receiver<bool> {
        let (sender, listed) = watch::channel(false);
        tokio::spawn(intake::run(self.clone(), seen, pulse.listen(), sender));
        tokio::spawn(runs::follow(self.clone(), self.client.clone()));
        listed
    }

    /// Works until it is dropped. To be called by the leader only.
    pub fn work(&self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for _ in 0..WORKERS {
            tasks.spawn(workloads::run(self.clone()));
        }
        tasks.spawn(governance::run(self.clone()));
        tasks.spawn(binder::run(self.clone()));
        if let Some(pools) = &self.pools {
            tasks.spawn(pools::run(self.clone(), pools.clone()));
        }
        tasks.spawn(runs::run(self.clone()));
        tasks.spawn(secrets::run(self.clone()));
        self.placing.notify_one();
        tasks
    }

    /// Takes a change in: from a watch, or what the API server answered to a write, so that nobody waits
    /// for the watch to tell.
    fn learn(&self, change: Change) {
        let hosts = matches!(
            change,
            Change::Host(_) | Change::HostGone(_) | Change::Life(..)
        );
        let dirty = self.index.lock().apply(change);
        if hosts {
            self.runs.lock().hosts_changed();
            self.running.notify_one();
        }
        self.look_at(dirty);
    }

    fn look_at(&self, dirty: Dirty) {
        if !dirty.workloads.is_empty() {
            let mut runs = self.runs.lock();
            dirty
                .workloads
                .iter()
                .for_each(|id| runs.target_changed(id));
            self.running.notify_one();
        }
        for id in dirty.workloads {
            self.workloads.add(id);
        }
        if let Some(pools) = &self.pools {
            dirty.pools.iter().for_each(|pool| pools.look_at(pool));
        }
        let ceilings = dirty.ceilings.into_iter().map(Governed::Ceiling);
        let pools = dirty.pools.into_iter().map(Governed::Pool);
        let models = dirty.models.into_iter();
        let models = models.map(|(tenant, name)| Governed::Model(tenant, name));
        for governed in ceilings.chain(pools).chain(models) {
            self.governed.add(governed);
        }
        for tenant in dirty.secrets {
            self.secrets.add(tenant);
        }
        if dirty.placing {
            self.placing.notify_one();
        }
        self.metrics.queued(self.workloads.len());
    }

    /// Tells people. What cannot be told is logged and otherwise forgotten: an event is no state.
    async fn tell(&self, about: ObjectReference, type_: EventType, reason: &str, note: String) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(clip(note)),
            action: reason.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &about).await {
            tracing::debug!(%error, reason, "an event was not published");
        }
    }
}

/// Kubernetes takes notes of up to 1,024 bytes.
fn clip(mut note: String) -> String {
    const MOST: usize = 1_024;
    if note.len() > MOST {
        let end = (0..=MOST - 3).rev().find(|end| note.is_char_boundary(*end));
        note.truncate(end.unwrap_or(0));
        note += "…";
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_are_cut_between_characters() {
        assert_eq!(clip("short".into()), "short");
        let long = clip("ä".repeat(1_000));
        assert!(long.len() <= 1_024 && long.ends_with('…'));
    }
}
