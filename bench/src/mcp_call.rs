//! `tools/call` over HTTP on loopback, against an axum server that only echoes.

use anyhow::Result;
use ringfence_test_guests::ECHO;
use serde_json::json;

use crate::api::Api;
use crate::echo_server;
use crate::load::{self, Load};
use crate::report::{Goal, Measurement};
use crate::server::Server;
use crate::setting::Setting;

pub(crate) const METRICS: &[&str] = &["mcp_call_ratio"];

const VERSION: &str = "2026-07-28";
const FUNCTION: &str = "echo_echo";

/// See the module.
pub(crate) fn measure(setting: &Setting) -> Result<Vec<Measurement>> {
    let data = tempfile::tempdir()?;
    let host = Server::host(setting, data.path(), &[])?;
    let api = Api::connect(&host)?;
    let digest = api.upload(ECHO)?;
    api.apply("Tool", [("echo", json!({"component": {"digest": digest}}))])?;
    let peer = echo_server::start()?;
    let compared = load::compare(
        &tools_call(format!("{}/default/mcp", host.base)),
        &tools_call(format!("{}/", peer.base)),
    )?;
    host.stop()?;
    Ok(vec![Measurement {
        name: "mcp_call_ratio",
        value: compared.ratio(),
        unit: "x",
        goal: Goal::AtLeast(0.5),
        detail: format!(
            "{:.0} tools/call a second ({VERSION}, a fresh sandbox and a record each) against {:.0} \
             requests a second of axum answering the same bodies with themselves; {}",
            compared.ours,
            compared.peer,
            load::described()
        ),
    }])
}

/// One call of the tool, as a client of the stateless protocol sends it.
fn tools_call(url: String) -> Load {
    let body = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": FUNCTION,
            "arguments": {"text": "hello"},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": VERSION,
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    });
    Load {
        url,
        headers: [
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", VERSION),
            ("mcp-method", "tools/call"),
            ("mcp-name", FUNCTION),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .into(),
        body: Some(body.to_string()),
    }
}
