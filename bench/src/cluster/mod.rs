//! What is measured on a cluster: a real control plane, the operator and hosts, each in a process of its
//! own, on the same cores. etcd does not wait for the disk (`--unsafe-no-fsync`), as in the tests.

pub(crate) mod gateway;
pub(crate) mod loss;
pub(crate) mod many;
pub(crate) mod ready;
pub(crate) mod routed;
pub(crate) mod runs;
mod world;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::PostParams;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use ringfence_api::{Agent, condition};
use serde_json::json;
use tokio::sync::mpsc;

/// What the details of all figures have in common.
const SETTING: &str =
    "etcd (no fsync), API server, operator and hosts in processes of their own on the same cores";
/// Requests that are sent at the same time.
const CLIENTS: usize = 32;
/// Arguments of a host that has room for all instances of a benchmark: what they request is not what is measured.
const ROOM: &[&str] = &["--memory-bytes", "8796093022208", "--cpu-millis", "4000000"];
/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// A chat agent with instructions of its own; its component is in every host's cache.
fn chat(name: &str) -> Result<Agent> {
    Ok(serde_json::from_value(json!({
        "apiVersion": ringfence_api::API_VERSION, "kind": "Agent",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "description": format!("Agent {name}, which answers in its own way."),
            "instructions": format!("You are {name}. Answer briefly."),
            "model": {"name": "scripted"},
        },
    }))?)
}

/// Makes agents as fast as the API server takes them.
async fn make(client: &Client, count: usize) -> Result<()> {
    let agents: Api<Agent> = Api::default_namespaced(client.clone());
    let params = PostParams::default();
    futures::stream::iter(0..count)
        .map(|n| {
            let (agents, params) = (&agents, &params);
            async move {
                let agent = chat(&format!("agent-{n}"))?;
                agents.create(params, &agent).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(CLIENTS)
        .try_collect()
        .await
}

/// When agents became ready, by name, as a watch tells.
struct Ready {
    seen: mpsc::UnboundedReceiver<(String, bool)>,
    ready: HashMap<String, Instant>,
}

impl Ready {
    fn watch(client: &Client) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let agents: Api<Agent> = Api::default_namespaced(client.clone());
        tokio::spawn(async move {
            let mut events = watcher(agents, Config::default()).default_backoff().boxed();
            while let Ok(event) = events.try_next().await {
                let (Some(Event::Apply(agent)) | Some(Event::InitApply(agent))) = event else {
                    continue;
                };
                let status = agent.status.as_ref();
                let ready = status.is_some_and(|status| {
                    status
                        .conditions
                        .iter()
                        .any(|c| c.type_ == condition::READY && c.status == "True")
                });
                if sender.send((agent.name_any(), ready)).is_err() {
                    return;
                }
            }
        });
        Self {
            seen,
            ready: HashMap::new(),
        }
    }

    async fn next(&mut self) -> Result<()> {
        let seen = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
        let (name, ready) = seen
            .context("the agents do not become ready")?
            .context("the watch ended")?;
        match ready {
            true => drop(self.ready.entry(name).or_insert_with(Instant::now)),
            false => drop(self.ready.remove(&name)),
        }
        Ok(())
    }

    /// Waits for one.
    async fn one(&mut self, name: &str) -> Result<Instant> {
        loop {
            if let Some(at) = self.ready.get(name) {
                return Ok(*at);
            }
            self.next().await?;
        }
    }

    /// Waits until so many are ready.
    async fn all(&mut self, count: usize) -> Result<Instant> {
        while self.ready.len() < count {
            self.next().await?;
        }
        match self.ready.values().max() {
            Some(last) => Ok(*last),
            None => bail!("there is no agent"),
        }
    }
}
