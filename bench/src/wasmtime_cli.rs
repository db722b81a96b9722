//! The `wasmtime` command that `wasi_http_ratio` is measured against.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::setting::Setting;

/// The release of the wasmtime that the host is built with.
pub(crate) const VERSION: &str = "48.0.8";
/// What serving needs, and what makes it fast. The rest of the default features (other compilers and
/// proposals, debugging, WASI-NN) plays no part in it and would double the time of the build.
const FEATURES: &str =
    "run,serve,component-model-async,pooling-allocator,cranelift,parallel-compilation";

/// The command; it is installed when it is not there.
pub(crate) fn find(setting: &Setting) -> Result<PathBuf> {
    let root = setting.cache.join(format!("wasmtime-cli-{VERSION}"));
    let command = root.join("bin/wasmtime");
    if command.is_file() {
        return Ok(command);
    }
    eprintln!(
        "bench: installing wasmtime-cli {VERSION} into {}, once; that takes some minutes",
        root.display()
    );
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "install",
            "wasmtime-cli",
            "--version",
            VERSION,
            "--locked",
            "--quiet",
        ])
        .args(["--no-default-features", "--features", FEATURES, "--root"])
        .arg(&root)
        // Its features differ from ours, so that nothing could be shared.
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .context("cargo cannot be started")?;
    ensure!(
        status.success() && command.is_file(),
        "wasmtime-cli could not be installed: see cargo's output above"
    );
    Ok(command)
}
