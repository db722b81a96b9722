//! Go, with the ordinary compiler: bindings into the project, a module for WASI preview 1, and the
//! adapter that makes a component of it.

use std::fs;
use std::path::{Path, PathBuf};

use wit_bindgen_core::Files;

use super::process::Tool;
use super::wit::World;
use super::{Job, component};
use crate::authoring::contract::write_if_changed;
use crate::authoring::error::{AuthoringError, Result};
use crate::authoring::project::Kind;

const REMEDY: &str = "Install Go 1.25 or newer from https://go.dev/dl.";

/// The module that generated bindings belong to; it names itself in its imports.
const MODULE: &str = "wit_component";

/// `go.bytecodealliance.org/pkg`, which generated bindings import.
const PACKAGE: &[(&str, &str)] = &[
    ("go.mod", "module go.bytecodealliance.org/pkg\n\ngo 1.25\n"),
    ("LICENSE", include_str!("go/pkg/LICENSE")),
    (
        "wit/async/async.go",
        include_str!("go/pkg/wit/async/async.go"),
    ),
    (
        "wit/async/empty.s",
        include_str!("go/pkg/wit/async/empty.s"),
    ),
    (
        "wit/runtime/runtime.go",
        include_str!("go/pkg/wit/runtime/runtime.go"),
    ),
    (
        "wit/runtime/empty.s",
        include_str!("go/pkg/wit/runtime/empty.s"),
    ),
    (
        "wit/types/future.go",
        include_str!("go/pkg/wit/types/future.go"),
    ),
    (
        "wit/types/option.go",
        include_str!("go/pkg/wit/types/option.go"),
    ),
    (
        "wit/types/result.go",
        include_str!("go/pkg/wit/types/result.go"),
    ),
    (
        "wit/types/stream.go",
        include_str!("go/pkg/wit/types/stream.go"),
    ),
    (
        "wit/types/tuple.go",
        include_str!("go/pkg/wit/types/tuple.go"),
    ),
    (
        "wit/types/unit.go",
        include_str!("go/pkg/wit/types/unit.go"),
    ),
];

pub(super) fn build(job: &Job<'_>, world: Option<&World>) -> Result<Vec<u8>> {
    let root = job
        .project
        .entry
        .as_ref()
        .map_or_else(|| job.folder.to_owned(), |entry| job.folder.join(entry));
    check_module(&root, world.is_some())?;
    let scratch = job.scratch()?;
    if let Some(world) = world {
        for (name, content) in PACKAGE {
            write_if_changed(&scratch.join("go-pkg").join(name), content)?;
        }
        job.progress.step("generating Go bindings");
        bindings(&root, &scratch.join("go-bindings"), world)?;
    }

    job.progress.step("compiling Go");
    let output = scratch.join("module.wasm");
    let mut tool = Tool::new("go", "compile Go", REMEDY)
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        .env("CGO_ENABLED", "0")
        .args(["build", "-trimpath", "-buildvcs=false"]);
    if job.project.kind != Kind::Command {
        // The bindings reach into the runtime by `go:linkname`, which the linker refuses by default.
        tool = tool.args(["-buildmode=c-shared", "-ldflags=-checklinkname=0"]);
    }
    if !job.project.go.tags.is_empty() {
        tool = tool.args(["-tags", &job.project.go.tags.join(",")]);
    }
    tool.arg("-o")
        .arg(&output)
        .arg(".")
        .current_dir(&root)
        .run(job.progress)?;

    job.progress.step("making the component");
    let mut module = fs::read(&output).map_err(AuthoringError::io("read", &output))?;
    if let Some(world) = world {
        module = component::with_type(module, world)?;
    }
    match job.project.kind {
        Kind::Command => component::command(&module),
        Kind::Tool | Kind::Agent => component::reactor(&module),
    }
}

fn check_module(root: &Path, with_bindings: bool) -> Result<()> {
    let path = root.join("go.mod");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(AuthoringError::project(
                root,
                format!("there is no go.mod; run `go mod init {MODULE}`"),
            ));
        }
        Err(error) => return Err(AuthoringError::io("read", &path)(error)),
    };
    let named = text.lines().any(|line| {
        line.trim()
            .strip_prefix("module")
            .is_some_and(|name| name.trim() == MODULE)
    });
    if with_bindings && !named {
        return Err(AuthoringError::project(
            path,
            format!("generated bindings belong to the module `{MODULE}`; name the module so"),
        ));
    }
    Ok(())
}

/// Writes the bindings into the project, where editors find them, and removes what an earlier run
/// wrote and this one does not.
fn bindings(root: &Path, list: &Path, world: &World) -> Result<()> {
    let mut files = Files::default();
    let options = wit_bindgen_go::Opts {
        quiet: true,
        ..Default::default()
    };
    options
        .build()
        .generate(&mut world.resolve.clone(), world.id, &mut files)
        .map_err(AuthoringError::component("generate Go bindings"))?;
    let mut written: Vec<&str> = Vec::new();
    for (name, content) in files.iter().filter(|(name, _)| *name != "go.mod") {
        write_if_changed(&root.join(name), content)?;
        written.push(name);
    }
    for stale in fs::read_to_string(list).unwrap_or_default().lines() {
        if !written.contains(&stale) && is_generated(&root.join(stale)) {
            let path: PathBuf = root.join(stale);
            fs::remove_file(&path).map_err(AuthoringError::io("remove", &path))?;
        }
    }
    write_if_changed(list, written.join("\n"))
}

/// Only what the generator wrote may be removed again.
fn is_generated(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| {
        text.starts_with("// Generated by `wit-bindgen`")
            || text.starts_with("// This file exists for testing this package without")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_the_one_that_the_generator_wants() {
        assert_eq!(
            wit_bindgen_go::remote_pkg_version(),
            "go.bytecodealliance.org/pkg v0.4.0"
        );
    }

    #[test]
    fn a_module_of_another_name_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("go.mod"), "module example.com/tool\n").unwrap();
        let error = check_module(folder.path(), true).unwrap_err();
        assert!(error.to_string().contains("`wit_component`"), "{error}");
        check_module(folder.path(), false).unwrap();
    }
}
