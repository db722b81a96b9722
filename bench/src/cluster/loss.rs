//! A host is killed, or hangs: how long until everything that it ran is ready elsewhere.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use ringfence_api::{Instance, condition};

use super::world::{World, within};
use super::{PATIENCE, ROOM, Ready, SETTING, make};
use crate::report::{Goal, Measurement};
use crate::setting::Setting;
use crate::stats::count;

pub(crate) const METRICS: &[&str] = &["host_loss_rebind_s", "host_hang_rebind_s"];

const INSTANCES: usize = 1_000;
/// How long a Lease holds, and how much later everything should be ready.
const LEASE: f64 = 10.0;
const ALLOWED: f64 = 2.0;

/// What happens to the host.
enum Fault {
    /// Its process ends.
    Killed,
    /// Its process does nothing any more, and its machine goes on taking connections.
    Hangs,
}

/// See the module.
pub(crate) fn measure(setting: &Setting) -> Result<Vec<Measurement>> {
    let (killed, requests) = within(lose(setting, Fault::Killed))?;
    let (hangs, more) = within(lose(setting, Fault::Hangs))?;
    Ok(vec![
        Measurement {
            name: METRICS[0],
            value: killed,
            unit: "s",
            goal: Goal::AtMost(LEASE + ALLOWED),
            detail: format!(
                "from killing the host that ran {INSTANCES} chat agents until each is Ready on the other one; \
                 {requests:.2} requests to the API server for each, renewals included; {SETTING}"
            ),
        },
        Measurement {
            name: METRICS[1],
            value: hangs,
            unit: "s",
            goal: Goal::Open,
            detail: format!(
                "the same of a host that is stopped and not ended, which only its Lease of {LEASE} s tells, renewed \
                 up to 2.5 s before and with 0.5 s of grace; {more:.2} requests for each; {SETTING}"
            ),
        },
    ])
}

/// Seconds, and requests to the API server for each instance.
async fn lose(setting: &Setting, fault: Fault) -> Result<(f64, f64)> {
    let world = World::new(setting).await?;
    let _operator = world.operator("operator").await?;
    let lost = world.host("h-lost", None, ROOM)?;
    make(&world.client, INSTANCES).await?;
    Ready::watch(&world.client).all(INSTANCES).await?;
    let _stays = world.host("h-stays", None, ROOM)?;
    let all: Api<Instance> = Api::all(world.client.clone());
    let mut events = watcher(all, Config::default()).default_backoff().boxed();
    let mut there: HashMap<String, bool> = HashMap::new();
    let before = world.requests().await?;
    let began = Instant::now();
    let _hangs = match fault {
        Fault::Killed => {
            lost.kill()?;
            None
        }
        Fault::Hangs => {
            lost.hang()?;
            Some(lost)
        }
    };
    while there.values().filter(|ready| **ready).count() < INSTANCES {
        let event = tokio::time::timeout(PATIENCE, events.try_next()).await;
        let event = event.context("the instances do not become ready elsewhere")??;
        if let Some(Event::Apply(instance) | Event::InitApply(instance)) = event {
            there.insert(instance.name_any(), is_there(&instance));
        }
    }
    let took = began.elapsed().as_secs_f64();
    let requests = world.requests().await? - before;
    Ok((took, requests / count(INSTANCES as u64)))
}

fn is_there(instance: &Instance) -> bool {
    let status = instance.status.as_ref();
    status.is_some_and(|status| {
        status.host_name.as_ref().map(ringfence_api::Name::as_str) == Some("h-stays")
            && status.host_name == instance.spec.host_name
            && status
                .conditions
                .iter()
                .any(|c| c.type_ == condition::READY && c.status == "True")
    })
}
