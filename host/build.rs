//! Builds the components that ship inside the host, with a nested cargo: they are guests, so they have
//! a target and a workspace of their own.
#![allow(clippy::panic, clippy::expect_used)] // a build script reports by failing

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let manifest_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out_dir = PathBuf::from(variable("OUT_DIR"));
    let root = manifest_dir
        .parent()
        .expect("the host crate lies in the workspace");
    for watched in [
        "builtin/Cargo.toml",
        "builtin/Cargo.lock",
        "builtin/chat/Cargo.toml",
        "builtin/chat/src",
        "api/schema",
        "wit",
        "host/build.rs",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    require_target();
    let target_dir = shared_target_dir(&out_dir).join("builtin");
    let status = Command::new(variable("CARGO"))
        .args(["build", "--release", "--locked", "--target", TARGET])
        .arg("--manifest-path")
        .arg(root.join("builtin/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir)
        // These belong to the build that runs this script: flags for another target, Clippy's driver.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status()
        .expect("cargo can be started, since it runs this script");
    if !status.success() {
        panic!("the built-in components in builtin/ do not build: see cargo's output above");
    }
    let built = target_dir.join(TARGET).join("release/ringfence_chat.wasm");
    std::fs::copy(&built, out_dir.join("chat.wasm"))
        .unwrap_or_else(|error| panic!("cannot copy {}: {error}", built.display()));
}

/// A subfolder of the workspace's target folder survives changes of this crate's features and flags,
/// each of which gives `OUT_DIR` another name. Where the layout is unknown, `OUT_DIR` serves.
fn shared_target_dir(out_dir: &Path) -> &Path {
    out_dir
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").is_file())
        .unwrap_or(out_dir)
}

fn require_target() {
    let output = Command::new(variable("RUSTC"))
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let present = output.is_ok_and(|output| {
        output.status.success()
            && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    });
    if !present {
        panic!(
            "Rust's standard library for {TARGET} is missing: run `make setup`, or `rustup target add {TARGET}`"
        );
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
