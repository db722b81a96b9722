//! JavaScript and TypeScript: esbuild bundles the project into one module, componentize-js makes the
//! component. Both come from npm into the cache folder, at the versions of a lock file in this binary.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::json;

use super::process::Tool;
use super::progress::Progress;
use super::wit::World;
use super::{Job, cache};
use crate::authoring::contract::write_if_changed;
use crate::authoring::error::{AuthoringError, Result};
use crate::authoring::project::JavascriptFeature;

const PACKAGE: &str = include_str!("javascript/package.json");
const LOCK: &str = include_str!("javascript/package-lock.json");
const RUNNER: &str = include_str!("javascript/componentize.mjs");

const NODE_REMEDY: &str = "Install Node.js 20 or newer from https://nodejs.org.";

/// The part of `package.json` that matters here.
#[derive(Default, Deserialize)]
struct PackageJson {
    #[serde(default)]
    dependencies: serde_json::Map<String, serde_json::Value>,
}

pub(super) fn build(job: &Job<'_>, world: &World) -> Result<Vec<u8>> {
    let entry = entry(job)?;
    let tools = tools(job.progress)?;
    dependencies(job)?;

    job.progress.step("compiling JavaScript");
    let output = job.scratch()?.join("component.wasm");
    let serves_http = world
        .exports()
        .iter()
        .any(|name| name.starts_with("wasi:http/incoming-handler@"));
    let has = |feature| job.project.javascript.features.contains(&feature);
    let disabled: Vec<&str> = [
        ("stdio", has(JavascriptFeature::Stdio)),
        ("random", has(JavascriptFeature::Random)),
        ("clocks", has(JavascriptFeature::Clocks)),
        ("http", has(JavascriptFeature::Http) || serves_http),
        ("fetch-event", serves_http),
    ]
    .into_iter()
    .filter_map(|(name, on)| (!on).then_some(name))
    .collect();
    // What the world imports is not for the bundler to find. Authors may leave the version out.
    let mut external = world.imports();
    external.extend(
        world
            .imports()
            .iter()
            .filter_map(|name| Some(name.split_once('@')?.0.to_owned())),
    );
    let request = json!({
        "entry": entry,
        "bundle": job.scratch()?.join("bundle.js"),
        "external": external,
        "wit": world.path,
        "world": world.name(),
        "disable": disabled,
        "output": output,
    });
    Tool::new("node", "compile JavaScript", NODE_REMEDY)
        .arg(tools.join("componentize.mjs"))
        .arg(request.to_string())
        .current_dir(job.folder)
        .run(job.progress)?;
    fs::read(&output).map_err(AuthoringError::io("read", &output))
}

fn entry(job: &Job<'_>) -> Result<PathBuf> {
    if let Some(entry) = &job.project.entry {
        let path = job.folder.join(entry);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(AuthoringError::project(
                path,
                "there is no such file; see `entry`",
            ))
        };
    }
    let candidates = ["src/index.js", "src/index.ts", "index.js", "index.ts"];
    candidates
        .iter()
        .map(|file| job.folder.join(file))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            AuthoringError::project(
                job.folder,
                format!(
                    "none of {} is there; `entry` says where the source starts",
                    candidates.join(", ")
                ),
            )
        })
}

/// The folder with esbuild, componentize-js and the script that calls them.
pub(super) fn tools(progress: &Progress) -> Result<PathBuf> {
    let folder = cache::installed("componentize-js", LOCK, |folder| {
        progress.step("installing componentize-js and esbuild (once)");
        write_if_changed(&folder.join("package.json"), PACKAGE)?;
        write_if_changed(&folder.join("package-lock.json"), LOCK)?;
        npm().args(["ci"]).current_dir(folder).run(progress)
    })?;
    write_if_changed(&folder.join("componentize.mjs"), RUNNER)?;
    Ok(folder)
}

/// Install scripts stay off: neither the tools nor anything that can run in a component needs one.
fn npm() -> Tool<'static> {
    Tool::new("npm", "install JavaScript packages", NODE_REMEDY)
        .args([
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--loglevel=error",
        ])
        .env("npm_config_update_notifier", "false")
}

/// Installs the project's own dependencies, where it has any, again whenever they change.
fn dependencies(job: &Job<'_>) -> Result<()> {
    let path = job.folder.join("package.json");
    let Ok(text) = fs::read_to_string(&path) else {
        return Ok(());
    };
    let package: PackageJson = serde_json::from_str(&text)
        .map_err(|error| AuthoringError::project(&path, format!("not a package.json: {error}")))?;
    if package.dependencies.is_empty() {
        return Ok(());
    }
    let lock = fs::read_to_string(job.folder.join("package-lock.json")).unwrap_or_default();
    let marker = job.folder.join("node_modules/.ringfence");
    let key = format!("{text}\n{lock}");
    if fs::read_to_string(&marker).is_ok_and(|present| present == key) {
        return Ok(());
    }
    job.progress.step("installing the project's npm packages");
    let verb = if lock.is_empty() { "install" } else { "ci" };
    npm()
        .args([verb, "--omit=dev"])
        .current_dir(job.folder)
        .run(job.progress)?;
    let lock = fs::read_to_string(job.folder.join("package-lock.json")).unwrap_or_default();
    write_if_changed(&marker, format!("{text}\n{lock}"))
}
