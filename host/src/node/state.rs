//! What the host says about itself in its `Host`: where it is, what it has prepared, whether memory is
//! short. Written when it changes, and not more often than every [`EVERY`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use ringfence_api::{API_VERSION, Digest, Host, chain, condition};
use serde_json::{Value, json};

use super::memory::Memory;
use super::{FIELD_MANAGER, Shared};

/// How often the host looks at itself, and how often it writes at most.
pub const EVERY: Duration = Duration::from_secs(3);
/// Components that are told of, the newest ones; as many as `HostStatus::artifacts` takes.
pub const ARTIFACTS: usize = 1_000;

/// What is said, and since when.
pub(super) struct State {
    address: SocketAddr,
    /// Where other hosts reach it, if they do.
    peers: Option<SocketAddr>,
    /// Whether it can prove to other hosts that it is this one: they are not sent to it before.
    proven: bool,
    journal: String,
    started: Timestamp,
    memory: Memory,
    artifacts: Vec<Digest>,
    short: bool,
    short_since: Timestamp,
}

impl State {
    pub(super) fn new(address: SocketAddr, peers: Option<SocketAddr>, journal: &str) -> Self {
        let now = Timestamp::now();
        Self {
            address,
            peers,
            proven: false,
            journal: journal.to_owned(),
            started: now,
            memory: Memory::new(),
            artifacts: Vec::new(),
            short: false,
            short_since: now,
        }
    }

    /// Looks how things are now. True where that is something else than before.
    fn look(&mut self, artifacts: Vec<Digest>, proven: bool, now: Timestamp) -> bool {
        let short = self.memory.is_short();
        if short != self.short {
            tracing::warn!(
                short,
                "memory: new instances go elsewhere while it is short"
            );
            self.short_since = now;
        }
        let changed = short != self.short || artifacts != self.artifacts || proven != self.proven;
        (self.short, self.artifacts, self.proven) = (short, artifacts, proven);
        changed
    }

    fn conditions(&self) -> Value {
        let (status, reason, message) = match self.short {
            true => (
                "True",
                "MemoryShort",
                "it takes no further instances until memory is free",
            ),
            false => ("False", "MemoryFree", "memory is not short"),
        };
        json!([
            {
                "type": condition::READY, "status": "True", "reason": "HostReady",
                "message": "it takes instances",
                "lastTransitionTime": self.started.to_string(),
            },
            {
                "type": condition::MEMORY_PRESSURE, "status": status, "reason": reason,
                "message": message,
                "lastTransitionTime": self.short_since.to_string(),
            },
        ])
    }

    /// Looks, and writes it all.
    pub(super) async fn tell(&mut self, shared: &Shared) -> kube::Result<()> {
        self.look(artifacts(shared), is_proven(shared), Timestamp::now());
        self.write(shared).await
    }

    async fn write(&self, shared: &Shared) -> kube::Result<()> {
        let member = &shared.membership;
        let mut status = json!({
            "apiVersion": API_VERSION, "kind": "Host", "metadata": {"name": member.name},
            "status": {
                "address": self.address.to_string(),
                "journal": self.journal,
                "allocatable": member.allocatable,
                "version": env!("CARGO_PKG_VERSION"),
                "artifacts": self.artifacts,
                "conditions": self.conditions(),
            },
        });
        if let Some(peers) = self.peers.filter(|_| self.proven) {
            status["status"]["peerAddress"] = json!(peers.to_string());
        }
        let hosts: Api<Host> = Api::namespaced(shared.client.clone(), &member.namespace);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&status);
        let name = member.name.as_str();
        hosts.patch_status(name, &params, &patch).await.map(drop)
    }
}

fn artifacts(shared: &Shared) -> Vec<Digest> {
    shared.host.artifacts().newest(ARTIFACTS)
}

fn is_proven(shared: &Shared) -> bool {
    shared.peers.expires().is_some()
}

/// Keeps what is said true, for ever. What cannot be said now is said later.
pub(super) async fn follow(shared: Arc<Shared>, mut state: State) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut unsaid = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // Others wait for it.
            () = shared.peers.ready(), if !state.proven => {}
        }
        unsaid |= state.look(artifacts(&shared), is_proven(&shared), Timestamp::now());
        if !unsaid {
            continue;
        }
        match tokio::time::timeout(EVERY, state.write(&shared)).await {
            Ok(Ok(())) => unsaid = false,
            Ok(Err(error)) => tracing::warn!(
                error = chain(&error),
                "the host's status could not be written"
            ),
            Err(_) => tracing::warn!("the host's status could not be written: no answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_worth_telling() {
        let mut state = State::new("127.0.0.1:7070".parse().unwrap(), None, "journal");
        let digests = vec![Digest::of(b"b"), Digest::of(b"a")];
        let now = Timestamp::now();
        // Whether memory of the machine that tests run on is short is not what this is about.
        state.look(Vec::new(), false, now);
        assert!(state.look(digests.clone(), false, now));
        assert!(!state.look(digests.clone(), false, now));
        assert!(state.look(digests, true, now));
        assert!(state.look(vec![Digest::of(b"b")], true, now));
    }

    #[test]
    fn a_condition_tells_since_when() {
        let mut state = State::new("127.0.0.1:7070".parse().unwrap(), None, "journal");
        state.short = true;
        let conditions = state.conditions();
        assert_eq!(conditions[0]["type"], "Ready");
        assert_eq!(conditions[1]["status"], "True");
        assert_eq!(
            conditions[1]["lastTransitionTime"],
            state.short_since.to_string()
        );
        state.short = false;
        assert_eq!(state.conditions()[1]["status"], "False");
    }
}
