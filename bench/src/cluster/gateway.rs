//! Runs through the gateway of a host of a cluster, without objects.

use anyhow::Result;
use kube::Api;
use kube::api::PostParams;
use ringfence_api::Agent;
use ringfence_test_guests::AGENT_ECHO;
use serde_json::json;

use super::runs::uploaded;
use super::world::{World, within};
use super::{Ready, SETTING};
use crate::load::{CONNECTIONS, Load, alone};
use crate::report::{Goal, Measurement};
use crate::setting::Setting;

pub(crate) const METRICS: &[&str] = &["gateway_runs_per_s"];

/// See the module.
pub(crate) fn measure(setting: &Setting) -> Result<Vec<Measurement>> {
    let data = tempfile::tempdir()?;
    let digest = uploaded(setting, data.path(), AGENT_ECHO)?;
    let rate = within(async {
        let world = World::new(setting).await?;
        let _operator = world.operator("operator").await?;
        let host = world.host("h1", Some(data.path()), &[])?;
        let agent: Agent = serde_json::from_value(json!({
            "apiVersion": ringfence_api::API_VERSION, "kind": "Agent",
            "metadata": {"name": "echo"}, "spec": {"component": {"digest": digest}},
        }))?;
        let agents: Api<Agent> = Api::default_namespaced(world.client.clone());
        agents.create(&PostParams::default(), &agent).await?;
        Ready::watch(&world.client).one("echo").await?;
        let body = json!({"model": "echo", "messages": [{"role": "user", "content": "hello"}]});
        let load = Load {
            url: format!("{}/default/v1/chat/completions", host.base),
            headers: vec![("content-type", "application/json".to_owned())],
            body: Some(body.to_string()),
        };
        tokio::task::spawn_blocking(move || alone(&load)).await?
    })?;
    Ok(vec![Measurement {
        name: METRICS[0],
        value: rate,
        unit: "runs/s",
        goal: Goal::AtLeast(5_000.0),
        detail: format!(
            "runs of an agent that is a component (agent-echo), as chat completions at a host of the cluster, wrk \
             with {CONNECTIONS} connections; {SETTING}"
        ),
    }])
}
