//! From applying one agent to its being ready.

use std::time::Instant;

use anyhow::Result;
use kube::Api;
use kube::api::PostParams;
use ringfence_api::Agent;

use super::world::{World, within};
use super::{ROOM, Ready, SETTING, chat};
use crate::report::{Goal, Measurement};
use crate::setting::Setting;
use crate::stats::{millis, percentile};

pub(crate) const METRICS: &[&str] = &["apply_to_ready_p50_ms", "apply_to_ready_p99_ms"];

/// Agents that are applied one after the other, and before them, to warm up.
const AGENTS: usize = 300;
const WARM: usize = 20;

/// See the module.
pub(crate) fn measure(setting: &Setting) -> Result<Vec<Measurement>> {
    let times = within(async {
        let world = World::new(setting).await?;
        let _operator = world.operator("operator").await?;
        let _host = world.host("h1", None, ROOM)?;
        let agents: Api<Agent> = Api::default_namespaced(world.client.clone());
        let mut ready = Ready::watch(&world.client);
        let mut times = Vec::new();
        for n in 0..WARM + AGENTS {
            let name = format!("agent-{n}");
            let began = Instant::now();
            agents.create(&PostParams::default(), &chat(&name)?).await?;
            let at = ready.one(&name).await?;
            if n >= WARM {
                times.push(millis(at.duration_since(began)));
            }
        }
        Ok(times)
    })?;
    let detail = format!(
        "{AGENTS} chat agents, one after the other, from the request that makes one until a watch tells that \
         it is Ready; their component is cached; {SETTING}"
    );
    let of = |name, percent, goal| Measurement {
        name,
        value: percentile(&times, percent),
        unit: "ms",
        goal: Goal::AtMost(goal),
        detail: detail.clone(),
    };
    Ok(vec![of(METRICS[0], 50, 200.0), of(METRICS[1], 99, 1_000.0)])
}
