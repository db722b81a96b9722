//! Python: componentize-py, from PyPI in a virtual environment of the cache folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::process::Tool;
use super::progress::Progress;
use super::wit::World;
use super::{Job, cache, sections};
use crate::authoring::error::{AuthoringError, Result};

/// The pinned componentize-py.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

/// The Python that runs inside components that it makes.
const GUEST_PYTHON: &str = "3.14";

const REMEDY: &str =
    "Install Python 3.10 or newer with its venv module (Debian: `apt-get install python3-venv`).";

pub(super) fn build(job: &Job<'_>, world: &World) -> Result<Vec<u8>> {
    let entry = job
        .folder
        .join(job.project.entry.as_deref().unwrap_or(Path::new("app.py")));
    let (Some(source), Some(module)) = (entry.parent(), entry.file_stem()) else {
        return Err(AuthoringError::project(
            entry,
            "entry has to be a Python file",
        ));
    };
    if !entry.is_file() {
        return Err(AuthoringError::project(
            &entry,
            "there is no such file; `entry` says where the source starts",
        ));
    }
    let environment = componentize_py(job.progress)?;
    let packages = requirements(job, &environment)?;

    job.progress.step("compiling Python");
    let output = job.scratch()?.join("component.wasm");
    let mut tool = in_environment(
        Tool::new(
            environment.join("bin/componentize-py"),
            "compile Python",
            REMEDY,
        ),
        &environment,
    )
    .arg("--wit-path")
    .arg(&world.path)
    .args(["--world", world.name(), "--quiet", "componentize"])
    .arg(module)
    .arg("--python-path")
    .arg(source);
    if let Some(packages) = &packages {
        tool = tool.arg("--python-path").arg(packages);
    }
    tool.arg("--output")
        .arg(&output)
        .current_dir(source)
        .run(job.progress)?;
    let component = fs::read(&output).map_err(AuthoringError::io("read", &output))?;
    // componentize-py leaves the function exported by which it starts the interpreter at build time;
    // nobody may call it again.
    sections::keep_exports(&component, &world.exports())
}

/// The virtual environment with componentize-py.
pub(super) fn componentize_py(progress: &Progress) -> Result<PathBuf> {
    environment(progress, "componentize-py", COMPONENTIZE_PY)
}

/// A virtual environment in the cache folder that holds one pinned package.
pub(super) fn environment(progress: &Progress, name: &str, package: &str) -> Result<PathBuf> {
    let python = std::env::var("RINGFENCE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    // The environment links to the interpreter, so another interpreter means another environment.
    let identity = Tool::new(&python, "install what builds the project", REMEDY)
        .args(["-c", "import sys; print(sys.version, sys.executable)"])
        .stdout(progress)?;
    cache::installed(name, &format!("{package}\n{identity}"), |folder| {
        progress.step(format!("installing {package} (once)"));
        Tool::new(&python, "make a virtual environment", REMEDY)
            .args(["-m", "venv"])
            .arg(folder)
            .named("python3 -m venv")
            .run(progress)?;
        pip(folder).args(["install", package]).run(progress)
    })
}

fn pip(environment: &Path) -> Tool<'static> {
    let tool = Tool::new(
        environment.join("bin/python"),
        "install Python packages",
        REMEDY,
    )
    .named("pip")
    .args([
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ]);
    in_environment(tool, environment)
}

/// Nothing of the caller's own Python may leak into the component.
fn in_environment<'a>(tool: Tool<'a>, environment: &Path) -> Tool<'a> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(environment.join("bin")).chain(std::env::split_paths(&path));
    let tool = tool
        .without_env("PYTHONPATH")
        .without_env("PYTHONHOME")
        .without_env("VIRTUAL_ENV");
    match std::env::join_paths(folders) {
        Ok(path) => tool.env("PATH", path),
        Err(_) => tool,
    }
}

/// The project's packages, in a folder of its own. A component holds no native extension modules, so
/// pip is told to take pure Python ones only: it then says at build time which package is not.
fn requirements(job: &Job<'_>, environment: &Path) -> Result<Option<PathBuf>> {
    let listed = job.project.python.requirements.as_deref();
    let file = job
        .folder
        .join(listed.unwrap_or(Path::new("requirements.txt")));
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && listed.is_none() => {
            return Ok(None);
        }
        Err(error) => return Err(AuthoringError::io("read", &file)(error)),
    };
    if text
        .lines()
        .all(|line| line.split('#').next().unwrap_or_default().trim().is_empty())
    {
        return Ok(None);
    }
    cache::installed_in(&job.scratch()?, "packages", &text, |folder| {
        job.progress.step("installing the project's Python packages");
        pip(environment)
            .args(["install", "--no-compile", "--target"])
            .arg(folder)
            .args(["--only-binary", ":all:", "--platform", "any", "--implementation", "py", "--abi", "none"])
            .args(["--python-version", GUEST_PYTHON, "--requirement"])
            .arg(&file)
            .run(job.progress)
            .map_err(|error| match error {
                AuthoringError::ToolFailed { .. } => AuthoringError::project(
                    &file,
                    "pip could not install it (its message is above); only packages with a pure Python wheel (`py3-none-any`) run in a component",
                ),
                other => other,
            })
    })
    .map(Some)
}
