//! A `wasi:http` component behind the gateway, against `wasmtime serve` with the same component.

use std::process::Command;

use anyhow::Result;
use ringfence_test_guests::HTTP_ECHO;
use serde_json::json;

use crate::api::Api;
use crate::load::{self, Load};
use crate::report::{Goal, Measurement};
use crate::server::{Announces, Server};
use crate::setting::Setting;
use crate::wasmtime_cli;

pub(crate) const METRICS: &[&str] = &["wasi_http_ratio"];

/// See the module.
pub(crate) fn measure(setting: &Setting) -> Result<Vec<Measurement>> {
    let wasmtime = wasmtime_cli::find(setting)?;
    let data = tempfile::tempdir()?;
    let host = Server::host(setting, data.path(), &[])?;
    let api = Api::connect(&host)?;
    let digest = api.upload(HTTP_ECHO)?;
    api.apply(
        "Tool",
        [("hello", json!({"component": {"digest": digest}}))],
    )?;

    let component = data.path().join("hello.wasm");
    std::fs::write(&component, HTTP_ECHO)?;
    let mut command = Command::new(wasmtime);
    command
        .args(["serve", "--addr", "127.0.0.1:0"])
        // The component's standard library imports wasi:cli; the host always links it.
        .args(["-S", "cli=y"])
        .arg(&component);
    let peer = Server::start(command, &Announces::Stderr)?;
    let get = |url| Load {
        url,
        ..Load::default()
    };
    let compared = load::compare(
        &get(format!("{}/default/tools/hello/http/hello", host.base)),
        &get(format!("{}/hello", peer.base)),
    )?;
    host.stop()?;
    Ok(vec![Measurement {
        name: "wasi_http_ratio",
        value: compared.ratio(),
        unit: "x",
        goal: Goal::AtLeast(1.2),
        detail: format!(
            "{:.0} requests a second with all limits and records on, against {:.0} of `wasmtime serve` {} \
             with its own defaults (pool, no limits, no epochs), guest http-echo; {}",
            compared.ours,
            compared.peer,
            wasmtime_cli::VERSION,
            load::described()
        ),
    }])
}
