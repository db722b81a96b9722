//! Ten thousand agents on one host: what each takes at rest, and how long its first call takes.

use std::time::Instant;

use anyhow::{Result, ensure};
use ringfence_test_guests::AGENT_ECHO;
use serde_json::{Value, json};

use crate::api::Api;
use crate::report::{Goal, Measurement};
use crate::server::Server;
use crate::setting::Setting;
use crate::stats::{count, median, millis, percentile};

pub(crate) const METRICS: &[&str] = &["agent_at_rest_kib", "agent_first_call_ms"];

/// Chat agents: instructions of their own, one shared component.
const AGENTS: u64 = 10_000;
/// Agents whose components differ in a custom section: each has a digest, compiled code and a mapping of
/// its own.
const COMPONENTS: u64 = 200;

/// See the module.
pub(crate) fn measure(setting: &Setting) -> Result<Vec<Measurement>> {
    let declared = declared(setting)?;
    let compiled = compiled(setting)?;
    Ok(vec![
        Measurement {
            name: "agent_at_rest_kib",
            value: declared.registered,
            unit: "KiB",
            goal: Goal::AtMost(50.0),
            detail: format!(
                "{AGENTS} chat agents, each with a name, a description, instructions and parameters of its \
                 own, that share the built-in component: growth of the host's Rss while they were \
                 registered, for each; {:.1} KiB after a restart of the host; {:.1} KiB once each was called \
                 (records of the newest calls included). {COMPONENTS} agents with a component of their \
                 own (agent-echo with a custom section): {:.1} KiB each when registered, {:.1} KiB after \
                 a restart, {:.1} KiB once called, their code mapped",
                declared.restarted,
                declared.called,
                compiled.registered,
                compiled.restarted,
                compiled.called,
            ),
        },
        Measurement {
            name: "agent_first_call_ms",
            value: median(&declared.first_calls),
            unit: "ms",
            goal: Goal::Open,
            detail: format!(
                "p50 of the first call of each of {AGENTS} chat agents with a scripted model, over REST, one \
                 after the other; p99 {:.2} ms. First call of {COMPONENTS} agents with a component of \
                 their own after a restart of the host, from compiled code on disk: p50 {:.2} ms, p99 {:.2} ms",
                percentile(&declared.first_calls, 99),
                median(&compiled.first_calls),
                percentile(&compiled.first_calls, 99),
            ),
        },
    ])
}

/// Figures of many agents. Memory is in KiB for each agent, more than the host had without them.
struct Many {
    registered: f64,
    restarted: f64,
    called: f64,
    /// Milliseconds.
    first_calls: Vec<f64>,
}

fn declared(setting: &Setting) -> Result<Many> {
    let specs = (0..AGENTS).map(|n| {
        let spec = json!({
            "description": format!("Agent number {n}, which answers in its own way."),
            "instructions": format!("You are agent number {n}. Answer briefly, and sign with {n}."),
            "model": {"name": "scripted"},
        });
        (format!("agent-{n}"), spec)
    });
    many(setting, specs.collect(), |api| {
        let answer = json!({"provider": {"scripted": {"turns": [{"text": "done"}]}}});
        api.apply("Model", [("scripted", answer)])?;
        let warm = json!({"instructions": "Be brief.", "model": {"name": "scripted"}});
        api.apply("Agent", [("warm", warm)])?;
        // The component that all of them share is mapped before, as on any host that runs.
        api.ask("warm", "hello").map(drop)
    })
}

fn compiled(setting: &Setting) -> Result<Many> {
    let data = tempfile::tempdir()?;
    let host = Server::host(setting, data.path(), &[])?;
    let api = Api::connect(&host)?;
    let empty = host.resident()?;
    let mut names = Vec::new();
    for n in 0..COMPONENTS {
        let digest = api.upload(variant(AGENT_ECHO, n))?;
        let name = format!("compiled-{n}");
        api.apply(
            "Agent",
            [(name.as_str(), json!({"component": {"digest": digest}}))],
        )?;
        names.push(name);
    }
    let registered = each(host.resident()?, empty, COMPONENTS);
    host.stop()?;
    let host = Server::host(setting, data.path(), &[])?;
    let api = Api::connect(&host)?;
    let restarted = each(host.resident()?, empty, COMPONENTS);
    let first_calls = first_calls(&api, &names)?;
    let called = each(host.resident()?, empty, COMPONENTS);
    host.stop()?;
    Ok(Many {
        registered,
        restarted,
        called,
        first_calls,
    })
}

/// Registers these agents on a host that `prepare` made ready.
fn many(
    setting: &Setting,
    agents: Vec<(String, Value)>,
    prepare: impl Fn(&Api) -> Result<()>,
) -> Result<Many> {
    let data = tempfile::tempdir()?;
    let host = Server::host(setting, data.path(), &[])?;
    let api = Api::connect(&host)?;
    prepare(&api)?;
    let before = host.resident()?;
    for batch in agents.chunks(1000) {
        let batch = batch
            .iter()
            .map(|(name, spec)| (name.as_str(), spec.clone()));
        api.apply("Agent", batch)?;
    }
    let number = agents.len() as u64;
    let registered = each(host.resident()?, before, number);
    let names: Vec<String> = agents.into_iter().map(|(name, _)| name).collect();
    let first_calls = first_calls(&api, &names)?;
    let called = each(host.resident()?, before, number);
    host.stop()?;

    let host = Server::host(setting, data.path(), &[])?;
    Api::connect(&host)?.ask("warm", "hello")?;
    let restarted = each(host.resident()?, before, number);
    host.stop()?;
    Ok(Many {
        registered,
        restarted,
        called,
        first_calls,
    })
}

fn first_calls(api: &Api, names: &[String]) -> Result<Vec<f64>> {
    let timed = names.iter().map(|name| {
        let began = Instant::now();
        let answer = api.ask(name, "hello")?;
        ensure!(!answer.is_empty(), "{name} has no answer");
        Ok(millis(began.elapsed()))
    });
    timed.collect()
}

fn each(after: u64, before: u64, number: u64) -> f64 {
    count(after.saturating_sub(before)) / 1024.0 / count(number)
}

/// The component with a custom section of its own: it does the same and is another one.
fn variant(component: &[u8], number: u64) -> Vec<u8> {
    const NAME: &[u8] = b"variant";
    let number = number.to_le_bytes();
    // Sections have an id, 0 for custom ones, and a length, which is one byte for short ones.
    let lengths = [NAME.len() + 1 + number.len(), NAME.len()].map(|n| u8::try_from(n).unwrap_or(0));
    [component, &[0], &lengths[..1], &lengths[1..], NAME, &number].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_components_and_differ() {
        let variants = [variant(AGENT_ECHO, 1), variant(AGENT_ECHO, 2)];
        assert_ne!(variants[0], variants[1]);
        for variant in variants {
            assert!(variant.starts_with(AGENT_ECHO));
            wasmparser::validate(&variant).unwrap();
        }
    }
}
