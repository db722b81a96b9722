//! C: bindings beside the project, the compiler and libc that ziglang carries, and the adapter that
//! makes a component of the module.

use std::fs;
use std::path::{Path, PathBuf};

use wit_bindgen_core::Files;

use super::process::Tool;
use super::progress::Progress;
use super::wit::World;
use super::{Job, cache, component, python};
use crate::authoring::contract::write_if_changed;
use crate::authoring::error::{AuthoringError, Result};
use crate::authoring::project::Kind;

/// The pinned ziglang: a C compiler and a libc for WASI in one PyPI package.
const ZIGLANG: &str = "ziglang==0.17.0";

const REMEDY: &str = "Remove the cache folder and build again; it is installed from PyPI.";

pub(super) fn build(job: &Job<'_>, world: Option<&World>) -> Result<Vec<u8>> {
    let mut sources = sources(job)?;
    let generated = job.scratch()?.join("c");
    if let Some(world) = world {
        job.progress.step("generating C bindings");
        sources.extend(bindings(&generated, world)?);
    }
    let environment = ziglang(job.progress)?;

    job.progress
        .step("compiling C (the first time, its libc too)");
    let output = job.scratch()?.join("module.wasm");
    let zig_cache = cache::folder()?.join("zig");
    let mut tool = Tool::new(environment.join("bin/python"), "compile C", REMEDY)
        .named("zig cc")
        .args([
            "-m",
            "ziglang",
            "cc",
            "-target",
            "wasm32-wasi",
            "-O2",
            "-Wall",
        ])
        .arg(format!("-ffile-prefix-map={}=.", job.folder.display()))
        // The libc that zig builds and keeps holds debug information with the folder of whichever
        // project came first.
        .arg("-Wl,--strip-debug")
        .arg("-I")
        .arg(&generated)
        .env("ZIG_GLOBAL_CACHE_DIR", &zig_cache)
        .env("ZIG_LOCAL_CACHE_DIR", &zig_cache);
    if job.project.kind != Kind::Command {
        tool = tool.arg("-mexec-model=reactor");
    }
    for folder in &job.project.c.include {
        tool = tool.arg("-I").arg(job.folder.join(folder));
    }
    for (name, value) in &job.project.c.define {
        tool = tool.arg(format!("-D{name}={value}"));
    }
    tool.arg("-o")
        .arg(&output)
        .args(&sources)
        .current_dir(job.folder)
        .run(job.progress)?;

    job.progress.step("making the component");
    let module = fs::read(&output).map_err(AuthoringError::io("read", &output))?;
    match job.project.kind {
        Kind::Command => component::command(&module),
        Kind::Tool | Kind::Agent => component::reactor(&module),
    }
}

/// The virtual environment with the C compiler.
pub(super) fn ziglang(progress: &Progress) -> Result<PathBuf> {
    python::environment(progress, "ziglang", ZIGLANG)
}

fn sources(job: &Job<'_>) -> Result<Vec<PathBuf>> {
    if !job.project.c.sources.is_empty() {
        return Ok(job
            .project
            .c
            .sources
            .iter()
            .map(|source| job.folder.join(source))
            .collect());
    }
    let folder = job.folder.join("src");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(AuthoringError::io("read", &folder))? {
        let path = entry.map_err(AuthoringError::io("read", &folder))?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            found.push(path);
        }
    }
    // The order of a folder is the file system's; the component's bytes must not depend on it.
    found.sort();
    if found.is_empty() {
        return Err(AuthoringError::project(
            folder,
            "there are no .c files; `sources` under [c] names them",
        ));
    }
    Ok(found)
}

/// Writes the bindings and returns what has to be linked of them.
fn bindings(folder: &Path, world: &World) -> Result<Vec<PathBuf>> {
    let options = wit_bindgen_c::Opts::default();
    let mut files = Files::default();
    options
        .build()
        .generate(&mut world.resolve.clone(), world.id, &mut files)
        .map_err(AuthoringError::component("generate C bindings"))?;
    let mut sources = Vec::new();
    for (name, content) in files.iter() {
        let path = folder.join(name);
        write_if_changed(&path, content)?;
        // The object file carries the component type.
        if path
            .extension()
            .is_some_and(|extension| extension == "c" || extension == "o")
        {
            sources.push(path);
        }
    }
    Ok(sources)
}
