//! Rust: cargo builds for `wasm32-wasip2`, whose linker makes the component.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Job;
use super::process::Tool;
use crate::authoring::error::{AuthoringError, Result};

const TARGET: &str = "wasm32-wasip2";
const PURPOSE: &str = "compile Rust";
const REMEDY: &str = "Install Rust 1.95 or newer from https://rustup.rs, then run `rustup target add wasm32-wasip2`.";

/// A line that cargo writes for programs to read; other kinds of line lack these fields.
#[derive(Deserialize)]
struct CargoMessage {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    target: CargoTarget,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
struct CargoTarget {
    #[serde(default)]
    kind: Vec<String>,
}

pub(super) fn build(job: &Job<'_>) -> Result<Vec<u8>> {
    let root = job
        .project
        .entry
        .as_ref()
        .map_or_else(|| job.folder.to_owned(), |entry| job.folder.join(entry));
    let manifest = root.join("Cargo.toml");
    if !manifest.exists() {
        return Err(AuthoringError::project(root, "there is no Cargo.toml"));
    }
    check_target(job)?;
    job.progress.step("compiling Rust");
    let options = &job.project.rust;
    let mut cargo = Tool::new("cargo", PURPOSE, REMEDY)
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "--message-format",
            "json-render-diagnostics",
        ])
        .args([
            "--color",
            if job.progress.is_terminal() {
                "always"
            } else {
                "never"
            },
        ])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--config")
        .arg(remap_paths(&root))
        .current_dir(&root);
    if let Some(package) = &options.package {
        cargo = cargo.args(["--package", package]);
    }
    if !options.features.is_empty() {
        cargo = cargo.args(["--features", &options.features.join(",")]);
    }
    let path = artifact(
        &cargo.stdout(job.progress)?,
        &manifest,
        options.package.is_some(),
    )?;
    fs::read(&path).map_err(AuthoringError::io("read", &path))
}

/// Cargo's own message for a missing target is a wall of `can't find crate`.
fn check_target(job: &Job<'_>) -> Result<()> {
    let sysroot = Tool::new("rustc", PURPOSE, REMEDY)
        .args(["--print", "sysroot"])
        .current_dir(job.folder)
        .stdout(job.progress)?;
    let library = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(TARGET)
        .join("lib");
    if library.is_dir() {
        return Ok(());
    }
    Err(AuthoringError::MissingTool {
        tool: format!("Rust target {TARGET}"),
        purpose: PURPOSE.to_owned(),
        remedy: format!(
            "Run `rustup target add {TARGET}` (in a clone of Ringfence, `make setup` does it, also where rustup's server cannot be reached)."
        ),
    })
}

/// Keeps the machine's paths out of the component, so that the same source gives the same bytes.
fn remap_paths(root: &Path) -> String {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    let flags: Vec<String> = home
        .iter()
        .map(|home| (home.as_path(), "cargo"))
        .chain([(root, ".")])
        .map(|(from, to)| {
            toml::Value::from(format!("--remap-path-prefix={}={to}", from.display())).to_string()
        })
        .collect();
    format!("target.{TARGET}.rustflags=[{}]", flags.join(","))
}

/// The component among cargo's messages: a `bin` or `cdylib` of the project.
fn artifact(messages: &str, manifest: &Path, any_package: bool) -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<CargoMessage>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter(|message| any_package || message.manifest_path == manifest)
        .filter(|message| {
            message
                .target
                .kind
                .iter()
                .any(|kind| kind == "bin" || kind == "cdylib")
        })
        .flat_map(|message| message.filenames)
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        .collect();
    found.dedup();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(AuthoringError::project(
            manifest,
            "it builds no component; a tool or agent needs `[lib] crate-type = [\"cdylib\"]`, a command needs `src/main.rs`",
        )),
        _ => Err(AuthoringError::project(
            manifest,
            format!(
                "it builds {} components; a project folder is for one",
                found.len()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARTIFACT: &str = r#"{"reason":"compiler-artifact","manifest_path":"/p/Cargo.toml","target":{"kind":["cdylib"],"name":"p"},"filenames":["/p/target/wasm32-wasip2/release/p.wasm"]}"#;

    #[test]
    fn the_projects_own_artifact_is_taken() {
        let messages = format!(
            "{}\nnot json\n{ARTIFACT}\n{}",
            ARTIFACT.replace("/p/Cargo.toml", "/dependency/Cargo.toml"),
            r#"{"reason":"build-finished","success":true}"#
        );
        let path = artifact(&messages, Path::new("/p/Cargo.toml"), false).unwrap();
        assert_eq!(path, Path::new("/p/target/wasm32-wasip2/release/p.wasm"));
    }

    #[test]
    fn no_artifact_says_what_cargo_toml_lacks() {
        let messages = ARTIFACT.replace("cdylib", "lib");
        let error = artifact(&messages, Path::new("/p/Cargo.toml"), false).unwrap_err();
        assert!(error.to_string().contains("crate-type"), "{error}");
    }
}
