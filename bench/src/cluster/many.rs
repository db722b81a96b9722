//! Ten thousand agents at once, and an operator that starts anew among them.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::world::{World, within};
use super::{CLIENTS, ROOM, Ready, SETTING, make};
use crate::report::{Goal, Measurement};
use crate::setting::Setting;
use crate::stats::count;

pub(crate) const METRICS: &[&str] = &["agents_10k"];

const AGENTS: usize = 10_000;
/// What an operator that starts anew wants to write, it has written after this long.
const QUIET: Duration = Duration::from_secs(15);
const MIB: f64 = 1_048_576.0;

/// See the module.
pub(crate) fn measure(setting: &Setting) -> Result<Vec<Measurement>> {
    within(async {
        let world = World::new(setting).await?;
        let operator = world.operator("first").await?;
        let _hosts = [world.host("h1", None, ROOM)?, world.host("h2", None, ROOM)?];
        let mut ready = Ready::watch(&world.client);
        let (requests, empty) = (world.requests().await?, operator.resident()?);
        let began = Instant::now();
        make(&world.client, AGENTS).await?;
        let made = began.elapsed();
        let all = ready.all(AGENTS).await?.duration_since(began);
        let requests = world.requests().await? - requests;
        let (writes, resident) = (operator.writes().await?, operator.resident()?);
        operator.stop()?;
        let again = Instant::now();
        let operator = world.operator("second").await?;
        let leads = again.elapsed();
        tokio::time::sleep(QUIET).await;
        let rewritten = operator.writes().await?;
        let each = |total: f64| total / count(AGENTS as u64);
        Ok(vec![Measurement {
            name: METRICS[0],
            value: all.as_secs_f64(),
            unit: "s",
            goal: Goal::Open,
            detail: format!(
                "time from the first of {AGENTS} chat agents, made by {CLIENTS} clients in {:.1} s, until all are \
                 Ready on two hosts; the operator's Rss {:.0} MiB ({:.0} before) and {:.2} writes for each \
                 agent; {:.2} requests to the API server for each, renewals and making them included; a second \
                 operator led after {:.1} s and wrote {rewritten} times within {} s; {SETTING}",
                made.as_secs_f64(),
                count(resident) / MIB,
                count(empty) / MIB,
                each(writes),
                each(requests),
                leads.as_secs_f64(),
                QUIET.as_secs()
            ),
        }])
    })
}
