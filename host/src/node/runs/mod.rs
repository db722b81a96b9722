//! Runs that are bound to this host: each is executed once, or said not to be known about.
//!
//! ```text
//! bound → slot → journal (on the disk) → call → status
//! ```
//!
//! What stands in the journal of an earlier process is not begun again: nobody knows how far it came. A run
//! that was bound to another journal than this one's, because the host lost its disk or another host has
//! taken its name, is not begun either.

mod execute;
mod journal;
mod output;
mod report;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use parking_lot::Mutex;
use ringfence_api::{Run, RunPhase, TenantName, chain};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use journal::JournalError;

use self::journal::Journal;
use self::report::Seen;
use super::Shared;

/// Runs that are executed at the same time, where there are sandboxes enough; others that are bound wait.
pub const RUNS_AT_ONCE: u64 = 64;
/// Sandboxes for each run: an agent calls tools.
const SANDBOXES_FOR_EACH: u64 = 4;
/// File of the journal in the data directory.
const JOURNAL: &str = "runs.sqlite";
/// How long runs may go on once the host is asked to end.
const DRAIN: Duration = Duration::from_secs(30);
/// How long the ends of runs that were cut off may take to be told.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why a run was canceled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Why {
    /// It was not.
    #[default]
    Not,
    /// Somebody asked for it.
    Asked,
    /// The object is gone, or no longer this host's.
    Gone,
    /// The host ends.
    Stopped,
    /// It was given back before it began.
    Released,
}

/// A run that this process knows.
#[derive(Debug)]
struct Ticket {
    tenant: TenantName,
    name: String,
    uid: String,
    seen: Mutex<Seen>,
    why: Mutex<Why>,
    cancel: CancellationToken,
}

impl Ticket {
    fn why(&self) -> Why {
        *self.why.lock()
    }

    /// Ends the run. The first reason counts.
    fn end(&self, why: Why) {
        let mut known = self.why.lock();
        if *known == Why::Not {
            *known = why;
        }
        drop(known);
        self.cancel.cancel();
    }
}

/// The runs of this host.
pub(super) struct Runs {
    shared: Arc<Shared>,
    address: SocketAddr,
    journal: Journal,
    slots: Semaphore,
    draining: CancellationToken,
    tasks: TaskTracker,
    /// By the identity of the object.
    known: Mutex<HashMap<String, Arc<Ticket>>>,
}

impl Runs {
    /// Opens the journal in this data directory.
    pub(super) fn open(
        shared: Arc<Shared>,
        address: SocketAddr,
        data: &Path,
    ) -> Result<Arc<Self>, JournalError> {
        let sandboxes = shared.host.sandboxes();
        let at_once = (sandboxes / SANDBOXES_FOR_EACH).clamp(1, RUNS_AT_ONCE);
        Ok(Arc::new(Self {
            shared,
            address,
            journal: Journal::open(&data.join(JOURNAL))?,
            slots: Semaphore::new(usize::try_from(at_once).unwrap_or(1)),
            draining: CancellationToken::new(),
            tasks: TaskTracker::new(),
            known: Mutex::default(),
        }))
    }

    /// Identity of the journal: the operator binds runs to it, not to a mere name.
    pub(super) fn journal_id(&self) -> &str {
        self.journal.id()
    }

    /// Begins nothing more, gives back what has not begun, and waits for the rest, but not for ever.
    pub(super) async fn drain(&self) {
        self.draining.cancel();
        self.tasks.close();
        if tokio::time::timeout(DRAIN, self.tasks.wait()).await.is_ok() {
            return;
        }
        let left: Vec<_> = self.known.lock().values().cloned().collect();
        left.iter().for_each(|ticket| ticket.end(Why::Stopped));
        if tokio::time::timeout(LAST_WORDS, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("the ends of some runs could not be told");
        }
    }
}

