//! `Run` objects: made, executed and finished; and how fast they could be.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use ringfence_api::{Run, RunPhase, Tool, condition};
use ringfence_test_guests::ECHO;
use serde_json::json;

use super::world::{World, within};
use super::{CLIENTS, PATIENCE, SETTING};
use crate::api::Api as Rest;
use crate::report::{Goal, Measurement};
use crate::server::Server;
use crate::setting::Setting;
use crate::stats::count;

pub(crate) const METRICS: &[&str] = &["run_objects_per_s", "run_objects_ratio"];

const RUNS: usize = 5_000;
const WARM: usize = 200;

/// See the module.
pub(crate) fn measure(setting: &Setting) -> Result<Vec<Measurement>> {
    let data = tempfile::tempdir()?;
    let digest = uploaded(setting, data.path(), ECHO)?;
    let (rate, requests, bare) = within(async {
        let world = World::new(setting).await?;
        let operator = world.operator("operator").await?;
        let host = world.host("h1", Some(data.path()), &[])?;
        let tool: Tool = serde_json::from_value(json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": "Tool",
            "metadata": {"name": "echo"},
            "spec": {"component": {"digest": digest}, "limits": {"concurrency": 256}},
        }))?;
        let tools: Api<Tool> = Api::default_namespaced(world.client.clone());
        tools.create(&PostParams::default(), &tool).await?;
        executed(&world, "warm", WARM).await?;
        let (requests, writes) = (world.requests().await?, operator.writes().await?);
        let rate = executed(&world, "run", RUNS).await?;
        let requests = world.requests().await? - requests;
        let writes = operator.writes().await? - writes;
        let runs = count(RUNS as u64);
        operator.stop()?;
        host.stop()?;
        let bare = written(&world, RUNS).await?;
        Ok((rate, (requests / runs, writes / runs), bare))
    })?;
    Ok(vec![
        Measurement {
            name: METRICS[0],
            value: rate,
            unit: "runs/s",
            goal: Goal::AtLeast(500.0),
            detail: format!(
                "{RUNS} Run objects that call the tool echo, made by {CLIENTS} clients as fast as the API server \
                 takes them, until a watch has told that the last one succeeded; one host; {:.2} requests to the \
                 API server for each, {:.2} of them the operator's; {SETTING}",
                requests.0, requests.1
            ),
        },
        Measurement {
            name: METRICS[1],
            value: rate / bare,
            unit: "x",
            goal: Goal::Open,
            detail: format!(
                "of {bare:.0} a second that the API server takes when {CLIENTS} clients only send the three requests \
                 that a Run needs (made, bound, finished), with no operator, no host, no watch and nothing executed; \
                 {SETTING}"
            ),
        },
    ])
}

/// Runs a second that are written as an operator and a host write them, by nobody but the clients.
async fn written(world: &World<'_>, number: usize) -> Result<f64> {
    let runs: Api<Run> = Api::default_namespaced(world.client.clone());
    let bound = json!({
        "phase": RunPhase::Pending, "observedGeneration": 1, "hostName": "h1",
        "hostJournal": "6e3a3f62-8f0e-4c39-9d0a-3e2f0c8a7b51", "timeLeftMs": 300_000,
    });
    let now = Timestamp::now().to_string();
    let finished = json!({
        "phase": RunPhase::Succeeded, "startedAt": now, "finishedAt": now, "output": {"text": "hello"},
        "conditions": [{
            "type": condition::FINISHED, "status": "True", "reason": "Succeeded", "message": "it succeeded",
            "lastTransitionTime": now,
        }],
    });
    let (post, patch) = (PostParams::default(), PatchParams::default());
    let began = Instant::now();
    futures::stream::iter(0..number)
        .map(|n| {
            let (runs, post, patch) = (&runs, &post, &patch);
            let statuses = [&bound, &finished];
            async move {
                let name = format!("bare-{n}");
                runs.create(post, &run(&name)?).await?;
                for status in statuses {
                    let status = Patch::Merge(json!({ "status": status }));
                    runs.patch_status(&name, patch, &status).await?;
                }
                anyhow::Ok(())
            }
        })
        .buffer_unordered(CLIENTS)
        .try_collect::<()>()
        .await?;
    Ok(count(number as u64) / began.elapsed().as_secs_f64())
}

/// A run that calls the tool.
fn run(name: &str) -> Result<Run> {
    Ok(serde_json::from_value(json!({
        "apiVersion": ringfence_api::API_VERSION, "kind": "Run",
        "metadata": {"name": name},
        "spec": {"tool": {"name": "echo", "function": "echo", "arguments": {"text": "hello"}}},
    }))?)
}

/// The digest of a component that was put into a data directory.
pub(super) fn uploaded(
    setting: &Setting,
    data: &std::path::Path,
    component: &'static [u8],
) -> Result<String> {
    let host = Server::host(setting, data, &[])?;
    let digest = Rest::connect(&host)?.upload(component)?;
    host.stop()?;
    Ok(digest)
}

/// Runs a second, from the first request to the last end.
async fn executed(world: &World<'_>, prefix: &str, number: usize) -> Result<f64> {
    let runs: Api<Run> = Api::default_namespaced(world.client.clone());
    let mut events = watcher(runs.clone(), Config::default())
        .default_backoff()
        .boxed();
    let began = Instant::now();
    let making = async {
        let params = PostParams::default();
        futures::stream::iter(0..number)
            .map(|n| {
                let (runs, params) = (&runs, &params);
                async move {
                    runs.create(params, &run(&format!("{prefix}-{n}"))?).await?;
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(CLIENTS)
            .try_collect::<()>()
            .await
    };
    let watching = async {
        let mut over = HashSet::new();
        while over.len() < number {
            let event = tokio::time::timeout(PATIENCE, events.try_next()).await;
            let event = event.context("the runs do not end")??;
            let Some(Event::Apply(run) | Event::InitApply(run)) = event else {
                continue;
            };
            let phase = run.status.as_ref().map(|status| status.phase);
            if run.name_any().starts_with(prefix) && phase.is_some_and(RunPhase::is_final) {
                ensure!(phase == Some(RunPhase::Succeeded), "a run failed: {run:?}");
                over.insert(run.name_any());
            }
        }
        anyhow::Ok(began.elapsed())
    };
    let ((), elapsed) = futures::try_join!(making, watching)?;
    Ok(count(number as u64) / elapsed.as_secs_f64())
}
