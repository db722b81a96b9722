//! What it costs that a call arrives at a host that does not run its target.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use kube::Api;
use kube::api::{ListParams, PostParams};
use ringfence_api::{Host, Instance, Tool};
use ringfence_test_guests::ECHO;
use serde_json::json;

use super::runs::uploaded;
use super::world::{World, within};
use super::{PATIENCE, SETTING};
use crate::api::Api as Rest;
use crate::report::{Goal, Measurement};
use crate::server::Server;
use crate::setting::Setting;
use crate::stats::{median, micros, percentile};

pub(crate) const METRICS: &[&str] = &["routed_call_added_ms"];

/// Rounds that count; in each, both hosts are asked.
const ROUNDS: usize = 60;
/// Calls of one host in one round.
const CALLS: usize = 100;
/// Rounds before those that count.
const WARM: usize = 5;
const PEERS: &[&str] = &["--peer-listen", "127.0.0.1:0"];
/// Time between two looks at what becomes ready.
const POLL: Duration = Duration::from_millis(100);

/// See the module.
pub(crate) fn measure(setting: &Setting) -> Result<Vec<Measurement>> {
    let data = [tempfile::tempdir()?, tempfile::tempdir()?];
    let mut digest = String::new();
    for data in &data {
        // The same on both: an instance may be bound to either.
        digest = uploaded(setting, data.path(), ECHO)?;
    }
    // What ends with the benchmark is kept until both hosts were asked.
    let (world, _operator, hosts, holder) = within(async {
        let world = World::new(setting).await?;
        let operator = world
            .operator_with("operator", &["--host-user", "admin"])
            .await?;
        let mut hosts = Vec::new();
        for (name, data) in ["h1", "h2"].into_iter().zip(&data) {
            hosts.push((name, world.host(name, Some(data.path()), PEERS)?));
        }
        let holder = placed(&world, &digest).await?;
        anyhow::Ok((world, operator, hosts, holder))
    })?;
    let (direct, routed) = {
        let server = |runs: bool| -> Result<&Server> {
            let mut hosts = hosts.iter();
            let found = hosts.find(|(name, _)| (*name == holder) == runs);
            found.map(|(_, host)| host).context("there are two hosts")
        };
        (server(true)?, server(false)?)
    };
    let compared = compare(&Rest::connect(direct)?, &Rest::connect(routed)?)?;
    drop((hosts, world));
    let (direct, routed) = (&compared[0], &compared[1]);
    let p50 = |values: &[f64]| median(values) / 1e3;
    let p99 = |values: &[f64]| percentile(values, 99) / 1e3;
    Ok(vec![Measurement {
        name: METRICS[0],
        value: p50(routed) - p50(direct),
        unit: "ms",
        goal: Goal::AtMost(0.5),
        detail: format!(
            "p50 {:.3} ms routed, {:.3} direct; p99 {:.3} and {:.3}; {} calls of a function (echo) over REST at each \
             host, one after the other over one connection, {CALLS} at one host and then as many at the other; {SETTING}",
            p50(routed),
            p50(direct),
            p99(routed),
            p99(direct),
            ROUNDS * CALLS,
        ),
    }])
}

/// Makes a tool with one instance and waits until it is ready and both hosts can be called; the name of the host
/// that has it.
async fn placed(world: &World<'_>, digest: &str) -> Result<String> {
    let tool: Tool = serde_json::from_value(json!({
        "apiVersion": ringfence_api::API_VERSION, "kind": "Tool",
        "metadata": {"name": "echo"}, "spec": {"component": {"digest": digest}},
    }))?;
    let hosts: Api<Host> = Api::namespaced(world.client.clone(), "ringfence-system");
    let instances: Api<Instance> = Api::default_namespaced(world.client.clone());
    let began = Instant::now();
    loop {
        ensure!(began.elapsed() < PATIENCE, "the hosts get no certificates");
        let found = hosts.list(&ListParams::default()).await?.items;
        let reached = |host: &&Host| {
            let status = host.status.as_ref();
            status.is_some_and(|status| status.peer_address.is_some())
        };
        if found.iter().filter(reached).count() == 2 {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let tools: Api<Tool> = Api::default_namespaced(world.client.clone());
    tools.create(&PostParams::default(), &tool).await?;
    while began.elapsed() < PATIENCE {
        let found = instances.list(&ListParams::default()).await?.items;
        let ready = found.iter().find(|instance| {
            let status = instance.status.as_ref();
            status.is_some_and(|status| {
                let conditions = &status.conditions;
                conditions
                    .iter()
                    .any(|c| c.type_ == ringfence_api::condition::READY && c.status == "True")
            })
        });
        if let Some(host) = ready.and_then(|instance| instance.spec.host_name.clone()) {
            return Ok(host.to_string());
        }
        tokio::time::sleep(POLL).await;
    }
    bail!("the tool does not become ready")
}

/// Microseconds of calls at each of the two.
fn compare(direct: &Rest, routed: &Rest) -> Result<[Vec<f64>; 2]> {
    let arguments = json!({"text": "hello"});
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..WARM + ROUNDS {
        for (host, times) in [direct, routed].into_iter().zip(&mut times) {
            for _ in 0..CALLS {
                let began = Instant::now();
                host.call("echo", "echo", &arguments)?;
                if round >= WARM {
                    times.push(micros(began.elapsed()));
                }
            }
        }
    }
    Ok(times)
}