/// Follows the runs that are bound to this host, for ever.
pub(super) async fn follow(runs: Arc<Runs>) {
    // What is over leaves the selection: the host need not keep it.
    let own = format!(
        "status.hostName={},status.phase!=Succeeded,status.phase!=Failed,status.phase!=Canceled",
        runs.shared.membership.name
    );
    let all: Api<Run> = Api::all(runs.shared.client.clone());
    let config = Config::default().fields(&own);
    let mut events = watcher(all, config).default_backoff().boxed();
    let mut listing = HashSet::new();
    loop {
        match events.try_next().await {
            Ok(Some(Event::Apply(run))) => put(&runs, run),
            Ok(Some(Event::InitApply(run))) => {
                listing.extend(run.uid());
                put(&runs, run);
            }
            Ok(Some(Event::Delete(run))) => remove(&runs, &run.uid().unwrap_or_default()),
            Ok(Some(Event::Init)) => listing.clear(),
            Ok(Some(Event::InitDone)) => {
                let known: Vec<String> = runs.known.lock().keys().cloned().collect();
                for uid in known.iter().filter(|uid| !listing.contains(*uid)) {
                    remove(&runs, uid);
                }
                // What is over or gone need not be remembered.
                for uid in runs.journal.before().difference(&listing) {
                    runs.journal.forget(uid).await;
                }
            }
            Ok(None) => return,
            Err(error) => tracing::warn!(
                error = chain(&error),
                "the watch of runs broke; it starts again"
            ),
        }
    }
}

fn put(runs: &Arc<Runs>, run: Run) {
    let (Some(uid), Some(namespace)) = (run.uid(), run.namespace()) else {
        return;
    };
    let Ok(tenant) = namespace.parse::<TenantName>() else {
        return;
    };
    let status = run.status.clone().unwrap_or_default();
    if status.phase.is_final() || status.host_name.as_ref() != Some(&runs.shared.membership.name) {
        return;
    }
    let deleting = run.metadata.deletion_timestamp.is_some();
    let mut known = runs.known.lock();
    if let Some(ticket) = known.get(&uid)
        && !(ticket.why() == Why::Released && is_newer(ticket, &run))
    {
        observe(ticket, &run);
        if deleting {
            ticket.end(Why::Gone);
        } else if run.spec.cancel {
            ticket.end(Why::Asked);
        }
        return;
    }
    // A host that drains begins nothing; what is still bound to it then is given back.
    if deleting {
        return;
    }
    let ticket = Arc::new(Ticket {
        tenant,
        name: run.name_any(),
        uid: uid.clone(),
        seen: Mutex::new(Seen::of(&run)),
        why: Mutex::default(),
        cancel: CancellationToken::new(),
    });
    known.insert(uid.clone(), ticket.clone());
    drop(known);
    if run.spec.cancel {
        ticket.end(Why::Asked);
    }
    let begun = match status.host_journal.as_deref() == Some(runs.journal.id()) {
        true if runs.journal.before().contains(&uid) => {
            Some("the host ended while it ran: how far it came is not known")
        }
        true => None,
        false => Some("the host has lost its journal: whether it began is not known"),
    };
    let runs = runs.clone();
    let tracker = runs.tasks.clone();
    match begun {
        None => drop(tracker.spawn(execute::execute(runs, Arc::new(run), ticket))),
        Some(why) => drop(tracker.spawn(async move {
            let status = json!({"error": {"code": "unknown-outcome", "message": why}});
            report::finish(&runs.shared, &ticket, RunPhase::Failed, status).await;
            runs.journal.forget(&ticket.uid).await;
        })),
    }
}

/// Whether it is a newer version than what the ticket knows: what the host wrote itself may be newer than
/// what the watch tells.
fn is_newer(ticket: &Ticket, run: &Run) -> bool {
    let version = |text: &str| text.parse::<u64>().ok();
    let seen = run.metadata.resource_version.as_deref().unwrap_or_default();
    version(seen) > version(&ticket.seen.lock().version)
}

/// Takes a newer version in.
fn observe(ticket: &Ticket, run: &Run) {
    if is_newer(ticket, run) {
        *ticket.seen.lock() = Seen::of(run);
    }
}

/// It is over, gone, or not this host's any more.
fn remove(runs: &Runs, uid: &str) {
    if let Some(ticket) = runs.known.lock().remove(uid) {
        ticket.end(Why::Gone);
    }
}
