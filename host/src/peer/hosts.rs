//! The hosts of the cluster: where each is reached, and whether it drains.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use parking_lot::RwLock;
use ringfence_api::{Host, Name, condition};
use tokio::sync::watch;

/// What is known about one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Where it listens for other hosts; none where it does not.
    pub(crate) address: Option<SocketAddr>,
    /// Whether it is about to leave.
    pub(crate) draining: bool,
    /// Whether the operator has not heard of it for too long.
    pub(crate) lost: bool,
}

/// All hosts by name.
#[derive(Debug)]
pub(crate) struct Hosts {
    peers: RwLock<HashMap<Name, Peer>>,
    changes: watch::Sender<u64>,
}

impl Default for Hosts {
    fn default() -> Self {
        Self {
            peers: RwLock::default(),
            changes: watch::Sender::new(0),
        }
    }
}

impl Hosts {
    /// One of them.
    pub(crate) fn get(&self, name: &Name) -> Option<Peer> {
        self.peers.read().get(name).copied()
    }

    /// Those that can be reached, in no order.
    pub(crate) fn all(&self) -> Vec<(Name, Peer)> {
        let peers = self.peers.read();
        peers
            .iter()
            .map(|(name, peer)| (name.clone(), *peer))
            .collect()
    }

    /// Waits until a host is known, but not longer than that: it may just have joined.
    pub(crate) async fn wait_for(&self, name: &Name, most: Duration) -> bool {
        if self.get(name).is_some() {
            return true;
        }
        let mut changes = self.changes.subscribe();
        let known = changes.wait_for(|_| self.peers.read().contains_key(name));
        matches!(tokio::time::timeout(most, known).await, Ok(Ok(_)))
    }

    /// Takes note of one.
    pub(crate) fn put(&self, name: Name, peer: Peer) {
        if self.peers.write().insert(name, peer) != Some(peer) {
            self.changes.send_modify(|revision| *revision += 1);
        }
    }

    fn retain(&self, keep: impl Fn(&Name) -> bool) {
        self.peers.write().retain(|name, _| keep(name));
        self.changes.send_modify(|revision| *revision += 1);
    }

    /// Follows the `Host` objects for ever.
    pub(crate) async fn follow(&self, api: Api<Host>) {
        let mut events = watcher(api, Config::default()).default_backoff().boxed();
        let mut listing = HashSet::new();
        loop {
            match events.try_next().await {
                Ok(Some(Event::Apply(host))) => {
                    if let Some((name, peer)) = read(&host) {
                        self.put(name, peer);
                    }
                }
                Ok(Some(Event::InitApply(host))) => {
                    if let Some((name, peer)) = read(&host) {
                        listing.insert(name.clone());
                        self.put(name, peer);
                    }
                }
                Ok(Some(Event::Delete(host))) => {
                    if let Some((gone, _)) = read(&host) {
                        self.retain(|name| *name != gone);
                    }
                }
                Ok(Some(Event::Init)) => listing.clear(),
                Ok(Some(Event::InitDone)) => self.retain(|name| listing.contains(name)),
                Ok(None) => return,
                Err(error) => tracing::warn!(%error, "the watch of hosts broke; it starts again"),
            }
        }
    }
}

fn read(host: &Host) -> Option<(Name, Peer)> {
    let name = host.name_any().parse().ok()?;
    let status = host.status.as_ref();
    let address = status.and_then(|status| status.peer_address.as_deref()?.parse().ok());
    let says_ready = |c: &Condition| c.type_ == condition::READY && c.status == "True";
    let peer = Peer {
        address,
        draining: host.spec.draining,
        lost: !status.is_some_and(|status| status.conditions.iter().any(says_ready)),
    };
    Some((name, peer))
}
