//! The first call of a component in Python or JavaScript after a restart of the host, from the cache of
//! compiled code.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::api::Api;
use crate::report::{Goal, Measurement};
use crate::server::Server;
use crate::setting::Setting;
use crate::stats::{median, millis, percentile};

/// Restarts of the host.
const RESTARTS: usize = 15;

/// An example of one language and a call of it.
pub(crate) struct Example {
    pub(crate) metric: &'static str,
    folder: &'static str,
    tool: &'static str,
    function: &'static str,
    arguments: &'static str,
    grants: &'static str,
}

pub(crate) const PYTHON: Example = Example {
    metric: "python_first_call_ms",
    folder: "guest-examples/python/table-query",
    tool: "table-query",
    function: "describe",
    arguments: r#"{"path": "/input/stock.json"}"#,
    grants: r#"{"folders": [{"name": "input", "mount": "/input"}]}"#,
};

pub(crate) const JAVASCRIPT: Example = Example {
    metric: "js_first_call_ms",
    folder: "guest-examples/javascript/markdown",
    tool: "markdown",
    function: "outline",
    arguments: r##"{"text": "# Title\n\nSome *text* with a [link](https://example.com)."}"##,
    grants: "{}",
};

/// See the module.
pub(crate) fn measure(setting: &Setting, example: &Example) -> Result<Vec<Measurement>> {
    let component = std::fs::read(build(setting, example)?)?;
    let size = component.len();
    let arguments: Value = serde_json::from_str(example.arguments)?;
    let grants: Value = serde_json::from_str(example.grants)?;
    let data = tempfile::tempdir()?;
    let input = setting.root.join("guest-examples/demo/input");
    let offers = [
        "--allow-folder".to_owned(),
        format!("input={}:ro", input.display()),
    ];

    let host = Server::host(setting, data.path(), &offers)?;
    let api = Api::connect(&host)?;
    let digest = api.upload(component)?;
    let spec = json!({"component": {"digest": digest}, "grants": grants});
    api.apply("Tool", [(example.tool, spec)])?;
    host.stop()?;

    let (mut first, mut second, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RESTARTS {
        let started = Instant::now();
        let host = Server::host(setting, data.path(), &offers)?;
        let api = Api::connect(&host)?;
        let call = || {
            let began = Instant::now();
            api.call(example.tool, example.function, &arguments)?;
            anyhow::Ok(millis(began.elapsed()))
        };
        first.push(call()?);
        whole.push(millis(started.elapsed()));
        second.push(call()?);
        host.stop()?;
    }
    Ok(vec![Measurement {
        name: example.metric,
        value: median(&first),
        unit: "ms",
        goal: Goal::AtMost(20.0),
        detail: format!(
            "first call of {}_{} over REST right after the host began to listen, median of {RESTARTS} restarts, \
             most {:.1} ms; the second call takes {:.1} ms; from the start of the process to the first \
             answer {:.1} ms; component of {:.1} MB, compiled code in the page cache",
            example.tool,
            example.function,
            percentile(&first, 100),
            median(&second),
            median(&whole),
            crate::stats::count(size as u64) / 1e6,
        ),
    }])
}

/// Builds the example with `ringfence build`, unless that was done since it changed last.
fn build(setting: &Setting, example: &Example) -> Result<PathBuf> {
    let folder = setting.root.join(example.folder);
    let built = setting.output()?.join(format!("{}.wasm", example.tool));
    let fresh = built
        .metadata()
        .and_then(|file| file.modified())
        .is_ok_and(|time| newest(&folder).is_ok_and(|newest| newest < time));
    if fresh {
        return Ok(built);
    }
    let status = Command::new(&setting.ringfence)
        .arg("build")
        .arg(&folder)
        .arg("--file")
        .arg(&built)
        .status()
        .context("ringfence cannot be started")?;
    ensure!(status.success(), "{} does not build", folder.display());
    Ok(built)
}

/// When something in a folder changed last. What a build leaves there does not count.
fn newest(folder: &Path) -> std::io::Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let skipped = ["node_modules", "__pycache__", ".ringfence"];
        if skipped.iter().any(|skipped| name == *skipped) {
            continue;
        }
        let time = match entry.file_type()?.is_dir() {
            true => self::newest(&entry.path())?,
            false => entry.metadata()?.modified()?,
        };
        newest = newest.max(time);
    }
    Ok(newest)
}
